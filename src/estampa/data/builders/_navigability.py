"""Heights of the ground -> the four channels of a navigability patch, and a score of how well a rover can cross it.

Everything here is arrays in, arrays out. Lengths are in metres, angles in degrees; the score is derived from the
heights by the rules below, nobody has judged these patches by eye.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[Any]

CHANNELS = ("heights", "gradient", "elevations", "depressions")
#: Half the side, in cells, of the square that opening and closing slide over the ground.
REACH = 3
#: Cells around a patch that enter its channels: erosion and dilation reach REACH each.
CONTEXT = 2 * REACH
#: Tilt, in degrees, from which on no way is taken: what the landing sites of the Mars Science Laboratory had to keep
#: over lengths of 5 and of 20 m (USGS, MSL Mission Engineering Constraints, webgis.wr.usgs.gov/msl/Engineering.htm).
STEEPEST = 15.0
#: Resistance to rolling on level, smooth, loose ground, as a share of the weight. A round value of ours.
ROLLING = 0.15
#: Departure from a plane, over 3 x 3 cells, that doubles that resistance: metres. A round value of ours.
ROUGH = 1.0
LOWEST, HIGHEST = 1.0, 4.0


def channels(height: Array, pixel: float) -> Array:
    """The four channels (h, w, 4) float32 of a surface `height` (h, w) in metres, cells `pixel` metres wide.

    heights as given; gradient = slope of the steepest descent in degrees, central differences; elevations = what
    stands out above an opening by a square of 2 REACH + 1 cells (white top-hat), depressions = what lies below a
    closing (black top-hat), both in metres (Meyer 1979, J. Histochem. Cytochem. 27, 128; Soille 2003, Morphological
    Image Analysis). NaN is no measurement: it stays NaN, and its neighbours do without it.
    """
    found = np.empty((*height.shape, len(CHANNELS)), np.float32)
    found[..., 0] = height
    found[..., 1] = slope(height, pixel)
    found[..., 2] = height - _dilate(_erode(height))
    found[..., 3] = _erode(_dilate(height)) - height
    found[np.isnan(height)] = np.nan
    return found


def slope(height: Array, pixel: float) -> Array:
    """Slope in degrees, (h, w): central differences, one-sided at edges and beside NaN."""
    rise = np.hypot(_rise(height, 0, pixel), _rise(height, 1, pixel))
    found: Array = np.degrees(np.arctan(rise))
    return found


def _rise(height: Array, axis: int, pixel: float) -> Array:
    """Rise per metre along an axis; the mean of the two one-sided differences, or the one that there is, or 0."""
    step = np.diff(height.astype(np.float64), axis=axis) / pixel
    wide = [(0, 0)] * height.ndim
    wide[axis] = (1, 1)
    padded = np.pad(step, wide, constant_values=np.nan)
    sides = np.stack([np.delete(padded, -1, axis), np.delete(padded, 0, axis)])
    there = ~np.isnan(sides)
    total: Array = np.where(there, sides, 0).sum(0) / np.maximum(there.sum(0), 1)
    return total


def _erode(height: Array) -> Array:
    return -_dilate(-height)


def _dilate(height: Array) -> Array:
    """Maximum over a square of 2 REACH + 1 cells, (h, w); NaN and what lies beyond the edge do not count."""
    found = np.where(np.isnan(height), -np.inf, height)
    for axis in (0, 1):
        wide = [(0, 0), (0, 0)]
        wide[axis] = (REACH, REACH)
        padded = np.pad(found, wide, constant_values=-np.inf)
        found = sliding_window_view(padded, 2 * REACH + 1, axis).max(-1)
    return np.where(np.isinf(found), np.nan, found)


def roughness(height: Array) -> Array:
    """Root mean square departure (metres) of 3 x 3 cells from their best plane; of heights (..., h, w), same shape.

    The detrended RMS height of Shepard et al. 2001, J. Geophys. Res. 106, 32777, at the scale of three cells; beyond
    the border the ground goes on as a plane would. The plane's slopes are orthogonal to its mean on a 3 x 3 grid, so
    three sums give the rest.
    """
    edges = [(0, 0)] * (height.ndim - 2) + [(1, 1), (1, 1)]
    window = sliding_window_view(
        np.pad(height.astype(np.float64), edges, mode="reflect", reflect_type="odd"), (3, 3), (-2, -1)
    )
    square, mean = (window**2).mean((-2, -1)), window.mean((-2, -1))
    step = np.array([-1.0, 0.0, 1.0])
    east, south = (window * step).sum((-2, -1)) / 6, (window * step[:, None]).sum((-2, -1)) / 6
    rest: Array = square - mean**2 - (east**2 + south**2) * 2 / 3
    return np.sqrt(np.maximum(rest, 0.0))


def score(height: Array, pixel: float) -> Array:
    """Navigability (n,) from 1 (cannot be crossed) to 4 (level and smooth) of patches `height` (n, h, w), metres.

    A rover crosses the patch from each side to the opposite one, four ways, on the cheapest path over neighbouring
    cells (eight of them). A metre along a slope costs, in units of the weight,

        (ROLLING (1 + roughness / ROUGH) cos a + max(sin a, 0)) / (1 - (t / STEEPEST)^2),

    a = the climb along the step, t = the tilt of the steeper of its two cells. The form, motion resistance and the
    weight's component over the share of the wheels' turning that becomes progress, is that of terramechanics (Wong,
    Theory of Ground Vehicles); that this share falls with the square of the tilt, to nothing at STEEPEST, is a cautious
    rule of ours. The score is 1 + 3 x (cost on level smooth ground / cost of the cheapest path) for the worst of
    the four ways; a patch that cannot be crossed one way has 1.
    """
    tilt = np.stack([slope(patch, pixel) for patch in height])
    slip = np.minimum(tilt / STEEPEST, 1.0) ** 2  # the share of the wheels' turning that is lost
    drag = ROLLING * (1 + roughness(height) / ROUGH)
    side = height.shape[1]
    shares = []
    for turns in range(4):
        ground, resistance, lost = (np.rot90(a, turns, (1, 2)) for a in (height.astype(np.float64), drag, slip))
        shares.append(ROLLING * pixel * (side - 1) / _crossing(ground, resistance, lost, pixel))
    found: Array = LOWEST + (HIGHEST - LOWEST) * np.min(shares, axis=0)
    return found


def _crossing(height: Array, drag: Array, slip: Array, pixel: float) -> Array:
    """Cost (n,) of the cheapest path from the first row to the last, inf where there is none.

    All patches at once: costs are handed on to the neighbours until none falls any more (Bellman 1958).
    """
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    edges = [_step_cost(height, drag, slip, pixel, move) for move in steps]
    cost = np.full(height.shape, np.inf)
    cost[:, 0] = 0.0
    while True:
        before = cost
        for move, edge in zip(steps, edges, strict=True):
            cost = np.minimum(cost, _shifted(cost, move, np.inf) + edge)
        if not (cost < before).any():
            found: Array = cost[:, -1].min(1)
            return found


def _step_cost(height: Array, drag: Array, slip: Array, pixel: float, move: tuple[int, int]) -> Array:
    """Cost (n, h, w) of coming to each cell by `move` (rows, columns); inf where the way is too steep or outside."""
    run = pixel * float(np.hypot(*move))
    rise = height - _shifted(height, move, np.inf)
    length = np.hypot(run, rise)
    worst = np.maximum(slip, _shifted(slip, move, 1.0))
    with np.errstate(invalid="ignore"):
        force = (drag + _shifted(drag, move, 0.0)) / 2 * run / length + np.maximum(rise, 0.0) / length
        along = np.degrees(np.arctan2(np.abs(rise), run))
        passable = (worst < 1) & (along < STEEPEST)
        return np.where(passable, force * length / np.where(passable, 1 - worst, 1.0), np.inf)


def _shifted(array: Array, move: tuple[int, int], outside: float) -> Array:
    """The value that each cell's neighbour at -move holds; `outside` beyond the edge."""
    found = np.full(array.shape, outside)
    height, width = array.shape[1:]
    to = [slice(max(m, 0), size + min(m, 0)) for m, size in zip(move, (height, width), strict=True)]
    of = [slice(max(-m, 0), size + min(-m, 0)) for m, size in zip(move, (height, width), strict=True)]
    found[:, to[0], to[1]] = array[:, of[0], of[1]]
    return found
