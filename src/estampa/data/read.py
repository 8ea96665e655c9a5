"""From paths to a Dataset: which source understands them, and the build that streams them into one file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import NoReturn

import numpy as np

from estampa import parts
from estampa.data.draw import drawn
from estampa.data.exclude import Exclusion, emptied, read_exclusion
from estampa.data.grow import added, adds
from estampa.data.layout import begins_like_hdf5
from estampa.data.record import FORMAT
from estampa.data.roles import told_by_name
from estampa.data.sources._base import Block, Reading, ReadOptions, fingerprint_of
from estampa.data.splitfile import write_split
from estampa.data.view import Dataset
from estampa.data.writer import DatasetWriter
from estampa.errors import DatasetError, InputError, Interrupted, SourceError, nearest
from estampa.files import locked, require_writable
from estampa.progress import SILENT, Progress

__all__ = [
    "Block",
    "ReadOptions",
    "Reading",
    "begins_like_hdf5",
    "build",
    "cache_folder",
    "open_any",
    "open_reading",
    "write_reading",
]

Source = Path | str | Sequence[Path | str]
_DEFAULT = ReadOptions()
_SHOWN = 10  #: rejected files that an error or warning names; the file holds them all


def open_reading(paths: Sequence[Path | str], options: ReadOptions = _DEFAULT) -> Reading:
    """Find the source that understands `paths` and let it read what can be known before pixels are decoded.

    Raises SourceError when a path is missing, when no source (each reason is shown) or more than one claims them, or
    when the one that does finds them unreadable.
    """
    given = [Path(path) for path in paths]
    if not given:
        raise SourceError("no data were given", cure="Name a file, a folder or a builder.")
    for path in given:
        if not path.exists():
            _refuse_missing(path)
    names = parts.names("data/sources")
    if options.as_:
        source = parts.load("data/sources", options.as_)
        reason = source.is_mine(given, options)
        if reason is not None:
            raise SourceError(f"cannot be read as {options.as_!r}: {reason}", where=given[0])
        return _read(options.as_, given, options)
    reasons: dict[str, str | None] = {}
    for name in names:
        try:
            reasons[name] = parts.load("data/sources", name).is_mine(given, options)
        except SourceError as error:
            reasons[name] = str(error)
    mine = [name for name, reason in reasons.items() if reason is None]
    if len(mine) > 1:
        raise SourceError(
            "can be read in more than one way", where=given[0], got=", ".join(mine), cure="Say which with --as NAME."
        )
    if not mine:
        why = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise SourceError(
            "no source understands it", where=", ".join(map(str, given)), got=why, cure="Say how with --as NAME."
        )
    return _read(mine[0], given, options)


def build(
    source: Source,
    output: Path | str | None = None,
    options: ReadOptions = _DEFAULT,
    *,
    builder_options: Mapping[str, str] | None = None,
    skip_bad: bool = False,
    force: bool = False,
    new_to: str = "train",
    progress: Progress = SILENT,
) -> Dataset:
    """Build a Dataset file from paths, or by a builder's name, and open it.

    Parameters
    ----------
    source : a path, several paths of one source, the name of a builder; or a Dataset file and what is added to it,
        which then is read as that Dataset was (see grow.py).
    output : the file to write (`.h5`); None = in the cache, under the fingerprint of source and options.
    builder_options : what the builder named by `source` is asked for.
    skip_bad : accept that unreadable rows are left out; else they raise SourceError after the rest was built.
    force : replace an existing file that was built from something else.
    new_to : where what is added to the classes of a Dataset goes: "train", or "split" among the parts.

    A build that was killed goes on where it stopped when it is started again in the same way; one that is already
    there is opened. Raises SourceError, StorageError, and Interrupted on Ctrl-C.
    """
    if output is not None:
        _require_output(Path(output))
    paths = [Path(source)] if isinstance(source, (str, Path)) else [Path(p) for p in source]
    builder = str(paths[0]) if len(paths) == 1 and _is_builder(str(paths[0])) else ""
    if builder:
        if options != _DEFAULT:
            raise InputError(
                f"the builder {builder!r} decides how its files are read",
                got=_flags(options),
                cure=f"Leave it out; what the builder takes is --option KEY=VALUE: "
                f"{', '.join(parts.load('data/builders', builder).OPTIONS) or 'nothing'}",
            )
        return _run_builder(builder, output, dict(builder_options or {}), force, progress)
    if builder_options:
        raise InputError("only builders take --option", allowed=", ".join(parts.names("data/builders")), got=paths[0])
    reading = _reading(paths, options, new_to, skip_bad, progress)
    exclusion = read_exclusion(options.exclude, reading.ids)
    draw = (options.per_class, options.seed) if options.per_class else ()
    fingerprint = fingerprint_of(FORMAT, reading.fingerprint, reading.header.to_json(), exclusion.facts, *draw)
    if options.group and reading.groups is not None:  # the name that `split --group` may be given
        reading.header = replace(reading.header, origin={**reading.header.origin, "group": options.group})
    target = Path(output) if output is not None else cache_folder() / f"{fingerprint[:32]}.h5"
    _require_not_input(target, paths)
    # Two runs on the same files share one cached Dataset: the second waits for the first to build it.
    with locked(target) if output is None else contextlib.nullcontext():
        dataset = _existing(target, fingerprint, force or output is None)
        if dataset is None:
            dataset = _written(reading, exclusion, options, target, fingerprint, skip_bad, progress)
        else:
            progress.say(f"{target}: already built from the same data, nothing to do")
    _report_rejected(dataset, skip_bad, progress)
    for note in emptied(reading.labels, dataset.labels, dataset.classes):
        progress.warn(note)
    return dataset


def open_any(
    source: Source, options: ReadOptions = _DEFAULT, progress: Progress = SILENT, *, skip_bad: bool = True
) -> Dataset:
    """Open a Dataset file as it is; build anything else once into the cache, and open that.

    Unreadable rows are left out with a warning, and stand in `Dataset.rejected` with their rows and reasons; without
    `skip_bad` they are a SourceError, as in `build`.
    """
    if isinstance(source, (str, Path)) and options == _DEFAULT:  # else the source `dataset` says what it cannot do
        path = Path(source)
        if path.is_file() and begins_like_hdf5(path):
            return Dataset.open(path)
    return build(source, None, options, skip_bad=skip_bad, progress=progress)


def write_reading(reading: Reading, target: Path, progress: Progress = SILENT, *, skip_bad: bool = False) -> Dataset:
    """Write a Reading that a builder made to `target`, resumable, and open it.

    Every row must be readable, unless `skip_bad` leaves the others out (`Dataset.rejected` names them).
    """
    fingerprint = fingerprint_of(FORMAT, reading.fingerprint, reading.header.to_json())
    dataset = _stream(reading, read_exclusion(None, reading.ids), target, fingerprint, progress)
    _report_rejected(dataset, skip_bad, progress)
    return dataset


def cache_folder() -> Path:
    """Where built Datasets are kept: $ESTAMPA_CACHE/datasets, else $XDG_CACHE_HOME or ~/.cache, estampa/datasets."""
    own = os.environ.get("ESTAMPA_CACHE")
    if own:
        return Path(own) / "datasets"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "estampa" / "datasets"


# ---------------------------------------------------------------------------------------------- building


def _reading(paths: Sequence[Path], options: ReadOptions, new_to: str, skip_bad: bool, progress: Progress) -> Reading:
    """What the paths hold: one source's rows, or a Dataset with others added, whose files are built into the cache."""
    if adds(paths):

        def opened(path: Path, own: ReadOptions) -> Dataset:
            return build(path, None, own, skip_bad=skip_bad, progress=progress)

        reading = added(paths, options, opened, new_to=new_to, progress=progress)
    elif new_to != "train":
        raise InputError("--new-to is for what is added to a Dataset with parts", got=", ".join(map(str, paths)))
    else:
        reading = open_reading(paths, options)
    for note in reading.notes:
        progress.say(note)
    return reading


