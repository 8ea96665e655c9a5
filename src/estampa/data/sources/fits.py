"""Source `fits`: cut-outs as FITS files, in a folder per class or named by a manifest.

Taken are: a folder, a tar or a zip of FITS files, with a folder per class or not, with train / val / test above them or
not; a folder or an archive with a manifest (CSV); the manifest's own path; single files. One object is one file (a
plane, a cube, or several HDUs) or several files, NAME_g.fits, NAME_r.fits, ... A FITS file that holds tables and no
picture is read by the source `table`. Needs the extra `astro`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from estampa import machine, pixels
from estampa.data.record import Header, ReadRecord
from estampa.data.skymatch import read_radius
from estampa.data.sources._anytable import TEXTS, looks_like_table
from estampa.data.sources._base import ReadOptions, fingerprint_of, stat_facts
from estampa.data.sources._beside import join
from estampa.data.sources._channels import Objects, bare_name, objects_of
from estampa.data.sources._fitsfile import SUFFIXES, Look, Piece, holds_image, look, planes
from estampa.data.sources._labels import NO_ANSWERS
from estampa.data.sources._picture import Unreadable
from estampa.data.sources._rowplan import (
    Plan,
    file_column,
    find_manifest,
    from_folders,
    from_manifest,
    names_files,
    pictures_of,
)
from estampa.data.sources._rows import RowsReading, forbid
from estampa.data.sources._skycolumns import sky_columns
from estampa.data.sources._store import ARCHIVES, Files, Folder, first_inside, open_store
from estampa.data.sources._tables import Measured, heading, joined
from estampa.errors import SourceError

MATCHES = True  #: a catalogue beside may be joined by position


@dataclass(frozen=True)
class Rule:
    """How every object of a set becomes pixels."""

    pieces: tuple[tuple[Piece, ...], ...]  #: HDUs of each file of an object
    by_name: bool
    record: ReadRecord
    shape: tuple[int, int, int]
    most: int


def is_mine(paths: Sequence[Path], options: ReadOptions) -> str | None:
    """None for FITS pictures, a folder or archive of them, or a manifest that names them; else the reason why not."""
    del options
    if machine.version_of("astropy") is None:
        return _unasked(paths)
    if all(_named_fits(p) and p.is_file() for p in paths):
        return None if holds_image(paths[0]) else f"{paths[0].name} holds no picture"
    others, tables = _sorted(paths)
    if len(tables) > 1:
        return "more than one path, and not all are FITS files"
    if not others:
        named = tables[0].suffix.lower() in TEXTS and names_files(tables[0], SUFFIXES)
        return None if named else "the table names no FITS files"
    if all(_named_fits(p) and p.is_file() for p in others):
        return None
    if len(others) > 1:
        return "more than one path, and not all are FITS files"
    path = others[0]
    if path.is_dir():
        return None if _first_in(path) else "no FITS files with pictures in the folder"
    if path.suffix.lower() in ARCHIVES:
        return None if first_inside(path, SUFFIXES) else "no FITS files in the archive"
    return "neither a FITS file, a folder, an archive nor a manifest"


def _unasked(paths: Sequence[Path]) -> str | None:
    """Answer by names alone where astropy is not installed: `read` then says what is lacking."""
    named = any(_named_fits(p) or (p.is_dir() and Folder(p, SUFFIXES).names) for p in paths)
    return None if named else "no FITS files"


def read(paths: Sequence[Path], options: ReadOptions) -> RowsReading:
    """Plan the rows and look at each file's headers; pixels are read when blocks are asked for.

    Raises SourceError for data without a readable file, and for a manifest that does not fit; MissingExtra without
    astropy.
    """
    machine.require("astro", "astropy", needed_for="reading FITS files")
    if options.match_radius:
        read_radius(options.match_radius)
    forbid(options, paths[0], "reshape")
    options = options if _replayed(options) else replace(options, record=_foreign(options))
    plan, catalogue = _plan(paths, options)
    assert isinstance(plan.store, Objects)
    looks, bad = _look(plan, options)
    rule, notes = _rule(plan.store, looks, options)
    scale, sky, told = sky_columns([seen[0].sky if seen else None for seen in looks])
    if catalogue is not None:
        told += _join(plan, catalogue, sky, options)
    beside = joined([part for part in (sky, plan.beside) if part is not None])
    header = Header(
        n=len(plan.names),
        shape=rule.shape,
        dtype="float32",
        task=plan.answers.task,
        classes=plan.answers.classes,
        channels=_channel_names(plan.store, rule),
        units=_unit(looks, notes),
        pixel_scale=None if scale is None else _resized_scale(scale, looks, rule),
        origin={"paths": [p.name for p in paths]},
        read=rule.record,
        published_split=plan.split is not None,
        columns=beside.names,
    )
    facts = [*plan.store.facts(), stat_facts([plan.table] if plan.table else []), plan.names]
    return RowsReading(
        header=header,
        ids=plan.ids,
        labels=plan.answers.values,
        groups=plan.groups,
        split=plan.split,
        table=beside.values if beside.names else None,
        fingerprint=fingerprint_of("fits 1", facts, options),
        notes=[*plan.notes, *notes, *told],
        fetch=_fetch(plan.store, plan.names, rule, bad),
    )


# ---------------------------------------------------------------------------------------------- which rows


def _sorted(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Cut-outs, and the tables beside them: a FITS file that holds no picture is a table when it is not alone."""

    def is_table(path: Path) -> bool:
        alone = len(paths) == 1
        return looks_like_table(path) or (not alone and _named_fits(path) and path.is_file() and not holds_image(path))

    tables = [path for path in paths if is_table(path)]
    return [path for path in paths if path not in tables], tables


