"""Source `idx`: the files of MNIST and Fashion-MNIST, gzip or not (format: http://yann.lecun.com/exdb/mnist/).

A folder with train and t10k files side by side keeps its published split; labels are found beside their images
(`images` -> `labels`, `idx3` -> `idx1` in the name). Memory stays flat, from gzip too.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from estampa.data.record import PARTS, Header
from estampa.data.sources._base import Reading, ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._labels import NO_ANSWERS, Answers, encode, part_of
from estampa.data.sources._rows import RowsReading, forbid, record_of, sized
from estampa.errors import SourceError
from estampa.pixels import storable

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_BROKEN = (EOFError, zlib.error, gzip.BadGzipFile)


class IdxFile:
    """One IDX file: magic 0, 0, type, axes, then the axes as big-endian 32-bit numbers, then the values.

    Raises SourceError for a wrong magic number and for a file that is shorter or longer than its header says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stream: IO[bytes] | None = None
        self._position = 0
        with path.open("rb") as stream:
            self._packed = stream.read(2) == b"\x1f\x8b"
        try:
            with self._open() as stream:
                magic = stream.read(4)
                if not _is_magic(magic):
                    raise SourceError(
                        "not an IDX file", where=path, allowed="magic number 0 0 type axes", got=magic.hex(" ")
                    )
                self.dtype: np.dtype[Any] = np.dtype(_TYPES[magic[2]])
                self._offset = 4 + 4 * magic[3]
                axes = stream.read(4 * magic[3])
                if len(axes) < 4 * magic[3]:
                    raise EOFError("its header is cut off")
            self.shape = struct.unpack(f">{magic[3]}I", axes)
            self._require_whole()
        except _BROKEN as error:
            raise SourceError("damaged or truncated", where=path, got=str(error)) from error
        self._row = math.prod(self.shape[1:]) * self.dtype.itemsize

    def __len__(self) -> int:
        return int(self.shape[0])

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows start..stop, (stop - start, ...), in the file's dtype."""
        wanted = (stop - start) * self._row
        try:
            if not self._packed:
                with self.path.open("rb") as flat:
                    flat.seek(self._offset + start * self._row)
                    data = flat.read(wanted)
            else:
                data = self._unpacked(start, wanted)
                self._position = stop
            if len(data) < wanted:
                raise EOFError(f"{wanted - len(data)} bytes are missing")
        except _BROKEN as error:
            raise SourceError("damaged or truncated", where=self.path, got=str(error)) from error
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])

    def _unpacked(self, start: int, wanted: int) -> bytes:
        """Read from the gzip stream, which can only go forwards; earlier rows begin it again."""
        if self._stream is None or start < self._position:
            self.close()
            self._stream, self._position = self._open(), -1
        if start != self._position:
            self._stream.seek(self._offset + start * self._row)
        return self._stream.read(wanted)

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _open(self) -> Any:
        return gzip.open(self.path, "rb") if self._packed else self.path.open("rb")

    def _require_whole(self) -> None:
        wanted = self._offset + math.prod(self.shape) * self.dtype.itemsize
        if not self._packed:
            size = self.path.stat().st_size
        else:
            # gzip ends with its unpacked size modulo 2^32 (RFC 1952, 2.3.1); several members need the long way.
            with self.path.open("rb") as stream:
                stream.seek(-4, 2)
                size = struct.unpack("<I", stream.read(4))[0]
            if size != wanted % (1 << 32):
                with self._open() as whole:
                    size = sum(map(len, iter(lambda: whole.read(1 << 20), b"")))
            else:
                size = wanted
        if size != wanted:
            raise EOFError(f"{size:,} bytes, and its header promises {wanted:,}")


@dataclass(frozen=True)
class _Pair:
    images: IdxFile
    labels: IdxFile | None
    part: str  #: train | validation | test | "" of the file's name


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None for IDX files, and for a folder that holds IDX images; else the reason why not."""
    del options
    if len(paths) == 1 and paths[0].is_dir():
        return None if _image_files(paths[0]) else "no IDX files in the folder"
    strange = [p for p in paths if p.is_dir() or not _is_magic(_first(p))]
    return f"{strange[0].name} does not begin with an IDX magic number" if strange else None


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Pair images with labels and check the files; SourceError when lengths or sizes do not fit."""
    forbid(options, paths[0], "layout", "reshape", "label", "group")
    pairs = _pairs(paths)
    shapes = {tuple(p.images.shape[1:3]) for p in pairs}
    if len(shapes) > 1 or any(len(p.images.shape) != 3 for p in pairs):
        raise SourceError("images are not all of one size", where=paths[0], got=", ".join(map(str, sorted(shapes))))
    n = sum(len(p.images) for p in pairs)
    if n == 0:
        raise SourceError("no rows", where=paths[0])
    answers = _answers(pairs, options)
    parts = [p.part for p in pairs]
    published = "train" in parts and len(set(parts) - {""}) > 1
    dtype = np.dtype(np.uint8)
    for pair in pairs:
        file = pair.images
        dtype = np.promote_types(dtype, storable(file.dtype, lambda file=file: _extremes(file), str(file.path)))  # type: ignore[misc]
    record = record_of("idx", options)
    header = Header(
        n=n,
        shape=sized((*pairs[0].images.shape[1:], 1), record),
        dtype=dtype.name,
        task=answers.task,
        classes=answers.classes,
        origin={"paths": [p.images.path.name for p in pairs]},
        read=record,
        published_split=published,
    )
    prefixes = [p.part or p.images.path.name.split(".")[0] for p in pairs] if len(pairs) > 1 else [""]
    files = [f.path for p in pairs for f in (p.images, p.labels) if f is not None]
    return RowsReading(
        header=header,
        ids=np.concatenate([_ids(len(p.images), name) for p, name in zip(pairs, prefixes, strict=True)]),
        labels=answers.values,
        split=np.concatenate([np.full(len(p.images), PARTS.index(p.part), np.uint8) for p in pairs])
        if published
        else None,
        fingerprint=fingerprint_of("idx 1", stat_facts(files), options),
        fetch=lambda start, stop: (_fetch(pairs, start, stop, dtype), {}),
    )


