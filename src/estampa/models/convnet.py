"""Convolutional nets by numbers: every net of the five studies; without `filters`, a multilayer perceptron.

Weights begin as Keras's do: Glorot uniform kernels (Glorot & Bengio 2010, equation 16), zero biases. Flattening is
channels last, so that dense weights can be compared with Keras's one to one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from estampa.errors import RecipeError
from estampa.models._network import Body, LayerRow
from estampa.recipe import Count, Record, Share

Activation = Literal["relu", "sigmoid", "tanh", "elu", "gelu", "linear"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "elu": nn.ELU, "gelu": nn.GELU, "linear": nn.Identity,
}  # fmt: skip


#: Activations that rise or stay level: the maximum may be taken before them.
_RISING = ("relu", "sigmoid", "tanh", "elu", "linear")


class Options(Record):
    """The net's numbers, `[model]` of a recipe with `name = "convnet"`."""

    filters: tuple[Count, ...] = (32, 64, 64)  #: of each convolution; () = a multilayer perceptron
    kernel: Count | tuple[Count, ...] = 3  #: side of the square kernels: one for all, or one a convolution
    padding: Literal["valid", "same"] = "valid"  #: no padding, or zeros so that the size stays
    pool_after: tuple[Count, ...] = (1, 2)  #: which convolutions are followed by max pooling, counted from 1
    pool: Annotated[int, Field(ge=2)] = 2  #: side and stride of the pooling windows
    dense: tuple[Count, ...] = (64,)  #: widths of the dense layers before the output
    widths: Count | None = None  #: the widest convolution (or dense layer) gets this many, the others in proportion
    conv_activation: Activation = "relu"  #: after each convolution
    dense_activation: Activation = "relu"  #: after each dense layer before the output
    dropout_pool: Share = 0.0  #: share of values dropped after each pooling
    dropout_dense: Share = 0.0  #: share of values dropped after each dense layer
    l2_conv: Annotated[float, Field(ge=0)] = 0.0  #: times the sum of squared kernel values, added to the loss
    l2_dense: Annotated[float, Field(ge=0)] = 0.0  #: the same for the dense layers before the output
    output: Literal["linear", "sigmoid", "softmax"] = "softmax"  #: linear and softmax name the same net for classes


