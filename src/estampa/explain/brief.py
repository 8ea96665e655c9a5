"""The few maps of a run's report: right and wrong answers, within a bound of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.explain.picking import pick
from estampa.explain.result import Explained
from estampa.explain.run import How, explain_rows, seconds_a_picture
from estampa.plain import duration
from estampa.predict.source import DatasetRows
from estampa.progress import SILENT, Progress

PICTURES, LEAST = 16, 4
SECONDS = 15.0


@dataclass(frozen=True)
class Brief:
    """`explained`, or None with the reason in `why`; `why` is "" when as many were made as are wanted."""

    explained: Explained | None
    why: str = ""


def brief(
    bundle: Bundle, dataset: Dataset, rows: np.ndarray, output: np.ndarray, *, seconds: float = SECONDS, seed: int = 0,
    progress: Progress = SILENT,
) -> Brief:  # fmt: skip
    """Maps of at most 16 of `rows`, half of them wrong answers if there are so many.

    `output` (n, k): probabilities of the rows. Fewer pictures are taken when they would take longer than `seconds`,
    and none when four would.
    """
    from estampa import measure

    source, how = DatasetRows(dataset, np.asarray(rows)), How(seed=seed)
    answers = measure.decide(output, bundle.thresholds.decision)
    truth = np.asarray(dataset.labels)[rows].astype(np.int64)
    each = seconds_a_picture(bundle, source.take(np.arange(1)), how)
    many = min(PICTURES, int(seconds / max(each, 1e-9)))
    if many < LEAST:
        return Brief(
            None,
            f"Maps were left out: one takes about {duration(each)} with this net. `estampa explain` makes them.",
        )
    places = pick(answers, truth, many, seed=seed)
    explained = explain_rows(bundle, source, places, (answers, np.asarray(output), truth), how, progress)
    fewer = f" Fewer than {PICTURES}, since one takes about {duration(each)} with this net." if many < PICTURES else ""
    return Brief(explained, fewer.strip())
