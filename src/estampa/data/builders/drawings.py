"""Builder `drawings`: simulated hand drawings of five faces, by simulated people, for trying things without a data set.

Each class is a face as people draw it with a pen (angry, happy, poop, sad, surprised; the classes of the emojis
study). Each simulated person has a hand of their own (stroke width, wobble, slant, size of eyes and mouth, framing,
habits such as brows or tears), so a split at random is easier than one by person, as with real drawings. They are NOT
real drawings: figures on them are not comparable with any published ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import InputError, nearest
from estampa.progress import SILENT, Progress

CLASSES = ("angry", "happy", "poop", "sad", "surprised")
SPANISH = ("enojado", "feliz", "popó", "triste", "sorprendido")
OPTIONS = {
    "people": "simulated people (25)",
    "each": "drawings of each class by each person (20)",
    "seed": "seed of everything (0)",
}
SIZE = 32
_CANVAS = 96  # drawn three times larger, then reduced, so that strokes keep their width


@dataclass(frozen=True)
class _Hand:
    """One person's way of drawing; lengths are shares of the face's radius."""

    width: float
    wobble: float
    slant: float
    aspect: float
    eye: float
    eye_gap: float
    eye_kind: int
    mouth: float
    brows: bool
    tear: bool
    teeth: bool
    head: bool


def _hand(random: np.random.Generator) -> _Hand:
    return _Hand(
        width=random.uniform(2.2, 5.5), wobble=random.uniform(0.01, 0.07), slant=random.normal(0, 0.12),
        aspect=random.uniform(0.82, 1.15), eye=random.uniform(0.07, 0.2), eye_gap=random.uniform(0.26, 0.46),
        eye_kind=int(random.integers(3)), mouth=random.uniform(0.3, 0.62), brows=bool(random.random() < 0.7),
        tear=bool(random.random() < 0.5), teeth=bool(random.random() < 0.25), head=bool(random.random() < 0.9),
    )  # fmt: skip


class _Pen:
    """Draws shaky curves given in face units: x right, y down, radius 1 around (0, 0)."""

    def __init__(self, hand: _Hand, random: np.random.Generator) -> None:
        self.picture = Image.new("L", (_CANVAS, _CANVAS), 0)
        self.draw = ImageDraw.Draw(self.picture)
        self.hand, self.random = hand, random
        self.radius = _CANVAS * random.uniform(0.36, 0.45)
        self.middle = _CANVAS / 2 + random.normal(0, 1.5, 2)
        self.turn = random.normal(hand.slant, 0.06)

    def curve(self, x: np.ndarray, y: np.ndarray, fill: bool = False) -> None:
        """Draw a curve through the points (x, y), each of shape (k,); closed and inked when `fill`."""
        steps = np.linspace(0, 2 * math.pi, len(x))
        shake = self.hand.wobble * self.random.uniform(0.5, 1.5)
        phase = self.random.uniform(0, 2 * math.pi, 4)
        x = x * self.hand.aspect + shake * (np.sin(2 * steps + phase[0]) + 0.5 * np.sin(5 * steps + phase[1]))
        y = y + shake * (np.sin(3 * steps + phase[2]) + 0.5 * np.sin(4 * steps + phase[3]))
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        columns = self.middle[0] + self.radius * (cosine * x - sine * y)
        rows = self.middle[1] + self.radius * (sine * x + cosine * y)
        points = list(zip(columns.tolist(), rows.tolist(), strict=True))
        if fill:
            self.draw.polygon(points, fill=255)
        else:
            self.draw.line(points, fill=255, width=max(2, round(self.hand.width)), joint="curve")

    def arc(
        self, centre: tuple[float, float], size: tuple[float, float], span: tuple[float, float], **how: bool
    ) -> None:
        """Draw part of an ellipse; `span` in radians, 0 to the right, clockwise as y points down."""
        angle = np.linspace(*span, 40)
        self.curve(centre[0] + size[0] * np.cos(angle), centre[1] + size[1] * np.sin(angle), **how)

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a straight stroke."""
        along = np.linspace(0, 1, 12)
        self.curve(start[0] + (end[0] - start[0]) * along, start[1] + (end[1] - start[1]) * along)


def _eyes(pen: _Pen, height: float, size: float) -> None:
    for side in (-1, 1):
        centre = (side * pen.hand.eye_gap, height)
        if pen.hand.eye_kind == 0:
            pen.arc(centre, (size, size), (0, 2 * math.pi), fill=True)
        elif pen.hand.eye_kind == 1:
            pen.arc(centre, (size * 1.4, size * 1.4), (0, 2 * math.pi))
        else:
            pen.stroke((centre[0], height - size * 1.3), (centre[0], height + size * 1.3))


def _brows(pen: _Pen, inner: float, outer: float) -> None:
    gap = pen.hand.eye_gap
    for side in (-1, 1):
        pen.stroke((side * (gap - 0.18), inner), (side * (gap + 0.2), outer))


