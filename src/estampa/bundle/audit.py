"""Look before loading: a bundle's files are hostile until every one of them has been read and agrees with the manifest.

The order of the audit: the manifest (size, JSON, format number, every key), the folder's entries (no links, nothing
unknown, no sub-folder but that of the example), each file's size and SHA-256, the header of each safetensors file, the
example, the ONNX graph. What is parsed is the same bytes that were hashed, read once. Nothing is executed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import ValidationError

from estampa.bundle.contract_table import TableContract
from estampa.bundle.graph import audit_model
from estampa.bundle.manifest import FORMAT, MANIFEST, OPTIONAL, REQUEST, REQUIRED, Manifest
from estampa.errors import BundleError
from estampa.files import strict_json

MANIFEST_LIMIT = 4 << 20  #: bytes of bundle.json
HEADER_LIMIT = 16 << 20  #: bytes of a safetensors header
FILE_LIMIT = (2 << 30) - 1  #: bytes of any file: protobuf's own limit
REQUEST_LIMIT = 1 << 20  #: bytes of the example of a request
INPUTS = ("images", "pictures", "rows")  #: of which a request holds one
CARD = "README.md"  #: for people: it may be filled in by hand, is never parsed, and so may differ from its hash
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
_REBUILD = "Get the bundle again from where it was made; do not use this one."


def locate(path: Path) -> Path:
    """The bundle's folder: `path` itself, or `model/` of the run folder `path`. Raises BundleError."""
    if path.is_file():
        raise BundleError("a file, not a bundle", where=path, cure="Name the run folder or its folder model/.")
    for folder in (path, path / "model"):
        if os.path.lexists(folder / MANIFEST):
            return folder
    if not path.exists():
        raise BundleError("there is no such folder", where=path, cure="`estampa runs` lists the runs.")
    unfinished = any(p.exists() for p in (path / "model.part", path / "model.onnx", path / "model" / "model.onnx"))
    if unfinished or path.name.endswith(".part"):
        raise BundleError(
            f"an incomplete bundle: it has no {MANIFEST}, which is written last", where=path,
            cure="The run that wrote it was stopped; train again to finish it.",
        )  # fmt: skip
    raise BundleError(
        f"neither a run folder nor a bundle: there is no {MANIFEST} in it or in its folder model/", where=path,
        cure="`estampa train` leaves a run folder; `estampa runs` lists them.",
    )  # fmt: skip


def audit(folder: Path) -> tuple[Manifest, str, bytes]:
    """Audit a bundle's folder; returns the manifest, the SHA-256 of its bytes, and the model's bytes.

    Raises BundleError: incomplete, damaged, tampered with, newer than this estampa, or holding what a bundle never
    holds.
    """
    text = read_regular(folder / MANIFEST, MANIFEST_LIMIT)
    manifest = parse_manifest(text, folder / MANIFEST)
    _check_entries(folder, manifest)
    model = b""
    for name, entry in sorted(manifest.files.items()):
        path = folder / name
        if name == CARD:
            read_regular(path, MANIFEST_LIMIT)
        elif name == "model.onnx":
            model = verified(folder, manifest, name)
        elif name == REQUEST:
            of_table = isinstance(manifest.contract, TableContract)
            parse_request(verified(folder, manifest, name), path, of_table=of_table)
        else:
            with _opened(path, FILE_LIMIT) as stream:
                _check_size(path, os.fstat(stream.fileno()).st_size, entry.size)
                _check_hash(path, _sha256(stream), entry.sha256)
                stream.seek(0)
                _safetensors_header(stream, entry.size, path)
    facts = audit_model(model, folder / "model.onnx")
    said = {"classes": list(manifest.classes), "format": manifest.format, "task": manifest.task}
    if {k: _json_or_text(facts.metadata.get(f"estampa.{k}", "")) for k in said} != said:
        raise BundleError("the model was made for other classes than the manifest says", where=folder, cure=_REBUILD)
    return manifest, hashlib.sha256(text).hexdigest(), model


