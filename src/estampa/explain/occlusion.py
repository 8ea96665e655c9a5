"""Occlusion maps: hide a window, ask again, and see what the answer loses.

Zeiler & Fergus 2014 (Visualizing and Understanding Convolutional Networks, ECCV, section 4.2), averaged over the
windows that cover a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from estampa import measure
from estampa.bundle.session import Scores, Session
from estampa.bundle.store import Bundle
from estampa.errors import InputError, nearest
from estampa.explain.filling import AROUND, FILLS, MEDIAN, constant, own_mean, stored, surface, typical

Scorer = Bundle | Session | Callable[[np.ndarray], np.ndarray]
LOGIT, PROBABILITY = "logit", "probability"
QUANTITIES = (LOGIT, PROBABILITY)
_SIXTH = 6  #: the default window's side is this part of the picture's
_BYTES = 32 << 20  #: of pictures with a hidden window that are made together
_LEAST = 1e-7  #: probability that counts as none, where there are no logits


def default_window(shape: tuple[int, ...]) -> tuple[int, int]:
    """Side of the windows, pixels, and their stride: about a sixth of a picture's side (of the square of the same
    area), and half of that.
    """
    side = max(1, round(float(np.sqrt(shape[0] * shape[1])) / _SIXTH))
    return side, -(-side // 2)


def occlude(
    scorer: Scorer,
    images: np.ndarray,
    classes: np.ndarray | None = None,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: str | float | np.ndarray = MEDIAN,
    of: str = LOGIT,
    channel: int | None = None,
) -> np.ndarray:
    """How much each pixel counts for an answer: what is lost when windows that hold it are hidden.

    Windows start at every multiple of the stride until they reach the far edge; those that reach beyond it are cut
    there. A pixel's value is the mean, over the windows that hold it, of the answer minus the answer with that window
    hidden; so positive pixels speak for the class, negative ones against it.

    Parameters
    ----------
    scorer : a Bundle, a Session, or a function from stored images (m, h, w, c) to (m, k) probabilities or (m,) values.
    images : (n, h, w, c), as stored.
    classes : (n,) whose class each map is of; None = the class answered. Regressions have none.
    window : side in pixels, or (height, width); None = about a sixth of the picture's side.
    stride : pixels between windows, or (down, across), at most the window; None = half of the window.
    fill : what stands in place of hidden pixels. "median" (default, bundles only): the median of each channel over the
        validation part; "around": a smooth surface through the pixels within half a window around, which leaves the
        picture most like others but cannot hide what is larger than the window; a number, (c,) numbers, or an
        (h, w, c) array. Integer pixels are rounded.
    of : what is measured. "logit": ln(p / (1 - p)) of the class, which still tells where the probability is near 1;
        "probability". Regressions: always the value, in its own unit.
    channel : hide this channel only; None = the whole pixel.

    Returns
    -------
    (n, h, w) float32. NaN where the answer itself is not a number. Raises InputError for unfit arguments.
    """
    if images.ndim != 4 or not images.size:
        raise InputError("not pictures", where="occlude", allowed="(n, height, width, channels)", got=images.shape)
    _known(of, QUANTITIES, "of")
    shape = images.shape[1:]
    size, step = _sizes(window, stride, shape)
    if channel is not None and not 0 <= channel < shape[2]:
        raise InputError("no such channel", where="channel", allowed=f"0..{shape[2] - 1}", got=channel)
    canvas = fill_pixels(scorer, fill, shape)
    plain = scores_of(scorer, images)
    chosen = _classes(classes, plain.output)
    whole = values_of(plain, chosen, of)
    spans = _spans(shape, size, step)
    maps = np.empty(images.shape[:3], np.float32)
    for i, image in enumerate(images):
        drops = np.empty(len(spans))
        for start, hidden in _occluded(image, spans, canvas, channel):
            found = scores_of(scorer, hidden)
            own = None if chosen is None else np.full(len(hidden), chosen[i])
            drops[start : start + len(hidden)] = whole[i] - values_of(found, own, of)
        maps[i] = _spread(drops, spans, shape)
    return maps


def scores_of(scorer: Scorer, images: np.ndarray) -> Scores:
    """Probabilities (or values) and, where the model has them, logits."""
    if isinstance(scorer, (Bundle, Session)):
        return scorer.score(images, wanted=("output", "logits"))
    return Scores(np.asarray(scorer(images)))


def values_of(scores: Scores, classes: np.ndarray | None, of: str = LOGIT) -> np.ndarray:
    """(n,) float64: the probability of each object's class, its logarithmic odds, or the value of a regression.

    Odds come from the logits z where there are any: z_c - ln(sum over other classes of exp(z_k)), which equals
    ln(p / (1 - p)) and does not saturate.
    """
    if classes is None:
        return np.asarray(scores.output, np.float64).reshape(len(scores.output))
    rows = np.arange(len(classes))
    own: np.ndarray = np.asarray(scores.output, np.float64)[rows, classes]
    if of == PROBABILITY:
        return own
    if scores.logits is None:
        own = np.clip(own, _LEAST, 1 - _LEAST)
        return np.asarray(np.log(own) - np.log1p(-own))
    logits = np.asarray(scores.logits, np.float64)
    others = logits.copy()
    others[rows, classes] = -np.inf
    top = others.max(axis=1)
    return np.asarray(logits[rows, classes] - top - np.log(np.exp(others - top[:, None]).sum(axis=1)))


def fill_pixels(scorer: Scorer, fill: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    """The (h, w, c) pixels that stand in place of hidden ones; None = taken from the picture itself."""
    if not isinstance(fill, str):
        return constant(fill, shape)
    _known(fill, FILLS, "fill")
    if fill == AROUND:
        return None
    if not isinstance(scorer, Bundle):
        raise InputError(
            f"only a bundle knows the {MEDIAN} of its data", where="fill", cure="Give one number a channel."
        )
    return constant(typical(scorer), shape)


def _known(value: str, allowed: tuple[str, ...], where: str) -> None:
    if value not in allowed:
        raise InputError(
            f"unknown {where} {value!r}", where=where, allowed=", ".join(allowed), cure=nearest(value, allowed)
        )


def _sizes(
    window: int | tuple[int, int] | None, stride: int | tuple[int, int] | None, shape: tuple[int, ...]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Window and stride as (down, across) in pixels, checked."""
    size = _pair(default_window(shape)[0] if window is None else window)
    step = _pair(stride) if stride is not None else (-(-size[0] // 2), -(-size[1] // 2))
    if not all(1 <= w <= side for w, side in zip(size, shape, strict=False)):
        raise InputError(
            "no window of the picture", where="window", allowed=f"1 to {shape[0]} down, 1 to {shape[1]} across",
            got=f"{size[0]} x {size[1]}",
        )  # fmt: skip
    if not all(1 <= s <= w for s, w in zip(step, size, strict=True)):
        raise InputError(
            "a stride beyond the window leaves pixels out", where="stride", allowed=f"1 to {min(size)}",
            got=f"{step[0]} x {step[1]}",
        )  # fmt: skip
    return size, step


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, (int, np.integer)) else (int(value[0]), int(value[1]))


def _classes(classes: np.ndarray | None, output: np.ndarray) -> np.ndarray | None:
    """(n,) class numbers, None for a regression."""
    if np.ndim(output) == 1 or output.shape[1] == 1:
        if classes is not None:
            raise InputError("a regression has no classes", where="classes")
        return None
    if classes is None:
        return measure.decide(output, None) if np.isfinite(output).all() else np.nan_to_num(output).argmax(axis=1)
    chosen = np.asarray(classes)
    if chosen.shape != (len(output),) or chosen.min() < 0 or chosen.max() >= output.shape[1]:
        raise InputError(
            "one class for each picture", where="classes", allowed=f"{len(output)} numbers, 0..{output.shape[1] - 1}",
            got=f"{chosen.shape}, {chosen.min()}..{chosen.max()}",
        )  # fmt: skip
    return chosen.astype(np.int64)


def _spans(shape: tuple[int, ...], size: tuple[int, int], step: tuple[int, int]) -> np.ndarray:
    """(k, 4) windows: top, left, bottom, right, cut at the far edges."""
    starts = [range(0, -(-(side - w) // s) * s + 1, s) for side, w, s in zip(shape, size, step, strict=False)]
    corners = [(y, x) for y in starts[0] for x in starts[1]]
    return np.array([(y, x, min(y + size[0], shape[0]), min(x + size[1], shape[1])) for y, x in corners])


def _occluded(image: np.ndarray, spans: np.ndarray, canvas: np.ndarray | None, channel: int | None) -> Any:
    """Yield (number of the first window, pictures each with one window hidden), some at a time."""
    many = max(1, _BYTES // (image.size * image.itemsize))
    for start in range(0, len(spans), many):
        some = spans[start : start + many]
        pictures = np.repeat(image[None], len(some), axis=0)
        patches = None if canvas is not None else _patches(image, some)
        for k, (top, left, bottom, right) in enumerate(some):
            if patches is not None:
                patch = patches[k, : bottom - top, : right - left]
            else:
                assert canvas is not None
                patch = stored(canvas[top:bottom, left:right], image.dtype)
            where = slice(None) if channel is None else slice(channel, channel + 1)
            pictures[k, top:bottom, left:right, where] = patch[..., where]
        yield start, pictures


def _patches(image: np.ndarray, spans: np.ndarray) -> np.ndarray:
    """What stands in the windows, (k, window height, window width, c), from the pixels within half a window around.

    Beyond the picture nothing is known; where the ring around a window knows nothing (all missing), the picture's own
    mean stands there.
    """
    height, width = (spans[:, 2] - spans[:, 0]).max(), (spans[:, 3] - spans[:, 1]).max()
    down, across = max(1, height // 2), max(1, width // 2)
    values = image.astype(np.float32)
    padded = np.pad(values, [(down, down + height), (across, across + width), (0, 0)], constant_values=np.nan)
    crops = np.stack([padded[y : y + height + 2 * down, x : x + width + 2 * across] for y, x, _, _ in spans])
    hidden = np.zeros(crops.shape[:3], bool)
    hidden[:, down : down + height, across : across + width] = True
    empty: np.ndarray = np.logical_not((np.isfinite(crops) & ~hidden[..., None]).any(axis=(1, 2)))
    filled = surface(crops, hidden)[:, down : down + height, across : across + width]
    if empty.any():
        filled = np.where(empty[:, None, None], own_mean(image[None]), filled)
    return stored(filled, image.dtype)


def _spread(drops: np.ndarray, spans: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Each pixel's mean drop over the windows that hold it, (h, w)."""
    total, count = np.zeros(shape[:2]), np.zeros(shape[:2])
    for drop, (top, left, bottom, right) in zip(drops, spans, strict=True):
        total[top:bottom, left:right] += drop
        count[top:bottom, left:right] += 1
    return np.asarray(total / count)
