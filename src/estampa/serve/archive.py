"""Pictures out of a zip file that a stranger sent: plain files alone, inside the folder, within limits."""

from __future__ import annotations

import contextlib
import io
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from estampa.data.sources._picture import SUFFIXES
from estampa.files import storage_errors
from estampa.serve.problems import Problem

MOST_FILES = 20_000
MOST_ENTRIES = 3 * MOST_FILES  #: with folders, and what file managers leave beside each file
_MARK = b"PK\x01\x02"  #: before each entry of the directory
_ENTRY = 1 << 10  #: bytes of an entry, on average; no directory of files that are taken is as long
_TAIL = 1 << 17  #: bytes that are read in search of a directory, whatever its length
_RATIO = 200  #: a file that unpacks to more than this many times its size is taken for a bomb ...
_SMALL = 1 << 20  #: ... from this size on
_DEPTH, _NAME = 6, 200  #: folders in folders; characters of a name
_BLOCK = 1 << 20
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  #: what file managers leave in archives


class _Opened(io.BufferedReader):
    """A zip file whose directory is held to a limit before anything is made of it: it is the first long read."""

    most = 0  #: entries; 0 = the directory has been read

    def read(self, size: int | None = -1, /) -> bytes:
        """Bytes from here on. Raises Problem: a directory of too many entries."""
        if self.most and size is not None and size > max(_TAIL, self.most * _ENTRY):
            raise self._many()
        data = super().read(size)
        if self.most and data.count(_MARK) > self.most:
            raise self._many()
        return data

    def _many(self) -> Problem:
        return Problem("too-large", f"The zip file lists more than {self.most:,} members, the limit.")


@contextlib.contextmanager
def listed_zip(raw: Any, most: int) -> Iterator[zipfile.ZipFile]:
    """A zip file, opened to be read; Problem where its directory lists more than `most` members."""
    with _Opened(raw) as stream:
        stream.most = most
        with zipfile.ZipFile(stream) as archive:
            stream.most = 0
            yield archive


def unpack(path: Path, folder: Path, most: int) -> int:
    """Unpack the files of the zip file `path` into `folder`, which is new, and return how many there are.

    `most`: bytes of all of them together. Raises Problem: no zip file, damaged, encrypted, too many or too large
    files, links, names that lead out of the folder or appear twice; StorageError: the disk is full.
    """
    try:
        with storage_errors(folder), path.open("rb", 0) as raw, listed_zip(raw, MOST_ENTRIES) as archive:
            entries = _files(archive)
            targets = _checked(entries, most)
            left = most
            for entry, target in zip(entries, targets, strict=True):
                left -= _extract(archive, entry, folder / target, left)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise Problem(
            "unreadable", "The zip file is damaged, encrypted, or packed in a way that is not read."
        ) from error
    return len(entries)


def passed_over(path: Path) -> int:
    """How many files of a zip file of pictures are no pictures by name; 0 where none is one, or the file is damaged."""
    try:
        with path.open("rb", 0) as raw, listed_zip(raw, MOST_ENTRIES) as archive:
            names = [entry.filename.lower() for entry in _files(archive)]
    except (
        Problem,
        zipfile.BadZipFile,
        NotImplementedError,
        ValueError,
        OSError,
    ):  # the job says what it is
        return 0
    pictures = sum(name.endswith(SUFFIXES) for name in names)
    return len(names) - pictures if pictures else 0


def _files(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """Its files, without what file managers leave."""
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    return [entry for entry in entries if not set(PurePosixPath(entry.filename).parts) & set(_LITTER)]


def _checked(entries: list[zipfile.ZipInfo], most: int) -> list[PurePosixPath]:
    """Where each entry goes; Problem for what is hostile or too large before anything is unpacked."""
    if not entries:
        raise Problem("unreadable", "The zip file holds no files.")
    if len(entries) > MOST_FILES:
        raise Problem("too-large", f"The zip file holds {len(entries):,} files; allowed are {MOST_FILES:,}.")
    if sum(entry.file_size for entry in entries) > most:
        raise Problem("too-large", f"The zip file unpacks to more than {most:,} bytes.")
    seen: set[str] = set()
    targets = []
    for entry in entries:
        name = entry.filename
        parts = PurePosixPath(name).parts
        kind = stat.S_IFMT(entry.external_attr >> 16)
        plain = name.isprintable() and "\\" not in name and ":" not in name and len(name) <= _NAME
        inside = bool(parts) and len(parts) <= _DEPTH and parts[0] != "/" and not {"..", "."} & set(parts)
        if not plain or not inside:
            raise Problem("unreadable", "The zip file holds a name that leads out of it, or that is not plain.")
        if kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
            raise Problem("unreadable", "The zip file holds a link, a device or an encrypted file.")
        if entry.file_size > _SMALL and entry.file_size > _RATIO * max(entry.compress_size, 1):
            raise Problem("too-large", "The zip file holds a file that unpacks to an absurd size.")
        if name.lower() in seen:
            raise Problem("unreadable", "The zip file holds a name twice.")
        seen.add(name.lower())
        targets.append(PurePosixPath(*parts))
    return targets


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Write one file, and return its size; what it really holds counts, not what the archive says of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as stream:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > left:
                raise Problem("too-large", "The zip file unpacks to more than it says.")
            stream.write(block)
    return written
