"""Learn classes from a table: settings searched on folds, the simplest method that is as good as the best, one fit."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine, measure, parts
from estampa.data.dataset import Dataset
from estampa.data.folds import fold_numbers
from estampa.data.ties import ties_of
from estampa.errors import DatasetError
from estampa.models.tables.knn import MOST_ROWS as MOST_NEIGHBOURS
from estampa.prepare.table import TablePreparation
from estampa.progress import SILENT, Progress
from estampa.recipe import Recipe
from estampa.train.choose_table import MOST_ROWS, TablePlan, complete_table, known_rows
from estampa.train.fitted_table import FittedTable, HeldOut, TableSet, raw_rows
from estampa.train.randomised import (
    FOLDER,
    Problem,
    Searched,
    Trial,
    answered,
    held_out,
    learned,
    made,
    search_table,
    settings,
)  # fmt: skip

Array = np.ndarray[Any, Any]
#: Resamples behind the interval of the difference between two methods.
RESAMPLES = 1000


@dataclass(frozen=True)
class _Parts:
    """Labelled rows of the training part; those that can be learned from; those of the validation part to answer."""

    known: Array
    train: Array
    validation: Array


def fit_table(
    dataset: TableSet,
    recipe: Recipe,
    *,
    train_rows: Array,
    validation_rows: Array,
    folder: Path | None = None,
    progress: Progress = SILENT,
) -> FittedTable:
    """Fit a classifier to the rows of a table.

    The recipe's methods are searched on stratified folds of the training rows (groups kept whole), the preparation
    refitted in each; then the simplest method is chosen that is as good as the best (see `chosen_of`), and fitted on
    all training rows. A recipe that names one model and no number of trials is fitted as it is.

    Parameters
    ----------
    dataset : a Dataset with a table; its columns by role, unless the recipe names them.
    train_rows, validation_rows : row numbers; unlabelled ones are passed over.
    folder : where `trials.jsonl` is kept, so that a search that was stopped goes on; None = nowhere.

    With the same seed the same model, also after a search was stopped and went on; not with `train.time_limit`.
    Raises DatasetError where there is nothing to learn from, RecipeError for a recipe of another kind, MissingExtra.
    """
    machine.require("train", "sklearn", "scipy", needed_for="estampa train")
    began = time.perf_counter()
    plan = complete_table(recipe, dataset, train_rows)
    for line in plan.decisions:
        progress.say(line)
    said = list(plan.decisions)
    whole = plan.recipe
    rows = _usable(dataset, plan, train_rows, validation_rows, said, progress)
    stopped, held = "fitted as the recipe says", None
    trials: list[dict[str, Any]] = []
    choice: list[dict[str, Any]] = []
    if plan.searches:
        problem, used = _problem(dataset, plan, rows.train, said, progress)
        planned = settings(plan.counts, whole.train.seed, whole.model.options, problem.part(0)[2].shape[1])
        tell = "; ".join(f"{count} of {method}" for method, count in plan.counts.items())
        _tell(f"Settings drawn at random: {tell}; each on {problem.folds} folds.", said, progress)
        found = search_table(problem, planned, folder, progress, time_limit=whole.train.time_limit)
        winner, choice, held = _chosen(dataset, plan, problem, found, used, rows.validation)
        _tell(choice[0]["sentence"], said, progress)
        options = {f"model.{key}": value for key, value in winner.values.items()}
        settled = {"model": {"name": winner.method}, "search": {}}
        whole = whole.with_values(settled, whole.name).with_values(options, whole.name)
        stopped, trials = found.stopped, [_listed(trial) for trial in found.trials]
    kept = _kept(dataset, whole, rows.train, said, progress)
    preparation, estimator = _fit(dataset, plan, whole, rows.known, kept)
    whole = whole.with_values(_options(whole), whole.name)
    return FittedTable(
        estimator, preparation, whole, said, time.perf_counter() - began, stopped, numbers_of(estimator),
        dataset.classes, trials, choice, held,
    )  # fmt: skip


def _kept(dataset: TableSet, recipe: Recipe, rows: Array, said: list[str], progress: Progress) -> Array:
    """All of `rows`; of nearest neighbours, which keep them in the model, a stratified draw of so many."""
    if recipe.model.name != "knn" or len(rows) <= MOST_NEIGHBOURS:
        return rows
    share: Array = np.asarray(dataset.labels)[rows]
    drawn = fold_numbers(share, -(-len(rows) // MOST_NEIGHBOURS), task="classification", seed=recipe.train.seed)
    kept: Array = rows[drawn == 0]
    line = f"Nearest neighbours keep their objects in the model: {len(kept):,} of {len(rows):,}, drawn alike by class"
    _tell(f"{line}; more would make it slow.", said, progress)
    return kept


def _tell(line: str, said: list[str], progress: Progress) -> None:
    said.append(line)
    progress.say(line)


def _usable(
    dataset: TableSet, plan: TablePlan, train: Array, validation: Array, said: list[str], progress: Progress
) -> _Parts:
    """Labelled rows; with prepare.invalid = "drop" without those that have a failed measurement."""
    known, others = known_rows(dataset, train), known_rows(dataset, validation)
    if plan.recipe.prepare.invalid != "drop":
        return _Parts(known, known, others)
    values = raw_rows(dataset, plan.columns, known)
    rule = TablePreparation.fit(
        values, plan.columns, units=plan.units, invalid="drop", derive=plan.recipe.prepare.derive
    )
    kept = known[rule.usable(values)]
    if len(kept) < len(known):
        lost = len(known) - len(kept)
        _tell(f"{lost:,} of {len(known):,} objects to learn from have a failed measurement: dropped.", said, progress)
    present = np.unique(np.asarray(dataset.labels)[kept])
    if len(present) < 2:
        left = dataset.classes[int(present[0])] if len(present) else "none"
        raise DatasetError(
            "one class is left after rows with failed measurements were dropped", where="table", got=left,
            cure='Use prepare.invalid = "impute", or leave the failing columns out with data.without.',
        )  # fmt: skip
    if len(others):
        others = others[rule.usable(raw_rows(dataset, plan.columns, others))]
    return _Parts(known, kept, others)


def _problem(
    dataset: TableSet, plan: TablePlan, rows: Array, said: list[str], progress: Progress
) -> tuple[Problem, Array]:
    """What the search is given: the rows, or a stratified sample of them, dealt to folds."""
    recipe = plan.recipe
    labels, groups = np.asarray(dataset.labels), dataset.groups
    if len(rows) > MOST_ROWS:
        parts_of = -(-len(rows) // MOST_ROWS)
        tied = None if groups is None else np.asarray(groups)[rows]
        drawn = fold_numbers(labels[rows], parts_of, task="classification", groups=tied, seed=recipe.train.seed)
        whole, rows = len(rows), rows[drawn == 0]
        _tell(f"The search uses {len(rows):,} of {whole:,} objects; the model learns from all.", said, progress)
    own = _tied(dataset, rows)
    units = len(rows) if own is None else len(np.unique(own[own != ""])) + int((own == "").sum())
    folds = max(2, min(plan.folds, units))
    known = labels[rows].astype(np.int64)
    fold = fold_numbers(known, folds, task="classification", groups=own, seed=recipe.train.seed)
    problem = Problem(
        raw_rows(dataset, plan.columns, rows), plan.columns, plan.units, known, len(dataset.classes), fold,
        recipe.prepare.invalid, recipe.prepare.derive, plan.metric, recipe.train.seed, _threads(recipe),
    )  # fmt: skip
    return problem, rows


def _tied(dataset: TableSet, rows: Array) -> Array | None:
    """What must stay in one fold, a name a row (m,): groups, and copies of one object; None where nothing is tied."""
    if not isinstance(dataset, Dataset):
        return None if dataset.groups is None else np.asarray(dataset.groups)[rows]
    own: Array = ties_of(dataset, dataset.groups, near=dataset.shape is None).units[rows]
    return None if len(np.unique(own)) == len(rows) else own.astype(np.str_)


def _chosen(
    dataset: TableSet, plan: TablePlan, problem: Problem, found: Searched, used: Array, validation: Array
) -> tuple[Trial, list[dict[str, Any]], HeldOut]:
    """The setting to fit, what the choice rule saw, and the chosen setting's answers to objects not learned from."""
    best = found.best(plan.metric)
    labels = np.asarray(dataset.labels)
    rows = np.concatenate([used, validation]) if len(validation) else used
    answers = {
        method: held_out(problem, trial) if (own := found.answers.get(trial.number)) is None else own
        for method, trial in best.items()
    }
    if len(validation):
        rule = problem.prepared(np.arange(len(used)))
        features = rule.transform(problem.values)
        more = rule.transform(raw_rows(dataset, plan.columns, validation))
        for method, trial in best.items():
            estimator = learned(made(trial, problem.seed, problem.threads, problem.labels), features, problem.labels)
            answers[method] = np.concatenate([answers[method], answered(estimator, more, problem.classes)])
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[rows]
    method, choice = chosen_of(answers, labels[rows].astype(np.int64), plan.metric, groups, plan.recipe.train.seed)
    for row in choice:
        row |= {"values": best[row["method"]].values, "number": best[row["method"]].number}
    return best[method], choice, HeldOut(rows, answers[method].astype(np.float32))


