"""predict(): a bundle and data to a table of answers, streamed, checked beforehand, resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine
from estampa.bundle.contract import InputContract, check_header, check_scale
from estampa.bundle.contract_table import TableContract
from estampa.bundle.session import batch_size
from estampa.bundle.store import Bundle
from estampa.errors import InputError, Interrupted, nearest
from estampa.files import require_writable
from estampa.predict.answers import Answers, answer
from estampa.predict.journal import Journal
from estampa.predict.output import FORMATS, LABELS, Table, kind_of, to_parquet, writer_of
from estampa.predict.predictions import Predictions
from estampa.predict.source import Data, PictureSource, open_source, open_table
from estampa.predict.table_source import ReadingTable, TableSource
from estampa.progress import SILENT, Progress

_CHUNK_ROWS, _CHUNK_BYTES = 1024, 8 << 20  #: of pictures that are read, scored and written together
_CHUNK_TABLE = 16_384  #: of a table, rows
Source = PictureSource | TableSource


def predict(
    run: Path | str | Bundle,
    data: Data,
    output: Path | str | None = None,
    *,
    format: str = "",
    labels_only: bool = False,
    part: str | np.ndarray = "",
    threads: int | None = None,
    progress: Progress = SILENT,
) -> Predictions:
    """Score data with a run or a bundle.

    Parameters
    ----------
    run : a run folder, a bundle's folder, or an open Bundle.
    data : a Dataset, any source that `build` reads (it is read as the training files were), or an array
        (n, height, width, channels). For a model of a table: its columns are found by name, in any order, and others
        are left aside; an array is structured, or (n, columns) in the contract's order.
    output : the file to write; None = keep the answers in memory.
    format : "csv", "jsonl" or "parquet"; "" = by the name of `output`.
    labels_only : write only the predicted class (or value), one a line, in row order.
    part : of a Dataset, score only "train", "validation" or "test", or these row numbers; "" = all.
    threads : batches that are scored side by side; None = the processors that this process may use.

    A row that cannot be read is a row of the table, with the flag `unreadable:<reason>`; `Predictions.bad` counts
    them. Memory stays flat however many rows there are when they go to a file. A run that was killed goes on where
    it stopped when it is started again in the same way, to the same bytes.

    Raises BundleError (the model), ContractError (the data are not what the model was fed), SourceError or
    DatasetError (they cannot be read), InputError and StorageError (the output), Interrupted (Ctrl-C).
    """
    target = Path(output) if output is not None else None
    kind = _format_of(target, format, labels_only)
    bundle = run if isinstance(run, Bundle) else Bundle.open(run)
    if target is not None:
        _check_output(target, data, bundle)
    source = opened(bundle, data, part)
    for note in about_ids(source):
        progress.warn(note)
    table = Table(bundle.classes, bundle.hash)
    progress.start(f"scoring {source.name}", len(source), "rows")
    try:
        if target is None:
            return _in_memory(bundle, source, table, threads, progress)
        return _to_file(bundle, source, target, (kind, labels_only, threads), progress)
    finally:
        progress.finish()


def opened(bundle: Bundle, data: Data, part: str | np.ndarray) -> Source:
    """The data, held against the contract."""
    if isinstance(bundle.contract, TableContract):
        return open_table(data, bundle.contract, part)
    source = open_source(data, bundle.contract, part)
    check_header(bundle.contract, source.header, source.name)
    check_scale(bundle.contract, source.sample(chunk_size(bundle.contract)), source.name)
    return source


def about_ids(source: Source) -> list[str]:
    """What is to be said where a table's own ids repeat or were rounded, and the answers go by others."""
    notes = source.reading.notes if isinstance(source, ReadingTable) else []
    if not any(" is no key: " in note for note in notes):
        return []
    return [note for note in notes if " is no key: " in note or note.startswith("ids: ")]


def _in_memory(bundle: Bundle, source: Source, table: Table, threads: int | None, progress: Progress) -> Predictions:
    counts, made = Counter[str](), []
    for answers in _answers(bundle, source, 0, threads):
        answers.count(counts)
        made.append(answers)
        progress.advance(len(answers.ids))
    joined = Answers(
        np.concatenate([a.ids for a in made]),
        np.concatenate([a.predicted for a in made]),
        np.concatenate([a.output for a in made if a.output is not None]) if bundle.classes else None,
        [flag for a in made for flag in a.flags],
        np.concatenate([a.bad for a in made]),
    )
    return Predictions(table, counts, answers=joined)


