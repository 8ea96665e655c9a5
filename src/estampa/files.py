"""Files written whole or not at all, and hashed; JSON from outside, read strictly."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from estampa.errors import InputError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ELSEWHERE = "Choose another place, or get the right to write there."
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the system's word for a full or read-only disk into a StorageError that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                "the disk is full", where=path, got=error.strerror or "", cure="Free space, then run it again."
            ) from error
        if error.errno in _FORBIDDEN:
            raise StorageError("cannot be written", where=path, got=error.strerror or "", cure=_ELSEWHERE) from error
        raise


def write_atomic(path: Path, content: bytes | str, *, private: bool = False) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a half.

    `private`: only the file's owner may read it, whatever the folder and the umask allow.
    Raises StorageError when the disk is full or the place cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    part = path.with_name(path.name + ".part")
    with storage_errors(path):
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if private else 0o666)
        try:
            with os.fdopen(handle, "wb") as stream:
                if private:  # a part that was left behind keeps the rights that it had
                    os.fchmod(handle, 0o600)
                stream.write(data)
                stream.flush()
                os.fsync(handle)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_writable(path: Path) -> None:
    """Raise StorageError now, before any work is done, when `path` could not be written at the end."""
    folder = path.parent
    with storage_errors(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise StorageError(
                "its folder is a file", where=path, got=str(error), cure="Choose another place."
            ) from error
        except OSError as error:
            if error.errno in (*_FULL, *_FORBIDDEN):
                raise
            got = error.strerror or str(error)
            raise StorageError(
                "its folder cannot be made", where=path, got=got, cure="Choose another place."
            ) from error
    if not os.access(folder, os.W_OK):
        raise StorageError("cannot be written", where=folder, cure=_ELSEWHERE)


def require_new_folder(folder: Path) -> None:
    """Raise now, before any work is done, unless `folder` is empty or can be made. Nothing is made.

    InputError for one that holds something or is a file; StorageError where it could not be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("is not a new or empty folder", where=folder, cure="Choose another folder with -o.")
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise StorageError("its folder is a file", where=folder, got=there, cure="Choose another place.")
    if not os.access(there, os.W_OK):
        raise StorageError("cannot be written", where=there, cure=_ELSEWHERE)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path` (the file `path`.lock beside it); another process that wants it waits.

    The system lets the lock go when its holder ends, however it ends.
    """
    require_writable(path)
    with storage_errors(path):
        handle = _lock_file(path.with_name(path.name + ".lock"))
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _lock_file(path: Path) -> int:
    """Open a lock file; one that somebody else made may be read only, which is enough to wait for it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def strict_json(text: bytes) -> Any:
    """JSON from outside, in UTF-8: a key that appears twice, NaN, infinities and bottomless nesting are refused.

    Raises ValueError that says what is wrong.
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) != len(pairs):
        raise ValueError("a key appears twice")
    return tree


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
