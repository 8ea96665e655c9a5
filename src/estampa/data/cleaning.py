"""Which objects a person may want to leave out, kind by kind, and why. Nothing is deleted: a list is suggested.

Suggested from the start are only exact copies (all but the first of each set, where their labels agree) and files that
cannot be read: both lose nothing. Everything else is for people to look at. A near duplicate may be the better of the
two, one of two labels is right and only a person knows which, and what is blurred or odd is often just what the model
will meet.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from estampa.data.dataset import Dataset
from estampa.data.deal import TEST
from estampa.data.duplicates import Twins
from estampa.data.quality import Quality, standing_out
from estampa.data.rawfiles import RawFiles
from estampa.data.survey import Survey
from estampa.plain import csv_safe

#: Kind -> title, what it means.
KINDS: dict[str, tuple[str, str]] = {
    "unreadable": (
        "Unreadable files",
        (
            "Damaged, cut short, no pictures, too large, or of 16 bits among 8: no build reads them as they are; the "
            "reason stands beside each. Suggested: leave them out, or mend the files and build again."
        ),
    ),
    "exact": (
        "Exact copies",
        (
            "The same pixels to the last bit, under one label. Copies count twice in training, and leak where a split "
            "parts them. Suggested: keep the first of each group."
        ),
    ),
    "label_conflict": (
        "The same picture under two labels",
        (
            "Exact or near copies of each other whose labels differ: at least one label is wrong. Which one, a person "
            "must say, so nothing is suggested."
        ),
    ),
    "near": (
        "Near duplicates",
        (
            "One picture stored twice: encoded again, brighter, resized, with a little noise. The smaller "
            "correlation of shape and fine detail (r) stands below each. Only exact copies among them are "
            "suggested: of two near duplicates the later one may be the better one."
        ),
    ),
    "labels": (
        "Likely wrong labels",
        (
            "A simple model that has not seen the picture takes it for another class, and its label is among "
            "those that confident learning holds for wrong. Pictures that are merely hard are here too."
        ),
    ),
    "plain": (
        "Plain pictures",
        "Lowest entropy of the grey values (in bits; 0 is one colour): empty frames, placeholders, plain grounds.",
    ),
    "blurred": (
        "Blurred",
        (
            "Lowest variance of the Laplacian over the picture's own variance. Smooth things are here too, and "
            "pictures that were enlarged. It is measured at the size that the model sees."
        ),
    ),
    "small": (
        "Enlarged from few pixels",
        "Files so small that they had to be enlarged more than twice in height or width to the size of the others.",
    ),
    "shape": (
        "Odd shape",
        (
            "Height and width in another relation than in most files: banners, strips, collages. Bringing them to one "
            "size distorts or cuts them most."
        ),
    ),
    "colour": (
        "Colours unlike the others",
        "Grey pictures where most are in colour, or the reverse. A model may take the difference for a class.",
    ),
    "moving": (
        "Several frames or pages",
        "Animations and documents, of which the first frame or page was read.",
    ),
    "odd": (
        "Odd values",
        (
            "Farthest from the middle of the set in brightness, contrast, extremes and gradients of each channel "
            "(Mahalanobis distance of describe()); the statistic that differs most is named."
        ),
    ),
}  # fmt: skip
SUGGESTED = ("unreadable", "exact")
_AT_LEAST = 24  # pictures of a ranked kind that are listed for comparison, where so many do not stand out
_SHARE = 50  # but at most one in so many
_ENLARGED = 2.0
_SHAPE = 2.0  # times taller or wider than the median, at least
_GREY = 3.0  # colourfulness below which a picture is grey: a JPEG's own noise
_MOST = 0.9  # share of the others from which on the rest is odd
_RANKED = (
    ("plain", "entropy", "low", "{:.2f} bits"),
    ("blurred", "sharpness", "low", "sharpness {:.4f}"),
    ("odd", "oddness", "high", "{:.1f} deviations from the middle"),
)


@dataclass(frozen=True)
class Suspect:
    """One object that may be left out."""

    id: str
    row: int  #: in the Dataset; -1 where it holds no such row
    note: str  #: its measure, or what it is a copy of
    suggested: bool = False


@dataclass(frozen=True)
class Suspects:
    """All objects of one kind, a key of KINDS; those that belong together in one group, else alone in theirs.

    `standing` of them stand out; the rest are the next in order, for comparison (None = all were found).
    """

    kind: str
    groups: tuple[tuple[Suspect, ...], ...]
    standing: int | None = None
    remark: str = ""

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    def every(self) -> Iterator[Suspect]:
        """Each suspect, group by group."""
        for group in self.groups:
            yield from group


@dataclass(frozen=True)
class Doubts:
    """Labels that a model doubts, the likeliest first, as a room downstream found them.

    `rows` (m,) of the Dataset; `notes` one line each; `remark` how they were found and how far to trust them.
    """

    rows: np.ndarray
    notes: Sequence[str]
    remark: str = ""


@dataclass(frozen=True)
class Cleaning:
    """What may be left out, kind by kind."""

    kinds: tuple[Suspects, ...]
    unread: tuple[str, ...] = ()  #: files in the folder that no build reads
    files: bool = False  #: whether the files themselves were looked at

    def suggested(self) -> list[tuple[str, str]]:
        """(id, reason) of what is suggested, each id once."""
        found: dict[str, str] = {}
        for kind in self.kinds:
            for one in kind.every():
                if one.suggested:
                    found.setdefault(one.id, reason_of(kind.kind, one))
        return list(found.items())

    def to_csv(self) -> str:
        """The suggestions as `build --exclude` takes them: id, reason."""
        return _csv([("id", "reason"), *self.suggested()])

    def all_csv(self) -> str:
        """Everything that was found: kind, group, id, note, suggested. Not a list to exclude."""
        lines: list[tuple[str, ...]] = [("kind", "group", "id", "note", "suggested")]
        for kind in self.kinds:
            for number, group in enumerate(kind.groups, 1):
                lines += [(kind.kind, str(number), s.id, s.note, "yes" if s.suggested else "no") for s in group]
        return _csv(lines)

    def counts(self) -> dict[str, int]:
        """Objects of each kind that were found; of ranked kinds those that stand out."""
        return {k.kind: len(k) if k.standing is None else k.standing for k in self.kinds}


def reason_of(kind: str, suspect: Suspect) -> str:
    """Why an object is left out, as the list says it."""
    return f"{KINDS[kind][0].lower()}: {suspect.note}" if suspect.note else KINDS[kind][0].lower()


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([csv_safe(cell) for cell in line] for line in lines)
    return out.getvalue()


def cleaning(
    dataset: Dataset,
    copies: tuple[list[np.ndarray], Twins | None],
    measures: tuple[Survey, Quality] | None,
    files: RawFiles | None = None,
    doubts: Doubts | None = None,
) -> Cleaning:
    """Put together what was found.

    `copies`: sets of exact copies and the near duplicates (None = not looked for); `measures`: of the pixels (None for
    a table); `files`: None where the files are not at hand; `doubts`: labels that a model doubts.
    """
    ids = dataset.ids
    kinds = [
        Suspects("unreadable", tuple((Suspect(str(i), -1, why, True),) for i, why in dataset.rejected)),
        *_copies(dataset, *copies),
    ]
    if doubts is not None:
        pairs = zip(doubts.rows.tolist(), doubts.notes, strict=True)
        kinds.append(Suspects("labels", tuple((Suspect(str(ids[r]), r, n),) for r, n in pairs), remark=doubts.remark))
    if measures is not None:
        kinds += _measured(dataset, *measures)
    if files is not None:
        kinds += _files(dataset, files)
    order = list(KINDS)
    kept = sorted((k for k in kinds if len(k) or k.remark), key=lambda k: order.index(k.kind))
    return Cleaning(tuple(kept), files.unread if files else (), files is not None)


def _copies(dataset: Dataset, exact: list[np.ndarray], twins: Twins | None) -> Iterator[Suspects]:
    """Sets of exact copies, of near duplicates with their exact copies, and of either under two labels.

    First in a set, and kept, is a labelled object before one without a label, and one of the test part before others:
    a test part that loses rows is no longer the one that others have answered.
    """
    ids, known = dataset.ids, dataset.labelled()
    rank = {int(r): (not known[r], dataset.split[r] != TEST, int(r)) for rows in exact for r in rows}
    kept = {int(r): min(map(int, rows), key=rank.__getitem__) for rows in exact for r in rows}
    strength = {} if twins is None else _strength(twins)
    groups: dict[str, list[tuple[Suspect, ...]]] = {"exact": [], "label_conflict": [], "near": []}
    for rows in joined(exact, twins):
        rows.sort(key=lambda r: (not known[r], dataset.split[r] != TEST, r))
        labels = set(dataset.labels[[r for r in rows if known[r]]].tolist()) if dataset.task != "unlabelled" else set()
        near = len({kept.get(r, r) for r in rows}) > 1
        kind = "label_conflict" if len(labels) > 1 else "near" if near else "exact"
        groups[kind].append(
            tuple(
                Suspect(str(ids[r]), r, note, kind != "label_conflict" and kept.get(r, r) != r)
                for r, note in ((r, _likeness(ids, r, rows, kept, strength)) for r in rows)
            )
        )
    for kind, some in groups.items():
        yield Suspects(kind, tuple(some))


def _likeness(
    ids: np.ndarray, row: int, rows: list[int], kept: dict[int, int], strength: dict[int, tuple[int, float]]
) -> str:
    """What a row is a copy of, or most like."""
    if kept.get(row, row) != row:
        return f"copy of {ids[kept[row]]}"
    if row in strength:
        other, correlation = strength[row]
        return f"like {ids[other]}, r {correlation:.3f}"
    return f"first of {len(rows)}"


def joined(exact: Sequence[np.ndarray], twins: Twins | None) -> list[list[int]]:
    """Rows that are joined by copies and near duplicates, however many steps apart; each set sorted, by first row."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    pairs = [(int(rows[0]), int(r)) for rows in exact for r in rows[1:]]
    pairs += [] if twins is None else [(int(a), int(b)) for a, b in twins.pairs]
    for one, two in pairs:
        a, b = sorted((root(one), root(two)))
        parent[b] = a
    sets: dict[int, list[int]] = {}
    for row in sorted(parent):
        sets.setdefault(root(row), []).append(row)
    return sorted(sets.values())


