"""What a training is given, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estampa.models._network import Network
from estampa.recipe import Recipe
from estampa.train.feed import Feed
from estampa.train.losses import Loss


@dataclass
class Job:
    """All that the loop needs; `recipe` is complete (nothing "auto" that it reads)."""

    network: Network
    recipe: Recipe
    train: Feed
    validation: Feed | None
    loss: Loss
    truth: dict[
        str, np.ndarray[Any, Any]
    ]  #: "train", "validation", "test": labels in the target's unit, as metrics want them
    fingerprint: str = ""
    watched: Feed | None = None  #: the test part where its curve is drawn; nothing is chosen by it
    spent: float = 0.0  #: seconds of training before the loop, which count towards the time limit


@dataclass
class Outcome:
    """How the loop ended; the network holds the kept weights. `told` has a sentence for each of several stages."""

    history: list[dict[str, float]]
    kept_epoch: int
    seconds: float
    stopped: str
    told: list[str] = field(default_factory=list)
