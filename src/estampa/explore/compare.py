"""The same objects seen in several ways: crops x components x features, each judged by one K-means."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from estampa.data.dataset import Dataset
from estampa.errors import InputError, nearest
from estampa.explore import quality
from estampa.explore.clustering import cluster
from estampa.explore.extract import PcaFeatures
from estampa.explore.features import Features, features_of, read_kind
from estampa.progress import SILENT, Progress

_KEYS = ("crop", "components", "features")
GRAMMAR = "KEY=VALUE,VALUE;KEY=VALUE of crop, components, features, as crop=174,96;components=75,147;features=pca,table"


@dataclass(frozen=True)
class Ways:
    """What is compared.

    Attributes
    ----------
    crops : sides of the central square in pixels, 0 = whole pictures; of "pca" only.
    components : numbers of principal components; None = as `features_of` takes them.
    kinds : of features, as `features_of` names them.
    """

    crops: tuple[int, ...] = (0,)
    components: tuple[int | None, ...] = (None,)
    kinds: tuple[str, ...] = ("pca",)

    def all(self) -> list[tuple[str, int, int | None]]:
        """(kind, crop, components) of each way, in order; crop and components belong to "pca" alone."""
        found = []
        for kind in self.kinds:
            crops, counts = (self.crops, self.components) if kind == "pca" else ((0,), (None,))
            found += [(kind, crop, count) for crop, count in itertools.product(crops, counts)]
        return found


def read_ways(text: str) -> Ways:
    """Read "crop=174,128,96;components=75,147;features=pca,embedding:RUN"; InputError names the part that is wrong."""
    given: dict[str, list[str]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        key, _, values = part.partition("=")
        key = key.strip()
        if key not in _KEYS:
            raise InputError(
                f"unknown key {key!r}", where="--compare", allowed=", ".join(_KEYS), cure=nearest(key, _KEYS)
            )
        if key in given:
            raise InputError(
                f"{key!r} is given twice", where="--compare", got=f"{','.join(given[key])} and {values.strip()}",
                cure=f"Name all values at once: {key}={','.join(given[key])},{values.strip()}",
            )  # fmt: skip
        given[key] = [v.strip() for v in values.split(",") if v.strip()]
        if not given[key]:
            raise InputError(f"nothing is given for {key!r}", where="--compare", cure=f"As in {key}=128,96.")
    if not given:
        raise InputError("names no other way to look", where="--compare", allowed=GRAMMAR, got=repr(text))
    return Ways(
        tuple(_whole("crop", v, 0) for v in given.get("crop", ["0"])),
        tuple(_whole("components", v, 1) for v in given["components"]) if "components" in given else (None,),
        tuple(given.get("features", ["pca"])),
    )


def _whole(key: str, text: str, least: int) -> int:
    if not text.isdigit() or int(text) < least:
        raise InputError(
            f"{key} must be whole numbers", where="--compare", allowed=f"{least} or more, as 174,128", got=text
        )
    return int(text)


def check(dataset: Dataset, ways: Ways) -> None:
    """Refuse, before any work, ways that these data cannot be looked at: InputError names what is allowed."""
    names = {read_kind(kind, "--compare")[0] for kind in ways.kinds}
    if "table" in names and not dataset.header.columns:
        raise InputError("there is no table to look at", where="--compare", got=dataset.path)
    if "pca" not in names:
        return
    if dataset.shape is None:
        raise InputError("there are no pictures to look at", where="--compare", got=dataset.path)
    side, most = min(dataset.shape[:2]), (len(dataset.rows("train")) or dataset.n) - 1
    for crop in ways.crops:
        if crop > side:
            raise InputError("crop is more than a picture has", where="--compare", allowed=f"0 to {side}", got=crop)
    for count in ways.components:
        if count is not None and count > most:
            raise InputError(
                "more components than can be found", where="--compare", allowed=f"1 to {most}", got=count,
                cure="One fewer than the objects that are learned from, at most.",
            )  # fmt: skip


def compare(
    dataset: Dataset, ways: Ways, *, clusters: int = 12, seed: int = 0, progress: Progress = SILENT
) -> list[dict[str, Any]]:
    """A row a way: features, crop, components, explained (share of the pixels' variance), ARI and NMI of K-means with
    the known classes (`measure.Interval`, where there are classes), silhouette, seconds of the features.

    Components are fitted once a crop, as many as the most that are asked for: fewer are the first of them, and their
    seconds are those of that fit.

    Raises what `features_of` raises for a way that cannot be.
    """
    rows: list[dict[str, Any]] = []
    labelled = False
    widest = None if None in ways.components else max(filter(None, ways.components))
    held: tuple[tuple[str, int], Features, float] | None = None
    progress.start("comparing ways to look", len(ways.all()), "ways")
    for kind, crop, count in ways.all():
        if held is None or held[0] != (kind, crop) or widest is None:
            began = time.monotonic()
            most = count if widest is None or kind != "pca" else widest
            found_by = features_of(dataset, kind, components=most, crop=crop, seed=seed, progress=SILENT)
            held = (kind, crop), found_by, time.monotonic() - began
        seen, spent = _first(held[1], count), held[2]
        found = cluster("kmeans", seen.values, options={"clusters": clusters}, seed=seed)
        row: dict[str, Any] = {
            "features": kind, "crop": crop or None, "components": seen.values.shape[1] if kind == "pca" else None,
            "explained": seen.explained,
        }  # fmt: skip
        labelled = seen.labels is not None and bool((seen.labels >= 0).any())
        if labelled and seen.labels is not None:
            agreement = quality.agreement(seen.labels, found.labels, seed=seed)
            row |= {"ARI": agreement["ari"], "NMI": agreement["nmi"]}
        inner = quality.inner(seen.values, found.labels, seed=seed)
        rows.append(row | {"silhouette": _finite(inner["silhouette"]), "seconds": spent})
        progress.advance(note=f"{kind}, crop {crop or 'none'}, {seen.values.shape[1]} numbers")
    progress.finish()
    return rows


def _first(features: Features, count: int | None) -> Features:
    """The features with their first `count` components alone; None = as they are."""
    if count is None or not isinstance(features.extractor, PcaFeatures):
        return features
    kept = PcaFeatures(features.extractor.reduction.keep(count))
    return replace(
        features, values=features.values[:, :count], name=kept.name, explained=kept.explained, extractor=kept
    )


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows ready for JSON."""
    return [{k: v.to_json() if hasattr(v, "to_json") else v for k, v in row.items()} for row in rows]