def _poop(pen: _Pen) -> None:
    for bottom, wide in ((0.75, 0.9), (0.25, 0.65), (-0.2, 0.38)):
        pen.arc((0, bottom - 0.12), (wide, 0.3), (math.pi * 0.9, math.pi * 2.1))
        pen.arc((0, bottom - 0.12), (wide, 0.3), (-0.3, math.pi + 0.3))
    pen.curve(np.array([-0.15, 0.0, 0.15, 0.1, 0.02]), np.array([-0.5, -0.75, -0.85, -0.98, -0.9]))
    _eyes(pen, 0.02, pen.hand.eye * 0.9)
    pen.arc((0, 0.42), (pen.hand.mouth * 0.8, 0.2), (0.15, math.pi - 0.15))


def draw(kind: str, hand: _Hand, random: np.random.Generator) -> np.ndarray:
    """Draw one face of class `kind` as uint8 (32, 32, 1): 1 = ink, 0 = paper."""
    pen = _Pen(hand, random)
    size = hand.eye * random.uniform(0.8, 1.25)
    mouth = hand.mouth * random.uniform(0.85, 1.15)
    if kind == "poop":
        _poop(pen)
    else:
        if hand.head:
            pen.arc((0, 0), (1, 1), (-math.pi / 2, 1.5 * math.pi + random.normal(0, 0.08)))
        _eyes(pen, -0.25, size * (1.5 if kind == "surprised" else 1.0))
    if kind == "happy":
        pen.arc((0, 0.15), (mouth, 0.45), (0.1, math.pi - 0.1))
        if hand.teeth:
            pen.stroke((-mouth, 0.2), (mouth, 0.2))
    elif kind in ("sad", "angry"):
        pen.arc((0, 0.65), (mouth, 0.32), (math.pi + 0.15, 2 * math.pi - 0.15))
        if kind == "angry":
            _brows(pen, -0.45, -0.68)
        elif hand.brows:
            _brows(pen, -0.68, -0.5)
        if kind == "sad" and hand.tear:
            pen.arc((hand.eye_gap, 0.12), (0.07, 0.14), (0, 2 * math.pi))
    elif kind == "surprised":
        pen.arc((0, 0.45), (mouth * 0.5, 0.28), (0, 2 * math.pi))
        if hand.brows:
            _brows(pen, -0.75, -0.72)
    small = np.asarray(pen.picture.resize((SIZE, SIZE), Image.Resampling.BOX))
    return (small > 90).astype(np.uint8)[..., None]


def _numbers(options: Mapping[str, str]) -> tuple[int, int, int]:
    """People, drawings each, seed; raises InputError for an unknown option or a value that is no count."""
    chosen = {"people": 25, "each": 20, "seed": 0}
    for key, text in options.items():
        if key not in chosen:
            allowed = ", ".join(OPTIONS)
            raise InputError(f"unknown option {key!r}", where="drawings", allowed=allowed, cure=nearest(key, OPTIONS))
        if not str(text).isdigit() or (key != "seed" and not 1 <= int(text) <= 10_000):
            raise InputError(f"option {key!r} is not a count", where="drawings", allowed="1 to 10,000", got=text)
        chosen[key] = int(text)
    return chosen["people"], chosen["each"], chosen["seed"]


def _fingerprint(options: Mapping[str, str]) -> str:
    people, each, seed = _numbers(options)
    return f"drawings people={people} each={each} seed={seed} version=1"


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` is what `build` with these options would write."""
    return dataset.fingerprint == _fingerprint(options)


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Draw the set into the Dataset file `output`; groups are the people. See OPTIONS."""
    people, each, seed = _numbers(options)
    names = [(p, c, k) for p in range(people) for c in range(len(CLASSES)) for k in range(each)]
    header = Header(
        n=len(names), shape=(SIZE, SIZE, 1), dtype="uint8", task="classification", classes=CLASSES,
        display={"es": SPANISH}, channels=("ink",), units="1 = ink, 0 = paper", pixel_scale=None,
        origin={"builder": "drawings", "simulated": True, "people": people, "each": each, "seed": seed},
        release="", licence="CC0-1.0 (simulated)", read=ReadRecord(source="drawings"), symmetry="hflip",
    )  # fmt: skip
    writer = DatasetWriter(
        output, header,
        ids=np.array([f"p{p:03d}_{CLASSES[c]}_{k:03d}" for p, c, k in names]),
        labels=np.array([c for _, c, _ in names], np.int32),
        groups=np.array([f"p{p:03d}" for p, _, _ in names]),
        fingerprint=_fingerprint(options),
    )  # fmt: skip
    block = len(CLASSES) * each
    progress.start("drawing", len(names), "drawings")
    for person in range(people):
        if (person + 1) * block <= writer.done:
            continue
        random = np.random.default_rng([seed, person])  # a person's own stream: a resumed build draws the same
        hand = _hand(random)
        writer.write(person * block, np.stack([draw(c, hand, random) for c in CLASSES for _ in range(each)]), {})
        progress.advance(block)
    progress.finish()
    return writer.finish()
