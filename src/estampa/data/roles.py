"""What each column of a catalogue is for: answer, id, feature, weight, kept aside, or telling the answer.

=========== ========================================================== =============================================
role        found by                                                   then
=========== ========================================================== =============================================
label       asked for; `label`, `class`, `target`, `y`; or columns of  the classes, no column of the table
            0 and 1 of which each row has one (spiral, elliptical)
id          `objid`, `id`, `sourceid` ... with all its digits, unique  names of the rows
feature     every other column of numbers                              learned from
weight      `weight`, `sample_weight`                                  kept, not learned from
ignore      positions, run, field, plate, mjd, fibre, ids, flags       kept, not learned from: says where and when
leak        votes and their fractions, answers of classifiers, class   kept, not learned from unless asked for: it
            and redshift from the spectrum, what rests on a redshift,  tells the answer, or rests on what told it
            and whatever goes one to one with the classes
=========== ========================================================== =============================================

A column `z` beside two other bands of u, g, r, i, z, y is a magnitude, and a redshift else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from estampa.data import onehot
from estampa.data.onehot import UNKNOWN, ColumnFacts, class_of, is_unknown
from estampa.data.record import Header, whose
from estampa.data.sentinels import is_band, is_error
from estampa.data.sources._tables import GROUP_COLUMNS, ID_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS
from estampa.errors import DatasetError, SourceError, nearest
from estampa.recipe import DataRecipe

RA = ("ra", "radeg", "raj2000", "raicrs", "alpha", "rightascension")
DEC = ("dec", "decdeg", "de", "dej2000", "deicrs", "decl", "delta", "declination")
IDS = (*ID_COLUMNS, "diasourceid", "alertid", "galaxyid", "dr7objid", "dr8objid", "bestobjid", "name")
_TELLING = 100  #: rows of a sample from which on a column of codes is compared with the classes

_Pattern = tuple[re.Pattern[str], str]


def _pattern(expression: str, reason: str) -> _Pattern:
    return re.compile(expression), reason


_IGNORED = (
    _pattern(r"(?:ra|dec)(?:_?(?:deg|j2000|icrs|err|\d+))?|raj2000|dej2000|de|decl|alpha|delta|glon|glat|elon|elat|"
             r"htmid|c[xyz]|gal_?[lb]|[xy]pos|[xy]_?(?:image|pix)|rowc\w*|colc\w*", "says where, not what"),
    _pattern(r"run|rerun|camcol|field|strip\w*|plate|fiber(?:id)?|tile|sector|ccd(?:num)?|chip|detector|quadrant|"
             r"filter|fid", "says which exposure, not what"),
    _pattern(r"mjd\w*|h?jd|epoch|date|time|year|night", "says when, not what"),
    _pattern(r"index|row|rownum|unnamed.*", "a number of the row"),
    _pattern(r"position_angle|pixel_scale", "says how the picture lies"),
    _pattern(r"(?:\w+_)?flags?(?:_[ugriz])?|(?:\w+_)?(?:mask|status|insidemask|clean)", "flags of the pipeline"),
)  # fmt: skip
_LEAKS = (
    _pattern(r"t\d\d_\w+_a\d\d_\w+|\w*debiased\w*|(?:n|total|num)?_?votes?(?:_\w+)?|total_classifications|"
             r"p_(?:el|cw|acw|cs|edge|dk|mg)\w*|\w*vote_?fraction\w*|gz\d?_?\w*class\w*", "votes of people"),
    _pattern(r"(?:p|prob|proba|probability|pred|predicted|score)_\w+|\w+_(?:prob|proba|probability|pred|score)|d?rb|"
             r"prob|probability|prediction|predicted|reliability", "the answer of a classifier"),
    _pattern(r"(?:spec(?:tro)?_?)?(?:sub)?class(?:_?(?:name|code))?|labels?|targets?|spec_?type|source_?type",
             "a class, from elsewhere"),
    _pattern(r"redshift\w*|z_?sp(?:ec)?|spec_?z\w*|z_?(?:err|warning|conf\w*|noqso\w*)|z_?best|zhelio|cz|"
             r"v(?:el)?_?disp\w*", "measured in the spectrum, as labels often are"),
    _pattern(r"(?:\w+_)?stellar_?mass\w*|(?:log_?)?m_?star\w*|lg_?m(?:ass)?\w*|log_?mass\w*|s?sfr\w*|abs_?mag\w*|"
             r"petromag_m[ugriz]|luminosity\w*|(?:lum)?_?dist(?:ance)?(?:_\w+)?", "rests on a redshift"),
)  # fmt: skip
_WEIGHTS = re.compile(r"(?:sample_?)?weights?")
_ID = re.compile(r"(?i:(^|[_\s.-])ids?|objid|sourceid|galaxyid|specobjid|htmid)$|[a-z]I[dD]s?$")


@dataclass(frozen=True)
class Role:
    """What a column is for, and why."""

    name: str
    role: str  #: label | id | group | split | position | text | feature | ignore | leak | weight
    reason: str


@dataclass(frozen=True)
class Roles:
    """What every column of a table is for."""

    columns: Mapping[str, Role]  #: in file order
    label: str = ""
    one_hot: tuple[str, ...] = ()  #: columns of 0 and 1 that are the label together
    id: str = ""
    group: str = ""
    split: str = ""
    position: tuple[str, str] | None = None  #: columns of right ascension and declination
    notes: list[str] = field(default_factory=list)

    @property
    def table(self) -> tuple[str, ...]:
        """The columns of numbers that the Dataset's table holds, in file order."""
        kept = ("feature", "ignore", "leak", "weight")
        return tuple(name for name, role in self.columns.items() if role.role in kept)

    def of(self, names: Iterable[str]) -> tuple[str, ...]:
        """The roles of columns of the table, as a Header holds them."""
        return tuple(self.columns[name].role for name in names)


