"""Training images for the loop: one tensor when they fit, else blocks of the file in random order.

Both give every object once an epoch (or as often as balanced drawing says), in an order that the seed decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from estampa import machine
from estampa.train.fitted import ImageSet

Array = NDArray[Any]
#: Images that take less than this share of the memory are held whole.
MEMORY_SHARE = 0.4
#: Blocks of the file that are read in one piece, and how many bytes are mixed at a time, when they are not.
BLOCK_BYTES = 4 << 20
MIXED_BYTES = 256 << 20


@dataclass
class Piece:
    """Images (m, h, w, c) as stored, their targets (m,) and places in the part (m,), the order (k,) to use them in.

    `turned` (k,), degrees, says by how much each of `order` is turned; None = none is.
    """

    images: Tensor
    targets: Tensor
    places: Tensor
    order: Tensor
    turned: Tensor | None = None


class Feed:
    """Images and targets of `rows`, epoch after epoch.

    Parameters
    ----------
    data, rows : a Dataset and row numbers in it.
    targets : (len(rows),) int64 classes, or float32 standardised values.
    drawing : (len(rows),) weights of balanced drawing, or None: every object once an epoch.
    copies : what is used in an epoch instead: places in `rows`, sorted, and the angle of each; see balance.copies.
    device : where whole-in-memory images are kept.
    in_memory : None = decided by MEMORY_SHARE.
    """

    def __init__(
        self, data: ImageSet, rows: Array, targets: Array, *, drawing: Array | None, device: str,
        copies: tuple[Array, Array] | None = None, in_memory: bool | None = None,
    ) -> None:  # fmt: skip
        assert data.shape is not None
        by_row = np.argsort(rows, kind="stable")
        self.data, self.rows = data, np.asarray(rows)[by_row]
        self.targets = torch.from_numpy(np.ascontiguousarray(np.asarray(targets)[by_row]))
        self.drawing = None if drawing is None else torch.from_numpy(np.asarray(drawing, dtype=np.float64)[by_row])
        self.copies = None if copies is None else (np.argsort(by_row)[copies[0]], copies[1])
        self.row_bytes = int(np.prod(data.shape)) * data.dtype.itemsize
        total = self.row_bytes * len(rows)
        self.in_memory = total < MEMORY_SHARE * machine.memory_total() if in_memory is None else in_memory
        self.device = device
        self._whole: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def whole(self) -> Tensor:
        """Every image as one tensor, read once."""
        if self._whole is None:
            self._whole = self._read(self.rows).to(self.device)
            self.targets = self.targets.to(self.device)
        return self._whole

    def stored(self) -> Iterator[Array]:
        """The stored images block by block, for the preparation to be fitted on."""
        if self.in_memory and self.device == "cpu":
            whole, size = self.whole().numpy(), max(1, BLOCK_BYTES // self.row_bytes)
            yield from (whole[start : start + size] for start in range(0, len(whole), size))
            return
        yield from (images for _, images in self.data.blocks(self.rows))

    def steps(self, batch: int, smallest: int) -> int:
        """Batches of an epoch; a rest of fewer than `smallest` objects is left out.

        With `copies` of data that are read in pieces it is off by as many as there are pieces, at most: how the
        copies fall on the pieces is drawn anew each epoch. Only the schedule of the rate rests on it.
        """
        if self.copies is not None:
            sizes = [len(self.copies[0])]
        else:
            sizes = [len(self)] if self.in_memory else self._piece_sizes()
        return sum(size // batch + (size % batch >= smallest) for size in sizes) or 1

    def epoch(self, random: torch.Generator) -> Iterator[Piece]:
        """The pieces of one epoch, shuffled."""
        if self.in_memory:
            images = self.whole()
            places = torch.arange(len(self), device=self.device)
            order, turned = self._order(np.arange(len(self)), random)
            yield Piece(images, self.targets, places, order.to(self.device), turned)
            return
        blocks = self._blocks()
        mixed = torch.randperm(len(blocks), generator=random).tolist()
        for start in range(0, len(mixed), self._mixed):
            chosen = sorted(mixed[start : start + self._mixed])
            place = np.concatenate([np.arange(*blocks[b]) for b in chosen])
            yield Piece(
                self._read(self.rows[place]), self.targets[place], torch.from_numpy(place), *self._order(place, random)
            )

    def ordered(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(images, targets) in the order of the rows, `size` at a time."""
        if self.in_memory:
            yield from zip(torch.split(self.whole(), size), torch.split(self.targets, size), strict=True)
            return
        start = 0
        for _, block in self.data.blocks(self.rows):
            for images in torch.split(torch.from_numpy(block), size):
                yield images, self.targets[start : start + len(images)]
                start += len(images)

    def sample(self, count: int) -> tuple[Tensor, Tensor]:
        """Up to `count` images (m, h, w, c), evenly spread, with their targets."""
        place = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        if self._whole is not None:
            index = torch.from_numpy(place).to(self.device)
            images = self._whole
            if images.dtype == torch.uint16:
                return images.view(torch.int16)[index].view(torch.uint16), self.targets[index]
            return images[index], self.targets[index]
        return self._read(self.rows[place]).to(self.device), self.targets[place].to(self.device)

    def _order(self, place: Array, random: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Which of the images at `place` (sorted places in the part) come when, and their angles."""
        if self.copies is not None:
            mine = np.flatnonzero(np.isin(self.copies[0], place))
            mine = mine[torch.randperm(len(mine), generator=random).numpy()]
            order = np.searchsorted(place, self.copies[0][mine])
            return torch.from_numpy(order), torch.from_numpy(self.copies[1][mine])
        if self.drawing is None:
            return torch.randperm(len(place), generator=random), None
        return self.drawn(place, random), None

    def drawn(self, place: Array, random: torch.Generator) -> Tensor:
        """As many of the images at `place` as there are, drawn by their weights: positions in `place`."""
        assert self.drawing is not None
        ends = torch.cumsum(self.drawing[place], 0)
        drawn = torch.rand(len(ends), generator=random, dtype=torch.float64) * ends[-1]
        return torch.searchsorted(ends, drawn, right=True).clamp_max(len(ends) - 1)

    def _blocks(self) -> list[tuple[int, int]]:
        size = max(1, BLOCK_BYTES // self.row_bytes)
        return [(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    @property
    def _mixed(self) -> int:
        return max(2, MIXED_BYTES // BLOCK_BYTES)

    def _piece_sizes(self) -> list[int]:
        size, n = max(1, BLOCK_BYTES // self.row_bytes) * self._mixed, len(self)
        return [size] * (n // size) + [n % size] * (n % size > 0)

    def _read(self, rows: Array) -> Tensor:
        """Stored images of sorted rows, as one tensor; the file's pages are released block by block."""
        assert self.data.shape is not None
        images = np.empty((len(rows), *self.data.shape), dtype=self.data.dtype)
        start = 0
        for _, block in self.data.blocks(rows):
            images[start : start + len(block)] = block
            start += len(block)
        return torch.from_numpy(images)


@dataclass
class ArraySet:
    """Images and labels in memory, in the shape of a Dataset: what the estimators' `fit(images, labels)` makes."""

    images: Array
    labels: Array
    task: str = "classification"
    classes: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the pixels."""
        return self.images.dtype

    @property
    def content_sha256(self) -> str:
        """Hash of pixels and labels."""
        import hashlib

        digest = hashlib.sha256(f"{self.images.shape}{self.images.dtype}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def blocks(self, rows: Array | None = None, size: int | None = None) -> Iterator[tuple[Array, Array]]:
        """(rows, images) in blocks of `size` rows (16 MiB unless told)."""
        chosen = np.arange(self.n) if rows is None else np.asarray(rows)
        size = size or max(1, (16 << 20) // max(1, self.images[:1].nbytes))
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            yield part, self.images[part]
