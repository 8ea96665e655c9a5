"""A table alone as a Reading: roles, labels, ids and groups from a first look, the numbers streamed after it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from estampa.data.record import Header
from estampa.data.roles import DEC, IDS, RA, Role, Roles, class_of, infer, is_unknown, plain, with_told
from estampa.data.skytext import column_of_degrees
from estampa.data.sources._base import Block, Reading, ReadOptions, fingerprint_of, stat_facts, table_rows_per_block
from estampa.data.sources._labels import MISSING, NO_ANSWERS, Answers, as_numbers, encode, spelled_alike
from estampa.data.sources._rows import forbid, record_of
from estampa.data.sources._sheets import OTHER_LENGTH, Sheet
from estampa.data.sources._sheetscan import Parsed, Scan, floats, parsed, scan
from estampa.data.sources._tables import GROUP_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, Table, split_of
from estampa.errors import SourceError
from estampa.plain import numbered

_NAMED = 12  #: columns named in a note
_KEPT = (*LABEL_COLUMNS, *GROUP_COLUMNS, *SPLIT_COLUMNS, *RA, *DEC)


@dataclass(kw_only=True)
class SheetReading(Reading):
    """Rows of a table alone: there are no images, and the numbers are read a block at a time."""

    sheet: Sheet
    held: list[Parsed] | None  #: all of it, where it is small enough

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:  # noqa: ARG002 - there are no images
        """Yield nothing: a table alone has no images."""
        return iter(())

    def table_blocks(
        self, start: int = 0, size: int | None = None, names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, np.ndarray, dict[int, str]]]:
        """See Reading."""
        columns, step = self.header.columns if names is None else names, table_rows_per_block(self.header, size)
        values, filled = np.empty((step, len(columns))), 0
        first, rejected = start, dict[int, str]()
        for some in parsed(self.sheet, start, columns) if self.held is None else self.held:
            if some.start + some.rows <= start:
                continue
            numbers = np.empty((some.rows, len(columns)))
            bad = dict(some.bad)
            for i, name in enumerate(columns):
                numbers[:, i], texts = some.numbers[name]
                for at, text in texts.items():
                    bad.setdefault(some.start + at, _fault(name, text))
            numbers[[row - some.start for row in bad]] = np.nan
            taken = max(0, start - some.start)
            while taken < some.rows:
                count = min(step - filled, some.rows - taken)
                values[filled : filled + count] = numbers[taken : taken + count]
                begin = some.start + taken
                rejected |= {row: why for row, why in sorted(bad.items()) if begin <= row < begin + count}
                filled, taken = filled + count, taken + count
                if filled == step:
                    yield first, values, rejected
                    first, filled, rejected = first + step, 0, {}
                    values = np.empty_like(values)
        if filled:
            yield first, values[:filled], rejected


def reading_of_sheet(source: str, paths: Sequence[Path], sheet: Sheet, options: ReadOptions) -> SheetReading:
    """Make a Reading of a table alone.

    Raises SourceError for a table without rows or without a column of numbers, with decimal commas, for a column that
    is asked for and not there, and for what cannot be read.
    """
    forbid(options, sheet.path, "layout", "reshape", "size")
    asked = {part.strip() for part in options.label.split(",")} | {options.label, options.group}
    keep = {name for name in sheet.names if name in asked or plain(name) in _KEPT}
    ids = {name for name in sheet.names if plain(name) in IDS}
    seen = scan(sheet, keep, ids, one_hot=True)
    if not seen.n:
        raise SourceError(
            "no rows", where=sheet.path, cure="Export the table again: it has a heading and nothing else."
        )
    if 2 * seen.bad > seen.n:
        raise SourceError(
            "most rows do not fit the heading line", where=sheet.path, got=seen.first_bad,
            cure="Numbers with decimal commas in a comma separated file look so: export it with points.",
        )  # fmt: skip
    roles = infer(seen.facts, label=options.label, group=options.group, classes=options.classes, where=sheet.path)
    answers, told = _answers(seen, roles, sheet.path, options)
    told += _alike(answers)
    if answers.values is not None and answers.task == "classification":
        roles = with_told(roles, seen.facts, answers.values)
    roles, warned = (roles, []) if options.record is not None else _without_mixed(roles, seen)
    columns = roles.table
    if not columns:
        raise SourceError(
            "no column of numbers", where=sheet.path, got=", ".join(sheet.names[:_NAMED]),
            allowed="a table of measurements, or one with a column of files",
        )  # fmt: skip
    split = None
    if roles.split:
        split = split_of(Table(sheet.path, {"split": seen.texts(roles.split).tolist()}, seen.n))
    row_ids, named = _ids(seen, roles, sheet.path)
    header = Header(
        n=seen.n, shape=None, dtype="", task=answers.task, classes=answers.classes,
        origin={
            "paths": [p.name for p in paths], **({"ids": named} if named else {}),
            **({"texts": _candidates(seen, roles)} if answers.task == "unlabelled" else {}),
        },
        read=replace(record_of(source, options), size=None),
        columns=columns, roles=roles.of(columns), published_split=split is not None,
        column_units=tuple(sheet.units.get(name, "") for name in columns) if sheet.units else (),
    )  # fmt: skip
    return SheetReading(
        header=header,
        ids=row_ids,
        labels=answers.values,
        groups=None if not roles.group else seen.texts(roles.group),
        split=split,
        fingerprint=fingerprint_of("sheet 2", source, stat_facts(paths), options),
        notes=[*told, *roles.notes, *([f"ids: {named}"] if named else []), *_notes(roles, sheet), *warned],
        sheet=sheet,
        held=seen.held,
    )


# ---------------------------------------------------------------------------------------------- labels


def _answers(seen: Scan, roles: Roles, path: Path, options: ReadOptions) -> tuple[Answers, list[str]]:
    """Labels from one column or from one-hot ones, and what is to be said."""
    lenient, classes = options.record is not None, options.classes
    if roles.one_hot:
        return _of_one_hot(seen, roles.one_hot, path, options)
    if not roles.label:
        if classes and lenient:
            return Answers(np.full(seen.n, -1, np.int64), classes, "classification"), []
        known = ", ".join(_candidates(seen, roles))
        said = "no column is the answer: name one with --label COLUMN"
        return NO_ANSWERS, [said + (f" (columns of texts: {known})" if known else "")]
    where = f"{path}, column {roles.label!r}"
    numbers = seen.kept(roles.label)
    if numbers is not None:
        return encode(numbers, classes, where, lenient), [f"label: column {roles.label!r}"]
    texts = seen.texts(roles.label)
    for row in np.flatnonzero(np.char.startswith(texts, "=")).tolist():
        raise SourceError(
            "a formula in place of a label", where=f"{where}, row {row + 1}", got=repr(str(texts[row])),
            cure="Export the values of the cells, not their formulas.",
        )  # fmt: skip
    kinds, at = np.unique(texts, return_inverse=True)
    unknown = np.array([is_unknown(str(kind)) and str(kind) not in classes for kind in kinds])
    notes = [f"label: column {roles.label!r}"]
    if unknown.any():
        count = int(unknown[at].sum())
        notes.append(f"{numbered(count, 'row')} labelled {', '.join(kinds[unknown])}: taken as without a label")
    return _of_kinds(np.where(unknown, "", kinds), at, classes, (where, lenient)), notes


def _of_one_hot(seen: Scan, names: Sequence[str], path: Path, options: ReadOptions) -> tuple[Answers, list[str]]:
    """Labels from columns of 0 and 1: the class whose column alone is 1."""
    facts = {one.name: one for one in seen.facts}
    odd = [name for name in names if not facts[name].binary]
    if odd:
        raise SourceError(
            f"column {odd[0]!r} is not of 0 and 1 alone", where=path,
            allowed="one column per class, 1 where it is of it", cure="Name one column of classes with --label.",
        )  # fmt: skip
    ones = seen.ones(names)
    alone = ones.sum(1) == 1
    classes = [class_of(name) for name in names]
    given = [name if not is_unknown(name) or name in options.classes else "" for name in classes]
    at = ones.argmax(1)
    kinds = np.array([*given, ""], dtype=str)
    lenient = options.record is not None
    answers = _of_kinds(kinds, np.where(alone, at, len(given)), options.classes, (str(path), lenient))
    notes = [f"label: columns {', '.join(names)}, of which a row has one"]
    for name, known in zip(classes, given, strict=True):
        if not known:
            count = int((alone & (at == classes.index(name))).sum())
            notes.append(f"{numbered(count, 'row')} labelled {name}: taken as without a label")
    if not alone.all():
        notes.append(f"{numbered(int((~alone).sum()), 'row')} with no class or several: taken as without a label")
    return answers, notes


def _of_kinds(kinds: np.ndarray, at: np.ndarray, classes: Sequence[str], how: tuple[str, bool]) -> Answers:
    """Answers of rows, of which row i has the text kinds[at[i]]: as `from_texts`, without a list of all texts.

    `how` is where they stand, and whether what is none of the classes is left unlabelled.
    """
    where, lenient = how
    for kind in (np.int64, np.float64):
        try:
            numbers = as_numbers(kinds.tolist(), kind)
        except (ValueError, OverflowError):
            continue
        return encode(numbers[at], classes, where, lenient)
    found = encode(
        kinds, classes or tuple(sorted(k for k in kinds.tolist() if k.lower() not in MISSING)), where, lenient
    )
    if found.values is None:
        return found
    lost = (found.values < 0) & np.array([k.lower() not in MISSING for k in kinds.tolist()])
    return Answers(found.values[at], found.classes, found.task, int(lost[at].sum()) if found.strange else 0)


def _candidates(seen: Scan, roles: Roles) -> list[str]:
    """Columns of texts that may be the answer."""
    texts = [f for f in seen.facts if roles.columns[f.name].role == "text" and f.filled and not (f.unique or f.rounded)]
    return [one.name for one in texts if not seen.columns[one.name].beyond][:_NAMED]


# ---------------------------------------------------------------------------------------------- names of the rows


def _ids(seen: Scan, roles: Roles, path: Path) -> tuple[np.ndarray, str]:
    """Ids (n,) and how they were made, in words: a column's, positions, or row numbers ("" for the first)."""
    if roles.id:
        ids = seen.texts(roles.id)
        for row in np.flatnonzero(np.char.startswith(ids, "=")).tolist():
            raise SourceError(
                "a formula in place of an id", where=f"{path}, row {row + 1}, column {roles.id!r}",
                got=repr(str(ids[row])), cure="Export the values of the cells, not their formulas.",
            )  # fmt: skip
        return ids, ""
    if roles.position:
        ra, dec = (_degrees(seen, name, kind, path) for name, kind in zip(roles.position, ("ra", "dec"), strict=True))
        if ra is not None and dec is not None and np.isfinite(ra + dec).any():
            places = zip(ra.tolist(), np.where(np.abs(dec) <= 90, dec, np.nan).tolist(), strict=True)
            names = [f"{a:.7f}{d:+.7f}" if math.isfinite(a + d) else f"row {i}" for i, (a, d) in enumerate(places)]
            said = f"positions, {roles.position[0]} and {roles.position[1]} in degrees"
            return _apart(names), said
    return np.arange(seen.n).astype(f"U{len(str(seen.n))}"), "numbers of the rows"


