"""Bundles for the tests of pages: pictures, drawings, a set of many channels, a table, a regression."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import made_bundles
import made_tables
from estampa.bundle.store import Bundle, write
from estampa.data.record import ReadRecord

SIDE = 16
DISPLAY = {"es": ("vacía", "llena")}


def faces(n: int = 64) -> np.ndarray:
    """Drawings (n, 16, 16, 1) of 0 = paper and 1 = ink: a ring each, thicker in the second class."""
    y, x = np.mgrid[:SIDE, :SIDE] - 7.5
    away = np.hypot(x, y)
    wide = np.where(np.arange(n) % 2, 1.6, 0.6)[:, None, None]
    return (np.abs(away - 4.5) < wide).astype(np.uint8)[..., None]


def drawings(folder: Path) -> Bundle:
    """A set of drawings of two classes, with names in Spanish and a threshold of confidence."""
    content = made_bundles.content_of(
        (SIDE, SIDE, 1), classes=("empty", "full"), seen=faces(), channels=("ink",), thresholds={"confidence": 0.55}
    )
    return write(folder, replace(content, manifest={**content.manifest, "display": DISPLAY}))


def colours(folder: Path, **more: Any) -> Bundle:
    """A set of colour pictures, read from folders and brought to one size."""
    shape = (12, 12, 3)
    read = ReadRecord(source="folder", mode="RGB", size=(12, 12))
    classes = ("dark", "dim_light", "light")
    return made_bundles.make(
        folder, shape=shape, classes=classes, channels=("r", "g", "b"), read=read,
        seen=made_bundles.pictures(64, shape), **more,
    )  # fmt: skip


def stamps(folder: Path) -> Bundle:
    """Float stamps of two channels, with a threshold of decision."""
    shape = (9, 9, 2)
    return made_bundles.make(
        folder, shape=shape, dtype="float32", classes=("artifact", "real"), channels=("science", "difference"),
        thresholds={"decision": 0.6}, seen=made_bundles.pictures(64, shape, "float32"),
    )  # fmt: skip


def values(folder: Path) -> Bundle:
    """A regression of grey pictures."""
    return made_bundles.make(
        folder, shape=(8, 8, 1), classes=(), task="regression", seen=made_bundles.pictures(64, (8, 8, 1))
    )


def table(folder: Path) -> Bundle:
    """A table of six columns."""
    return made_tables.make(folder, n=200)


def ink(pixels: np.ndarray) -> str:
    """A drawing (h, w) of 0 and 1 as the page's script sends it."""
    return base64.b64encode((255 * pixels).astype(np.uint8).tobytes()).decode()
