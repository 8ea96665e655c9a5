"""Tables: numbers right-aligned with the same decimals, the interval beside the value, the best value marked."""

from __future__ import annotations

import csv
import io
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from estampa.errors import InputError
from estampa.page.blocks import IntervalLike, Picture

_NARROW = "\N{EN DASH}"
_BESIDE_MINUS = " to "  #: between the ends of an interval where a dash would stand beside a minus
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def number(value: int | float, decimals: int = 3) -> str:
    """Write a number for people: whole numbers with thousands marked, others with `decimals`; minus is a real minus."""
    if isinstance(value, (int, np.integer)):
        text = f"{int(value):,}"
    elif not math.isfinite(value):
        return "not defined" if math.isnan(value) else ("∞" if value > 0 else "\N{MINUS SIGN}∞")
    else:
        text = f"{value:,.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def short(value: float, digits: int = 4) -> str:
    """Write a number of any size with so many significant digits; minus is a real minus."""
    if not math.isfinite(value) or value == int(value):
        return number(int(value) if math.isfinite(value) else value)
    size = math.floor(math.log10(abs(value)))
    if -4 <= size < 9:
        text = f"{value:,.{max(0, digits - 1 - size)}f}"
        return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "\N{MINUS SIGN}")
    return f"{value:.{digits - 1}e}".replace("-", "\N{MINUS SIGN}")


def is_number(cell: object) -> bool:
    """Whether a cell is a number (a truth value is not)."""
    return isinstance(cell, numbers.Real) and not isinstance(cell, bool)


