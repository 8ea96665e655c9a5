"""How long work reports: the library says, the command line shows. The library itself never prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """What a long job tells its caller. Every method returns at once and never raises."""

    def say(self, line: str) -> None:
        """State one fact or decision, with its reason."""

    def warn(self, line: str) -> None:
        """State something that weakens the result, and what it means for it."""

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Open a counted stretch of work, `total` units long (None = not known)."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count units as done; `note` is the live line's tail (an epoch's loss and metric)."""

    def finish(self, note: str = "") -> None:
        """Close the stretch that was opened last."""


class Silent:
    """A Progress that shows nothing: the default of every library function."""

    def say(self, line: str) -> None:
        """Drop the line."""

    def warn(self, line: str) -> None:
        """Drop the line."""

    def start(self, what: str, total: int | None, unit: str) -> None:
        """Drop the stretch."""

    def advance(self, count: int = 1, note: str = "") -> None:
        """Drop the step."""

    def finish(self, note: str = "") -> None:
        """Drop the end."""


SILENT = Silent()


class Clock:
    """Seconds of each stage, by name; a stage that is entered again adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - began
