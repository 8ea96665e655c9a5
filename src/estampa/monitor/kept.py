"""Inputs that somebody consented to have kept: one file each, with the moment after which it is deleted in its name."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from estampa.errors import InputError, StorageError
from estampa.files import storage_errors, strict_json, sync_folder, write_atomic

FORMAT = 1
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_FILE = re.compile(r"(?P<id>[A-Za-z0-9][A-Za-z0-9._-]{0,127})\.(?P<end>\d{8}T\d{6}Z)\.npz(\.part)?", re.ASCII)
_END = "%Y%m%dT%H%M%SZ"
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST = timedelta(days=3653)  #: ten years: what is kept longer is an archive, not a service's store


def retention_of(text: str) -> timedelta:
    """How long inputs are kept, from "30d", "12h", "90min", "45s" or "2w"; InputError for anything else."""
    found = re.fullmatch(r"(\d{1,8})\s*(s|min|h|d|w)", text.strip(), re.ASCII)
    length = timedelta(seconds=int(found[1]) * _UNITS[found[2]]) if found else timedelta()
    if not timedelta() < length <= _LONGEST:
        raise InputError(
            "not a retention time", where="retention", allowed="a number and s, min, h, d or w, at most ten years",
            got=repr(text), cure="Write 30d for thirty days.",
        )  # fmt: skip
    return length


@dataclass(frozen=True)
class Input:
    """A kept input: `array` is what the model was fed, `facts` is what was said of it, `expires` when it goes (UTC)."""

    id: str
    array: np.ndarray
    facts: dict[str, Any]
    expires: datetime


class Kept:
    """The store of inputs, a folder of files ID.EXPIRY.npz that only their owner may read.

    The expiry is fixed when an input is stored: a promise that was given holds when the retention is changed later.

    Parameters
    ----------
    folder : made when the first input is stored.
    retention : how long inputs that are stored from now on stay.
    """

    def __init__(self, folder: Path | str, retention: timedelta = timedelta(days=30)) -> None:
        self.folder, self.retention = Path(folder), retention
        if not timedelta() < retention <= _LONGEST:
            raise InputError("not a retention time", where="retention", allowed="up to ten years", got=str(retention))
        if self.folder.exists() and not self.folder.is_dir():
            raise StorageError("is a file, not a folder", where=folder, cure="Choose another place.")

    def put(self, id: str, array: np.ndarray, facts: Mapping[str, Any], now: datetime | None = None) -> Path:
        """Store an input whole or not at all; returns its file.

        Parameters
        ----------
        id : of the answer: letters, digits, ".", "_", "-", at most 128.
        array : what the model was fed, of numbers.
        facts : what is known of it (consent, model, ...), plain types ready for JSON.
        now : the moment from which the retention counts.

        Raises InputError for an id or an array that cannot be stored, StorageError when the disk is full.
        """
        if not _ID.fullmatch(id):
            raise InputError(
                "an id that is no name of a file", where="kept inputs", got=repr(id[:80]),
                allowed="letters, digits, '.', '_', '-', at most 128",
            )  # fmt: skip
        if array.dtype.kind not in "biuf":
            raise InputError("an input holds numbers", where=id, got=str(array.dtype))
        end = (now or datetime.now(UTC)).astimezone(UTC) + self.retention
        record = {"format": FORMAT, "id": id, "expires": end.strftime(_END), "facts": dict(facts)}
        packed, text = io.BytesIO(), json.dumps(record, ensure_ascii=False, allow_nan=False).encode()
        np.savez(packed, input=array, record=np.frombuffer(text, np.uint8))
        path = self.folder / f"{id}.{end.strftime(_END)}.npz"
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomic(path, packed.getvalue(), private=True)
        return path

    def ids(self, now: datetime | None = None) -> list[str]:
        """Ids of all that is stored, sorted; with `now`, of what has not expired then."""
        return sorted({name for name, end, file in self._files() if _whole(file) and (now is None or end > now)})

    def ends(self) -> list[tuple[str, datetime]]:
        """Id and the moment of its deletion (UTC) of all that is stored, sorted."""
        return sorted((name, end) for name, end, file in self._files() if _whole(file))

    def read(self, id: str) -> Input:
        """What is stored under exactly this id; InputError where there is nothing, or where the file is damaged."""
        found = [(end, file) for name, end, file in self._files(f"{id}.") if name == id and _whole(file)]
        if not found:
            raise self._nothing(id)
        return self._read(id, *found[-1])

    def each(self, ids: Iterable[str]) -> Iterator[Input]:
        """What is stored under these ids, one at a time in their order; the folder is listed once. Raises as `read`."""
        found = {name: (end, file) for name, end, file in self._files() if _whole(file)}  # the last one to go
        for name in ids:
            if name not in found:
                raise self._nothing(name)
            yield self._read(name, *found[name])

    def _nothing(self, id: str) -> InputError:
        return InputError("nothing is kept under this id", where=self.folder, got=repr(id[:80]))

    def _read(self, id: str, end: datetime, file: str) -> Input:
        path = self.folder / file
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                array, record = arrays["input"], strict_json(arrays["record"].tobytes())
            if record["format"] != FORMAT or record["id"] != id:
                raise ValueError("of another id or format")
            return Input(id, array, dict(record["facts"]), end)
        except (KeyError, TypeError, ValueError, OSError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
            raise InputError("a kept input is damaged", where=path, got=str(error)[:120]) from error

    def purge(self, now: datetime | None = None) -> int:
        """Delete what has expired; returns how many files went."""
        moment = now or datetime.now(UTC)
        return self._delete([file for _, end, file in self._files() if end <= moment])

    def forget(self, id: str) -> int:
        """Delete what is stored under `id`, or under its parts `id`.0, `id`.1, ...; returns how many files went."""
        return self._delete([file for name, _, file in self._files(id) if belongs(name, id)])

    def _files(self, begin: str = "") -> Iterator[tuple[str, datetime, str]]:
        """Id, expiry and name of each file that is ours and begins so, parts of a write that was killed among them.

        A service looks here for each page to label, in a folder of any size: names alone are looked at.
        """
        try:
            with os.scandir(self.folder) as entries:
                names = [entry.name for entry in entries if entry.name.startswith(begin)]
        except (FileNotFoundError, NotADirectoryError):
            return
        for name in sorted(names):
            found = _FILE.fullmatch(name)
            if found:
                try:
                    end = datetime.fromisoformat(found["end"])
                except ValueError:
                    continue  # digits that are no date: not a file of this store
                yield found["id"], end, name

    def _delete(self, files: list[str]) -> int:
        with storage_errors(self.folder):
            for file in files:
                (self.folder / file).unlink(missing_ok=True)  # another process may have been faster
            if files:
                sync_folder(self.folder)
        return len(files)


def _whole(file: str) -> bool:
    """Whether it is a file that was written to its end."""
    return file.endswith(".npz")


def belongs(name: str, id: str) -> bool:
    """Whether `name` is `id`, or one of its parts: a request's answers are its id, a point and their number."""
    rest = name.removeprefix(id)
    return name.startswith(id) and (not rest or bool(re.fullmatch(r"\.\d+", rest, re.ASCII)))
