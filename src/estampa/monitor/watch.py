"""watch(): a model's answers held against what its bundle knows of clean data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.errors import InputError
from estampa.monitor.examples import Examples, Shown
from estampa.monitor.figures import Figure, Period, Watch
from estampa.monitor.grouping import Grouping, grouping_of
from estampa.monitor.labelled import of_unknown
from estampa.monitor.line import BEGIN
from estampa.monitor.observed import Block, Reading, from_data, from_logs, from_predictions
from estampa.monitor.periods import Periods
from estampa.monitor.ranges import RATE
from estampa.monitor.truth import Known, labels_given, labels_within
from estampa.predict.output import kind_of
from estampa.predict.run import Source as Rows
from estampa.predict.run import about_ids, opened
from estampa.progress import SILENT, Progress

__all__ = ["Figure", "Period", "Watch", "watch"]

Source = Path | str | Dataset | np.ndarray | Sequence[Path | str]
KINDS = ("log", "predictions", "data")
PERIODS = ("batch", "day")


def watch(
    bundle: Bundle | Path | str,
    source: Source,
    *,
    labels: Path | str | None = None,
    by: str | int = "batch",
    rate: float = RATE,
    kind: str = "",
    part: str = "",
    progress: Progress = SILENT,
) -> Watch:
    """Hold a model's answers against its bundle's reference, in flat memory.

    Parameters
    ----------
    bundle : an open Bundle, its folder, or a run folder.
    source : one or several logs of a service; or files of predictions; or data that the bundle scores now: a Dataset,
        any source that `build` reads, an array.
    labels : a file of labels, as far as they are known: that of a service (`monitor/feedback.py`), columns id and
        label (or class, truth, target, y), a Dataset, any file that `build` reads. Memory grows with them, and by 8
        bytes an answer. None = those that the data hold themselves, if what is watched is data.
    by : the granularity at which the model runs: "batch" (all as one), "day" (UTC), a number of objects, or a column
        of the labels or the data, "camera" or "snr:3,5,10", whose groups are watched one by one.
    rate : false alarms per period, over all its tests together; with labels half of it goes to their figures. Of
        groups, over all groups together.
    kind : "log", "predictions" or "data"; "" = by what the file holds.
    part : of a Dataset, only this part.

    Raises InputError for a source without an answer of this model or labels of unknown classes, SourceError for what
    cannot be read, BundleError for a bundle whose reference is too small to watch against.
    """
    model = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    return _watched(model, source, Asked(labels, by, rate, kind, part), None, progress)[0]


@dataclass(frozen=True)
class Asked:
    """What is asked of a watch; see `watch`."""

    labels: Path | str | None = None
    by: str | int = "batch"
    rate: float = RATE
    kind: str = ""
    part: str = ""


def watch_and_show(
    bundle: Bundle, source: Source, asked: Asked, examples: Examples, progress: Progress = SILENT
) -> tuple[Watch, tuple[Shown, ...]]:
    """`watch`, with objects that show what moved, as far as `examples` may show any."""
    found, periods = _watched(bundle, source, asked, examples, progress)
    return found, examples.shown(found, periods.ranges)


def _watched(
    model: Bundle, source: Source, asked: Asked, examples: Examples | None, progress: Progress
) -> tuple[Watch, Periods]:
    met, labels = Reading(), asked.labels
    kind = _kind_of(source, asked.kind)
    data = _data(model, source, asked) if kind == "data" else None
    known, said, strange = _known(labels, model, data)
    how = _how(asked.by, model, source if kind == "data" else None, labels)
    periods = Periods(model, how, asked.rate, known)
    progress.start("watching", None, "objects")
    try:
        for block in from_data(model, data) if data is not None else _blocks(model, source, kind, asked.part, met):
            periods.add(block)
            if examples is not None:
                examples.add(block)
            progress.advance(len(block))
    finally:
        progress.finish()
    if not periods.whole.n:
        raise InputError(
            "no answer of this model", where=_named(source), allowed=f"answers of {model.hash}", got=met.only()
        )
    whole, found, matrix = periods.result()
    notes = [*met.notes(), *periods.notes(), *said]
    figures = (*whole.figures, *of_unknown(strange, len(periods.whole.labels)))
    watched = Watch(
        model.hash, whole.n, found, figures, asked.rate, periods.by, periods.ranges.m,
        len(periods.whole.labels), tuple(met.faults), met.bad, tuple(notes), matrix, model.classes,
    )  # fmt: skip
    return watched, periods


def _data(bundle: Bundle, source: Source, asked: Asked) -> Rows:
    """Data to be scored, opened."""
    if isinstance(source, (Dataset, np.ndarray)):
        return opened(bundle, source, asked.part)
    paths = _paths(source)
    return opened(bundle, paths[0] if len(paths) == 1 else paths, asked.part)


def _known(labels: Path | str | None, bundle: Bundle, data: Rows | None) -> Known:
    """Labels, those of a file or else those that the data hold, and what must be known of them and of the ids."""
    renamed = about_ids(data) if data is not None else []
    if labels is not None:
        if renamed:
            raise InputError(
                "labels are joined by id, which the data do not allow", where=data.name if data else "", got=renamed[0],
                cure="Give every row an id of its own; or leave --labels out where the data hold the labels.",
            )  # fmt: skip
        known, said, strange = labels_given(Path(labels), bundle)
        return known, said, strange
    if data is None:
        return None, [], 0
    known, said, strange = labels_within(data, bundle)
    if known is not None:
        said = [*said, f"labels are those of the data themselves, of {known.n + strange:,} objects"]
    return known, [*said, *renamed], strange


def _how(by: str | int, bundle: Bundle, data: Source | None, labels: Path | str | None) -> str | int | Grouping:
    """The granularity, with a column found."""
    if isinstance(by, int) or by in PERIODS:
        return by
    return grouping_of(by, bundle, data, Path(labels) if labels is not None else None)


def _kind_of(source: Source, kind: str) -> str:
    """What is watched: "log", "predictions" or "data"."""
    if kind and kind not in KINDS:
        raise InputError("not a kind of source", where="kind", allowed=", ".join(KINDS), got=repr(kind))
    if isinstance(source, (Dataset, np.ndarray)):
        return "data"
    paths = _paths(source)
    if not paths:
        raise InputError("nothing to watch", where="source")
    return kind or _kind(paths[0])


def _paths(source: Path | str | Sequence[Path | str]) -> list[Path]:
    """The files or folders; InputError where one is given twice, under whatever name."""
    paths = [Path(p) for p in ([source] if isinstance(source, (str, Path)) else source)]
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        if path.exists():
            status = path.stat()
            first = known.setdefault((status.st_dev, status.st_ino), path)
            if first is not path:
                named = "" if first == path else f"as {first}"
                raise InputError("is given twice", where=path, got=named, cure="Its answers would count twice.")
    return paths


def _blocks(bundle: Bundle, source: Source, kind: str, part: str, met: Reading) -> Iterator[Block]:
    """Answers that stand in files, by their kind."""
    assert not isinstance(source, (Dataset, np.ndarray))
    paths = _paths(source)
    if part:
        raise InputError("only a Dataset has parts", where="part")
    if kind == "log":
        return from_logs(bundle, paths, met)
    return chain.from_iterable(from_predictions(bundle, path, met) for path in paths)


def _kind(path: Path) -> str:
    """What a file holds, by its first bytes."""
    if not path.is_file():
        return "data"
    with path.open("rb") as stream:
        begin = stream.read(4096).lstrip()
    if begin.startswith(BEGIN):
        return "log"
    predictions = begin.startswith((b"id,predicted", b'{"id": ')) or kind_of(path) == "parquet"
    return "predictions" if predictions else "log" if path.suffix in (".jsonl", ".log") else "data"


def _named(source: Source) -> str:
    if isinstance(source, (str, Path)):
        return str(source)
    return ", ".join(map(str, source[:3])) if isinstance(source, (list, tuple)) else type(source).__name__
