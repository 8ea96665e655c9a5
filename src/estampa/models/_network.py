"""What every net shares: the body's contract, and the whole network from stored pixels to an answer.

`Network` is what is trained, exported and served: one graph from a Dataset's pixels as they are stored to
probabilities (or a value), so that preparation can never be left behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from estampa.errors import RecipeError
from estampa.prepare.image import REACH, ROUNDS, area_matrix, inside

#: Which mirrors and turns `symmetry` stands for, as (transpose, flip rows, flip columns); the first is the picture.
VIEWS: dict[str, tuple[tuple[bool, bool, bool], ...]] = {
    "none": ((False, False, False),),
    "hflip": ((False, False, False), (False, False, True)),
    "d4": tuple((t, v, h) for t in (False, True) for v in (False, True) for h in (False, True)),
}
#: Pictures that a net with a backbone answers at a time, at most.
DEEP = 32
DTYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}


@dataclass(frozen=True)
class LayerRow:
    """One line of a net's summary, in Keras's terms: `shape` is that of the output, channels last, batch left out.

    `parameters` are trainable. `statistics` are values that Keras counts too and nobody trains: running means and
    variances, and of the input's normalisation a mean and a variance a channel and one count.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    statistics: int = 0


class Body(nn.Module):
    """A net from prepared pixels to logits, in two halves.

    `embed` takes prepared (n, channels, height, width) float to (n, e) float; `head` takes that to (n, outputs):
    logits of classes, or a standardised value. `output_kind` says what the logits mean: "softmax", "sigmoid" or
    "linear".
    """

    output_kind = "softmax"

    def embed(self, x: Tensor) -> Tensor:
        """Prepared pixels (n, c, h, w) to the vector (n, e) that the last layer reads."""
        raise NotImplementedError

    def head(self, e: Tensor) -> Tensor:
        """Embedding (n, e) to logits (n, outputs)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Prepared pixels (n, c, h, w) to logits (n, outputs)."""
        return self.head(self.embed(x))

    @property
    def neutral(self) -> Tensor | None:
        """(1, c, 1, 1): prepared pixels that say nothing; None = 0, the mean where pixels are standardised."""
        return None

    def penalty(self) -> Tensor | None:
        """What weight regularisation adds to the loss, or None."""
        return None

    def blocks(self) -> list[nn.Module]:
        """The parts of a backbone from the picture to its pooled features, in order; none of a net without backbone."""
        return []

    def freeze(self, blocks: int) -> None:
        """Freeze the first `blocks` of `blocks()`: no slopes, and normalisation in eval mode whatever `train` says.

        Raises RecipeError for more of them than there are.
        """
        if blocks:
            raise RecipeError(
                "this net has no backbone to freeze", where="train", allowed="0 blocks", got=blocks,
                cure="Take the model 'pretrained', or train all of it.",
            )  # fmt: skip


class StagedBody(Body):
    """A body with a backbone, whose features may be kept while the head alone learns.

    `forward(x)` is `top(features(x))`, and `blocks` has the parts that can be frozen.
    """

    def features(self, x: Tensor) -> Tensor:
        """Prepared pixels (n, c, h, w) to the backbone's pooled features (n, f)."""
        raise NotImplementedError

    def top(self, f: Tensor) -> Tensor:
        """Features (n, f) to logits (n, outputs): the part that is never frozen."""
        raise NotImplementedError


