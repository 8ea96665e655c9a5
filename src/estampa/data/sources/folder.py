"""Source `folder`: pictures as JPEG, PNG, TIFF or WebP, in a folder per class or named by a manifest.

Taken are: a folder (or a tar or zip) with a folder per class, with train / val / test above them or not; a folder
that holds a manifest (CSV) and pictures, or a manifest and a tar or zip; the manifest's own path; single pictures.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from estampa import machine, pixels
from estampa.data.record import Header, ReadRecord
from estampa.data.sources._base import Block, Reading, ReadOptions, fingerprint_of, rows_per_block, stat_facts
from estampa.data.sources._labels import NO_ANSWERS
from estampa.data.sources._picture import HEAD_BYTES, SUFFIXES, Head, Unreadable, decode, head_of
from estampa.data.sources._rowplan import (
    FILE_COLUMNS,
    OTHER_FILES,
    Plan,
    find_manifest,
    from_folders,
    from_manifest,
    names_files,
)
from estampa.data.sources._rows import forbid
from estampa.data.sources._store import ARCHIVES, Files, Folder, Store, first_inside, open_store
from estampa.errors import SourceError
from estampa.plain import numbered

LONGEST_SIDE = 256  #: of the size that is chosen for pictures of mixed sizes
_TASK_ROWS = 8  # pictures decoded by one task of the pool


@dataclass(kw_only=True)
class PicturesReading(Reading):
    """Pictures decoded a block at a time by as many threads as may be used, one block ahead of the reader."""

    store: Store
    names: list[str]
    max_pixels: int

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        """Yield blocks in order; see Reading."""
        step = rows_per_block(self.header, size)
        firsts = range(start, self.header.n, step)
        workers = machine.threads()
        if workers == 1:
            for first in firsts:
                block = self._empty(first, step)
                self._decode(block, 0, len(block.images))
                yield block
            return
        pool = ThreadPoolExecutor(workers, "decode")
        ahead: deque[tuple[Block, list[Future[None]]]] = deque()
        try:
            for first in firsts:
                block = self._empty(first, step)
                rows = range(0, len(block.images), _TASK_ROWS)
                ahead.append((block, [pool.submit(self._decode, block, row, row + _TASK_ROWS) for row in rows]))
                if len(ahead) > 1:
                    yield _finished(*ahead.popleft())
            while ahead:
                yield _finished(*ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _empty(self, first: int, step: int) -> Block:
        assert self.header.shape is not None
        count = min(step, self.header.n - first)
        return Block(first, np.empty((count, *self.header.shape), self.header.dtype), {})

    def _decode(self, block: Block, begin: int, end: int) -> None:
        """Decode rows begin..end of a block in place."""
        for row in range(begin, min(end, len(block.images))):
            out = block.images[row]
            try:
                self._decode_one(self.names[block.start + row], out)
            except Unreadable as reason:
                out[...] = 0
                block.rejected[block.start + row] = str(reason)

    def _decode_one(self, name: str, out: np.ndarray) -> None:
        decode_into(self.store.read(name), self.header.read, out, self.max_pixels, sound=self.store.sound)


def decode_into(data: bytes, record: ReadRecord, out: np.ndarray, max_pixels: int, *, sound: bool = False) -> None:
    """Decode one picture's bytes into `out` (h, w, c) by a read record, as every picture of a set is decoded.

    `sound`: see `_picture.decode`. Raises Unreadable.
    """
    image = decode(
        data, record.mode, max_pixels, out if out.dtype == np.uint8 else None,
        crop=record.crop, fast=record.extra.get("dct") == "fast", sound=sound,
    )  # fmt: skip
    if image.dtype != out.dtype:
        raise Unreadable(f"{8 * image.itemsize}-bit picture among {8 * out.itemsize}-bit ones")
    if image.shape != out.shape:
        if record.size is None:
            sizes = f"{image.shape[0]}x{image.shape[1]}, the others are {out.shape[0]}x{out.shape[1]}"
            raise Unreadable(f"size {sizes}")
        image = pixels.resize(image, record.size, record.fit, record.resample)
    if image.__array_interface__["data"][0] != out.__array_interface__["data"][0]:
        out[...] = image


def _finished(block: Block, tasks: list[Future[None]]) -> Block:
    for task in tasks:
        task.result()
    block.rejected = dict(sorted(block.rejected.items()))
    return block


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None for pictures, an archive or folder of them, or a manifest; else the reason why not."""
    del options
    if all(p.suffix.lower() in SUFFIXES for p in paths):
        return None
    if len(paths) == 2 and {p.suffix.lower() for p in paths} & {".csv"} and paths[0].parent == paths[1].parent:
        if not any(p.is_dir() or p.suffix.lower() in ARCHIVES for p in paths):
            return "no pictures beside the table"
        fitting = all(_has_pictures(p) for p in paths if p.suffix.lower() != ".csv")
        return None if fitting else "no pictures in the folder or archive"
    if len(paths) != 1:
        return "more than one path, and not all are pictures"
    path = paths[0]
    if path.is_dir():
        has_archive = any(p.suffix.lower() in ARCHIVES for p in path.iterdir())
        if _has_pictures(path) or (has_archive and find_manifest(path)):
            return None
        return "no pictures in the folder"
    if path.suffix.lower() in ARCHIVES:
        return None if _has_pictures(path) else "the first files in the archive are no pictures"
    if path.suffix.lower() == ".csv":
        return None if names_files(path) else f"no column {' or '.join(FILE_COLUMNS[:3])}"
    return "neither a folder, an archive, a picture nor a manifest"


