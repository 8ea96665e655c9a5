"""Our own net for small pictures: three stages of convolutions with batch normalisation, and a maximum over the plane.

A VGG-like plan (Simonyan & Zisserman 2015) in the manner of Jordan's airbench (2024, arXiv 2404.00498): no residuals,
pooling early, a short head. It sees pictures of any size and any number of channels.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from estampa.models._network import Body, LayerRow
from estampa.recipe import Count, Record, Share


class Options(Record):
    """`[model]` of a recipe with `name = "picturenet"`."""

    width: Count = 32  #: filters of the first stage
    growth: tuple[Annotated[float, Field(gt=0, le=16)], ...] = (1.0, 2.0, 4.0)  #: filters of each stage, times width
    depth: tuple[Count, ...] = (1, 1, 1)  #: convolutions of each stage
    dropout: Share = 0.0  #: share of the embedding dropped before the output
    scale: Annotated[float, Field(gt=0, le=10)] = 0.2  #: logits are divided by 1 / scale, which tempers early training


class PictureNet(Body):
    """Stages of (convolution 3 x 3, pooling, normalisation, ReLU), maximum over the plane, output."""

    def __init__(self, options: Options, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.options = options
        layers: list[nn.Module] = []
        channels, side = shape[2], min(shape[:2])
        for growth, depth in zip(options.growth, _depths(options), strict=True):
            filters = max(1, round(options.width * growth))
            for number in range(depth):
                layers.append(nn.Conv2d(channels, filters, 3, padding=1, bias=False))
                if number == 0 and side >= 4:
                    layers.append(nn.MaxPool2d(2))
                    side //= 2
                layers += [nn.BatchNorm2d(filters), nn.ReLU()]
                channels = filters
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(channels, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def embed(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, filters of the last stage)."""
        return self.features(x).amax((2, 3))  # type: ignore[no-any-return]

    def head(self, e: Tensor) -> Tensor:
        """(n, e) to (n, outputs)."""
        return self.output(self.dropout(e)) * self.options.scale  # type: ignore[no-any-return]


def build(options: Options, shape: tuple[int, int, int], outputs: int) -> PictureNet:
    """The net for pictures of `shape` (height, width, channels) and `outputs` classes, or 1 value."""
    return PictureNet(options, shape, outputs)


def summary(options: Options, shape: tuple[int, int, int], outputs: int) -> list[LayerRow]:
    """One row a layer; nothing is built."""
    rows: list[LayerRow] = []
    height, width, channels = shape

    def add(kind: str, layer: str, size: tuple[int, ...], parameters: int) -> None:
        number = sum(r.kind == layer for r in rows)
        rows.append(LayerRow(f"{kind}_{number}" if number else kind, layer, size, parameters))

    for growth, depth in zip(options.growth, _depths(options), strict=True):
        filters = max(1, round(options.width * growth))
        for number in range(depth):
            add("conv2d", "Conv2D", (height, width, filters), 9 * channels * filters)
            if number == 0 and min(height, width) >= 4:
                height, width = height // 2, width // 2
                add("max_pooling2d", "MaxPooling2D", (height, width, filters), 0)
            add("batch_normalization", "BatchNormalization", (height, width, filters), 2 * filters)
            channels = filters
    add("global_max_pooling2d", "GlobalMaxPooling2D", (channels,), 0)
    if options.dropout:
        add("dropout", "Dropout", (channels,), 0)
    add("dense", "Dense", (outputs,), (channels + 1) * outputs)
    return rows


def _depths(options: Options) -> tuple[int, ...]:
    """Convolutions of each stage; a short list is continued by its last number."""
    missing = len(options.growth) - len(options.depth)
    return (options.depth + (options.depth[-1],) * missing)[: len(options.growth)]
