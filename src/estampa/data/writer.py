"""Writing a Dataset file: streamed, resumable after a kill, never half a file that looks whole.

While it grows, `NAME.part` is no HDF5 file: 64 KiB are left empty for HDF5's own structures, then come the kept rows'
pixels, written with os.pwrite (under mmap a full disk would be a SIGBUS). Each finished block leaves a line in
`NAME.journal`, with a digest, so that a later run goes on where a killed one stopped and believes only what it can
verify. At the end HDF5 lays out a sparse skeleton of the same file, for exactly the rows that were kept, with the
images contiguous at 64 KiB; its structures are copied around the pixels, the file is synced and renamed. So rejected
rows cost no second copy of the pixels.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.columns import Columns, checked, checked_table
from estampa.data.layout import IMAGES_AT, write_skeleton
from estampa.data.record import FORMAT, Header, row_digests, short_hashes, whose
from estampa.data.view import Dataset
from estampa.errors import InputError, SourceError, StorageError
from estampa.files import require_writable, storage_errors, sync_folder

_COPY_BYTES = 1 << 24
_WRITE_BYTES = 1 << 20  #: of one system call; larger ones cost more system time a byte
_NO_DIGESTS = np.empty((0, 32), np.uint8)


class DatasetWriter:
    """Writes one Dataset file, rows in order.

    Parameters
    ----------
    path : the file to be; an existing one is replaced only by `finish`.
    header : announces `n` rows; the file holds those that were kept.
    ids, labels, groups, split : as in `Reading`; checked here, before any pixel is decoded.
    fingerprint : names source and options; an unfinished earlier run with the same one is continued.
    private : only the file's owner may read it.

    Attributes
    ----------
    done : rows that are finished already, by an earlier run or this one; the next `write` must start there.
    kept : rows of those that are in the file.
    open : whether it still holds its files; after `finish`, `abort` or `pause` it does not.

    Raises SourceError when the columns do not fit together, StorageError when the disk is full or the place cannot be
    written, InputError when another process is writing the same file.
    """

    def __init__(
        self,
        path: Path | str,
        header: Header,
        *,
        ids: np.ndarray | Iterable[str],
        labels: np.ndarray | None,
        groups: np.ndarray | None = None,
        split: np.ndarray | None = None,
        fingerprint: str,
        private: bool = False,
    ) -> None:
        self.path, self.header, self.fingerprint = Path(path), header, fingerprint
        self.part = self.path.with_name(self.path.name + ".part")
        self.journal = self.path.with_name(self.path.name + ".journal")
        self._columns: Columns = checked(header, ids, labels, groups, split)
        self._table: np.ndarray | None = None
        self._excluded = np.zeros(header.n, bool)
        self._excluded_hashes: frozenset[int] = frozenset()
        self._row: tuple[int, ...] = header.shape or (len(header.columns),)  # of what is streamed
        self._kind = np.dtype(header.dtype) if header.shape else np.dtype(np.float64)
        self._row_bytes = int(np.prod(self._row)) * self._kind.itemsize
        self._keep = np.zeros(header.n, bool)
        self._digests: list[np.ndarray] = []
        self._rejected: dict[int, str] = {}
        self.done = self.kept = 0
        self.open = False
        require_writable(self.path)
        with storage_errors(self.path):
            self._file = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600 if private else 0o644)
            if private:  # a part that was left behind keeps the rights that it had
                os.fchmod(self._file, 0o600)
        self._lock()
        self._resume()
        self.open = True
        self._require_space()
        self._reserve()

    def put_table(self, table: np.ndarray) -> None:
        """Give the table, (n, columns) float32 or float64, before the first `write`."""
        self._table = checked_table(self.header, table)

    def exclude(self, rows: np.ndarray, hashes: Iterable[int] = ()) -> None:
        """Leave out the rows of the mask `rows` (n,) bool, and rows with one of these content hashes."""
        self._excluded, self._excluded_hashes = np.asarray(rows, bool), frozenset(hashes)

    def write(self, start: int, images: np.ndarray, rejected: Mapping[int, str] | None = None) -> None:
        """Write rows `start`, `start + 1`, ... ; `images` (m, h, w, c) has the header's shape and dtype.

        Without a shape they are rows of the table, (m, columns) float64; or `put_table` gives all of them at once.
        `rejected` maps rows (of the source, not of the block) to the reason why they are left out.
        """
        reasons, rows = dict(rejected or {}), len(images)
        if start != self.done or start + rows > self.header.n:
            raise ValueError(f"rows {start} to {start + rows} written where row {self.done} of {self.header.n} is due")
        if images.shape[1:] != self._row or images.dtype != self._kind:
            raise SourceError(
                "images are not what their header says" if self.header.shape else "rows are not what their header says",
                where=f"rows {start} to {start + rows - 1}",
                allowed=f"{self._row} {self._kind}",
                got=f"{images.shape[1:]} {images.dtype}",
            )
        keep = ~self._excluded[start : start + rows]
        reasons = {row: why for row, why in reasons.items() if keep[row - start]}  # left out on request: no fault
        keep[[row - start for row in reasons]] = False
        images = np.ascontiguousarray(images if keep.all() else images[keep])
        with storage_errors(self.path):
            digests = self._put(images, keep)
            line = {
                "start": start,
                "rows": rows,
                "left_out": np.flatnonzero(~keep).tolist(),
                "rejected": {str(row): reason for row, reason in reasons.items()},
                "digest": hashlib.sha256(digests.tobytes()).hexdigest(),
            }
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        self._record(start, keep, digests, reasons)

    def _put(self, images: np.ndarray, keep: np.ndarray) -> np.ndarray:
        """Write the rows that are kept and return their digests (k, 32); what a content hash excludes leaves `keep`.

        Bit by bit, so that pixels are still in the processor's cache when they are copied to the system.
        """
        digests, at = [_NO_DIGESTS], IMAGES_AT + self.kept * self._row_bytes
        step, offsets = max(1, _WRITE_BYTES // self._row_bytes), np.flatnonzero(keep)
        for first in range(0, len(images), step):
            some = images[first : first + step]
            found = row_digests(some)
            if self._excluded_hashes:
                mine = offsets[first : first + step]
                gone = self._hash_excluded(found)
                keep[mine[gone]] = False
                some, found = some[~gone], found[~gone]
            _write_all(self._file, some, at)
            at += some.nbytes
            digests.append(found)
        return np.concatenate(digests)

    def finish(self) -> Dataset:
        """Complete the file, make it durable, give it its name, and open it.

        Raises SourceError when rows are missing or none was kept.
        """
        if self.header.shape is None and not self.done:
            self._finish_table()
        if self.done != self.header.n:
            raise SourceError(f"only {self.done} of {self.header.n} announced rows came", where=self.path)
        if not self.kept:
            self._refuse_empty()
        skeleton = self.path.with_name(self.path.name + ".skeleton")
        with storage_errors(self.path):
            try:
                self._join(skeleton, self._write_skeleton(skeleton))
            finally:
                skeleton.unlink(missing_ok=True)
            os.fsync(self._file)
            self.part.replace(self.path)
            sync_folder(self.path.parent)
        self.pause()
        self.journal.unlink(missing_ok=True)
        self.path.with_name(self.path.name + ".split").unlink(missing_ok=True)  # of a file that this one replaced
        return Dataset.open(self.path)

    def abort(self) -> None:
        """Give up and remove what was written; the earlier file of that name, if any, stays."""
        self.pause()
        self.journal.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)

    def pause(self) -> None:
        """Stop here; a later writer with the same fingerprint goes on at `done`."""
        self.open = False
        self._stream.close()
        os.close(self._file)

    # ------------------------------------------------------------------------------------------ resume

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise InputError(
                "is being written by another process", where=self.path, cure="Wait for it, or choose another name."
            ) from error

    def _head(self) -> dict[str, Any]:
        shape = list(self.header.shape) if self.header.shape else None
        facts = {"n": self.header.n, "shape": shape, "dtype": self.header.dtype}
        return {"format": FORMAT, "fingerprint": self.fingerprint, **facts}

    def _resume(self) -> None:
        """Take over what an earlier run with the same fingerprint finished, as far as it can be verified."""
        lines: list[Any] = []
        if self.journal.exists():
            for text in self.journal.read_text(errors="replace").splitlines():
                try:
                    lines.append(json.loads(text))
                except ValueError:
                    break  # the line that a kill cut short; nothing follows it
        good = [self._head()]
        if lines and lines[0] == good[0]:
            for line in lines[1:]:
                try:
                    sound = self._take_over(line)
                except (KeyError, TypeError, ValueError, IndexError, AttributeError):
                    sound = False  # not a line that we wrote
                if not sound:
                    break
                good.append(line)
        with storage_errors(self.path):
            self._stream = self.journal.open("w")
            self._stream.writelines(json.dumps(line) + "\n" for line in good)
            self._stream.flush()
            os.ftruncate(self._file, IMAGES_AT + self.kept * self._row_bytes)

    def _take_over(self, line: dict[str, Any]) -> bool:
        """Accept one line of the journal when the pixels in the part file have the digest that it states."""
        start, rows = line["start"], line["rows"]
        if start != self.done or start + rows > self.header.n:
            return False
        keep = np.ones(rows, bool)
        keep[line["left_out"]] = False
        count = int(keep.sum())
        images = np.empty((count, *self._row), self._kind)
        if not _read_all(self._file, images, IMAGES_AT + self.kept * self._row_bytes):
            return False
        digests = row_digests(images) if count else _NO_DIGESTS
        if hashlib.sha256(digests.tobytes()).hexdigest() != line["digest"]:
            return False
        self._record(start, keep, digests, {int(row): reason for row, reason in line["rejected"].items()})
        return True

    def _record(self, start: int, keep: np.ndarray, digests: np.ndarray, rejected: Mapping[int, str]) -> None:
        self._keep[start : start + len(keep)] = keep
        self._digests.append(digests)
        self._rejected.update(rejected)
        self.done = start + len(keep)
        self.kept += int(keep.sum())

    def _require_space(self) -> None:
        """Say now that the disk is too small, not after an hour's work."""
        need = (self.header.n - self.done) * self._row_bytes
        free = shutil.disk_usage(self.path.parent).free
        if need > free:
            self.pause()
            raise StorageError(
                "the disk is too small",
                where=self.path,
                allowed=f"{need / 1e6:,.1f} MB are needed",
                got=f"{free / 1e6:,.1f} MB are free",
                cure="Free space, or choose another place with -o.",
            )

    def _reserve(self) -> None:
        """Have the disk set the room aside at once: a tenth of the system time of growing the file block by block.

        Where the file system cannot, the file grows as it is written.
        """
        size = IMAGES_AT + self.header.n * self._row_bytes
        if not self._row_bytes or not hasattr(os, "posix_fallocate"):
            return
        try:
            with storage_errors(self.path):
                os.posix_fallocate(self._file, 0, size)
        except StorageError:
            self.pause()
            raise
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOSYS):
                self.pause()
                raise

    # ------------------------------------------------------------------------------------------ finish

    def _hash_excluded(self, digests: np.ndarray) -> np.ndarray:
        return np.isin(short_hashes(digests), np.array(sorted(self._excluded_hashes), np.uint64))

    def _finish_table(self) -> None:
        if self._table is None:
            raise SourceError("neither images nor a table came", where=self.path)
        keep = ~self._excluded
        if self._excluded_hashes:
            keep &= ~self._hash_excluded(row_digests(None, self._table))
        self._record(0, keep, row_digests(None, self._table[keep]), {})

    def _refuse_empty(self) -> None:
        reasons = "; ".join(
            f"{self._columns.ids[row].decode()}: {why}" for row, why in list(self._rejected.items())[:5]
        )
        raise SourceError(
            "no row is left",
            where=whose(self.header),
            got=reasons or "all rows were excluded",
            cure="" if reasons else "Check the file of --exclude.",
        )

    def _write_skeleton(self, skeleton: Path) -> int | None:
        rows = np.flatnonzero(self._keep)
        columns = self._columns.take(rows) if len(rows) < self.header.n else self._columns
        header = replace(self.header, n=len(rows))
        table = None if self._table is None else self._table[rows]
        digests = np.concatenate(self._digests)
        names = [[row, self._columns.ids[row].decode(), why] for row, why in sorted(self._rejected.items())]
        facts = {
            "content_sha256": content_sha256(header, digests, columns, None if header.shape is None else table),
            "fingerprint": self.fingerprint,
            "rejected": json.dumps(names, ensure_ascii=False),
        }
        return write_skeleton(skeleton, header, columns, hashes=short_hashes(digests), table=table, facts=facts)

    def _join(self, skeleton: Path, images_at: int | None) -> None:
        """Bring pixels and HDF5 structures together in the part file."""
        size, pixels = skeleton.stat().st_size, self.kept * self._row_bytes
        moved = b""
        if images_at not in (None, IMAGES_AT):  # so few pixels (under 64 KiB) that HDF5 does not align them
            moved = os.pread(self._file, pixels, IMAGES_AT)
        after = images_at + pixels if images_at is not None else 0
        with skeleton.open("rb") as stream:
            os.ftruncate(self._file, size)
            # The tail first: until the head is there, the file does not even begin like HDF5.
            _copy(stream.fileno(), self._file, after, size)
            if images_at is not None:
                if moved:
                    _write_all(self._file, np.frombuffer(moved, np.uint8), images_at)
                os.fsync(self._file)
                _copy(stream.fileno(), self._file, 0, images_at)


