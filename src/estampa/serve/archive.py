"""Pictures out of a zip file that a stranger sent: plain files alone, inside the folder, within limits."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from estampa.data.sources._picture import SUFFIXES
from estampa.files import storage_errors
from estampa.serve.problems import Problem

MOST_FILES = 20_000
_RATIO = 200  #: a file that unpacks to more than this many times its size is taken for a bomb ...
_SMALL = 1 << 20  #: ... from this size on
_DEPTH, _NAME = 6, 200  #: folders in folders; characters of a name
_BLOCK = 1 << 20
_LITTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  #: what file managers leave in archives


def unpack(path: Path, folder: Path, most: int) -> int:
    """Unpack the files of the zip file `path` into `folder`, which is new, and return how many there are.

    `most`: bytes of all of them together. Raises Problem: no zip file, damaged, encrypted, too many or too large
    files, links, names that lead out of the folder or appear twice; StorageError: the disk is full.
    """
    try:
        with storage_errors(folder), zipfile.ZipFile(path) as archive:
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
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename.lower() for entry in _files(archive)]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):  # the job says what is wrong with it
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
