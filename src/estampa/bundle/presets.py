"""Objects that travel in a bundle to be tried on it: stored pixels or raw rows, exactly as the model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from estampa.bundle.contract import InputContract
from estampa.bundle.contract_table import TableContract
from estampa.bundle.reference import gallery_rows, held, unpack_ids
from estampa.errors import BundleError

MOST = 24  #: objects
MOST_BYTES = 8 << 20  #: of all their pixels or values: fewer objects where one is large
PART = "presets"  #: name of the file, and of the ids in it


@dataclass(frozen=True)
class Presets:
    """m objects with their true labels; of pictures `images`, of a table `rows`, the other is None.

    Attributes
    ----------
    labels : (m,) int64 class numbers, or float32 values of a regression.
    ids : (m,) str, as in the Dataset.
    images : (m, height, width, channels) of the contract's type.
    rows : (m, columns) float64, raw, in the contract's order, NaN for empty cells.
    """

    labels: np.ndarray
    ids: np.ndarray
    images: np.ndarray | None = None
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> np.ndarray:
        """Images or rows: what `Bundle.score` takes."""
        found = self.images if self.images is not None else self.rows
        assert found is not None
        return found

    def kept(self, which: np.ndarray) -> Presets | None:
        """Those that `which`, (m,) bool or row numbers, names; None where there are none."""
        images, rows = (None if x is None else x[which] for x in (self.images, self.rows))
        found = Presets(self.labels[which], self.ids[which], images, rows)
        return found if len(found) else None

    def tensors(self) -> dict[str, np.ndarray]:
        """As `presets.safetensors` keeps them."""
        packed = held({PART: (self.ids, np.zeros(len(self), np.uint64))})
        return {
            "rows" if self.images is None else "images": self.inputs,
            "labels": self.labels.astype(np.float32 if self.labels.dtype.kind == "f" else np.int64),
            "ids": packed[f"ids_{PART}"],
            "ends": packed[f"ends_{PART}"],
        }


def chosen(labels: np.ndarray, classes: int, size: int) -> np.ndarray:
    """Which rows become presets: as many of each class, seeded; none where one object is too large.

    `labels`: (n,); `classes`: their number, 0 for a regression; `size`: bytes of one object.
    """
    return gallery_rows(labels, classes, most=min(MOST, MOST_BYTES // max(size, 1)))


def answered(contract: InputContract, images: np.ndarray) -> np.ndarray:
    """(n,) bool: which pictures (n, h, w, c) get an answer by the contract's rule for pixels that are not finite."""
    if images.dtype.kind != "f":
        return np.ones(len(images), bool)
    finite = np.isfinite(images).reshape(len(images), -1)
    found: np.ndarray = finite.all(axis=1) if contract.nan == "refuse" else finite.any(axis=1)
    return found


def unpack(arrays: Mapping[str, np.ndarray], contract: InputContract | TableContract, where: object) -> Presets:
    """The presets that `Presets.tensors` made; BundleError where they are not what the contract says."""
    table = isinstance(contract, TableContract)
    name = "rows" if table else "images"
    shape = (len(contract.columns),) if isinstance(contract, TableContract) else contract.shape
    dtype = "float64" if table else contract.dtype
    try:
        inputs, labels = arrays[name], arrays["labels"]
        ids = unpack_ids({f"ids_{PART}": arrays["ids"], f"ends_{PART}": arrays["ends"]}, PART)
    except (KeyError, ValueError, TypeError) as error:
        raise BundleError("the presets are damaged", where=where, got=repr(error)[:120]) from error
    if inputs.shape[1:] != shape or inputs.dtype != dtype or labels.ndim != 1:
        raise BundleError(
            "the presets are not what the contract says", where=where, allowed=f"{shape} {dtype}",
            got=f"{inputs.shape[1:]} {inputs.dtype}",
        )  # fmt: skip
    if not len(inputs) == len(labels) == len(ids):
        raise BundleError("the presets are damaged: not as many labels as objects", where=where)
    return Presets(labels, ids, rows=inputs) if table else Presets(labels, ids, images=inputs)
