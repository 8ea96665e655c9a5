"""What an alert packet's schema says: which fields are cut-outs, which one is the id, which are measurements.

Known layouts: ZTF (`cutoutScience.stampData`, gzipped FITS; `candid`, `objectId`, `candidate`) and LSST
(`cutoutScience`, bytes of FITS; `diaSourceId` or `alertId`, `diaSource`, `diaObject`). Nothing else about a survey is
built in: fields are found by their types and names.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: Role of a cut-out -> words in the name of its field; in stacking order.
ROLES = {
    "science": ("science", "sci", "new"),
    "template": ("template", "reference", "ref"),
    "difference": ("difference", "diff", "sub"),
}
IDS = ("candid", "diasourceid", "diasource_id", "sourceid", "alertid")
GROUPS = ("objectid", "diaobjectid", "ssobjectid")
LABELS = ("label", "labels", "class", "classname", "target")
RECORDS = ("candidate", "diasource", "source")  #: records of the alert's own measurements
#: Fields that say where on the exposure the middle of a stamp lies, pixels; with the number of the first pixel.
PLACES = (("xpos", "ypos", 1.0), ("x", "y", 0.0))
_STAMP = ("cutout", "stamp")
_NUMBERS = ("int", "long", "float", "double", "boolean")


@dataclass(frozen=True)
class Layout:
    """Where things are in the packets of one schema."""

    stamps: dict[str, tuple[str, ...]]  #: role -> path of field names to the bytes, in stacking order
    record: str  #: field of the measurements, or ""
    label: str  #: field of the answer, or ""
    columns: tuple[str, ...]  #: its fields of numbers, then those beside it; names of ids and answers left out

    def stamp(self, packet: dict[str, Any], role: str) -> bytes | None:
        """Bytes of a cut-out; None where there is none."""
        value: Any = packet
        for name in self.stamps[role]:
            value = value.get(name) if isinstance(value, dict) else None
        return bytes(value) if isinstance(value, (bytes, bytearray)) and value else None

    def value(self, packet: dict[str, Any], name: str) -> Any:
        """Value of a field of the measurements, else of the packet; None where there is none."""
        inside = packet.get(self.record) if self.record else None
        if isinstance(inside, dict) and name in inside:
            return inside[name]
        return packet.get(name)

    def numbers(self, packet: dict[str, Any]) -> list[float]:
        """Values of `columns`; NaN where one is missing or no number."""
        found = (self.value(packet, name) for name in self.columns)
        return [float(v) if isinstance(v, (int, float)) else math.nan for v in found]


def layout_of(schema: Any) -> Layout:
    """Read a packet's schema (as its file holds it: parsed JSON)."""
    known = _named(schema)
    fields = dict(_fields(schema, known))
    stamps: dict[str, tuple[str, ...]] = {}
    for role, words in ROLES.items():
        for name, kind in fields.items():
            lower = name.lower()
            if not any(w in lower for w in _STAMP) or not any(w in lower for w in words):
                continue
            path = _bytes_in(kind, known)
            if path is not None:
                stamps.setdefault(role, (name, *path))
    spelled = {name.lower(): name for name in fields}
    records = [name for name, kind in fields.items() if _record(kind, known) is not None]
    record = next((spelled[r] for r in RECORDS if spelled.get(r) in records), "")
    inner = dict(_fields(_record(fields[record], known), known)) if record else {}
    own = {name.lower(): name for part in (fields, inner) for name in part}
    apart = {*IDS, *GROUPS, *LABELS}
    names = [n for part in (inner, fields) for n, kind in part.items() if _numeric(kind, known)]
    label = next((own[name] for name in LABELS if name in own), "")
    return Layout(stamps, record, label, tuple(dict.fromkeys(n for n in names if n.lower() not in apart)))


def find(packet: dict[str, Any], names: tuple[str, ...]) -> str:
    """Value of the first of `names` (case aside) in a packet, or in a record directly in it, as text; else ""."""
    nested = [value for value in packet.values() if isinstance(value, dict)]
    for name in names:
        for place in (packet, *nested):
            for key, value in place.items():
                if key.lower() == name and isinstance(value, (int, str)) and not isinstance(value, bool) and value:
                    return str(value)
    return ""


def middle_of(packet: dict[str, Any], layout: Layout) -> tuple[float, float] | None:
    """Where on the exposure the object lies: x, y in pixels counted from 0; None when the packet does not say."""
    for x, y, first in PLACES:
        found = layout.value(packet, x), layout.value(packet, y)
        if all(isinstance(v, (int, float)) for v in found):
            return float(found[0]) - first, float(found[1]) - first
    return None


def _named(schema: Any) -> dict[str, Any]:
    """Every record that a schema spells out, by its name without its namespace: later fields refer to it by name."""
    found, waiting = {}, [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if one.get("type") == "record":
                found[str(one.get("name", "")).rpartition(".")[2]] = one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


def _fields(schema: Any, known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    record = _record(schema, known)
    for field in (record or {}).get("fields", ()):
        yield field["name"], field["type"]


def _record(kind: Any, known: dict[str, Any]) -> dict[str, Any] | None:
    """The record that a type is, or that a union of it with null holds."""
    for one in kind if isinstance(kind, list) else [kind]:
        if isinstance(one, str) and one.rpartition(".")[2] in known:
            return known[one.rpartition(".")[2]]  # type: ignore[no-any-return]
        if isinstance(one, dict) and one.get("type") == "record":
            return one
        if isinstance(one, dict) and isinstance(one.get("type"), (dict, list)):
            return _record(one["type"], known)
    return None


def _plain(kind: Any) -> set[str]:
    """Names of the plain types that a type, or a union, may be."""
    found: set[str] = set()
    for one in kind if isinstance(kind, list) else [kind]:
        inner = one.get("type") if isinstance(one, dict) else one
        found |= _plain(inner) if isinstance(inner, (dict, list)) else {str(inner)}
    return found


def _bytes_in(kind: Any, known: dict[str, Any]) -> tuple[str, ...] | None:
    """Path of names below a field to its bytes: () when it is bytes itself, None when there are none."""
    if "bytes" in _plain(kind):
        return ()
    return next(((name,) for name, inner in _fields(kind, known) if "bytes" in _plain(inner)), None)


def _numeric(kind: Any, known: dict[str, Any]) -> bool:
    return _record(kind, known) is None and bool(_plain(kind) & set(_NUMBERS))
