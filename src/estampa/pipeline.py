"""The whole river on one page: data -> parts -> check -> recipe -> training -> bundle -> judgement -> report.

This is the only file that knows the order. Each stage is a function of its own room; here they are called one after
another, and what each leaves is written into the run folder at once, so that a run that was stopped goes on. Pictures
and tables flow alike: `river.images` and `river.tables` have the same four stages.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine
from estampa import recipe as recipes
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions
from estampa.errors import EstampaError, RecipeError
from estampa.evaluate.confidence import require_enough
from estampa.evaluate.terms import asked_of, columns_of, require_choosable
from estampa.files import write_atomic
from estampa.monitor.registry import open_model
from estampa.progress import SILENT, Clock, Progress
from estampa.recipe import Recipe
from estampa.river import images, tables
from estampa.river.again import gathered, recipe_again
from estampa.river.data import checked, opened, parted, rows_of
from estampa.river.stage import SIGN, Stage, made_folder, report, unnamed
from estampa.run import Habits, Plan, Run

__all__ = ["Habits", "Plan", "Run", "plan", "retrain", "train"]

NEEDS = ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "tomli_w")
SEARCH_VALIDATION = 0.1  #: share that a search gets when its recipe has no validation part


def plan(
    recipe: str = "auto",
    source: Path | str | Dataset | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    reading: ReadOptions | None = None,
    habits: Habits | None = None,
    progress: Progress = SILENT,
) -> Plan:
    """Say what would be trained, without training. A shipped recipe that states its input needs no data.

    Raises RecipeError when neither the recipe nor data say what goes in, and as `train` does.
    """
    chosen = _recipe(recipe, changes or {})
    if source is not None:
        dataset, chosen = opened(source, reading, chosen, habits or Habits(), progress)
        dataset, decisions = parted(dataset, chosen, progress)
        planned = tables.planned if tables.are_meant(dataset, chosen) else images.planned
        return planned(dataset, chosen, rows_of(dataset)["train"], decisions)
    if chosen.data.shape is None or not chosen.data.outputs:
        raise RecipeError(
            "does not state its input", where=chosen.name, cure="Give data, or set data.shape and data.outputs."
        )
    return images.planned_alone(chosen)


def train(
    source: Path | str | Dataset,
    *,
    recipe: str | Recipe = "auto",
    changes: Mapping[str, Any] | None = None,
    output: Path | str | None = None,
    reading: ReadOptions | None = None,
    habits: Habits | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Train a model, judge it on data it has not seen, and leave a run folder.

    Parameters
    ----------
    source : a Dataset, its file, or anything that `build` reads.
    recipe : a shipped recipe's name, a TOML file, a Recipe, or "auto".
    changes : dotted keys that override the recipe, as {"train.epochs": 3}.
    output : the run folder; None = runs/<time>-<recipe>. An unfinished one is continued.
    reading : how files are read, when `source` is not a Dataset.
    habits : see Habits.

    Returns the Run. Raises InputError and its kinds for wrong data or recipes, CheckFailed (exit 3) for a leak between
    parts that we made, Interrupted with the checkpoint saved.
    """
    machine.require("train", *NEEDS, needed_for="estampa train")
    began, habits, clock = time.monotonic(), habits or Habits(), Clock()
    chosen = recipe if isinstance(recipe, Recipe) else _recipe(recipe, changes or {})
    folder = None if output is None else made_folder(Path(output))
    with clock.of("reading"):
        dataset, chosen = opened(source, reading, chosen, habits, progress)
    if chosen.search.values and not chosen.data.validation and not dataset.split_record:
        chosen = chosen.with_values({"data.validation": SEARCH_VALIDATION})
        progress.say(f"A validation part of {SEARCH_VALIDATION:.0%} is taken: a search is judged on nothing else.")
    dataset, decisions = parted(dataset, chosen, progress)
    decisions = [*habits.decided, *decisions]
    _require_asked(dataset, chosen)
    with clock.of("check"):
        twins, warnings = checked(dataset, progress)
    river = tables if tables.are_meant(dataset, chosen) else images
    name = river.default_name(dataset) if chosen.name == "auto" else chosen.name
    stage = Stage(folder or made_folder(unnamed(name)), dataset, rows_of(dataset), progress, clock)
    fitted, trials = river.learn(stage, chosen, decisions, follow=habits.follow_test)
    with clock.of("calibration"):
        settled = river.settled(stage, fitted)
    part = "test" if len(stage.rows["test"]) else "validation"
    if part == "validation" and (trials or fitted.recipe.train.keep == "best"):
        chose = "the kept epoch" if fitted.recipe.train.keep == "best" else "the settings"
        warnings.append(f"There is no test part: the figures are of the validation part, which chose {chose}.")
    if part == "validation" and settled.thresholds():
        warnings.append("There is no test part: the thresholds were chosen on the validation part that is judged.")
    evidence = river.judged(stage, fitted, part, settled)
    evidence.trials = trials
    evidence.twins, evidence.warnings = np.isin(evidence.rows, twins), [*warnings, *settled.warnings]
    evidence.command = habits.command or f"estampa train {dataset.path} --recipe {stage.folder / 'recipe.toml'}"
    river.ship(stage, fitted, evidence, habits, settled)
    report(stage, evidence)
    return Run(stage.folder, evidence.judgement, part, time.monotonic() - began)


