"""The models that are served: opened and audited, by name, and swapped when a registry says so."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle import example
from estampa.bundle.presets import Presets
from estampa.bundle.store import Bundle
from estampa.errors import InputError, nearest
from estampa.monitor.line import lines_of
from estampa.monitor.registry import Registry
from estampa.serve.problems import Problem

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REGISTRY = "registry.jsonl"
_LONGEST_PAUSE = 60.0  #: seconds between attempts to load what a registry names


@dataclass(frozen=True)
class Version:
    """A bundle that answers, since when, and its number in a registry ("" without one). Never changed: swapped."""

    bundle: Bundle
    number: str = ""
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def label(self) -> str:
        """What counters call it: its number in the registry, else the model's hash."""
        return self.number or self.hash

    @property
    def hash(self) -> str:
        """The model's hash, as answers carry it."""
        return self.bundle.hash

    @cached_property
    def gallery(self) -> dict[str, np.ndarray] | None:
        """The tensors of gallery.safetensors, see bundle/reference.py; None where the bundle has none."""
        return self.bundle.tensors("gallery") if "gallery.safetensors" in self.bundle.manifest.files else None

    @cached_property
    def presets(self) -> Presets | None:
        """Objects to try the model on; None where the bundle has none."""
        return self.bundle.presets()

    @cached_property
    def card(self) -> str:
        """The model card, Markdown."""
        return (self.bundle.folder / "README.md").read_text(encoding="utf-8", errors="replace")

    @cached_property
    def request(self) -> dict[str, Any]:
        """A body for POST /v1/predict, see bundle/example.py."""
        return example.request(self.bundle)

    def warm(self, *, logged: bool = False) -> None:
        """Answer once and read what pages and papers show, so that no request waits for it, or finds it gone.

        `logged`: make a line of the log, too.
        """
        contract = self.bundle.contract
        rows = np.zeros((1, *contract.shape), contract.dtype)
        scores = self.bundle.session.score(rows)
        if self.bundle.of_table:
            rows = np.zeros((1, len(self.bundle.table.columns)))
            self.bundle.preparation.transform(rows)
        _ = self.card, self.request, self.presets, self.gallery
        if logged:
            lines_of(self.bundle, rows, scores, ["0"])


@dataclass(frozen=True)
class Place:
    """Where a model comes from: a run or a bundle, or a name in a registry."""

    path: Path
    entry: str = ""  #: the name in the registry `path`; "" = `path` is the run or the bundle itself

    def open(self) -> Version:
        """The model that is there now; BundleError or InputError when it cannot be used."""
        if not self.entry:
            return Version(Bundle.open(self.path))
        registry = Registry(self.path)
        found = registry.named(self.entry)
        return Version(registry.open(found), str(found.version))

    def stamp(self) -> tuple[int, int, int]:
        """What changes when the registry does."""
        facts = self.path.stat()
        return facts.st_ino, facts.st_size, facts.st_mtime_ns


class Model:
    """One served model. `version` is replaced as a whole: who holds one keeps it until its answer is given."""

    def __init__(self, name: str, place: Place, *, logged: bool = False) -> None:
        self.name, self.place, self.logged = name, place, logged
        self.seen = place.stamp() if place.entry else (0, 0, 0)
        self.version = place.open()
        self.version.warm(logged=logged)
        self.hashes = {self.version.hash}  #: of every version that has answered

    @property
    def bundle(self) -> Bundle:
        """The bundle that answers now."""
        return self.version.bundle


class Models:
    """The served models, in the order of the command line. `logged`: their answers are."""

    def __init__(self, words: Sequence[str], *, logged: bool = False) -> None:
        if not words:
            raise InputError("no model to serve", where="serve", cure="Name a run folder, a bundle or REGISTRY:NAME.")
        self._models: dict[str, Model] = {}
        for word in words:
            name, place = placed(word)
            if name in self._models:
                raise InputError(
                    f"two models are called {name!r}", where="serve", got=word, cure="Give one a name: NAME=RUN."
                )
            self._models[name] = Model(name, place, logged=logged)

    def all(self) -> list[Model]:
        """Every model."""
        return list(self._models.values())

    def names(self) -> list[str]:
        """Their names."""
        return list(self._models)

    def pick(self, name: str = "") -> Model:
        """The model of that name; "" = the only one. Raises Problem."""
        if not name:
            if len(self._models) == 1:
                return next(iter(self._models.values()))
            raise Problem("which-model", f"Say which model with ?model=NAME; served are {', '.join(self._models)}.")
        if name not in self._models:
            cure = nearest(name, self._models)
            raise Problem(
                "not-found", f"No model is called {name[:64]!r}. Served: {', '.join(self._models)}. {cure}".strip()
            )
        return self._models[name]

    async def watch(self, every: float, told: Callable[[Model, tuple[Version, Version] | Exception], None]) -> None:
        """Look at the registries for ever; load what is newly named, then swap.

        `told` hears of swaps (before, after) and of failures: what cannot be opened is not swapped in, the model that
        answers goes on, and it is tried again, after pauses that grow, and at once when the registry changes.
        """
        followed = [_Followed(model, every) for model in self._models.values() if model.place.entry]
        while followed:
            await asyncio.sleep(every)
            for one in followed:
                model = one.model
                try:
                    fresh = await asyncio.to_thread(one.fresh)
                except Exception as error:  # noqa: BLE001 - a full disk, no memory: told, and following goes on
                    told(model, error)
                    continue
                if fresh is not None:
                    model.hashes |= {fresh.hash}
                    before, model.version = model.version, fresh
                    told(model, (before, fresh))


class _Followed:
    """A model whose registry is looked at, and what of it could not be loaded."""

    def __init__(self, model: Model, every: float) -> None:
        self.model, self._every, self._pause, self._again = model, every, every, 0.0
        self._failed: tuple[int, int, int] | None = model.seen  #: stamp of what was tried last; None = no registry

    def fresh(self) -> Version | None:
        """The newer version, warm; None while nothing has changed, or it is too soon to try again."""
        model, reason = self.model, ""
        stamp: tuple[int, int, int] | None = None
        try:
            stamp = model.place.stamp()
        except OSError as error:
            reason = error.strerror or str(error)
        if stamp == model.seen:
            return None
        if stamp == self._failed and time.monotonic() < self._again:
            return None
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if stamp == self._failed else self._every
        self._failed, self._again = stamp, time.monotonic() + self._pause
        if stamp is None:
            raise InputError("the registry cannot be read", where=model.place.path, got=reason)
        version = model.place.open()
        same = version.hash == model.version.hash and version.number == model.version.number
        if not same:
            version.warm(logged=model.logged)
        model.seen = stamp
        return None if same else version


def placed(word: str) -> tuple[str, Place]:
    """Name and place of RUN, NAME=RUN, REGISTRY:NAME or NAME=REGISTRY:NAME; InputError where it is none."""
    given, cut, rest = word.partition("=")
    if not cut or not _NAME.fullmatch(given):
        given, rest = "", word
    path, _, entry = rest.rpartition(":")
    registry = Path(path) / _REGISTRY if path and Path(path).is_dir() else Path(path)
    if path and registry.is_file():
        return _named(given or entry, word), Place(registry, entry)
    folder = Path(rest)
    own = folder.resolve()
    return _named(given or (own.parent if own.name == "model" else own).name, word), Place(folder)


def _named(name: str, word: str) -> str:
    """A name that can stand in an address."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:64]
    if not _NAME.fullmatch(plain):
        raise InputError("a model needs a name", where=word, cure="Give it one: NAME=RUN.")
    return plain
