"""The service's log on disk: appended to by many processes, read with suspicion, and able to forget.

A file of JSON lines (`monitor/line.py`). Whoever writes holds the file's lock for the moment of the write, so that a
line is never inside another one, and a tail that was cut (a crash, a full disk) never stands before a new line.
Readers take no lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from estampa.errors import InputError, StorageError
from estampa.files import require_writable, storage_errors
from estampa.monitor.epoch import tell
from estampa.monitor.kept import Kept
from estampa.monitor.line import LogLine, lines_of, parse

__all__ = ["Fault", "Forgotten", "LogLine", "LogWriter", "forget", "lines_of", "read_log"]

LONGEST = 16 << 20  #: bytes of a line that is read
_BLANK = b" \t\r\n"
_IDS = re.compile(rb'"id"\s*:\s*("(?:[^"\\]|\\.)*")')


class LogWriter:
    """Appends log lines to `path`; many threads and many processes may write one file.

    All lines of an `append` go out in one write at the end of the file. When the file was rotated away, the next
    line opens a new one. Unless they shall be `durable`, lines are not synced one by one: a crash of the machine may
    lose the last seconds, a crash of the process loses nothing.

    Attributes
    ----------
    path : the file.
    lost : lines that could not be written since this writer was made.
    failing : whether the last append failed.
    """

    def __init__(self, path: Path | str, *, durable: bool = False) -> None:
        """Raise InputError when `path` is neither a file nor a device, StorageError when it cannot be written."""
        self.path, self._durable = Path(path), durable
        self.lost, self.failing = 0, False
        self._handle, self._owner, self._mutex = -1, os.getpid(), threading.Lock()
        if not self.path.exists():
            require_writable(self.path)
        with _said(self.path):
            self._open()

    def append(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """Write `lines` (of `lines_of`) and return how many were written: all, or none.

        Raises StorageError when they are lost and the append before was not; while that lasts, further lines are
        counted in `lost` and 0 is returned. When there is room again, lines are written again.
        """
        texts = [json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) for line in lines]
        if not texts:
            return 0
        data = "".join(f"{text}\n" for text in texts).encode("utf-8", "backslashreplace")
        with self._mutex:
            try:
                with _said(self.path):
                    self._reopen_if_rotated()
                    self._write(data)
            except (StorageError, InputError) as error:
                self.lost += len(texts)
                if self.failing:
                    return 0
                self.failing = True
                raise StorageError(error.what, where=self.path, got=error.got, cure=error.cure) from error
            self.failing = False
        return len(texts)

    def close(self) -> None:
        """Let the file go; a later append opens it again."""
        with self._mutex:
            self._drop()

    def _drop(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def _open(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            _require_file(self.path, self.path.stat(), devices=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        self._handle, self._owner = os.open(self.path, flags, 0o600), os.getpid()
        _require_file(self.path, os.fstat(self._handle), devices=True)

    def _reopen_if_rotated(self) -> None:
        """Open the file anew where the name leads elsewhere by now, or this process is a fork of the one that did."""
        if self._handle >= 0 and self._owner == os.getpid():
            with contextlib.suppress(FileNotFoundError):
                here, there = os.fstat(self._handle), self.path.stat()
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    return
        self._drop()
        self._open()

    def _write(self, data: bytes) -> None:
        """Append whole or not at all, on a line of its own."""
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            os.write(self._handle, data)
            return
        with _locked(self._handle):
            size = os.fstat(self._handle).st_size
            if size and os.pread(self._handle, 1, size - 1) != b"\n":
                data = b"\n" + data  # what stands there was cut; it must not spoil this line too
            try:
                done = os.write(self._handle, data)
                while done < len(data):  # the disk is full (the next write says so), or the write is very large
                    done += os.write(self._handle, data[done:])
                if self._durable:
                    os.fsync(self._handle)
            except OSError:
                os.ftruncate(self._handle, size)
                raise


@dataclass(frozen=True)
class Fault:
    """A line that is no log line: its number from 1, and why."""

    row: int
    why: str


def read_log(path: Path | str, on_fault: Callable[[Fault], object] | None = None) -> Iterator[LogLine]:
    """The lines of a log, one at a time, in flat memory; blank lines are passed over.

    `on_fault` is told of each line that was cut or is not of a log, and reading goes on; without it the first one
    raises InputError, which names its row. So does a file that is not there or is no file.
    """
    where = Path(path)
    with opened_log(where, "rb") as stream:
        for row, _, text in texts(stream):
            try:
                if text is None:
                    raise ValueError(f"longer than {LONGEST:,} bytes")
                found = parse(text, row)
            except ValueError as error:
                if on_fault is None:
                    raise InputError(str(error), where=f"{where}, row {row}") from error
                on_fault(Fault(row, str(error)))
                continue
            yield found


def texts(stream: BinaryIO) -> Iterator[tuple[int, int, bytes | None]]:
    """(row, first byte, text) of each line that is not blank; None for a text that is too long to be one."""
    row, start = 0, stream.tell()
    while text := stream.readline(LONGEST + 1):
        row, first = row + 1, start
        start += len(text)
        whole = len(text) <= LONGEST
        while not text.endswith(b"\n") and len(text) > LONGEST:
            text = stream.readline(LONGEST + 1)
            start += len(text)
        if not whole:
            yield row, first, None
        elif text.strip(_BLANK):
            yield row, first, text.rstrip(b"\r\n")


@dataclass(frozen=True)
class Forgotten:
    """What `forget` took away: lines of logs, files of kept inputs, lines of labels, and the ids that were nowhere."""

    lines: int
    inputs: int
    labels: int
    unknown: tuple[str, ...]


def forget(
    paths: Sequence[Path | str],
    ids: Sequence[str],
    keep: Path | str | None = None,
    feedback: Sequence[Path | str] = (),
) -> Forgotten:
    """Overwrite every line of `ids` in the logs `paths` and in the files of labels `feedback` with blanks, in place,
    and delete their kept inputs in `keep`.

    An id means its own lines and those of its parts: "r1" also means "r1.0", "r1.1", ..., the answers of request r1.
    Cut lines in which the id can still be read go too. The service may go on writing meanwhile: no other byte
    changes, and lets go of what it remembers at its next look (`monitor/epoch.py`). When this returns, the change is on
    the disk.

    Raises InputError for a log that is not there, is compressed, or is no file; StorageError when it cannot be written,
    or a service cannot be told.
    """
    asked = set(ids)
    if not asked or not all(asked):
        raise InputError("no id", where="forget", cure="Name the ids of the answers, as the service gave them.")
    seen: set[str] = set()
    store = Kept(keep) if keep is not None else None
    for path in (*paths, *feedback):  # all are looked at before one is changed
        with opened_log(Path(path), "rb") as stream:
            _refuse_compressed(stream, Path(path))
    try:
        lines, labels = (sum(_forget_in(Path(path), asked, seen) for path in some) for some in (paths, feedback))
        inputs = 0
        for name in sorted(asked) if store is not None else ():
            count = store.forget(name) if store is not None else 0
            inputs += count
            seen |= {name} if count else set()
    finally:  # also where nothing was found: what was interrupted once may have told nobody
        for one in {Path(path).resolve().parent: Path(path) for path in (*paths, *feedback)}.values():
            tell(one)
    return Forgotten(lines, inputs, labels, tuple(sorted(asked - seen)))


def _forget_in(path: Path, asked: set[str], seen: set[str]) -> int:
    """Blank the lines of `asked` in one log and note which of them were there."""
    with storage_errors(path), opened_log(path, "r+b") as stream:
        handle, count, begin, tail = stream.fileno(), 0, 0, 0
        for first, text, found in _found_in(stream, asked):
            if found and _blank(handle, first, text):
                count += 1
                seen |= found
            begin, tail = first, first + len(text)
        end = stream.tell()
        with _locked(handle):  # the last line may have been looked at while it was being written
            stream.seek(0, os.SEEK_END)  # which drops what has been read ahead
            stream.seek(begin if tail == end else end)
            for first, text, found in _found_in(stream, asked):
                if found:
                    os.pwrite(handle, b" " * len(text), first)
                    count += 1
                    seen |= found
        os.fsync(handle)
    return count


def _found_in(stream: BinaryIO, asked: set[str]) -> Iterator[tuple[int, bytes, set[str]]]:
    """(first byte, text, which of the asked ids it is of) of each line that could be one."""
    for _, first, text in texts(stream):
        if text is not None:
            yield first, text, _asked_in(text, asked)


def _blank(handle: int, first: int, text: bytes) -> bool:
    """Blank the bytes of a line, if they are still there: a rotation may have cut the file down meanwhile."""
    with _locked(handle):
        same = os.pread(handle, len(text), first) == text
        if same:
            os.pwrite(handle, b" " * len(text), first)
    return same


def _asked_in(text: bytes, asked: set[str]) -> set[str]:
    """Which of the asked ids this line is of; it may be cut, or hold what another program has glued together."""
    found: set[str] = set()
    for quoted in _IDS.findall(text):
        try:
            name = json.loads(quoted)
        except ValueError:
            continue  # bytes that are no text: no id that anybody could ask for
        whole, point, number = name.rpartition(".")
        found |= asked & ({name, whole} if point and number.isascii() and number.isdigit() else {name})
    return found


def _refuse_compressed(stream: BinaryIO, path: Path) -> None:
    if stream.read(4)[:2] in (b"\x1f\x8b", b"BZ") or path.suffix in (".gz", ".bz2", ".xz", ".zst"):
        raise InputError("a compressed log cannot be changed in place", where=path, cure="Decompress it first.")


@contextlib.contextmanager
def opened_log(path: Path, mode: str) -> Iterator[BinaryIO]:
    """Open a log that is a regular file; InputError where there is none."""
    try:
        _require_file(path, path.stat())
        stream = path.open(mode)
    except FileNotFoundError as error:
        raise InputError("there is no such log", where=path) from error
    except PermissionError as error:
        raise StorageError("cannot be opened", where=path, got=error.strerror or "") from error
    with stream:
        yield stream  # type: ignore[misc]


def _require_file(path: Path, status: os.stat_result, *, devices: bool = False) -> None:
    """A pipe could make whoever opens it wait for ever, and only a file can be read back."""
    if not stat.S_ISREG(status.st_mode) and not (devices and stat.S_ISCHR(status.st_mode)):
        raise InputError("not a regular file", where=path, cure="Name a file for the log.")


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Any word of the system about the file as a StorageError that names it."""
    try:
        with storage_errors(path):
            yield
    except OSError as error:
        raise StorageError("cannot be written", where=path, got=error.strerror or str(error)) from error


@contextlib.contextmanager
def _locked(handle: int) -> Iterator[None]:
    """Hold the file's own lock; the system lets it go when its holder ends, however it ends."""
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)
