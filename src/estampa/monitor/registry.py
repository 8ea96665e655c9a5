"""Which bundle holds which name, since when, by whom and why: a file of hash-chained lines, `registry.jsonl`.

Each line holds the SHA-256 of the line before, so that no line can be changed or taken out from the middle unseen; that
the end is missing is seen against a head (the SHA-256 of the last line) that was kept elsewhere. The file is written
whole or not at all, under a lock: a reader sees all of a change or nothing, and a full disk leaves what was there.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from estampa.bundle.audit import read_regular
from estampa.bundle.manifest import MANIFEST
from estampa.bundle.store import Bundle
from estampa.errors import BundleError, CheckFailed, InputError, nearest
from estampa.files import locked, require_writable, sha256_of, strict_json, write_atomic
from estampa.monitor.line import moment, stamp
from estampa.plain import numbered

FILE = "registry.jsonl"  #: what it is called, where only its folder is named
FORMAT = 1  #: raise it when an older estampa would misread a line; go on reading the old ones, with a test of each
ACTIONS = ("promote", "rollback")
LONGEST = 2000  #: characters of a reason
_LIMIT = 64 << 20  #: bytes of a registry
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEYS = ("format", "number", "time", "who", "action", "name", "version", "path", "hashes", "why", "previous")
_HASHES = ("bundle", "model", "data", "recipe")
_RESTORE = "Restore it from a copy, and hold it against a head that was kept elsewhere."


@dataclass(frozen=True)
class Entry:
    """One line of the registry: from then on `name` was this bundle.

    Attributes
    ----------
    number : of the line, from 1.
    time : UTC.
    who, why : by whom and for what reason.
    action : "promote" or "rollback".
    name : as "champion".
    version : of the bundle in this registry, from 1; the same bundle always has the same.
    path : the bundle's folder, absolute.
    hashes : SHA-256 of the bundle (its manifest), of its model.onnx, of the data and of the recipe.
    previous : SHA-256 of the line before, "" for the first.
    sha256 : of this line.
    """

    number: int
    time: datetime
    who: str
    action: str
    name: str
    version: int
    path: Path
    hashes: dict[str, str]
    why: str
    previous: str
    sha256: str

    @property
    def model(self) -> str:
        """What `Bundle.hash` says, and so answers and log lines."""
        return self.hashes["bundle"][:12]

    def to_json(self) -> dict[str, Any]:
        """Plain types, with the short hash of the model."""
        return {**vars(self), "time": stamp(self.time), "path": str(self.path), "model": self.model}


class Registry:
    """A registry file, or the folder that holds one called registry.jsonl. Nothing is read when it is made; `promote`
    makes the file when it is not there.

    All methods that read raise InputError for a registry that is not there, damaged, or no registry; the message names
    the line.
    """

    def __init__(self, path: Path | str) -> None:
        given = Path(path)
        self.path = given / FILE if given.is_dir() else given

    @property
    def _file(self) -> Path:
        """Where the path leads now: it may be a link, and what it stands for is what is replaced."""
        return Path(os.path.realpath(self.path))

    def history(self) -> list[Entry]:
        """All lines, oldest first; the chain is checked on the way."""
        return _entries(self._file, self._text())

    def named(self, name: str) -> Entry:
        """What holds `name` now; InputError, with the names there are, where nothing does."""
        entries = self.history()
        found = _current(entries, name)
        if found is None:
            known = sorted({entry.name for entry in entries})
            raise InputError(
                f"no model is named {name!r}", where=self.path, allowed=", ".join(known), cure=nearest(name, known)
            )
        return found

    def open(self, entry: Entry) -> Bundle:
        """The bundle of an entry, audited; BundleError when it is gone, or what is there by now is another one."""
        if not entry.path.exists():
            raise BundleError(
                f"version {entry.version}, model {entry.model}, is no longer at its place", where=entry.path,
                cure="Put it back; or promote a copy of it, or another bundle, from where that is.",
            )  # fmt: skip
        bundle = Bundle.open(entry.path)
        if _sha256(bundle) != entry.hashes["bundle"]:
            raise BundleError(
                "not the bundle that was promoted", where=entry.path, allowed=entry.model, got=bundle.hash,
                cure="Put that bundle back in its place, or promote the one that is there.",
            )  # fmt: skip
        return bundle

    def verify(self, head: str = "") -> str:
        """The SHA-256 of the last line, which to keep elsewhere, after the whole chain was checked.

        `head` is one that was kept: its first 12 digits or more. CheckFailed when no line has it, since lines are
        missing at the end then, or all was written anew.
        """
        entries = self.history()
        wanted = head.strip().lower()
        if wanted and not re.fullmatch(r"[0-9a-f]{12,64}", wanted):
            raise InputError("not a head", where=self.path, allowed="12 to 64 hexadecimal digits", got=repr(head[:80]))
        if wanted and not any(entry.sha256.startswith(wanted) for entry in entries):
            raise CheckFailed(
                "lines are missing at its end, or it was written anew: no line has the head that was kept",
                where=self.path, allowed=head, got=f"{numbered(len(entries), 'line')}, the last {entries[-1].sha256}",
                cure=_RESTORE,
            )  # fmt: skip
        return entries[-1].sha256

    def promote(
        self, bundle: Path | str, name: str = "champion", *, why: str, who: str = "", instead_of: str = ""
    ) -> Entry:
        """Let `name` be this bundle from now on; returns the new line.

        Parameters
        ----------
        bundle : a bundle, a run folder, or REGISTRY:NAME. It is audited first, and stays where it is.
        name : letters, digits, "_", ".", "-".
        why : the reason, for whoever asks in a year.
        who : by whom; user@host.
        instead_of : the `model` that must hold the name now ("" = whatever held it when this began).

        Raises InputError when another process gave the name away meanwhile (it is told by whom and why), when the
        bundle has the name already, or for wrong words; BundleError for the bundle; StorageError when the disk is full.
        """
        said = _said(name, why, who)
        require_writable(self._file)
        before = _current(self._known(), name)
        if instead_of and (before is None or before.model != instead_of):
            raise _overtaken(self.path, name, before)
        opened = open_model(bundle)
        hashes = _hashes(opened)
        folder = opened.folder.resolve()
        if before is not None and before.hashes == hashes and before.path == folder:
            raise InputError(f"has the name {name!r} already, since {stamp(before.time)}", where=bundle)
        with locked(self._file):
            entries = self._known()
            now = _current(entries, name)
            if (now and now.number) != (before and before.number):
                raise _overtaken(self.path, name, now)
            return self._append(entries, "promote", said, folder, hashes)

    def rollback(self, name: str = "champion", *, why: str, who: str = "") -> Entry:
        """Let `name` be the bundle that it was before, and return the new line; again, and it is the one before that.

        That bundle is audited first. Raises as `promote` does; InputError also when there was none before.
        """
        said = _said(name, why, who)
        before = self.named(name)
        held = _held(self.history()[: before.number], name)
        if len(held) < 2:
            raise InputError(f"{name!r} was never another bundle: there is nothing to go back to", where=self.path)
        target = held[-2]
        self.open(target)
        with locked(self._file):
            entries = self._known()
            now = _current(entries, name)
            if now is None or now.number != before.number:
                raise _overtaken(self.path, name, now)
            return self._append(entries, "rollback", said, target.path, target.hashes)

    def _append(
        self, entries: list[Entry], action: str, said: tuple[str, str, str], folder: Path, hashes: dict[str, str]
    ) -> Entry:
        """Write one more line; the lock is held."""
        home = self._file.parent
        name, why, who = said
        line = {
            "format": FORMAT, "number": len(entries) + 1, "time": stamp(datetime.now(UTC)), "who": who,
            "action": action, "name": name, "version": _version(entries, hashes),
            "path": str(folder.relative_to(home)) if folder.is_relative_to(home) else str(folder),
            "hashes": hashes, "why": why, "previous": entries[-1].sha256 if entries else "",
        }  # fmt: skip
        added = json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        text = (self._text() if entries else b"") + added
        made = _entries(self._file, text)  # what could not be read back is not written
        write_atomic(self._file, text)
        return made[-1]

    def _known(self) -> list[Entry]:
        """All lines; none where there is no file yet."""
        return self.history() if self._file.exists() else []

    def _text(self) -> bytes:
        if not self._file.exists():
            raise InputError(
                "there is no such registry", where=self.path, cure="`estampa promote` makes it with its first line."
            )
        try:
            return read_regular(self._file, _LIMIT)
        except BundleError as error:
            what = error.what.partition(",")[0]  # what it says of bundles is nothing to a registry
            raise InputError(f"no registry: {what}", where=self.path, got=error.got) from error


def registry_of(model: Path | str) -> tuple[Registry, str] | None:
    """The registry and the name that REGISTRY:NAME means; None of a run folder or a bundle."""
    path, _, name = str(model).rpartition(":")
    registry = Registry(path) if path and not Path(model).exists() else None
    return (registry, name) if registry is not None and registry.path.is_file() else None


def open_model(model: Bundle | Path | str) -> Bundle:
    """The bundle of a run folder, of a bundle's folder, or of REGISTRY:NAME, audited; an open one as it is."""
    if isinstance(model, Bundle):
        return model
    named = registry_of(model)
    return Bundle.open(model) if named is None else named[0].open(named[0].named(named[1]))