def chosen_of(
    answers: dict[str, Array], truth: Array, metric: str, groups: Array | None = None, seed: int = 0
) -> tuple[str, list[dict[str, Any]]]:
    """The simplest method that is as good as the best, and what that rests on, the chosen one first.

    "As good": the 95 % interval of its difference to the best method, from resamples of objects (or groups) that both
    share, reaches 0. Each row holds method, score, difference and its interval (low, high), chosen, and a sentence.
    """
    sign = 1 if measure.larger_is_better(metric) else -1
    scores = {method: float(measure.score(metric, truth, output)) for method, output in answers.items()}
    ranked = sorted(answers, key=lambda method: (-sign * scores[method], parts.load(FOLDER, method).SIMPLICITY))
    top = ranked[0]
    table, alike = [], []
    for method in ranked:
        found = measure.paired_difference(
            [metric], truth, answers[method], answers[top], groups, classes=answers[top].shape[1],
            resamples=RESAMPLES, seed=seed,
        )[metric]  # fmt: skip
        good = method == top or (found.high if sign > 0 else -found.low) >= 0
        alike += [method] if good else []
        table.append({"method": method, "score": scores[method], "difference": found.to_json(), "as_good": good})
    chosen = min(alike, key=lambda method: parts.load(FOLDER, method).SIMPLICITY)
    table.sort(key=lambda row: row["method"] != chosen)
    for row in table:
        row["chosen"] = row["method"] == chosen
    table[0]["sentence"] = _sentence(chosen, top, table, metric, len(truth))
    return chosen, table


