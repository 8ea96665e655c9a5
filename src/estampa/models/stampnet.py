"""Our own net for stamps: what is at the centre, beside what is anywhere, of any number of channels.

A candidate stands at the centre of its stamp, and what lies around it (a bright neighbour, a trail, a missing edge)
tells how far to trust it. So the last map is read twice: its mean over the centre, and its maximum over the whole. As
neither depends on the stamp's size, weights that were learned on simulated stamps of one size serve for any other.
The body is that of `picturenet`: a halving stem, residual units, normalised throughout. Turns and mirrors are left to
augmentation and to the mean over the eight views, which beat a net that pools over them (docs/log.md, 2026-11-22).
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from estampa.errors import RecipeError
from estampa.models._network import Body, LayerRow
from estampa.models._units import Residual, stage_filters, unit
from estampa.recipe import Count, Record, Share

LEAST_SIDE = 8


class Options(Record):
    """`[model]` of a recipe with `name = "stampnet"`."""

    filters: tuple[Count, Count, Count] = (32, 64, 96)  #: of the three stages
    depth: tuple[Annotated[int, Field(ge=0, le=32)], ...] = (1, 1, 0)  #: residual units of each stage
    widths: Count | None = None  #: the widest stage gets this many filters, the others in proportion
    fine: Annotated[int, Field(ge=0, le=256)] = (
        0  #: filters of a 3 x 3 convolution at full size before the stem; 0 = none
    )
    stem: Annotated[int, Field(ge=2, le=11)] = 4  #: side of the stem's kernel
    stride: Annotated[int, Field(ge=1, le=2)] = 2  #: of the first convolution: 2 halves the stamp at once
    dropout: Share = 0.2  #: share of the embedding dropped before the output


class StampNet(Body):
    """Stem and stages; the centre's mean and the whole map's maximum; output. At least 8 pixels a side."""

    def __init__(self, options: Options, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        first, second, third = _filters(options, shape)
        into = options.fine or shape[2]
        self.features = nn.Sequential(
            *([unit(shape[2], into, 3, 1)] if options.fine else []),
            unit(into, first, options.stem, options.stride),
            *(Residual(first) for _ in range(options.depth[0])),
            nn.MaxPool2d(2),
            unit(first, second, 3, 1),
            *(Residual(second) for _ in range(options.depth[1])),
            unit(second, third, 3, 1),
            *(Residual(third) for _ in range(options.depth[2])),
        )
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(2 * third, outputs)

    def embed(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, e): mean over the central 2 or 3 places of each axis, then the maximum, per filter."""
        x = self.features(x)
        rows, columns = (_centre(side) for side in x.shape[2:])
        centre = x[:, :, rows, columns].mean((2, 3))
        return torch.cat([centre, x.amax((2, 3))], 1)

    def head(self, e: Tensor) -> Tensor:
        """(n, e) to (n, outputs)."""
        logits: Tensor = self.output(self.dropout(e))
        return logits


def _centre(side: int) -> slice:
    """The central two places of an even side, three of an odd one; all of a side of up to three."""
    width = 2 if side % 2 == 0 else 3
    start = max(0, (side - width) // 2)
    return slice(start, start + width)


def _filters(options: Options, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Filters of the stages; RecipeError when net and stamp do not fit."""
    first, second, third = stage_filters(options.filters, options.depth, options.widths)
    if min(shape[:2]) < LEAST_SIDE:
        raise RecipeError(
            f"stamps of {shape[0]} x {shape[1]}", where="stampnet", allowed=f"at least {LEAST_SIDE} pixels a side",
            cure="Use larger cut-outs, or the model 'picturenet' (4 pixels) or 'convnet'.",
        )  # fmt: skip
    return first, second, third


def build(options: Options, shape: tuple[int, int, int], outputs: int) -> StampNet:
    """The net for prepared stamps of `shape` (height, width, channels) and `outputs` classes, or 1 value."""
    return StampNet(options, shape, outputs)


def summary(options: Options, shape: tuple[int, int, int], outputs: int) -> list[LayerRow]:
    """One row a layer; nothing is built."""
    filters = _filters(options, shape)
    rows: list[LayerRow] = []

    def add(kind: str, layer: str, size: tuple[int, ...], parameters: int) -> None:
        number = sum(r.kind == layer for r in rows)
        rows.append(LayerRow(f"{kind}_{number}" if number else kind, layer, size, parameters))

    def convolution(side: int, before: int, size: tuple[int, int, int]) -> None:
        add("conv2d", "Conv2D", size, side * side * before * size[2])
        add("batch_normalization", "BatchNormalization", size, 2 * size[2])

    def residuals(number: int, size: tuple[int, int, int]) -> None:
        for _ in range(number):
            convolution(3, size[2], size)
            add("add", "Add", size, 0)

    loss = options.stem - 2 * ((options.stem - 1) // 2)
    height, width = ((side - loss) // options.stride + 1 for side in shape[:2])
    if options.fine:
        convolution(3, shape[2], (*shape[:2], options.fine))
    convolution(options.stem, options.fine or shape[2], (height, width, filters[0]))
    residuals(options.depth[0], (height, width, filters[0]))
    height, width = height // 2, width // 2
    add("max_pooling2d", "MaxPooling2D", (height, width, filters[0]), 0)
    for before, after, number in ((*filters[:2], options.depth[1]), (*filters[1:], options.depth[2])):
        convolution(3, before, (height, width, after))
        residuals(number, (height, width, after))
    add("centre_average", "CentreAverage", (filters[2],), 0)
    add("global_max_pooling2d", "GlobalMaxPooling2D", (filters[2],), 0)
    add("concatenate", "Concatenate", (2 * filters[2],), 0)
    if options.dropout:
        add("dropout", "Dropout", (2 * filters[2],), 0)
    add("dense", "Dense", (outputs,), (2 * filters[2] + 1) * outputs)
    return rows
