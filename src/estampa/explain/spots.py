"""Hide what matters most, or leave nothing else: whether the answers hang on it indeed.

Deletion and insertion, Petsiuk, Das & Saenko 2018 (RISE: Randomized Input Sampling for Explanation of Black-box
Models, BMVC, section 4.2), with a control that they lack: a spot of the same shape at a random place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from estampa import measure
from estampa.explain.filling import own_mean, stored, surface
from estampa.explain.occlusion import PROBABILITY, Scorer, scores_of, values_of

#: Shares of the picture's pixels that are hidden, or left alone; and the one that is called the spot.
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SPOT = 0.05


def spots(maps: np.ndarray, share: float = SPOT) -> np.ndarray:
    """The most important pixels of each map, (n, h, w) bool: `share` of all, fewer where fewer speak for the class."""
    flat = np.nan_to_num(maps.reshape(len(maps), -1), nan=0.0)
    most = math.ceil(share * flat.shape[1])
    first = np.argsort(-flat, axis=1, kind="stable")[:, :most]
    chosen = np.zeros(flat.shape, bool)
    np.put_along_axis(chosen, first, np.take_along_axis(flat, first, axis=1) > 0, axis=1)
    return chosen.reshape(maps.shape)


def concentration(maps: np.ndarray, share: float = SPOT) -> np.ndarray:
    """(n,) share of a map's positive values that lies in its spot; NaN where nothing speaks for the class."""
    positive = np.where(maps > 0, maps, 0).astype(np.float64)
    total = positive.sum(axis=(1, 2))
    inside = np.where(spots(maps, share), positive, 0).sum(axis=(1, 2))
    share_inside: np.ndarray = np.divide(inside, total, out=np.full(len(maps), np.nan), where=total > 0)
    return share_inside


def peaks(maps: np.ndarray) -> np.ndarray:
    """(n, 2) pixel (down, across) of the middle of each map's highest place."""
    found = np.empty((len(maps), 2), np.int64)
    for i, image in enumerate(np.nan_to_num(maps, nan=-np.inf)):
        y, x = np.unravel_index(int(image.argmax()), image.shape)
        below, right = np.cumprod(image[y:, x] == image[y, x]).sum(), np.cumprod(image[y, x:] == image[y, x]).sum()
        found[i] = y + (below - 1) // 2, x + (right - 1) // 2
    return found


@dataclass(frozen=True)
class Trial:
    """The answers to pictures that were changed: each (n, s), s the shares of SHARES.

    `answer`: the class number answered (regression: the value). `p`: the probability of the class that was answered to
    the whole picture (regression: the value).
    """

    answer: np.ndarray
    p: np.ndarray


@dataclass(frozen=True)
class Trials:
    """What becomes of n answers. `hidden`: the most important pixels are hidden; `random`: as many pixels of the same
    shape, moved to a random place; `alone`: nothing else is left but what stands in place of hidden pixels;
    `chance`: nothing is left but as many pixels at that random place.
    """

    hidden: Trial
    random: Trial
    alone: Trial
    chance: Trial

    def turned(self, predicted: np.ndarray, trial: str, share: float = SPOT) -> np.ndarray:
        """(n,) bool: the answer is another one after "hidden", "random", "alone" or "chance"."""
        answers: np.ndarray = getattr(self, trial).answer[:, SHARES.index(share)]
        other: np.ndarray = answers != predicted
        return other


def try_out(
    scorer: Scorer, images: np.ndarray, maps: np.ndarray, classes: np.ndarray | None, *,
    canvas: np.ndarray | None = None, decision: float | None = None, seed: int = 0,
) -> Trials:  # fmt: skip
    """Change each picture as `Trials` says, and ask again.

    `images` (n, h, w, c), `maps` (n, h, w), `classes` (n,) the answers to the whole pictures (None: regression).
    `canvas` (h, w, c): what stands in place of hidden pixels; None = a smooth surface through those around them, and
    the picture's own mean where a spot is left alone.
    """
    draw = np.random.default_rng(seed)
    found: dict[str, list[Trial]] = {"hidden": [], "random": [], "alone": [], "chance": []}
    for i in range(len(images)):
        masks = np.concatenate([spots(maps[i : i + 1], share) for share in SHARES])
        shifts = draw.integers(0, maps.shape[1:], (len(SHARES), 2))
        moved = np.stack([np.roll(m, tuple(s), (0, 1)) for m, s in zip(masks, shifts, strict=True)])
        changed = [_hidden(images[i], m, canvas) for m in (masks, moved)]
        pictures = np.concatenate([*changed, *(_alone(images[i], m, canvas) for m in (masks, moved))])
        own = None if classes is None else np.full(len(pictures), classes[i])
        scores = scores_of(scorer, pictures)
        p = values_of(scores, own, PROBABILITY)
        answer = p if own is None else measure.decide(scores.output, decision)
        for k, kind in enumerate(found):
            part = slice(k * len(SHARES), (k + 1) * len(SHARES))
            found[kind].append(Trial(answer[part], p[part]))
    joined = {k: Trial(np.stack([t.answer for t in v]), np.stack([t.p for t in v])) for k, v in found.items()}
    return Trials(**joined)


def _hidden(image: np.ndarray, masks: np.ndarray, canvas: np.ndarray | None) -> np.ndarray:
    """The picture once for each mask (s, h, w), what the mask marks hidden."""
    pictures = np.repeat(image[None].astype(np.float32), len(masks), axis=0)
    if canvas is None:
        return stored(surface(pictures, masks), image.dtype)
    return stored(np.where(masks[..., None], canvas, pictures), image.dtype)


def _alone(image: np.ndarray, masks: np.ndarray, canvas: np.ndarray | None) -> np.ndarray:
    """The picture once for each mask, nothing but what the mask marks left."""
    ground = own_mean(image[None]) if canvas is None else canvas[None]
    return stored(np.where(masks[..., None], image[None].astype(np.float32), ground), image.dtype)
