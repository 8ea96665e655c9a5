"""A Reduction: the central square of a picture to the scaled scores of its principal components, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.dataset import DTYPES, Dataset
from estampa.errors import ContractError, DatasetError, InputError
from estampa.files import write_atomic
from estampa.progress import SILENT, Progress
from estampa.reduce.pca import PASSES, Pca, fit_pca

FORMAT = 1  #: of the file
BLOCK_BYTES = 128 << 20  #: of float32 values that are multiplied at once
_LARGEST_FILE = 4 << 30
_NAMED = 5  #: pictures that a warning names


@dataclass(frozen=True)
class Fidelity:
    """How well pictures are held by their scores.

    `explained`: share of their squared differences from the training mean that the components hold, 0..1 (on the rows
    of the fit: the explained variance). `rms`: root mean square difference of a pixel between picture and
    reconstruction, in the pixels' units, before rounding.
    """

    n: int
    explained: float
    rms: float

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return {"n": self.n, "explained": self.explained, "rms": self.rms}


@dataclass(frozen=True)
class Reduction:
    """Fitted: which part of a picture is looked at, its principal components, and the scale of their scores.

    Attributes
    ----------
    shape : height, width, channels of the pictures that go in.
    dtype : type of their pixels.
    crop : side of the central square that is looked at, in pixels; 0 = the whole picture.
    pca : of the flattened square, row by row, channels last.
    mean, scale : (k,) float32: a score s becomes (s - mean) / scale; both of the rows that it was fitted on. A
        component without variance has scale 1.
    n : rows that it was fitted on.
    seed : of the fit.
    """

    shape: tuple[int, int, int]
    dtype: str
    crop: int
    pca: Pca
    mean: np.ndarray
    scale: np.ndarray
    n: int
    seed: int

    @property
    def components(self) -> int:
        """How many numbers a picture becomes."""
        return len(self.scale)

    @property
    def seen(self) -> tuple[int, int, int]:
        """Height, width, channels of what is looked at."""
        return (self.crop, self.crop, self.shape[2]) if self.crop else self.shape

    @classmethod
    def fit(
        cls,
        dataset: Dataset,
        rows: np.ndarray | None = None,
        *,
        components: int | None = None,
        crop: int = 0,
        passes: int = PASSES,
        seed: int = 0,
        progress: Progress = SILENT,
    ) -> Reduction:
        """Fit on the images of `rows` (None = all) of a Dataset, in a few passes over the file.

        `components`: None = 75, or as many as the rows have. Memory does not depend on the number of rows. Raises
        DatasetError without images, InputError for a crop or a number of components that cannot be.
        """
        shape = _shape_of(dataset)
        _check_crop(crop, shape)
        wanted = np.arange(dataset.n) if rows is None else np.asarray(rows, np.int64)
        size = int(np.prod((crop, crop, shape[2]) if crop else shape))
        pca = fit_pca(
            lambda: _squares(dataset, wanted, crop), len(wanted), size, components, passes=passes, seed=seed,
            progress=progress,
        )  # fmt: skip
        scale = np.sqrt(pca.explained_variance)
        scale[scale <= 0] = 1
        zero = np.zeros(len(scale), np.float32)  # scores are measured from the mean picture
        return cls(shape, str(dataset.dtype), crop, pca, zero, scale.astype(np.float32), len(wanted), seed)

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Scaled scores (m, k) float32 of images (m, height, width, channels) of the type it was fitted on.

        Pixels that are not finite count as the mean of the training rows. Raises ContractError for other pictures.
        """
        self._check(images.shape[1:], images.dtype, "these images")
        made = [self._scaled(block) for block in _blocks_of(images, np.arange(len(images)), self.crop)]
        return np.concatenate([*made, np.zeros((0, self.components), np.float32)])

    def transform_dataset(
        self, dataset: Dataset, rows: np.ndarray | None = None, progress: Progress = SILENT
    ) -> np.ndarray:
        """Scaled scores (m, k) float32 of the images of `rows` (None = all) of a Dataset, streamed.

        Pictures without a single finite pixel get the scores of the mean picture; a warning names them.
        """
        self._check(_shape_of(dataset), dataset.dtype, dataset.path)
        wanted = np.arange(dataset.n) if rows is None else np.asarray(rows, np.int64)
        scores, done = np.empty((len(wanted), self.components), np.float32), 0
        progress.start(f"reducing {dataset.path.name}", len(wanted), "rows")
        for block in _squares(dataset, wanted, self.crop):
            scores[done : done + len(block)] = self._scaled(block)
            done += len(block)
            progress.advance(len(block))
        progress.finish()
        blank = ~(scores * self.scale + self.mean).any(axis=1) & (self.dtype == "float32")
        empty = np.flatnonzero(blank)
        if len(empty):
            names = ", ".join(map(str, dataset.ids[wanted[empty[:_NAMED]]])) + (", ..." if len(empty) > _NAMED else "")
            progress.warn(f"without a finite pixel, so they count as the mean picture: {len(empty):,} ({names})")
        return scores

    def inverse(self, z: np.ndarray) -> np.ndarray:
        """Pictures (m, height, width, channels) of what is looked at, in the stored type, from scaled scores (m, k).

        Whole-number pixels are rounded and kept in their range.
        """
        values = self.pca.inverse(np.asarray(z, np.float32) * self.scale + self.mean)
        pictures = values.reshape(len(values), *self.seen)
        if self.dtype != "float32":
            np.rint(pictures, out=pictures)
            np.clip(pictures, 0, np.iinfo(self.dtype).max, out=pictures)
        return pictures.astype(self.dtype, copy=False)

    def judge(self, dataset: Dataset, rows: np.ndarray, progress: Progress = SILENT) -> Fidelity:
        """How well the components hold the images of `rows`, which need not be those that it was fitted on.

        By Pythagoras: what a picture has outside of the components is its squared distance from the mean picture less
        that of its scores. Pixels that are not finite count as the mean.
        """
        self._check(_shape_of(dataset), dataset.dtype, dataset.path)
        whole = held = 0.0
        progress.start("measuring what is kept", len(rows), "rows")
        for block in _squares(dataset, np.asarray(rows, np.int64), self.crop):
            scores = self.pca.transform(block)  # leaves the block centred
            whole += float(sum(float(row @ row) for row in block))
            held += float(np.square(scores, dtype=np.float64).sum())
            progress.advance(len(block))
        progress.finish()
        pixels = max(1, len(rows)) * len(self.pca.mean)
        return Fidelity(len(rows), held / whole if whole else 1.0, float(np.sqrt(max(0.0, whole - held) / pixels)))

    def keep(self, components: int) -> Reduction:
        """The same with its first `components` only: what a fit with fewer would have found."""
        if not 1 <= components <= self.components:
            raise InputError(
                "it does not hold as many components", where="components", allowed=f"1 to {self.components}",
                got=components,
            )  # fmt: skip
        pca, k = self.pca, components
        fewer = replace(
            pca, components=pca.components[:k], explained_variance=pca.explained_variance[:k],
            explained_ratio=pca.explained_ratio[:k],
        )  # fmt: skip
        return replace(self, pca=fewer, mean=self.mean[:k], scale=self.scale[:k])

    def squares(self, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """What is looked at of the images of `rows`: (m, height, width, channels) of the stored type."""
        self._check(_shape_of(dataset), dataset.dtype, dataset.path)
        copies = [_central(dataset.take(rows[i : i + 1]), self.crop) for i in range(len(rows))]
        return np.concatenate([*copies, np.empty((0, *self.seen), self.dtype)])

    def _scaled(self, block: np.ndarray) -> np.ndarray:
        scores: np.ndarray = (self.pca.transform(block) - self.mean) / self.scale
        return scores

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any], where: object) -> None:
        if tuple(shape) != self.shape or str(dtype) != self.dtype:
            raise ContractError(
                "these pictures are not what the reduction was fitted on", where=where,
                allowed=f"{' x '.join(map(str, self.shape))} {self.dtype}",
                got=f"{' x '.join(map(str, shape))} {dtype}",
                cure="Build them as the training pictures were built.",
            )  # fmt: skip

    # ------------------------------------------------------------------------------------------ on disk

    def save(self, path: Path | str) -> None:
        """Write it as a safetensors file: plain arrays and a header in JSON, whole or not at all."""
        from safetensors.numpy import save

        arrays = {
            "mean": self.pca.mean, "components": self.pca.components, "score_mean": self.mean,
            "score_scale": self.scale, "explained_variance": self.pca.explained_variance,
            "explained_ratio": self.pca.explained_ratio,
        }  # fmt: skip
        header = {
            "format": FORMAT, "shape": list(self.shape), "dtype": self.dtype, "crop": self.crop, "n": self.n,
            "seed": self.seed, "total_variance": self.pca.total_variance,
        }  # fmt: skip
        plain = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
        write_atomic(Path(path), save(plain, metadata={"estampa.reduction": json.dumps(header)}))

    @classmethod
    def load(cls, path: Path | str) -> Reduction:
        """Read what `save` wrote; InputError says why not."""
        path = Path(path)
        header, arrays = _read(path)
        try:
            shape = tuple(int(v) for v in header["shape"])
            dtype, crop, n, seed = str(header["dtype"]), int(header["crop"]), int(header["n"]), int(header["seed"])
            total = float(header["total_variance"])
            k, f = arrays["components"].shape
            seen = (crop, crop, shape[2]) if crop else shape
            sizes = {name: array.shape for name, array in arrays.items()}
            good = len(shape) == 3 and dtype in DTYPES and 0 <= crop <= min(shape[:2]) and f == np.prod(seen)
            good &= sizes["mean"] == (f,) and all(
                sizes[name] == (k,) for name in ("score_mean", "score_scale", "explained_variance", "explained_ratio")
            )
            good &= all(np.isfinite(array).all() for array in arrays.values()) and bool(
                (arrays["score_scale"] > 0).all()
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError("is a damaged reduction", where=path, got=repr(error)) from error
        if not good:
            raise InputError("is a damaged reduction", where=path, got="its arrays do not fit its header")
        pca = Pca(
            arrays["mean"], arrays["components"], arrays["explained_variance"], arrays["explained_ratio"], total
        )  # fmt: skip
        return cls(
            (shape[0], shape[1], shape[2]), dtype, crop, pca, arrays["score_mean"], arrays["score_scale"], n, seed
        )

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of what it computes."""
        digest = sha256(f"{self.shape} {self.dtype} {self.crop}".encode())
        for array in (self.pca.mean, self.pca.components, self.mean, self.scale):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError("there is no such file", where=path, cure="`estampa reduce DATA -o DIR` makes one.")
    if path.stat().st_size > _LARGEST_FILE:
        raise InputError("too large for a reduction", where=path, allowed=f"{_LARGEST_FILE:,} bytes")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("estampa.reduction", "null"))
            if not isinstance(header, dict):
                raise InputError("is not a reduction of estampa", where=path)
            if header.get("format") != FORMAT:
                raise InputError(
                    "is a reduction of another format", where=path, allowed=FORMAT, got=header.get("format"),
                    cure="Update estampa.",
                )  # fmt: skip
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError("is not a reduction of estampa", where=path, got=str(error)) from error


# ---------------------------------------------------------------------------------------------- pixels


def _shape_of(dataset: Dataset) -> tuple[int, int, int]:
    if dataset.shape is None:
        raise DatasetError("holds a table and no images: there is nothing to reduce", where=dataset.path)
    return dataset.shape


def _check_crop(crop: int, shape: tuple[int, int, int]) -> None:
    if crop and not 1 <= crop <= min(shape[:2]):
        raise InputError(
            f"a central square of {crop} pixels cannot be cut", where="crop",
            allowed=f"0 (the whole picture), or 1 to {min(shape[:2])} for pictures of {shape[0]} x {shape[1]}",
            got=crop,
        )  # fmt: skip


def _central(images: np.ndarray, crop: int) -> np.ndarray:
    """The central square of (m, h, w, c), a view; 0 = all of it. An odd remainder leaves the extra line at the end."""
    if not crop:
        return images
    top, left = (images.shape[1] - crop) // 2, (images.shape[2] - crop) // 2
    return images[:, top : top + crop, left : left + crop]


def _squares(dataset: Dataset, rows: np.ndarray, crop: int) -> Iterator[np.ndarray]:
    """Central squares of `rows` as (m, f) float32, block by block; the file's pages are given back after each."""
    images = dataset.images
    assert images is not None
    for block in _blocks_of(images, rows, crop):
        dataset.release()
        yield block


def _blocks_of(images: np.ndarray, rows: np.ndarray, crop: int) -> Iterator[np.ndarray]:
    """Central squares of images[rows] as (m, f) float32, in one buffer that each block overwrites.

    Only the square is touched: pixels go from the mapped file straight to the buffer, converted on the way.
    """
    inside = _central(images, crop)
    size = int(np.prod(inside.shape[1:]))
    step = max(1, min(len(rows), BLOCK_BYTES // (4 * size)))
    buffer = np.empty((step, *inside.shape[1:]), np.float32)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        filled = buffer[: len(part)]
        if part[-1] - part[0] == len(part) - 1 and (np.diff(part) == 1).all():
            np.copyto(filled, inside[part[0] : part[-1] + 1])
        else:
            for place, row in enumerate(part):
                filled[place] = inside[row]
        yield filled.reshape(len(part), size)
