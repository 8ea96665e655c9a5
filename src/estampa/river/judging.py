"""What pictures and tables share once a model is learned: its judgement beside baselines, its folds, its hashes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa.evaluate.evidence import Evidence
from estampa.evaluate.settle import Settled, witness
from estampa.evaluate.terms import asked_of, columns_of
from estampa.recipe import Recipe
from estampa.river.stage import Stage

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.train.fitted import Fitted
    from estampa.train.fitted_table import FittedTable


def judged_once(
    stage: Stage,
    fitted: Fitted | FittedTable,
    part: str,
    found: Settled,
    values: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Evidence:
    """Judge the kept model once on `part`, beside baselines on `values` of rows (None = pixels)."""
    from estampa.evaluate.baselines import baselines
    from estampa.evaluate.judge import judge
    from estampa.train.calibrate import both_answers

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
                progress=stage.progress, values=values,
            )  # fmt: skip
    evidence.stopped, evidence.recipe, evidence.about = fitted.stopped, recipe.to_toml(), recipe.about
    evidence.decisions, evidence.parameters = fitted.decisions, fitted.parameters
    return evidence


def add_folds(stage: Stage, evidence: Evidence, recipe: Recipe, fit: Callable[..., Any] | None = None) -> None:
    """Cross-validate where the recipe asks for it; `fit` as `crossval` takes it."""
    from estampa.evaluate.crossval import crossval

    if recipe.evaluate.folds:
        with stage.clock.of("cross-validation"):
            evidence.crossval = crossval(
                stage.dataset, recipe, recipe.evaluate.folds, recipe.evaluate.repeats, seed=recipe.train.seed,
                progress=stage.progress, fit=fit,
            )  # fmt: skip


def fresh_model(stage: Stage) -> Path:
    """Where the bundle goes; that of an earlier start of this run, which did not reach its end, is cleared away."""
    folder = stage.folder / "model"
    if folder.exists():
        shutil.rmtree(folder)
    return folder


def add_hashes(stage: Stage, evidence: Evidence, bundle: Bundle) -> None:
    """What the data, the model and the recipe are."""
    evidence.hashes = {
        "data": stage.dataset.content_sha256, "model": bundle.hash, "recipe": bundle.manifest.hashes.recipe,
    }  # fmt: skip