def _strength(twins: Twins) -> dict[int, tuple[int, float]]:
    """Row -> the row that is most like it, and their correlation."""
    best: dict[int, tuple[int, float]] = {}
    for (one, two), r in zip(twins.pairs.tolist(), twins.correlation.tolist(), strict=True):
        for a, b in ((one, two), (two, one)):
            if a not in best or best[a][1] < r:
                best[a] = (b, r)
    return best


def _measured(dataset: Dataset, looked: Survey, found: Quality) -> Iterator[Suspects]:
    ids = dataset.ids
    bare = set(looked.empty.tolist()) | set(looked.constant.tolist())
    photographs = dataset.dtype.kind == "u" and float(looked.high.max()) >= 64  # not drawings of 0 and 1, nor the sky
    for kind, name, side, words in _RANKED:
        values = getattr(found, name).astype(np.float64)
        if kind == "blurred" and not photographs:
            continue
        if kind != "plain":
            values = np.log(np.maximum(values, 1e-12))
        values[list(bare)] = np.nan
        standing = standing_out(values, side)
        order = np.argsort(values if side == "low" else -values, kind="stable")
        most = max(len(standing), min(_AT_LEAST, dataset.n // _SHARE))
        rows = order[np.isfinite(values[order])][:most].tolist()
        every = [(r, words.format(getattr(found, name)[r])) for r in rows]
        if kind == "odd":
            every = [(r, f"{note}, most in {found.odd_by[r]}") for r, note in every]
        if kind == "plain":
            empty = set(looked.empty.tolist())
            every = [(r, "no measured pixel" if r in empty else "one value") for r in sorted(bare)] + every
        extra = len(bare) if kind == "plain" else 0
        yield Suspects(kind, tuple((Suspect(str(ids[r]), r, note),) for r, note in every), len(standing) + extra)
    known = np.isfinite(found.colourfulness)
    grey = known & (found.colourfulness < _GREY)
    for rare, others in ((grey, "colour"), (known & ~grey, "grey")):
        if known.any() and 0 < rare.sum() <= (1 - _MOST) * known.sum():
            rows = np.flatnonzero(rare)
            notes = [f"colourfulness {found.colourfulness[r]:.0f}, most are in {others}" for r in rows]
            yield Suspects(
                "colour", tuple((Suspect(str(ids[r]), int(r), n),) for r, n in zip(rows, notes, strict=True))
            )


def _files(dataset: Dataset, files: RawFiles) -> Iterator[Suspects]:
    row_of = {str(name): row for row, name in enumerate(dataset.ids)}
    kept = [(row_of[name], *size) for name, size in files.sizes.items() if name in row_of]
    if not kept or dataset.shape is None:
        return
    rows, height, width = np.array(kept, np.int64).T
    ids = dataset.ids
    if len(set(zip(height.tolist(), width.tolist(), strict=True))) > 1 and not dataset.header.read.crop:
        factor = np.maximum(dataset.shape[0] / height, dataset.shape[1] / width)
        small = [i for i in np.argsort(-factor, kind="stable").tolist() if factor[i] > _ENLARGED]
        notes = [f"{height[i]} x {width[i]} pixels, enlarged {factor[i]:.1f} times" for i in small]
        yield Suspects("small", _alone(ids, rows[small], notes))
    shape = np.log(width / height)
    away = np.abs(shape - np.median(shape))
    odd = {*standing_out(shape, "low").tolist(), *standing_out(shape, "high").tolist()}
    odd_ones = sorted((i for i in odd if away[i] > np.log(_SHAPE)), key=lambda i: -away[i])
    notes = [f"{height[i]} x {width[i]} pixels" for i in odd_ones]
    yield Suspects("shape", _alone(ids, rows[odd_ones], notes))
    moving = [row_of[name] for name in files.moving if name in row_of]
    yield Suspects("moving", _alone(ids, np.array(moving, np.int64), ["several frames"] * len(moving)))


def _alone(ids: np.ndarray, rows: np.ndarray, notes: Sequence[str]) -> tuple[tuple[Suspect, ...], ...]:
    return tuple((Suspect(str(ids[r]), r, note),) for r, note in zip(rows.tolist(), notes, strict=True))
