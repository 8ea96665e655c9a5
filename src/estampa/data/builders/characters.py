"""Builder `characters`: drawn heads of five cartoon sisters who look alike, in colour, to try transfer learning on.

All five share face, eyes and the range of hair colours. What tells them apart is small, as among real cartoon sisters:
the fringe and the length of the hair always, an ornament (ribbon, headphones, star, glasses, beret) in about four of
five pictures, so that a model may lean on the ornament as on a shortcut. Background, pose, expression, lighting and
crop vary. They are NOT drawings by people: figures on them are not comparable with any published ones.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from estampa.data.dataset import Dataset
from estampa.data.read import write_reading
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._rows import RowsReading
from estampa.errors import InputError, StorageError, nearest
from estampa.progress import SILENT, Progress

CLASSES = ("alba", "bruna", "celia", "dora", "elsa")
OPTIONS = {
    "each": "pictures of each sister (120)",
    "size": "pixels of a side in the Dataset, 32 to 512 (128)",
    "folder": "also write them as JPEG files of mixed sizes here, a folder per class",
    "seed": "seed of everything (0)",
}
VERSION = 1
WORN = 0.8  #: share of pictures in which a sister wears her ornament
_CANVAS = 320  # drawn larger, then reduced, so that edges are smooth
_BLOCK = 32

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class _Sister:
    """What is always hers: fringe, hair length in radii of the face, and the ornament that she mostly wears."""

    fringe: str
    length: float
    ornament: str


_SISTERS = (
    _Sister("straight", 1.0, "ribbon"),
    _Sister("parted", 0.5, "headphones"),
    _Sister("left", 1.3, "star"),
    _Sister("right", 0.75, "glasses"),
    _Sister("arched", 1.15, "beret"),
)


def _tint(
    random: np.random.Generator, hue: tuple[float, float], s: tuple[float, float], v: tuple[float, float]
) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(random.uniform(*hue) % 1, random.uniform(*s), random.uniform(*v))
    return round(255 * red), round(255 * green), round(255 * blue)


class _Head:
    """One picture being drawn, in units of the face: x right, y down, radius 1 around the face's middle."""

    def __init__(self, random: np.random.Generator) -> None:
        self.random = random
        self.picture = Image.new("RGB", (_CANVAS, _CANVAS), _tint(random, (0, 1), (0.05, 0.5), (0.45, 1.0)))
        self.pen = ImageDraw.Draw(self.picture)
        self.radius = _CANVAS * random.uniform(0.2, 0.27)
        self.middle = _CANVAS * (0.5 + random.normal(0, 0.04, 2)) - np.array([0, 0.06 * _CANVAS])
        self.turn, self.wide = random.normal(0, 0.14), random.uniform(0.86, 0.98)
        self.hair = _tint(random, (-0.06, 0.09), (0.35, 0.8), (0.45, 0.95))
        self.skin = _tint(random, (0.05, 0.09), (0.12, 0.35), (0.85, 1.0))
        self.line: Colour = (self.hair[0] // 3, self.hair[1] // 3, self.hair[2] // 3)
        self.worn = _tint(random, (0, 1), (0.5, 1.0), (0.4, 0.95))

    def place(self, points: NDArray[np.float64]) -> Points:
        """Points (k, 2) of the face's units as pixels."""
        cosine, sine = math.cos(self.turn), math.sin(self.turn)
        turned = points * [self.wide, 1.0] @ np.array([[cosine, sine], [-sine, cosine]])
        return [tuple(p) for p in (self.middle + self.radius * turned).tolist()]

    def fill(self, points: list[tuple[float, float]] | NDArray[np.float64], colour: Colour) -> None:
        """A closed shape with a dark outline."""
        placed = self.place(np.asarray(points, dtype=np.float64))
        self.pen.polygon(placed, fill=colour)
        self.pen.line([*placed, placed[0]], fill=self.line, width=3, joint="curve")

    def stroke(self, points: list[tuple[float, float]] | NDArray[np.float64], colour: Colour, width: int) -> None:
        """An open line."""
        self.pen.line(self.place(np.asarray(points, dtype=np.float64)), fill=colour, width=width, joint="curve")

    def round(self, x: float, y: float, a: float, b: float, colour: Colour) -> None:
        """An ellipse around (x, y) with half axes a, b."""
        self.fill(ellipse(x, y, a, b), colour)


def ellipse(
    x: float, y: float, a: float, b: float, span: tuple[float, float] = (0.0, 2 * math.pi)
) -> NDArray[np.float64]:
    """Points (40, 2) of an arc around (x, y) with half axes a, b; `span` in radians, clockwise as y points down."""
    angle = np.linspace(*span, 40)
    return np.stack([x + a * np.cos(angle), y + b * np.sin(angle)], 1)


def _background(head: _Head) -> None:
    """Patches of any colour, which say nothing of who is drawn."""
    for _ in range(int(head.random.integers(0, 7))):
        x, y = head.random.uniform(0, _CANVAS, 2)
        a, b = head.random.uniform(10, 110, 2)
        colour = _tint(head.random, (0, 1), (0.05, 0.7), (0.3, 1.0))
        shape = head.pen.ellipse if head.random.random() < 0.5 else head.pen.rectangle
        shape((x - a, y - b, x + a, y + b), colour)


def _hair_behind(head: _Head, length: float) -> None:
    long = length + head.random.normal(0, 0.08)
    top = ellipse(0, -0.15, 1.18, 1.15, (math.pi, 2 * math.pi))
    head.fill(
        np.concatenate([top, [(1.22, long), (0.75, long + 0.12), (-0.75, long + 0.12), (-1.22, long)]]), head.hair
    )


def _face(head: _Head) -> None:
    head.fill([(-0.35, 0.8), (0.35, 0.8), (0.4, 1.25), (-0.4, 1.25)], head.skin)
    clothes = _tint(head.random, (0, 1), (0.1, 0.8), (0.2, 0.95))
    head.fill([(-0.45, 1.15), (0.45, 1.15), (1.5, 1.6), (1.6, 4), (-1.6, 4), (-1.5, 1.6)], clothes)
    jaw = ellipse(0, 0.05, 0.92, 0.95)
    jaw[:, 1] += 0.12 * (jaw[:, 1] > 0.4)
    head.fill(jaw, head.skin)
    iris = _tint(head.random, (0, 1), (0.4, 0.9), (0.35, 0.8))
    tall, look = head.random.uniform(0.15, 0.27), head.random.normal(0, 0.03)
    for side in (-1, 1):
        if head.random.random() < 0.06:  # a wink
            head.stroke(ellipse(side * 0.4, 0.15, 0.18, 0.08, (0, math.pi)), head.line, 4)
            continue
        head.round(side * 0.4, 0.12, 0.19, tall, (255, 255, 255))
        head.round(side * 0.4 + look, 0.14, 0.11, tall * 0.72, iris)
        head.round(side * 0.4 + look - 0.03, 0.06, 0.03, 0.04, (255, 255, 255))
        brow = head.random.normal(0, 0.04)
        head.stroke([(side * 0.22, -0.24 + brow), (side * 0.58, -0.27 - brow)], head.line, 4)
    head.stroke([(0, 0.32), (0.03, 0.4)], head.line, 3)
    smile, open_ = head.random.uniform(-0.08, 0.14), head.random.random() < 0.3
    if open_:
        head.round(0, 0.66, 0.16, 0.1 + abs(smile), (150, 60, 70))
    else:
        head.stroke(ellipse(0, 0.64, 0.2, smile, (0, math.pi)), head.line, 4)


def _fringe(head: _Head, kind: str) -> None:
    """The locks over the forehead: by these and by the hair's length each sister can always be told."""
    low = -0.28 + head.random.normal(0, 0.04)
    cap = ellipse(0, -0.1, 1.02, 1.08, (math.pi, 2 * math.pi))
    edges: dict[str, Points] = {
        "straight": [(1.0, low), (0.6, low + 0.05), (0.2, low), (-0.2, low + 0.05), (-0.6, low), (-1.0, low + 0.05)],
        "parted": [(1.0, 0.2), (0.75, low + 0.1), (0.0, -0.85), (-0.75, low + 0.1), (-1.0, 0.2)],
        "left": [(1.0, 0.15), (0.85, -0.3), (0.55, -0.82), (-0.3, low + 0.05), (-1.0, 0.1)],
        "right": [(1.0, 0.1), (0.3, low + 0.05), (-0.55, -0.82), (-0.85, -0.3), (-1.0, 0.15)],
        "arched": [(1.0, 0.1), (0.8, low), (0.4, -0.55), (0.0, -0.62), (-0.4, -0.55), (-0.8, low), (-1.0, 0.1)],
    }
    head.fill(np.concatenate([cap, edges[kind]]), head.hair)


def _ribbon(head: _Head) -> None:
    for side in (-1, 1):
        head.fill([(0.75, -0.9), (0.75 + side * 0.42, -1.15), (0.75 + side * 0.42, -0.65)], head.worn)
    head.round(0.75, -0.9, 0.1, 0.1, head.worn)


def _headphones(head: _Head) -> None:
    head.stroke(ellipse(0, -0.1, 1.18, 1.2, (math.pi, 2 * math.pi)), head.worn, 9)
    for side in (-1, 1):
        head.round(side * 1.12, 0.08, 0.18, 0.3, head.worn)


def _star(head: _Head) -> None:
    angle = np.arange(10) * math.pi / 5 - math.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, 0.26, 0.11)
    head.fill(np.stack([-0.72 + reach * np.cos(angle), -0.72 + reach * np.sin(angle)], 1), head.worn)


