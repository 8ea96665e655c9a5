"""A tiny net whose reason is known: trained on pictures where a planted patch alone carries the class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

from estampa.bundle.contract import contract_of, measure_range
from estampa.bundle.export import export_network, with_metadata
from estampa.bundle.store import Bundle
from estampa.data.record import Header
from made_bundles import make

SIDE, PATCH = 24, 4
CLASSES = ("red", "green", "none")


def planted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Textured pictures with a small patch at a random place, red (0), green (1), or none (2), so that neither colour
    can be told by the absence of the other: images, labels, (n, 2) top left of the patch.
    """
    draw = np.random.default_rng(seed)
    coarse = draw.uniform(60, 190, (n, 8, 8, 3)).repeat(3, axis=1).repeat(3, axis=2)
    images = (coarse + draw.normal(0, 12, coarse.shape)).clip(0, 255).astype(np.uint8)
    labels, places = draw.integers(0, 3, n), draw.integers(0, SIDE - PATCH + 1, (n, 2))
    for image, label, (y, x) in zip(images, labels, places, strict=True):
        if label < 2:
            image[y : y + PATCH, x : x + PATCH] = ((230, 25, 25), (25, 230, 25))[label]
    return images, labels, places


def trained(images: np.ndarray, labels: np.ndarray, steps: int = 200) -> nn.Module:
    """A tiny convolutional net, seeded."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 12, 5, padding=2), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(12, 3),
    )  # fmt: skip
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5
    y = torch.from_numpy(labels)
    best = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(steps):
        some = torch.arange(64 * step, 64 * step + 64) % len(x)
        best.zero_grad()
        nn.functional.cross_entropy(net(x[some]), y[some]).backward()
        best.step()
    return net.eval()


class Net(nn.Module):
    """Stored pixels (n, h, w, 3) uint8 in, probabilities and logits out."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x = images.to(torch.float32).permute(0, 3, 1, 2) / 255 - 0.5
        embedding = self.inner[:-1](x)  # type: ignore[index]
        logits = self.inner[-1](embedding)  # type: ignore[index]
        return logits.softmax(1), logits, embedding[:, :2] + 0.0  # as wide as the bundles of the tests say


def exported(net: nn.Module, folder: Path, seen: np.ndarray) -> Bundle:
    """The net as a bundle, by the exporter that `estampa train` uses."""
    header = Header(len(seen), seen.shape[1:], "uint8", "classification", CLASSES)
    contract = contract_of(header, measure_range(seen))
    made = export_network(Net(net), contract, ("output", "logits", "embedding"), seen[:32])
    said = {"estampa.format": "1", "estampa.task": "classification", "estampa.classes": json.dumps(list(CLASSES))}
    model = onnx.load_model_from_string(with_metadata(made.onnx, said))
    return make(folder, shape=seen.shape[1:], classes=CLASSES, model=model, seen=seen[:64])
