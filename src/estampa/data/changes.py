"""What became of a Dataset: two files compared, class by class and part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.record import PARTS
from estampa.data.view import Dataset
from estampa.page import Table, fragment

_LISTED = 1000  # ids of each kind in JSON
UNLABELLED = "(unlabelled)"


@dataclass(frozen=True)
class Changes:
    """What `new` has that `old` had not, and the reverse.

    An object is the same where its id is; one whose id is gone, but whose pixels stand under another new id, was
    renamed and is the same too. Row numbers: `added` of the new file, `removed` of the old one, `same` (m, 2) of both.
    """

    old: Dataset
    new: Dataset
    added: np.ndarray
    removed: np.ndarray
    same: np.ndarray

    @cached_property
    def relabelled(self) -> np.ndarray:
        """Rows of the new file with another class (or target) than before."""
        was, now = _answers(self.old)[self.same[:, 0]], _answers(self.new)[self.same[:, 1]]
        return np.asarray(self.same[was != now, 1])

    @cached_property
    def moved(self) -> np.ndarray:
        """Rows of the new file that are in another part than before."""
        return np.asarray(self.same[self.old.split[self.same[:, 0]] != self.new.split[self.same[:, 1]], 1])

    @cached_property
    def altered(self) -> np.ndarray:
        """Rows of the new file with other pixels (or, of a table alone, other numbers) than before."""
        return np.asarray(self.same[self.old.hashes[self.same[:, 0]] != self.new.hashes[self.same[:, 1]], 1])

    @cached_property
    def renumbered(self) -> tuple[str, ...]:
        """Classes that had another number: a model of the old file would call them by another name."""
        now = {name: number for number, name in enumerate(self.new.classes)}
        return tuple(name for number, name in enumerate(self.old.classes) if now.get(name, number) != number)

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Class -> old | added | removed | new -> all and each part -> objects."""
        sides = {
            "old": (self.old, np.arange(self.old.n)), "added": (self.new, self.added),
            "removed": (self.old, self.removed), "new": (self.new, np.arange(self.new.n)),
        }  # fmt: skip
        names = [*self.old.classes, *(name for name in self.new.classes if name not in self.old.classes)] or ["objects"]
        found: dict[str, dict[str, dict[str, int]]] = {name: {} for name in [*names, UNLABELLED]}
        for side, (one, rows) in sides.items():
            whose, code = np.unique(_classes(one)[rows], return_inverse=True)
            tally = np.bincount(code * len(PARTS) + one.split[rows], minlength=len(whose) * len(PARTS))
            of = dict(zip(whose.tolist(), tally.reshape(-1, len(PARTS)).tolist(), strict=True))
            for name, counts in found.items():
                parts = of.get(name, [0] * len(PARTS))
                counts[side] = {"all": sum(parts), **dict(zip(PARTS, parts, strict=True))}
        if not any(side["all"] for side in found[UNLABELLED].values()):
            del found[UNLABELLED]
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain types; ids are listed up to a thousand of each kind, `objects` holds the whole numbers."""
        rows: dict[str, tuple[Dataset, np.ndarray]] = {
            "added": (self.new, self.added), "removed": (self.old, self.removed), "moved": (self.new, self.moved),
            "relabelled": (self.new, self.relabelled), "altered": (self.new, self.altered),
        }  # fmt: skip
        return {
            "old": str(self.old.path), "new": str(self.new.path),
            "objects": {"old": self.old.n, "new": self.new.n, **{kind: len(r) for kind, (_, r) in rows.items()}},
            "classes": self.counts(),
            "renumbered": list(self.renumbered),
            "ids": {kind: one.ids[r[:_LISTED]].tolist() for kind, (one, r) in rows.items()},
        }  # fmt: skip

    def table(self) -> Table:
        """Objects by class: before, added, removed, now, and the parts that there are now, with what they gained."""
        counts = self.counts()
        used = [part for part in PARTS[1:] if any(c[side][part] for c in counts.values() for side in ("old", "new"))]
        head = ["class", "old", "added", "removed", "new", *used]
        if len(counts) > 1:
            counts["all"] = {
                side: {key: sum(c[side][key] for c in counts.values()) for key in ("all", *PARTS)}
                for side in ("old", "added", "removed", "new")
            }
        rows: list[list[Any]] = [
            [name, *(c[side]["all"] for side in ("old", "added", "removed", "new")), *(_gain(c, part) for part in used)]
            for name, c in counts.items()
        ]
        return Table(head, rows)

    def sentences(self) -> list[str]:
        """What the table does not show; nothing where all else is as it was."""
        said = []
        if len(self.moved):
            said.append(f"{len(self.moved):,} objects are in another part than before{_some(self.new, self.moved)}")
        if len(self.relabelled):
            said.append(f"{len(self.relabelled):,} objects have another label{_some(self.new, self.relabelled)}")
        if len(self.altered):
            said.append(f"{len(self.altered):,} objects have other pixels{_some(self.new, self.altered)}")
        if self.renumbered:
            said.append(f"classes with another number than before: {', '.join(self.renumbered)}")
        return said

    def _repr_html_(self) -> str:
        return fragment(self.table())


def changes(old: Dataset | Path | str, new: Dataset | Path | str) -> Changes:
    """Compare two Dataset files; DatasetError when one cannot be opened."""
    before, after = (one if isinstance(one, Dataset) else Dataset.open(one) for one in (old, new))
    row = {name: number for number, name in enumerate(after.ids.tolist())}
    same = [(number, row[name]) for number, name in enumerate(before.ids.tolist()) if name in row]
    gone = _left(before.n, [a for a, _ in same])
    come = _left(after.n, [b for _, b in same])
    waiting: dict[int, list[int]] = {}
    for number in come[::-1].tolist():
        waiting.setdefault(int(after.hashes[number]), []).append(number)
    # Renamed: the same pixels under an id that is new.
    same += [(number, free.pop()) for number in gone.tolist() if (free := waiting.get(int(before.hashes[number])))]
    pairs = np.array(sorted(same), np.int64).reshape(-1, 2)
    return Changes(before, after, _left(after.n, pairs[:, 1]), _left(before.n, pairs[:, 0]), pairs)


def _left(n: int, rows: Sequence[int] | np.ndarray) -> np.ndarray:
    """Row numbers below n that are not among `rows`."""
    free = np.ones(n, bool)
    free[np.asarray(rows, np.int64)] = False
    return np.flatnonzero(free)


def _classes(one: Dataset) -> np.ndarray:
    """(n,) names of classes; "objects" where there are none."""
    if one.task != "classification":
        return np.where(one.labelled() | (one.task == "unlabelled"), "objects", UNLABELLED)
    names: np.ndarray = np.array([*one.classes, UNLABELLED])[one.labels]
    return names


def _answers(one: Dataset) -> np.ndarray:
    """(n,) what an object is said to be: the class's name, or the target as text."""
    return np.asarray(one.labels.astype(np.str_)) if one.task == "regression" else _classes(one)


def _gain(counts: dict[str, dict[str, int]], part: str) -> str:
    """Objects of a part now, with the difference from before where there is one."""
    now, was = counts["new"][part], counts["old"][part]
    return f"{now:,}" + (f" ({now - was:+,})" if now != was else "")


def _some(dataset: Dataset, rows: np.ndarray) -> str:
    """The first few ids behind a colon, for a sentence."""
    return f": {', '.join(dataset.ids[rows[:5]].tolist())}" + (", ..." if len(rows) > 5 else "")
