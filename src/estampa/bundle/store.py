"""A bundle on disk: written whole or not at all, audited before anything in it is used."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle import audit as audits
from estampa.bundle import example
from estampa.bundle.contract import InputContract
from estampa.bundle.contract_table import TableContract
from estampa.bundle.manifest import FORMAT, MANIFEST, REQUEST, Manifest, Thresholds, contract_from
from estampa.bundle.presets import PART, Presets, unpack
from estampa.bundle.session import OUTPUTS, Scores, Session
from estampa.errors import BundleError, ContractError, StorageError
from estampa.files import require_writable, storage_errors, sync_folder
from estampa.prepare.table import TablePreparation

Tensors = Mapping[str, np.ndarray]
RECORD = "record"  #: among the arrays of a table's preparation: what is no number in it, as JSON


@dataclass(frozen=True)
class Content:
    """What goes into a bundle, as plain data. `manifest` lacks `format`, `files` and `hashes.model`."""

    manifest: Mapping[str, Any]
    onnx: bytes
    prepare: Tensors
    reference: Tensors
    held: Tensors
    card: str
    weights: Tensors | None = None
    gallery: Tensors | None = None
    presets: Presets | None = None


def write(folder: Path, content: Content) -> Bundle:
    """Write a bundle to `folder` and open it again, audited. A bundle is never overwritten with another one.

    Everything is written to `<folder>.part` and made durable, the manifest last; then the folder is renamed. A run
    that is killed leaves a `.part`, which the next one clears away.

    Raises StorageError when `folder` holds anything but this very bundle, or when the disk is full.
    """
    require_writable(folder)
    part = folder.with_name(folder.name + ".part")
    with storage_errors(folder):
        if part.exists():
            shutil.rmtree(part)
        part.mkdir()
    files = _files(content)
    entries = {name: _write(part / name, data) for name, data in sorted(files.items())}
    tree = dict(content.manifest) | {"format": FORMAT, "files": entries}
    tree["hashes"] = dict(tree["hashes"]) | {"model": entries["model.onnx"]["sha256"]}
    record = Manifest.model_validate(plain(tree))
    text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False)
    if len(text) > audits.MANIFEST_LIMIT:
        raise BundleError("the manifest is too large", where=folder, allowed=f"{audits.MANIFEST_LIMIT:,} bytes")
    _write(part / MANIFEST, (text + "\n").encode())
    made = Bundle.open(part)  # what cannot be read back does not count as written
    if os.path.lexists(folder):
        shutil.rmtree(part)
        if (folder / MANIFEST).is_file() and Bundle.open(folder).hash == made.hash:
            return Bundle.open(folder)
        raise StorageError(
            "exists already and holds something else", where=folder, cure="Choose another folder, or move this one."
        )
    with storage_errors(folder):
        for made_in in sorted({(part / name).parent for name in files}, reverse=True):
            sync_folder(made_in)
        part.rename(folder)
        sync_folder(folder.parent)
    return Bundle.open(folder)


def _files(content: Content) -> dict[str, bytes]:
    """Name -> bytes of every file but the manifest."""
    files: dict[str, bytes] = {"model.onnx": content.onnx, "README.md": content.card.encode()}
    for name in ("weights", "prepare", "reference", "held", "gallery"):
        tensors = getattr(content, name)
        if tensors is not None:
            files[f"{name}.safetensors"] = pack(tensors)
    if content.presets is not None:
        files[f"{PART}.safetensors"] = pack(content.presets.tensors())
    asked = example.request_of(contract_from(plain(content.manifest["contract"])), content.presets)
    return files | ({REQUEST: example.text_of(asked)} if asked else {})


def pack(tensors: Tensors) -> bytes:
    """Arrays as the bytes of a safetensors file."""
    from safetensors.numpy import save

    return bytes(save({name: np.asarray(value, order="C") for name, value in tensors.items()}))


def record_tensor(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """A record of plain types as a tensor of its JSON: that of 10,000 columns is too large for the manifest."""
    return {RECORD: np.frombuffer(json.dumps(record, ensure_ascii=False, allow_nan=False).encode(), np.uint8)}


def read_record(state: Tensors) -> dict[str, Any]:
    """The record that `record_tensor` put among arrays; BundleError where there is none."""
    try:
        found = json.loads(state[RECORD].tobytes())
    except (KeyError, ValueError, RecursionError) as error:
        raise BundleError("the preparation of the table is damaged", got=repr(error)[:120]) from error
    if not isinstance(found, dict):
        raise BundleError("the preparation of the table is damaged", got=type(found).__name__)
    return found


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numpy numbers as numbers, what is not finite as null, records as objects."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(mode="json")
    elif hasattr(value, "to_json"):
        value = value.to_json()
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(path: Path, data: bytes) -> dict[str, Any]:
    with storage_errors(path):
        path.parent.mkdir(exist_ok=True)
        with path.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


class Bundle:
    """A model that can be scored, with its contract and its papers. Made by `Bundle.open`, which audits first.

    Attributes
    ----------
    folder : the bundle's folder.
    manifest : everything that bundle.json says.
    hash : the first 12 hexadecimal digits of the SHA-256 of bundle.json, which holds the hash of every other file.
    """

    def __init__(self, folder: Path, manifest: Manifest, sha256: str, model: bytes) -> None:
        self.folder, self.manifest, self.hash = folder, manifest, sha256[:12]
        self._model = model

    @classmethod
    def open(cls, path: Path | str) -> Bundle:
        """Open a bundle, or the bundle of a run folder.

        Raises BundleError (exit 2): nothing there, incomplete, damaged, tampered with, newer, or unsafe.
        """
        folder = audits.locate(Path(path))
        manifest, sha256, model = audits.audit(folder)
        bundle = cls(folder, manifest, sha256, model)
        said = dict(manifest.outputs)
        if bundle.session.outputs != said:
            raise BundleError(
                "the model's outputs are not what the manifest says", where=folder, allowed=said,
                got=bundle.session.outputs,
            )  # fmt: skip
        return bundle

    @property
    def task(self) -> str:
        """Classification or regression."""
        return self.manifest.task

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the columns of `output`; empty for regression."""
        return self.manifest.classes

    @property
    def contract(self) -> InputContract | TableContract:
        """What one row of input is: a picture, or a row of a table."""
        return self.manifest.contract

    @property
    def pictures(self) -> InputContract:
        """The contract of a model of pictures; ContractError where it is one of a table."""
        if isinstance(self.contract, TableContract):
            raise ContractError("this is a model of a table, not of pictures", where=self.folder)
        return self.contract

    @property
    def table(self) -> TableContract:
        """The contract of a model of a table; ContractError where it is one of pictures."""
        if not isinstance(self.contract, TableContract):
            raise ContractError("this is a model of pictures, not of a table", where=self.folder)
        return self.contract

    @property
    def of_table(self) -> bool:
        """Whether the model is of a table's rows."""
        return isinstance(self.contract, TableContract)

    @property
    def thresholds(self) -> Thresholds:
        """Where a probability begins to count."""
        return self.manifest.thresholds

    @cached_property
    def session(self) -> Session:
        """The model, loaded."""
        return Session(self._model, self.contract, self.folder / "model.onnx")

    @cached_property
    def preparation(self) -> TablePreparation:
        """Of a model of a table: from raw columns, in the contract's order, to what the graph reads."""
        table = self.table
        state = self.tensors("prepare")
        made = TablePreparation.from_state(state, read_record(state))
        if made.columns != table.column_names or made.names != table.names:
            raise BundleError("the preparation is of other columns than the contract", where=self.folder)
        return made

    def score(self, rows: np.ndarray, *, threads: int | None = None, wanted: tuple[str, ...] = OUTPUTS) -> Scores:
        """Score images (n, height, width, channels) of the contract's type; see `Session.score`.

        Of a table: raw rows (n, columns), numbers as in the file with NaN for empty ones, in the contract's order
        (`bundle.table.column_names`). A row that the model does not answer, as it has a failed measurement and the
        model leaves such rows out, gets NaN.
        """
        if not self.of_table:
            return self.session.score(rows, threads=threads, wanted=wanted)
        found = self.session.score(self.preparation.transform(rows), threads=threads, wanted=wanted)
        if self.table.invalid == "drop":
            refused = ~self.preparation.usable(rows)
            for values in (found.output, found.logits):
                if values is not None and values.size:
                    values[refused] = np.nan
        return found

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of "weights", "prepare", "reference", "held", "gallery" or "presets", all checked again."""
        file = f"{name}.safetensors"
        return audits.tensors(audits.verified(self.folder, self.manifest, file), self.folder / file)

    def presets(self) -> Presets | None:
        """Objects to try the model on; None where none travel with it (`--no-gallery`, or an older bundle)."""
        file = f"{PART}.safetensors"
        if file not in self.manifest.files:
            return None
        return unpack(self.tensors(PART), self.contract, self.folder / file)

    def held(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Ids (n,) and content hashes (n,) uint64 of a part: what the model has seen, or was judged on."""
        from estampa.bundle.reference import unpack_ids

        arrays = self.tensors("held")
        return unpack_ids(arrays, part), arrays[f"hashes_{part}"]

    def __repr__(self) -> str:
        what = f"{len(self.classes)} classes" if self.classes else "regression"
        return f"Bundle({self.manifest.name!r}, {self.hash}, {what}, {self.contract.words()})"

    def _repr_html_(self) -> str:
        rows = {
            "model": self.hash, "recipe": self.manifest.name, "task": self.task,
            "classes": ", ".join(self.classes) or "none", "input": self.contract.words(), "folder": self.folder,
        }  # fmt: skip
        cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in rows.items())
        return f"<table>{cells}</table>"