def parse_manifest(text: bytes, where: object) -> Manifest:
    """The manifest's bytes as a record; refuses duplicate keys, NaN, unknown keys and a newer format."""
    tree = _strict_json(text, where)
    number = tree.get("format") if isinstance(tree, dict) else None
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise BundleError("a manifest without a format number", where=where, cure=_REBUILD)
    if number > FORMAT:
        raise BundleError(
            "this bundle was written by a newer estampa", where=where, allowed=f"format {FORMAT} or older",
            got=f"format {number}", cure="Update with: pip install --upgrade estampa.",
        )  # fmt: skip
    try:
        return Manifest.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg'].lower()}" for e in error.errors()[:5])
        raise BundleError(f"the manifest is not one ({faults})", where=where, cure=_REBUILD) from None


def parse_request(text: bytes, where: object, *, of_table: bool) -> dict[str, Any]:
    """The bytes of `examples/request.json` as a request's body: one of `INPUTS`, `ids`, and `about` in words.

    Its numbers are not looked at: whoever answers the request does.
    """
    if len(text) > REQUEST_LIMIT:
        raise BundleError("too large", where=where, allowed=f"{REQUEST_LIMIT:,} bytes", got=f"{len(text):,} bytes")
    body = _strict_json(text, where)
    inputs = INPUTS[2:] if of_table else INPUTS[:2]
    found = [key for key in inputs if key in body] if isinstance(body, dict) else []
    kind = {"images": list, "pictures": str, "rows": dict}
    if (
        len(found) != 1
        or not set(body) <= {found[0], "ids", "about"}
        or not isinstance(body.get("about", ""), str)
        or not _all(body[found[0]], kind[found[0]])
        or not _all(body.get("ids"), str)
        or len(body["ids"]) != len(body[found[0]])
    ):
        raise BundleError("not the example of a request", where=where, allowed=f"{' or '.join(inputs)}, ids, about")
    return dict(body)


