"""The steps of an exploration, one after the other: number of clusters, clusters, judgement, map, strangest objects."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from estampa import parts
from estampa.data.dataset import Dataset
from estampa.explore import quality, strange
from estampa.explore.clustering import METHODS, cluster
from estampa.explore.exploration import TITLES, Exploration, Found, Settings
from estampa.explore.features import Features
from estampa.explore.number import Choice, choose
from estampa.explore.store import Explorer
from estampa.explore.umap import Umap
from estampa.progress import Clock, Progress

#: Methods that find clusters in UMAP's few dimensions instead of the features: density means nothing in many.
ON_UMAP = ("hdbscan",)
DENSE_DIMS = 5  #: of that space
MOST_MAPPED = 20_000  #: objects that UMAP is fitted on; the others are placed between them
TRIED = 5_000  #: objects on which HDBSCAN is tried in the features, for comparison
NUMBERS = range(2, 21)  #: of clusters that are tried
PAIRS = 4  #: of subsamples, for stability
STRANGE = 24
_DENSE = "dense"


class Work:
    """An exploration in the making.

    Parameters
    ----------
    dataset, features : what is looked at.
    asked : what was asked for.
    clock : takes the seconds.
    progress : is told what happens.
    """

    def __init__(self, dataset: Dataset, features: Features, asked: Settings, clock: Clock, progress: Progress) -> None:
        self.dataset, self.features, self.asked, self.clock, self.progress = dataset, features, asked, clock, progress
        self.maps: dict[str, Umap] = {}
        self.clusters = asked.clusters or 0
        mapped = np.arange(len(features))
        if len(mapped) > MOST_MAPPED:
            mapped = np.sort(np.random.default_rng(asked.seed).choice(len(mapped), MOST_MAPPED, replace=False))
        self._mapped = mapped

    def explored(self) -> Exploration:
        """All steps."""
        values, asked = self.features.values, self.asked
        choice = self._number()
        found = {name: self._found(name) for name in asked.methods}
        places, map_name = self._places()
        with self.clock.of("strangest objects"):
            order, strangeness = strange.strangest(values, STRANGE, seed=asked.seed)
        return Exploration(
            self.dataset, self.features, found, places, map_name, order, strangeness, choice,
            warnings=self._warnings(found), seconds=self.clock.seconds, settings=asked.to_json(),
        )  # fmt: skip

    def explorer(self, found: Exploration) -> Explorer:
        """What assigns new data."""
        spaces = {name: _DENSE for name, one in found.found.items() if one.own_space}
        return Explorer(
            self.features.extractor, {name: one.clustering for name, one in found.found.items()}, self.maps, spaces,
            self.features.classes, {"settings": found.settings, "data": self.dataset.content_sha256},
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ steps

    def _number(self) -> Choice | None:
        """The number of clusters with its evidence, which is shown for a number that was asked for too."""
        if not any(_takes_number(name) for name in self.asked.methods):
            return None
        given = self.asked.clusters
        with self.clock.of("number of clusters"):
            choice = choose(
                self.features.values, sorted({*NUMBERS, given or 2}), seed=self.asked.seed, progress=self.progress
            )
        if given:
            choice = replace(
                choice,
                number=given,
                reason=f"{given} clusters were asked for. Left to itself it would be {choice.reason}",
            )
        self.progress.say(choice.reason)
        self.clusters = choice.number
        return choice

    def _found(self, name: str) -> Found:
        """One method's clusters and what is measured of them."""
        features, seed = self.features, self.asked.seed
        own = name in ON_UMAP and self.asked.map == "umap" and features.values.shape[1] > DENSE_DIMS
        x, space = (self._dense(), self._dense_name()) if own else (features.values, features.name)
        options = {"clusters": self.clusters} if _takes_number(name) else {}
        began = time.monotonic()
        made = cluster(name, x, options=options, seed=seed, progress=self.progress)
        seconds = time.monotonic() - began
        self.clock.seconds[f"clusters by {name}"] = seconds
        with self.clock.of("quality and stability"):
            agreement = {} if features.labels is None else quality.agreement(features.labels, made.labels, seed=seed)
            inner = quality.inner(features.values, made.labels, seed=seed)
            stable = quality.stability(x, name, options=options, pairs=PAIRS, seed=seed)
            elsewhere = self._noise_on_features(name) if own else None
        self.progress.say(
            f"{TITLES.get(name, name)}: {made.clusters} clusters, {100 * made.noise:.0f} % noise, {seconds:.1f} s"
        )
        return Found(
            made, space, x, seconds, agreement, inner["silhouette"], inner["davies_bouldin"], stable, own, elsewhere
        )

    def _noise_on_features(self, name: str) -> float:
        """Share of noise when the method looks at the features themselves; of many objects, on some drawn at random."""
        x = self.features.values
        if len(x) > TRIED:
            x = x[np.sort(np.random.default_rng(self.asked.seed).choice(len(x), TRIED, replace=False))]
        return cluster(name, x, seed=self.asked.seed).noise

    def _dense(self) -> np.ndarray:
        """(n, 5) places in the space to find dense regions in."""
        return self._on_map(_DENSE, min(DENSE_DIMS, len(self._mapped) - 2))

    def _dense_name(self) -> str:
        return f"{self.maps[_DENSE].dims} UMAP coordinates of the {self.features.name}"

    def _places(self) -> tuple[np.ndarray, str]:
        """(n, 2) the map to look at, and what it is."""
        values = self.features.values
        if self.asked.map == "umap":
            return self._on_map("map", 2), f"UMAP of the {self.features.name}"
        if values.shape[1] == 1:
            return np.column_stack([values[:, 0], np.zeros(len(values), np.float32)]), "its only feature"
        return values[:, :2], f"the first two of the {self.features.name}"

    def _on_map(self, name: str, dims: int) -> np.ndarray:
        """Places of all objects on a map that is fitted on at most `MOST_MAPPED` of them."""
        values = self.features.values
        with self.clock.of("UMAP"):
            fitted = values[self._mapped]
            made = self.maps[name] = Umap.fit(fitted, dims, self.asked.seed, progress=self.progress)
            if len(fitted) == len(values):
                return made.places
            return made.transform(values)

    def _warnings(self, found: dict[str, Found]) -> list[str]:
        """What weakens the result."""
        lines = []
        empty = [one.title for one in found.values() if not one.clustering.clusters]
        if empty:
            lines.append(f"{', '.join(empty)} found no cluster: all objects are noise to it.")
        if len(self._mapped) < len(self.features) and self.maps:
            lines.append(
                f"UMAP was fitted on {len(self._mapped):,} objects drawn at random; the other objects stand at the "
                "mean of their nearest ones there."
            )
        return lines


def _takes_number(name: str) -> bool:
    """Whether a method is told how many clusters to make."""
    return "clusters" in parts.load(METHODS, name).Options.model_fields
