"""Source `avro`: alert packets of ZTF, LSST and brokers: stamps, ids, groups and measurements.

Taken are: files of one packet or many (`.avro`), folders and tar or zip archives of them. Fields are found by the
schema that each file carries (see _alerts.py). Needs the extra `astro`.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine, pixels
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._alerts import GROUPS, IDS, ROLES, Layout, find, middle_of
from estampa.data.sources._anytable import looks_like_table
from estampa.data.sources._avrofile import Container, Held, Place
from estampa.data.sources._base import ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._beside import join
from estampa.data.sources._fitsfile import first_plane, first_sky, side_of
from estampa.data.sources._labels import NO_ANSWERS, Answers, from_texts
from estampa.data.sources._picture import Unreadable
from estampa.data.sources._rows import RowsReading, forbid
from estampa.data.sources._store import ARCHIVES, Files, Folder, Store, first_inside, open_store
from estampa.data.sources._tables import Measured, joined
from estampa.errors import SourceError, nearest

SUFFIXES = (".avro",)
MATCHES = True  #: a catalogue beside may be joined by position


@dataclass
class _Rows:
    """What the first pass keeps of each packet."""

    ids: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    places: list[tuple[int, Place, int]] = field(default_factory=list)  #: file, block, number in the block
    sizes: list[tuple[int, int]] = field(default_factory=list)  #: of the first stamp; (0, 0) where it has none
    bad: dict[int, str] = field(default_factory=dict)
    columns: dict[str, int] = field(default_factory=dict)
    values: list[np.ndarray] = field(default_factory=list)
    known: set[str] = field(default_factory=set)  #: every field that a label could be
    unit: str = ""
    scale: float | None = None

    def reject(self, name: str, reason: str) -> None:
        """A row that cannot be read, and of which nothing is known."""
        self.bad[len(self.ids)] = reason
        self.ids.append(name)
        self.groups.append("")
        self.labels.append("")
        self.places.append((-1, Place(0, 0), 0))
        self.sizes.append((0, 0))
        self.values.append(np.empty(0))

    def table(self) -> np.ndarray:
        """Measurements (n, columns) float64; NaN where a packet has none."""
        out = np.full((len(self.ids), len(self.columns)), np.nan)
        for row, values in enumerate(self.values):
            out[row, : len(values)] = values
        return out


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None for files that end in .avro, and a folder or an archive of them; else the reason why not."""
    del options
    if all(p.suffix.lower() in SUFFIXES and p.is_file() for p in paths):
        return None
    others = [p for p in paths if not looks_like_table(p)]
    if others and len(others) == len(paths) - 1 and all(p.suffix.lower() in SUFFIXES and p.is_file() for p in others):
        return None
    if len(others) != 1 or len(paths) > 2:
        return "more than one path, and not all end in .avro"
    path = others[0]
    if path.is_dir():
        return None if Folder(path, SUFFIXES).names else "no .avro files in the folder"
    if path.suffix.lower() in ARCHIVES:
        return None if first_inside(path, SUFFIXES) else "no .avro files in the archive"
    return "neither an .avro file, a folder nor an archive"


