"""Classical models of catalogue tables in the river: learned, settled, judged beside baselines, shipped.

The four stages are those of `river.images`; beside them stands what a report of a table tells: its columns, what the
answers lean on, and the objects that nobody labelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import parts
from estampa import recipe as recipes
from estampa.data.dataset import Dataset
from estampa.errors import DatasetError
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.settle import Settled, settle
from estampa.evaluate.terms import asked_of
from estampa.files import write_atomic
from estampa.plain import numbered
from estampa.recipe import Recipe
from estampa.river.judging import add_folds, add_hashes, fresh_model, judged_once
from estampa.river.stage import SIGN, Stage
from estampa.run import Habits, Plan

if TYPE_CHECKING:
    from estampa.evaluate.table_evidence import TableEvidence
    from estampa.train.fitted import Fitted
    from estampa.train.fitted_table import FittedTable


#: The search for the model of the columns that stands beside a net of the pictures: what takes seconds, not minutes.
SHORT_SEARCH = {"search.methods": ["logistic", "forest"], "search.trials": 6, "search.folds": 5}


def are_meant(dataset: Dataset, recipe: Recipe) -> bool:
    """Whether a run learns from the table: the Dataset holds nothing else, or the recipe names a model of tables."""
    return dataset.shape is None or recipe.model.name in parts.names("models/tables") or bool(recipe.search.methods)


def default_name(dataset: Dataset) -> str:  # noqa: ARG001 - all tables have one
    """The recipe of who names none."""
    from estampa.train.choose_table import TABLES

    return TABLES


def planned(dataset: Dataset, recipe: Recipe, train_rows: np.ndarray, decisions: list[str]) -> Plan:
    """What would be searched and trained on `train_rows` of a Dataset."""
    from estampa.train.choose_table import complete_table

    found = complete_table(recipe, dataset, train_rows)
    return Plan(found.recipe, [], (len(found.columns),), len(dataset.classes), [*decisions, *found.decisions])


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
    from estampa.train.fitted_table import raw_rows

    lost = {}
    for part, rows in stage.rows.items():
        whole = fitted.preparation.usable(raw_rows(stage.dataset, fitted.preparation.columns, rows))
        lost[part], stage.rows[part] = int((~whole).sum()), rows[whole]
    told = ", ".join(f"{n:,} of {part}" for part, n in lost.items() if n)
    if told:
        said = f"Left out, as a measurement failed (prepare.invalid = 'drop'): {numbered(sum(lost.values()), 'object')}"
        fitted.decisions.append(f"{said}: {told}.")
        stage.progress.say(fitted.decisions[-1])


def _measured(dataset: Dataset, fitted: FittedTable, rows: np.ndarray) -> np.ndarray:
    """(m, c) float64: the columns that the model reads, NaN where a measurement failed."""
    from estampa.train.fitted_table import raw_rows

    values = raw_rows(dataset, fitted.preparation.columns, rows)
    return np.where(fitted.preparation.invalid(values), np.nan, values)


def settled(stage: Stage, fitted: FittedTable) -> Settled:
    """Temperature and thresholds, found on objects that were not learned from.

    After a search the temperature goes into the recipe that is written back: the folds' answers that it was found on
    are not there when that recipe is learned again, without a search.
    """
    found = settle(fitted, stage.dataset, stage.rows["validation"], stage.progress)
    if fitted.held is not None:
        fitted.recipe = fitted.recipe.with_values({"train.temperature": fitted.temperature})
        write_atomic(stage.folder / "recipe.toml", fitted.recipe.to_toml())
    return found


def judged(stage: Stage, fitted: FittedTable, part: str, found: Settled) -> Evidence:
    """Judge the kept model once on `part`, beside baselines, with cross-validation if asked."""
    from estampa.train.classical import fit_table

    evidence = judged_once(stage, fitted, part, found, lambda rows: _measured(stage.dataset, fitted, rows))
    add_folds(stage, evidence, fitted.recipe, fit_table)
    return evidence


def ship(stage: Stage, fitted: FittedTable, evidence: Evidence, habits: Habits, found: Settled) -> None:
    """Write the bundle, the judged part's predictions by the bundle itself, and measure what the report tells."""
    from estampa.bundle.export_table import bundle_from_table
    from estampa.evaluate.table_evidence import witness_table
    from estampa.predict import predict

    with stage.clock.of("export"):
        bundle = bundle_from_table(
            fitted, stage.dataset, stage.rows, {**evidence.judgement.to_json(), "part": evidence.part},
            fresh_model(stage),
            gallery=habits.gallery, extra={"thresholds": found.thresholds()}, test_rows=evidence.rows,
        )  # fmt: skip
        predict(bundle, stage.dataset, stage.folder / "predictions.csv", part=evidence.rows, progress=stage.progress)
    with stage.clock.of("explaining"):
        evidence.table = witness_table(
            fitted, stage.dataset, stage.rows, (evidence.rows, evidence.output), decision=found.decision,
            resamples=fitted.recipe.evaluate.resamples, progress=stage.progress,
        )  # fmt: skip
    add_hashes(stage, evidence, bundle)


def beside(stage: Stage, net: Fitted, rows: np.ndarray, output: np.ndarray, found: Settled) -> TableEvidence | None:
    """A model of the columns beside a net of the pictures, and both together, on the same parts and judged `rows`.

    `output` (n, k) are the net's answers to `rows`. None where no column's role is known to be a feature, and, with a
    warning, where the columns hold nothing to learn from: the net is trained, and is kept.
    """
    from estampa.evaluate.fusion import fusion
    from estampa.evaluate.table_evidence import TableEvidence
    from estampa.train.calibrate import calibrate
    from estampa.train.classical import fit_table

    dataset, train, validation = stage.dataset, stage.rows["train"], stage.rows["validation"]
    if "feature" not in dataset.header.roles or dataset.task != "classification" or not net.recipe.evaluate.table:
        return None
    columns = sum(role == "feature" for role in dataset.header.roles)
    stage.progress.say(f"Beside the net, a model of the {numbered(columns, 'column')}, and both together:")
    short = recipes.read("tables").with_values({**SHORT_SEARCH, "train.seed": net.recipe.train.seed})
    try:
        fitted = fit_table(
            dataset, short, train_rows=train, validation_rows=validation, folder=stage.folder / "table",
            progress=stage.progress,
        )  # fmt: skip
    except DatasetError as error:
        stage.progress.warn(f"no model of the columns beside the net: {error}")
        return None
    calibrate(fitted, dataset, validation)
    labels = np.asarray(dataset.labels)
    asked = asked_of(net.recipe.evaluate)
    both = fusion(
        (net.predict(dataset, validation), fitted.predict(dataset, validation), labels[validation]),
        (output, fitted.predict(dataset, rows), labels[rows]), dataset.classes,
        about=(f"the net ({net.recipe.name})", f"the model of the columns ({fitted.recipe.model.name})"),
        groups=None if dataset.groups is None else dataset.groups[rows],
        terms=asked.terms(found.decision), resamples=net.recipe.evaluate.resamples, seed=net.recipe.train.seed,
    )  # fmt: skip
    stage.progress.say(both.headline())
    return TableEvidence(fusion=both)