def _pairs(paths: Sequence[Path]) -> list[_Pair]:
    files = _image_files(paths[0]) if paths[0].is_dir() else list(paths)
    opened = [IdxFile(p) for p in files]
    given = {f.path.name: f for f in opened if len(f.shape) == 1}
    images = [f for f in opened if len(f.shape) > 1]
    if not images:
        raise SourceError("labels without images", where=paths[0], cure="Give the images' file")
    pairs = []
    for file in images:
        labels = _labels_of(file.path, given)
        if labels is None and len(given) == len(images) == 1:
            labels = next(iter(given.values()))
        if labels is not None and (len(labels.shape) != 1 or len(labels) != len(file)):
            raise SourceError(
                "images and labels do not pair", where=file.path, got=f"{len(file)} images, labels {labels.shape}"
            )
        words = file.path.name.lower().replace(".", "-").replace("_", "-").split("-")
        number = next(
            (part_of(w) for w in words if part_of(w) is not None), PARTS.index("test") if "t10k" in words else 0
        )
        pairs.append(_Pair(file, labels, PARTS[number or 0] if number else ""))
    order = ["train", "validation", "test", ""]
    return sorted(pairs, key=lambda p: order.index(p.part))


def _labels_of(images: Path, given: dict[str, IdxFile]) -> IdxFile | None:
    """The labels' file beside an images' file, with or without .gz."""
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    if name == images.name.removesuffix(".gz"):
        return None
    for candidate in (name, name + ".gz"):
        if candidate in given:
            return given[candidate]
        if (images.parent / candidate).is_file():
            return IdxFile(images.parent / candidate)
    return None


def _answers(pairs: Sequence[_Pair], options: ReadOptions) -> Answers:
    if all(p.labels is None for p in pairs):
        return NO_ANSWERS
    codes = [
        np.full(len(p.images), -1) if p.labels is None else p.labels.rows(0, len(p.labels)).astype(np.int64)
        for p in pairs
    ]
    return encode(np.concatenate(codes), options.classes, pairs[0].images.path, lenient=options.record is not None)


def _fetch(pairs: Sequence[_Pair], start: int, stop: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Rows start..stop of all files, one after the other: (stop - start, h, w, 1)."""
    parts, first = [], 0
    for pair in pairs:
        begin, end = max(start - first, 0), min(stop - first, len(pair.images))
        if begin < end:
            parts.append(pair.images.rows(begin, end))
        first += len(pair.images)
    return np.concatenate(parts).astype(dtype, copy=False)[..., None]


def _extremes(file: IdxFile) -> tuple[float, float]:
    blocks = (file.rows(i, min(len(file), i + 1024)) for i in range(0, len(file), 1024))
    ranges = [(float(b.min()), float(b.max())) for b in blocks if b.size]
    return min((low for low, _ in ranges), default=0.0), max((high for _, high in ranges), default=0.0)


def _ids(n: int, prefix: str) -> np.ndarray:
    numbers = np.arange(n).astype(str)
    return np.char.add(f"{prefix}-", numbers) if prefix else numbers


def _image_files(folder: Path) -> list[Path]:
    """IDX files of three axes in a folder; a .gz beside its unpacked twin is left out."""
    found = [
        p for p in sorted(folder.iterdir()) if p.is_file() and "idx3" in p.name.lower() and _first(p)[3:4] == b"\x03"
    ]
    return [p for p in found if p.suffix != ".gz" or p.with_suffix("") not in found]


def _first(path: Path) -> bytes:
    """First four bytes, unpacked; b"" when there are none."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
        if start[:2] == b"\x1f\x8b":
            with gzip.open(path, "rb") as stream:
                return stream.read(4)
    except (OSError, EOFError, zlib.error):
        return b""
    return start


def _is_magic(magic: bytes) -> bool:
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPES and 1 <= magic[3] <= 4
