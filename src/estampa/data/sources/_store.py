"""Where the bytes of pictures, or of other small files, lie: a folder, a tar or a zip. Nothing is unpacked to disk.

Names are relative, with "/" between folders. Hidden files, `._*`, `.DS_Store`, `Thumbs.db` and `__MACOSX` are left
out. An archive that holds links, devices, absolute names or names with ".." is refused whole: it was made to escape.
"""

from __future__ import annotations

import os
import stat
import struct
import tarfile
import weakref
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath

from estampa.data.sources._picture import SUFFIXES, Unreadable
from estampa.errors import SourceError

ARCHIVES = (".tar", ".zip")
MOST_BYTES = 1 << 28  #: of one picture's file; more is taken for an attack or a mistake
DEEPEST = 200  #: folders in folders; nobody keeps pictures deeper
MOST_LOOKED_AT = 1000  #: members of a tar, where only their kind is asked
_IGNORED = {"thumbs.db", "desktop.ini", "__macosx"}
#: Endings of pictures and films that nothing here reads: who keeps some in a folder is told.
UNREAD = (
    *(".bmp", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".psd", ".svg", ".ico", ".tga", ".ppm", ".pgm", ".pdf"),
    *(".cr2", ".nef", ".arw", ".dng", ".raw", ".mp4", ".mov", ".avi", ".webm"),
)


class Store(ABC):
    """Files by name. `names` are those with one of `suffixes`, pictures' by default, sorted."""

    path: Path
    names: list[str]
    suffixes: tuple[str, ...] = SUFFIXES
    sound: bool = False  #: bytes that are read whole are known to be those that were stored
    misnamed: Collection[str] = (
        frozenset()
    )  #: those of `names` that stand for a name that is not Unicode, and say which

    @abstractmethod
    def read(self, name: str, count: int = -1) -> bytes:
        """First `count` bytes of a picture, or all; raises Unreadable. Several threads may read at once."""

    def _require_unicode(self, name: str) -> None:
        """Refuse to read what could be written to no table and matched by no list."""
        if name in self.misnamed:
            raise Unreadable("its name is not Unicode; rename it")

    def location(self, name: str) -> Path | None:  # noqa: ARG002 - what lies in an archive has none
        """The file itself, for those that are too large to be read whole; None inside an archive."""
        return None

    @abstractmethod
    def facts(self) -> list[object]:
        """What tells changed contents without reading them."""

    def close(self) -> None:  # noqa: B027 - a folder holds nothing open
        """Let go of the files."""


class Folder(Store):
    """Pictures in a folder and below it. Links to folders are followed, each real folder once."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        self.path, self._root, self.suffixes = path, str(path), suffixes
        self._sizes: dict[str, tuple[int, int]] = {}
        self.misnamed: set[str] = set()
        self.bare: list[str] = []  #: folders without a picture in or below them
        self.unread: Counter[str] = Counter()  #: files by endings of UNREAD
        self._walk(path, "", set())
        self.names = sorted(self._sizes)

    def _walk(self, folder: Path, prefix: str, seen: set[tuple[int, int]]) -> None:
        status, before = folder.stat(), len(self._sizes)
        if prefix.count("/") > DEEPEST:
            raise SourceError(
                "folders are nested too deeply", where=folder, allowed=f"{DEEPEST} levels",
                cure="Point to the folder that holds a folder per class.",
            )  # fmt: skip
        if (status.st_dev, status.st_ino) in seen:
            self.bare.append(prefix)
            return
        seen.add((status.st_dev, status.st_ino))
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as error:
            raise SourceError("the folder cannot be read", where=folder, got=error.strerror or "") from error
        for entry in entries:
            if _ignored(entry.name):
                continue
            own = prefix + _spelt(entry.name)
            try:
                if entry.is_dir():
                    self._walk(Path(entry.path), f"{own}/", seen)
                elif entry.name.lower().endswith(self.suffixes):
                    facts = entry.stat()
                    self._sizes[own] = (facts.st_size, facts.st_mtime_ns)
                    below = entry.path[len(self._root.rstrip("/")) + 1 :]
                    if _spelt(below) != below:
                        self.misnamed.add(own)
                elif entry.name.lower().endswith(UNREAD):
                    self.unread[Path(entry.name).suffix.lower()] += 1
            except OSError as error:  # a link to nowhere, or to itself: a row, so that it is named when it is read
                if entry.name.lower().endswith(self.suffixes):
                    self._sizes[own] = (0, 0)
                elif not entry.is_symlink():
                    raise SourceError("cannot be looked at", where=entry.path, got=error.strerror or "") from error
        if len(self._sizes) == before:
            self.bare.append(prefix)

    def read(self, name: str, count: int = -1) -> bytes:
        """See Store."""
        self._require_unicode(name)
        return _read_file(f"{self._root}/{name}", count)

    def location(self, name: str) -> Path | None:
        """See Store."""
        return None if name in self.misnamed else Path(self._root, name)

    def facts(self) -> list[object]:
        """See Store."""
        return [str(self.path.absolute()), *([n, *self._sizes[n]] for n in self.names)]


class Files(Store):
    """Pictures given one by one, in the order given; named by their paths where two file names are alike."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.path = paths[0].parent
        alike = len({p.name for p in paths}) < len(paths)
        self._paths = {_spelt(str(p) if alike else p.name): p for p in paths}
        self.names = list(self._paths)
        self.misnamed = {name for name, p in self._paths.items() if _spelt(p.name) != p.name}

    def read(self, name: str, count: int = -1) -> bytes:
        """See Store."""
        self._require_unicode(name)
        return _read_file(str(self._paths[name]), count)

    def location(self, name: str) -> Path | None:
        """See Store."""
        return self._paths[name]

    def facts(self) -> list[object]:
        """See Store."""
        return [[str(p.absolute()), p.stat().st_size, p.stat().st_mtime_ns] for p in self._paths.values()]


