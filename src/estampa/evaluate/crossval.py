"""k-fold cross-validation that refits everything, the preparation included, in each fold."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa.data.deal import units
from estampa.data.folds import fold_numbers
from estampa.data.ties import ties_of
from estampa.evaluate.judge import Judgement, judge
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset
    from estampa.recipe import Recipe


@dataclass(frozen=True)
class CrossValidation:
    """Answers to every object by a model that has not seen it.

    Attributes
    ----------
    judgement : all held-out answers together; with repeats, an object's answers are drawn together.
    per_fold : "repeat", "fold", "n", "seconds", "metrics" (name -> value) of each fold.
    rows : (n,) row numbers of the labelled objects.
    fold : (repeats, n) fold in which each was held out.
    output : (repeats, n, k) probabilities, or (repeats, n) values.
    grouped : whether groups were kept whole.
    """

    folds: int
    repeats: int
    judgement: Judgement
    per_fold: list[dict[str, Any]]
    rows: np.ndarray
    fold: np.ndarray
    output: np.ndarray
    grouped: bool
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; the answers themselves are left out."""
        return {
            "folds": self.folds,
            "repeats": self.repeats,
            "grouped": self.grouped,
            "seconds": self.seconds,
            "per_fold": self.per_fold,
            **self.judgement.to_json(),
        }


def crossval(
    dataset: Dataset,
    recipe: Recipe,
    folds: int,
    repeats: int = 1,
    groups: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    fit: Callable[..., Any] | None = None,
) -> CrossValidation:
    """Cross-validate a recipe on every labelled object.

    Parameters
    ----------
    dataset, recipe : what to learn from, and how.
    folds, repeats : k, and how often the objects are dealt anew.
    groups : (dataset.n,) what must not be torn apart; None = the Dataset's own groups. Objects with equal content
        always stay together; the group "" ties nothing.
    seed : of the dealing; training in fold i of repeat r is seeded with the recipe's seed + r * folds + i.
    fit : `train.fit.fit_net`, or anything with its signature: (dataset, recipe, train_rows=, validation_rows=,
        folder=, progress=) -> object with predict(dataset, rows=).

    A recipe that chooses its epoch on validation gets a validation part cut from the fold's training rows, never from
    the rows held out. Nothing but the two arguments goes into a fit, so no state crosses folds.
    """
    learn: Callable[..., Any] = _fit_net if fit is None else fit
    began = time.perf_counter()
    rows = np.flatnonzero(dataset.labelled())
    labels = np.asarray(dataset.labels)[rows]
    own = dataset.groups if groups is None else groups
    bound = None if own is None or not (np.asarray(own)[rows] != "").any() else np.asarray(own)[rows]
    whole = _whole(dataset, own, rows, bound is None)
    fold = np.stack(
        [fold_numbers(labels, folds, task=dataset.task, groups=whole, seed=seed + r) for r in range(repeats)]
    )
    outputs, per_fold = [], []
    progress.start(f"cross-validation, {folds} folds x {repeats}", folds * repeats, "fold")
    for r in range(repeats):
        output: np.ndarray | None = None
        for i in range(folds):
            started = time.perf_counter()
            test = fold[r] == i
            answer = _one_fold(dataset, recipe, rows, test, whole, r * folds + i, learn)
            output = np.full((len(rows), *answer.shape[1:]), np.nan) if output is None else output
            output[test] = answer
            per_fold.append(_fold_record(dataset, labels[test], answer, r, i, time.perf_counter() - started))
            name, value = next(iter(per_fold[-1]["metrics"].items()))
            progress.advance(note=f"{name} {value:.4f}" if value is not None else "")
        outputs.append(output)
    progress.finish()
    answers = np.stack([o for o in outputs if o is not None])
    judgement = _pooled(dataset, labels, answers, bound, recipe.evaluate.resamples, seed)
    seconds = time.perf_counter() - began
    return CrossValidation(folds, repeats, judgement, per_fold, rows, fold, answers, bound is not None, seconds)


def _whole(dataset: Dataset, groups: np.ndarray | None, rows: np.ndarray, loose: bool) -> np.ndarray | None:
    """Units of `rows` that keep groups and copies (near ones too) whole; None when none are tied and no groups are."""
    tied = ties_of(dataset, groups).units[rows]
    return None if loose and len(np.unique(tied)) == len(rows) else tied


def _fit_net(*given: Any, **options: Any) -> Any:
    from estampa.train.fit import fit_net

    return fit_net(*given, **options)


def _one_fold(
    dataset: Dataset,
    recipe: Recipe,
    rows: np.ndarray,
    test: np.ndarray,
    whole: np.ndarray | None,
    number: int,
    fit: Any,
) -> np.ndarray:
    """Fit on the rows outside the fold and answer the rows inside it."""
    rest = rows[~test]
    inner = np.zeros(len(rest), bool)
    share = recipe.data.validation
    if share > 0 and (recipe.train.keep == "best" or recipe.train.patience > 0):
        parts = max(2, round(1 / share))
        kept = None if whole is None else whole[~test]
        labels = np.asarray(dataset.labels)[rest]
        inner = fold_numbers(labels, parts, task=dataset.task, groups=kept, seed=recipe.train.seed + number) == 0
    seeded = recipe.with_values({"train.seed": recipe.train.seed + number}, "cross-validation")
    fitted = fit(dataset, seeded, train_rows=rest[~inner], validation_rows=rest[inner], folder=None, progress=SILENT)
    return np.asarray(fitted.predict(dataset, rows=rows[test]))


def _fold_record(
    dataset: Dataset, truth: np.ndarray, answer: np.ndarray, repeat: int, fold: int, seconds: float
) -> dict[str, Any]:
    from estampa import measure

    statistic: Any
    if dataset.task == "regression":
        statistic = measure.Regression(truth, answer)
    else:
        statistic = measure.Classification(truth, answer, len(dataset.classes))
    values = statistic(np.ones(len(truth)))
    found = dict(zip(statistic.names, (float(v) for v in values), strict=True))
    shown = {m: (None if np.isnan(found[m]) else found[m]) for m in measure.METRICS[dataset.task] if m in found}
    return {"repeat": repeat, "fold": fold, "n": len(truth), "seconds": seconds, "metrics": shown}


def _pooled(
    dataset: Dataset, labels: np.ndarray, answers: np.ndarray, bound: np.ndarray | None, resamples: int, seed: int
) -> Judgement:
    """Judge all answers together. An object answered in several repeats counts as one unit of evidence."""
    repeats, n = answers.shape[:2]
    tied = None if bound is None and repeats == 1 else units(bound, None, n)
    return judge(
        np.tile(labels, repeats),
        answers.reshape(repeats * n, *answers.shape[2:]),
        task=dataset.task,
        classes=dataset.classes,
        groups=None if tied is None else np.tile(tied, repeats),
        resamples=resamples,
        seed=seed,
    )