def read(paths: Sequence[Path], options: ReadOptions) -> RowsReading:
    """Read every packet once for all but its pixels; stamps are unpacked when blocks are asked for.

    Raises SourceError when no packet has stamps, and MissingExtra without fastavro and astropy.
    """
    machine.require("astro", "fastavro", "astropy", needed_for="reading alert packets")
    forbid(options, paths[0], "layout", "reshape")
    others = [p for p in paths if not looks_like_table(p)]
    catalogue = next((p for p in paths if p not in others), None)
    if options.match_radius and catalogue is None:
        raise SourceError("--match-radius needs a catalogue to match", where=paths[0], cure="Give it as a second path.")
    single = all(p.suffix.lower() in SUFFIXES and not p.is_dir() for p in others)
    store: Store = Files(others) if single else open_store(others[0], SUFFIXES)
    own = replace(options, label="", group="") if catalogue else options  # they are columns of the catalogue
    rows, roles = _scan(store, own)
    record, side, notes = _rule(store, rows, roles, options)
    shape = record.size or ((record.crop, record.crop) if record.crop else side)
    answers = _answers(rows, own, store)
    table = Measured(tuple(rows.columns), rows.table(), [])
    groups = _groups(rows)
    split = None
    if catalogue is not None:
        found = join(catalogue, rows.ids, _sky(table), options, store.path)
        answers = found.answers if found.answers.values is not None else answers
        groups, split = groups if found.groups is None else found.groups, found.split
        table = joined([table, found.columns])
        notes += [*found.notes, *found.columns.notes]
    header = Header(
        n=len(rows.ids),
        shape=(*shape, len(roles)),
        dtype="float32",
        task=answers.task,
        classes=answers.classes,
        channels=roles,
        units=rows.unit,
        pixel_scale=rows.scale if record.size is None else None,
        origin={"paths": [p.name for p in paths]},
        read=record,
        columns=table.names,
        published_split=split is not None,
    )
    facts = [*store.facts(), *stat_facts([catalogue] if catalogue else [])]
    return RowsReading(
        header=header,
        ids=np.array(rows.ids),
        labels=answers.values,
        groups=groups,
        split=split,
        table=table.values if table.names else None,
        fingerprint=fingerprint_of("avro 1", facts, options),
        notes=notes,
        fetch=_Fetch(store, rows, roles, side, header, options.max_pixels),
    )


def _groups(rows: _Rows) -> np.ndarray | None:
    """Groups (n,); an alert without one stands alone. None when there are none at all."""
    if not any(rows.groups):
        return None
    return np.array([group or f"alone:{name}" for group, name in zip(rows.groups, rows.ids, strict=True)])


def _sky(table: Measured) -> tuple[np.ndarray, np.ndarray] | None:
    """Right ascension and declination of each packet, degrees, where packets have them."""
    if not {"ra", "dec"} <= set(table.names):
        return None
    return table.values[:, table.names.index("ra")], table.values[:, table.names.index("dec")]


# ---------------------------------------------------------------------------------------------- the first pass


def _scan(store: Store, options: ReadOptions) -> tuple[_Rows, tuple[str, ...]]:
    rows, roles = _Rows(), _replayed_roles(options)
    seen: dict[str, int] = {}
    for number, name in enumerate(store.names):
        done = 0
        try:
            with _opened(store, name) as file:
                layout = file.layout
                roles = roles or tuple(layout.stamps)
                for column in layout.columns:
                    rows.columns.setdefault(column, len(rows.columns))
                for place, packets in file.packets():
                    for at, packet in enumerate(packets):
                        _note(rows, packet, layout, roles, options)
                        rows.places.append((number, place, at))
                        done += 1
                        _require_new(rows, seen, f"{name}#{done}")
        except Unreadable as reason:
            rows.reject(
                f"{name}#{done + 1}" if done else name, f"{reason} (after {done} packets)" if done else str(reason)
            )
    if len(rows.bad) == len(rows.ids):
        where, why = (rows.ids[0], rows.bad[0]) if rows.ids else (store.path, "no packets")
        raise SourceError("not one alert has cut-outs that can be read", where=store.path, got=f"{where}: {why}")
    return rows, roles


def _note(rows: _Rows, packet: dict[str, Any], layout: Layout, roles: tuple[str, ...], options: ReadOptions) -> None:
    """Keep what the first pass wants of one packet."""
    row = len(rows.ids)
    rows.ids.append(find(packet, IDS))
    own = layout.value(packet, options.group) if options.group else None
    rows.groups.append(str(own) if own not in (None, "") else ("" if options.group else find(packet, GROUPS)))
    asked = options.label or layout.label
    label = layout.value(packet, asked) if asked else None
    rows.labels.append("" if label is None else str(label))
    if options.label or options.group:
        inside = packet.get(layout.record)
        rows.known |= {*packet, *(inside if isinstance(inside, dict) else ())}
    values = np.full(len(rows.columns), np.nan)
    values[[rows.columns[name] for name in layout.columns]] = layout.numbers(packet)
    rows.values.append(values)
    rows.sizes.append((0, 0))
    try:
        stamp = _stamp(packet, layout, roles[0]) if roles else None
        if stamp is None:
            raise Unreadable(_lacking(packet, layout, roles))
        rows.sizes[row] = side_of(stamp, options.max_pixels)
        if len(rows.bad) == row:  # the first that can be read tells for all
            rows.unit, sky = first_sky(stamp, options.max_pixels)
            rows.scale = float(f"{sky.scale:.6g}") if sky else None
    except Unreadable as reason:
        rows.bad[row] = str(reason)


