"""What simulators can teach a net before it sees the data: one function a simulator, which says for whom it is fit.

A teacher looks at recipe and data and gives `Lessons`, or a clause that says why it has nothing to teach them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.data.builders import _galaxy_light, _stamps
from estampa.data.builders._cameras import CAMERAS
from estampa.data.builders.galaxies import simulate_galaxies
from estampa.data.builders.simulate import simulate
from estampa.recipe import Recipe
from estampa.train.feed import ArraySet
from estampa.train.fitted import ImageSet

#: Class names, case aside, that mean the same as the simulator's "artifact" and "real".
ARTIFACT = ("artifact", "bogus", "0", "false", "bad")
REAL = ("real", "1", "true", "good", "transient")
#: Sides of stamps that the simulator makes, and of what nets see of galaxies.
SIDES, GALAXY_SIDES = (11, 63), (24, 256)
#: What a net sees of galaxies, in radii that hold nine tenths of their light: the square that `data.cutouts` finds.
GALAXY_WIDTH = 3.0
SEED = 20_171  #: of what is simulated: none that a user is likely to give the builder


@dataclass(frozen=True)
class Lessons:
    """What a simulator has for a set."""

    told: str  #: what they are, after their number
    make: Callable[[int], ArraySet]  #: so many simulated objects, of the channels and the size that the net sees
    facts: Mapping[str, Any]  #: all that they depend on, the recipe apart
    changes: Mapping[str, Any]  #: keys of the recipe that differ in the lessons
    made_a_second: int  #: objects that are asked for in each second of a time limit: a part of what can be made
    keeps_output: bool = True  #: the classes are the data's own, so that the output layer serves too


def stamps(recipe: Recipe, dataset: ImageSet) -> Lessons | str:
    """Real and bogus detections of the data's own channels and size, from all cameras; see `builders.simulate`."""
    header = getattr(dataset, "header", None)
    channels: Sequence[str] = getattr(header, "channels", ())
    if not channels:
        return "its channels have no names"
    unknown = [name for name in channels if name not in _stamps.CHANNELS]
    if unknown:
        return f"the simulator has no channel {unknown[0]!r}"
    if recipe.data.task != "classification" or len(dataset.classes) != 2:
        return "the simulator knows two classes, artifact and real"
    which = real_class(dataset.classes)
    if which is None:
        return f"neither {' nor '.join(map(repr, dataset.classes))} is a name for real ({', '.join(REAL)})"
    assert dataset.shape is not None
    height, width, _ = dataset.shape
    if height != width or not SIDES[0] <= height <= SIDES[1]:
        return f"the simulator makes squares of {SIDES[0]} to {SIDES[1]} pixels, these are {height} x {width}"
    if getattr(header, "origin", {}).get("builder") == "simulate":
        return "they are simulated themselves"
    turned = which == 0

    def make(count: int) -> ArraySet:
        each = -(-count // len(CAMERAS))
        made = [simulate(each, seed=SEED, channels=tuple(channels), size=height, camera=camera) for camera in CAMERAS]
        labels = np.concatenate([m.labels for m in made])
        return ArraySet(
            np.concatenate([m.images for m in made]), 1 - labels if turned else labels, "classification",
            ("real", "artifact") if turned else ("artifact", "real"),
        )  # fmt: skip

    facts = {"simulator": _stamps.VERSION, "shape": dataset.shape, "channels": tuple(channels), "turned": turned}
    changes = {"train.batch": 256, "train.rate": 0.005}
    return Lessons(f"simulated stamps ({', '.join(CAMERAS)})", make, facts, changes, made_a_second=800)


def galaxies(recipe: Recipe, dataset: ImageSet) -> Lessons | str:
    """Galaxies of seven kinds as large as the net sees them; the net's output layer is the data's own."""
    from estampa.train.fit import fed

    assert dataset.shape is not None
    if dataset.shape[2] != 3 or str(dataset.dtype) != "uint8":
        return (
            f"the simulator makes colour pictures of 8 bits, these are {dataset.shape[2]} channels of {dataset.dtype}"
        )
    height, width, _ = fed(recipe, dataset.shape)
    if height != width or not GALAXY_SIDES[0] <= height <= GALAXY_SIDES[1]:
        low, high = GALAXY_SIDES
        return f"the simulator makes squares of {low} to {high} pixels, the net sees {height} x {width}"
    if getattr(getattr(dataset, "header", None), "origin", {}).get("builder") == "galaxies":
        return "they are simulated themselves"

    def make(count: int) -> ArraySet:
        images, kinds = simulate_galaxies(count, seed=SEED, size=height, width=GALAXY_WIDTH)
        return ArraySet(images, kinds, "classification", _galaxy_light.KINDS)

    facts = {"simulator": _galaxy_light.VERSION, "side": height, "width": GALAXY_WIDTH}
    changes = {
        "train.batch": 128, "train.rate": 0.02, "data.task": "classification", "train.loss": "crossentropy",
        "prepare.crop": 0, "prepare.side": 0, "prepare.symmetry": "d4", "prepare.mirrored": "auto",
        "prepare.rotate": 0.0, "prepare.zoom": 0.0, "prepare.shift": 0,
    }  # fmt: skip
    return Lessons("simulated galaxies", make, facts, changes, made_a_second=60, keeps_output=False)


#: `train.pretrain` -> teacher.
TEACHERS: dict[str, Callable[[Recipe, ImageSet], Lessons | str]] = {"simulate": stamps, "galaxies": galaxies}


def real_class(classes: Sequence[str]) -> int | None:
    """Which of two classes is the one of real sources, by its name or the other's; None where neither tells."""
    first, second = (name.lower() for name in classes)
    if second in REAL or first in ARTIFACT:
        return 1
    return 0 if first in REAL or second in ARTIFACT else None