def _plan(paths: Sequence[Path], options: ReadOptions) -> tuple[Plan, Path | None]:
    """The rows; and the catalogue that is to be joined to them, if any."""
    others, tables = _sorted(paths)
    wanted = tuple(filter(None, options.record.extra.get("bands", "").split(","))) if options.record else ()
    single = options.record is not None and bool(options.record.extra) and not wanted
    files = bool(others) and all(_named_fits(p) and not p.is_dir() for p in others)
    path = others[0] if others else pictures_of(tables[0])
    store = objects_of(Files(others) if files else open_store(path, SUFFIXES), wanted, single)
    manifest, catalogue = None, None
    if tables and tables[0].suffix.lower() in TEXTS and file_column(heading(tables[0])) and not options.match_radius:
        manifest = tables[0]
    elif tables:
        catalogue = tables[0]
        options = replace(options, label="", group="")  # they are columns of the catalogue
    elif path.is_dir():
        manifest = find_manifest(path, SUFFIXES)
    if options.match_radius and catalogue is None:
        raise SourceError(
            "--match-radius needs a catalogue to match", where=path, got=str(manifest) if manifest else "",
            cure="As in: estampa build cutouts/ catalogue.csv --match-radius 2arcsec --label class",
        )  # fmt: skip
    if manifest is not None:
        plan = from_manifest(manifest, options, store=store)
    elif files:
        plan = Plan(store, store.names, np.array(store.names), NO_ANSWERS)
    else:
        plan = from_folders(store, options)
    if store.bands:
        plan.notes.append(f"each object is {len(store.bands)} files, in this order: {', '.join(store.bands)}")
    plan.table = manifest or catalogue
    return plan, catalogue


def _join(plan: Plan, catalogue: Path, sky: Measured | None, options: ReadOptions) -> list[str]:
    """Put what a catalogue says of the objects into their plan; returns what is to be said."""
    names = [bare_name(name, SUFFIXES) for name in plan.names]
    found = join(
        catalogue, names, None if sky is None else (sky.values[:, 0], sky.values[:, 1]), options, plan.store.path
    )
    if found.answers.values is not None:
        plan.answers = found.answers
    plan.beside, plan.groups = found.columns, found.groups
    plan.split = plan.split if found.split is None else found.split
    return [*found.notes, *found.columns.notes]


def _replayed(options: ReadOptions) -> bool:
    return options.record is None or options.record.source == "fits"


def _foreign(options: ReadOptions) -> ReadRecord | None:
    """A record of another source, of which only the size tells something here."""
    record = options.record
    return record and ReadRecord("fits", crop=record.crop, size=record.size, fit=record.fit, resample=record.resample)


def _named_fits(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES)


def _first_in(folder: Path) -> bool:
    """Whether the first FITS file of a folder holds a picture, or cannot be read at all."""
    store = Folder(folder, SUFFIXES)
    try:
        return bool(store.names) and (holds_image(store.read(store.names[0])) or len(store.names) > 1)
    except Unreadable:
        return True


# ---------------------------------------------------------------------------------------------- headers


