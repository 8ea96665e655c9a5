"""What a page is made of. A block holds content only; how it looks is the template's and the stylesheet's business."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from estampa.errors import InputError

NoteKind = Literal["good", "note", "warn", "bad"]
NOTE_WORDS: dict[str, str] = {"good": "Passed", "note": "Note", "warn": "Warning", "bad": "Refused"}


@runtime_checkable
class IntervalLike(Protocol):
    """A value with its interval: `measure.Interval` is one."""

    @property
    def value(self) -> float:
        """The value itself."""

    @property
    def low(self) -> float:
        """Lower end of the interval."""

    @property
    def high(self) -> float:
        """Upper end of the interval."""


@dataclass(frozen=True)
class Text:
    """Prose. Blank lines part paragraphs; nothing in it is markup."""

    text: str

    @property
    def paragraphs(self) -> list[str]:
        """The paragraphs, without blank ones."""
        return [" ".join(p.split()) for p in self.text.split("\n\n") if p.strip()]


@dataclass(frozen=True)
class Headline:
    """The few numbers that matter, large: (label, value, what it is compared with or counted over).

    `value` is text, a number, or anything with value, low and high; `decimals` rules numbers that are not whole.
    """

    items: Sequence[tuple[str, Any, str]]
    decimals: int = 3


@dataclass(frozen=True)
class Figure:
    """A drawing: SVG text, or the bytes of a PNG.

    Parameters
    ----------
    content : SVG text as `page.figure` returns it (recoloured for dark screens when shown), or PNG bytes.
    caption : how to read it, and what to notice.
    alt : what it shows, for who cannot see it.
    """

    content: str | bytes
    caption: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Figures:
    """Small drawings of one kind side by side, as many as the screen has room for, under one caption."""

    items: Sequence[Figure]
    caption: str = ""


@dataclass(frozen=True)
class Picture:
    """One object's pixels with what is known about it.

    Parameters
    ----------
    image : (height, width) or (height, width, channels), any number type; NaN is shown as a colour of its own.
    label : the line below, in bold: a class, or "truth, taken for".
    note : the quiet line below that: an id, a probability.
    kind : "" or "good", "warn", "bad": marks the frame; the label says in words why.
    beside : more pictures of the same object, shown after it as they are: (name, (h, w, 3) uint8).
    """

    image: np.ndarray
    label: str = ""
    note: str = ""
    kind: str = ""
    beside: Sequence[tuple[str, np.ndarray]] = ()


@dataclass(frozen=True)
class Pictures:
    """A grid of pictures, enlarged without blur; several channels stand side by side under their names.

    Parameters
    ----------
    items : the pictures.
    caption : what they are. How the values were stretched is added to it.
    columns : pictures per row on a wide screen; None fills the row.
    channels : channel names, in order. Three named R, G, B (or red, green, blue) are shown as one colour picture.
    stretch : "auto", "stored" (8-bit values as they are), "percentile" or "asinh"; see `page.picture`.
    pixel_scale : size of a pixel in `scale_unit`, for a scale bar; None = not known, no bar.
    paired : each two pictures belong together and stand closer.
    side : larger pictures are reduced to so many pixels and written as JPEG (lossy), for pages with hundreds of them;
        None = up to 256 pixels, without loss.
    heads : lines above the rows of `columns` pictures, one a row; empty = none.
    """

    items: Sequence[Picture]
    caption: str = ""
    columns: int | None = None
    channels: Sequence[str] = ()
    stretch: str = "auto"
    pixel_scale: float | None = None
    scale_unit: str = "″"
    paired: bool = False
    side: int | None = None
    heads: Sequence[str] = ()


@dataclass(frozen=True)
class Facts:
    """Names and values in two columns. A value that is a sequence is shown as lines, a mapping as `key value` lines."""

    items: Mapping[str, Any]


@dataclass(frozen=True)
class Note:
    """A short remark that stands out, by a word as well as by colour."""

    kind: NoteKind
    text: str

    def __post_init__(self) -> None:
        if self.kind not in NOTE_WORDS:
            raise InputError(f"unknown kind {self.kind!r}", where="Note", allowed=", ".join(NOTE_WORDS))

    @property
    def word(self) -> str:
        """The word that says the kind."""
        return NOTE_WORDS[self.kind]


@dataclass(frozen=True)
class Code:
    """Text to copy as it is: a command, a recipe, a LaTeX table."""

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Downloads:
    """Files inside the page, each behind a link: (file name, media type, text)."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Details:
    """Blocks behind a line that opens them: long tables that few will read. Printed only when open."""

    summary: str
    blocks: Sequence[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A part of a page. `id` is its link (#id); `level` 2 is a part, 3 a part of the part before it."""

    id: str
    title: str
    blocks: Sequence[Any]
    level: int = 2
