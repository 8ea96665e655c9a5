"""Numbers that astronomers and computer vision take of a picture, for classical models. Arrays in, arrays out.

`histograms` are of oriented gradients (Dalal & Triggs 2005, CVPR, 886): where edges run which way. `morphology` is what
measures galaxies: concentration and asymmetry (Conselice 2003, ApJS 147, 1), Gini and M20 (Lotz, Primack & Madau 2004,
AJ 128, 163), axis ratio and the moments of Hu 1962 (IRE Trans. Inf. Theory 8, 179), which no turn changes, and colours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
CELLS, ORIENTATIONS = 6, 9  #: histograms of oriented gradients: cells a side, bins of the angle
#: What `morphology` gives first; then for each channel its share of the light and its deviation.
MORPHOLOGY = (
    *("concentration", "asymmetry", "gini", "m20", "axis_ratio", "hu1", "hu2", "hu3", "hu4"),
    *("mean", "deviation"),
)
_RADII = 24


def descriptors(images: Array) -> NDArray[np.float32]:
    """Both kinds side by side: (m, h, w, c) of any number type to (m, f) float32; see `histograms`, `morphology`."""
    return np.concatenate([histograms(images), morphology(images)], axis=1)


def histograms(images: Array) -> NDArray[np.float32]:
    """Histograms of oriented gradients of the mean over channels: (m, h, w, c) to (m, cells * cells * orientations).

    CELLS x CELLS cells (fewer where the picture has fewer than 4 pixels for each), ORIENTATIONS bins of the unsigned
    angle, each gradient shared between the two nearest bins, blocks of 2 x 2 cells normalised and clipped at 0.2, each
    cell the mean over the blocks that hold it. NaN pixels count as 0.
    """
    grey = _grey(images)
    m, height, width = grey.shape
    cells = max(1, min(CELLS, height // 4, width // 4))
    down, across = np.zeros_like(grey), np.zeros_like(grey)
    down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    across[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
    size = np.hypot(down, across)
    angle = np.arctan2(down, across) % np.pi * (ORIENTATIONS / np.pi)
    lower = np.floor(angle - 0.5)
    share = angle - 0.5 - lower
    rows, columns = (np.arange(side) * cells // side for side in (height, width))
    cell = (rows[:, None] * cells + columns[None, :])[None]
    found = np.zeros((m, cells * cells * ORIENTATIONS), np.float32)
    offset = np.arange(m)[:, None, None] * found.shape[1]
    for bins, part in ((lower, size * (1 - share)), (lower + 1, size * share)):
        place = offset + cell * ORIENTATIONS + bins.astype(np.int64) % ORIENTATIONS
        found += np.bincount(place.ravel(), part.ravel(), found.size).reshape(found.shape).astype(np.float32)
    return _normalised(found.reshape(m, cells, cells, ORIENTATIONS)).reshape(m, -1)


def _normalised(cells: Array) -> NDArray[np.float32]:
    """Each cell divided by the length of the 2 x 2 blocks around it, clipped, averaged over them."""
    side = cells.shape[1]
    if side == 1:
        return np.asarray(cells / (np.linalg.norm(cells, axis=3, keepdims=True) + 1e-6), np.float32)
    energy = np.square(cells).sum(axis=3)
    block = np.sqrt(energy[:, :-1, :-1] + energy[:, 1:, :-1] + energy[:, :-1, 1:] + energy[:, 1:, 1:]) + 1e-6
    total, times = np.zeros_like(cells), np.zeros((1, side, side, 1), np.float32)
    for down in (0, 1):
        for across in (0, 1):
            place = (slice(None), slice(down, down + side - 1), slice(across, across + side - 1))
            total[place] += np.minimum(cells[place] / block[..., None], 0.2)
            times[place] += 1
    return np.asarray(total / times, np.float32)


def morphology(images: Array) -> NDArray[np.float32]:
    """Shape and light of the object in the middle: (m, h, w, c) to (m, len(MORPHOLOGY) + 2 c) float32.

    The ground is the median of the border, and light is what exceeds it by more than twice the border's robust
    deviation; pixels that are not finite have none. A picture without light has 0s but for mean and deviation.
    """
    grey = _grey(images)
    height, width = grey.shape[1:]
    ring = np.ones((height, width), bool)
    edge = max(1, min(height, width) // 12)
    ring[edge:-edge, edge:-edge] = False
    border = grey[:, ring]
    ground = np.median(border, axis=1)[:, None, None]
    noise = 1.4826 * np.median(np.abs(border - ground[:, 0]), axis=1)[:, None, None]
    light = np.where(grey - ground > 2 * noise, grey - ground, 0)
    total = light.sum((1, 2))
    safe = np.where(total > 0, total, 1)
    y, x = (np.mgrid[:height, :width] - np.array([(height - 1) / 2, (width - 1) / 2])[:, None, None]).astype(np.float32)
    x0, y0 = ((light * axis).sum((1, 2)) / safe for axis in (x, y))
    dx, dy = x[None] - x0[:, None, None], y[None] - y0[:, None, None]
    turned = light[:, ::-1, ::-1]
    asymmetry = np.abs(light - turned).sum((1, 2)) / (2 * safe)
    moments = _moments(light, dx, dy, safe)
    columns = [
        _concentration(light, np.hypot(dx, dy), total), asymmetry, _gini(light), _m20(light, dx**2 + dy**2), *moments,
        grey.mean((1, 2)), grey.std((1, 2)),
    ]  # fmt: skip
    planes = np.nan_to_num(images.astype(np.float32), posinf=0, neginf=0).transpose(3, 0, 1, 2)
    held = [np.where(light > 0, plane, 0).sum((1, 2)) for plane in planes]
    whole = np.where(sum(held) != 0, sum(held), 1)
    columns += [part / whole for part in held]
    columns += [plane.std((1, 2)) for plane in planes]
    return np.asarray(np.nan_to_num(np.stack(columns, axis=1)), np.float32)


def _grey(images: Array) -> NDArray[np.float32]:
    grey = images.astype(np.float32).mean(axis=3)
    return np.asarray(np.nan_to_num(grey, nan=0.0, posinf=0.0, neginf=0.0), np.float32)


def _concentration(light: Array, radius: Array, total: Array) -> Array:
    """5 log10 (r80 / r20), the radii that hold 80 and 20 % of the light (Conselice 2003, equation 6)."""
    largest = np.maximum(radius.max(axis=(1, 2)), 1e-3)  # of each picture: the others must not matter
    bins = np.minimum((radius / largest[:, None, None] * _RADII).astype(np.int64), _RADII - 1)
    place = np.arange(len(light))[:, None, None] * _RADII + bins
    grown = np.cumsum(np.bincount(place.ravel(), light.ravel(), len(light) * _RADII).reshape(-1, _RADII), axis=1)
    found = np.zeros(len(light))
    for row in np.flatnonzero(total > 0):
        edges = np.arange(1, _RADII + 1) * (largest[row] / _RADII)
        inner, outer = np.interp([0.2 * total[row], 0.8 * total[row]], np.r_[0, grown[row]], np.r_[0, edges])
        found[row] = 5 * np.log10(max(outer, 1e-3) / max(inner, 1e-3))
    return found


def _gini(light: Array) -> Array:
    """How unevenly the light is spread over its pixels, 0 evenly to 1 (Lotz et al. 2004, equation 6)."""
    found = np.zeros(len(light))
    for row, one in enumerate(light):
        values = np.sort(one[one > 0].astype(np.float64))
        n = len(values)
        if n > 1:
            found[row] = ((2 * np.arange(1, n + 1) - n - 1) * values).sum() / (values.mean() * n * (n - 1))
    return found


def _m20(light: Array, square: Array) -> Array:
    """log10 of the brightest fifth's share of the light's second moment (Lotz et al. 2004, equation 8)."""
    found = np.zeros(len(light))
    for row, (one, away) in enumerate(zip(light, square, strict=True)):
        order = np.argsort(-one, axis=None)
        values, distances = one.ravel()[order], away.ravel()[order]
        whole = (values * distances).sum()
        if whole > 0:
            bright = np.cumsum(values) <= 0.2 * values.sum()
            bright[0] = True
            found[row] = np.log10(max((values * distances)[bright].sum() / whole, 1e-6))
    return found


def _moments(light: Array, dx: Array, dy: Array, total: Array) -> list[Array]:
    """Axis ratio, then four of Hu's moments as sign(h) log10(1 + |h|), of the light as a distribution."""

    def eta(p: int, q: int) -> Array:
        central: Array = (light * dx**p * dy**q).sum((1, 2))
        return central / total ** (1 + (p + q) / 2)

    n20, n02, n11 = eta(2, 0), eta(0, 2), eta(1, 1)
    n30, n12, n21, n03 = eta(3, 0), eta(1, 2), eta(2, 1), eta(0, 3)
    half, root = (n20 + n02) / 2, np.sqrt(((n20 - n02) / 2) ** 2 + n11**2)
    ratio = np.sqrt(np.clip((half - root) / np.where(half + root > 0, half + root, 1), 0, 1))
    hu = [n20 + n02, (n20 - n02) ** 2 + 4 * n11**2, (n30 - 3 * n12) ** 2 + (3 * n21 - n03) ** 2]
    hu.append((n30 + n12) ** 2 + (n21 + n03) ** 2)
    return [ratio, *(np.sign(h) * np.log10(1 + np.abs(h)) for h in hu)]
