"""Matching objects to a catalogue by their positions on the sky, where ids are rounded or absent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from estampa.errors import InputError, SourceError

UNITS = {
    "mas": 1 / 3_600_000, "arcsec": 1 / 3600, "as": 1 / 3600, '"': 1 / 3600,
    "arcmin": 1 / 60, "'": 1 / 60, "deg": 1.0,
}  # fmt: skip
MOST = 1.0  #: degrees; a wider radius is taken for a mistake
_RADIUS = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z\"']*)\s*", re.IGNORECASE)
_FINEST = 2.0**-19  #: side of the smallest cell, of a sphere of radius 1: three numbers of a cell fit in 63 bits


@dataclass(frozen=True)
class Matches:
    """Which row of a catalogue each of n objects is. At most one object has a given row of the catalogue."""

    index: NDArray[np.int64]  #: (n,) row of the catalogue, -1 = none
    separation: NDArray[np.float64]  #: (n,) arcsec, NaN where there is none
    lost: NDArray[np.bool_]  #: (n,) its nearest row lies nearer to another object, which has it
    ambiguous: NDArray[np.bool_]  #: (n,) more than one row lies within the radius; the nearest was taken

    def note(self, radius: float) -> str:
        """What was matched within `radius` (degrees), in one sentence."""
        found = self.index >= 0
        text = f"{int(found.sum()):,} of {len(found):,} objects have a row of the catalogue within {arcsec(radius)}"
        if found.any():
            text += f" (median {np.median(self.separation[found]):.2g} arcsec)"
        if self.ambiguous.any():
            text += f"; {int(self.ambiguous.sum()):,} have several, and the nearest was taken"
        if self.lost.any():
            text += f"; {int(self.lost.sum()):,} lost theirs to a nearer object"
        return text


def arcsec(radius: float) -> str:
    """A radius in degrees as text in arcsec."""
    return f"{radius * 3600:.6g} arcsec"


def read_radius(text: str, option: str = "--match-radius") -> float:
    """Degrees of a radius such as "2arcsec", "0.5 arcmin", "500mas"; InputError names `option` for other texts."""
    found = _RADIUS.fullmatch(text)
    unit = UNITS.get(found[2].lower()) if found else None
    try:
        radius = float(found[1]) * unit if found and unit else 0.0
    except ValueError:  # "1.2.3"
        radius = 0.0
    if not 0 < radius <= MOST:
        raise InputError(
            "is no radius", where=option, got=repr(text),
            allowed=f"a number and its unit ({', '.join(UNITS)}), more than 0 and at most {MOST:g} deg",
            cure=f"As in: {option}{'=' if ' ' in option else ' '}2arcsec",
        )  # fmt: skip
    return radius


def match(
    ra: ArrayLike,
    dec: ArrayLike,
    ra2: ArrayLike,
    dec2: ArrayLike,
    radius: float,
    whose: tuple[object, object] = ("an object", "the catalogue"),
) -> Matches:
    """Give each of n objects the nearest of m rows of a catalogue within `radius`, one to one.

    Parameters
    ----------
    ra, dec : (n,) degrees; an object at NaN has no match.
    ra2, dec2 : (m,) degrees; a row at NaN is nobody's.
    radius : degrees, at most `MOST`.
    whose : the objects and the catalogue, for messages.

    Each object asks for the row nearest to it. Of several that ask for the same row the nearest has it, and the others
    have none (`lost`): their second choice would be a guess. Of equal separations the first row wins. Separations are
    angles on the sphere, from chords between unit vectors, so neither the poles nor 0 = 360 degrees are special.

    Raises SourceError for a declination beyond 90 degrees.
    """
    places, rows = _unit(ra, dec, whose[0]), _unit(ra2, dec2, whose[1])
    count = len(places)
    chord = 2 * np.sin(np.radians(radius) / 2)
    nearest, best, within = _nearest(places, rows, chord)
    index = np.full(count, -1, np.int64)
    order = np.lexsort((np.arange(count), best))
    asking = order[nearest[order] >= 0]
    _, first = np.unique(nearest[asking], return_index=True)
    winners = asking[first]
    index[winners] = nearest[winners]
    separation = np.full(count, np.nan)
    separation[winners] = np.degrees(2 * np.arcsin(np.minimum(1.0, np.sqrt(best[winners]) / 2))) * 3600
    won = index >= 0
    return Matches(index, separation, (nearest >= 0) & ~won, won & (within > 1))


def close_pairs(ra: ArrayLike, dec: ArrayLike, radius: float, whose: object = "an object") -> NDArray[np.int64]:
    """Pairs of objects within `radius` (degrees) of each other, (m, 2) with the smaller row first, sorted.

    `ra` and `dec` are (n,) degrees, NaN where nothing is known. Of objects at one and the same place each is paired
    with the first of them alone. Raises SourceError for a declination beyond 90 degrees.
    """
    places = _unit(ra, dec, whose)
    known = np.flatnonzero(np.isfinite(places[:, 0]))
    own, first, at = np.unique(places[known], axis=0, return_index=True, return_inverse=True)
    at = at.reshape(-1)
    same = np.stack([known[first[at]], known], 1)
    found = [same[same[:, 0] != same[:, 1]]]
    chord = 2 * np.sin(np.radians(radius) / 2)
    for who, row, _ in _within(own, own, chord):
        apart = who != row
        found.append(np.sort(known[first[np.stack([who[apart], row[apart]], 1)]], axis=1))
    return np.unique(np.concatenate(found), axis=0).astype(np.int64)


def _unit(ra: ArrayLike, dec: ArrayLike, whose: object) -> NDArray[np.float64]:
    """Unit vectors (n, 3) of positions in degrees; NaN where one is not finite."""
    longitude, latitude = (np.asarray(part, np.float64).reshape(-1) for part in (ra, dec))
    if longitude.shape != latitude.shape:
        raise ValueError(f"{len(longitude)} right ascensions and {len(latitude)} declinations")
    beyond = np.flatnonzero(np.isfinite(latitude) & (np.abs(latitude) > 90))
    if len(beyond):
        raise SourceError(
            "a declination is beyond 90 degrees", where=f"{whose}, row {beyond[0] + 1}", allowed="-90 to 90 degrees",
            got=f"{latitude[beyond[0]]:g}" + (f", and {len(beyond) - 1:,} more" if len(beyond) > 1 else ""),
            cure="An unknown position is an empty field, not -99 or -999. Or are ra and dec exchanged?",
        )  # fmt: skip
    bad = ~(np.isfinite(longitude) & np.isfinite(latitude))
    a, d = np.radians(np.where(bad, 0, longitude)), np.radians(np.where(bad, 0, latitude))
    vectors = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], 1)
    vectors[bad] = np.nan
    return vectors


def _nearest(
    places: NDArray[np.float64], rows: NDArray[np.float64], chord: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Nearest row (n,) of each place (-1 = none), its squared chord (n,), and how many rows lie within (n,)."""
    nearest = np.full(len(places), -1, np.int64)
    best, within = np.full(len(places), np.inf), np.zeros(len(places), np.int64)
    for who, row, squared in _within(places, rows, chord):
        within[who] += 1
        closer = (squared < best[who]) | ((squared == best[who]) & (row < nearest[who]))
        best[who[closer]], nearest[who[closer]] = squared[closer], row[closer]
    return nearest, best, within


