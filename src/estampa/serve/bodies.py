"""From the body of POST /v1/predict, in any of the forms that are read, to Inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic_core import from_json
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from estampa.data.sources._picture import SUFFIXES
from estampa.serve import arrays
from estampa.serve.inputs import FILES, Inputs, Reader, named
from estampa.serve.problems import Problem
from estampa.serve.room import Readers

NPY, NPZ, JSON, MULTIPART = "application/x-npy", "application/x-npz", "application/json", "multipart/form-data"
#: Content types of a body that is one file, and how it is read: "picture", "npy", "npz", or the suffix of its source.
TYPES = {
    NPY: "npy", NPZ: "npz", "image/png": "picture", "image/jpeg": "picture", "image/webp": "picture",
    "image/tiff": "picture", "image/gif": "picture", "text/csv": ".csv", "text/tab-separated-values": ".tsv",
    "application/vnd.apache.parquet": ".parquet", "application/fits": ".fits", "image/fits": ".fits",
}  # fmt: skip
#: What the first bytes say, for bodies of no type of their own and for files in a form.
_BEGINS = (
    (b"\x93NUMPY", "npy"), (b"PK\x03\x04", "npz"), (b"\x89PNG", "picture"), (b"\xff\xd8", "picture"),
    (b"GIF8", "picture"), (b"II*\0", "picture"), (b"MM\0*", "picture"), (b"RIFF", "picture"),
    (b"PAR1", ".parquet"), (b"SIMPLE  =", ".fits"),
)  # fmt: skip
PARTS = 4_000_000  #: lists, objects and texts of JSON: each takes some hundred bytes when it is read
#: What says nothing of a body: clients send it where nobody told them (curl the last one).
UNTYPED = ("", "application/octet-stream", "application/x-www-form-urlencoded")
BODY = "the body"  #: what a body that is one file is called in messages
INLINE = 1 << 16  #: bytes of a body that is read at once; a larger one in a thread, so that others are not kept waiting
CONSENT = "x-estampa-consent"
_PACKED = ("picture", "pictures")  #: keys of JSON whose values unpack to more than they are
_YES = ("true", "1", "yes", "on")


@dataclass(frozen=True)
class Asked:
    """What a request asks: objects, and whether its sender consents to their being stored."""

    inputs: Inputs
    consent: bool


async def body_of(request: Request) -> bytes:
    """The whole body; the guard holds its limits. A client that went away is a Problem that nobody reads."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise Problem("not-understood", "The connection was closed before the body had arrived.") from error


