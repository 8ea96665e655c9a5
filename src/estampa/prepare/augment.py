"""Random changes in training that keep the label: mirrors and turns as declared, shift, rotation, zoom, erased squares.

Whole batches at once, on any number of channels. Mirrors, quarter turns and shifts move whole pixels, so stored values
stay what they are; they are done in the same step that gathers the batch. Rotation by any angle and zoom resample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Augment:
    """Which random changes are made. Fields as in the recipe's `[prepare]`.

    symmetry : "none", "hflip" (left and right may be exchanged) or "d4" (mirrors and quarter turns of a square; for
        pictures that are not square the two mirrors and the half turn).
    shift : at most so many pixels along each axis; what comes in is the picture mirrored at its edge.
    rotate : at most so many degrees either way.
    zoom : size changes by at most this share either way.
    erase : side of one square set to 0 (the mean, when pixels are standardised), as a share of the shorter side.
    """

    symmetry: str = "none"
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    erase: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether `gather` does more than gather."""
        return self.symmetry != "none" or self.shift > 0

    def gather(self, images: Tensor, rows: Tensor, random: torch.Generator) -> Tensor:
        """Take `rows` (m,) of stored images (n, h, w, c), mirrored, turned and shifted at random: (m, h, w, c)."""
        if images.dtype == torch.uint16:  # torch indexes int16 but not uint16; the bits are the same
            return self.gather(images.view(torch.int16), rows, random).view(torch.uint16)
        if not self.moves:
            return images.index_select(0, rows)
        n, height, width, channels = images.shape
        place = self._places(len(rows), height, width, random).to(images.device)
        place += (rows * (height * width))[:, None, None]
        if channels == 1:
            return torch.take(images, place)[..., None]
        flat = images.view(n * height * width, channels).index_select(0, place.view(-1))
        return flat.view(len(rows), height, width, channels)

    def _places(self, m: int, height: int, width: int, random: torch.Generator) -> Tensor:
        """For each of m pictures, where in it each pixel of the result comes from: (m, h, w) int64, row-major."""
        along_rows = torch.arange(height).expand(m, height)
        along_columns = torch.arange(width).expand(m, width)
        if self.shift:
            move = torch.randint(-self.shift, self.shift + 1, (2, m, 1), generator=random)
            along_rows = _mirrored(along_rows + move[0], height)
            along_columns = _mirrored(along_columns + move[1], width)
        turn = torch.rand(3, m, 1, generator=random) < 0.5
        if self.symmetry == "d4":
            along_rows = torch.where(turn[1], height - 1 - along_rows, along_rows)
        if self.symmetry != "none":
            along_columns = torch.where(turn[0], width - 1 - along_columns, along_columns)
        first, second = along_rows * width, along_columns
        if self.symmetry == "d4" and height == width:
            first, second = torch.where(turn[2], second, first), torch.where(turn[2], first, second)
        return first[:, :, None] + second[:, None, :]

    def change(self, x: Tensor, random: torch.Generator) -> Tensor:
        """Rotate, zoom and erase prepared pictures (m, c, h, w) float at random; the memory format is kept."""
        if self.rotate or self.zoom:
            x = self._warped(x, random)
        if self.erase:
            x = self._erased(x, random)
        return x

    def _warped(self, x: Tensor, random: torch.Generator) -> Tensor:
        m, _, height, width = x.shape
        angle = (torch.rand(m, generator=random) * 2 - 1) * math.radians(self.rotate)
        size = 1 + (torch.rand(m, generator=random) * 2 - 1) * self.zoom
        cosine, sine, zero = angle.cos() / size, angle.sin() / size, torch.zeros(m)
        ratio = height / width  # the grid's unit is half a side, which differs along the two axes
        rows = [cosine, -sine * ratio, zero, sine / ratio, cosine, zero]
        matrix = torch.stack(rows, 1).view(m, 2, 3).to(x.device, x.dtype)
        grid = F.affine_grid(matrix, [m, 1, height, width], align_corners=False)
        warped = F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        last = x.is_contiguous(memory_format=torch.channels_last)
        return warped.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)

    def _erased(self, x: Tensor, random: torch.Generator) -> Tensor:
        m, _, height, width = x.shape
        side = max(1, round(self.erase * min(height, width)))
        top = torch.randint(0, height, (m, 1), generator=random) - side // 2
        left = torch.randint(0, width, (m, 1), generator=random) - side // 2
        row, column = torch.arange(height), torch.arange(width)
        inside_rows = (row >= top) & (row < top + side)
        inside_columns = (column >= left) & (column < left + side)
        kept = ~(inside_rows[:, None, :, None] & inside_columns[:, None, None, :])
        return x * kept.to(x.device, x.dtype)


def _mirrored(place: Tensor, size: int) -> Tensor:
    """Places outside 0..size-1 mirrored at the edge pixels (which are not repeated), any distance away."""
    if size == 1:
        return torch.zeros_like(place)
    period = 2 * (size - 1)
    place = place.remainder(period)
    return torch.minimum(place, period - place)
