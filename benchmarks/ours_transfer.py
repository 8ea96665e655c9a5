"""Our side of the transfer race: the head stage on cached features, and scoring from the bundle's graph.

    python -m benchmarks.ours_transfer SET.npz train [--epochs 40] [--aim 0.95] [--seed 0]
    python -m benchmarks.ours_transfer SET.npz score

`train` learns first, untimed, at which epoch the aim is reached, and then trains anew, timed, for so many epochs (the
rate is constant, so they are the same ones). One thread and float32, as the plain side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SMALL, LARGE = 1, 32  #: pictures scored at a time
TURNS = 5


def say(**record: object) -> None:
    print(json.dumps(record), flush=True)


def recipe_of(epochs: int, seed: int) -> Any:
    """`characters-frozen` for pictures of any size, all epochs trained: what the plain side does too."""
    from estampa import recipe

    return recipe.read("characters-frozen").with_values({
        "data": {"task": "classification"}, "train.epochs": epochs, "train.patience": 0, "train.keep": "last",
        "train.seed": seed, "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
        "model.backbone": "tf_efficientnet_lite0",
    })  # fmt: skip


def pictures_of(images: np.ndarray, labels: np.ndarray) -> Any:
    from estampa.train.feed import ArraySet

    return ArraySet(images, labels, "classification", tuple(f"class {k}" for k in range(labels.max() + 1)))


def train(images: np.ndarray, labels: np.ndarray, held: np.ndarray, asked: argparse.Namespace) -> None:
    """Seconds, by the clock and of the processor, from pictures in memory to the validation accuracy aimed at."""
    from estampa.train.fit import fit_net

    pictures = pictures_of(images, labels)
    rows = {"train_rows": np.flatnonzero(~held), "validation_rows": np.flatnonzero(held)}
    reached = [
        row["validation_accuracy"] for row in fit_net(pictures, recipe_of(asked.epochs, asked.seed), **rows).history
    ]
    epoch = next((number for number, accuracy in enumerate(reached, 1) if accuracy >= asked.aim), 0)
    if not epoch:
        say(epoch=0, accuracy=max(reached), seed=asked.seed)
        return
    began, spent = time.perf_counter(), time.process_time()
    fitted = fit_net(pictures, recipe_of(epoch, asked.seed), **rows)
    say(
        epoch=epoch, seconds=time.perf_counter() - began, cpu_seconds=time.process_time() - spent,
        accuracy=fitted.history[-1]["validation_accuracy"], seed=asked.seed,
    )  # fmt: skip


def score(images: np.ndarray, labels: np.ndarray, held: np.ndarray) -> None:
    """Processor milliseconds a picture of torch eager, in two memory orders, and of the bundle's graph, in turn."""
    import torch

    from estampa.bundle.contract import contract_of, measure_range
    from estampa.bundle.export import export_network
    from estampa.bundle.session import Session
    from estampa.data.record import Header, ReadRecord
    from estampa.train.fit import fit_net

    torch.set_num_threads(1)
    pictures, few = pictures_of(images, labels), np.flatnonzero(~held)[:48]
    network = fit_net(pictures, recipe_of(1, 0), train_rows=few).network.eval()
    header = Header(len(few), pictures.shape, "uint8", "classification", pictures.classes, read=ReadRecord("arrays"))
    contract = contract_of(header, measure_range(images[few]), "zero")
    session = Session(export_network(network, contract, network.output_names, images[few]).onnx, contract)

    def eager(batch: np.ndarray, order: torch.memory_format) -> None:
        network.to(memory_format=order)
        with torch.inference_mode():
            network(torch.from_numpy(batch))

    ways: dict[str, Callable[[np.ndarray], object]] = {
        "eager": lambda batch: eager(batch, torch.contiguous_format),
        "eager, channels last": lambda batch: eager(batch, torch.channels_last),
        "bundle": lambda batch: session.score(batch, threads=1),
    }
    for size in (SMALL, LARGE):
        batch = np.ascontiguousarray(images[held][:size])
        repeats = 8 if size == SMALL else 1
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for turn in range(TURNS + 1):
            for way, run in ways.items():
                began = time.process_time()
                for _ in range(repeats):
                    run(batch)
                if turn:  # the first one warms up
                    spent[way].append(1000 * (time.process_time() - began) / repeats / len(batch))
        for way, values in spent.items():
            say(way=way, batch=size, median=statistics.median(values), least=min(values), most=max(values))


def main() -> None:
    words = argparse.ArgumentParser()
    words.add_argument("set", type=Path)
    words.add_argument("what", choices=("train", "score"))
    words.add_argument("--epochs", type=int, default=40)
    words.add_argument("--aim", type=float, default=0.95)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    with np.load(asked.set) as stored:
        images, labels, held = stored["images"], stored["labels"], stored["held"]
    if asked.what == "train":
        train(images, labels, held, asked)
    else:
        score(images, labels, held)


if __name__ == "__main__":
    main()