def _sentence(chosen: str, top: str, table: list[dict[str, Any]], metric: str, n: int) -> str:
    name = metric.replace("_", " ").replace(" f1", " F1")
    mine = table[0]
    others = "; ".join(f"{row['method']} {row['score']:.4f}" for row in table[1:])
    if len(table) == 1:
        why = "its best setting"
    elif chosen == top:
        simplicity = {row["method"]: parts.load(FOLDER, row["method"]).SIMPLICITY for row in table}
        simpler = simplicity[chosen] > min(simplicity.values())
        why = "the best"
        why += ", and no simpler method's interval of the difference reaches 0" if simpler else ", and the simplest"
    else:
        gap = mine["difference"]
        why = (
            f"the simplest within the interval of the best, {top} (difference {gap['value']:+.4f}, 95 % interval "
            f"{gap['low']:+.4f} to {gap['high']:+.4f})"
        )
    asked = f" Others: {others}." if others else ""
    return f"Chosen: {chosen}, {name} {mine['score']:.4f} on {n:,} objects not learned from: {why}.{asked}"


def _fit(dataset: TableSet, plan: TablePlan, recipe: Recipe, known: Array, rows: Array) -> tuple[TablePreparation, Any]:
    """The preparation of the complete recipe, fitted on `known` rows, and the estimator on `rows`, some of these.

    What marks a failed measurement shows only in rows that have failed, so they are among `known` with "drop" too.
    """
    values = raw_rows(dataset, plan.columns, known)
    labels = np.asarray(dataset.labels)[rows].astype(np.int64)
    rule = TablePreparation.fit(
        values, plan.columns, units=plan.units, invalid=recipe.prepare.invalid, derive=recipe.prepare.derive
    )
    if len(rows) < len(known):
        values = values[np.isin(known, rows)]
    trial = Trial(0, recipe.model.name, recipe.model.options, None)
    return rule, learned(made(trial, recipe.train.seed, _threads(recipe), labels), rule.transform(values), labels)


def _threads(recipe: Recipe) -> int:
    """As the recipe says, in the search and in the last fit."""
    return recipe.train.threads if isinstance(recipe.train.threads, int) else machine.threads()


def _options(recipe: Recipe) -> dict[str, Any]:
    """Every key of the model written out."""
    module = parts.load(FOLDER, recipe.model.name)
    whole = module.Options.model_validate(recipe.model.options).model_dump()
    return {f"model.{key}": value for key, value in whole.items()}


def _listed(trial: Trial) -> dict[str, Any]:
    return {**vars(replace(trial)), "folds": list(trial.folds)}


def numbers_of(estimator: Any) -> int | None:
    """Numbers that a fitted model holds: weights, nodes of its trees, stored values; None where meaningless."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if hasattr(last, "coef_"):
        return int(last.coef_.size + last.intercept_.size)
    if hasattr(last, "tree_"):
        return int(last.tree_.node_count)
    if hasattr(last, "estimators_"):
        return int(sum(tree.tree_.node_count for tree in last.estimators_))
    if hasattr(last, "_predictors"):
        return int(sum(len(tree.nodes) for row in last._predictors for tree in row))
    if hasattr(last, "_fit_X"):
        return int(last._fit_X.size)
    return None
