"""A log in a few lines: how much each model has answered, since when, and how often with doubts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from estampa.monitor.line import LogLine, stamp
from estampa.monitor.log import Fault, read_log
from estampa.predict.answers import INVALID, UNREADABLE

HEAD = ("model", "lines", "no answer", "first (UTC)", "last (UTC)", "flags")
_MOST = 20  #: faults that are named; all are counted


@dataclass
class OfModel:
    """What one model has answered: lines, those without an answer, first and last moment, lines by flag."""

    lines: int
    unanswered: int
    first: datetime
    last: datetime
    flags: Counter[str]


@dataclass
class LogSummary:
    """What `summarise` found: by model's hash; and the lines that are none, of which the first are named."""

    models: dict[str, OfModel] = field(default_factory=dict)
    bad: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, line: LogLine) -> None:
        """Count one line."""
        told = self.models.setdefault(line.model, OfModel(0, 0, line.time, line.time, Counter()))
        names = [flag.partition(":")[0] for flag in line.flags]
        told.lines += 1
        told.unanswered += UNREADABLE in names or INVALID in names
        told.first, told.last = min(told.first, line.time), max(told.last, line.time)
        told.flags.update(names)

    def miss(self, path: Path, fault: Fault) -> None:
        """Count a line that is none."""
        self.bad += 1
        if len(self.faults) < _MOST:
            self.faults.append(f"{path}, row {fault.row}: {fault.why}")

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        models = {
            name: {
                "lines": told.lines, "unanswered": told.unanswered, "first": stamp(told.first),
                "last": stamp(told.last), "flags": dict(told.flags),
            }
            for name, told in self.models.items()
        }  # fmt: skip
        return {"models": models, "bad": self.bad, "faults": self.faults}

    def cells(self) -> list[list[str]]:
        """Rows under HEAD, the model of the latest line first."""
        ordered = sorted(self.models.items(), key=lambda item: item[1].last, reverse=True)
        return [
            [
                name, f"{told.lines:,}", f"{told.unanswered:,}", f"{told.first:%Y-%m-%d %H:%M:%S}",
                f"{told.last:%Y-%m-%d %H:%M:%S}", ", ".join(f"{k} {n:,}" for k, n in told.flags.most_common()),
            ]
            for name, told in ordered
        ]  # fmt: skip


def summarise(paths: Sequence[Path]) -> LogSummary:
    """Count the lines of logs in flat memory; lines that were cut or are of something else are reported, not fatal."""
    found = LogSummary()
    for path in paths:

        def miss(fault: Fault, path: Path = path) -> None:
            found.miss(path, fault)

        for line in read_log(path, miss):
            found.add(line)
    return found
