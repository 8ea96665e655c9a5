"""UMAP of features: neighbourhoods kept in few dimensions, as a space to cluster in and as a map to look at.

McInnes, Healy & Melville (2018), arXiv:1802.03426, as umap-learn computes it. It is seeded and so runs on one thread.
New points do not go through umap-learn: each lies at the weighted mean of where its nearest training points lie, so
that what is saved is plain arrays.
"""

from __future__ import annotations

import io
import json
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine
from estampa.errors import ContractError, InputError
from estampa.files import write_atomic
from estampa.progress import SILENT, Progress

_BLOCK = 4 << 20  #: distances that are held at once
_KEY = "estampa.umap"


@dataclass(frozen=True)
class Umap:
    """A fitted map.

    Attributes
    ----------
    points : (n, f) float32: the training points.
    places : (n, d) float32: where they lie in the map.
    neighbours : how many nearest points make a neighbourhood, at the fit and for new points.
    min_dist : how close the map may pack points.
    seed : of the fit.
    """

    points: np.ndarray
    places: np.ndarray
    neighbours: int
    min_dist: float
    seed: int

    @classmethod
    def fit(
        cls,
        x: np.ndarray,
        dims: int = 2,
        seed: int = 0,
        *,
        neighbours: int = 15,
        min_dist: float | None = None,
        progress: Progress = SILENT,
    ) -> Umap:
        """Map x (n, f) float32 to `dims` dimensions; the same seed gives the same map on the same machine.

        Parameters
        ----------
        neighbours : fewer show fine structure, more the coarse one; at most n - 1 are taken.
        min_dist : None = 0.1 for a map to look at (up to 3 dimensions), 0 for a space to cluster in (more), where
            points should lie as densely as they are alike.

        Raises InputError for fewer than dims + 2 points, MissingExtra without umap-learn.
        """
        machine.require("explore", "umap", needed_for="UMAP")
        n = len(x)
        if not 1 <= dims <= n - 2:
            raise InputError(
                f"a map of {dims} dimensions cannot be made of {n} points", where="umap",
                allowed=f"1 to {max(1, n - 2)} dimensions, of at least 3 points", got=dims,
            )  # fmt: skip
        if min_dist is None:
            min_dist = 0.1 if dims <= 3 else 0.0
        neighbours = max(2, min(neighbours, n - 1))
        progress.say(f"UMAP of {n:,} points to {dims} dimensions, {neighbours} neighbours, one thread (seed {seed})")
        points = np.ascontiguousarray(x, np.float32)
        places = _umap_learn(points, dims, seed, neighbours, min_dist, progress)
        return cls(points, places, neighbours, min_dist, seed)

    @property
    def dims(self) -> int:
        """Dimensions of the map."""
        return int(self.places.shape[1])

    def transform(self, new: np.ndarray) -> np.ndarray:
        """Places (m, d) float32 of new points (m, f): the mean of their nearest training points' places.

        Weights fall as exp(-(r - r1) / s): r1 is the distance of the nearest, s the mean distance beyond it of the
        others, so that the scale follows the local density, as in UMAP. A training point lies where it lay.
        Raises ContractError when the points have another number of values.
        """
        if new.ndim != 2 or new.shape[1] != self.points.shape[1]:
            raise ContractError(
                "these points are not what the map was made of", where="umap",
                allowed=f"(m, {self.points.shape[1]})", got=new.shape,
            )  # fmt: skip
        out = np.empty((len(new), self.dims), np.float32)
        count = min(self.neighbours, len(self.points))
        lengths = np.einsum("ij,ij->i", self.points, self.points)
        step = max(1, _BLOCK // len(self.points))
        for start in range(0, len(new), step):
            some = np.ascontiguousarray(new[start : start + step], np.float32)
            squared = lengths - 2 * (some @ self.points.T)  # less each point's own length, the same along a row
            near = np.argpartition(squared, count - 1, axis=1)[:, :count]
            away = np.linalg.norm(self.points[near] - some[:, None], axis=2)
            beyond = away - away.min(axis=1, keepdims=True)
            scale = np.maximum(beyond.mean(axis=1, keepdims=True), 1e-12)
            weight = np.where(away <= 0, 1e6, 1.0) * np.exp(-beyond / scale)  # an equal point decides alone
            weight /= weight.sum(axis=1, keepdims=True)
            out[start : start + step] = np.einsum("mk,mkd->md", weight, self.places[near])
        return out

    def save(self, path: Path | str) -> None:
        """Write it as a safetensors file: two plain arrays and a header in JSON."""
        from safetensors.numpy import save

        header = {
            "format": 1, "neighbours": self.neighbours, "min_dist": self.min_dist, "seed": self.seed,
        }  # fmt: skip
        arrays = {"points": np.ascontiguousarray(self.points), "places": np.ascontiguousarray(self.places)}
        write_atomic(Path(path), save(arrays, metadata={_KEY: json.dumps(header)}))

    @classmethod
    def load(cls, path: Path | str) -> Umap:
        """Read what `save` wrote; InputError says why not."""
        from safetensors import SafetensorError, safe_open

        path = Path(path)
        try:
            with safe_open(path, framework="numpy") as file:
                header: Any = json.loads((file.metadata() or {})[_KEY])
                points, places = file.get_tensor("points"), file.get_tensor("places")
            made = cls(points, places, int(header["neighbours"]), float(header["min_dist"]), int(header["seed"]))
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError("is not a map of estampa", where=path, got=repr(error)) from error
        whole = points.ndim == 2 and places.ndim == 2 and len(points) == len(places) > 0 and made.neighbours >= 1
        if not whole or not np.isfinite(points).all() or not np.isfinite(places).all():
            raise InputError("is a damaged map", where=path, got=f"arrays {points.shape} and {places.shape}")
        return made


class _Passes(io.TextIOBase):
    """What umap-learn's bar writes, "12/200", told to a Progress; the bar itself is shown nowhere."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done, self._begun = progress, 0, False

    def write(self, text: str) -> int:
        """Read a count out of `text`."""
        found = re.search(r"(\d+)/(\d+)", text)
        if found:
            if not self._begun:
                self._begun = True
                self._progress.start("UMAP", int(found[2]), "passes")
            if int(found[1]) > self._done:
                self._progress.advance(int(found[1]) - self._done)
                self._done = int(found[1])
        return len(text)

    def end(self) -> None:
        """The work is over, or was broken off."""
        if self._begun:
            self._progress.finish()


def _umap_learn(
    points: np.ndarray, dims: int, seed: int, neighbours: int, min_dist: float, progress: Progress
) -> np.ndarray:
    """umap-learn's embedding, (n, dims) float32; few points start at random, where its spectral start fails."""
    if "umap" not in sys.modules:
        progress.say("loading UMAP's library: some seconds, the first time on a machine up to a minute")
    passes = _Passes(progress)
    bar = {"disable": False, "file": passes, "bar_format": "{n_fmt}/{total_fmt}", "ascii": True, "mininterval": 0.5}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its words about threads, and those of the libraries below it
        from umap import UMAP

        fitted = UMAP(
            n_components=dims, n_neighbors=neighbours, min_dist=min_dist, random_state=seed, n_jobs=1,
            init="spectral" if len(points) > 10 * dims else "random",
            tqdm_kwds=None if progress is SILENT else bar,
        )  # fmt: skip
        progress.say("UMAP: looking for neighbours")
        try:
            made = fitted.fit_transform(points)
        finally:
            passes.end()
    places: np.ndarray = np.asarray(made, np.float32)
    if not np.isfinite(places).all():  # a point that nothing connects to: at the middle of its nearest points
        good = np.isfinite(places).all(axis=1)
        rest = Umap(points[good], places[good], neighbours, min_dist, seed)
        places[~good] = rest.transform(points[~good])
    return places