class ConvNet(Body):
    """Convolutions with pooling, flatten (channels last), dense layers, output.

    Raises RecipeError when the picture is used up before the last convolution.
    """

    def __init__(self, options: Options, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.options, self.output_kind = options, options.output
        self.seen = tuple(_seen(options, side) for side in shape[:2])  # rows, columns of the picture that count
        steps: list[nn.Module] = []
        self._decayed: list[tuple[Tensor, float]] = []
        channels = shape[2]
        for kind, _, size in _plan(options, shape):
            match kind:
                case "conv2d":
                    number = 1 + sum(isinstance(s, nn.Conv2d) for s in steps)
                    kernel = _kernels(options)[number - 1]
                    conv = nn.Conv2d(channels, size[2], kernel)
                    if options.padding == "same":  # as Keras pads: the odd row and column go below and to the right
                        before = (kernel - 1) // 2
                        steps.append(nn.ZeroPad2d((before, kernel - 1 - before) * 2))
                    self._decayed.append((conv.weight, options.l2_conv))
                    steps += [conv, _ACTIVATIONS[options.conv_activation]()]
                    channels = size[2]
                case "max_pooling2d" if options.conv_activation in _RISING:
                    steps.insert(-1, nn.MaxPool2d(options.pool))  # the same result for a quarter of the activations
                case "max_pooling2d":
                    steps.append(nn.MaxPool2d(options.pool))
                case "dropout":
                    rate = options.dropout_pool if len(size) == 3 else options.dropout_dense
                    steps.append(nn.Dropout(rate))
                case "flatten":
                    self.features, steps, width = nn.Sequential(*steps), [], size[0]
                case "dense":
                    layer = nn.Linear(width, size[0])
                    self._decayed.append((layer.weight, options.l2_dense))
                    steps += [layer, _ACTIVATIONS[options.dense_activation]()]
                    width = size[0]
        self.dense = nn.Sequential(*steps)
        self.output = nn.Linear(width, outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.get_parameter("bias"))

    def embed(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, e), the values that the output layer reads."""
        height, width = self.seen
        e: Tensor = self.dense(self.features(x[:, :, :height, :width]).permute(0, 2, 3, 1).flatten(1))
        return e

    def head(self, e: Tensor) -> Tensor:
        """(n, e) to (n, outputs) before any output activation."""
        logits: Tensor = self.output(e)
        return logits

    def penalty(self) -> Tensor | None:
        """Sum over kernels of l2 times the sum of squares, as Keras's `kernel_regularizer` adds to the loss."""
        terms = [rate * weight.square().sum() for weight, rate in self._decayed if rate]
        return torch.stack(terms).sum() if terms else None


def build(options: Options, shape: tuple[int, int, int], outputs: int) -> ConvNet:
    """The net for pictures of `shape` (height, width, channels) and `outputs` classes, or 1 value."""
    return ConvNet(options, shape, outputs)


def summary(options: Options, shape: tuple[int, int, int], outputs: int) -> list[LayerRow]:
    """One row a layer, named and shaped as Keras's `model.summary()` does; nothing is built."""
    rows: list[LayerRow] = []
    before, seen = shape, dict[str, int]()
    convolution = 0
    for kind, layer, size in [*_plan(options, shape), ("dense", "Dense", (outputs,))]:
        parameters = 0
        if kind == "conv2d":
            convolution += 1
            parameters = _kernels(options)[convolution - 1] ** 2 * before[-1] * size[-1] + size[-1]
        elif kind == "dense":
            parameters = (before[-1] + 1) * size[-1]
        name = f"{kind}_{seen[kind]}" if kind in seen else kind
        seen[kind] = seen.get(kind, 0) + 1
        rows.append(LayerRow(name, layer, size, parameters))
        before = size  # type: ignore[assignment]
    return rows


def _plan(options: Options, shape: tuple[int, int, int]) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Each layer but the last: Keras's name, its kind, the shape of its output (channels last)."""
    height, width, channels = shape
    filters, dense = _scaled(options)
    bad = [k for k in options.pool_after if k > len(filters)]
    if bad and filters:
        raise RecipeError(f"pooling after convolution {bad[0]}", where="model.pool_after", allowed=f"1..{len(filters)}")
    for number, (count, kernel) in enumerate(zip(filters, _kernels(options), strict=True), start=1):
        if options.padding == "valid":
            height, width = height - kernel + 1, width - kernel + 1
        channels = count
        if min(height, width) >= 1:
            yield "conv2d", "Conv2D", (height, width, channels)
        if number in options.pool_after:
            height, width = height // options.pool, width // options.pool
            if min(height, width) >= 1:
                yield "max_pooling2d", "MaxPooling2D", (height, width, channels)
            if options.dropout_pool and min(height, width) >= 1:
                yield "dropout", "Dropout", (height, width, channels)
        if min(height, width) < 1:
            raise RecipeError(
                f"nothing is left of a picture of {shape[0]} x {shape[1]} after convolution {number}",
                where="model.filters",
                cure="Take fewer convolutions or poolings, padding = 'same', or larger pictures.",
            )
    yield "flatten", "Flatten", (height * width * channels,)
    for count in dense:
        yield "dense", "Dense", (count,)
        if options.dropout_dense:
            yield "dropout", "Dropout", (count,)


def _seen(options: Options, side: int) -> int:
    """How much of a side reaches the output: pooling drops a rest, and what only that rest saw need not be computed."""
    if options.padding == "same":
        return side
    sizes = []
    for number, kernel in enumerate(_kernels(options), start=1):
        side -= kernel - 1
        sizes.append((kernel, number in options.pool_after))
        side = side // options.pool if number in options.pool_after else side
    for kernel, pooled in reversed(sizes):
        side = (side * options.pool if pooled else side) + kernel - 1
    return side


def _kernels(options: Options) -> tuple[int, ...]:
    if isinstance(options.kernel, int):
        return (options.kernel,) * len(options.filters)
    if len(options.kernel) != len(options.filters):
        raise RecipeError(
            f"{len(options.kernel)} kernels for {len(options.filters)} convolutions",
            where="model.kernel",
            allowed="one number, or one a convolution",
        )
    return options.kernel


def _scaled(options: Options) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Filters and dense widths after `widths`."""
    widest = max(options.filters or options.dense or (1,))
    if options.widths is None:
        return options.filters, options.dense
    share = options.widths / widest
    return tuple(max(1, round(f * share)) for f in options.filters), tuple(
        max(1, round(d * share)) for d in options.dense
    )