def _entries(path: Path, text: bytes) -> list[Entry]:
    """The lines of a registry, every one checked against the one before."""
    lines = text.split(b"\n")
    if lines.pop():
        raise InputError("damaged: its last line was cut", where=f"{path}, line {len(lines) + 1}", cure=_RESTORE)
    if not lines:
        raise InputError("damaged: it is empty", where=path, cure=_RESTORE)
    found: list[Entry] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = _entry(line, path.parent)
            if entry.number != number or entry.previous != (found[-1].sha256 if found else ""):
                raise ValueError("it does not follow from the line before")
        except ValueError as error:
            raise InputError(
                f"damaged or no registry: {error}", where=f"{path}, line {number}", cure=_RESTORE
            ) from error
        found.append(entry)
    return found


def _entry(line: bytes, home: Path) -> Entry:
    """One line; ValueError says why it is none."""
    tree = strict_json(line)
    if type(tree) is not dict or type(tree.get("format")) is not int:
        raise ValueError("it has no format number")
    if tree["format"] > FORMAT:
        raise ValueError(f"written by a newer estampa, format {tree['format']}; update this one")
    if tree["format"] != FORMAT or tuple(tree) != _KEYS:
        raise ValueError(f"not the keys of format {FORMAT}")
    texts = [tree[key] for key in ("time", "who", "action", "name", "path", "why", "previous")]
    hashes = tree["hashes"]
    good = (
        all(isinstance(text, str) and text.isprintable() for text in texts)
        and type(tree["number"]) is type(tree["version"]) is int
        and tree["version"] > 0
        and tree["action"] in ACTIONS
        and bool(_NAME.fullmatch(tree["name"]))
        and bool(tree["path"])
        and type(hashes) is dict
        and tuple(hashes) == _HASHES
        and all(isinstance(value, str) for value in hashes.values())
        and all(_HASH.fullmatch(hashes[key]) for key in ("bundle", "model"))
    )
    if not good:
        raise ValueError("a value of another kind")
    told = {key: tree[key] for key in _KEYS[1:]}
    changed = {"time": moment(tree["time"]), "path": Path(os.path.normpath(home / tree["path"]))}
    return Entry(**(told | changed), sha256=hashlib.sha256(line).hexdigest())