def infer(
    columns: Sequence[ColumnFacts], *, label: str = "", group: str = "", classes: Sequence[str] = (), where: object = ""
) -> Roles:
    """Decide what each column is for.

    Parameters
    ----------
    columns : what is known of each, in file order.
    label : the column of answers as asked for, or one-hot columns with commas between; "" = by name.
    group : the column of what must not be torn apart, as asked for.
    classes : the classes when they are known, as at prediction: columns of these names are one-hot ones.
    where : the file, for messages.

    Raises SourceError, with the nearest name, for a column that is asked for and not there.
    """
    names = [one.name for one in columns]
    facts = {one.name: one for one in columns}
    one_hot = onehot.asked_one_hot(label, names)
    for asked in ((label if not one_hot else ""), group):
        if asked and asked not in facts:
            raise SourceError(
                f"no column {asked!r}", where=where, allowed=", ".join(names[:60]), cure=nearest(asked, names)
            )
    answer = "" if one_hot else label or _answer(facts, names)
    found: dict[str, Role] = {}
    notes: list[str] = []
    if answer:
        found[answer] = Role(answer, "label", "asked for" if label else "by its name")
    elif not one_hot:
        one_hot, said = onehot.one_hot_columns(columns, classes)
        notes += said
    found |= {name: Role(name, "label", "asked for" if label else "0 and 1, one a row") for name in one_hot}
    grouped = group or _first(names, GROUP_COLUMNS, found, lambda n: _groups(n, facts))
    if grouped:
        found[grouped] = Role(grouped, "group", "asked for" if group else "by its name")
    parted = _first(names, SPLIT_COLUMNS, found, lambda n: not facts[n].number)
    if parted:
        found[parted] = Role(parted, "split", "by its name")
    told = answer or (one_hot[0] if one_hot else "")
    others = set(onehot.siblings(told, columns)) - found.keys()
    found |= {name: Role(name, "leak", f"another answer of the set of {told}") for name in others}
    id_ = _id(facts, names, found, notes)
    if id_:
        found[id_] = Role(id_, "id", "names the rows")
    for name in names:
        if name not in found:
            found[name] = _role(facts[name], names)
    ra, dec = (_first(names, known, {}, lambda n: facts[n].filled > 0) for known in (RA, DEC))
    ordered = {name: found[name] for name in names}
    return Roles(ordered, answer, one_hot, id_, grouped, parted, (ra, dec) if ra and dec else None, notes)


