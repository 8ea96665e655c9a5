"""One signature for every method of clustering: `fit(x, options) -> Clustering`, which assigns new objects by itself.

The file `methods/x.py` IS the method x. It holds

- `Options`, a frozen record of its settings with their defaults;
- `fit(x, options, *, seed, progress) -> Clustering`;
- `assign(clustering, new) -> (labels, strength)`, the rule by which a new object joins a cluster;
- `MEMORY`, the arrays that this rule needs beside the centres, each with its kind and axes. A letter stands for one
  length throughout (k clusters, f features, n objects fitted), so that a state that comes from a file is checked.

Rows are objects, columns are features on one scale (`Features.values`). Labels are 0..k-1 and -1 for noise; strength
is 0 to 1, 1 at the heart of a cluster and 0 on its border, and 0 for noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estampa import parts
from estampa.errors import InputError
from estampa.progress import SILENT, Progress
from estampa.recipe import check_options

METHODS = "explore/methods"
Evidence = dict[str, np.ndarray | float | str]


@dataclass(frozen=True)
class Clustering:
    """Objects in clusters, what they were found by, and what new objects are assigned with.

    Attributes
    ----------
    method : its name, a file of methods/.
    labels : (n,) int64, 0..k-1, -1 = noise.
    centres : (k, f) float32, in the units of the features.
    strength : (n,) float32 in 0..1, 1 = at the heart of its cluster; 0 for noise.
    evidence : what the method shows for itself: arrays, numbers and sentences, named in docs/explore-methods.md;
        "note" says in words what was done otherwise than asked.
    memory : the arrays of the method's `MEMORY`.
    options : the settings, as JSON holds them.
    """

    method: str
    labels: np.ndarray
    centres: np.ndarray
    strength: np.ndarray
    evidence: Evidence = field(default_factory=dict)
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def clusters(self) -> int:
        """Number of clusters, k; noise is none."""
        return len(self.centres)

    @property
    def sizes(self) -> np.ndarray:
        """(k,) int64: members of each cluster."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.clusters)

    @property
    def noise(self) -> float:
        """Share of the objects that belong to no cluster."""
        return float((self.labels < 0).mean())

    def assign(self, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (m,) int64 and strength (m,) float32 of new objects (m, f).

        Raises InputError for another number of features, NaN or infinity.
        """
        new = checked(new, least=0)
        if new.shape[1] != self.centres.shape[1]:
            raise InputError(
                "has another number of features than the clusters were found in", where=f"objects for {self.method}",
                allowed=str(self.centres.shape[1]), got=str(new.shape[1]),
            )  # fmt: skip
        if not len(new) or not self.clusters:
            return np.full(len(new), -1, np.int64), np.zeros(len(new), np.float32)
        labels, strength = parts.load(METHODS, self.method).assign(self, new)
        return labels.astype(np.int64, copy=False), strength.astype(np.float32, copy=False)

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Everything as plain arrays and as what JSON can hold; `from_state` takes both back."""
        shown = {k: v for k, v in self.evidence.items() if isinstance(v, np.ndarray)}
        told = {k: v for k, v in self.evidence.items() if k not in shown}
        arrays = {"labels": self.labels, "centres": self.centres, "strength": self.strength}
        arrays |= {f"memory.{k}": v for k, v in self.memory.items()}
        arrays |= {f"evidence.{k}": v for k, v in shown.items()}
        return arrays, {"method": self.method, "options": self.options, "evidence": told}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], record: Mapping[str, Any]) -> Clustering:
        """A Clustering from what `state` gave; InputError when the parts cannot belong together."""
        method = str(record.get("method"))
        part = parts.load(METHODS, method)
        lengths: dict[str, int] = {}
        for name, axes in {"labels": "i n", "centres": "f k f", "strength": "f n"}.items():
            _fits(arrays, name, axes, lengths, method)
        for name, axes in part.MEMORY.items():
            _fits(arrays, f"memory.{name}", axes, lengths, method)
        labels, strength = arrays["labels"], arrays["strength"]
        if ((labels < -1) | (labels >= lengths["k"])).any() or ((strength < 0) | (strength > 1)).any():
            raise InputError("the labels or strengths are out of range", where=f"state of {method}")
        shown = {k.removeprefix("evidence."): v for k, v in arrays.items() if k.startswith("evidence.")}
        made = cls(
            method, labels, arrays["centres"], strength, {**dict(record.get("evidence", {})), **shown},
            {name: arrays[f"memory.{name}"] for name in part.MEMORY}, dict(record.get("options", {})),
        )  # fmt: skip
        if hasattr(part, "check"):
            part.check(made)
        return made