class Archive(Store):
    """What a tar and a zip share: safe names, and facts."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        self.path, self.suffixes = path, suffixes
        self.misnamed: set[str] = set()

    def facts(self) -> list[object]:
        """See Store."""
        status = self.path.stat()
        return [str(self.path.absolute()), status.st_size, status.st_mtime_ns]

    def _add(self, name: str, found: dict[str, int], value: int) -> None:
        if not _wanted(name, self.suffixes):
            return
        clean = _clean(name)
        if clean in found:
            raise SourceError(f"{clean!r} stands twice in the archive", where=self.path)
        found[clean] = value
        if _spelt(name) != name:
            self.misnamed.add(clean)

    def _require_inside(self, name: str) -> None:
        if (
            name.startswith(("/", "\\"))
            or ".." in name.replace("\\", "/").split("/")
            or name[1:2] == ":"
            or "\0" in name
        ):
            raise SourceError(
                f"the member {name!r} points outside of the archive",
                where=self.path,
                cure="Do not trust this file; ask who made it",
            )

    def _refuse(self, name: str, what: str) -> None:
        raise SourceError(f"the member {name!r} is {what}", where=self.path, allowed="folders and regular files")


class Tar(Archive):
    """Pictures in a tar that is not compressed, read at their offsets."""

    def __init__(self, path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        super().__init__(path, suffixes)
        found: dict[str, int] = {}
        self._size: dict[str, int] = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    archive.members = []  # type: ignore[attr-defined]  # it would keep a kilobyte of each
                    self._require_inside(member.name)
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        self._refuse(member.name, "a link, a device or sparse")
                    self._add(member.name, found, member.offset_data)
                    self._size[_clean(member.name)] = member.size
        except (tarfile.TarError, EOFError) as error:
            raise SourceError("not a tar file, or truncated", where=path, got=str(error)) from error
        self._offset = found
        self.names = sorted(found)
        self._file = os.open(path, os.O_RDONLY)
        self._closed = weakref.finalize(self, os.close, self._file)

    def read(self, name: str, count: int = -1) -> bytes:
        """See Store."""
        if name not in self._offset:
            raise Unreadable("file not found")
        self._require_unicode(name)
        size = self._size[name]
        _require_small(size)
        wanted = size if count < 0 else min(count, size)
        data = os.pread(self._file, wanted, self._offset[name])
        if len(data) < wanted:
            raise Unreadable("truncated archive")
        return data

    def close(self) -> None:
        """See Store."""
        self._closed()


class Zip(Archive):
    """Pictures in a zip, stored or deflated. Each has a CRC-32, which is checked where it is read whole."""

    sound = True

    def __init__(self, path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
        super().__init__(path, suffixes)
        found: dict[str, int] = {}
        self._entries: dict[str, zipfile.ZipInfo] = {}
        try:
            self._archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise SourceError("not a zip file, or truncated", where=path, got=str(error)) from error
        for i, entry in enumerate(self._archive.infolist()):
            self._require_inside(entry.filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if entry.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                self._refuse(entry.filename, "a link or a device")
            if entry.flag_bits & 1:
                self._refuse(entry.filename, "encrypted")
            self._add(entry.filename, found, i)
            self._entries[_clean(entry.filename)] = entry
        self.names = sorted(found)
        self._file = os.open(path, os.O_RDONLY)
        self._last = os.fstat(self._file).st_size
        self._closed = weakref.finalize(self, os.close, self._file)

    def read(self, name: str, count: int = -1) -> bytes:
        """See Store."""
        if name not in self._entries:
            raise Unreadable("file not found")
        entry = self._entries[name]
        _require_small(entry.file_size)
        if entry.compress_type == zipfile.ZIP_STORED:
            return self._stored(entry, count)
        try:
            with self._archive.open(entry) as stream:
                return stream.read() if count < 0 else stream.read(count)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
            raise Unreadable("damaged member of the archive") from error

    def _stored(self, entry: zipfile.ZipInfo, count: int) -> bytes:
        """Bytes that are not compressed, from their place: zipfile's own way takes 40 microseconds a member."""
        if not 0 <= entry.header_offset <= self._last:  # a directory that lies about its own place
            raise Unreadable("damaged member of the archive")
        local = os.pread(self._file, 30, entry.header_offset)  # APPNOTE.TXT 6.3, section 4.3.7
        if len(local) < 30 or local[:4] != b"PK\3\4":
            raise Unreadable("damaged member of the archive")
        begins = entry.header_offset + 30 + sum(struct.unpack_from("<HH", local, 26))  # a name, and extra fields
        wanted = entry.file_size if count < 0 else min(count, entry.file_size)
        data = os.pread(self._file, wanted, begins)
        if len(data) < wanted or (wanted == entry.file_size and zlib.crc32(data) != entry.CRC):
            raise Unreadable("damaged member of the archive")
        return data

    def close(self) -> None:
        """See Store."""
        self._archive.close()
        self._closed()