def _written(
    reading: Reading,
    exclusion: Exclusion,
    options: ReadOptions,
    target: Path,
    fingerprint: str,
    skip_bad: bool,
    progress: Progress,
) -> Dataset:
    """Write a Reading, or so many rows of each class; with `skip_bad` others are drawn for what cannot be read."""
    if not options.per_class:
        return _stream(reading, exclusion, target, fingerprint, progress)
    lost = np.zeros(reading.header.n, bool)
    while True:
        some = drawn(reading, exclusion, options, lost)
        dataset = _stream(reading, some, target, fingerprint, progress)
        if not skip_bad or not dataset.rejected_rows:
            return dataset
        lost[dataset.rejected_rows] = True


def _stream(reading: Reading, exclusion: Exclusion, target: Path, fingerprint: str, progress: Progress) -> Dataset:
    """Write every block of a reading; on Ctrl-C or a full disk what is finished stays for the next run."""
    header = reading.header
    if exclusion.unmatched:
        names = ", ".join(exclusion.unmatched[:_SHOWN])
        progress.warn(f"{len(exclusion.unmatched)} entries of the exclude file match no row: {names}")
    writer = DatasetWriter(
        target, header, ids=reading.ids, labels=reading.labels, groups=reading.groups, split=reading.split,
        fingerprint=fingerprint, private=reading.private,
    )  # fmt: skip
    keep_part = True
    try:
        if reading.table is not None:
            writer.put_table(reading.table)
        writer.exclude(exclusion.rows, exclusion.hashes)
        if writer.done:
            progress.say(f"goes on after {writer.done:,} of {header.n:,} rows that an earlier run finished")
        progress.start(f"building {target.name}", header.n, "rows")
        progress.advance(writer.done)
        if header.shape is None and reading.table is None and writer.done < header.n:
            for first, values, rejected in reading.table_blocks(writer.done):
                writer.write(first, values, rejected)
                progress.advance(len(values))
        elif header.shape is not None and writer.done < header.n:
            for block in reading.blocks(writer.done):
                writer.write(block.start, block.images, block.rejected)
                progress.advance(len(block.images))
        dataset = writer.finish()
    except KeyboardInterrupt:
        raise Interrupted(
            f"interrupted; {writer.done:,} of {header.n:,} rows are saved",
            where=target,
            cure="Run the same command again to go on from there.",
        ) from None
    except SourceError:
        keep_part = False  # the data are at fault: there is nothing to go on with
        raise
    finally:
        if writer.open:
            if keep_part:
                writer.pause()
            else:
                writer.abort()
        progress.finish()
    if reading.split_record:
        carried = {} if reading.split_record.get("drawn") else {"carried_over": True}
        write_split(target, dataset.split, {**reading.split_record, **carried})
        dataset = Dataset.open(target)
    return dataset