def _glasses(head: _Head) -> None:
    for side in (-1, 1):
        rim = ellipse(side * 0.42, 0.14, 0.3, 0.28)
        head.stroke(np.concatenate([rim, rim[:1]]), head.worn, 6)
    head.stroke([(-0.12, 0.1), (0.12, 0.1)], head.worn, 6)


def _beret(head: _Head) -> None:
    head.round(-0.15, -1.05, 0.85, 0.34, head.worn)
    head.stroke([(-0.15, -1.38), (-0.1, -1.5)], head.worn, 6)


_ORNAMENTS: dict[str, Callable[[_Head], None]] = {
    "ribbon": _ribbon, "headphones": _headphones, "star": _star, "glasses": _glasses, "beret": _beret,
}  # fmt: skip


def draw(sister: int, random: np.random.Generator) -> Image.Image:
    """Draw one head of class number `sister`: an RGB picture of a size and shape of its own, 90 to 230 pixels high."""
    head, who = _Head(random), _SISTERS[sister]
    _background(head)
    _hair_behind(head, who.length)
    _face(head)
    _fringe(head, who.fringe)
    if random.random() < WORN:
        _ORNAMENTS[who.ornament](head)
    left, top = random.uniform(0, 0.1, 2) * _CANVAS
    right, bottom = _CANVAS - random.uniform(0, 0.1, 2) * _CANVAS
    picture = head.picture.crop((round(left), round(top), round(right), round(bottom)))
    height = int(random.integers(90, 231))
    size = (round(height * random.uniform(0.75, 1.1)), height)
    picture = picture.resize(size, Image.Resampling.LANCZOS)
    if random.random() < 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(random.uniform(0.3, 1.5)))
    light, noise = random.uniform(0.75, 1.15), random.normal(0, random.uniform(1, 7), (*size[::-1], 3))
    return Image.fromarray(np.clip(np.asarray(picture) * light + noise, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class _Asked:
    each: int = 120
    size: int = 128
    folder: str = ""
    seed: int = 0

    @property
    def n(self) -> int:
        return self.each * len(CLASSES)

    def picture(self, row: int) -> Image.Image:
        """The picture of a row, whichever others are drawn; rows go round the classes."""
        return draw(row % len(CLASSES), np.random.default_rng([self.seed, row]))

    def name(self, row: int) -> str:
        """The row's id: class and number, the name of its file in `folder`."""
        return f"{CLASSES[row % len(CLASSES)]}/{row // len(CLASSES):05d}.jpg"

    def origin(self) -> dict[str, object]:
        """What the Dataset says of where it came from."""
        return {
            "builder": "characters", "simulated": True, "each": self.each, "size": self.size, "seed": self.seed,
            "version": VERSION,
        }  # fmt: skip


def _understood(options: Mapping[str, str]) -> _Asked:
    """The options; raises InputError for an unknown one or a value out of range."""
    limits = {"each": (1, 100_000), "size": (32, 512), "seed": (0, 2**32 - 1)}
    chosen: dict[str, int | str] = {}
    for key, text in options.items():
        if key == "folder":
            chosen[key] = str(text)
        elif key not in limits:
            allowed = ", ".join(OPTIONS)
            raise InputError(f"unknown option {key!r}", where="characters", allowed=allowed, cure=nearest(key, OPTIONS))
        else:
            low, high = limits[key]
            if not str(text).isdigit() or not low <= int(text) <= high:
                raise InputError(
                    f"option {key!r} is out of range", where="characters", allowed=f"{low} to {high:,}", got=text
                )
            chosen[key] = int(text)
    return _Asked(**chosen)  # type: ignore[arg-type]


def is_built(dataset: Dataset, options: Mapping[str, str]) -> bool:
    """Whether `dataset` is what `build` with these options would write."""
    asked = _understood(options)
    return not asked.folder and dict(dataset.header.origin) == asked.origin()


def build(output: Path, options: Mapping[str, str], progress: Progress = SILENT) -> Dataset:
    """Draw the set into the Dataset file `output`, each picture stretched to a square. See OPTIONS.

    Raises InputError for an option, StorageError where `folder` holds files already or cannot be written.
    """
    asked = _understood(options)
    if asked.folder:
        _write_files(asked, Path(asked.folder), progress)

    def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        side = (asked.size, asked.size)
        drawn = [asked.picture(row).resize(side, Image.Resampling.LANCZOS) for row in range(start, stop)]
        return np.stack([np.asarray(picture) for picture in drawn]), {}

    header = Header(
        n=asked.n, shape=(asked.size, asked.size, 3), dtype="uint8", task="classification", classes=CLASSES,
        channels=("red", "green", "blue"), origin=asked.origin(), licence="CC0-1.0 (simulated)",
        read=ReadRecord(source="characters", mode="RGB"),
    )  # fmt: skip
    reading = RowsReading(
        header=header, ids=np.array([asked.name(row) for row in range(asked.n)]),
        labels=np.arange(asked.n) % len(CLASSES), fingerprint=f"characters {VERSION}", fetch=fetch,
    )  # fmt: skip
    return write_reading(reading, output, progress)


def _write_files(asked: _Asked, folder: Path, progress: Progress) -> None:
    """The pictures as JPEG files of their own sizes, a folder per class."""
    if folder.exists() and any(folder.iterdir()):
        raise StorageError("is not empty", where=folder, cure="Name a new folder with --option folder=.")
    progress.start("writing pictures", asked.n, "pictures")
    try:
        for name in CLASSES:
            (folder / name).mkdir(parents=True, exist_ok=True)
        for row in range(asked.n):
            asked.picture(row).save(folder / asked.name(row), quality=90)
            progress.advance()
    except OSError as error:
        raise StorageError("cannot be written", where=folder, got=str(error)) from error
    progress.finish()