async def asked_of(request: Request, reader: Reader) -> Asked:
    """Read what a request asks, by its content type. Raises Problem."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    consent = consents(request)
    readers = request.app.state.service.readers
    if kind == MULTIPART:
        form = await form_of(request)
        try:
            files = await files_of(form)
            agreed = consent or _yes(form.get("consent", ""))
        finally:
            await form.close()
        return await _away(readers, lambda: Asked(from_files(reader, files), agreed))
    data = await body_of(request)
    if not data:
        raise Problem("not-understood", f"The body is empty. Send {accepted()}.")
    if kind == JSON or (kind.endswith("+json") and kind.startswith("application/")):
        return await _from_json(readers, data, lambda tree: from_tree(reader, tree, consent))
    if kind in TYPES or kind in UNTYPED:
        how = TYPES.get(kind) or _sniffed(data)
        if how is None:
            raise Problem(
                "media", "What the body is cannot be told from its first bytes; say it: -H 'Content-Type: text/csv'. "
                f"Send {accepted()}.",
            )  # fmt: skip
        read: Callable[[], Asked] = lambda: Asked(_numbered(from_bytes(reader, BODY, data, how)), consent)  # noqa: E731
        return read() if len(data) <= INLINE and kind == NPY else await _away(readers, read)
    raise Problem("media", f"{kind[:80]!r} is not read here. Send {accepted()}.")


async def one_of(request: Request, reader: Reader) -> Asked:
    """Read the one object that POST /classify asks of. Raises Problem."""
    data, consent = await body_of(request), consents(request)
    readers = request.app.state.service.readers
    return await _from_json(readers, data, lambda tree: one_from_tree(reader, tree, consent))


async def _from_json(pool: Readers, data: bytes, read: Callable[[Any], Asked]) -> Asked:
    """Read JSON: small bodies of numbers at once, larger ones and pictures, which unpack to far more, in a thread."""
    if len(data) > INLINE:
        return await _away(pool, lambda: read(parsed(data)))
    tree = parsed(data)
    if isinstance(tree, dict) and not tree.keys().isdisjoint(_PACKED):
        return await _away(pool, lambda: read(tree))
    return read(tree)


def consents(request: Request) -> bool:
    """Whether the header says that the inputs may be stored; a form's field or JSON's key can say so, too."""
    return _yes(request.headers.get(CONSENT, ""))


def _yes(said: Any) -> bool:
    return str(said).lower() in _YES


def _agreed(tree: dict[str, Any], consent: bool) -> bool:
    """What JSON says of consent, else what the header said."""
    agreed = tree.get("consent", consent)
    if not isinstance(agreed, bool):
        raise Problem("not-understood", "'consent' must be true or false.")
    return agreed


def _numbered(found: Inputs) -> Inputs:
    """A body has no name: its only object is called by its number, as others are."""
    return replace(found, ids=np.where(found.ids == BODY, "0", found.ids))


async def _away(pool: Readers, work: Callable[[], Asked]) -> Asked:
    return await pool.read(work)


def accepted() -> str:
    """The content types that are read, in words."""
    return f"{MULTIPART}, {JSON}, {', '.join(TYPES)}"


def parsed(data: bytes) -> Any:
    """JSON, strictly: no NaN, no Infinity; nesting is limited, and what takes far more room than its text. Raises
    Problem.
    """
    if data.count(b"[") + data.count(b"{") + data.count(b'"') // 2 > PARTS:
        raise Problem(
            "too-large", f"The JSON holds more than {PARTS:,} lists, objects and texts. Send less at a time, or .npy."
        )
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise Problem("not-understood", f"The body is no JSON: {str(error)[:200]}. NaN is written as null.") from error


def from_tree(reader: Reader, tree: Any, consent: bool = False) -> Asked:
    """{"images": [...]} or {"pictures": [base64, ...]} or {"rows": [{...}, ...]}, with "ids" and "consent"."""
    keys = ("images", "pictures", "rows")
    if not isinstance(tree, dict) or sum(key in tree for key in keys) != 1:
        raise Problem(
            "not-understood", 'The JSON must be an object with one of "images" (nested lists, n x height x width x '
            'channels), "pictures" (base64 of picture files) and "rows" (objects, column to number).',
        )  # fmt: skip
    unknown = tree.keys() - {*keys, "ids", "consent", "about"}
    if unknown:
        raise Problem("not-understood", f"Unknown key {min(unknown)[:80]!r}. Allowed: {', '.join(keys)}, ids, consent.")
    agreed = _agreed(tree, consent)
    ids = tree.get("ids")
    if "rows" in tree:
        return Asked(reader.rows(tree["rows"], ids), agreed)
    if reader.bundle.of_table:
        raise Problem("contract", 'This model was fed rows of a table. Send {"rows": [{"column": number, ...}, ...]}.')
    if "pictures" in tree:
        return Asked(reader.base64_pictures(tree["pictures"], ids), agreed)
    return Asked(reader.array(arrays.listed(tree["images"], "'images'"), ids, "'images'"), agreed)


def one_from_tree(reader: Reader, tree: Any, consent: bool = False) -> Asked:
    """One object for POST /classify: {"image": ...}, {"picture": base64}, or of a table {"column": number, ...}."""
    if not isinstance(tree, dict) or not tree:
        raise Problem("not-understood", "The JSON must be an object: of a table its columns, else image or picture.")
    if reader.bundle.of_table:
        names = reader.bundle.table.column_names
        return Asked(reader.rows([tree]), consent if "consent" in names else _agreed(tree, consent))
    plural = {"image": "images", "picture": "pictures"}
    given = [key for key in plural if key in tree]
    if len(given) != 1 or set(tree) - {*plural, "consent", "about", "id"}:
        raise Problem("not-understood", 'Send {"image": nested lists} or {"picture": base64 of a picture file}.')
    changed = {plural[given[0]]: [tree[given[0]]], "consent": tree.get("consent", consent)}
    return from_tree(reader, changed | ({"ids": [tree["id"]]} if "id" in tree else {}))


class _InMemory(MultiPartParser):
    """Starlette's parser, without its temporary files: what is sent is not written anywhere."""

    spool_max_size = 1 << 40
    ended = False  #: the last boundary has come

    def on_end(self) -> None:
        """Note the end: a form that was cut would pass for one of fewer files."""
        super().on_end()
        self.ended = True

    def close(self) -> None:
        """Let go of the files, of those too that are not whole."""
        for file in self._files_to_close_on_error:
            file.close()