def _current(entries: Sequence[Entry], name: str) -> Entry | None:
    return next((entry for entry in reversed(entries) if entry.name == name), None)


def _held(entries: Sequence[Entry], name: str) -> list[Entry]:
    """The bundles that the name would go back through: a promotion adds one, a rollback takes the last away."""
    held: list[Entry] = []
    for entry in entries:
        if entry.name == name:
            if held and (entry.action == "rollback" or held[-1].hashes == entry.hashes):
                held.pop()
            if entry.action == "promote":
                held.append(entry)
    return held


def _version(entries: Sequence[Entry], hashes: dict[str, str]) -> int:
    """The number that this bundle has, or the next one."""
    known = {entry.hashes["bundle"]: entry.version for entry in entries}
    return known.get(hashes["bundle"], max(known.values(), default=0) + 1)


def _sha256(bundle: Bundle) -> str:
    """Of the bundle's manifest, whole; BundleError when it was exchanged since it was opened."""
    found = sha256_of(bundle.folder / MANIFEST)
    if not found.startswith(bundle.hash):
        raise BundleError("changed while it was read", where=bundle.folder)
    return found


def _hashes(bundle: Bundle) -> dict[str, str]:
    told = bundle.manifest.hashes
    return {"bundle": _sha256(bundle), "model": told.model, "data": told.data, "recipe": told.recipe}


def _said(name: str, why: str, who: str) -> tuple[str, str, str]:
    """Name, reason and author, checked and on one line each; InputError."""
    if not _NAME.fullmatch(name):
        raise InputError(
            "not a name for a model",
            where="--as",
            allowed="letters, digits, '_', '.', '-', at most 64",
            got=repr(name[:80]),
        )
    why, who = " ".join(why.split()), " ".join(who.split()) or _me()
    if not why:
        raise InputError("a reason is needed", where="--why", cure="Say it for whoever asks in a year.")
    for option, text in (("--why", why), ("--who", who)):
        if len(text) > LONGEST or not text.isprintable():
            raise InputError("not a line of text", where=option, allowed=f"{LONGEST} printable characters")
    return name, why, who


def _me() -> str:
    """user@host; where the system knows no name for the user (in a container), its number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _overtaken(path: Path, name: str, now: Entry | None) -> InputError:
    """What to tell the second of two."""
    got = "nothing" if now is None else f"{now.model}, by {now.who} at {stamp(now.time)}: {now.why}"
    return InputError(
        f"{name!r} is another model by now; nothing was changed", where=path, got=got,
        cure="Look at `estampa log history`, then decide again.",
    )  # fmt: skip
