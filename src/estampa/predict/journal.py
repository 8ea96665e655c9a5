"""How a run that was killed goes on: the part file, and a journal of what in it is durable.

`NAME.part` grows; every second or so it is made durable (fsync), and then a line in `NAME.journal` says how many rows
and bytes it holds. A run with the same key cuts the part file back to the last such line and goes on from there, so
that the finished file has the same bytes as that of a run that was never stopped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from estampa.errors import InputError
from estampa.files import storage_errors, sync_folder

_EVERY = 1.0  #: seconds between journal lines


class Journal:
    """The part file of `target`, open for appending; `rows`, `size` (bytes) and `counts` say what is in it."""

    def __init__(self, target: Path, key: Mapping[str, Any]) -> None:
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self._path = target.with_name(target.name + ".journal")
        self.rows, self.counts = 0, Counter[str]()
        with storage_errors(target), contextlib.ExitStack() as stack:
            self._log: IO[bytes] = stack.enter_context(self._path.open("a+b", buffering=0))
            self._lock()
            self._stream: IO[bytes] = stack.enter_context(self.part.open("a+b", buffering=0))
            self.size = self._resume(dict(key))
            self._stream.truncate(self.size)
            self._stack = stack.pop_all()
        self._last = time.monotonic()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                "another run is writing it", where=self.target, cure="Wait for it, or choose another place with -o."
            ) from error

    def _resume(self, key: dict[str, Any]) -> int:
        """Bytes of the part file that count; 0 when there is nothing to go on with, and the journal begins anew."""
        self._log.seek(0)
        lines = self._log.read().split(b"\n")[:-1]  # what follows the last line break was cut off
        size = os.fstat(self._stream.fileno()).st_size
        if lines and _parsed(lines[0]) == key:
            for line in reversed(lines[1:]):
                state = _parsed(line)
                if state is not None and state["bytes"] <= size:
                    self.rows, self.counts = state["rows"], Counter(state["counts"])
                    return int(state["bytes"])
        self._log.truncate(0)
        _write(self._log, _line(key))
        return 0

    def append(self, data: bytes, rows: int, counts: Counter[str]) -> None:
        """Add the text of finished rows; `rows` and `counts` are those of the run so far."""
        with storage_errors(self.target):
            _write(self._stream, data)
        # One statement, so that an interrupt finds all three old or all three new.
        self.rows, self.size, self.counts = rows, self.size + len(data), Counter(counts)
        if time.monotonic() - self._last >= _EVERY:
            self.note()

    def note(self) -> None:
        """Make what was written durable, and say so in the journal."""
        with storage_errors(self.target):
            os.fsync(self._stream.fileno())
            _write(self._log, _line({"rows": self.rows, "bytes": self.size, "counts": dict(self.counts)}))
            os.fsync(self._log.fileno())
        self._last = time.monotonic()

    def close(self) -> None:
        """Let go of the files, which stay for a later run."""
        self._stack.close()

    def finish(self, made: Path | None = None) -> None:
        """Give the part file (or the file `made` from it) its name, and clear the journal away."""
        with storage_errors(self.target):
            os.fsync(self._stream.fileno())
            if made is not None:
                with made.open("rb") as stream:
                    os.fsync(stream.fileno())
            (made or self.part).replace(self.target)
            self._path.unlink()
            if made is not None:
                self.part.unlink()
            self.close()
            sync_folder(self.target.parent)


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, sort_keys=True).encode() + b"\n"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """One line of the journal; None when it is not one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _write(stream: IO[bytes], data: bytes) -> None:
    """Write all of `data` to an unbuffered file: on a nearly full disk a write may take a part of it."""
    view = memoryview(data)
    while view:
        view = view[stream.write(view) or 0 :]