def _within(
    places: NDArray[np.float64], rows: NDArray[np.float64], chord: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Yield (places, their rows, squared chords) of pairs within `chord`, no place twice in one turn.

    Space is cut into cubes with sides of at least `chord`, so whatever is near lies in the 27 cubes around. Cubes are
    numbered so that three along z follow each other: nine stretches of the sorted rows are searched for each place.
    """
    side = max(chord, _FINEST)
    span = int(2 / side) + 4  # cubes along an axis, with an empty one at either end
    good = np.flatnonzero(np.isfinite(rows[:, 0]))
    keys = _key(_cells(rows[good], side), span)
    order = np.argsort(keys, kind="stable")
    keys, original = keys[order], good[order]
    sorted_rows = rows[original]
    asking = np.flatnonzero(np.isfinite(places[:, 0]))
    cells = _cells(places[asking], side)
    for step_x in (-1, 0, 1):
        for step_y in (-1, 0, 1):
            middle = _key(cells + np.array([step_x, step_y, 0]), span)
            at = np.searchsorted(keys, middle - 1, "left")
            end = np.searchsorted(keys, middle + 1, "right")
            live: NDArray[Any] = np.flatnonzero(at < end)
            while len(live):  # one row of each stretch at a time: memory does not grow with crowding
                who, candidate = asking[live], at[live]
                squared = ((places[who] - sorted_rows[candidate]) ** 2).sum(1)
                near = squared <= chord**2
                yield who[near], original[candidate[near]], squared[near]
                at[live] += 1
                live = live[at[live] < end[live]]


def _cells(vectors: NDArray[np.float64], side: float) -> NDArray[np.int64]:
    """Numbers (n, 3) of the cubes that unit vectors lie in, from 1."""
    return np.floor((vectors + 1) / side).astype(np.int64) + 1


def _key(cells: NDArray[np.int64], span: int) -> NDArray[np.int64]:
    """One number for each cube (n, 3); neighbours along the last axis have consecutive numbers."""
    return (cells[:, 0] * span + cells[:, 1]) * span + cells[:, 2]
