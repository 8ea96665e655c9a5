"""First weights learned on simulated stamps, for sets with few of their own.

Some hundreds of bogus detections are too few to learn what a cosmic ray or a dipole looks like; the simulator has as
many as one asks for. What it teaches is kept in the cache: the same recipe, channels and size never learn it twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from estampa import files, machine
from estampa.data.builders._cameras import CAMERAS
from estampa.data.builders._stamps import CHANNELS, VERSION
from estampa.data.builders.simulate import simulate
from estampa.data.read import cache_folder
from estampa.progress import Progress
from estampa.recipe import Recipe
from estampa.train.feed import ArraySet
from estampa.train.fitted import ImageSet

#: Class names, case aside, that mean the same as the simulator's "artifact" and "real".
ARTIFACT = ("artifact", "bogus", "0", "false", "bad")
REAL = ("real", "1", "true", "good", "transient")
#: Keys of [train] that do not change what is learned from the simulated stamps.
_FREE = ("threads", "dtype", "memory_format", "device", "calibrate", "steps", "monitor", "time_limit")
#: Stamps that lessons within a time limit have at least, and for each of their seconds: a fifth of what is made in one.
LEAST, MADE_A_SECOND = 500, 800
#: Sides of stamps that the simulator makes.
SIDES = (11, 63)
#: The simulated lessons: steps are as large as for many objects, whatever the recipe takes for few.
BATCH, RATE = 256, 0.005
SEED = 20_171  #: of the simulated stamps: none that a user is likely to give the builder


def unfit(recipe: Recipe, dataset: ImageSet) -> str:
    """Why nothing simulated can be learned for this data; "" when it can."""
    header = getattr(dataset, "header", None)
    channels: Sequence[str] = getattr(header, "channels", ())
    if not channels:
        return "its channels have no names"
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown:
        return f"the simulator has no channel {unknown[0]!r}"
    if recipe.data.task != "classification" or len(dataset.classes) != 2:
        return "the simulator knows two classes, artifact and real"
    if real_class(dataset.classes) is None:
        return f"neither {' nor '.join(map(repr, dataset.classes))} is a name for real ({', '.join(REAL)})"
    assert dataset.shape is not None
    height, width, _ = dataset.shape
    if height != width or not SIDES[0] <= height <= SIDES[1]:
        return f"the simulator makes squares of {SIDES[0]} to {SIDES[1]} pixels, these are {height} x {width}"
    if getattr(header, "origin", {}).get("builder") == "simulate":
        return "they are simulated themselves"
    return ""


def real_class(classes: Sequence[str]) -> int | None:
    """Which of two classes is the one of real sources, by its name or the other's; None where neither tells."""
    first, second = (name.lower() for name in classes)
    if second in REAL or first in ARTIFACT:
        return 1
    return 0 if first in REAL or second in ARTIFACT else None


def first_weights(recipe: Recipe, dataset: ImageSet, progress: Progress) -> tuple[dict[str, torch.Tensor] | None, str]:
    """Weights of the recipe's net after a training on simulated stamps of the data's channels and size, and a sentence.

    None, with the reason, when the simulator has nothing to teach for these data. `train.pretrain_stamps` stamps of
    all cameras together, `train.pretrain_epochs` epochs; the preparation is fitted on them, so that both sets meet the
    net on a scale of their own. Under a time limit the lessons take at most half of it, on fewer stamps if need be,
    and are not kept.
    """
    why = unfit(recipe, dataset)
    if why:
        return None, f"No lessons on simulated stamps: {why}."
    assert dataset.shape is not None
    channels = tuple(dataset.header.channels)  # type: ignore[attr-defined]
    turned = real_class(dataset.classes) == 0
    path = _place(recipe, dataset.shape, channels, turned)
    train = recipe.train
    said = f"{train.pretrain_stamps:,} simulated stamps ({', '.join(CAMERAS)})"
    with files.locked(path):
        try:
            weights = load_file(path) if path.is_file() else None
        except SafetensorError:  # a damaged file of the cache is made anew
            weights = None
        if weights is not None:
            return weights, f"First weights: learned earlier on {said}, from the cache."
        if train.time_limit is not None:
            recipe = _within(recipe, train.time_limit / 2)
            progress.say(f"First the net learns from simulated stamps for at most {train.time_limit / 2:g} s.")
            weights = _learn(recipe, dataset.shape[0], channels, turned, progress)
            return weights, f"First weights: learned on simulated stamps in half of {train.time_limit:g} s."
        progress.say(f"First the net learns from {said}; the data have few of their own.")
        weights = _learn(recipe, dataset.shape[0], channels, turned, progress)
        files.write_atomic(path, save(weights))
    return weights, f"First weights: learned on {said} in {train.pretrain_epochs} epochs."


def _within(recipe: Recipe, seconds: float) -> Recipe:
    """The recipe with no more stamps than can be made in a small part of `seconds`."""
    stamps = min(recipe.train.pretrain_stamps, max(LEAST, round(seconds * MADE_A_SECOND)))
    return recipe.with_values({"train.pretrain_stamps": stamps, "train.time_limit": seconds}, "pretrain")


def _learn(
    recipe: Recipe, side: int, channels: tuple[str, ...], turned: bool, progress: Progress
) -> dict[str, torch.Tensor]:
    """Simulate, train, and return the body's weights."""
    from estampa.train.fit import fit_net

    each = -(-recipe.train.pretrain_stamps // len(CAMERAS))
    made = [simulate(each, seed=SEED, channels=channels, size=side, camera=camera) for camera in CAMERAS]
    labels = np.concatenate([m.labels for m in made])
    stamps = ArraySet(
        np.concatenate([m.images for m in made]), 1 - labels if turned else labels, "classification",
        ("real", "artifact") if turned else ("artifact", "real"),
    )  # fmt: skip
    lessons = recipe.with_values(_lessons(recipe), "pretrain")
    fitted = fit_net(stamps, lessons, train_rows=np.arange(stamps.n), progress=progress)
    return {k: v.detach().cpu().contiguous() for k, v in fitted.network.body.state_dict().items()}


def _lessons(recipe: Recipe) -> dict[str, Any]:
    """What the recipe changes for the simulated stamps."""
    return {
        "train.pretrain": "none", "train.epochs": recipe.train.pretrain_epochs, "train.batch": BATCH,
        "train.rate": RATE, "train.keep": "last", "train.patience": 0,
        "train.monitor": "accuracy", "train.seed": 0, "prepare.balance": "none", "few": {},
    }  # fmt: skip


def _place(recipe: Recipe, shape: tuple[int, int, int], channels: tuple[str, ...], turned: bool) -> Path:
    """The cache file of these lessons: named by all that they depend on, the machine's own choices apart.

    The run's seed is not among them, so that other seeds and other folds begin with the same weights.
    """
    lessons = recipe.with_values(_lessons(recipe), "pretrain").model_dump(mode="json")
    train = {k: v for k, v in lessons["train"].items() if k not in _FREE}
    facts = {
        "simulator": VERSION, "shape": shape, "channels": channels, "turned": turned, "train": train,
        "prepare": lessons["prepare"], "model": lessons["model"], "stamps": recipe.train.pretrain_stamps,
        "torch": machine.describe()["versions"].get("torch"),  # type: ignore[attr-defined]
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return cache_folder().parent / "lessons" / f"{digest[:32]}.safetensors"