def cluster(
    method: str, x: np.ndarray, *, options: Mapping[str, Any] | None = None, seed: int = 0, progress: Progress = SILENT
) -> Clustering:
    """Find clusters by one of methods/.

    Parameters
    ----------
    method : "kmeans", "hierarchical", "hdbscan", "som", "gmm".
    x : (n, f), objects by features on one scale.
    options : the method's own settings, `{"clusters": 12}`.

    Raises InputError for an unknown method, fewer objects than clusters, NaN or infinity; RecipeError for an unknown
    or impossible option.
    """
    part = parts.load(METHODS, method)
    settings = check_options(part.Options, options or {}, f"options of {method}")
    made: Clustering = part.fit(checked(x), settings, seed=seed, progress=progress)
    return made


def checked(x: np.ndarray, least: int = 2) -> np.ndarray:
    """Objects by features as (n, f) float32 in rows; InputError for another shape, too few rows, NaN or infinity."""
    x = np.asarray(x)
    if x.ndim != 2 or x.shape[1] < 1 or x.dtype.kind not in "fiub":
        raise InputError("features must be one row of numbers for each object", got=f"{x.dtype} {x.shape}")
    if len(x) < least:
        raise InputError("too few objects to find clusters", allowed=f"{least} or more", got=str(len(x)))
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinity, and is refused as such
        x = np.ascontiguousarray(x, np.float32)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        raise InputError(
            f"{len(bad):,} of {len(x):,} objects have features that are NaN or infinite", where="features",
            got=f"row {bad[0]}", cure="Leave these objects out, or fill their missing values first.",
        )  # fmt: skip
    return x


def enough(n: int, clusters: int, method: str) -> None:
    """Raise InputError when there are fewer objects than clusters."""
    if n < clusters:
        raise InputError(
            "fewer objects than clusters", where=method, allowed=f"at most {n} clusters of {n} objects",
            got=str(clusters), cure="Ask for fewer clusters.",
        )  # fmt: skip


def by_size(labels: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) renumbered so that the largest cluster is 0, and the former number of each cluster (k,)."""
    order = np.argsort(-np.bincount(labels[labels >= 0], minlength=clusters), kind="stable")
    numbers = np.append(np.argsort(order), -1)  # -1 stays -1
    return numbers[labels].astype(np.int64), order


def _fits(arrays: Mapping[str, np.ndarray], name: str, axes: str, lengths: dict[str, int], method: str) -> None:
    """Refuse an array that is missing, of another kind, or whose axes contradict those seen before."""
    kind, *letters = axes.split()
    where = f"state of {method}"
    if name not in arrays:
        raise InputError(f"the array {name!r} is missing", where=where)
    array = arrays[name]
    if array.dtype.kind != kind or array.ndim != len(letters):
        raise InputError(f"the array {name!r} is of another kind", where=where, allowed=axes, got=f"{array.dtype}")
    for letter, length in zip(letters, array.shape, strict=True):
        if lengths.setdefault(letter, length) != length:
            raise InputError(f"the array {name!r} does not fit the others", where=where, got=f"{array.shape}")
    if kind == "f" and not np.isfinite(array).all():
        raise InputError(f"the array {name!r} holds NaN or infinity", where=where)
