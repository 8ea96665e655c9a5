"""The running mean of the weights (Polyak & Juditsky 1992), and the weights that count at the end of an epoch."""

from __future__ import annotations

import math
from types import TracebackType

import torch
from torch import Tensor, nn

from estampa.models._network import Body, Network, at_once
from estampa.train.feed import Feed
from estampa.train.optim import Flat

#: Training pictures from which BatchNorm's statistics are found anew, and how many at a time, at most.
STATISTICS, AT_ONCE = 4096, 512


class Average:
    """Keeps the mean of the vector over the steps with weight `decay` on what was; `decay` 0 keeps nothing.

    As a context it puts what counts into the net, and takes it out again. BatchNorm's running statistics belong to the
    weights and the (augmented) pictures that made them, so they are found anew, with or without averaging, by a pass
    over training pictures as they are; `prepare_refresh` says where these come from. Statistics of BatchNorm that is
    in eval mode when this is made, though the body is to learn, stay: it is frozen.
    """

    def __init__(self, flat: Flat, body: Body, decay: float) -> None:
        self.flat, self.body, self.decay, self.count = flat, body, decay, 0
        self.mean = flat.vector.clone() if decay else None
        self._aside: dict[str, Tensor] | None = None
        self._norms = [m for m in body.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.training]
        self._source: tuple[Feed, Network] | None = None

    def prepare_refresh(self, feed: Feed, network: Network) -> None:
        """Say where training pictures come from."""
        self._source = (feed, network)

    def update(self) -> None:
        """Take the newest weights into the mean; early on it forgets faster, so that the start leaves no trace."""
        if self.mean is not None:
            self.count += 1
            self.mean.lerp_(self.flat.vector, 1 - min(self.decay, (1 + self.count) / (10 + self.count)))

    def __enter__(self) -> Average:
        if self.mean is not None or self._norms:
            self._aside = self.weights()
            self.settle()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._aside is not None:
            self.load(self._aside)
            self._aside = None

    def settle(self) -> None:
        """Put what counts into the net: the averaged weights, and statistics that belong to them."""
        if self.mean is not None:
            self.flat.vector.copy_(self.mean)
            self.flat.publish()
        if self._norms and self._source is not None:
            self._refresh(self._norms, *self._source)

    def _refresh(self, norms: list[nn.BatchNorm1d | nn.BatchNorm2d], feed: Feed, network: Network) -> None:
        self.body.eval()
        momenta = [m.momentum for m in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum, norm.training = None, True  # None = the plain mean over batches
        images, _ = feed.sample(STATISTICS)
        with torch.no_grad():
            pieces = math.ceil(len(images) / at_once(self.body, AT_ONCE))
            for batch in images.tensor_split(pieces):  # even ones: each counts alike, and none is of one picture
                self.flat.answer(network.prepare(batch.to(network.centre.device)))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum, norm.training = momentum, False

    def weights(self) -> dict[str, Tensor]:
        """Copies of the vector and of the body's buffers, as they are now."""
        return {"vector": self.flat.vector.clone(), **{f"b.{k}": v.clone() for k, v in self.body.named_buffers()}}

    def load(self, weights: dict[str, Tensor]) -> None:
        """Put such copies back."""
        self.flat.vector.copy_(weights["vector"])
        self.flat.publish()
        for name, buffer in self.body.named_buffers():
            buffer.copy_(weights[f"b.{name}"])

    def whole(self) -> dict[str, Tensor]:
        """Copies of every parameter and buffer by name, float32, as they are now: for stages that freeze others."""
        values = {id(p): self.flat.view(self.flat.vector[place], p) for p, place in self.flat.pieces()}
        values |= {id(p): value for p, value in self.flat.frozen}
        found = {f"p.{name}": values[id(p)].clone() for name, p in self.body.named_parameters()}
        return found | {f"b.{name}": buffer.clone() for name, buffer in self.body.named_buffers()}

    def load_whole(self, weights: dict[str, Tensor]) -> None:
        """Put such copies back; those of what is frozen now are left, since nothing has moved it."""
        names = {id(p): name for name, p in self.body.named_parameters()}
        for parameter, place in self.flat.pieces():
            self.flat.view(self.flat.vector[place], parameter).copy_(weights[f"p.{names[id(parameter)]}"])
        self.flat.publish()
        for name, buffer in self.body.named_buffers():
            buffer.copy_(weights[f"b.{name}"])

    def everything(self) -> dict[str, Tensor]:
        """`weights`, and the mean."""
        return self.weights() | ({} if self.mean is None else {"mean": self.mean.clone()})

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Put back what `everything` gave."""
        self.load(weights)
        if self.mean is not None:
            self.mean.copy_(weights["mean"])