def retrain(
    champion: Bundle | Path | str,
    data: Dataset | Path | str,
    *,
    add: Dataset | Path | str | None = None,
    label: str = "",
    changes: Mapping[str, Any] | None = None,
    output: Path | str | None = None,
    habits: Habits | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Train a challenger: the champion's own recipe on new data, what the champion was tested on kept aside.

    Parameters
    ----------
    champion : a run folder, a bundle, or REGISTRY:NAME.
    data : new labelled objects: a Dataset, its file, or any source, read as the champion's training files were.
    add : old data to learn from too, as those that the champion was made from; its parts are kept, and the new objects
        are dealt in the same shares. The joined Dataset is data.h5 in the run folder.
    label : the column of the answer in `data`, where it is not called as in what the champion was made from.
    changes, output, habits : as `train`.

    Raises ContractError for data that are not what the champion was fed, or whose classes are none of the champion's or
    spelled otherwise, CheckFailed (exit 3) where the new data's own
    parts would have it learn from what the champion was tested on, and as `train` does.
    """
    machine.require("train", *NEEDS, needed_for="estampa retrain")
    bundle, habits = open_model(champion), habits or Habits()
    wanted = Path(output) if output is not None else unnamed(f"{bundle.manifest.name}-again")
    there = wanted.exists()
    folder = made_folder(wanted)
    write_atomic(folder / SIGN, "This run has begun and is not finished; the same command goes on with it.\n")
    try:
        dataset, decided = gathered(bundle, data, add, folder, progress, label=label)
    except EstampaError:  # nothing was begun that could go on
        if not there and [path.name for path in folder.iterdir()] == [SIGN]:
            (folder / SIGN).unlink()
            folder.rmdir()
        raise
    for line in decided:
        progress.say(line)
    joined = "" if add is None else f" --add {add.path if isinstance(add, Dataset) else add}"
    source = data.path if isinstance(data, Dataset) else data
    command = habits.command or f"estampa retrain {bundle.folder} --data {source}{joined}"
    recipe = recipe_again(bundle, dataset)
    return train(
        dataset, recipe=recipe.with_values(changes) if changes else recipe, output=folder, progress=progress,
        habits=replace(habits, command=command, decided=(*habits.decided, *decided)),
    )  # fmt: skip


def _recipe(name: str, changes: Mapping[str, Any]) -> Recipe:
    """Read a recipe; the environment overrides it, and `changes` (flags) override both."""
    base = Recipe(name="auto") if name == "auto" else recipes.read(name)
    if environment := recipes.from_environment():
        base = base.with_values(environment, "environment")
    return base.with_values(changes) if changes else base


def _require_asked(dataset: Dataset, recipe: Recipe) -> None:
    """What is asked of the judgement must be possible: told before training, not after it."""
    known = rows_of(dataset)["validation"]
    if recipe.evaluate.keep_accuracy is not None:
        tied = None if dataset.groups is None else dataset.groups[known]
        require_enough(recipe.evaluate.keep_accuracy, dataset.labels[known], tied, dataset.task)
    require_choosable(asked_of(recipe.evaluate), dataset.classes, dataset.labels[known])
    columns_of(dataset, np.zeros(0, np.int64), recipe.evaluate.by)  # a column that is not there is told now
