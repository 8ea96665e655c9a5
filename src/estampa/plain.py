"""Plain text: durations and tables without boxes for terminals, names that no spreadsheet runs, names compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

#: What a spreadsheet takes for a formula, with any quotes that we put before it.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def duration(seconds: float) -> str:
    """Seconds as people write them: "0.4 s", "38 s", "2 min 05 s", "1 h 12 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def numbered(count: int, noun: str) -> str:
    """A number and its noun: "1 column", "3 columns"; the plural takes an s."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def folded(name: str) -> str:
    """A name without its blanks and its case: two classes of one folded name are one class spelled in two ways."""
    return "".join(name.split()).casefold()


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Lines of a plain table without boxes; columns whose index is in `right` are aligned right."""
    cells = [list(head), *[list(r) for r in rows]]
    widths = [max(len(r[i]) for r in cells) for i in range(len(head))]
    lines = []
    for row in cells:
        padded = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(padded).rstrip())
    return lines


def counted(trainable: int, layers: Sequence[Any]) -> str:
    """How many parameters a net has, from the rows of its summary (`kind`, `parameters`, `statistics`).

    Keras's totals hold more than what is trained: running means and variances, and the input's normalisation. Where a
    net has such values, both counts are said, so that a published one can be found again.
    """
    whole = sum(row.parameters for row in layers)
    kept = [(row.kind, getattr(row, "statistics", 0)) for row in layers]
    words = f"{trainable:,} trainable parameters" + (f" of {whole:,}" if trainable < whole else "")
    inputs = sum(count for kind, count in kept if kind == "Normalization")
    running = sum(count for _, count in kept) - inputs
    if not running + inputs:
        return words
    said = {f"{running:,} running statistics": running, f"{inputs} values of input normalisation": inputs}
    added = " and ".join(text for text, count in said.items() if count)
    return f"{words}; {whole + running + inputs:,} as Keras counts, with {added}"


def csv_safe(text: str) -> str:
    """A name that no spreadsheet runs as a formula: one that begins with = + - @, a tab or a carriage return gets a
    ' before it, numbers excepted. So does one that begins with such quotes already, so that `csv_plain` is exact.
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def csv_plain(text: str) -> str:
    """The name as it was before `csv_safe`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
