"""What a model costs: milliseconds an answer, objects a second, bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.bundle.store import Bundle

_SINGLES, _WARM, _ROUNDS = 40, 3, 3  #: answers timed one by one, answers before them, rounds of whole batches


@dataclass(frozen=True)
class Cost:
    """What a model costs on this machine, on one thread.

    `single_ms` is the median time of one object alone, `slow_ms` the 95th percentile; `per_second` of objects in
    batches; `size` of the whole bundle and `model_size` of its graph in bytes; `parameters` None where not known.
    """

    single_ms: float
    slow_ms: float
    per_second: float
    size: int
    model_size: int
    parameters: int | None = None

    def to_json(self) -> dict[str, Any]:
        """{"cost": {...}}."""
        return {"cost": dict(vars(self))}

    def beside(self, other: Cost) -> list[tuple[str, str, str]]:
        """(what, ours, theirs) as texts."""
        rows = [
            ("one object, ms (median)", f"{self.single_ms:.2f}", f"{other.single_ms:.2f}"),
            ("one object, ms (95 %)", f"{self.slow_ms:.2f}", f"{other.slow_ms:.2f}"),
            ("objects a second, in batches", f"{self.per_second:,.0f}", f"{other.per_second:,.0f}"),
            ("graph, KiB", f"{self.model_size / 1024:,.0f}", f"{other.model_size / 1024:,.0f}"),
            ("whole bundle, KiB", f"{self.size / 1024:,.0f}", f"{other.size / 1024:,.0f}"),
        ]
        if self.parameters is not None and other.parameters is not None:
            rows.append(("parameters", f"{self.parameters:,}", f"{other.parameters:,}"))
        return rows


def costs_of(sides: Sequence[tuple[Bundle, np.ndarray]]) -> list[Cost]:
    """Time bundles on rows that they take (see `Bundle.score`), in turn, so that a busy machine meets all alike.

    One thread each; a round of single objects goes through the bundles one after another, then whole batches.
    """
    singles: list[list[float]] = [[] for _ in sides]
    batches: list[list[float]] = [[] for _ in sides]
    least = min(len(rows) for _, rows in sides)
    for turn in range(-_WARM, _SINGLES):
        for spent, (bundle, rows) in zip(singles, sides, strict=True):
            at = turn % least
            seconds = _timed(bundle, rows[at : at + 1])
            if turn >= 0:
                spent.append(seconds)
    for _ in range(_ROUNDS):
        for spent, (bundle, rows) in zip(batches, sides, strict=True):
            spent.append(_timed(bundle, rows) / len(rows))
    return [
        Cost(
            1e3 * float(np.median(one)), 1e3 * float(np.percentile(one, 95)), 1 / min(many), *_sizes(bundle),
            bundle.manifest.model.get("parameters"),
        )
        for one, many, (bundle, _) in zip(singles, batches, sides, strict=True)
    ]  # fmt: skip


def _timed(bundle: Bundle, rows: np.ndarray) -> float:
    began = time.perf_counter()
    bundle.score(rows, threads=1, wanted=("output",))
    return time.perf_counter() - began


def _sizes(bundle: Bundle) -> tuple[int, int]:
    files = bundle.manifest.files
    return sum(entry.size for entry in files.values()), files["model.onnx"].size