def _to_file(
    bundle: Bundle, source: Source, target: Path, how: tuple[str, bool, int | None], progress: Progress
) -> Predictions:
    kind, labels_only, threads = how
    table = Table(bundle.classes, bundle.hash)
    writer = writer_of(kind, table, labels_only)
    key = {
        "journal": 1, "model": bundle.hash, "data": source.fingerprint, "rows": len(source), "format": kind,
        "labels_only": labels_only, "chunk": chunk_size(bundle.contract),
    }  # fmt: skip
    journal = Journal(target, key)
    try:
        counts = Counter(journal.counts)
        if journal.rows:
            progress.say(f"goes on after {journal.rows:,} of {len(source):,} rows that an earlier run finished")
            progress.advance(journal.rows)
        if not journal.size:
            journal.append(writer.head(), 0, counts)
        for answers in _answers(bundle, source, journal.rows, threads):
            answers.count(counts)
            journal.append(writer.rows(answers), counts["rows"], counts)
            progress.advance(len(answers.ids))
        made = None
        if kind == "parquet" and not labels_only:
            made = target.with_name(target.name + ".made")
            to_parquet(journal.part, made, table)
        journal.finish(made)
    except KeyboardInterrupt:
        journal.note()
        raise Interrupted(
            f"interrupted; {journal.rows:,} of {len(source):,} rows are saved", where=target,
            cure="Run the same command again to go on from there.",
        ) from None  # fmt: skip
    finally:
        journal.close()
    return Predictions(table, counts, path=target, kind=LABELS if labels_only else kind)


def _answers(bundle: Bundle, source: Source, start: int, threads: int | None) -> Iterator[Answers]:
    """Answers chunk by chunk, in the caller's thread, so that Ctrl-C stops a slow source at once."""
    size = chunk_size(bundle.contract)
    chunks = source.table_chunks(start, size) if isinstance(source, TableSource) else source.chunks(start, size)
    for chunk in chunks:
        yield answer(bundle, chunk, source.ids[chunk.start : chunk.start + len(chunk)], threads)


def chunk_size(contract: InputContract | TableContract) -> int:
    """Rows of a chunk: whole batches, so that a run that goes on makes the same batches as one that never stopped."""
    batch, most = batch_size(contract), _CHUNK_ROWS
    row = int(np.prod(contract.shape)) * np.dtype(contract.dtype).itemsize
    if isinstance(contract, TableContract):  # raw columns, which are float64
        row, most = 8 * len(contract.columns), _CHUNK_TABLE
    return max(1, min(most, _CHUNK_BYTES // row) // batch) * batch


def _format_of(target: Path | None, format: str, labels_only: bool) -> str:
    """The format asked for, else by the file's name; what it needs must be installed."""
    if format and format not in FORMATS:
        raise InputError(
            f"unknown format {format!r}", where="--format", allowed=", ".join(FORMATS), cure=nearest(format, FORMATS)
        )
    if labels_only and format == "parquet":
        raise InputError("labels only are lines of text", where="--labels-only", cure="Leave --format out.")
    if target is None and format == "parquet":
        raise InputError("Parquet is not text and needs a file", where="--format", cure="Name the file with -o.")
    chosen = format
    if not format and target is not None and not labels_only:
        chosen = kind_of(target)
        if not chosen:
            known = ", ".join(s for suffixes in FORMATS.values() for s in suffixes)
            raise InputError(
                "its name does not say the format", where=target, allowed=known, got=target.suffix or "no suffix",
                cure="Name the format with --format.",
            )  # fmt: skip
    if chosen == "parquet":
        machine.require("tables", "pyarrow", needed_for="predict --format parquet")
    return chosen or "csv"


def _check_output(target: Path, data: Data, bundle: Bundle) -> None:
    """What could not be written at the end is refused before the work."""
    if target.is_dir():
        raise InputError("is a folder", where=target, cure="Name a file.")
    paths: list[Any] = (
        [data] if isinstance(data, (str, Path)) else list(data) if isinstance(data, (list, tuple)) else []
    )
    inputs = [Path(p) for p in paths] + ([data.path] if hasattr(data, "path") else [])
    if target.exists() and any(p.exists() and p.samefile(target) for p in inputs):
        raise InputError("is read and written at once", where=target, cure="Give the predictions another name.")
    if target.resolve().parent == bundle.folder.resolve():
        raise InputError("a bundle holds nothing but itself", where=target, cure="Write beside it, in the run folder.")
    require_writable(target)
