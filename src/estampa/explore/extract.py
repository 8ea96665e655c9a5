"""Fitted makers of features: the same numbers for any object, now or after they were saved and loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from estampa.bundle.audit import read_regular, tensors
from estampa.bundle.contract import check_header, check_scale
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.errors import BundleError, ContractError, DatasetError, InputError
from estampa.files import storage_errors, write_atomic
from estampa.predict.source import open_source
from estampa.progress import SILENT, Progress
from estampa.reduce.reduction import Reduction

FILE = "features.json"
_STANDARD, _REDUCTION, _BUNDLE = "standard.safetensors", "reduction.safetensors", "bundle"
_KIND_LIMIT = 1 << 20  #: bytes of features.json
_CHUNK_BYTES = 8 << 20  #: of pictures that are scored together
_FLAT = 1e-6  #: a column whose deviation is below this share of its size is constant


class Extractor(Protocol):
    """Makes features of the rows of a Dataset, (m, f) float32."""

    @property
    def name(self) -> str:
        """What they are, in words."""

    @property
    def explained(self) -> float | None:
        """Share of the pixels' variance that the features hold; None where that has no meaning."""

    @property
    def inverse(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Features (m, f) back to pictures (m, h, w, c); None where there is no way back."""

    def apply(self, dataset: Dataset, rows: np.ndarray, progress: Progress = SILENT) -> np.ndarray:
        """Features of `rows`; ContractError or DatasetError when they are not what this was fitted on."""

    def record(self) -> dict[str, Any]:
        """How it was made, ready for JSON."""

    def save(self, folder: Path) -> None:
        """Write it into an existing folder."""


@dataclass(frozen=True)
class Standard:
    """Columns brought to mean 0 and variance 1; those that do not vary are left out.

    Attributes
    ----------
    kept : (f,) int64: the columns that vary.
    mean, scale : (f,) float64 of the kept columns. A value that is not finite counts as the mean.
    """

    kept: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, values: np.ndarray, where: object) -> Standard:
        """Fit on (n, columns); DatasetError when no column varies."""
        good = np.isfinite(values)
        count = np.maximum(good.sum(axis=0), 1)
        mean = np.where(good, values, 0).sum(axis=0, dtype=np.float64) / count
        spread = np.where(good, values - mean, 0)
        scale = np.sqrt((spread**2).sum(axis=0, dtype=np.float64) / count)
        kept = np.flatnonzero(scale > _FLAT * np.maximum(np.abs(mean), scale.max(initial=0) * _FLAT))
        if not len(kept):
            raise DatasetError("no column varies: there is nothing to compare objects by", where=where)
        return cls(kept.astype(np.int64), mean[kept], scale[kept])

    def apply(self, values: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, f) float32."""
        scaled = (values[:, self.kept] - self.mean) / self.scale
        return np.where(np.isfinite(scaled), scaled, 0).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write it as plain arrays."""
        from safetensors.numpy import save

        write_atomic(path, save({"kept": self.kept, "mean": self.mean, "scale": self.scale}))

    @classmethod
    def load(cls, path: Path) -> Standard:
        """Read what `save` wrote."""
        found = tensors(read_regular(path, 64 << 20), path)
        try:
            made = cls(found["kept"], found["mean"], found["scale"])
        except KeyError as error:
            raise InputError("is damaged", where=path, got=f"no array {error}") from error
        kept = made.kept
        if kept.dtype.kind != "i" or not kept.ndim == made.mean.ndim == made.scale.ndim == 1 or not len(kept):
            raise InputError("is damaged", where=path, got="its arrays are of another kind")
        good = len(kept) == len(made.mean) == len(made.scale) and kept.min() >= 0 and (made.scale > 0).all()
        if not good or not np.isfinite([made.mean, made.scale]).all():
            raise InputError("is damaged", where=path, got="its arrays do not fit each other")
        return made


@dataclass(frozen=True)
class PcaFeatures:
    """Scaled scores of principal components of the pixels."""

    reduction: Reduction

    @classmethod
    def fit(
        cls, dataset: Dataset, rows: np.ndarray, components: int | None, crop: int, seed: int, progress: Progress
    ) -> PcaFeatures:
        """Fit on the images of `rows`."""
        return cls(Reduction.fit(dataset, rows, components=components, crop=crop, seed=seed, progress=progress))

    @property
    def name(self) -> str:
        """In words."""
        side = (
            f"the central {self.reduction.crop} x {self.reduction.crop} pixels" if self.reduction.crop else "all pixels"
        )
        return f"{self.reduction.components} principal components of {side}"

    @property
    def explained(self) -> float | None:
        """Share of the pixels' variance."""
        return self.reduction.pca.explained

    @property
    def inverse(self) -> Callable[[np.ndarray], np.ndarray] | None:
        """Features back to pictures."""
        return self.reduction.inverse

    def apply(self, dataset: Dataset, rows: np.ndarray, progress: Progress = SILENT) -> np.ndarray:
        """Scaled scores of `rows`."""
        return self.reduction.transform_dataset(dataset, rows, progress)

    def record(self) -> dict[str, Any]:
        """How it was made."""
        return {
            "features": "pca", "components": self.reduction.components, "crop": self.reduction.crop,
            "explained": self.reduction.pca.explained, "reduction": self.reduction.fingerprint,
        }  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the reduction."""
        self.reduction.save(folder / _REDUCTION)
        _write_kind(folder, {"kind": "pca"})


class _NoWayBack:
    """What features that are no picture's share: they hold no share of its variance, and cannot be turned back."""

    explained: ClassVar[None] = None
    inverse: ClassVar[None] = None


@dataclass(frozen=True)
class EmbeddingFeatures(_NoWayBack):
    """What the last layer of a trained net reads, standardised."""

    bundle: Bundle
    standard: Standard
    width: int

    @classmethod
    def fit(cls, run: Path, dataset: Dataset, rows: np.ndarray, progress: Progress) -> EmbeddingFeatures:
        """Standardise the embeddings of `rows` by the model of a run folder or bundle."""
        bundle = Bundle.open(run)
        if "embedding" not in bundle.session.outputs:
            raise BundleError("its model has no embedding", where=run, cure="Give the run of a net.")
        found = _embeddings(bundle, dataset, rows, progress)
        return cls(bundle, Standard.fit(found, run), found.shape[1])

    @property
    def name(self) -> str:
        """In words."""
        return f"{len(self.standard.kept)} numbers of the embedding of {self.bundle.manifest.name} ({self.bundle.hash})"

    def apply(self, dataset: Dataset, rows: np.ndarray, progress: Progress = SILENT) -> np.ndarray:
        """Standardised embeddings of `rows`."""
        return self.standard.apply(_embeddings(self.bundle, dataset, rows, progress))

    def record(self) -> dict[str, Any]:
        """How it was made."""
        return {
            "features": "embedding", "model": self.bundle.hash, "recipe": self.bundle.manifest.name,
            "width": self.width, "constant": self.width - len(self.standard.kept),
        }  # fmt: skip

    def save(self, folder: Path) -> None:
        """Write the scale, and a copy of the bundle: the folder needs nothing else."""
        self.standard.save(folder / _STANDARD)
        with storage_errors(folder):
            shutil.copytree(self.bundle.folder, folder / _BUNDLE)
        _write_kind(folder, {"kind": "embedding"})


@dataclass(frozen=True)
class TableFeatures(_NoWayBack):
    """The columns of a table, standardised."""

    columns: tuple[str, ...]
    standard: Standard

    @classmethod
    def fit(cls, dataset: Dataset, rows: np.ndarray, progress: Progress) -> TableFeatures:
        """Standardise the columns over `rows`; those that do not vary, or are the answer, are left out, and named.

        Which columns tell the answer (a simulator's truth) the Dataset's origin says.
        """
        columns, values = dataset.header.columns, np.array(_table(dataset)[rows], np.float64)
        told = dataset.header.origin.get("truth", ())
        truth = [name for name in columns if name in told] if isinstance(told, (list, tuple)) else []
        values[:, [columns.index(name) for name in truth]] = 0  # so they do not vary
        made = cls(columns, Standard.fit(values, dataset.path))
        kept = {columns[i] for i in made.standard.kept.tolist()}
        if truth:
            progress.say(f"columns left out because they tell the answer: {', '.join(truth)}")
        if constant := [name for name in columns if name not in kept and name not in truth]:
            progress.warn(f"columns left out because they do not vary: {', '.join(constant)}")
        return made

    @property
    def name(self) -> str:
        """In words."""
        return f"{len(self.standard.kept)} columns of the table"

    def apply(self, dataset: Dataset, rows: np.ndarray, progress: Progress = SILENT) -> np.ndarray:  # noqa: ARG002 - instant
        """Standardised columns of `rows`."""
        if dataset.header.columns != self.columns:
            raise ContractError(
                "its columns are not those of the features", where=dataset.path, allowed=", ".join(self.columns),
                got=", ".join(dataset.header.columns) or "none",
            )  # fmt: skip
        return self.standard.apply(_table(dataset)[rows])

    def record(self) -> dict[str, Any]:
        """How it was made."""
        kept = [self.columns[i] for i in self.standard.kept]
        return {"features": "table", "columns": kept, "constant": [c for c in self.columns if c not in set(kept)]}

    def save(self, folder: Path) -> None:
        """Write the scale."""
        self.standard.save(folder / _STANDARD)
        _write_kind(folder, {"kind": "table", "columns": list(self.columns)})


def load_extractor(folder: Path) -> Extractor:
    """Read what an extractor saved into `folder`; InputError or BundleError when it is not whole."""
    path = folder / FILE
    try:
        said = json.loads(read_regular(path, _KIND_LIMIT).decode("utf-8"))
        kind, columns = said["kind"], tuple(said.get("columns", ()))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError("the features cannot be read", where=path, got=repr(error)) from error
    if kind == "pca":
        return PcaFeatures(Reduction.load(folder / _REDUCTION))
    if kind not in ("embedding", "table"):
        raise InputError("the features cannot be read", where=path, allowed="pca, embedding, table", got=kind)
    standard = Standard.load(folder / _STANDARD)
    if kind == "table":
        if not all(isinstance(c, str) for c in columns) or int(standard.kept.max()) >= len(columns):
            raise InputError("the features cannot be read", where=path, got="its columns do not fit its scale")
        return TableFeatures(columns, standard)
    bundle = Bundle.open(folder / _BUNDLE)
    width = bundle.session.outputs.get("embedding", 0)
    if int(standard.kept.max()) >= width:
        raise InputError("the features cannot be read", where=path, got="the model's embedding is another one")
    return EmbeddingFeatures(bundle, standard, width)


def _write_kind(folder: Path, said: dict[str, Any]) -> None:
    write_atomic(folder / FILE, json.dumps({"format": 1, **said}, indent=1) + "\n")


def _table(dataset: Dataset) -> np.ndarray:
    if dataset.table is None:
        raise DatasetError("has no table", where=dataset.path, cure="Ask for the features 'pca'.")
    return dataset.table


def _embeddings(bundle: Bundle, dataset: Dataset, rows: np.ndarray, progress: Progress) -> np.ndarray:
    """(m, e) float32, streamed; the data are held against the model's contract as `predict` does."""
    contract = bundle.pictures
    check_header(contract, dataset.header, dataset.path)
    source = open_source(dataset, contract, rows)
    size = max(1, _CHUNK_BYTES // (int(np.prod(contract.shape)) * np.dtype(contract.dtype).itemsize))
    check_scale(contract, source.sample(size), dataset.path)
    found = np.empty((len(rows), bundle.session.outputs["embedding"]), np.float32)
    progress.start(f"embeddings of {dataset.path.name}", len(rows), "rows")
    for chunk in source.chunks(0, size):
        images, at = chunk.images, chunk.start
        if contract.nan == "refuse" and images.dtype.kind == "f" and not np.isfinite(images).all():
            row = at + int(np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))[0])
            raise ContractError(
                "pixels that are not finite, which this model refuses",
                where=f"{dataset.path}, {dataset.ids[rows[row]]}",
            )
        embedding = bundle.score(images, wanted=("embedding",)).embedding
        assert embedding is not None
        found[at : at + len(images)] = embedding
        progress.advance(len(images))
    progress.finish()
    return found