def _look(plan: Plan, options: ReadOptions) -> tuple[list[tuple[Look, ...] | None], dict[int, str]]:
    """What the headers of each row's files say; None and a reason where one cannot be read."""
    assert isinstance(plan.store, Objects)
    layout = options.layout or (options.record.layout if options.record else "")
    looks: list[tuple[Look, ...] | None] = []
    bad: dict[int, str] = {}
    for row, name in enumerate(plan.names):
        try:
            files = plan.store.files_of(name)
            looks.append(tuple(look(plan.store.store.read(f), layout, options.max_pixels) for f in files))
        except Unreadable as reason:
            looks.append(None)
            bad[row] = str(reason)
    if len(bad) == len(looks):
        first = plan.names[0]
        raise SourceError("not one cut-out can be read", where=plan.store.path, got=f"{first}: {bad[0]}")
    return looks, bad


def _rule(store: Objects, looks: Sequence[tuple[Look, ...] | None], options: ReadOptions) -> tuple[Rule, list[str]]:
    """Decide which HDUs are the channels, and the size, once for all objects; and what is to be said about it."""
    seen = [look for look in looks if look is not None]
    record, notes = options.record, []
    chosen, by_name = _pieces(seen, record)
    sizes = Counter((object_[0].pieces[0].height, object_[0].pieces[0].width) for object_ in seen)
    size, crop = (record.size, record.crop) if record else (options.size, options.crop)
    pixels.choice(options.fit, pixels.FITS, "fit")
    largest = max(map(min, sizes))
    if crop > largest:
        raise SourceError(
            f"every cut-out is smaller than --crop {crop}", where=store.path, allowed=f"at most {largest}"
        )
    shape = size or ((crop, crop) if crop else sizes.most_common(1)[0][0])
    if len(sizes) > 1 and not size and not crop:
        notes.append(
            f"cut-outs of {len(sizes)} sizes: those of {shape[0]}x{shape[1]} are kept, others are rejected, since "
            "resizing changes what a pixel measures; choose with --size HxW and --fit stretch|pad|crop"
        )
    aside = Counter(text for object_ in seen for one in object_ for text in one.aside)
    notes += [
        f"{text} is left out in {count} files: its size is not that of the first" for text, count in aside.items()
    ]
    extra = {"dtype": "float32"}
    if store.bands:
        extra["bands"] = ",".join(store.bands)
    if by_name:
        extra["hdus"] = "\n\n".join("\n".join(p.name for p in file) for file in chosen)
    layout = next((p.layout for file in chosen for p in file if p.layout), "")
    made = record or ReadRecord("fits", crop=crop, size=size, fit=options.fit, layout=layout)
    made = made if made.extra else replace(made, extra=extra)
    channels = sum(piece.count for file in chosen for piece in file)
    return Rule(chosen, by_name, made, (*shape, channels), options.max_pixels), notes


def _pieces(seen: Sequence[tuple[Look, ...]], record: ReadRecord | None) -> tuple[tuple[tuple[Piece, ...], ...], bool]:
    """The HDUs of each file of an object, as most have them, and whether they are found by their names.

    Names count when those of most objects are all there and all different; else HDUs are taken by their order.
    """
    names = Counter(tuple(tuple(p.name for p in one.pieces) for one in object_) for object_ in seen)
    common, count = names.most_common(1)[0]
    kept = record.extra.get("hdus", "") if record else ""
    if kept:
        common = tuple(tuple(file.split("\n")) for file in kept.split("\n\n"))
    distinct = all(len(file) == len(set(file)) > 1 and all(file) for file in common)
    by_name = bool(kept) or (distinct and count * 2 >= len(seen))
    forms = Counter(_form(object_) for object_ in seen)
    return _example(seen, common, forms.most_common(1)[0][0], by_name), by_name


def _form(object_: tuple[Look, ...]) -> tuple[tuple[tuple[int, str], ...], ...]:
    return tuple(tuple((p.count, p.layout) for p in one.pieces) for one in object_)


def _example(
    seen: Sequence[tuple[Look, ...]],
    names: tuple[tuple[str, ...], ...],
    form: tuple[tuple[tuple[int, str], ...], ...],
    by_name: bool,
) -> tuple[tuple[Piece, ...], ...]:
    """The HDUs of an object like most: by their names, else by number and form."""
    if by_name:
        for object_ in seen:
            there = [{p.name: p for p in one.pieces} for one in object_]
            if all(set(file) <= set(known) for file, known in zip(names, there, strict=True)):
                return tuple(tuple(known[n] for n in file) for file, known in zip(names, there, strict=True))
        raise SourceError(
            "not one file has the HDUs that the model was fed", allowed=" ".join(n for file in names for n in file),
            got=" ".join(p.name or "(no name)" for one in seen[0] for p in one.pieces),
        )  # fmt: skip
    return tuple(one.pieces for one in next(object_ for object_ in seen if _form(object_) == form))


