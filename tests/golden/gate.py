"""The gate: a tiny training, its figures, and the bands that they must stay in (golden.toml)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from estampa import measure
from estampa.bundle.export import bundle_from
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.evaluate.evidence import views
from estampa.evaluate.settle import settle
from estampa.recipe import parse
from estampa.train.fit import fit_net
from estampa.train.fitted import Fitted

CLASSES = ("point", "dipole", "streak")
SIDE, OBJECTS = 16, 1000
RECIPE = {
    "name": "golden",
    "prepare": {"scale": "standard", "symmetry": "d4", "views": "symmetry", "balance": "none"},
    "model": {"name": "picturenet", "filters": [8, 16], "depth": [1, 0], "grid": 2},
    "train": {
        "epochs": 8, "batch": 64, "optimizer": "adam", "rate": 0.01, "schedule": "onecycle", "seed": 7, "threads": 1,
        "dtype": "float32", "memory_format": "channels_last", "device": "cpu",
    },
}  # fmt: skip


def stamps(path: Path) -> Dataset:
    """1,000 stamps of 16 x 16 x 2 (science, difference) in noise: stars, dipoles and streaks, 5 : 3 : 2.

    The classes hold under every turn and mirror, and the two channels differ, so that each can be mixed up.
    """
    rng = np.random.default_rng(20261122)
    labels = rng.choice(3, OBJECTS, p=(0.5, 0.3, 0.2))
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    images = rng.normal(0, 1, (OBJECTS, SIDE, SIDE, 2))
    for i, label in enumerate(labels):
        angle, bright = rng.uniform(0, 2 * np.pi), rng.uniform(2.0, 5.0)
        up, along = np.sin(angle), np.cos(angle)
        row, column = y - rng.uniform(-2, 2), x - rng.uniform(-2, 2)
        star = np.exp(-(row**2 + column**2) / 5)
        if label == 0:
            pair = star, star
        elif label == 1:
            pair = star, np.roll(star, (round(2 * up), round(2 * along)), (0, 1)) - star
        else:
            line = np.exp(-((row * along - column * up) ** 2) / 2)
            pair = line, line
        images[i] += bright * np.stack(pair, 2)
    header = Header(
        n=OBJECTS, shape=(SIDE, SIDE, 2), dtype="float32", task="classification", classes=CLASSES,
        channels=("science", "difference"), read=ReadRecord(source="arrays"),
    )  # fmt: skip
    split = np.repeat([1, 2, 3], [500, 150, 350]).astype(np.uint8)
    ids = np.array([f"stamp {i}" for i in range(OBJECTS)])
    writer = DatasetWriter(path, header, ids=ids, labels=labels, split=split, fingerprint="golden")
    writer.write(0, images.astype(np.float32), {})
    return writer.finish()


@dataclass
class Trainings:
    """The tiny training, and two beginnings of it: with the same seed and with another."""

    whole: Fitted
    first: Fitted
    again: Fitted
    other: Fitted


def train(dataset: Dataset) -> Trainings:
    """Train, find the temperature, and begin three times more."""
    whole = trained(dataset, {})
    settle(whole, dataset, dataset.rows("validation"))
    short = {"train.epochs": 1}
    return Trainings(whole, *(trained(dataset, {**short, "train.seed": seed}) for seed in (7, 7, 8)))


def trained(dataset: Dataset, changes: dict[str, Any]) -> Fitted:
    """One training of the golden recipe with dotted keys changed."""
    recipe = parse(RECIPE, "golden").with_values(changes)
    return fit_net(
        dataset, recipe, train_rows=dataset.rows("train"), validation_rows=dataset.rows("validation")
    )  # fmt: skip


def figures(made: Trainings, dataset: Dataset, folder: Path) -> dict[str, float]:
    """Everything that golden.toml has a band for: metrics and properties of the bundle as it is shipped."""
    fitted, rows = made.whole, {part: dataset.rows(part) for part in ("train", "validation", "test")}
    bundle = bundle_from(fitted, dataset, rows, {}, folder, gallery=False)
    images = dataset.take(rows["test"])
    torch_output, output = fitted.predict(images), bundle.score(images).output
    truth, said = named(dataset, rows["test"], bundle, output)
    found = {name: measure.score(name, truth, said) for name in ("accuracy", "balanced_accuracy", "log_loss", "ece")}
    few = images[:40]
    alone = np.concatenate([fitted.predict(few[i : i + 1]) for i in range(len(few))])
    turned = [bundle.score(np.ascontiguousarray(v)).output for v, _ in views(few, "d4")]
    return found | {
        "repeat": apart(weights(made.first), weights(made.again)),
        "seed": apart(weights(made.first), weights(made.other)),
        "symmetry": max(apart(output[:40], v) for v in turned),
        "alone": apart(alone, torch_output[:40]),
        "parity": apart(output, torch_output),
        "parameters": float(fitted.parameters),
    }


def named(dataset: Dataset, rows: np.ndarray, bundle: Bundle, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probabilities by the names of the classes: columns in the Dataset's order, as a reader joins them."""
    order = [bundle.classes.index(name) for name in dataset.classes]
    return np.asarray(dataset.labels)[rows], output[:, order]


def weights(fitted: Fitted) -> np.ndarray:
    """Every number of the network, running means included."""
    return np.concatenate([v.numpy(force=True).ravel() for v in fitted.network.state_dict().values()])


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest absolute difference."""
    return float(np.abs(np.asarray(a, np.float64) - b).max())


def bands() -> dict[str, dict[str, Any]]:
    """The bands of golden.toml."""
    return tomllib.loads((Path(__file__).parent / "golden.toml").read_text(encoding="utf-8"))


def outside(found: dict[str, float]) -> dict[str, str]:
    """The figures that left their band: name -> "value, not in low .. high"."""
    return {
        name: f"{found[name]:.4g}, not in {band['low']:g} .. {band['high']:g}"
        for name, band in bands().items()
        if not band["low"] <= found[name] <= band["high"]
    }
