"""The steps that several studies share: a run kept on disk, folds done right, folds as they were published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import pipeline, recipe
from estampa.data.dataset import Dataset
from estampa.evaluate.crossval import crossval
from estampa.evaluate.judge import Judgement, judge
from estampa.measure import Interval, wilson
from estampa.progress import Progress
from estampa.run import Habits
from estampa.studies._table import WAYS, Ledger, Row, row_of

if TYPE_CHECKING:
    from estampa.train.fitted import ImageSet

PUBLISHED, AS_PUBLISHED, RIGHT, OURS = WAYS
LEAK = "one model is trained on through all folds, so it has already learned from most objects that it is judged on"


def published(accuracy: float, n: int, how: str, recalls: Mapping[str, float], parameters: int, **more: Any) -> Row:
    """A row as printed in the study; its interval is Wilson's for that share of n."""
    low, high = wilson(accuracy, n)
    return Row(PUBLISHED, how, {"accuracy": Interval(accuracy, low, high)}, n, recalls, None, parameters, **more)


def trained(
    ledger: Ledger, key: str, dataset: Dataset, name: str, changes: Mapping[str, Any], *, follow: bool = False
) -> dict[str, Any]:
    """Train `name` in the ledger's folder, or go on with it, and return what a row needs of it.

    `follow` draws the test part's curve too, as some studies do; nothing is chosen by it.
    """
    folder = ledger.folder / key
    metrics = folder / "metrics.json"
    if not metrics.is_file():
        ledger.progress.say(f"\n{key}: recipe {name}")
        made = recipe.read(name).with_values(changes) if changes else recipe.read(name)  # whatever the environment says
        habits = Habits(follow_test=follow)
        pipeline.train(dataset, recipe=made, output=folder, habits=habits, progress=ledger.progress)
    record = json.loads(metrics.read_text())
    seconds = record["seconds"]
    return {
        "judgement": Judgement.from_json(record),
        "seconds": seconds.get("training", 0.0) + seconds.get("judging", 0.0),
        "parameters": record["parameters"],
        "folder": str(folder),
    }


def parameters_of(name: str, dataset: Dataset) -> int:
    """Trainable parameters of a recipe's net on this data."""
    return pipeline.plan(name, dataset).parameters


def folds_right(
    ledger: Ledger, dataset: Dataset, name: str, how: str, *, way: str, by_group: bool, **asked: str
) -> Row:
    """k-fold done right: stratified, everything refitted in each fold; whole groups held out when `by_group`.

    `asked` may hold `symmetry`, what the study declares of its pictures, and `fault`, what weakens this way.
    """
    alone = np.array([f"row {i}" for i in range(dataset.n)])
    made = recipe.read(name)
    if made.prepare.symmetry == "auto":
        made = made.with_values({"prepare.symmetry": asked.get("symmetry", "none")})
    found = crossval(dataset, made, 5, groups=dataset.groups if by_group else alone, progress=ledger.progress)
    return row_of(
        found.judgement, way, how, seconds=found.seconds, parameters=parameters_of(name, dataset),
        fault=asked.get("fault", ""),
    )  # fmt: skip


def folds_as_published(dataset: ImageSet, name: str, fold: np.ndarray, progress: Progress) -> np.ndarray:
    """k-fold as it was published, fault included: ONE model trained on through all folds.

    In fold i the model of fold i - 1 is trained further, though it has already learned from the objects that are now
    held out. `fold` (n,) is the fold that holds each object out. Returns the held-out answers: (n, classes), or (n,)
    values.
    """
    from estampa.train.fit import fit_net

    made, network = recipe.read(name), None
    output = np.zeros(dataset.n if dataset.task == "regression" else (dataset.n, len(dataset.classes)))
    folds = int(fold.max()) + 1
    progress.start(f"{folds} folds with one model, as published", folds, "fold")
    for held in range(folds):
        fitted = fit_net(dataset, made, train_rows=np.flatnonzero(fold != held), validation_rows=None, start=network)
        network = fitted.network
        output[fold == held] = fitted.predict(dataset, np.flatnonzero(fold == held))
        progress.advance()
    progress.finish()
    return output


def judged_folds(dataset: Dataset, output: np.ndarray, *, by_group: bool) -> Judgement:
    """Judge held-out answers of all objects together; whole groups are resampled when whole groups were held out."""
    groups = dataset.groups if by_group else None
    return judge(dataset.labels, output, task=dataset.task, classes=dataset.classes, groups=groups)