def _report_rejected(dataset: Dataset, skip_bad: bool, progress: Progress) -> None:
    rejected = dataset.rejected
    if not rejected:
        return
    named = "; ".join(f"{name}: {reason}" for name, reason in rejected[:_SHOWN])
    more = f"; and {len(rejected) - _SHOWN} more" if len(rejected) > _SHOWN else ""
    rows = "1 row" if len(rejected) == 1 else f"{len(rejected):,} rows"
    if skip_bad:
        progress.warn(f"{rows} could not be read and are left out: {named}{more}")
        return
    raise SourceError(
        f"{rows} could not be read; the other {dataset.n:,} are built",
        where=", ".join(dataset.header.origin.get("paths", [str(dataset.path)])),
        got=named + more,
        cure="Repair or remove them and build again, or accept it with --skip-bad.",
    )


def _run_builder(
    name: str, output: Path | str | None, options: dict[str, str], force: bool, progress: Progress
) -> Dataset:
    builder = parts.load("data/builders", name)
    for key in options:
        if key not in builder.OPTIONS:
            raise InputError(
                f"unknown option {key!r}",
                where=f"builder {name}",
                allowed=", ".join(builder.OPTIONS) or "none",
                cure=nearest(key, builder.OPTIONS),
            )
    key = fingerprint_of(FORMAT, name, sorted(options.items()))
    target = Path(output) if output is not None else cache_folder() / f"{name}-{key[:16]}.h5"
    with locked(target) if output is None else contextlib.nullcontext():
        if target.exists() and not force:
            try:
                dataset: Dataset = Dataset.open(target)
            except DatasetError:
                _refuse_existing(target)
            if builder.is_built(dataset, options):
                if hasattr(builder, "complete"):  # what stands beside the file, where a run was stopped before it
                    builder.complete(dataset, options, progress)
                progress.say(f"{target}: already built from the same data, nothing to do")
                return dataset
            _refuse_existing(target)
        require_writable(target)
        built: Dataset = builder.build(target, options, progress)
        return built


