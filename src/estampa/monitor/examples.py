"""Objects that show what moved: of a service's log from the inputs kept by consent, of data from the data themselves.

The objects are a fair sample of those that can be shown, taken on the way in bounded memory; among them, for each
figure that left its range, those that lie farthest on the side to which it moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from estampa.bundle.store import Bundle
from estampa.errors import InputError
from estampa.monitor.figures import Figure, Watch
from estampa.monitor.kept import Input, Kept
from estampa.monitor.observed import Block
from estampa.monitor.ranges import Ranges

FIGURES, EACH = 4, 6  #: figures that are shown, and objects of each
SAMPLE = 600  #: objects among which they are chosen
_BYTES = 64 << 20  #: of their pixels or values
_SEED = 19850301


@dataclass(frozen=True)
class Example:
    """An object that was watched.

    Attributes
    ----------
    id : of the answer, or of the object in its data.
    output : (classes,) or (1,) what the model said of it; NaN where it said nothing.
    input : what the model was fed: pixels (height, width, channels), or a raw row (columns,).
    expires : when a kept input is deleted, UTC; None of data.
    """

    id: str
    output: np.ndarray
    input: np.ndarray
    expires: datetime | None = None


@dataclass(frozen=True)
class Shown:
    """A figure that left its range, and objects that show how, the farthest first."""

    figure: Figure
    examples: tuple[Example, ...]


@dataclass
class _Held:
    """An object of the sample: its draw, and what is known of it."""

    key: float
    id: str
    told: dict[str, np.ndarray]
    flags: tuple[str, ...]
    input: np.ndarray | None


class Examples:
    """Takes a sample while `watch` reads, and chooses from it afterwards.

    Attributes
    ----------
    unshown : kept inputs that could not be shown: damaged, gone, of another model, or of another shape.
    """

    def __init__(self, bundle: Bundle, kept: Kept | None = None, now: datetime | None = None) -> None:
        """Take objects whose inputs are in `kept` and have not expired; without it, those of the data watched."""
        self._bundle, self._kept, self._now = bundle, kept, now or datetime.now(UTC)
        self._ids = set(kept.ids(self._now)) if kept is not None else set[str]()
        self._draw, self._held = np.random.default_rng(_SEED), list[_Held]()
        self._most = SAMPLE
        self.unshown = 0

    def add(self, block: Block) -> None:
        """Let a block pass."""
        if self._kept is None and block.inputs is None:
            return
        if block.inputs is not None and len(block):
            size = block.inputs[0].nbytes
            self._most = max(EACH * FIGURES, min(SAMPLE, _BYTES // max(size, 1)))
        keys = self._draw.random(len(block))
        worst = self._held[-1].key if len(self._held) >= self._most else 1.0
        for i in np.flatnonzero(keys < worst).tolist():
            name = str(block.ids[i])
            if self._kept is not None and name not in self._ids:
                continue
            given = {"input": block.describe, "embedding": block.components, "output": block.output}
            told = {kind: values[i] for kind, values in given.items() if values is not None}
            own = None if block.inputs is None else np.array(block.inputs[i])
            self._held.append(_Held(float(keys[i]), name, told, block.flags[i], own))
        self._held = sorted(self._held, key=lambda one: one.key)[: self._most]

    def shown(self, found: Watch, ranges: Ranges) -> tuple[Shown, ...]:
        """The figures that moved farthest, each with objects that show it; an object shows one figure only."""
        made: list[Shown] = []
        used: set[str] = set()
        for figure in _worth(found):
            examples: list[Example] = []
            for held in self._ordered(figure, ranges):
                if held.id not in used and len(examples) < EACH:
                    one = self._example(held)
                    examples += [one] if one is not None else []
                    used.add(held.id)
            if examples:
                made.append(Shown(figure, tuple(examples)))
            if len(made) == FIGURES:
                break
        return tuple(made)

    def _ordered(self, figure: Figure, ranges: Ranges) -> list[_Held]:
        """Those of the sample that show a figure, the farthest first."""
        if figure.kind == "flags":
            name = figure.name.removeprefix("flagged ")
            return [held for held in self._held if name in held.flags]
        learned = ranges.learned.get(figure.kind)
        if learned is None:
            return []
        held = [one for one in self._held if figure.kind in one.told and np.isfinite(one.told[figure.kind]).all()]
        if not held:
            return []
        rows = ranges.rows(figure.kind, np.stack([one.told[figure.kind] for one in held]))
        names = [column.name for column in learned.group.columns]
        if figure.name in names:
            column = learned.group.columns[names.index(figure.name)]
            values = rows[:, names.index(figure.name)]
            if column.way == "share":  # who has the mark, or lacks it
                wanted = figure.value > figure.expected_high
                return [one for one, value in zip(held, values, strict=True) if bool(value) == wanted]
            away = values if figure.value > figure.expected_high else -values
        else:
            plain = learned.plain
            away = (((rows - learned.mean)[:, plain : learned.group.begin] / learned.deviation) ** 2).sum(axis=1)
        return [held[i] for i in np.argsort(-away, kind="stable").tolist()]

    def _example(self, held: _Held) -> Example | None:
        output = held.told.get("output", np.full(1, np.nan))
        if held.input is not None:
            return Example(held.id, output, held.input)
        found = self._read(held.id)
        if found is None:
            self.unshown += 1
            return None
        return Example(held.id, output, found.array, found.expires)

    def _read(self, name: str) -> Input | None:
        """A kept input, if it is one of this model's that may still be shown."""
        assert self._kept is not None
        try:
            found = self._kept.read(name)
        except InputError:
            return None  # it was deleted meanwhile, or is damaged
        shape = (len(self._bundle.table.columns),) if self._bundle.of_table else self._bundle.pictures.shape
        fits = found.array.shape == tuple(shape) and found.facts.get("model") == self._bundle.hash
        return found if fits and found.expires > self._now else None


def _worth(found: Watch) -> Sequence[Figure]:
    """Figures that can be shown by objects, each feature once: of "g-r, typical" and "g-r, spread" the farther one."""
    alerts = {figure.name: figure for period in reversed(found.periods) for figure in period.alerts}
    alerts |= {figure.name: figure for figure in found.alerts}
    chosen: dict[str, Figure] = {}
    for figure in sorted(alerts.values(), key=lambda f: (f.joint, f.kind == "embedding", -f.score)):
        if figure.kind in ("input", "embedding", "output", "flags"):
            chosen.setdefault(f"{figure.kind}: {figure.name.rpartition(', ')[0] or figure.name}", figure)
    return list(chosen.values())
