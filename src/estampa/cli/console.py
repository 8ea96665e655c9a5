"""What a person sees: facts and progress on stderr, results on stdout."""

from __future__ import annotations

import json as _json
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console as _Rich
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as _Bar

from estampa.plain import duration, table

if TYPE_CHECKING:
    from estampa.data.changes import Changes

__all__ = ["Console", "change_lines", "duration", "table"]

#: Plain progress lines when nobody looks at a terminal: at most one in so many seconds.
_PLAIN_EVERY = 10.0


class Console:
    """A Progress (estampa.progress) that shows, and the one place where results are printed.

    Parameters
    ----------
    json : the result is one JSON object on stdout.
    quiet : nothing but results and warnings.
    verbose : say more.
    """

    def __init__(self, *, json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json, self.quiet, self.verbose = json, quiet, verbose
        self._err = _Rich(stderr=True, highlight=False, soft_wrap=True)
        self._bar: _Bar | None = None
        self._what, self._unit, self._total, self._done = "", "", 0, 0
        self._began = self._shown = 0.0

    def say(self, line: str) -> None:
        """Print one fact on stderr."""
        if not self.quiet:
            self._err.print(line, markup=False)

    def detail(self, line: str) -> None:
        """Print one fact that only --verbose shows."""
        if self.verbose:
            self.say(line)

    def warn(self, line: str) -> None:
        """Print a warning on stderr, also when quiet."""
        self._err.print(f"warning: {line}", style="yellow", markup=False)

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Open a counted stretch: a live bar on a terminal, plain lines elsewhere; epochs get a line each."""
        self._what, self._unit, self._total, self._done = what, unit, total or 0, 0
        self._began = self._shown = time.monotonic()
        if self.quiet:
            return
        if unit != "epoch" and self._err.is_terminal:
            self._bar = _Bar(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
                TimeRemainingColumn(), console=self._err, transient=True,
            )  # fmt: skip
            self._bar.add_task(what, total=total, note=unit)
            self._bar.start()
        elif unit == "epoch":
            self.say(what)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count units as done and show it."""
        self._done += count
        if self.quiet:
            return
        if self._bar is not None:
            task = self._bar.task_ids[0]
            rate = self._done / max(time.monotonic() - self._began, 1e-9)
            self._bar.update(task, advance=count, note=note or f"{self._unit}, {_pace(rate)}")
        elif self._unit == "epoch":
            width = len(str(self._total))
            self.say(f"  epoch {self._done:>{width}}/{self._total}  {note}{self._left()}")
        elif time.monotonic() - self._shown >= _PLAIN_EVERY:
            self._shown = time.monotonic()
            rate = self._done / max(self._shown - self._began, 1e-9)
            of = f" of {self._total:,}" if self._total else ""
            self.say(f"{self._what}: {self._done:,}{of} {self._unit}, {_pace(rate)}{self._left()} {note}".rstrip())

    def _left(self) -> str:
        """Time left at the rate so far, as the tail of a line."""
        if not 0 < self._done < self._total:
            return ""
        return f"  left {duration((time.monotonic() - self._began) / self._done * (self._total - self._done))}"

    def finish(self, note: str = "") -> None:
        """Close the stretch."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if note:
            self.say(note)

    def result(self, record: Any, lines: Iterable[str] = ()) -> None:
        """Print the result on stdout: `record` with --json, else `lines` for people."""
        if self.json:
            print(_json.dumps(record, ensure_ascii=False, allow_nan=False))
        else:
            for line in lines:
                print(line)
        sys.stdout.flush()


def _pace(rate: float) -> str:
    """How fast it goes, as "12/s", or "14 s each" where that says more."""
    return f"{rate:,.0f}/s" if rate >= 1 or rate <= 0 else f"{duration(1 / rate)} each"


def change_lines(found: Changes) -> list[str]:
    """What became of a Dataset, for people."""
    counts = found.table()
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in counts.rows]
    said = found.sentences()
    return [*table(counts.columns, rows, right=range(1, len(counts.columns))), *([""] if said else []), *said]
