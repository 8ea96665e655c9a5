"""A run's answers, some of them withheld: the confidence that keeps an accuracy, chosen anew from a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from estampa.errors import InputError
from estampa.evaluate.confidence import Abstention, abstention, choose_threshold, require_enough, require_kept
from estampa.evaluate.evaluation import opened, require_unseen, rows_of, truth_of, validated
from estampa.evaluate.judge import judge, spelled
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.data.dataset import Dataset


def keep_accuracy(
    run: Path | str | Bundle,
    keep: float,
    data: Dataset | Path | str | None = None,
    *,
    part: str = "",
    allow_seen: bool = False,
    how: tuple[int, int] = (1000, 0),
    progress: Progress = SILENT,
) -> Abstention:
    """Choose a threshold of confidence on the validation part that a bundle keeps; say what it comes to.

    Parameters
    ----------
    keep : the accuracy to keep, see `measure.selective.confidence_threshold`.
    data, part, allow_seen : what it is measured on, as `evaluate` takes them; None = the validation part itself, of
        which nothing but the choice can be learned.
    how : resamples and seed of the bootstrap.

    The bundle is not changed, and keeps no groups: objects are counted. Raises InputError for a bundle without a
    validation part, RecipeError where it is too small for `keep`, CheckFailed where no threshold keeps it.
    """
    from estampa.bundle.store import Bundle
    from estampa.predict import predict

    bundle = run if isinstance(run, Bundle) else Bundle.open(run)
    if bundle.manifest.reference_part != "validation":
        raise InputError(
            "the bundle keeps no validation part to choose a threshold on", where=bundle.folder,
            got=bundle.manifest.reference_part or "not recorded", cure="Train with data.validation above 0.",
        )  # fmt: skip
    reference = bundle.tensors("reference")
    own, answers = np.asarray(reference["labels"]), np.asarray(reference["output"], np.float64)
    require_enough(keep, own, None, bundle.task)
    threshold = choose_threshold(keep, own, answers, None, bundle.thresholds.decision)
    require_kept(threshold)
    progress.say(threshold.sentence)
    truth, output, groups = own, answers, None
    if data is not None:
        dataset = opened(data, bundle, progress)
        rows, chosen = rows_of(dataset, part, bundle)
        if chosen != "train" and not allow_seen:
            require_unseen(bundle, dataset, rows, progress)
        if (known := validated(bundle, dataset, rows)).any():
            progress.warn(f"the threshold was chosen on {int(known.sum()):,} of the {len(rows):,} judged rows")
        truth, groups = truth_of(dataset, rows, bundle.classes), dataset.groups
        groups = None if groups is None else np.asarray(groups)[rows]
        output = np.asarray(predict(bundle, dataset, part=rows, progress=progress).probabilities, np.float64)
    judgement = judge(
        truth, output, task=bundle.task, classes=bundle.classes, groups=groups, resamples=how[0], seed=how[1]
    )  # fmt: skip
    found = abstention(truth, output, groups, judgement, threshold, bundle.thresholds.decision)
    if found is None:
        raise InputError("too few objects to measure on", where="--keep-accuracy", allowed="10 or more", got=len(truth))
    return found


def lines(found: Abstention) -> list[str]:
    """For a terminal: the threshold, and what it comes to."""
    assert found.coverage is not None
    assert found.accuracy is not None
    return [
        f"threshold {found.threshold:.6f} of the answer's probability keeps {found.keep:g}",
        f"coverage  {spelled(found.coverage)}",
        f"accuracy  {spelled(found.accuracy)} among the answered",
    ]