def _degrees(seen: Scan, name: str, kind: str, path: Path) -> np.ndarray | None:
    numbers = seen.kept(name)
    if numbers is not None:
        return numbers.astype(np.float64)
    texts = seen.texts(name).tolist()
    values, bad = floats(texts)
    if not bad:
        return values
    try:
        return column_of_degrees(texts, kind, f"{path}, column {name!r}")
    except SourceError:
        return None


def _apart(names: list[str]) -> np.ndarray:
    """Names made unique: the second of one name is "name #2"."""
    count: dict[str, int] = {}
    for i, name in enumerate(names):
        count[name] = count.get(name, 0) + 1
        if count[name] > 1:
            names[i] = f"{name} #{count[name]}"
    return np.array(names)


# ---------------------------------------------------------------------------------------------- what is said


def _without_mixed(roles: Roles, seen: Scan) -> tuple[Roles, list[str]]:
    """Roles in which a column of numbers with some texts that nobody learns from is one of texts; and what to say."""
    found, notes = dict(roles.columns), []
    for name, column in seen.columns.items():
        if not column.mixed or found[name].role not in ("feature", "ignore", "leak", "weight"):
            continue
        row, text = column.first
        said = f"{numbered(column.texts, 'cell')} of {name} no number (row {row + 1}: {text.strip()!r})"
        if found[name].role == "feature":
            notes.append(f"{said}: such rows are left out")
        else:
            found[name] = Role(name, "text", "texts among numbers")
            notes.append(f"{said}: the column is left out")
    return replace(roles, columns=found), notes


