"""Nets of pictures in the river: learned, settled, judged beside baselines, shipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from estampa.data.dataset import Dataset
from estampa.errors import RecipeError
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.settle import Settled, settle
from estampa.files import write_atomic
from estampa.recipe import Recipe
from estampa.river import tables
from estampa.river.judging import add_folds, add_hashes, fresh_model, judged_once
from estampa.river.stage import SIGN, Stage
from estampa.run import Habits, Plan

if TYPE_CHECKING:
    from estampa.train.fitted import Fitted


def default_name(dataset: Dataset) -> str:
    """The recipe of who names none."""
    from estampa.train.choose import default_for

    return default_for(dataset)[0]


def planned(dataset: Dataset, recipe: Recipe, train_rows: np.ndarray, decisions: list[str]) -> Plan:
    """What would be trained on `train_rows` of a Dataset."""
    from estampa.train.choose import complete
    from estampa.train.fit import layers_of

    whole, said = complete(recipe, dataset, train_rows)
    assert dataset.shape is not None
    outputs = len(dataset.classes) if dataset.task == "classification" else 1
    return Plan(whole, layers_of(whole, dataset.shape, outputs), dataset.shape, outputs, [*decisions, *said])


def planned_alone(recipe: Recipe) -> Plan:
    """What a recipe that states its input would train."""
    from estampa.train.fit import layers_of

    shape, outputs = recipe.data.shape, recipe.data.outputs
    assert shape is not None
    assert outputs is not None
    return Plan(recipe, layers_of(recipe, shape, outputs), shape, outputs, [])


def learn(stage: Stage, chosen: Recipe, decisions: list[str], *, follow: bool) -> tuple[Fitted, list[dict[str, Any]]]:
    """Complete the recipe, search if asked, and train; recipe.toml and history.jsonl are written."""
    from estampa.train.choose import complete
    from estampa.train.fit import fit_net

    _require_of_pictures(chosen)
    whole, said = complete(chosen, stage.dataset, stage.rows["train"])
    for line in said:
        stage.progress.say(line)
    trials: list[dict[str, Any]] = []
    if whole.search.values:
        from estampa.train.search import search

        with stage.clock.of("search"):
            found = search(
                stage.dataset, whole, asked=chosen, train_rows=stage.rows["train"],
                validation_rows=stage.rows["validation"], folder=stage.folder / "search", progress=stage.progress,
            )  # fmt: skip
        whole, said = found.best, [*said, found.sentence]
        trials = [vars(trial) for trial in found.trials]
        stage.progress.say(found.sentence)
    write_atomic(stage.folder / SIGN, "This run has begun and is not finished; the same command goes on with it.\n")
    write_atomic(stage.folder / "recipe.toml", whole.to_toml())
    with stage.clock.of("training"):
        fitted = fit_net(
            stage.dataset, whole, train_rows=stage.rows["train"], validation_rows=stage.rows["validation"],
            folder=stage.folder, progress=stage.progress, watched_rows=stage.rows["test"] if follow else None,
        )  # fmt: skip
    write_atomic(stage.folder / "recipe.toml", fitted.recipe.to_toml())
    fitted.decisions[:] = [*decisions, *said, *(d for d in fitted.decisions if d not in said)]
    return fitted, trials


def _require_of_pictures(recipe: Recipe) -> None:
    """Refuse keys that would be passed over: a net learns from no columns, and draws settings of no method."""
    asked = [key for key in ("features", "also", "without") if getattr(recipe.data, key)]
    if asked:
        raise RecipeError(
            "columns are learned from by models of tables", where=f"data.{asked[0]}", got="pictures",
            cure="Name such a model: --method forest.",
        )  # fmt: skip
    if recipe.search.trials and not recipe.search.values:
        raise RecipeError(
            "there are no settings to draw from", where="search.trials", cure="As in: --search widths=16,32 --trials 5"
        )


def settled(stage: Stage, fitted: Fitted) -> Settled:
    """Temperature and thresholds, found on the validation part."""
    return settle(fitted, stage.dataset, stage.rows["validation"], stage.progress, stage.rows["train"])


def judged(stage: Stage, fitted: Fitted, part: str, found: Settled) -> Evidence:
    """Judge the kept net once on `part`, beside baselines, and a model of the columns; with folds if asked."""
    from estampa.evaluate.evidence import FEW_VIEWED, MOST_VIEWED, consistency

    recipe = fitted.recipe
    evidence = judged_once(stage, fitted, part, found)
    with stage.clock.of("judging"):
        evidence.consistency = consistency(
            fitted.predict, stage.dataset, evidence.rows, recipe.prepare.symmetry, exchange=fitted.exchange,
            seed=recipe.train.seed, progress=stage.progress,
            most=FEW_VIEWED if recipe.prepare.views == "symmetry" else MOST_VIEWED,
        )  # fmt: skip
    with stage.clock.of("columns"):
        evidence.table = tables.beside(stage, fitted, evidence.rows, evidence.output, found)
    add_folds(stage, evidence, recipe)
    evidence.history, evidence.kept_epoch = fitted.history, fitted.kept_epoch
    evidence.monitor, evidence.layers = recipe.train.monitor, fitted.layers
    return evidence


def ship(stage: Stage, fitted: Fitted, evidence: Evidence, habits: Habits, settled: Settled) -> None:
    """Write the bundle, and the judged part's predictions by the bundle itself."""
    from estampa.bundle.export import bundle_from
    from estampa.explain.brief import brief
    from estampa.predict import predict

    with stage.clock.of("export"):
        bundle = bundle_from(
            fitted, stage.dataset, stage.rows, {**evidence.judgement.to_json(), "part": evidence.part},
            fresh_model(stage),
            gallery=habits.gallery, extra={"thresholds": settled.thresholds(), "int8": settled.int8},
        )  # fmt: skip
        predict(bundle, stage.dataset, stage.folder / "predictions.csv", part=evidence.part, progress=stage.progress)
    if stage.dataset.task == "classification":
        with stage.clock.of("maps"):
            seed, said = fitted.recipe.train.seed, stage.progress
            evidence.maps = brief(bundle, stage.dataset, evidence.rows, evidence.output, seed=seed, progress=said)
    add_hashes(stage, evidence, bundle)