class Network(nn.Module):
    """Stored pixels in, answer out: cast, NaN rule, stretch, scale, body, mean over views, temperature.

    Parameters
    ----------
    body : the net.
    shape : height, width, channels of a picture.
    dtype : stored type, "uint8", "uint16" or "float32".
    task : "classification" or "regression".
    rule, constants : the fitted preparation's rule (`ImagePreparation.to_record()`, `.constants()`).
    views : "none", "hflip" or "d4": the logits are the mean over these views (of d4, views that exchange height and
        width are left out where the two differ).
    exchange : (classes,) for each class the one that it becomes in the mirror; None = itself. The logits of mirrored
        views are put back in this order before the mean.

    `forward` takes (n, height, width, channels) of the stored type and returns, named by `output_names`:
    classification: `output` (n, classes) probabilities that sum to 1, `logits` (n, classes) after temperature,
    `embedding` (n, e); regression: `output` (n,), `embedding` (n, e). All float32.
    With "sigmoid" outputs each class has its own probability; they are divided by their sum.
    """

    body: Body
    centre: Tensor
    softening: Tensor
    offset: Tensor
    factor: Tensor
    fill: Tensor
    temperature: Tensor
    area: Tensor
    exchange: Tensor
    target_mean: Tensor
    target_deviation: Tensor

    def __init__(
        self,
        body: Body,
        *,
        shape: tuple[int, int, int],
        dtype: str,
        task: str,
        rule: Mapping[str, Any],
        constants: Mapping[str, np.ndarray[Any, Any]],
        views: str = "none",
        exchange: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.body, self.shape, self.dtype, self.task, self.views = body, shape, dtype, task, views
        self.stretch, self.local, self.mask = str(rule["stretch"]), bool(rule["local"]), bool(rule["mask"])
        for name in ("centre", "softening", "offset", "factor", "fill"):
            value = torch.from_numpy(np.asarray(constants[name], dtype=np.float32)).view(1, -1, 1, 1)
            self.register_buffer(name, value.clone())
        self.crop = int(rule.get("crop", 0))
        side, seen = int(rule.get("side", 0)), self.crop or shape[0]
        area = torch.from_numpy(area_matrix(seen, side)) if side else torch.zeros(0, 0)
        self.register_buffer("area", area, persistent=False)
        twins = [] if exchange is None else [int(number) for number in exchange]
        self.exchanges = twins != sorted(twins)
        self.register_buffer("exchange", torch.tensor(twins, dtype=torch.int64), persistent=False)
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("target_mean", torch.zeros(()))
        self.register_buffer("target_deviation", torch.ones(()))

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of what `forward` returns, in order."""
        return ("output", "embedding") if self.task == "regression" else ("output", "logits", "embedding")

    def prepare(self, images: Tensor, *, whole: bool = False) -> Tensor:
        """Stored pixels (n, h, w, c) to the body's input (n, c, h, w) float32, channels last in memory.

        `whole` leaves the margin on, for the warps of training, which take the crop and the size themselves.
        """
        cropped = self.crop > 0 and not whole
        if cropped and not self.local:  # first, where no pixel depends on others: there is less to do
            images = images[inside(self.shape[:2], self.crop)]
        x = self._planes(images)
        if cropped and self.local:
            x = x[(slice(None), *inside(self.shape[:2], self.crop))]
        if len(self.area) and not whole:
            x = (self.area @ x @ self.area.T).contiguous(memory_format=torch.channels_last)
        return x

    def _planes(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        if self.dtype != "float32":
            if not self.local and not self.mask:
                return self._scaled(x)
            finite = torch.ones_like(x, dtype=torch.bool)
            planes = [self._scaled(x)]
        else:
            finite = x.abs() <= torch.finfo(torch.float32).max
            x = torch.where(finite, x, 0.0)
            planes = [torch.where(finite, self._scaled(x), self.fill)]
        if self.local:
            planes.append(own_scale(x, finite))
        if self.mask:
            planes.append((~finite).any(1, keepdim=True).float())
        return planes[0] if len(planes) == 1 else torch.cat(planes, 1)

    def _scaled(self, x: Tensor) -> Tensor:
        if self.stretch == "asinh":
            x = asinh((x - self.centre) / self.softening)
        return (x - self.offset) * self.factor

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Prepared pixels to (logits, embedding), the mean over the views, before temperature."""
        views = [v for v in VIEWS[self.views] if not v[0] or x.shape[2] == x.shape[3]]
        if len(views) > 1:
            x = torch.cat([view(x, *v) for v in views])
        embedding = self.body.embed(x)
        logits = self.body.head(embedding)
        if len(views) > 1:
            logits = logits.reshape(len(views), -1, logits.shape[1])
            if self.exchanges:
                mirrored = torch.tensor([sum(v) % 2 == 1 for v in views]).view(-1, 1, 1).to(logits.device)
                logits = torch.where(mirrored, logits[:, :, self.exchange], logits)
            logits = logits.mean(0)
            embedding = embedding.reshape(len(views), -1, embedding.shape[1]).mean(0)
        return logits.float(), embedding.float()

    def finish(self, logits: Tensor) -> Tensor:
        """Logits (after temperature) to probabilities (n, classes), or to values (n,) in the target's unit."""
        if self.task == "regression":
            return logits[:, 0] * self.target_deviation + self.target_mean
        if self.body.output_kind == "sigmoid":
            return torch.softmax(torch.nn.functional.logsigmoid(logits), 1)  # p / sum(p), safe when all p are tiny
        return torch.softmax(logits, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Stored pixels (n, h, w, c) to the tensors that `output_names` lists."""
        logits, embedding = self.raw(self.prepare(images))
        if self.task == "regression":
            return self.finish(logits), embedding
        logits = logits / self.temperature
        return self.finish(logits), logits, embedding


def asinh(x: Tensor) -> Tensor:
    """The inverse hyperbolic sine by a logarithm, a quarter of the time of torch's own here; flat beyond 1e18."""
    size = x.abs().clamp_max(1e18)  # its square is still a float32
    return x.sign() * (size + (size * size + 1).sqrt()).log()


def own_scale(x: Tensor, finite: Tensor) -> Tensor:
    """The rule of `prepare.image.own_scale` on (n, c, h, w)."""
    good = finite.float()
    weight, level, noise = good, x, x
    for round_ in range(ROUNDS + 1):
        total = weight.sum((2, 3), keepdim=True).clamp_min(1e-6)
        level = (weight * x).sum((2, 3), keepdim=True) / total
        square = (x - level).square()
        noise = ((weight * square).sum((2, 3), keepdim=True) / total).sqrt()
        noise = torch.where(noise > 0, noise, 1.0)
        if round_ < ROUNDS:
            weight = good / (1 + square / (REACH * noise).square()).square()
    return torch.where(finite, asinh((x - level) / noise), 0.0)


def view(x: Tensor, transpose: bool, rows: bool, columns: bool) -> Tensor:
    """A mirrored or turned view of pictures (n, c, h, w)."""
    if transpose:
        x = x.transpose(2, 3)
    axes = [axis for axis, flipped in ((2, rows), (3, columns)) if flipped]
    return torch.flip(x, axes) if axes else x


def at_once(body: Body, most: int) -> int:
    """How many pictures a net is given at a time where it only answers: a backbone's maps take much memory."""
    return min(most, DEEP) if body.blocks() else most


def parameter_count(body: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in body.parameters() if p.requires_grad)