def _has_pictures(path: Path) -> bool:
    """Whether a folder holds pictures; whether an archive's first file of a known kind is one, or nothing is known."""
    if path.is_dir():
        return bool(Folder(path).names)
    return not first_inside(path, (*SUFFIXES, *OTHER_FILES)).lower().endswith(OTHER_FILES)


def read(paths: Sequence[Path], options: ReadOptions) -> Reading:
    """Plan the rows and look at each picture's header; pixels are decoded when blocks are asked for.

    Raises SourceError for an empty folder, a hostile archive, a manifest that does not fit.
    """
    return reading_of_plan(paths, _plan(paths, options), options)


def reading_of_plan(paths: Sequence[Path], plan: Plan, options: ReadOptions) -> Reading:
    """Make a Reading of rows that are known; see `read`."""
    record, shape, dtype, notes = _rule(plan, options)
    facts = [*plan.store.facts(), stat_facts([plan.table] if plan.table else []), plan.names]
    header = Header(
        n=len(plan.names),
        shape=shape,
        dtype=dtype,
        task=plan.answers.task,
        classes=plan.answers.classes,
        channels=("red", "green", "blue") if record.mode == "RGB" else ("grey",),
        origin={"paths": [p.name for p in paths]},
        read=record,
        published_split=plan.split is not None,
        columns=plan.beside.names if plan.beside else (),
    )
    return PicturesReading(
        header=header,
        ids=plan.ids,
        labels=plan.answers.values,
        groups=plan.groups,
        split=plan.split,
        table=plan.beside.values if plan.beside and plan.beside.names else None,
        fingerprint=fingerprint_of("folder 3", facts, options),
        notes=plan.notes + notes,
        store=plan.store,
        names=plan.names,
        max_pixels=options.max_pixels,
    )


def _plan(paths: Sequence[Path], options: ReadOptions) -> Plan:
    forbid(options, paths[0], "layout", "reshape")
    tables = [p for p in paths if p.suffix.lower() == ".csv"]
    if tables:
        return from_manifest(tables[0], options)
    if all(p.suffix.lower() in SUFFIXES and not p.is_dir() for p in paths):
        store = Files(paths)
        return Plan(store, store.names, np.array(store.names), NO_ANSWERS)
    path = paths[0]
    manifest = find_manifest(path) if path.is_dir() else None
    return from_manifest(manifest, options) if manifest else from_folders(open_store(path), options)


@dataclass(frozen=True)
class _Seen:
    """What the headers of all pictures say together."""

    sizes: Counter[tuple[int, int]]
    grey: bool
    deep: int  #: pictures of 16 bits
    moving: int  #: pictures of several frames or pages
    readable: int


