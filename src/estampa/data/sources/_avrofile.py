"""Avro object container files (Avro 1.11, "Object Container Files"): packets read block by block, with limits.

The frame is read here, so that a block is unpacked only up to a limit and what is torn is told by its place; the
packets in a block are decoded one by one by fastavro, by the schema that the file carries. Lists and maps in a packet
(an alert's history) are passed over, not built: nothing here reads them, and few bytes could become many objects.
"""

from __future__ import annotations

import io
import itertools
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import IO, Any

from estampa.data.sources._alerts import Layout, layout_of
from estampa.data.sources._picture import Unreadable

MAGIC = b"Obj\x01"
CODECS = ("null", "deflate")
_SYNC = 16
_META = {"type": "map", "values": "bytes"}
MOST_BYTES = 1 << 26  #: of one block; a packet has 0.1 MB, and writers fill blocks with some of them
FREE = 10_000  #: packets of a file whose size does not matter
LEAST_BYTES = 256  #: of a packet as it is stored, on average, beyond that number: none with a cut-out has fewer
_DEEPEST = 50  #: types inside each other in a schema


@dataclass(frozen=True)
class Place:
    """One block: the byte that it begins at, and the number of its packets."""

    offset: int
    count: int


@dataclass
class Held:
    """One block of one file, decoded as far as it was asked for."""

    key: tuple[int, int]  #: number of the file, byte of the block
    packets: Iterator[dict[str, Any]]
    layout: Layout
    at: int = -1  #: number of `packet`, the one that was decoded last
    packet: dict[str, Any] = field(default_factory=dict)

    def go_to(self, at: int) -> dict[str, Any]:
        """Packet `at`, which is not before the last one. Unreadable when the file has fewer since it was scanned."""
        for packet in itertools.islice(self.packets, at - self.at):
            self.packet, self.at = packet, self.at + 1
        if self.at != at:
            raise Unreadable("the file has changed since it was looked through")
        return self.packet


class Container:
    """One file, open for reading. Raises Unreadable for what is no avro file, or one with another codec."""

    def __init__(self, stream: IO[bytes]) -> None:
        import fastavro

        self.stream = stream
        try:
            magic = stream.read(4)
            if magic != MAGIC:
                raise Unreadable("not an avro file" if magic else "an empty file, of 0 bytes")
            meta = fastavro.schemaless_reader(stream, fastavro.parse_schema(_META), None)
            self._schema, self._wanted, self.layout = _understood(meta["avro.schema"])
            self.codec = meta.get("avro.codec", b"null").decode()
            self.sync = _exactly(stream, _SYNC)
        except Unreadable:
            raise
        except Exception as error:  # a damaged head fails in as many ways as there are fields in it
            raise Unreadable(f"damaged head of an avro file ({type(error).__name__})") from error
        if self.codec not in CODECS:
            raise Unreadable(f"avro packed by {self.codec!r}; known are {', '.join(CODECS)}")
        self.first = stream.tell()

    def packets(self, offset: int | None = None) -> Iterator[tuple[Place, Iterator[dict[str, Any]]]]:
        """Yield blocks from the one at `offset` on: its place, and its packets, decoded when they are asked for.

        Packets are without their lists and maps. Raises Unreadable where a block or a packet is torn, and for more
        packets than their bytes can hold cut-outs of.
        """
        self.stream.seek(self.first if offset is None else offset)
        packets = stored = 0
        while True:
            at = self.stream.tell()
            start = self.stream.read(1)
            if not start:
                return
            try:
                count, size = _long(self.stream, start), _long(self.stream)
                if not 0 <= size <= MOST_BYTES or count < 0:
                    limit = f", the limit is {MOST_BYTES >> 20} MiB" if size > MOST_BYTES else ""
                    raise Unreadable(f"a block of {count:,} packets in {size:,} bytes{limit}")
                packets, stored = packets + count, stored + size
                if packets > FREE and stored < LEAST_BYTES * packets:
                    raise Unreadable(f"{packets:,} packets in {stored:,} bytes: too small to hold cut-outs")
                data = self._unpacked(_exactly(self.stream, size))
                if count > len(data):
                    raise Unreadable(f"a block of {len(data):,} bytes cannot hold {count:,} packets")
                if _exactly(self.stream, _SYNC) != self.sync:
                    raise Unreadable("a block ends without its mark")
            except Unreadable as reason:
                raise _torn(at, reason) from reason
            yield Place(at, count), self._decoded(data, count, at)

    def _unpacked(self, data: bytes) -> bytes:
        if self.codec == "null":
            return data
        machine = zlib.decompressobj(-15)
        try:
            out = machine.decompress(data, MOST_BYTES + 1)
        except zlib.error as error:
            raise Unreadable("deflated badly") from error
        if len(out) > MOST_BYTES:
            raise Unreadable(f"a block that unpacks to more than {MOST_BYTES >> 20} MiB")
        return out

    def _decoded(self, data: bytes, count: int, at: int) -> Iterator[dict[str, Any]]:
        import fastavro

        stream = io.BytesIO(data)
        for _ in range(count):
            try:
                packet: Any = fastavro.schemaless_reader(stream, self._schema, self._wanted)
            except Exception as error:  # what fastavro raises depends on the field that is torn
                what = f"a packet does not follow its schema ({type(error).__name__})"
                raise _torn(at, Unreadable(what)) from error
            if not isinstance(packet, dict):
                raise _torn(at, Unreadable("packets that are no records"))
            yield packet


