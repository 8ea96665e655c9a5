"""From what a request holds to rows that can be scored: read as the training files were, held against the contract."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine
from estampa.bundle.contract import check_header, check_scale
from estampa.bundle.contract_table import places
from estampa.bundle.store import Bundle
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._picture import Unreadable, head_of
from estampa.data.sources._tables import ID_COLUMNS, delimiter_of
from estampa.data.sources._wide import open_parquet
from estampa.data.sources.folder import decode_into
from estampa.errors import EstampaError
from estampa.predict.answers import UNREADABLE
from estampa.predict.source import Chunk, PictureSource, open_source, open_table
from estampa.predict.table_source import TableChunk
from estampa.serve import arrays
from estampa.serve.problems import Problem, problem_of
from estampa.serve.settings import Settings

#: What is read through a file of its own, by suffix: the source's extra and a module of it, "" = the base install.
FILES = {".csv": "", ".tsv": "", ".parquet": "tables", ".fits": "astro", ".fit": "astro"}
_MODULES = {"tables": "pyarrow", "astro": "astropy"}
_TEXTS = (".csv", ".tsv")
_COLUMNS = 4096  #: of a table that is read: each takes a look of its own
_UNPACKED = 8  #: what a request may unpack to, in largest bodies: its pixels as the model takes them, or its tables
_BREAKS = 4  #: breaks of lines a row: its own, and those of empty lines and within texts
_PICTURES = 8  #: pixels of a request's pictures together, in those of the largest
_ID_MOST = 200  #: characters of an id
_MODES = {1: "L", 3: "RGB"}


#: Told, before anything is unpacked, how many bytes it takes; raises Problem when there is no room for them.
Charge = Callable[[int], None]


@dataclass(frozen=True)
class Inputs:
    """Objects to be scored: ids (n,) as they were given, and their rows; `chunk.rejected` says what was unreadable."""

    ids: np.ndarray
    chunk: Chunk | TableChunk

    def __len__(self) -> int:
        return len(self.ids)


class Reader:
    """Reads what requests hold for one bundle, within the limits of the settings. Every method raises Problem."""

    def __init__(self, bundle: Bundle, settings: Settings, charge: Charge = lambda _: None) -> None:
        self.bundle, self.settings, self.charge = bundle, settings, charge

    # ------------------------------------------------------------------ pictures

    def array(self, values: np.ndarray, ids: Any = None, what: str = "the array") -> Inputs:
        """Pictures (n, h, w, c), (n, h, w) of one channel, or a single one; of a table rows (n, columns)."""
        if self.bundle.of_table:
            return self._table_array(values, ids, what)
        contract = self.bundle.pictures
        shape = contract.shape
        if values.dtype.names:
            raise Problem("contract", f"{what} has named columns; the model was fed pictures, {contract.words()}.")
        if values.shape in (shape, shape[:2] if shape[2] == 1 else shape):
            values = values.reshape(1, *shape)
        elif shape[2] == 1 and values.ndim == 3 and values.shape[1:] == shape[:2]:
            values = values[..., None]
        if values.shape == (shape[2], *shape[:2]):
            values = values[None]  # one picture whose channels come first: the contract's check says so
        if values.ndim != 4 or not len(values):
            raise Problem(
                "contract", f"{what} is no pictures. Allowed: n x {contract.words()}, or one. Got: "
                f"{' x '.join(map(str, values.shape)) or 'one number'} {values.dtype}.",
            )  # fmt: skip
        self._few(len(values))
        if values.shape[1:] == shape:
            values = arrays.stored(values, contract.dtype, what)
        header = Header(
            len(values), values.shape[1:], str(values.dtype), "unlabelled", read=ReadRecord(source="arrays")
        )
        self._held(lambda: check_header(contract, header, what))
        return self._scaled(Inputs(ids_of(ids, len(values)), Chunk(0, values)), what)

    def pictures(self, files: Sequence[tuple[str, bytes]]) -> Inputs:
        """Files of pictures (name, bytes), decoded as the training pictures were; one that cannot be read is rejected.

        Where not one can be read, Problem says why.
        """
        contract = self.bundle.pictures
        self._few(len(files))
        record = contract.read_record
        if not record.mode:  # the model was fed arrays: a picture must be of their very size and channels
            mode = _MODES.get(contract.shape[2], "")
            if not mode or contract.dtype == "float32":
                raise Problem("media", f"This model reads no picture files: it was fed {contract.words()}. Send .npy.")
            record = ReadRecord(source="folder", mode=mode)
        self._quick(files)
        images = np.zeros((len(files), *contract.shape), contract.dtype)
        rejected: dict[int, str] = {}
        for i, (_, data) in enumerate(files):
            try:
                decode_into(data, record, images[i], self.settings.max_pixels)
            except Unreadable as reason:
                images[i], rejected[i] = 0, str(reason)
        names = np.array([name[:_ID_MOST] for name, _ in files], dtype=np.str_)
        if len(rejected) == len(files):
            raise Problem("unreadable", f"{named(files[0][0])}: {rejected[0]}.{others(len(files) - 1)}")
        return self._scaled(Inputs(names, Chunk(0, images, rejected)), "the pictures")

    def base64_pictures(self, texts: Any, ids: Any = None) -> Inputs:
        """Picture files as base64 texts in JSON."""
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise Problem("not-understood", "'pictures' must be a list of base64 texts, each of one picture file.")
        self._few(len(texts))
        files = []
        for i, text in enumerate(texts):
            try:
                files.append((str(i), base64.b64decode(text.partition("base64,")[2] or text, validate=True)))
            except (binascii.Error, ValueError) as error:
                raise Problem("unreadable", f"Picture {i} is not base64.") from error
        found = self.pictures(files)
        return Inputs(ids_of(ids, len(found)), found.chunk)

    # ------------------------------------------------------------------ tables

    def rows(self, records: Any, ids: Any = None) -> Inputs:
        """Rows as objects {"column": number or null}; the columns by name, others are left aside.

        A row with a value that is no number is rejected, as in a file; where every row is, Problem says why.
        """
        contract = self._table()
        if not isinstance(records, list) or not records or not all(isinstance(row, dict) for row in records):
            raise Problem("not-understood", "'rows' must be a list of objects, {\"column\": number, ...}.")
        self._few(len(records))
        names = contract.column_names
        values = np.full((len(records), len(names)), np.nan)
        rejected: dict[int, str] = {}
        for i, row in enumerate(records):
            if not row.keys() >= set(names):
                self._held(lambda row=row, i=i: places(contract, list(row), (), f"row {i}"))  # type: ignore[misc]
            odd = next((name for name in names if not _is_number(row[name])), None)
            if odd is not None:
                rejected[i] = f"{odd!r} is no number: {row[odd]!r:.80}. Allowed: a number, or null"
                continue
            values[i] = [_number(row[name]) for name in names]
        if len(rejected) == len(records):
            raise Problem("unreadable", f"Row 0: {rejected[0]}.{others(len(records) - 1)}")
        return Inputs(ids_of(ids, len(records)), TableChunk(0, values, rejected))

    def _table_array(self, values: np.ndarray, ids: Any, what: str) -> Inputs:
        contract = self._table()
        names = contract.column_names
        if values.dtype.names:
            self._held(lambda: places(contract, values.dtype.names or (), (), what))
            flat = np.stack([np.atleast_1d(values[name]).astype(np.float64) for name in names], axis=-1)
        else:
            flat = values.astype(np.float64).reshape(1, -1) if values.ndim == 1 else values.astype(np.float64)
        if flat.ndim != 2 or flat.shape[1] != len(names) or not len(flat):
            raise Problem(
                "contract", f"{what} is no rows of the table. Allowed: n x {len(names)}, the columns "
                f"{', '.join(names)[:400]} in this order. Got: {' x '.join(map(str, values.shape))}.",
            )  # fmt: skip
        self._few(len(flat))
        return Inputs(ids_of(ids, len(flat)), TableChunk(0, np.ascontiguousarray(flat)))

    def _table(self) -> Any:
        if not self.bundle.of_table:
            raise Problem(
                "contract", f"This model was fed pictures, {self.bundle.pictures.words()}, not rows of a table."
            )
        return self.bundle.table

    # ------------------------------------------------------------------ files

    def file(self, name: str, data: bytes, suffix: str) -> Inputs:
        """A CSV, Parquet or FITS file, read by the source that reads it for `estampa predict`.

        It lies in a private folder of its own while it is read, and is deleted before the answer is given.
        """
        extra = FILES[suffix]
        if suffix in _TEXTS:
            self._small(data, named(name))
        if extra and not machine.installed(_MODULES[extra]):
            raise Problem("media", f"{suffix} files need an extra here: pip install 'estampa[{extra}]'.")
        with tempfile.TemporaryDirectory(dir=self.settings.scratch, prefix="request-") as folder:
            path = Path(folder) / f"data{suffix}"
            path.write_bytes(data)
            try:
                if suffix == ".parquet":
                    self._light(path)
                found = self._read(path)
            except EstampaError as error:
                raise problem_of(error, (path, Path(folder), Path(path.name)), named(name)) from error

        _short(found.ids.dtype.itemsize // 4)
        ids = np.where(found.ids == path.name, named(name), found.ids)  # its only object is called as the file is
        return replace(found, ids=ids)

    def _small(self, data: bytes, name: str) -> None:
        """Hold a text table to its limits before it is parsed, by what separates its rows and columns."""
        if data.count(b"\n") + data.count(b"\r") > _BREAKS * (self.settings.max_objects + 1):
            raise Problem("too-large", f"{name} has more lines than {self.settings.max_objects:,} objects, the limit.")
        first = data.lstrip(b"\r\n \t")[: 1 << 20].splitlines()[:1]
        most = max(_COLUMNS, 2 * math.prod(self.bundle.contract.shape))
        if first and max(first[0].count(sign) for sign in (b",", b"\t", b";", b" ")) > most:
            raise Problem("too-large", f"{name} has more than {most:,} columns. Send those that the model was fed.")
        if not first or len(data) <= _ID_MOST:
            return
        text = io.StringIO(data.decode("utf-8-sig", "replace").lstrip("\r\n \t"), newline="")
        try:
            rows = csv.reader(text, delimiter=delimiter_of(first[0].decode("utf-8-sig", "replace")))
            places = [i for i, head in enumerate(next(rows)) if _is_id(head)]
            if places:
                _short(max((len(row[i]) for row in rows for i in places if i < len(row)), default=0))
        except (csv.Error, StopIteration):  # the source says what is wrong with it
            return

    def _light(self, path: Path) -> None:
        """Hold a Parquet file to its limits before it is unpacked, by what its foot says."""
        file = open_parquet(path)
        foot = file.metadata
        self._few(foot.num_rows)
        most = 2 * self.settings.max_body
        size = sum(foot.row_group(i).total_byte_size for i in range(foot.num_row_groups))
        if size > most:
            raise Problem("too-large", f"The Parquet file unpacks to more than {most:,} bytes.")
        self.charge(max(size, 0))
        if foot.num_columns > _COLUMNS:
            raise Problem("too-large", f"The Parquet file has more than {_COLUMNS:,} columns.")
        for name in file.schema_arrow.names:
            if _is_id(name):
                _short(_longest(path, name) // 4)  # UTF-8 takes up to four bytes

    def _read(self, path: Path) -> Inputs:
        bundle = self.bundle
        if bundle.of_table:
            table = open_table(path, bundle.table)
            self._few(len(table))
            rows = list(table.table_chunks(0, len(table)))
            rejected = {row: why for chunk in rows for row, why in chunk.rejected.items()}
            return Inputs(table.ids, TableChunk(0, np.concatenate([chunk.values for chunk in rows]), rejected))
        source: PictureSource = open_source(path, bundle.pictures)
        self._few(len(source))
        check_header(bundle.pictures, source.header, path)
        chunks = list(source.chunks(0, len(source)))
        rejected = {row: why for chunk in chunks for row, why in chunk.rejected.items()}
        images = np.concatenate([chunk.images for chunk in chunks])
        return self._scaled(Inputs(source.ids, Chunk(0, images, rejected)), str(path))

    # ------------------------------------------------------------------ shared

    def _few(self, count: int) -> None:
        if count > self.settings.max_objects:
            raise Problem(
                "too-large", f"{count:,} objects in one request; allowed are {self.settings.max_objects:,}. Send "
                "them in several, or use `estampa predict`.",
            )  # fmt: skip
        contract, most = self.bundle.contract, _UNPACKED * self.settings.max_body
        size = count * math.prod(contract.shape) * np.dtype(contract.dtype).itemsize
        if size > most:
            raise Problem(
                "too-large", f"{count:,} objects take {size:,} bytes as the model takes them; allowed are {most:,} in "
                "one request. Send them in several, or use `estampa predict`.",
            )  # fmt: skip
        self.charge(size)

    def _quick(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Hold the pictures of a request together to a limit by what their heads say: decoding takes time by pixels."""
        if len(files) <= _PICTURES:  # each has a limit of its own
            return
        most, found = _PICTURES * self.settings.max_pixels, 0
        for _, data in files:
            try:
                head = head_of(data)
            except Unreadable:  # costs nothing more
                continue
            size = head.height * head.width
            found += size if size <= self.settings.max_pixels else 0  # a larger one is not decoded
        if found > most:
            raise Problem(
                "too-large", f"The pictures have {found:,} pixels; allowed are {most:,} in one request. Send them in "
                "several, or use `estampa predict`.",
            )  # fmt: skip

    def _scaled(self, found: Inputs, what: str) -> Inputs:
        """The inputs, held against the scale of the training pictures as `estampa predict` does."""
        chunk = found.chunk
        assert isinstance(chunk, Chunk)
        good = [i for i in range(len(chunk)) if i not in chunk.rejected]
        some = chunk.images if len(good) == len(chunk) else chunk.images[good]
        if good:
            self._held(lambda: check_scale(self.bundle.pictures, some[:512], what))
        return found

    def _held(self, check: Callable[[], Any]) -> None:
        """Run a check that raises estampa's own errors; they become problems."""
        try:
            check()
        except EstampaError as error:
            raise problem_of(error) from error


