"""Arrays inside .npy and .npz files, opened without reading them; any stretch of rows is read when it is asked for.

Only numbers and texts are read. An array of Python objects would have to be unpickled, which runs code: refused.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from estampa.data.sources._planes import extremes_of
from estampa.errors import SourceError

_LOCAL_HEADER = 30  # bytes of a zip entry's local header before its name; PKWARE APPNOTE 4.3.7


@dataclass(frozen=True)
class Packed:
    """Facts that stand in front of an array's values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool


class ArrayFile:
    """One array of n rows in a file. `rows` gives any stretch of them; memory holds that stretch only.

    Values that lie flat in the file are read where they are. A deflated member of an .npz can only be read forwards:
    asking for earlier rows starts again at its beginning. An array in Fortran order is mapped, or read whole when it
    is deflated, since its rows are scattered over the file.
    """

    def __init__(self, path: Path, member: str = "") -> None:
        self.path, self.member, self.key = path, member, member.removesuffix(".npy")
        self.name = f"{path}: {member.removesuffix('.npy')}" if member else str(path)
        self._stream: IO[bytes] | None = None
        self._archive: zipfile.ZipFile | None = None
        self._position = 0
        self._scattered: np.ndarray | None = None
        self._values_at: int | None = None
        try:
            with self._open() as stream:
                self.head, offset = _read_head(stream, self.name), stream.tell()
            self._locate(offset)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, KeyError) as error:
            raise SourceError("damaged or truncated", where=self.name, got=str(error)) from error
        self.shape, self.dtype = self.head.shape, self.head.dtype
        self.bad: Mapping[int, str] = {}

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 0

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, (stop - start, ...). Raises SourceError when the file is damaged."""
        if self._scattered is not None:
            return self._scattered[start:stop]
        if stop <= start:
            return np.empty((0, *self.head.shape[1:]), self.head.dtype)
        try:
            return self._read(start, stop)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise SourceError("damaged or truncated", where=self.name, got=str(error)) from error

    def whole(self) -> np.ndarray:
        """All of it, for the small arrays: labels, ids, names."""
        return np.array(self.rows(0, len(self))) if self.shape else np.array(self._scalar())

    def extremes(self) -> tuple[float, float]:
        """Lowest and highest finite value, read in blocks."""
        return extremes_of(self)

    def close(self) -> None:
        """Let go of the file."""
        for thing in (self._stream, self._archive):
            if thing is not None:
                thing.close()
        self._stream = self._archive = None

    def _open(self) -> IO[bytes]:
        """Open the raw bytes of the .npy, unpacked."""
        if not self.member:
            return self.path.open("rb")
        self._archive = self._archive or zipfile.ZipFile(self.path)
        return self._archive.open(self.member)

    def _locate(self, offset: int) -> None:
        """Find where the values lie, `offset` bytes into the unpacked .npy, and that they are all there."""
        head, start = self.head, offset
        size = math.prod(head.shape) * head.dtype.itemsize
        if self.member:
            assert self._archive is not None
            entry = self._archive.getinfo(self.member)
            if entry.file_size < offset + size:
                raise ValueError("fewer values than its header says")
            if entry.compress_type != zipfile.ZIP_STORED:
                if head.fortran and len(head.shape) > 1:
                    self._scattered = self._all_packed(offset)
                return
            with self.path.open("rb") as stream:
                stream.seek(entry.header_offset)
                local = _exactly(stream, _LOCAL_HEADER)
            start += entry.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", local[26:30]))
        if self.path.stat().st_size < start + size:
            raise ValueError("fewer values than its header says")
        if head.fortran and len(head.shape) > 1 and size:
            self._scattered = np.memmap(self.path, head.dtype, "r", start, head.shape, "F")
        else:
            self._values_at = start

    def _all_packed(self, offset: int) -> np.ndarray:
        """Read a deflated array in Fortran order whole: its rows are scattered over the stream."""
        with self._open() as stream:
            _exactly(stream, offset)
            values = np.frombuffer(
                _exactly(stream, math.prod(self.head.shape) * self.head.dtype.itemsize), self.head.dtype
            )
        return values.reshape(self.head.shape, order="F")

    def _row_bytes(self) -> int:
        return math.prod(self.head.shape[1:]) * self.head.dtype.itemsize

    def _read(self, start: int, stop: int) -> np.ndarray:
        row = self._row_bytes()
        if self._values_at is not None:
            values = np.empty((stop - start, *self.head.shape[1:]), self.head.dtype)
            with self.path.open("rb", buffering=0) as flat:
                flat.seek(self._values_at + start * row)
                _fill(flat, values)
            return values
        if self._stream is None or start < self._position:
            if self._stream is not None:
                self._stream.close()
            self._stream = self._open()
            _read_head(self._stream, self.name)
            self._position = 0
        while self._position < start:
            step = min(start - self._position, max(1, (1 << 22) // max(1, row)))
            _exactly(self._stream, step * row)
            self._position += step
        values = np.empty((stop - start, *self.head.shape[1:]), self.head.dtype)
        _fill(self._stream, values)
        self._position = stop
        return values

    def _scalar(self) -> Any:
        with self._open() as stream:
            _read_head(stream, self.name)
            return np.frombuffer(_exactly(stream, self.head.dtype.itemsize), self.head.dtype)[0]


def members(path: Path) -> list[str]:
    """Names of the arrays in an .npz, in file order, without ".npy". Raises SourceError when it is not a zip file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    except (zipfile.BadZipFile, EOFError) as error:
        raise SourceError("not an .npz file, or truncated", where=path, got=str(error)) from error


def _read_head(stream: IO[bytes], name: str) -> Packed:
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown version {version} of the .npy format")
    read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise SourceError(
            "holds Python objects, which only unpickling could read and estampa never does",
            where=name,
            cure="Save it again as numbers or texts: array.astype(float) or array.astype(str)",
        )
    return Packed(shape, dtype, fortran)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    parts, left = [], count
    while left:
        part = stream.read(left)
        if not part:
            raise EOFError(f"{left} bytes are missing")
        parts.append(part)
        left -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _fill(stream: Any, values: np.ndarray) -> None:
    """Read the bytes of a C-contiguous array from the stream; EOFError when it ends first."""
    view = memoryview(values.reshape(-1).view(np.uint8).data) if values.size else memoryview(b"")
    while len(view):
        count = stream.readinto(view)
        if not count:
            raise EOFError(f"{len(view)} bytes are missing")
        view = view[count:]
