"""A backbone that has learned on millions of photographs, and a small head of one's own: transfer learning.

The backbone is any of timm's (Wightman 2019, doi:10.5281/zenodo.4414861) without its classifier; the study of
look-alike pictures has EfficientNetB0 (Tan & Le 2019, arXiv:1905.11946). The head is Keras's usual one: global average
pooling, dropout, a dense layer with ReLU, dropout, output.

Statistics of the input belong to the weights: pixels of 0..1 (`prepare.scale = "unit"`) are standardised in the graph
by the mean and deviation that the weights were trained with, and pictures of another size are resized there.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from estampa.errors import RecipeError
from estampa.models import _backbones, _weights
from estampa.models._network import LayerRow, StagedBody
from estampa.prepare.image import area_matrix
from estampa.recipe import Record, Share

#: Of sides that nobody states: shorter pictures are enlarged, longer ones reduced, so that the longer side is this.
SMALLEST, LARGEST = 96, 320
#: The rule `prepare.scale` that the net is fed by: pixels of 0..1, which it standardises itself.
SCALE = "unit"


class Options(Record):
    """`[model]` of a recipe with `name = "pretrained"`."""

    backbone: str = "auto"  #: any of timm's; "auto" = efficientnet_b0 where it was fetched, else tf_efficientnet_lite0
    weights: str = "auto"  #: "auto" = those at hand; "none" = random; a file; or a name that was fetched
    sha256: str = ""  #: what the file of weights must be, in hexadecimal; "" = written here when it is read
    side: Annotated[int, Field(ge=0, le=4096)] | Literal["auto"] = (
        "auto"  #: pixels that the longer side is brought to in the graph; 0 = as it is; "auto" = within 96 to 320
    )
    hidden: Annotated[int, Field(ge=0, le=65_536)] = 128  #: width of the dense layer before the output; 0 = none
    dropout: Share = 0.2  #: share dropped of the pooled features, and of the dense layer's values


class Pretrained(StagedBody):
    """Resize, standardise, backbone, head. `features` and `top` are its two halves for training in stages."""

    mean: Tensor
    deviation: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, options: Options, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.options = options
        height, width, channels = shape
        backbone, source = _weights.resolve(options.backbone, options.weights, options.sha256)
        seen = _seen(options, backbone, shape)
        self.net = _backbones.make(backbone, channels, side=seen[0])
        if source is not None:
            _weights.load(source, self.net, backbone, channels)
        mean, deviation = _weights.statistics(source, backbone, channels)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1))
        self.register_buffer("rows", _line(height, seen[0]), persistent=False)
        self.register_buffer("columns", _line(width, seen[1]), persistent=False)
        self.parts = tuple(_backbones.parts_of(self.net))  # a tuple: they are the net's own, not registered again
        self.frozen = 0
        pooled = list(_backbones.sizes_after(*_outlined(backbone, seen, channels)))[-1][0]
        self.dropout = nn.Dropout(options.dropout)
        self.hidden = nn.Linear(pooled, options.hidden) if options.hidden else None
        self.output = nn.Linear(options.hidden or pooled, outputs)
        for layer in (self.hidden, self.output):
            if layer is not None:  # as Keras begins: Glorot & Bengio 2010, equation 16
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    @property
    def neutral(self) -> Tensor:
        """The mean that belongs to the weights: 0 once it is standardised."""
        return self.mean

    def features(self, x: Tensor) -> Tensor:
        """Prepared pixels (n, c, h, w) of 0..1 to the backbone's pooled features (n, f)."""
        if len(self.rows):
            x = self.rows.to(x.dtype) @ x
        if len(self.columns):
            x = x @ self.columns.to(x.dtype).T
        found: Tensor = self.net(((x - self.mean) / self.deviation).to(x.dtype))
        return found

    def vector(self, f: Tensor) -> Tensor:
        """Features (n, f) to the vector (n, e) that the output layer reads."""
        return f if self.hidden is None else torch.relu(self.hidden(self.dropout(f)))

    def top(self, f: Tensor) -> Tensor:
        """Features (n, f) to logits (n, outputs)."""
        return self.head(self.vector(f))

    def embed(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, e)."""
        return self.vector(self.features(x))

    def head(self, e: Tensor) -> Tensor:
        """(n, e) to (n, outputs)."""
        logits: Tensor = self.output(self.dropout(e))
        return logits

    def blocks(self) -> list[nn.Module]:
        """The backbone's parts in order, the stem first."""
        return list(self.parts)

    def freeze(self, blocks: int) -> None:
        """The first `blocks` parts do not learn: no slopes, and normalisation in eval mode whatever `train` says."""
        if not 0 <= blocks <= len(self.parts):
            raise RecipeError(
                f"{blocks} blocks cannot be frozen", where=f"model {self.options.backbone!r}",
                allowed=f"0..{len(self.parts)}",
            )  # fmt: skip
        self.frozen = blocks
        for number, part in enumerate(self.parts):
            for parameter in part.parameters():
                parameter.requires_grad_(number >= blocks)
        self.train(self.training)

    def train(self, mode: bool = True) -> Pretrained:
        """Training mode for what learns; the frozen parts stay in eval mode."""
        super().train(mode)
        for part in self.parts[: self.frozen]:
            part.eval()
        return self