def _rule(plan: Plan, options: ReadOptions) -> tuple[ReadRecord, tuple[int, int, int], str, list[str]]:
    """Decide colour mode, size and dtype once for all pictures; returns them and what is to be said about it."""
    replay = options.record if options.record is not None and options.record.mode else None
    crop = replay.crop if replay else options.crop
    size, notes = (replay.size if replay else options.size), []
    told = size or ((crop, crop) if crop else None)
    if replay is not None and told is not None:
        dtype = replay.extra.get("dtype", "uint8")
        return replay, (*told, pixels.MODES[replay.mode]), dtype, []
    seen = _look(plan, options.max_pixels)
    largest = max(map(min, seen.sizes))
    if crop > largest:
        raise SourceError(
            f"every picture is smaller than --crop {crop}", where=plan.store.path, allowed=f"at most {largest}"
        )
    mode = replay.mode if replay else options.mode
    if mode == "auto":
        mode = "L" if seen.grey else "RGB"
    pixels.choice(mode, tuple(pixels.MODES), "colour mode")
    pixels.choice(options.fit, pixels.FITS, "fit")
    if seen.moving:
        notes.append(f"{numbered(seen.moving, 'picture')} of several frames or pages: the first is read")
    dtype = "uint16" if seen.deep == seen.readable else "uint8"
    if told is not None:
        shape = told
    elif len(seen.sizes) == 1 or replay is not None:
        shape = seen.sizes.most_common(1)[0][0]
    else:
        size, why = _size_for(seen.sizes)
        shape = size
        done = {"stretch": "stretched", "pad": "padded", "crop": "cropped"}[options.fit]
        notes.append(
            f"pictures of {len(seen.sizes)} sizes: each is {done} to {size[0]}x{size[1]}, {why}; "
            "choose with --size HxW and --fit stretch|pad|crop"
        )
    extra = {"dtype": dtype} if dtype != "uint8" else {}
    if options.fast_dct:
        extra["dct"] = "fast"
    if options.fit == "pad":
        extra["pad"] = "median of the border"
    record = replay or ReadRecord(source="folder", mode=mode, crop=crop, size=size, fit=options.fit, extra=extra)
    return record, (*shape, pixels.MODES[mode]), dtype, notes


def _look(plan: Plan, max_pixels: int) -> _Seen:
    """Read every picture's header. Raises SourceError when not one can be read."""
    sizes: Counter[tuple[int, int]] = Counter()
    grey, deep, moving, readable, reason = True, 0, 0, 0, ""
    for name in plan.names:
        try:
            head = head_in(plan.store, name)
        except Unreadable as error:
            reason = reason or f"{name}: {error}"
            continue
        if head.height * head.width > max_pixels:
            reason = reason or f"{name}: {head.height}x{head.width} pixels are more than the limit of {max_pixels}"
            continue
        sizes[head.height, head.width] += 1
        grey, deep, readable = grey and head.grey, deep + head.deep, readable + 1
        moving += head.moving
    if not readable:
        raise SourceError("not one picture can be read", where=plan.store.path, got=reason)
    return _Seen(sizes, grey, deep, moving, readable)


def head_in(store: Store, name: str) -> Head:
    """Read the header of a picture in a store; raises Unreadable."""
    start = store.read(name, HEAD_BYTES)
    try:
        return head_of(start)
    except Unreadable:
        if len(start) < HEAD_BYTES:
            raise
        return head_of(store.read(name))


def _size_for(sizes: Counter[tuple[int, int]]) -> tuple[tuple[int, int], str]:
    """Size for pictures of mixed sizes: the one that half of them have, else the medians; at most LONGEST_SIDE long."""
    total = sum(sizes.values())
    (size, count), why = sizes.most_common(1)[0], "the size of most"
    if count * 2 < total:
        every = np.repeat(np.array(list(sizes)), list(sizes.values()), axis=0)
        size, why = (int(np.median(every[:, 0])), int(np.median(every[:, 1]))), "the median"
    if max(size) > LONGEST_SIDE:
        ratio = LONGEST_SIDE / max(size)
        size = (max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio)))
        why += f", reduced to {LONGEST_SIDE} on the longer side"
    return size, why