def verified(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file, read once and checked against the manifest."""
    entry = manifest.files.get(name)
    if entry is None:
        raise BundleError(f"this bundle has no {name}", where=folder)
    data = read_regular(folder / name, FILE_LIMIT)
    _check_size(folder / name, len(data), entry.size)
    _check_hash(folder / name, hashlib.sha256(data).hexdigest(), entry.sha256)
    return data


def tensors(data: bytes, where: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file; every bound is checked before an array is made (read-only views)."""
    import io

    start, entries = _safetensors_header(io.BytesIO(data), len(data), where)
    return {
        name: np.frombuffer(data, dtype, count=math.prod(shape), offset=start + begin).reshape(shape)
        for name, (dtype, shape, begin) in entries.items()
    }


def read_regular(path: Path, limit: int) -> bytes:
    """The bytes of a regular file of at most `limit` bytes; links and devices are refused."""
    with _opened(path, limit) as stream:  # as many bytes are set aside as are asked for: not 2 GiB for a small file
        return stream.read(min(limit, os.fstat(stream.fileno()).st_size) + 1)


@contextmanager
def _opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a regular file: no link is followed, no pipe waited for, nothing larger than `limit` read."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise BundleError("a symbolic link, which a bundle never holds", where=path, cure=_REBUILD) from error
        if error.errno == errno.ENOENT:
            raise BundleError("is missing from the bundle", where=path, cure=_REBUILD) from error
        raise BundleError("cannot be read", where=path, got=error.strerror or "") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise BundleError("not a regular file, which a bundle never holds", where=path, cure=_REBUILD)
    with os.fdopen(handle, "rb") as stream:
        if status.st_size > limit:
            raise BundleError(
                "too large", where=path, allowed=f"{limit:,} bytes", got=f"{status.st_size:,} bytes", cure=_REBUILD
            )
        yield stream


def _check_entries(folder: Path, manifest: Manifest) -> None:
    """The folder holds exactly what the manifest lists, and that is what a bundle holds."""
    listed = set(manifest.files)
    strange = sorted(listed - REQUIRED - OPTIONAL)
    if strange:
        raise BundleError(
            f"the manifest lists what a bundle never holds: {', '.join(map(repr, strange[:5]))}", where=folder,
            allowed=", ".join(sorted(REQUIRED | OPTIONAL)), cure=_REBUILD,
        )  # fmt: skip
    present = set(_present(folder))
    missing = sorted((listed | REQUIRED) - present)
    if missing:
        raise BundleError(f"incomplete: {', '.join(missing)} is missing", where=folder, cure=_REBUILD)
    if REQUIRED - listed:
        raise BundleError(f"the manifest does not list {', '.join(sorted(REQUIRED - listed))}", where=folder)
    unknown = sorted(present - listed - {MANIFEST})
    if unknown:
        raise BundleError(
            f"holds what its manifest does not list: {', '.join(map(repr, unknown[:5]))}", where=folder,
            cure="Move it elsewhere if you put it there; otherwise do not use this bundle.",
        )  # fmt: skip


def _present(folder: Path) -> Iterator[str]:
    """Names of the entries; those of the example's folder, which is no link, as "examples/NAME"."""
    home = REQUEST.partition("/")[0]
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.name != home:
            yield entry.name
        elif not entry.is_dir(follow_symlinks=False):
            raise BundleError("not a folder, or a symbolic link to one", where=folder / home, cure=_REBUILD)
        else:
            yield from [f"{home}/{inner.name}" for inner in (folder / home).iterdir()] or [f"{home}/"]


def _sha256(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _check_size(path: Path, got: int, allowed: int) -> None:
    if got != allowed:
        raise BundleError(
            "damaged: it has another size than the manifest says", where=path, allowed=f"{allowed:,} bytes",
            got=f"{got:,} bytes", cure=_REBUILD,
        )  # fmt: skip


def _check_hash(path: Path, got: str, allowed: str) -> None:
    if got != allowed:
        raise BundleError(
            "damaged or tampered with: its SHA-256 is not the manifest's", where=path, allowed=allowed, got=got,
            cure=_REBUILD,
        )  # fmt: skip


def _safetensors_header(
    stream: BinaryIO, size: int, where: Path
) -> tuple[int, dict[str, tuple[str, tuple[int, ...], int]]]:
    """Where the data begin, and each tensor's dtype, shape and first byte; all bounds checked."""
    begin = stream.read(8)
    length = int.from_bytes(begin, "little")
    if len(begin) < 8 or length > min(HEADER_LIMIT, size - 8):
        raise BundleError("not a safetensors file: its header is longer than it", where=where, cure=_REBUILD)
    try:
        header = strict_json(stream.read(length))
        found = {k: _tensor_entry(v) for k, v in header.items() if k != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError("not a safetensors file", where=where, got=str(error), cure=_REBUILD) from error
    end, entries = 0, {}
    for name, (dtype, shape, first, last) in sorted(found.items(), key=lambda item: item[1][2:]):
        if first != end or last - first != math.prod(shape) * np.dtype(dtype).itemsize:
            raise BundleError(f"the tensor {name!r} has impossible bounds", where=where, cure=_REBUILD)
        entries[name], end = (dtype, shape, first), last
    if end != size - 8 - length:
        raise BundleError("its tensors do not fill the file", where=where, cure=_REBUILD)
    return 8 + length, entries


def _tensor_entry(value: dict[str, Any]) -> tuple[str, tuple[int, ...], int, int]:
    if set(value) != {"dtype", "shape", "data_offsets"}:
        raise ValueError("a tensor with other keys than dtype, shape, data_offsets")
    shape, offsets = value["shape"], value["data_offsets"]
    numbers = [*shape, *offsets]
    if len(offsets) != 2 or len(shape) > 8 or not all(isinstance(n, int) and 0 <= n < 2**48 for n in numbers):
        raise ValueError("a tensor with an impossible shape")
    return _DTYPES[value["dtype"]], tuple(shape), offsets[0], offsets[1]


def _strict_json(text: bytes, where: object) -> Any:
    try:
        return strict_json(text)
    except ValueError as error:
        raise BundleError("not valid JSON", where=where, got=str(error), cure=_REBUILD) from error


def _all(values: Any, kind: type) -> bool:
    """Whether it is a list of one or more of a kind."""
    return isinstance(values, list) and bool(values) and all(isinstance(value, kind) for value in values)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