def _require_new(rows: _Rows, seen: dict[str, int], name: str) -> None:
    """Give the last packet the name of its place when it has no id, or one that another packet has."""
    row, own = len(rows.ids) - 1, rows.ids[-1]
    if not own:
        rows.ids[row] = name
    elif own in seen:
        rows.ids[row] = name
        rows.bad.setdefault(row, f"the alert {own} is there twice; the first is row {seen[own]}")
    else:
        seen[own] = row


def _stamp(packet: dict[str, Any], layout: Layout, role: str) -> bytes | None:
    return layout.stamp(packet, role) if role in layout.stamps else None


def _lacking(packet: dict[str, Any], layout: Layout, roles: tuple[str, ...]) -> str:
    if not layout.stamps:
        return f"no cut-outs in its schema; it has {', '.join(list(packet)[:8])}"
    absent = [role for role in roles or ROLES if _stamp(packet, layout, role) is None]
    return f"no cut-out of {', '.join(absent)}"


def _replayed_roles(options: ReadOptions) -> tuple[str, ...]:
    kept = options.record.extra.get("cutouts", "") if options.record else ""
    return tuple(kept.split(",")) if kept else ()


def _rule(
    store: Store, rows: _Rows, roles: tuple[str, ...], options: ReadOptions
) -> tuple[ReadRecord, tuple[int, int], list[str]]:
    """The read record, the size that smaller stamps are padded to, and what is to be said."""
    pixels.choice(options.fit, pixels.FITS, "fit")
    sizes = Counter(size for row, size in enumerate(rows.sizes) if row not in rows.bad)
    side = sizes.most_common(1)[0][0]
    old = options.record
    kept = old.extra.get("stamp", "") if old else ""
    if kept:
        height, _, width = kept.partition("x")
        side = int(height), int(width)
    crop, size = (old.crop, old.size) if old else (options.crop, options.size)
    largest = max(map(min, [side, *sizes]))
    if crop > largest:
        raise SourceError(f"every stamp is smaller than --crop {crop}", where=store.path, allowed=f"at most {largest}")
    notes = [f"{len(rows.columns)} columns of measurements are kept"] if rows.columns else []
    smaller = sum(n for (h, w), n in sizes.items() if h < side[0] or w < side[1])
    larger = sum(n for (h, w), n in sizes.items() if h > side[0] or w > side[1])
    if smaller and not size:
        notes.append(
            f"{smaller} stamps are smaller than {side[0]}x{side[1]} (the border of the exposure): filled up with NaN"
        )
    if larger and not size and not crop:
        notes.append(
            f"{larger} stamps are larger than {side[0]}x{side[1]} and are rejected; choose with --crop or --size"
        )
    extra = {"dtype": "float32", "cutouts": ",".join(roles), "stamp": f"{side[0]}x{side[1]}"}
    return ReadRecord("avro", crop=crop, size=size, fit=old.fit if old else options.fit, extra=extra), side, notes


def _answers(rows: _Rows, options: ReadOptions, store: Store) -> Answers:
    for flag, asked in (("--label", options.label), ("--group", options.group)):
        if asked and asked not in rows.known and options.record is None:
            raise SourceError(
                f"no field {asked!r} in the packets ({flag})", where=store.path, allowed=", ".join(sorted(rows.known)),
                cure=nearest(asked, rows.known),
            )  # fmt: skip
    if not any(rows.labels):
        return NO_ANSWERS
    where = f"{store.path}, field {options.label or 'label'!r} of the packets"
    return from_texts(rows.labels, options.classes, where, options.record is not None)


# ---------------------------------------------------------------------------------------------- pixels


