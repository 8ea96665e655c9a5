"""Losses of a batch: logits (m, k) float32 and targets (m,) to one number."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(kind: str, smoothing: float = 0.0, weights: Tensor | None = None) -> Loss:
    """The loss called `kind`.

    crossentropy : of the softmax of the logits. binary : of each output's sigmoid against one-hot targets, the mean
    over the outputs, as Keras's binary_crossentropy. mse : of the first output.
    `smoothing` moves that share of the target evenly to all classes (Szegedy et al. 2016). `weights` (classes,)
    multiply each object's loss, and the mean is over objects, as Keras's class_weight.
    """
    match kind:
        case "crossentropy":
            return lambda logits, target: _weighted(
                F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing), target, weights
            )
        case "binary":
            return lambda logits, target: _weighted(_binary(logits, target, smoothing), target, weights)
        case "mse":
            return lambda logits, target: F.mse_loss(logits[:, 0], target)
    raise AssertionError(kind)


def _binary(logits: Tensor, target: Tensor, smoothing: float) -> Tensor:
    hot = F.one_hot(target, logits.shape[1]).to(logits.dtype)
    hot = hot * (1 - smoothing) + smoothing / logits.shape[1]
    return F.binary_cross_entropy_with_logits(logits, hot, reduction="none").mean(1)


def _weighted(losses: Tensor, target: Tensor, weights: Tensor | None) -> Tensor:
    return (losses if weights is None else losses * weights[target]).mean()


def finite(value: float) -> bool:
    """Whether a loss is a number."""
    return torch.isfinite(torch.tensor(value)).item() is True
