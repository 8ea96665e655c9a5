"""Our own net for small pictures: a halving stem, stages of residual convolutions, and a coarse map for the output.

The first convolution halves the picture at once, which makes all others four times as cheap; each stage is pooling, a
widening convolution and residual units (He et al. 2016), all normalised (Ioffe & Szegedy 2015) and rectified. Chosen by
the experiments of docs/log.md for accuracy per second on two cores, with 28 to 32 pixels a side.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from estampa.errors import RecipeError
from estampa.models._network import Body, LayerRow
from estampa.models._units import Residual, stage_filters, unit
from estampa.recipe import Count, Record, Share

Units = Annotated[int, Field(ge=0, le=32)]
LEAST_SIDE = 4


class Options(Record):
    """`[model]` of a recipe with `name = "picturenet"`."""

    filters: tuple[Count, ...] = (32, 64, 128)  #: of each stage
    depth: tuple[Units, ...] = (1, 1, 0)  #: residual units of each stage
    widths: Count | None = None  #: the widest stage gets this many filters, the others in proportion
    stem: Annotated[int, Field(ge=2, le=11)] = 4  #: side of the first kernel
    stride: Annotated[int, Field(ge=1, le=4)] = 2  #: of the first convolution: 2 halves the picture at once
    grid: Annotated[int, Field(ge=0, le=16)] = 4  #: the last map is averaged to at most this side; 0 = its maximum
    both: bool = False  #: in place of that, the whole last map's mean and its maximum: any size gives as many numbers
    dropout: Share = 0.0  #: share of the embedding dropped before the output


class PictureNet(Body):
    """Stem, stages, coarse map, output. Pictures need at least 4 pixels a side."""

    def __init__(self, options: Options, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.options = options
        layers: list[nn.Module] = []
        maps = _maps(options, shape)
        for kind, before, after in maps:
            match kind:
                case "stem":
                    layers.append(unit(before[2], after[2], options.stem, options.stride))
                case "pool":
                    layers.append(nn.MaxPool2d(2))
                case "widen":
                    layers.append(unit(before[2], after[2], 3, 1))
                case "residual":
                    layers.append(Residual(after[2]))
        self.features = nn.Sequential(*layers)
        height, width, _ = maps[-1][2]
        self.coarse = _coarse(options, height), _coarse(options, width)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(_embedding(options, maps[-1][2]), outputs)

    def embed(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, e): the coarse map flattened, or the maximum over the plane, or its mean and maximum."""
        x = self.features(x)
        if self.options.both:
            return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        if self.options.grid == 0:
            return F.max_pool2d(x, x.shape[2:]).flatten(1)
        return (x if self.coarse == (1, 1) else F.avg_pool2d(x, self.coarse)).flatten(1)

    def head(self, e: Tensor) -> Tensor:
        """(n, e) to (n, outputs)."""
        logits: Tensor = self.output(self.dropout(e))
        return logits


Map = tuple[int, int, int]


def _maps(options: Options, shape: Map) -> list[tuple[str, Map, Map]]:
    """Each step with the map (height, width, channels) before and after it."""
    filters = stage_filters(options.filters, options.depth, options.widths)
    if min(shape[:2]) < LEAST_SIDE:
        raise RecipeError(
            f"pictures of {shape[0]} x {shape[1]}", where="picturenet", allowed=f"at least {LEAST_SIDE} pixels a side",
            cure="Use the model 'convnet' without convolutions, or larger pictures.",
        )  # fmt: skip
    loss = options.stem - 2 * ((options.stem - 1) // 2)
    now: Map = shape
    then: Map = ((shape[0] - loss) // options.stride + 1, (shape[1] - loss) // options.stride + 1, filters[0])
    steps = [("stem", now, then)]
    for number, (wide, units) in enumerate(zip(filters, options.depth, strict=True)):
        now = then
        if number and min(now[:2]) >= 2:
            then = (now[0] // 2, now[1] // 2, now[2])
            steps.append(("pool", now, then))
            now = then
        if number:
            then = (now[0], now[1], wide)
            steps.append(("widen", now, then))
        steps += [("residual", then, then)] * units
    return steps


def _coarse(options: Options, side: int) -> int:
    """Side of the averaging windows that bring a side of the last map to at most `grid`."""
    return max(1, -(-side // options.grid)) if options.grid else side


def _embedding(options: Options, last: Map) -> int:
    if options.both:
        return 2 * last[2]
    height, width = (side // _coarse(options, side) for side in last[:2])
    return height * width * last[2]


def build(options: Options, shape: tuple[int, int, int], outputs: int) -> PictureNet:
    """The net for pictures of `shape` (height, width, channels) and `outputs` classes, or 1 value."""
    return PictureNet(options, shape, outputs)


def summary(options: Options, shape: tuple[int, int, int], outputs: int) -> list[LayerRow]:
    """One row a layer; nothing is built."""
    rows: list[LayerRow] = []

    def add(kind: str, layer: str, size: tuple[int, ...], parameters: int) -> None:
        number = sum(r.kind == layer for r in rows)
        rows.append(LayerRow(f"{kind}_{number}" if number else kind, layer, size, parameters))

    maps = _maps(options, shape)
    for kind, before, after in maps:
        if kind == "pool":
            add("max_pooling2d", "MaxPooling2D", after, 0)
            continue
        side = options.stem if kind == "stem" else 3
        add("conv2d", "Conv2D", after, side * side * before[2] * after[2])
        add("batch_normalization", "BatchNormalization", after, 2 * after[2])
        if kind == "residual":
            add("add", "Add", after, 0)
    width = _embedding(options, maps[-1][2])
    if options.both:
        add("global_average_pooling2d", "GlobalAveragePooling2D", (width // 2,), 0)
        add("global_max_pooling2d", "GlobalMaxPooling2D", (width // 2,), 0)
        add("concatenate", "Concatenate", (width,), 0)
    elif options.grid == 0:
        add("global_max_pooling2d", "GlobalMaxPooling2D", (width,), 0)
    else:
        last = maps[-1][2]
        height, across = (s // _coarse(options, s) for s in last[:2])
        if (height, across) != last[:2]:
            add("average_pooling2d", "AveragePooling2D", (height, across, last[2]), 0)
        add("flatten", "Flatten", (width,), 0)
    if options.dropout:
        add("dropout", "Dropout", (width,), 0)
    add("dense", "Dense", (outputs,), (width + 1) * outputs)
    return rows
