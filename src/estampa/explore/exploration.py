"""What an exploration found: the record that its report, its files and its callers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from estampa.data.dataset import Dataset
from estampa.explore.clustering import Clustering
from estampa.explore.compare import plain
from estampa.explore.features import Features
from estampa.explore.number import Choice
from estampa.measure import Interval

#: How the methods are called; a method without an entry goes by its own name.
TITLES = {
    "kmeans": "K-means", "hierarchical": "Hierarchical", "hdbscan": "HDBSCAN", "som": "Self-organising map",
    "gmm": "Gaussian mixture",
}  # fmt: skip
#: The five, in the order of the report.
ALL = tuple(TITLES)


@dataclass(frozen=True)
class Settings:
    """What is asked for.

    Attributes
    ----------
    features, components, crop : see `features_of`.
    clusters : how many; None = chosen, with the evidence shown. HDBSCAN finds its own number.
    methods : names of explore/methods, each once.
    compare : other ways to look, see `compare.read_ways`; "" = none.
    map : "umap", or "first": the first two features instead, which takes no time and shows less; HDBSCAN then looks
        at the features themselves.
    seed : rules everything.
    """

    features: str = "pca"
    components: int | None = None
    crop: int = 0
    clusters: int | None = None
    methods: tuple[str, ...] = ALL
    compare: str = ""
    map: str = "umap"
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "methods": list(self.methods), "clusters": self.clusters or "auto"}


@dataclass(frozen=True)
class Found:
    """One method's clusters and what was measured of them.

    Attributes
    ----------
    clustering : labels, centres, strength, evidence.
    space : what the method saw, in words; `own_space` = not the features themselves.
    x : (n, f) what it saw; the units of its centres.
    seconds : of the fit alone.
    agreement : "ari", "nmi", "homogeneity", "purity" with the known classes; empty without classes.
    silhouette, davies_bouldin : inner quality in the features, noise left out; NaN where undefined.
    stability : agreement of clusterings of resamples, 1 = the same each time.
    elsewhere : share of noise when it ran on the plain features instead, where that was tried.
    """

    clustering: Clustering
    space: str
    x: np.ndarray
    seconds: float
    agreement: Mapping[str, Interval] = field(default_factory=dict)
    silhouette: float = float("nan")
    davies_bouldin: float = float("nan")
    stability: Interval | float | None = None
    own_space: bool = False
    elsewhere: float | None = None

    @property
    def title(self) -> str:
        """The method's name for people."""
        return TITLES.get(self.clustering.method, self.clustering.method)

    @property
    def names(self) -> list[str]:
        """Names of the clusters: from 1 on."""
        return [str(k + 1) for k in range(self.clustering.clusters)]


@dataclass(frozen=True)
class Exploration:
    """A finished exploration.

    Attributes
    ----------
    dataset, features : what was looked at.
    found : by method, in the order asked for.
    places : (n, 2) the map of all objects; `map_name` says what it is.
    strangest : places of the strangest objects, strangest first; `strangeness` (n,) their scores, larger = stranger.
    choice : the number of clusters and the evidence for it; None where no method takes a number.
    comparison : rows of crops x components x features, where asked for.
    warnings : what weakens the result.
    seconds : stage -> seconds.
    settings : what was asked for, ready for JSON.
    """

    dataset: Dataset
    features: Features
    found: Mapping[str, Found]
    places: np.ndarray
    map_name: str
    strangest: np.ndarray
    strangeness: np.ndarray
    choice: Choice | None = None
    comparison: Sequence[Mapping[str, Any]] = ()
    warnings: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def crop(self) -> int:
        """Side of the central square that was looked at, in pixels; 0 = whole pictures."""
        return int(self.features.record.get("crop", 0))

    @property
    def labelled(self) -> bool:
        """Whether some object has a known class."""
        return self.features.labels is not None and bool((self.features.labels >= 0).any())

    @property
    def comparable(self) -> bool:
        """Whether objects of two classes and more are known: with one, agreement says nothing."""
        return self.features.labels is not None and len(np.unique(self.features.labels[self.features.labels >= 0])) > 1

    @property
    def truth(self) -> np.ndarray:
        """(n,) known class of each object, -1 = none."""
        return np.full(len(self.features), -1, np.int64) if self.features.labels is None else self.features.labels

    def counts(self, name: str) -> np.ndarray:
        """(k, c): labelled members of each cluster of a method by class."""
        labels, truth = self.found[name].clustering.labels, self.features.labels
        table = np.zeros((self.found[name].clustering.clusters, len(self.features.classes)), np.int64)
        if truth is not None:
            known = (labels >= 0) & (truth >= 0)
            np.add.at(table, (labels[known], truth[known]), 1)
        return table

    def best(self) -> str:
        """The method that agrees most with the classes; without two classes, that of the best silhouette."""
        if self.comparable:
            return max(self.found, key=lambda name: self.found[name].agreement["ari"].value)
        worth = {name: one.silhouette for name, one in self.found.items() if np.isfinite(one.silhouette)}
        return max(worth, key=lambda name: worth[name]) if worth else next(iter(self.found))

    def to_json(self) -> dict[str, Any]:
        """The figures, plain and ready for JSON; NaN becomes null."""
        methods = {}
        for name, one in self.found.items():
            stability = one.stability.to_json() if isinstance(one.stability, Interval) else _plain(one.stability)
            methods[name] = {
                "clusters": one.clustering.clusters, "noise": one.clustering.noise,
                "sizes": one.clustering.sizes.tolist(), "space": one.space,
                **{k: v.to_json() for k, v in one.agreement.items()},
                "silhouette": _plain(one.silhouette), "davies_bouldin": _plain(one.davies_bouldin),
                "stability": stability, "seconds": round(one.seconds, 3),
                **({} if one.elsewhere is None else {"noise_on_features": one.elsewhere}),
            }  # fmt: skip
        ids = self.features.ids
        return {
            "data": str(self.dataset.path), "n": len(self.features), "features": self.features.record,
            "explained": _plain(self.features.explained), "methods": methods,
            "clusters": None if self.choice is None else {
                "number": self.choice.number, "reason": self.choice.reason, "evidence": self.choice.table(),
            },
            "strangest": [str(ids[p]) for p in self.strangest], "comparison": plain(self.comparison),
            "warnings": list(self.warnings), "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "settings": dict(self.settings),
        }  # fmt: skip


def _plain(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)