def _is_builder(name: str) -> bool:
    return name in parts.names("data/builders") and not Path(name).exists()


# ---------------------------------------------------------------------------------------------- checks before work


def _require_output(output: Path) -> None:
    if output.suffix not in (".h5", ".hdf5"):
        raise InputError("a Dataset's name ends in .h5", where=output, cure=f"Write to {output}.h5.")
    if output.is_dir():
        raise InputError("is a folder", where=output, cure="Name a file that ends in .h5.")
    require_writable(output)


def _require_not_input(target: Path, paths: Sequence[Path]) -> None:
    if target.exists() and any(path.exists() and path.samefile(target) for path in paths):
        raise InputError("is read and written at once", where=target, cure="Give the new Dataset another name.")


def _existing(target: Path, fingerprint: str, replace: bool) -> Dataset | None:
    """The Dataset at `target` when it was built from the same data, None when it is to be (re)built."""
    if not target.exists():
        return None
    try:
        dataset = Dataset.open(target)
    except DatasetError:
        dataset = None
    if dataset is not None and dataset.fingerprint == fingerprint:
        return dataset
    if not replace:
        _refuse_existing(target)
    return None


def _refuse_existing(target: Path) -> NoReturn:
    raise InputError(
        "exists already, and was built from other data or options",
        where=target,
        cure="Choose another name, or replace it with --force.",
    )


def _flags(options: ReadOptions) -> str:
    """The options that are not as they are by themselves, as the command line calls them."""
    changed = [one.name for one in fields(options) if getattr(options, one.name) != getattr(_DEFAULT, one.name)]
    return ", ".join(f"--{name.strip('_').replace('_', '-')}" for name in changed)


def _refuse_missing(path: Path) -> None:
    around = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    builders = parts.names("data/builders") if str(path) == path.name else []
    raise SourceError(
        "there is no such file or folder" + (" (and no builder of that name)" if builders else ""),
        where=path,
        allowed=f"a path, or a builder: {', '.join(builders)}" if builders else "",
        cure=nearest(path.name, [*around, *builders]),
    )


def _read(name: str, paths: Sequence[Path], options: ReadOptions) -> Reading:
    source = parts.load("data/sources", name)
    if options.match_radius and not getattr(source, "MATCHES", False):
        raise SourceError(
            "--match-radius joins cut-outs that know where they lie, which these data do not",
            where=paths[0], allowed="the sources fits and avro, with a catalogue beside", cure="Leave it out.",
        )  # fmt: skip
    reading: Reading = source.read(paths, options)
    if options.crop and reading.header.read.crop != options.crop:
        raise SourceError("--crop cuts pictures, which these data are not", where=paths[0], cure="Leave it out.")
    if name != "dataset":
        reading.header = told_by_name(reading.header)
    if reading.header.n == 0:
        raise SourceError("holds no rows", where=paths[0], cure="Point to data with at least one object.")
    return reading