def with_told(roles: Roles, columns: Sequence[ColumnFacts], labels: np.ndarray) -> Roles:
    """Return `roles` in which features that say the class in other words are leaks.

    `labels` (n,) are class numbers, -1 = unlabelled; a column's sample is compared with its first rows.
    """
    found = dict(roles.columns)
    for one in columns:
        if one.sample is not None and found[one.name].role == "feature" and _tells(one.sample, labels):
            found[one.name] = Role(one.name, "leak", "goes one to one with the classes")
    samples = {one.name: one.sample for one in columns if one.sample is not None}
    for names in onehot.sets_of([one for one in columns if found[one.name].role == "feature"]):
        if _tells(np.stack([samples[name] for name in names], 1).argmax(1), labels):
            found |= {name: Role(name, "leak", "with its set goes one to one with the classes") for name in names}
    return Roles(
        found, roles.label, roles.one_hot, roles.id, roles.group, roles.split, roles.position, list(roles.notes)
    )


def features_of(header: Header, recipe_data: DataRecipe) -> tuple[str, ...]:
    """Return the columns to learn from, in the header's order.

    Those whose role is feature, or `recipe_data.features`; with `recipe_data.also`, without `recipe_data.without`.
    DatasetError, with the nearest name, for one that is not there, and when none is left.
    """
    where, names = whose(header), header.columns
    for key in ("features", "also", "without"):
        for name in getattr(recipe_data, key):
            if name not in names:
                raise DatasetError(
                    f"has no column {name!r}, which data.{key} names", where=where, allowed=", ".join(names[:60]),
                    cure=nearest(name, names),
                )  # fmt: skip
    roles = header.roles or ("feature",) * len(names)
    by_role = (name for name, role in zip(names, roles, strict=True) if role == "feature")
    chosen = (set(recipe_data.features or by_role) | set(recipe_data.also)) - set(recipe_data.without)
    if not chosen:
        aside = [f"{name} ({role})" for name, role in zip(names, roles, strict=True) if role != "feature"]
        raise DatasetError(
            "no column is left to learn from", where=where, got="left out: " + ", ".join(aside[:30]) if aside else "",
            cure="Take one all the same with --also COLUMN." if aside else "",
        )  # fmt: skip
    return tuple(name for name in names if name in chosen)


def role_of(name: str, names: Sequence[str] = ()) -> tuple[str, str]:
    """What a column of numbers is for by its name, and why; `names` are all columns of the table."""
    lower = re.sub(r"[\s.\-/]+", "_", name.strip()).strip("_").lower()
    if lower == "z":
        band = is_band(name, names)
        return ("feature", "a magnitude, beside other bands") if band else ("leak", "a redshift: no bands beside it")
    if _is_band_error(lower, names):
        return "feature", "the error of a magnitude"
    for pattern, reason in _LEAKS:
        if pattern.fullmatch(lower):
            return "leak", reason
    if _WEIGHTS.fullmatch(lower):
        return "weight", "by its name"
    if _ID.search(name.strip()):
        return "ignore", "an id"
    if lower in ("l", "b") and {"l", "b"} <= {other.strip().lower() for other in names}:
        return "ignore", "says where, not what"
    for pattern, reason in _IGNORED:
        if pattern.fullmatch(lower):
            return "ignore", reason
    return "feature", "a column of numbers"


