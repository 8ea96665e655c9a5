"""A net's parameters as one vector, and the optimisers that move it.

One vector makes an optimiser step a handful of long operations, a weight average one line, and a checkpoint a few
tensors. With bfloat16 the net computes on rounded copies of its convolutions and dense layers; the vector that is
optimised stays float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from estampa.models._network import Body
from estampa.recipe import TrainRecipe


class Flat:
    """The trainable parameters of `body` as views into one vector.

    Attributes
    ----------
    vector, gradient : (parameters,) float32.
    decayed : (parameters,) float32, 1 where weight decay applies (kernels), 0 elsewhere (biases, normalisation).
    frozen : parameters that do not learn, with their values; the net computes on these in its number type and memory
        order until `release`. They are in no vector, so that nothing can move them.
    """

    def __init__(self, body: Body, *, half: bool, channels_last: bool) -> None:
        self.body, self.half, self.channels_last = body, half, channels_last
        in_half = _in_half(body) if half else set()
        self.parameters = list(_ordered(body, in_half))
        self.frozen = [(p, p.data) for p in body.parameters() if not p.requires_grad]
        count = sum(p.numel() for p, _ in self.parameters)
        self.rounded = sum(p.numel() for p, rounded in self.parameters if rounded)
        device = self.parameters[0][0].device
        self.vector = torch.empty(count, device=device)
        self.gradient = torch.zeros(count, device=device)
        self.decayed = torch.zeros(count, device=device)
        self._work = torch.empty(self.rounded, dtype=torch.bfloat16, device=device)
        self._work_gradient = torch.zeros(self.rounded, dtype=torch.bfloat16, device=device)
        start = 0
        for parameter, rounded in self.parameters:
            place = slice(start, start + parameter.numel())
            self.view(self.vector[place], parameter).copy_(parameter.data)
            self.decayed[place] = float(parameter.ndim > 1)
            values, slopes = (self._work, self._work_gradient) if rounded else (self.vector, self.gradient)
            with torch.no_grad():
                parameter.data = self.view(values[place], parameter)
            parameter.grad = self.view(slopes[place], parameter)
            start = place.stop
        for parameter, values in self.frozen:
            last = values.ndim == 4 and channels_last
            order = torch.channels_last if last else torch.contiguous_format
            kind = torch.bfloat16 if id(parameter) in in_half else values.dtype
            parameter.data = values.to(kind).contiguous(memory_format=order)
        self.publish()

    def view(self, piece: Tensor, like: Tensor) -> Tensor:
        """A piece of a vector in the shape of a parameter, in the memory order that its layer computes with."""
        if like.ndim == 4 and self.channels_last:
            out, into, height, width = like.shape
            return piece.view(out, height, width, into).permute(0, 3, 1, 2)
        return piece.view(like.shape)

    def answer(self, x: Tensor) -> Tensor:
        """The body's logits (n, outputs) float32 for prepared pixels (n, c, h, w), in the number type of training.

        Inside a backbone a value may turn float32, as where it meets scales or places' codes that are not rounded;
        the next layer's input is then rounded again (autocast).
        """
        if not self.half:
            whole: Tensor = self.body(x)
            return whole.float()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bool(self.body.blocks())):
            logits: Tensor = self.body(x.to(torch.bfloat16))
        return logits.float()

    def publish(self) -> None:
        """Give the net the vector's values (the rounded ones; the others are views of it)."""
        if self.rounded:
            self._work.copy_(self.vector[: self.rounded])

    def collect(self) -> None:
        """Bring the slopes of rounded parameters into `gradient`."""
        if self.rounded:
            self.gradient[: self.rounded].copy_(self._work_gradient)

    def clear(self) -> None:
        """Set the slopes to 0."""
        self.gradient.zero_()
        if self.rounded:
            self._work_gradient.zero_()

    def pieces(self) -> Iterator[tuple[Tensor, slice]]:
        """Each parameter with its place in the vector."""
        start = 0
        for parameter, _ in self.parameters:
            yield parameter, slice(start, start + parameter.numel())
            start += parameter.numel()

    def release(self) -> None:
        """Leave the net with ordinary float32 parameters that hold the vector's values."""
        for parameter, place in self.pieces():
            values = self.view(self.vector[place], parameter).clone(memory_format=torch.contiguous_format)
            parameter.grad = None
            parameter.data = values
        for parameter, values in self.frozen:
            parameter.data = values