def _channel_names(store: Objects, rule: Rule) -> tuple[str, ...]:
    """Names of the channels: band, HDU and plane, as far as they tell channels apart; () for one without a name."""
    names = []
    for number, file in enumerate(rule.pieces):
        band = store.bands[number] if store.bands else ""
        for at, piece in enumerate(file):
            own = piece.name.lower() if rule.by_name else (str(at) if len(file) > 1 else "")
            for plane in range(piece.count):
                parts = (band, own, str(plane) if piece.count > 1 else "")
                names.append("_".join(part for part in parts if part))
    return tuple(names) if all(names) and len(set(names)) == len(names) else ()


def _unit(looks: Sequence[tuple[Look, ...] | None], notes: list[str]) -> str:
    """BUNIT, when all files have the same; else "" and, where they differ, a note."""
    units = Counter(one.unit for seen in looks if seen for one in seen)
    if len(units) > 1:
        told = ", ".join(f"{unit or 'none'} {count}" for unit, count in units.most_common(5))
        notes.append(f"the files have different units (BUNIT), so none is kept: {told}")
    return next(iter(units)) if len(units) == 1 else ""


def _resized_scale(scale: float, looks: Sequence[tuple[Look, ...] | None], rule: Rule) -> float | None:
    """Pixel scale after the resize; None when cut-outs of different sizes were resized."""
    size, crop = rule.record.size, rule.record.crop
    if size is None:
        return scale
    sizes = {(crop, crop)} if crop else {(s[0].pieces[0].height, s[0].pieces[0].width) for s in looks if s}
    if len(sizes) > 1:
        return None
    (height, width) = sizes.pop()
    along = (height / size[0], width / size[1])
    factor = {"stretch": (along[0] * along[1]) ** 0.5, "pad": max(along), "crop": min(along)}[rule.record.fit]
    return float(f"{scale * factor:.6g}")


# ---------------------------------------------------------------------------------------------- pixels


def _fetch(
    store: Objects, names: Sequence[str], rule: Rule, bad: dict[int, str]
) -> Callable[[int, int], tuple[np.ndarray, dict[int, str]]]:
    """A function that reads rows start..stop as (m, height, width, channels), and the reasons of those it cannot."""

    def fetch(start: int, stop: int) -> tuple[np.ndarray, dict[int, str]]:
        out = np.zeros((stop - start, *rule.shape), np.float32)
        rejected = {}
        for row in range(start, stop):
            if row in bad:
                rejected[row] = bad[row]
                continue
            try:
                out[row - start] = _one(store, names[row], rule)
            except Unreadable as reason:
                rejected[row] = str(reason)
        return out, rejected

    return fetch


def _one(store: Objects, name: str, rule: Rule) -> np.ndarray:
    """Pixels of an object, (height, width, channels) float32."""
    parts: list[np.ndarray] = []
    for file, pieces in zip(store.files_of(name), rule.pieces, strict=True):
        part = planes(store.store.read(file), pieces, rule.by_name, rule.most)
        if parts and part.shape[:2] != parts[0].shape[:2]:
            sizes = f"{part.shape[0]}x{part.shape[1]}, the others are {parts[0].shape[0]}x{parts[0].shape[1]}"
            raise Unreadable(f"{file} is {sizes}")
        parts.append(part)
    image = parts[0] if len(parts) == 1 else np.concatenate(parts, 2)
    if not np.isfinite(image).any():
        raise Unreadable("no pixel is finite")
    record = rule.record
    if record.crop:
        if min(image.shape[:2]) < record.crop:
            raise Unreadable(f"{image.shape[0]}x{image.shape[1]} is smaller than the crop of {record.crop}")
        image = pixels.crop_centre(image, (record.crop, record.crop))
    if image.shape != rule.shape:
        if record.size is None:
            raise Unreadable(f"size {image.shape[0]}x{image.shape[1]}, most are {rule.shape[0]}x{rule.shape[1]}")
        image = pixels.resize(np.ascontiguousarray(image), record.size, record.fit, record.resample)
    return image