def ids_of(given: Any, count: int) -> np.ndarray:
    """(count,) str: the ids that a client gave, else the row numbers; Problem where they do not fit."""
    if given is None:
        return np.arange(count).astype(np.str_)
    texts = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(texts, list) or len(texts) != count or not all(isinstance(t, (str, int)) for t in texts):
        raise Problem("not-understood", f"'ids' must be a list of {count} texts, one for each object.")
    named_by = [str(text) for text in texts]
    _short(max(map(len, named_by), default=0))
    return np.array(named_by, dtype=np.str_)


def _is_id(column: str) -> bool:
    return column.strip().lower().replace("_", "") in ID_COLUMNS


def _longest(path: Path, column: str) -> int:
    """Bytes of the longest text in a Parquet file's column; each text is looked at once, not once a row."""
    import pyarrow as pa
    from pyarrow import compute, parquet

    try:
        with parquet.ParquetFile(path, read_dictionary=[column]) as file:
            chunks = file.read([column]).column(0).chunks
        found = [chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk for chunk in chunks]
        lengths = [
            compute.max(compute.binary_length(values)).as_py()
            for values in found
            if pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
            or pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type)
        ]  # fmt: skip
    except (OSError, ValueError, pa.ArrowException):  # the source says what is wrong with it
        return 0
    return max((length or 0 for length in lengths), default=0)


def _short(longest: int) -> None:
    """Refuse ids that are too long: in an array, each takes the room of the longest."""
    if longest > _ID_MOST:
        raise Problem("contract", f"An id has more than {_ID_MOST} characters, the limit. Give shorter ones.")


def named(name: str) -> str:
    """A client's name of a file, safe to be said back: on one line, not long."""
    return "".join(c if c.isprintable() else "?" for c in name[:_ID_MOST]) or "the file"


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _number(value: float | None) -> float:
    if value is None:
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def others(count: int) -> str:
    """That `count` more could not be answered either, in words."""
    return f" Nor can the other {count}." if count else ""


def reason_of(flags: Mapping[str, Any] | Sequence[str]) -> str:
    """Why a row has no answer, from its flags, in words."""
    for flag in flags:
        name, cut, rest = flag.partition(":")
        if cut:
            columns = rest.replace("|", ", ")
            return (
                f"It cannot be read: {rest}."
                if name == UNREADABLE
                else f"What the model needs is missing or failed: {columns}."
            )
    return "The model gives no answer."