def content_sha256(header: Header, digests: np.ndarray, columns: Columns, beside: np.ndarray | None = None) -> str:
    """SHA-256 over pixels, table, labels and ids (not the split), in hexadecimal: what a Dataset contains.

    Of a JSON line with shape, dtype, classes and columns, then all row digests, labels, ids as UTF-8 lines, and the
    bytes of the table that stands `beside` images, (n, columns); of a table alone the row digests tell already.
    """
    facts = {
        "shape": header.shape,
        "dtype": header.dtype if header.shape else "",
        "classes": header.classes,
        "columns": header.columns,
    }
    digest = hashlib.sha256(json.dumps(facts, ensure_ascii=False, sort_keys=True).encode() + b"\n")
    digest.update(np.ascontiguousarray(digests).data)
    digest.update(np.ascontiguousarray(columns.labels).data)
    digest.update(b"\n".join(columns.ids.tolist()))
    if beside is not None:
        digest.update(np.ascontiguousarray(beside).data)
    return digest.hexdigest()


def _write_all(file: int, array: np.ndarray, at: int) -> None:
    """Write every byte; os.pwrite may stop early when the disk fills, and says why only when called again."""
    view = array.data.cast("B") if array.size else memoryview(b"")
    while view:
        written = os.pwrite(file, view[:_WRITE_BYTES], at)
        view, at = view[written:], at + written


def _read_all(file: int, array: np.ndarray, at: int) -> bool:
    """Fill `array` from the file; False when the file ends before."""
    view = array.data.cast("B") if array.size else memoryview(b"")
    while view:
        read = os.preadv(file, [view], at)
        if not read:
            return False
        view, at = view[read:], at + read
    return True


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        block = os.pread(source, min(_COPY_BYTES, end - start), start)
        if not block:
            return
        _write_all(target, np.frombuffer(block, np.uint8), start)
        start += len(block)
