"""Random changes in training that keep the label: mirrors and turns as declared, shift, warps, erased rectangles.

Whole batches at once, on any number of channels. Mirrors, quarter turns and shifts move whole pixels, so stored values
stay what they are; they are done in the same step that gathers the batch. Rotation by any angle, zoom, aspect, shear
and elastic warps resample, all in one bilinear step, which also takes the crop: pictures that are stored with a margin
around it are turned without empty corners.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Random displacements on so many points along each axis, smoothly joined.
ELASTIC_KNOTS = 5


@dataclass(frozen=True)
class Augment:
    """Which random changes are made. Fields as in the recipe's `[prepare]`.

    symmetry : "none", "hflip" (left and right may be exchanged) or "d4" (mirrors and quarter turns of a square; for
        pictures that are not square the two mirrors and the half turn).
    shift : at most so many pixels along each axis; what comes in is the picture mirrored at its edge. Where there is a
        warp as well, the shift is part of it, and the edge goes on.
    rotate : at most so many degrees either way.
    zoom : size is multiplied by exp(u), u at most this either way.
    aspect : width by height is multiplied by exp(u), u at most this either way.
    shear : columns are moved by at most this share of their distance from the middle row.
    elastic : deviation, in pixels, of a smooth random displacement (Simard et al. 2003, ICDAR, 958-963).
    erase : a rectangle is set to what says nothing (`neutral` of `change`); its sides are drawn up to this share of the
        picture's (Zhong et al. 2020, AAAI 34, 13001-13008).
    crop, side : the central square, in stored pixels, that the net sees, and the pixels that it is brought to; 0 = as
        stored. They are taken here where pictures are warped; else the net takes them.
    """

    symmetry: str = "none"
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    aspect: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    erase: float = 0.0
    crop: int = 0
    side: int = 0

    @property
    def warps(self) -> bool:
        """Whether pictures are resampled."""
        return any((self.rotate, self.zoom, self.aspect, self.shear, self.elastic))

    @property
    def moves(self) -> bool:
        """Whether `gather` does more than gather."""
        return self.symmetry != "none" or self.steps > 0

    @property
    def steps(self) -> int:
        """Whole pixels that `gather` shifts by; 0 when `change` shifts."""
        return 0 if self.warps else self.shift

    def gather(self, images: Tensor, rows: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Take `rows` (m,) of stored images (n, h, w, c), mirrored, turned and shifted at random.

        Returns the pictures (m, h, w, c), and which of them (m,) bool are mirror images: right became left, as no turn
        does it. Classes that a mirror exchanges must be exchanged for those.
        """
        if images.dtype == torch.uint16:  # torch indexes int16 but not uint16; the bits are the same
            taken, mirrored = self.gather(images.view(torch.int16), rows, random)
            return taken.view(torch.uint16), mirrored
        if not self.moves:
            return images.index_select(0, rows), torch.zeros(len(rows), dtype=torch.bool, device=images.device)
        n, height, width, channels = images.shape
        place, mirrored = self._places(len(rows), height, width, random)
        place, mirrored = place.to(images.device), mirrored.to(images.device)
        place += (rows * (height * width))[:, None, None]
        if channels == 1:
            return torch.take(images, place)[..., None], mirrored
        flat = images.view(n * height * width, channels).index_select(0, place.view(-1))
        return flat.view(len(rows), height, width, channels), mirrored

    def _places(self, m: int, height: int, width: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """For each of m pictures, where in it each pixel of the result comes from: (m, h, w) int64, row-major.

        And whether the result is a mirror image (m,): of the three exchanges an odd number was made.
        """
        along_rows = torch.arange(height).expand(m, height)
        along_columns = torch.arange(width).expand(m, width)
        if self.steps:
            move = torch.randint(-self.steps, self.steps + 1, (2, m, 1), generator=random)
            along_rows = _mirrored(along_rows + move[0], height)
            along_columns = _mirrored(along_columns + move[1], width)
        turn = torch.rand(3, m, 1, generator=random) < 0.5
        both = self.symmetry == "d4"
        turn &= torch.tensor([both or self.symmetry == "hflip", both, both and height == width]).view(3, 1, 1)
        along_rows = torch.where(turn[1], height - 1 - along_rows, along_rows)
        along_columns = torch.where(turn[0], width - 1 - along_columns, along_columns)
        first, second = along_rows * width, along_columns
        if height == width:
            first, second = torch.where(turn[2], second, first), torch.where(turn[2], first, second)
        return first[:, :, None] + second[:, None, :], turn.sum(0)[:, 0] % 2 == 1

    def change(
        self, x: Tensor, random: torch.Generator, turned: Tensor | None = None, neutral: Tensor | None = None
    ) -> Tensor:
        """Warp, crop and erase prepared pictures (m, c, h, w) float at random; the memory format is kept.

        `turned` (m,) float, degrees: turned by so much before anything is drawn (see balance.copies). Where `warps`,
        or with `turned`, the pictures are as stored and come out as the net sees them. `neutral` (1, c, 1, 1): what
        erased pixels become; None = 0, the mean where pixels are standardised.
        """
        if self.warps or turned is not None:
            x = self._warped(x, random, turned)
        if self.erase:
            x = self._erased(x, random, neutral)
        return x

    def _warped(self, x: Tensor, random: torch.Generator, turned: Tensor | None) -> Tensor:
        """Each result pixel is taken from where the inverse of the drawn change puts it; outside, the edge goes on.

        Pictures that come out much smaller are first averaged over squares of whole pixels. What is not changed is the
        crop that `image.inside` cuts, pixel for pixel.
        """
        m, _, height, width = x.shape
        seen = (self.crop, self.crop) if self.crop else (height, width)
        result = (self.side, self.side) if self.side else seen
        pooled = max(1, round(min(seen) / min(result)))
        if pooled > 1:
            x = F.avg_pool2d(x, pooled)

        def drawn(most: float) -> Tensor:
            return (torch.rand(m, generator=random) * 2 - 1) * most

        angle, shrink = drawn(math.radians(self.rotate)), torch.exp(-drawn(self.zoom))
        if turned is not None:
            angle = angle + torch.deg2rad(turned)
        across, lean = torch.exp(drawn(self.aspect) / 2), drawn(self.shear)
        cosine, sine = angle.cos() * shrink, angle.sin() * shrink
        middle = [(long - crop) // 2 * 2 + crop for long, crop in zip((width, height), reversed(seen), strict=True)]
        right, down = (drawn(2 * self.shift / s) + m / s - 1 for s, m in zip((width, height), middle, strict=True))
        ratio = height / width  # the grid's unit is half a side, which differs along the two axes
        rows = [cosine * across, (lean * shrink - sine) * ratio, right, sine / ratio, cosine / across, down]
        matrix = torch.stack(rows, 1).view(m, 2, 3)
        matrix[:, :, :2] *= torch.tensor([seen[1] / width, seen[0] / height])
        grid = F.affine_grid(matrix, [m, 1, *result], align_corners=False)
        if self.elastic:
            units = torch.tensor([2 / width, 2 / height]).view(1, 2, 1, 1) * self.elastic
            knots = torch.randn(m, 2, ELASTIC_KNOTS, ELASTIC_KNOTS, generator=random) * units
            bend = F.interpolate(knots, size=result, mode="bicubic", align_corners=True)
            grid = grid + bend.permute(0, 2, 3, 1)
        # Squares of whole pixels leave out the rest at the end: the grid is of what they cover.
        grid = (grid + 1) * torch.tensor([width / x.shape[3], height / x.shape[2]]) / pooled - 1
        grid = grid.to(x.device, x.dtype)
        warped = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
        last = x.is_contiguous(memory_format=torch.channels_last)
        return warped.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)

    def _erased(self, x: Tensor, random: torch.Generator, neutral: Tensor | None) -> Tensor:
        m, _, height, width = x.shape
        inside = []
        for side in (height, width):
            half = torch.rand(m, 1, generator=random) * self.erase * side / 2
            middle = torch.rand(m, 1, generator=random) * side - 0.5
            inside.append((torch.arange(side) - middle).abs() <= half)
        kept = ~(inside[0][:, None, :, None] & inside[1][:, None, None, :])
        share = kept.to(x.device, x.dtype)
        return x * share if neutral is None else torch.lerp(neutral.to(x.device, x.dtype), x, share)


def _mirrored(place: Tensor, size: int) -> Tensor:
    """Places outside 0..size-1 mirrored at the edge pixels (which are not repeated), any distance away."""
    if size == 1:
        return torch.zeros_like(place)
    period = 2 * (size - 1)
    place = place.remainder(period)
    return torch.minimum(place, period - place)
