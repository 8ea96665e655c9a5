"""The end of a log that grows: what came since the last look, whatever becomes of the file."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estampa.monitor.epoch import epoch_of
from estampa.monitor.line import tree_of

MISSING = "there is no such file"  #: as `Tail.fault`: it may come yet, or again
_PIECE = 1 << 18  #: bytes that are read at a time
_MOST = 64 << 20  #: bytes that one look reads at most
_LINES = 100_000  #: lines that one look passes over at most


class Tail:
    """Follows the log at `path`. Each `read` gives the lines that came since the one before; one thread at a time.

    The first look, and one after which much has come, begins at the end of the file and reads back until there are
    `size` lines: the whole file is never read. Lines that were cut, blanked (forgotten) or are of something else are
    passed over. A file that is not there, cannot be read or is no file gives no lines, and is looked for again; one
    that was rotated away is read to its end before the new one, and one that was truncated from its new beginning.

    Attributes
    ----------
    path : the file; it need not be there yet.
    size : the most lines that a look gives.
    model : the hash of the model whose lines are wanted; "" = of all.
    fault : why the last look could not read the file; "" where it could.
    passed : lines so far that were passed over though they were neither blank nor of another model.
    """

    def __init__(self, path: Path | str, size: int, model: str = "") -> None:
        if size < 1:
            raise ValueError("a tail has lines")
        self.path, self.size, self.model = Path(path), size, model
        self.fault, self.passed = "", 0
        self._handle, self._at, self._seen = -1, 0, -1
        self._epoch = epoch_of(self.path)
        self._mark = f'"model":"{model}"'.encode() if model else b""

    def read(self) -> list[dict[str, Any]]:
        """The new lines, oldest first, at most the `size` newest, as `lines_of` made them."""
        found: list[dict[str, Any]] = []  # newest first
        self.fault = ""
        try:
            fresh = self._opened()
            if fresh >= 0:
                older: list[dict[str, Any]] = []
                with contextlib.suppress(OSError):
                    self._rest(older)  # of the file that was rotated away
                self.close()
                self._handle = fresh
                self._rest(found)
                found += older[: self.size - len(found)]
            else:
                self._rest(found)
        except FileNotFoundError:
            self.fault = MISSING
        except OSError as error:
            self.fault = error.strerror or str(error)
        return found[::-1]

    def stale(self) -> bool:
        """Whether something was forgotten beside the log since this tail was made, or closed: what it gave may hold
        that. Whoever remembers it drops all, and lets the tail begin anew (`close`).
        """
        return epoch_of(self.path) != self._epoch

    def close(self) -> None:
        """Let the file go. A later look is as the first one."""
        self._epoch = epoch_of(self.path)
        handle, self._handle, self._at, self._seen = self._handle, -1, 0, -1
        if handle >= 0:
            os.close(handle)

    def _opened(self) -> int:
        """A handle of the file that the name leads to, where it is another one than before; else -1."""
        there = self.path.stat()
        if not stat.S_ISREG(there.st_mode):  # a pipe could keep whoever opens it for ever
            raise OSError("not a regular file")
        if self._handle >= 0:
            here = os.fstat(self._handle)
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                return -1
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def _rest(self, found: list[dict[str, Any]]) -> None:
        """Add to `found` what has come to the open file, newest first, and remember how far it was read."""
        if self._handle < 0:
            return
        end = os.fstat(self._handle).st_size
        if end == self._seen:
            return
        if end < self._at or (self._at and os.pread(self._handle, 1, self._at - 1) != b"\n"):
            self._at = 0  # it was truncated, and perhaps has grown since
        texts = _backwards(self._handle, max(self._at, end - _MOST), end, whole=end - self._at <= _MOST)
        unfinished = next(texts, None)
        for count, text in enumerate(texts):
            if len(found) == self.size or count == _LINES:
                break
            if self._mark not in text or not text.strip():
                continue
            try:
                tree = tree_of(text)
            except ValueError:
                self.passed += 1
                continue
            if not self.model or tree["model"] == self.model:
                found.append(tree)
        self._seen = end
        if unfinished is not None:
            self._at = end - len(unfinished)


def _backwards(handle: int, begin: int, end: int, *, whole: bool) -> Iterator[bytes]:
    """What stands between line breaks in the bytes `begin` to `end`, the last one first: the text after the last line
    break, which may be empty, then lines. `whole`: a line begins at `begin`; else the first text is left out.
    """
    parts: list[bytes] = []  # of the text whose beginning has not been met, last ones first
    while end > begin:
        size = min(_PIECE, end - begin)
        piece = os.pread(handle, size, end - size)
        if len(piece) < size:
            return  # it became shorter meanwhile: the next look begins anew
        end -= size
        first, *texts = piece.split(b"\n")
        if texts:
            yield b"".join([texts.pop(), *reversed(parts)])
            yield from reversed(texts)
            parts = []
        parts.append(first)
    if whole and parts:
        yield b"".join(reversed(parts))
