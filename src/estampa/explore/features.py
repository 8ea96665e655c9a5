"""What an exploration looks at: each object as a few numbers, from its pixels, a trained model, or a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.backbone import backbone_bundle, is_backbone
from estampa.data.dataset import Dataset
from estampa.errors import InputError, nearest
from estampa.explore.extract import EmbeddingFeatures, Extractor, PcaFeatures, TableFeatures
from estampa.progress import SILENT, Progress

KINDS = ("pca", "embedding:RUN", "embedding:BACKBONE", "table")


@dataclass(frozen=True)
class Features:
    """n objects as f comparable numbers each.

    Attributes
    ----------
    values : (n, f) float32, finite; each column has mean 0 and variance 1 over the rows that the features were fitted
        on (a column that does not vary there is left out, or, of principal components, all but zero).
    ids : (n,) texts.
    labels : (n,) int64, -1 = unlabelled; None where the Dataset has no classes.
    classes : class names in label order.
    rows : (n,) int64, of the Dataset.
    name : in words: "75 principal components of the central 174 x 174 pixels".
    explained : share of the pixels' variance that the features hold; None where that has no meaning.
    inverse : turns (m, f) back into pictures (m, h, w, c) of the stored type; None where there is no way back.
    record : how they were made: plain values, ready for JSON.
    extractor : makes the same features of other objects, and can be saved.
    fitted : (n,) bool: the rows that the features were fitted on.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    rows: np.ndarray
    name: str
    explained: float | None
    inverse: Callable[[np.ndarray], np.ndarray] | None
    record: dict[str, Any]
    extractor: Extractor
    fitted: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __len__(self) -> int:
        return len(self.values)


def read_kind(kind: str, where: str = "features") -> tuple[str, str]:
    """Part "embedding:RUN" to ("embedding", "RUN"), "pca" to ("pca", ""); InputError for words of no known kind."""
    name, _, of = kind.partition(":")
    if name not in ("pca", "embedding", "table") or bool(of) != (name == "embedding"):
        raise InputError(f"unknown features {kind!r}", where=where, allowed=", ".join(KINDS), cure=nearest(kind, KINDS))
    return name, of


def features_of(
    dataset: Dataset,
    kind: str = "pca",
    *,
    components: int | None = None,
    crop: int = 0,
    rows: np.ndarray | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Features:
    """Fit features on the train part of `rows` (None = all) and apply them to all of them.

    Parameters
    ----------
    kind : "pca" (principal components of the pixels, scaled), "embedding:RUN" (what the last layer of a run's or a
        bundle's net reads, standardised; in place of a run the name of a pretrained backbone, as
        tf_efficientnet_lite0: its pooled features), or "table" (the columns, standardised).
    components, crop : of "pca", see `Reduction.fit`; they are refused for the other kinds.

    Where the Dataset has no train part, or none of `rows` is in it, they are fitted on all rows, and that is said.
    Raises InputError, DatasetError (nothing of that kind in it), ContractError (not the pictures of that model).
    """
    chosen = np.arange(dataset.n) if rows is None else np.asarray(rows, np.int64)
    if not len(chosen):
        raise InputError("no rows are left to explore", where=dataset.path)
    training, whose = _training(dataset, chosen)
    name, of = read_kind(kind)
    if (components is not None or crop) and name != "pca":
        raise InputError("components and crop belong to the features 'pca'", where="features", got=kind)
    extractor: Extractor
    if name == "pca":
        extractor = PcaFeatures.fit(dataset, training, components, crop, seed, progress)
    elif name == "embedding":
        extractor = EmbeddingFeatures.fit(_model(of, dataset, training, progress), dataset, training, progress)
    else:
        extractor = TableFeatures.fit(dataset, training, progress)
    progress.say(f"features: {extractor.name}, fitted on {len(training):,} rows ({whose})")
    fitted = np.isin(chosen, training)
    return Features(
        extractor.apply(dataset, chosen, progress), dataset.ids[chosen], _labels(dataset, chosen), dataset.classes,
        chosen, extractor.name, extractor.explained, extractor.inverse,
        extractor.record() | {"kind": kind, "fitted_on": whose, "fitted_rows": len(training), "seed": seed},
        extractor, fitted,
    )  # fmt: skip


def _model(of: str, dataset: Dataset, training: np.ndarray, progress: Progress) -> Path:
    """The run or bundle at the path `of`, or the bundle of the pretrained backbone of that name."""
    if Path(of).exists() or not is_backbone(of):
        return Path(of)
    return backbone_bundle(of, dataset, training, progress)


def _training(dataset: Dataset, chosen: np.ndarray) -> tuple[np.ndarray, str]:
    """The rows to fit on, and what they are in words."""
    training = np.intersect1d(chosen, dataset.rows("train"))
    if len(training):
        return training, "the train part"
    return np.sort(chosen), "all of them: the data have no train part" if not dataset.split.any() else "all of them"


def _labels(dataset: Dataset, rows: np.ndarray) -> np.ndarray | None:
    return dataset.labels[rows].astype(np.int64) if dataset.task == "classification" else None