async def form_of(request: Request, field: int = 1 << 20) -> FormData:
    """The form of a multipart body, in memory; its limits are those of the body and of the number of objects.

    `field`: bytes of a field that is no file.
    """
    most = request.app.state.service.settings.max_objects
    try:
        parser = _InMemory(
            Headers(raw=request.headers.raw), request.stream(), max_files=most, max_fields=1000,
            max_part_size=field,
        )  # fmt: skip
        form = await parser.parse()
        if not parser.ended:
            parser.close()
            raise Problem("not-understood", "The form is cut: its last boundary is missing.")
        return form
    except ClientDisconnect as error:
        raise Problem("not-understood", "The connection was closed before the body had arrived.") from error
    except (MultiPartException, KeyError, ValueError) as error:
        text = getattr(error, "message", "") or "it has no boundary, or is cut"
        raise Problem("not-understood", f"The form cannot be read: {text}") from error


async def files_of(form: FormData) -> list[tuple[str, bytes]]:
    """(name, bytes) of each file in a form, in order; Problem where there is none."""
    found = []
    for _, value in form.multi_items():
        if isinstance(value, UploadFile) and value.filename:
            found.append((named(value.filename.replace("\\", "/").rpartition("/")[2]), await value.read()))
    if not found:
        raise Problem("not-understood", "The form holds no file. Send each as a part with a file name.")
    return found


def from_files(reader: Reader, files: list[tuple[str, bytes]]) -> Inputs:
    """Pictures, any number of them, or one file of another kind."""
    kinds = [kind_of(name, data) for name, data in files]
    if all(kind == "picture" for kind in kinds) and not reader.bundle.of_table:
        return reader.pictures(files)
    if len(files) > 1:
        odd = next((name for (name, _), kind in zip(files, kinds, strict=True) if kind != "picture"), files[0][0])
        raise Problem("media", f"{odd}: several files must all be pictures, for a model of pictures.")
    name, data = files[0]
    if kinds[0] is None:
        raise Problem("media", f"{name}: this kind of file is not read here. Send {accepted()}.")
    return from_bytes(reader, name, data, kinds[0])


def kind_of(name: str, data: bytes) -> str | None:
    """How a file is read, by its first bytes, else by its name."""
    suffix = "." + name.rpartition(".")[2].lower()
    return _sniffed(data) or ("picture" if suffix in SUFFIXES else suffix if suffix in FILES else None)


def _sniffed(data: bytes) -> str | None:
    return next((kind for begin, kind in _BEGINS if data.startswith(begin)), None)


def from_bytes(reader: Reader, name: str, data: bytes, how: str) -> Inputs:
    """One file's bytes; `how` as in `TYPES`."""
    if how == "npy":
        return reader.array(arrays.npy(data, name), None, name)
    if how == "npz":
        held = arrays.npz(data, 4 * reader.settings.max_body, reader.charge)
        ids: np.ndarray | None = held.get("ids", held.get("id"))
        return reader.array(arrays.only(held, "images", "x", "rows", "table"), ids, name)
    if how == "picture":
        if reader.bundle.of_table:
            raise Problem("contract", "This model was fed rows of a table, not pictures. Send CSV, JSON rows or .npy.")
        return reader.pictures([(name, data)])
    return reader.file(name, data, how)