def _in_half(body: Body) -> set[int]:
    """Which parameters, by identity, are computed in bfloat16."""
    layers = [m for m in body.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    return {id(p) for m in layers for p in m.parameters(recurse=False)}


def _ordered(body: Body, rounded: set[int]) -> Iterator[tuple[nn.Parameter, bool]]:
    """Trainable parameters, those that are computed in bfloat16 first."""
    trainable = [p for p in body.parameters() if p.requires_grad]
    for wanted in (True, False):
        yield from ((p, wanted) for p in trainable if (id(p) in rounded) is wanted)


class Optimizer:
    """Moves the vector of a `Flat`. Weight decay is decoupled: kernels shrink by rate * weight_decay per step.

    adam : Kingma & Ba 2015 in Keras's arrangement, betas 0.9 and 0.999, epsilon 1e-7 added to the root.
    adamw : the same with betas 0.9 and 0.99, which suits short schedules.
    rmsprop : rho 0.9, epsilon 1e-7 inside the root, no momentum, as Keras.
    sgd : Nesterov momentum (Sutskever et al. 2013), as torch arranges it.
    muon : Jordan et al. 2024, momentum orthogonalised by Newton-Schulz steps, for the kernels of convolutions (of a
        perceptron's hidden layers); everything else moves by adamw at MUON_OTHERS times the rate.

    `pace` (parameters,) is the share of each step, decay included, that a parameter makes; None = all of it.
    """

    def __init__(self, flat: Flat, recipe: TrainRecipe, pace: Tensor | None = None) -> None:
        self.pace = pace
        self.flat, self.kind, self.decay, self.momentum = flat, recipe.optimizer, recipe.weight_decay, recipe.momentum
        self.steps = 0
        self.state = {"first": torch.zeros_like(flat.vector)}
        if self.kind != "sgd":
            self.state["second"] = torch.zeros_like(flat.vector)
        self._spare = torch.empty_like(flat.vector)
        self._matrices: list[tuple[Tensor, slice]] = []
        if self.kind == "muon":
            kernels = [(p, place) for p, place in flat.pieces() if p.ndim == 4]
            dense = [(p, place) for p, place in flat.pieces() if p.ndim == 2]
            self._matrices = kernels or dense[:-1]
            self._rest = torch.ones_like(flat.vector)
            for _, place in self._matrices:
                self._rest[place] = 0

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step downhill at learning rate `rate`; the gradient stays as it is."""
        self.flat.collect()
        self.steps += 1
        before = None if self.pace is None else self.flat.vector.clone()
        if self.decay:
            self.flat.vector.addcmul_(self.flat.vector, self.flat.decayed, value=-rate * self.decay)
        match self.kind:
            case "adam":
                self._adam(rate, 0.9, 0.999)
            case "adamw":
                self._adam(rate, 0.9, 0.99)
            case "rmsprop":
                self._rmsprop(rate)
            case "sgd":
                self._sgd(rate)
            case "muon":
                self._muon(rate)
        if before is not None and self.pace is not None:
            torch.lerp(before, self.flat.vector, self.pace, out=self.flat.vector)
        self.flat.publish()

    def _adam(self, rate: float, beta1: float, beta2: float, mask: Tensor | None = None) -> None:
        slope, first, second = self.flat.gradient, self.state["first"], self.state["second"]
        first.lerp_(slope, 1 - beta1)
        second.mul_(beta2).addcmul_(slope, slope, value=1 - beta2)
        size = rate * math.sqrt(1 - beta2**self.steps) / (1 - beta1**self.steps)
        torch.sqrt(second, out=self._spare)
        self._spare.add_(1e-7)
        if mask is not None:
            self._spare.div_(mask)  # an infinite divisor: no step
        self.flat.vector.addcdiv_(first, self._spare, value=-size)

    def _rmsprop(self, rate: float) -> None:
        slope, second = self.flat.gradient, self.state["second"]
        second.mul_(0.9).addcmul_(slope, slope, value=0.1)
        torch.add(second, 1e-7, out=self._spare).rsqrt_()
        self.flat.vector.addcmul_(slope, self._spare, value=-rate)

    def _sgd(self, rate: float) -> None:
        slope, first = self.flat.gradient, self.state["first"]
        first.mul_(self.momentum).add_(slope)
        self.flat.vector.add_(slope, alpha=-rate).add_(first, alpha=-rate * self.momentum)

    def _muon(self, rate: float) -> None:
        kept = [self.state["first"][place].clone() for _, place in self._matrices]
        self._adam(rate * MUON_OTHERS, 0.9, 0.99, self._rest)
        for (parameter, place), first in zip(self._matrices, kept, strict=True):
            slope = self.flat.gradient[place]
            first.mul_(self.momentum).add_(slope)
            self.state["first"][place] = first
            update = slope.add(first, alpha=self.momentum)
            rows = len(parameter)
            matrix = orthogonal(update.view(rows, -1))
            size = max(1.0, rows / matrix.shape[1]) ** 0.5
            self.flat.vector[place].add_(matrix.reshape(-1), alpha=-rate * size)


#: With muon, the other parameters' adamw rate as a share of the rate.
MUON_OTHERS = 0.3


def orthogonal(matrix: Tensor, steps: int = 4) -> Tensor:
    """The nearest matrix with singular values near 1 (rows, columns), by the quintic Newton-Schulz steps of Muon."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.T if tall else x
    return found


def rate_at(recipe: TrainRecipe, position: float) -> float:
    """Learning rate at `position` (0..1) of the training: constant, or up over `warmup` and down to 0, both linear.

    One-cycle: Smith & Topin 2018, with straight flanks.
    """
    if recipe.schedule == "constant":
        return recipe.rate
    up = position / recipe.warmup if recipe.warmup else 1.0
    down = (1 - position) / (1 - recipe.warmup)
    return recipe.rate * max(min(up, down), 0.01)
