"""The split inside a Dataset file: changed in place, without touching HDF5's structures, and safe against a kill.

The new split is first written beside the file, whole, as `NAME.split`; then the bytes in the file are overwritten and
synced; then `NAME.split` goes. A reader that finds `NAME.split` believes it. A checksum in the record tells when
somebody moved the file away in the middle.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from estampa.data.layout import SPLIT_RECORD_BYTES, Layout, inspect
from estampa.data.record import PARTS
from estampa.errors import DatasetError
from estampa.files import storage_errors, write_atomic


def write_split(path: Path | str, split: np.ndarray, record: Mapping[str, Any]) -> None:
    """Store `split` (n,) uint8 (see PARTS) and how it was made in the Dataset file, in place.

    Raises DatasetError when the split does not fit the file, StorageError when the file cannot be written.
    """
    path = Path(path)
    layout = inspect(path)
    given = np.asarray(split)
    whole = given.dtype.kind in "iu" and given.shape == (layout.header.n,)
    if not whole or given.min() < 0 or given.max() >= len(PARTS):
        raise DatasetError(
            "the split does not fit", where=path, allowed=f"{layout.header.n} numbers from 0 to {len(PARTS) - 1}"
        )
    parts = given.astype(np.uint8).tobytes()
    record = {**record, "sha256": hashlib.sha256(parts).hexdigest()}
    text = json.dumps(record, ensure_ascii=False, sort_keys=True).encode()
    if len(text) > SPLIT_RECORD_BYTES:
        raise DatasetError("the record of the split is too long", where=path, allowed=f"{SPLIT_RECORD_BYTES} bytes")
    waiting = _waiting(path)
    write_atomic(waiting, layout.content_sha256.encode() + b"\n" + text + b"\n" + parts)
    with storage_errors(path):
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.pwrite(file, parts, layout.columns["split"].offset)
            os.pwrite(file, text.ljust(SPLIT_RECORD_BYTES, b"\0"), layout.columns["split_record"].offset)
            os.fsync(file)
        finally:
            os.close(file)
        waiting.unlink()


def stored_split(path: Path, layout: Layout) -> tuple[np.ndarray, dict[str, Any]]:
    """The split (n,) uint8 and its record ({} when none was made); DatasetError when it was torn by a crash."""
    waiting = _waiting(path)
    if waiting.is_file():
        head, _, rest = waiting.read_bytes().partition(b"\n")
        text, _, parts = rest.partition(b"\n")
        if head.decode(errors="replace") == layout.content_sha256 and len(parts) == layout.header.n:
            return np.frombuffer(parts, np.uint8).copy(), _parsed(text, path)
    split = layout.columns["split"].load(path)
    if split.max() >= len(PARTS):
        raise DatasetError("its split is damaged", where=path, cure="Split it again with `estampa split --force`.")
    text = layout.columns["split_record"].load(path).tobytes().rstrip(b"\0")
    record = _parsed(text, path) if text else {}
    if record and record.pop("sha256", "") != hashlib.sha256(split.tobytes()).hexdigest():
        raise DatasetError(
            "a split was interrupted while it was stored",
            where=path,
            cure="Split it again with `estampa split --force`.",
        )
    return split, record


def drawn_by(record: Mapping[str, Any]) -> str:
    """How a builder drew the parts that `record` is of, in words; "" for a split that was made otherwise."""
    return f"drawn at random by the builder, seed {record.get('seed', 0)}" if record.get("drawn") else ""


def _waiting(path: Path) -> Path:
    return path.with_name(path.name + ".split")


def _parsed(text: bytes, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError as error:
        raise DatasetError(
            "the record of its split is damaged", where=path, cure="Split it again with `estampa split --force`."
        ) from error
    return record if isinstance(record, dict) else {}