def build(options: Options, shape: tuple[int, int, int], outputs: int) -> Pretrained:
    """The net for pictures of `shape` (height, width, channels) and `outputs` classes, or 1 value.

    Raises RecipeError for a backbone that there is not, WeightsError for weights that are not at hand, are damaged or
    are of another architecture, MissingExtra without timm.
    """
    return Pretrained(options, shape, outputs)


def summary(options: Options, shape: tuple[int, int, int], outputs: int) -> list[LayerRow]:
    """One row a part of the backbone and a layer of the head; nothing is read, no values are made."""
    backbone, _ = _weights.resolve(options.backbone, options.weights, options.sha256, needed=False)
    seen = _seen(options, backbone, shape)
    net, parts, picture = _outlined(backbone, seen, shape[2])
    *maps, pooled = _backbones.sizes_after(net, parts, picture)
    rows: list[LayerRow] = []
    if seen != shape[:2]:
        rows.append(LayerRow("resizing", "Resizing", picture, 0))
    rows.append(LayerRow("normalization", "Normalization", picture, 0, 2 * shape[2] + 1))
    for part, size in zip(parts, maps, strict=True):
        count = sum(p.numel() for p in part.parameters())
        rows.append(LayerRow(part.name, part.kind, size, count, _backbones.statistics_of(part)))
    rows.append(LayerRow("global_average_pooling2d", "GlobalAveragePooling2D", pooled, 0))
    widths = [*([options.hidden] if options.hidden else []), outputs]
    before = pooled[0]
    for number, width in enumerate(widths):
        tail = f"_{number}" if number else ""
        if options.dropout:
            rows.append(LayerRow(f"dropout{tail}", "Dropout", (before,), 0))
        rows.append(LayerRow(f"dense{tail}", "Dense", (width,), (before + 1) * width))
        before = width
    return rows


def settle(options: Options, shape: tuple[int, int, int]) -> tuple[dict[str, Any], list[str]]:
    """What "auto" comes to for pictures of `shape`, as keys of the model, and what there is to say about it."""
    backbone, source = _weights.resolve(options.backbone, options.weights, options.sha256)
    changes: dict[str, Any] = {"backbone": backbone}
    if source is None:
        said = [f"Backbone {backbone} with random weights: it learns from these pictures alone."]
    else:
        changes |= {"weights": source.name, "sha256": source.sha256}
        said = [f"Backbone {backbone}, with weights of {source.told}, SHA-256 {source.sha256[:12]}...: {source.taught}"]
        if shape[2] != 3:
            said.append(_weights.adapted(shape[2]))
    height, width = _seen(options, backbone, shape)
    if (height, width) != shape[:2]:
        said.append(f"The net's graph brings pictures of {shape[0]} x {shape[1]} to {height} x {width} (model.side).")
    changes["side"] = 0 if (height, width) == shape[:2] else max(height, width)
    settled = all(getattr(options, key) == value for key, value in changes.items())
    return changes, [] if settled else said


def _outlined(
    backbone: str, seen: tuple[int, int], channels: int
) -> tuple[nn.Module, list[_backbones.Part], tuple[int, int, int]]:
    net = _backbones.outline(backbone, channels, side=seen[0])
    return net, _backbones.parts_of(net), (*seen, channels)


def _seen(options: Options, backbone: str, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width that the backbone sees of pictures of `shape`."""
    fixed, side, longer = _backbones.fixed_side(backbone), options.side, max(shape[:2])
    if fixed:
        if side not in ("auto", 0, fixed):
            raise RecipeError(
                f"{backbone} takes pictures of one size", where="model.side", allowed=f"{fixed}, or 0", got=side
            )
        return fixed, fixed
    wanted = min(max(longer, SMALLEST), LARGEST) if side == "auto" else side
    if wanted in (0, longer):
        return shape[0], shape[1]
    return max(1, round(shape[0] * wanted / longer)), max(1, round(shape[1] * wanted / longer))


def _line(stored: int, side: int) -> Tensor:
    """(side, stored): a line's resizing as a matrix, by area when it shrinks and linear when it grows; empty = none."""
    if stored == side:
        return torch.zeros(0, 0)
    if side < stored:
        return torch.from_numpy(area_matrix(stored, side))
    places = (np.arange(side) + 0.5) * stored / side - 0.5
    shares = 1 - np.abs(np.clip(places, 0, stored - 1)[:, None] - np.arange(stored)[None])
    return torch.from_numpy(np.clip(shares, 0, None).astype(np.float32))