def _torn(at: int, reason: Unreadable) -> Unreadable:
    return Unreadable(f"damaged or truncated avro, at byte {at:,}: {reason}")


@lru_cache(maxsize=32)  # thousands of files, of one packet each, carry the same schema
def _understood(schema: bytes) -> tuple[Any, Any, Layout]:
    """The schema that packets were written by, the part of it that is built, and where things are in them."""
    import fastavro

    raw = json.loads(schema)
    _least(raw, {}, 0)
    whole = fastavro.parse_schema(raw)
    wanted = _without_lists(whole, {}, set())
    if not isinstance(wanted, dict) or wanted["type"] != "record":
        raise Unreadable("packets that are no records")
    return whole, fastavro.parse_schema(wanted), layout_of(raw)


def _without_lists(kind: Any, named: dict[str, Any], spelled: set[str]) -> Any:
    """A parsed type without fields that hold an array or a map; None where it is one, or may be one.

    `named` holds the named types met so far, `spelled` those that the result spells out: one that only a field left
    out did is spelled out where it is named next.
    """
    if isinstance(kind, list):
        inside = [_without_lists(one, named, spelled) for one in kind]
        return None if None in inside else inside
    if isinstance(kind, str):
        return kind if kind in spelled or kind not in named else _without_lists(named[kind], named, spelled)
    inner = kind["type"]
    if inner in ("array", "map"):
        _without_lists(kind["items" if inner == "array" else "values"], named, set(spelled))  # for the names in it
        return None
    if inner in ("record", "error", "fixed", "enum"):
        named[kind["name"]] = kind
        spelled.add(kind["name"])
    if inner not in ("record", "error"):
        return kind
    fields = []
    for one in kind["fields"]:
        tried = set(spelled)
        found = _without_lists(one["type"], named, tried)
        if found is not None:
            spelled |= tried
            fields.append({"name": one["name"], "type": found})
    return {"type": "record", "name": kind["name"], "fields": fields}


def _least(kind: Any, known: dict[str, int | None], depth: int) -> int:
    """Fewest bytes of a value of a type; Unreadable for types by which few bytes become without end.

    These are a record that holds itself, whose values nest as deep as the bytes say (fastavro's stack would not bear
    it), and arrays of what takes no bytes (null, an empty record), which are as long as they say. `known` holds the
    named types seen, None for those that are still open.
    """
    if depth > _DEEPEST:
        raise Unreadable(f"a schema of more than {_DEEPEST} types inside each other")
    if isinstance(kind, list):
        return 1 + min((_least(one, known, depth + 1) for one in kind), default=0)
    if isinstance(kind, str):
        found = known.get(kind.rpartition(".")[2], 0 if kind == "null" else 1)
        if found is None:
            raise Unreadable(f"a schema in which {kind!r} holds itself")
        return found
    name, inner = str(kind.get("name", "")).rpartition(".")[2], kind["type"]
    if inner in ("array", "map"):
        items = _least(kind["items" if inner == "array" else "values"], known, depth + 1)
        if inner == "array" and not items:
            raise Unreadable("a schema with an array of nothing")
        return 1
    if inner in ("record", "error"):
        known[name] = None
        known[name] = total = sum(_least(field["type"], known, depth + 1) for field in kind["fields"])
        return total
    if inner in ("fixed", "enum"):
        known[name] = size = int(kind["size"]) if inner == "fixed" else 1
        return size
    return _least(inner, known, depth + 1)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise Unreadable(f"{count - len(data):,} bytes are missing")
    return data


def _long(stream: IO[bytes], start: bytes = b"") -> int:
    """A zig-zag number of variable length (Avro 1.11, "Binary Encoding")."""
    value = shift = 0
    byte = start or _exactly(stream, 1)
    while True:
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return (value >> 1) ^ -(value & 1)
        shift += 7
        if shift > 63:
            raise Unreadable("a number that does not end")
        byte = _exactly(stream, 1)