@dataclass(frozen=True)
class Link:
    """A cell that leads to a place of the same page: its text, and the place's id."""

    text: str
    to: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Shown:
    """A cell ready to be shown: its text, the interval's text, whether it is the best, a picture's place, a drawing,
    the id of the place that it leads to.
    """

    text: str = ""
    interval: str = ""
    best: bool = False
    picture: Picture | None = None
    bar: tuple[float, float, float] | None = None  # start, mark, end as shares of the column's drawing
    to: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Parameters
    ----------
    columns : column names.
    rows : cells by row: text, whole numbers, other numbers, None (a dash), anything with value, low and high (an
        interval), a Link, or a Picture.
    caption : how to read it, and what to notice.
    best : column name -> "max" or "min": which value of the column is marked.
    align : column name -> "left" or "right"; else numbers stand right and text left.
    decimals : for all columns, or by column name (3 where not named).
    drawn : column whose numbers are also drawn: intervals as whiskers on one common axis, plain numbers as bars.
    span : least and greatest end of that axis, so that several tables can be compared; None = as the rows need.
    ids : of the rows, so that links can lead to them; empty = none. They must differ from all others of the page.
    stacked : on a narrow screen each row is a few lines, its first cell and below it the others after their columns'
        names: for tables of few rows whose cells say more than a phone has room for.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    best: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)
    align: Mapping[str, Literal["left", "right"]] = field(default_factory=dict)
    decimals: int | Mapping[str, int] = 3
    drawn: str = ""
    span: tuple[float, float] | None = None
    ids: Sequence[str] = ()
    stacked: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise InputError(
                    "a row has another number of cells than there are columns",
                    where=f"Table {self.caption[:40]!r}",
                    allowed=str(len(self.columns)),
                    got=str(len(row)),
                )
        named = {*self.best, *self.align, *({self.drawn} if self.drawn else set())}
        if isinstance(self.decimals, Mapping):
            named |= set(self.decimals)
        if unknown := named - set(self.columns):
            raise InputError(
                f"no column {sorted(unknown)[0]!r}", where=f"Table {self.caption[:40]!r}", allowed=str(self.columns)
            )

    def places(self, column: str) -> int:
        """Decimals of a column."""
        return self.decimals if isinstance(self.decimals, int) else self.decimals.get(column, 3)

    def sides(self) -> list[str]:
        """Which side each column's cells stand on: "left" or "right"."""
        sides: list[str] = []
        for i, name in enumerate(self.columns):
            cells = [row[i] for row in self.rows if row[i] is not None]
            numeric = bool(cells) and all(is_number(c) or isinstance(c, IntervalLike) for c in cells)
            sides.append(self.align.get(name, "right" if numeric else "left"))
        return sides

    def shown(self) -> list[list[Shown]]:
        """Each cell ready to be shown, by row."""
        best = {self.columns.index(name): self._best(name, how) for name, how in self.best.items()}
        drawn = self.columns.index(self.drawn) if self.drawn else -1
        bars = self._bars(drawn) if self.drawn else {}
        shown: list[list[Shown]] = []
        for r, row in enumerate(self.rows):
            cells = []
            for c, cell in enumerate(row):
                if isinstance(cell, Picture):
                    cells.append(Shown(picture=cell))
                    continue
                text, interval = cell_texts(cell, self.places(self.columns[c]))
                to = cell.to if isinstance(cell, Link) else ""
                cells.append(
                    Shown(text, interval, r in best.get(c, ()), bar=bars.get(r) if c == drawn else None, to=to)
                )
            shown.append(cells)
        return shown

    def _best(self, column: str, how: str) -> set[int]:
        """Rows that hold the best value of a column, ties included as they are printed."""
        i, places = self.columns.index(column), self.places(column)
        values = {r: round(_value(row[i]), places) for r, row in enumerate(self.rows) if _drawable(row[i])}
        if len(values) < 2:
            return set()
        wanted = max(values.values()) if how == "max" else min(values.values())
        return {r for r, v in values.items() if v == wanted}

    def _bars(self, column: int) -> dict[int, tuple[float, float, float]]:
        """Start, mark and end of each row's drawing, as shares of its width."""
        cells = {r: row[column] for r, row in enumerate(self.rows) if _drawable(row[column])}
        intervals = any(isinstance(c, IntervalLike) for c in cells.values())
        ends = [e for c in cells.values() for e in _ends(c)]
        if not ends:
            return {}
        low, high = (min(ends), max(ends)) if intervals else (min(0.0, *ends), max(0.0, *ends))
        low, high = self.span or (low, high)
        width = (high - low) or 1.0
        bars = {}
        for r, cell in cells.items():
            start, end = _ends(cell) if intervals else sorted((0.0, _value(cell)))
            bars[r] = ((start - low) / width, (_value(cell) - low) / width, (end - low) / width)
        return bars

    @property
    def whiskers(self) -> bool:
        """Whether the drawing shows intervals (whiskers) rather than amounts (bars)."""
        return bool(self.drawn) and any(isinstance(r[self.columns.index(self.drawn)], IntervalLike) for r in self.rows)

    def to_csv(self) -> str:
        """Write the table as CSV: an interval is three columns, name, name_low, name_high; pictures are left out."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        wide = [any(isinstance(row[i], IntervalLike) for row in self.rows) for i in range(len(self.columns))]
        header: list[str] = []
        for name, triple in zip(self.columns, wide, strict=True):
            header += [name, f"{name}_low", f"{name}_high"] if triple else [name]
        writer.writerow(header)
        for row in self.rows:
            cells: list[Any] = []
            for cell, triple in zip(row, wide, strict=True):
                one = "" if cell is None or isinstance(cell, Picture) else cell
                if isinstance(one, IntervalLike):
                    cells += [one.value, one.low, one.high]
                else:
                    cells += [one, "", ""] if triple else [one]
            writer.writerow(cells)
        return stream.getvalue()

    def to_latex(self) -> str:
        """Write the table for LaTeX with the booktabs package; intervals stand in brackets, the best value in bold."""
        letters = "".join(side[0] for side in self.sides())
        lines = [r"\begin{table}", r"\centering"]
        if self.caption:
            lines.append(rf"\caption{{{latex(self.caption)}}}")
        lines += [rf"\begin{{tabular}}{{{letters}}}", r"\toprule"]
        lines += [" & ".join(latex(c) for c in self.columns) + r" \\", r"\midrule"]
        for row in self.shown():
            lines.append(" & ".join(_latex_cell(cell) for cell in row) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def cell_texts(cell: Any, places: int) -> tuple[str, str]:
    """Return a cell's text and its interval's text ("" without one); None is a dash."""
    if cell is None:
        return _NARROW, ""
    if isinstance(cell, IntervalLike):
        low, high = number(float(cell.low), places), number(float(cell.high), places)
        return number(float(cell.value), places), f"{low}{_BESIDE_MINUS if cell.low < 0 else _NARROW}{high}"
    return (number(cell, places) if is_number(cell) else str(cell)), ""


def latex(text: str) -> str:
    """Escape what LaTeX would take for a command."""
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _latex_cell(cell: Shown) -> str:
    minus = "\N{MINUS SIGN}"
    text = latex(cell.text).replace(_NARROW, "--").replace(minus, "$-$")
    text = rf"\textbf{{{text}}}" if cell.best else text
    interval = cell.interval.replace(_NARROW, ", ").replace(_BESIDE_MINUS, ", ").replace(minus, "$-$")
    return f"{text} [{interval}]" if interval else text


def _value(cell: Any) -> float:
    return float(cell.value) if isinstance(cell, IntervalLike) else float(cell)


def _ends(cell: Any) -> tuple[float, float]:
    return (float(cell.low), float(cell.high)) if isinstance(cell, IntervalLike) else (float(cell), float(cell))


def _drawable(cell: object) -> bool:
    """Whether a cell has finite numbers to compare and draw."""
    if not (is_number(cell) or isinstance(cell, IntervalLike)):
        return False
    return all(math.isfinite(v) for v in (_value(cell), *_ends(cell)))