def told_by_name(header: Header) -> Header:
    """Return a header of pictures in which columns beside them have the roles that their names tell."""
    if header.shape is None or not header.columns or header.roles:
        return header
    return replace(header, roles=tuple(role_of(name, header.columns)[0] for name in header.columns))


def _role(one: ColumnFacts, names: Sequence[str]) -> Role:
    if not one.number:
        if one.rounded:
            return Role(one.name, "text", f"ids that a spreadsheet rounded ({one.rounded})")
        return Role(one.name, "text", "texts, or whole numbers beyond 2^53")
    if not one.filled:
        return Role(one.name, "ignore", "holds no value")
    return Role(one.name, *role_of(one.name, names))


def _is_band_error(lower: str, names: Sequence[str]) -> bool:
    """Whether `z_err`, `zerr` is the error of the magnitude z: g and r have such errors too."""
    if not lower.startswith("z") or not is_error(lower):
        return False
    others = {re.sub(r"[\s.\-/]+", "_", other.strip()).lower() for other in names}
    return f"g{lower[1:]}" in others and f"r{lower[1:]}" in others


def plain(name: str) -> str:
    """A column's name for comparison: case, blanks and underscores aside."""
    return name.strip().lower().replace("_", "").replace(" ", "")


def _first(names: Sequence[str], known: Sequence[str], taken: Mapping[str, Role], fits: object) -> str:
    """The first of `known` names that there is, is not `taken` and `fits`, else ""."""
    lower = {plain(name): name for name in reversed(names) if name not in taken}
    assert callable(fits)
    return next((lower[key] for key in known if key in lower and fits(lower[key])), "")


def _answer(facts: Mapping[str, ColumnFacts], names: Sequence[str]) -> str:
    beside_x = any(plain(name) == "x" for name in names)

    def fits(name: str) -> bool:
        if plain(name) == "y" and (beside_x or is_band(name, names)):
            return False
        return facts[name].filled > 0

    return _first(names, LABEL_COLUMNS, {}, fits)


def _groups(name: str, facts: Mapping[str, ColumnFacts]) -> bool:
    """Whether a column ties rows together: not all of its cells differ, and it is no number within a field."""
    lower = {plain(other) for other in facts}
    if plain(name) == "obj" and {"run", "camcol", "field"} <= lower:
        return False
    return not facts[name].unique and facts[name].filled > 0 and not facts[name].rounded


def _id(facts: Mapping[str, ColumnFacts], names: Sequence[str], taken: Mapping[str, Role], notes: list[str]) -> str:
    """The column that names the rows; what is wrong with others is noted."""
    lower = {plain(name): name for name in reversed(names) if name not in taken}
    for name in (lower[key] for key in IDS if key in lower):
        one = facts[name]
        if one.rounded:
            notes.append(
                f"{name} is no key: a spreadsheet rounded its ids ({one.rounded!r}), so different objects share one"
            )
        elif one.unique:
            return name
        elif one.filled:
            notes.append(f"{name} is no key: some of its ids stand more than once, or are empty")
    return ""


def _tells(values: np.ndarray, labels: np.ndarray) -> bool:
    """Whether whole numbers (s,) and the classes of the first s rows go one to one."""
    known = labels[: len(values)] >= 0
    values, classes = values[known], labels[: len(values)][known]
    if len(values) < _TELLING or not np.isfinite(values).all() or (values % 1 != 0).any():
        return False
    codes, at = np.unique(values, return_inverse=True)
    pairs = len(np.unique(at * (int(classes.max()) + 1) + classes))
    return 1 < len(codes) == pairs == len(np.unique(classes))


__all__ = [
    "DEC", "IDS", "RA", "UNKNOWN", "ColumnFacts", "Role", "Roles", "class_of", "features_of", "infer", "is_unknown",
    "plain", "role_of", "with_told",
]  # fmt: skip