def _alike(answers: Answers) -> list[str]:
    """What is to be said of classes that are one, spelled in two ways."""
    alike = spelled_alike(answers.classes)
    return [f"classes that differ by case or blanks alone, and are learned apart: {'; '.join(alike)}"] if alike else []


def _notes(roles: Roles, sheet: Sheet) -> list[str]:
    """What each column is for, in a few lines."""
    by_role: dict[str, list[Role]] = {}
    for one in roles.columns.values():
        by_role.setdefault(one.role, []).append(one)
    notes = []
    for role, words in (
        ("feature", "learned from"),
        ("leak", "left out, as {} the answer (--also takes one all the same)"),
        ("ignore", "kept aside"),
        ("weight", "weights of the rows, kept aside"),
        ("text", "left out, as no numbers"),
    ):
        mine = by_role.get(role, [])
        if mine:
            said = words.format("it tells" if len(mine) == 1 else "they tell")
            notes.append(f"{numbered(len(mine), 'column')} {said}: {_listed(mine, role)}")
    if sheet.nested:
        notes.append(f"left out, as several values a row: {', '.join(sheet.nested[:_NAMED])}")
    return notes


def _listed(mine: Sequence[Role], role: str) -> str:
    """Names with what they have in common said once."""
    if role == "feature":
        names = [one.name for one in mine]
        return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    reasons: dict[str, list[str]] = {}
    for one in mine:
        reasons.setdefault(one.reason, []).append(one.name)
    told = []
    for reason, names in reasons.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        told.append(f"{', '.join(names[:_NAMED])}{more} ({reason})")
    return "; ".join(told)


def _fault(name: str, text: str) -> str:
    text = text.strip()
    if text.startswith("="):
        return f"{name}: the formula {text[:40]!r}, not its value"
    return f"{name}: {text[:40]!r} is no number"


__all__ = ["OTHER_LENGTH", "SheetReading", "reading_of_sheet"]