def open_store(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Store:
    """Open a folder, a .tar or a .zip of files that end in one of `suffixes`; pictures by default.

    Raises SourceError for anything else, and for hostile or damaged archives.
    """
    if path.is_dir():
        return Folder(path, suffixes)
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return Zip(path, suffixes)
    if suffix == ".tar":
        return Tar(path, suffixes)
    raise SourceError("neither a folder nor an archive", where=path, allowed=", ".join(ARCHIVES))


def first_inside(path: Path, suffixes: tuple[str, ...]) -> str:
    """Name of the first file in an archive that ends in one of `suffixes`, or "" (also for a damaged archive).

    Of a tar the first MOST_LOOKED_AT members tell: there is no list of them that could be read at once.
    """
    try:
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as packed:
                return next((name for name in packed.namelist() if _wanted(name, suffixes)), "")
        with tarfile.open(path, "r:") as archive:
            first = islice(archive, MOST_LOOKED_AT)
            return next((member.name for member in first if _wanted(member.name, suffixes)), "")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, NotImplementedError):
        return ""


def _wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    return name.lower().endswith(suffixes) and not any(_ignored(part) for part in PurePosixPath(name).parts)


def _clean(name: str) -> str:
    """An archive member's name as ours are: no "." or doubled slashes, and writable as text."""
    return _spelt("/".join(PurePosixPath(name).parts))


def _spelt(name: str) -> str:
    r"""A file's name, with bytes that are not UTF-8 spelt out as \xe9: the system's own name cannot be written down."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _IGNORED


def _read_file(path: str, count: int) -> bytes:
    """Read a file, or its first bytes, in as few calls as there can be: this runs twice for every picture."""
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its writer for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise Unreadable("file not found") from error
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be read") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        _require_small(status.st_size)
        return os.read(handle, status.st_size if count < 0 else count)
    except OSError as error:
        raise Unreadable(error.strerror or "cannot be read") from error
    finally:
        os.close(handle)


def _require_small(size: int) -> None:
    if size > MOST_BYTES:
        raise Unreadable(f"file of {size >> 20} MiB, the limit is {MOST_BYTES >> 20}")
