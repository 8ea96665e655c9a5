"""Classical models of catalogue tables in the river: learned, settled, judged beside baselines, shipped.

The four stages are those of `river.images`; beside them stands what a report of a table tells: its columns, what the
answers lean on, and the objects that nobody labelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import parts
from estampa.data.dataset import Dataset
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.settle import Settled, settle, witness
from estampa.evaluate.terms import asked_of, columns_of
from estampa.files import write_atomic
from estampa.plain import numbered
from estampa.recipe import Recipe
from estampa.river.stage import SIGN, Stage
from estampa.run import Plan

if TYPE_CHECKING:
    from estampa.train.fitted_table import FittedTable


def are_meant(dataset: Dataset, recipe: Recipe) -> bool:
    """Whether a run learns from the table: the Dataset holds nothing else, or the recipe names a model of tables."""
    return dataset.shape is None or recipe.model.name in parts.names("models/tables") or bool(recipe.search.methods)


def planned(dataset: Dataset, recipe: Recipe, train_rows: np.ndarray, decisions: list[str]) -> Plan:
    """What would be searched and trained on `train_rows` of a Dataset."""
    from estampa.data.roles import features_of
    from estampa.train.choose_table import complete_table

    whole, said = complete_table(recipe, dataset, train_rows)
    width = len(features_of(dataset.header, whole.data))
    return Plan(whole, [], (width,), len(dataset.classes), [*decisions, *said])


def learn(
    stage: Stage,
    chosen: Recipe,
    decisions: list[str],
    *,
    follow: bool,  # noqa: ARG001 - there are no epochs
) -> tuple[FittedTable, list[dict[str, Any]]]:
    """Complete the recipe, search, and train; recipe.toml is written."""
    from estampa.train.classical import fit_table

    write_atomic(stage.folder / SIGN, "This run has begun and is not finished; the same command goes on with it.\n")
    with stage.clock.of("training"):
        fitted = fit_table(
            stage.dataset, chosen, train_rows=stage.rows["train"], validation_rows=stage.rows["validation"],
            folder=stage.folder, progress=stage.progress,
        )  # fmt: skip
    write_atomic(stage.folder / "recipe.toml", fitted.recipe.to_toml())
    fitted.decisions[:] = [*decisions, *fitted.decisions]
    if fitted.recipe.prepare.invalid == "drop":
        _without_invalid(stage, fitted)
    return fitted, fitted.trials


def _without_invalid(stage: Stage, fitted: FittedTable) -> None:
    """Leave rows with a failed measurement out of every part, and say how many."""
    lost = {}
    for part, rows in stage.rows.items():
        whole = fitted.preparation.usable(_raw(stage.dataset, fitted, rows))
        lost[part], stage.rows[part] = int((~whole).sum()), rows[whole]
    told = ", ".join(f"{n:,} of {part}" for part, n in lost.items() if n)
    if told:
        said = f"Left out, as a measurement failed (prepare.invalid = 'drop'): {numbered(sum(lost.values()), 'object')}"
        fitted.decisions.append(f"{said}: {told}.")
        stage.progress.say(fitted.decisions[-1])


def _raw(dataset: Dataset, fitted: FittedTable, rows: np.ndarray) -> np.ndarray:
    """(m, c) float64: the columns that the model reads, as they are stored."""
    places = [dataset.header.columns.index(name) for name in fitted.preparation.columns]
    values: np.ndarray = dataset.table_rows(rows)[:, places]
    return values


def _measured(dataset: Dataset, fitted: FittedTable, rows: np.ndarray) -> np.ndarray:
    """The same with NaN where a measurement failed."""
    values = _raw(dataset, fitted, rows)
    return np.where(fitted.preparation.invalid(values), np.nan, values)


def settled(stage: Stage, fitted: FittedTable) -> Settled:
    """Temperature and thresholds, found on the validation part."""
    return settle(fitted, stage.dataset, stage.rows["validation"], stage.progress)


def judged(stage: Stage, fitted: FittedTable, part: str, found: Settled) -> Evidence:
    """Judge the kept model once on `part`, beside baselines, with cross-validation if asked."""
    from estampa.evaluate.baselines import baselines
    from estampa.evaluate.crossval import crossval
    from estampa.evaluate.judge import judge
    from estampa.train.calibrate import both_answers
    from estampa.train.classical import fit_table

    dataset, rows, recipe = stage.dataset, stage.rows[part], fitted.recipe
    asked = asked_of(recipe.evaluate)
    with stage.clock.of("judging"):
        output, before = both_answers(fitted, dataset, rows)
        judgement = judge(
            dataset.labels[rows], output, task=dataset.task, classes=dataset.classes,
            groups=None if dataset.groups is None else dataset.groups[rows],
            resamples=recipe.evaluate.resamples, seed=recipe.train.seed,
            terms=asked.terms(found.decision, columns_of(dataset, rows, asked.by)),
        )  # fmt: skip
    stage.progress.say(f"{judgement.headline()} ({part} part)")
    evidence = Evidence(recipe.name, dataset, rows, output, judgement, {k: len(v) for k, v in stage.rows.items()}, part)
    with stage.clock.of("judging"):
        witness(evidence, found, before)
    if recipe.evaluate.baselines:
        with stage.clock.of("baselines"):
            evidence.baselines = baselines(
                dataset, stage.rows["train"], rows, recipe.train.seed, resamples=recipe.evaluate.resamples,
                progress=stage.progress, values=lambda wanted: _measured(dataset, fitted, wanted),
            )  # fmt: skip
    if recipe.evaluate.folds:
        with stage.clock.of("cross-validation"):
            evidence.crossval = crossval(
                dataset, recipe, recipe.evaluate.folds, recipe.evaluate.repeats, seed=recipe.train.seed,
                progress=stage.progress, fit=fit_table,
            )  # fmt: skip
    evidence.stopped, evidence.recipe, evidence.about = fitted.stopped, recipe.to_toml(), recipe.about
    evidence.decisions, evidence.parameters = fitted.decisions, fitted.parameters
    return evidence
