"""What a training run leaves in memory: the network, how it came to be, and its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from estampa.models._network import LayerRow, Network, at_once
from estampa.prepare.image import ImagePreparation
from estampa.recipe import Recipe

Array = NDArray[Any]
#: Pictures times views that go through the net at once when it answers.
ANSWER_BATCH = 512


class ImageSet(Protocol):
    """What training needs of a Dataset; an `ArraySet` has it too."""

    @property
    def n(self) -> int:
        """Rows."""

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Height, width, channels."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Stored type of the pixels."""

    @property
    def task(self) -> str:
        """Classification, regression or unlabelled."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the class numbers."""

    @property
    def labels(self) -> Array:
        """Class numbers (n,), -1 = unlabelled, or float targets (n,), NaN = unlabelled."""

    @property
    def content_sha256(self) -> str:
        """What the pixels and labels are, as one hash."""

    def blocks(self, rows: Array | None = None, size: int | None = None) -> Iterator[tuple[Array, Array]]:
        """(rows, copy of their images) block by block, in order."""


@dataclass
class Fitted:
    """A trained network with its whole recipe and history.

    `history` has a row an epoch: epoch (from 1), seconds, rate, train_loss, train_<metric>, validation_loss,
    validation_<metric>; the validation keys are missing without a validation part. `kept_epoch` is the epoch whose
    weights `network` holds. `stopped` says why training ended. `parameters` counts trainable ones.
    """

    network: Network
    recipe: Recipe
    history: list[dict[str, float]]
    kept_epoch: int
    decisions: list[str]
    seconds: float
    stopped: str
    preparation: ImagePreparation
    parameters: int
    layers: list[LayerRow] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    #: images to (logits before temperature, embedding) of the graph in int8, where that is what will be shipped
    rounded: Callable[[Array], tuple[Array, Array]] | None = None

    def predict(self, data: ImageSet | Array, rows: Array | None = None) -> NDArray[np.float32]:
        """Answers for a Dataset, or for stored images (n, height, width, channels), in the order of `rows`.

        Returns probabilities (n, classes), or values (n,) for regression, float32.
        """
        return np.concatenate([part["output"] for part in self.answers(data, rows)] or [self._nothing()])

    def answers(self, data: ImageSet | Array, rows: Array | None = None) -> Iterator[dict[str, NDArray[np.float32]]]:
        """The same block by block, with every tensor that the network gives: output, logits, embedding."""
        blocks = _array_blocks(data, rows) if isinstance(data, np.ndarray) else (b for _, b in data.blocks(rows))
        device = next(self.network.buffers()).device
        self.network.eval()
        size = at_once(self.network.body, ANSWER_BATCH)
        with torch.inference_mode():
            for block in blocks:
                for start in range(0, len(block), size):
                    images = torch.from_numpy(np.ascontiguousarray(block[start : start + size])).to(device)
                    found = self.network(images) if self.rounded is None else self._by_rounded(images)
                    yield {k: t.cpu().numpy() for k, t in zip(self.network.output_names, found, strict=True)}

    def _by_rounded(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        assert self.rounded is not None
        logits, embedding = (torch.from_numpy(found) for found in self.rounded(images.numpy()))
        logits = logits / self.network.temperature
        return self.network.finish(logits), logits, embedding

    @property
    def task(self) -> str:
        """Classification or regression."""
        return self.network.task

    @property
    def sigmoid(self) -> bool:
        """Each output is a class's own probability; they are divided by their sum."""
        return self.network.body.output_kind == "sigmoid"

    @property
    def temperature(self) -> float:
        """Of the logits, in the graph."""
        return float(self.network.temperature)

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.network.temperature.fill_(value)

    def logits(self, data: ImageSet | Array, rows: Array | None = None) -> NDArray[np.float32]:
        """(n, classes) before the temperature."""
        found = [part["logits"] for part in self.answers(data, rows)]
        joined = np.concatenate(found) if found else self._nothing()
        return joined * np.float32(self.temperature)

    def probabilities(self, logits: Array) -> NDArray[np.float32]:
        """(n, classes) from logits (n, classes), as the network finishes them."""
        tensor = torch.from_numpy(np.ascontiguousarray(logits, dtype=np.float32))
        return np.asarray(self.network.finish(tensor).numpy(), np.float32)

    def unseen(self, data: ImageSet, rows: Array) -> tuple[Array, Array, str]:
        """Logits of the validation part, `rows`; see `calibrate.Tempered`."""
        return self.logits(data, rows), rows, "validation objects"

    @property
    def exchange(self) -> NDArray[np.int64] | None:
        """(classes,) the class that each becomes in the mirror; None where a mirror exchanges none."""
        return np.asarray(self.network.exchange.cpu().numpy(), np.int64) if self.network.exchanges else None

    def _nothing(self) -> NDArray[np.float32]:
        shape = (0,) if self.network.task == "regression" else (0, len(self.classes))
        return np.zeros(shape, dtype=np.float32)

    def _repr_html_(self) -> str:
        last = self.history[self.kept_epoch - 1] if self.history else {}
        cells = "".join(f"<tr><th>{k}</th><td>{v:.5g}</td></tr>" for k, v in last.items())
        return (
            f"<p><b>{self.recipe.model.name}</b>, {self.parameters:,} parameters, {self.seconds:.1f} s, "
            f"epoch {self.kept_epoch} of {len(self.history)} kept ({self.stopped})</p><table>{cells}</table>"
        )


def _array_blocks(images: Array, rows: Array | None) -> Iterator[Array]:
    chosen = np.arange(len(images)) if rows is None else np.asarray(rows)
    for start in range(0, len(chosen), 8 * ANSWER_BATCH):
        yield images[chosen[start : start + 8 * ANSWER_BATCH]]