@dataclass
class _Fetch:
    """Reads rows start..stop; one block of one file is kept, since rows are mostly asked for in order."""

    store: Store
    rows: _Rows
    roles: tuple[str, ...]
    side: tuple[int, int]
    header: Header
    most: int
    _held: Held | None = None

    def __call__(self, start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        """Pixels (stop - start, height, width, channels) float32, and the reason for each row without any."""
        assert self.header.shape is not None
        out = np.zeros((stop - start, *self.header.shape), np.float32)
        rejected = {}
        for row in range(start, stop):
            try:
                if row in self.rows.bad:
                    raise Unreadable(self.rows.bad[row])
                out[row - start] = self._one(row)
            except Unreadable as reason:
                rejected[row] = str(reason)
        return out, rejected

    def _one(self, row: int) -> np.ndarray:
        """The stamps of one packet side by side."""
        packet, layout = self._packet(row)
        middle = middle_of(packet, layout)
        planes = []
        for role in self.roles:
            stamp = _stamp(packet, layout, role)
            if stamp is None:
                raise Unreadable(_lacking(packet, layout, self.roles))
            try:
                planes.append(self._brought(first_plane(stamp, self.most), middle))
                if not np.isfinite(planes[-1]).any():
                    raise Unreadable("no pixel is finite")
            except Unreadable as reason:
                raise Unreadable(f"{role}: {reason}") from reason
        if len({plane.shape for plane in planes}) > 1:
            raise Unreadable("cut-outs of different sizes: " + ", ".join(f"{p.shape[0]}x{p.shape[1]}" for p in planes))
        image = np.stack(planes, 2)
        record = self.header.read
        if record.size is not None and image.shape[:2] != record.size:
            image = pixels.resize(image, record.size, record.fit, record.resample)
        return image

    def _brought(self, plane: np.ndarray, middle: tuple[float, float] | None) -> np.ndarray:
        """A stamp of the size of the set: filled up, or its central square."""
        record, (height, width) = self.header.read, self.side
        if plane.shape[0] < height or plane.shape[1] < width:
            plane = _filled(plane, (max(height, plane.shape[0]), max(width, plane.shape[1])), middle)
        if record.crop:
            if min(plane.shape) < record.crop:
                raise Unreadable(f"{plane.shape[0]}x{plane.shape[1]} is smaller than the crop of {record.crop}")
            plane = pixels.crop_centre(plane[..., None], (record.crop, record.crop))[..., 0]
        elif record.size is None and plane.shape != self.side:
            raise Unreadable(f"size {plane.shape[0]}x{plane.shape[1]}, most are {height}x{width}")
        return plane

    def _packet(self, row: int) -> tuple[dict[str, Any], Layout]:
        number, place, at = self.rows.places[row]
        key = (number, place.offset)
        held = self._held
        if held is None or held.key != key or held.at > at:
            with _opened(self.store, self.store.names[number]) as file:
                _, packets = next(file.packets(place.offset))
                held = self._held = Held(key, packets, file.layout)
        return held.go_to(at), held.layout


def _filled(plane: np.ndarray, size: tuple[int, int], middle: tuple[float, float] | None) -> np.ndarray:
    """A stamp that the exposure's border cut, (h, w) float32, filled up to `size` with NaN.

    What is missing lies before the first row or column where the object is nearer to it than half a stamp; else, or
    when the packet does not say where the object is, behind the last.
    """
    out = np.full(size, np.nan, np.float32)
    at = []
    for axis, position in enumerate(reversed(middle or (np.inf, np.inf))):
        missing = size[axis] - plane.shape[axis]
        before = size[axis] // 2 - position
        at.append(int(min(missing, max(0, np.ceil(before - 0.5)))) if missing and before > 0 else 0)
    out[at[0] : at[0] + plane.shape[0], at[1] : at[1] + plane.shape[1]] = plane
    return out


@contextmanager
def _opened(store: Store, name: str) -> Iterator[Container]:
    """A file of packets, read from disk where it lies there by itself."""
    path = store.location(name)
    if path is None or not path.is_file():
        yield Container(io.BytesIO(store.read(name)))
        return
    with path.open("rb") as stream:
        yield Container(stream)
