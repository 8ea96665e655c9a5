"""First weights learned on simulated objects, for sets with few of their own.

Some hundreds of bogus detections are too few to learn what a cosmic ray or a dipole looks like, some hundreds of
spirals too few to learn what an arm is; a simulator has as many as one asks for. What it teaches is kept in the cache:
the same recipe, channels and size never learn it twice.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from estampa import files, machine
from estampa.data.read import cache_folder
from estampa.progress import Progress
from estampa.recipe import Recipe
from estampa.train.fitted import ImageSet
from estampa.train.lessons import TEACHERS, Lessons

#: Keys of [train] that do not change what is learned from the simulated objects.
_FREE = ("threads", "dtype", "memory_format", "device", "calibrate", "steps", "monitor", "time_limit")
#: Objects that lessons within a time limit have at least.
LEAST = 500


def first_weights(recipe: Recipe, dataset: ImageSet, progress: Progress) -> tuple[dict[str, torch.Tensor] | None, str]:
    """Weights of the net after a training on what the simulator makes that the recipe names, and a sentence.

    None, with the reason, when the simulator has nothing to teach for these data. The output layer is left out where
    the simulator's classes are not the data's. `train.pretrain_stamps` objects, `train.pretrain_epochs` epochs; the
    preparation is fitted on them, so that both sets meet the net on a scale of their own. Under a time limit the
    lessons take at most half of it, on fewer objects if need be, and are not kept.
    """
    found = TEACHERS[recipe.train.pretrain](recipe, dataset)
    if isinstance(found, str):
        return None, f"No lessons on simulated objects: {found}."
    path = _place(recipe, found)
    train = recipe.train
    said = f"{train.pretrain_stamps:,} {found.told}"
    with files.locked(path):
        try:
            weights = load_file(path) if path.is_file() else None
        except SafetensorError:  # a damaged file of the cache is made anew
            weights = None
        if weights is not None:
            return weights, f"First weights: learned earlier on {said}, from the cache."
        if train.time_limit is not None:
            recipe = _within(recipe, train.time_limit / 2, found.made_a_second)
            progress.say(f"First the net learns from {found.told} for at most {train.time_limit / 2:g} s.")
            weights = _learn(recipe, found, progress)
            return weights, f"First weights: learned on {found.told} in half of {train.time_limit:g} s."
        progress.say(f"First the net learns from {said}; the data have few of their own.")
        weights = _learn(recipe, found, progress)
        files.write_atomic(path, save(weights))
    return weights, f"First weights: learned on {said} in {train.pretrain_epochs} epochs."


def _within(recipe: Recipe, seconds: float, made_a_second: int) -> Recipe:
    """The recipe with no more objects than can be made in a small part of `seconds`."""
    objects = min(recipe.train.pretrain_stamps, max(LEAST, round(seconds * made_a_second)))
    return recipe.with_values({"train.pretrain_stamps": objects, "train.time_limit": seconds}, "pretrain")


def _learn(recipe: Recipe, found: Lessons, progress: Progress) -> dict[str, torch.Tensor]:
    """Simulate, train, and return the body's weights, the output layer's only where they serve."""
    from estampa.train.fit import fit_net

    made = found.make(recipe.train.pretrain_stamps)
    lessons = recipe.with_values(_lessons(recipe, found), "pretrain")
    fitted = fit_net(made, lessons, train_rows=np.arange(made.n), progress=progress)
    kept = fitted.network.body.state_dict()
    return {
        name: value.detach().cpu().contiguous()
        for name, value in kept.items()
        if found.keeps_output or not name.startswith("output.")
    }


def _lessons(recipe: Recipe, found: Lessons) -> dict[str, Any]:
    """What the recipe changes for the simulated objects: steps as large as for many, whatever it takes for few."""
    return {
        "train.pretrain": "none", "train.epochs": recipe.train.pretrain_epochs, "train.keep": "last",
        "train.patience": 0, "train.monitor": "accuracy", "train.seed": 0, "prepare.balance": "none", "few": {},
        **found.changes,
    }  # fmt: skip


def _place(recipe: Recipe, found: Lessons) -> Path:
    """The cache file of these lessons: named by all that they depend on, the machine's own choices apart.

    The run's seed is not among them, so that other seeds and other folds begin with the same weights.
    """
    lessons = recipe.with_values(_lessons(recipe, found), "pretrain").model_dump(mode="json")
    train = {k: v for k, v in lessons["train"].items() if k not in _FREE}
    facts = {
        **found.facts, "train": train, "prepare": lessons["prepare"], "model": lessons["model"],
        "objects": recipe.train.pretrain_stamps,
        "torch": machine.describe()["versions"].get("torch"),  # type: ignore[attr-defined]
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder().parent / "lessons" / f"{digest[:32]}.safetensors"
