"""Study 4, characters who look alike: a pretrained net on folders of pictures, beside small nets from scratch.

The study follows its test part epoch by epoch and quotes the peak, which is a choice on the test part. Here each net
is trained once: the peak that the published way would quote stands beside the test figure at the epoch that the
validation part chose. The test part's curve is drawn and never used. Whether the pretrained part was frozen is not
said, so both are run. All ways are judged on the same pictures; copies of a picture stay on one side.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from estampa import page, recipe
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, begins_like_hdf5, build, open_any
from estampa.data.sizing import sized
from estampa.data.split import parted
from estampa.errors import InputError
from estampa.evaluate import plots
from estampa.measure import Interval, wilson
from estampa.studies._table import Ledger, Row, row_of
from estampa.studies._ways import AS_PUBLISHED, OURS, PUBLISHED, RIGHT, trained

LEADING = "accuracy"
SHOWN = ("balanced_accuracy", "macro_f1")
DATA = "a folder with a sub-folder of pictures per class, or a Dataset; without --data characters are drawn"
TEST, VALIDATION = 0.2, 0.1  #: shares; the study's are not stated
DRAWN = {"each": "160"}  #: pictures of each drawn character, where no data are given
PEEKED = "the epoch with the best test figure is quoted: it was chosen on the test part"
SCRATCH = ("characters-cnn", "characters-cnn-regularised")
#: Key, recipe, and what it is.
NETS = (
    ("unfrozen", "characters", "pretrained net, all of it trained"),
    ("frozen", "characters-frozen", "pretrained net, frozen but for its head"),
    ("cnn", SCRATCH[0], "two convolutions from scratch"),
    ("cnn-regularised", SCRATCH[1], "from scratch, dropout and L2"),
)


def run(source: Path | None, ledger: Ledger) -> tuple[str, list[str]]:
    """Fill the ledger; return what the data are, and notes. See `studies.reproduce`."""
    views = _data(source, ledger)
    first = views.of("characters")
    ledger.bind(first.content_sha256)
    for key, how, value in (
        ("published-final", "pretrained net, 5 classes, last of 12 epochs", 0.93),
        ("published-peak", "the same, best epoch on the test part", 0.968),
        ("published-cnn", "two convolutions from scratch, 15 classes", 0.524),
        ("published-regularised", "from scratch, dropout and L2, 15 classes", 0.703),
    ):
        ledger.add(key, partial(_published, how, value))
    for key, name, how in NETS:
        made = partial(_followed, ledger, views, key, name)
        ledger.add(f"{key}-peak", partial(_peak, made, how))
        ledger.add(key, partial(_right, made, how))
    ours = "pictures-pretrained"
    ledger.add(
        "ours",
        lambda: row_of(way=OURS, how=f"recipe {ours}", **trained(ledger, "run-ours", views.of(ours), ours, {})),
    )
    return f"{first.n:,} {views.kind}pictures, {len(first.classes)} classes", _notes(first, views)


def sections(folder: Path) -> list[page.Section]:
    """Curves of each net over its epochs, and what lies between training and test pictures."""
    drawn: list[page.Figure] = []
    rows: list[list[Any]] = []
    for key, _, how in NETS:
        history, kept = _history(folder / f"run-{key}")
        drawn.append(page.Figure(plots.training(history, kept, "accuracy").svg, f"{how[0].upper()}{how[1:]}."))
        at, peak = history[kept - 1], max(history, key=lambda row: row["test_accuracy"])
        gap = at["train_accuracy"] - at["test_accuracy"]
        rows.append(
            [how, len(history), kept, at["train_accuracy"], at["validation_accuracy"], at["test_accuracy"], gap,
             peak["test_accuracy"], int(peak["epoch"])]
        )  # fmt: skip
    head = ["net", "epochs", "kept epoch", "train", "validation", "test", "train less test", "test at its peak", "peak"]
    caption = (
        "Accuracy at the epoch that the validation part chose; train less test is the overfitting gap. Train is the "
        "mean over an epoch's augmented batches with dropout, so that it may lie below test. The last two columns are "
        "what a choice on the test part would quote, and the epoch of it."
    )
    return [
        page.Section("gaps", "Between training and test pictures", [page.Table(head, rows, caption=caption)]),
        page.Section("curves", "Epoch by epoch; the test part is drawn, never used", drawn),
    ]


# ---------------------------------------------------------------------------------------------- the data


@dataclass
class _Views:
    """The same pictures read as each recipe wants them, parted once."""

    source: Path
    ledger: Ledger
    kind: str = ""
    parts: tuple[np.ndarray, dict[str, Any]] | None = None

    @property
    def is_dataset(self) -> bool:
        """Whether the pictures are a Dataset already, so that all recipes take them as they are."""
        return self.source.is_file() and begins_like_hdf5(self.source)

    def of(self, name: str) -> Dataset:
        """The pictures at the size that the recipe `name` names, or at the one that a pretrained net is given."""
        from estampa.train.choose import PHOTOGRAPH_SIDE

        options, size, progress = ReadOptions(), recipe.read(name).data.size, self.ledger.progress
        if size is not None and not self.is_dataset:
            options = replace(options, size=size)
        elif not self.is_dataset:
            options = sized(self.source, options, progress, cutouts=False, photographs=PHOTOGRAPH_SIDE)
        dataset = open_any(self.source, options, progress)
        if dataset.task != "classification" or dataset.shape is None:
            raise InputError("is not a set of pictures with classes", where=self.source, cure=f"Give {DATA}.")
        if self.parts is None:
            split, record, _ = parted(dataset, test=TEST, validation=VALIDATION, seed=0)
            self.parts = split, record
        return dataset.with_split(*self.parts)


def _data(source: Path | None, ledger: Ledger) -> _Views:
    """The pictures at hand, or drawn ones as files of mixed sizes, a folder per class."""
    if source is not None:
        return _Views(source, ledger)
    ledger.progress.warn("no --data: drawn characters stand in, so no figure is comparable with a published one")
    folder = ledger.folder / "drawn"
    if not folder.is_dir():  # drawn elsewhere first, so that what is there is whole
        begun = ledger.folder / "drawing"
        shutil.rmtree(begun, ignore_errors=True)
        build("characters", builder_options={**DRAWN, "folder": str(begun)}, progress=ledger.progress)
        begun.rename(folder)
    return _Views(folder, ledger, "drawn ")


def _notes(dataset: Dataset, views: _Views) -> list[str]:
    learned, choosing, judged = (len(dataset.rows(part)) for part in ("train", "validation", "test"))
    strange = "The published pictures are not at hand, nor is the number of them that was judged"
    notes = [
        f"{strange}: no published row is comparable, and none has an interval.",
        f"Each net learns from the same {learned:,} pictures; {choosing:,} choose the epoch, {judged:,} are judged.",
    ]
    return [*notes, "DRAWN pictures: give --data for real ones."] if views.kind else notes


# ---------------------------------------------------------------------------------------------- the ways


def _published(how: str, value: float) -> Row:
    return Row(PUBLISHED, how, {"accuracy": Interval(value, value, value)}, 0, comparable=False)


def _followed(ledger: Ledger, views: _Views, key: str, name: str) -> tuple[dict[str, Any], Path]:
    """The run of a net whose test part was followed epoch by epoch, trained once, and its folder."""
    dataset = views.of(name)
    made = trained(ledger, f"run-{key}", dataset, name, _changes(name, dataset), follow=True)
    return made, ledger.folder / f"run-{key}"


def _changes(name: str, dataset: Dataset) -> dict[str, Any]:
    """What these data ask for: their classes and shape, and an epoch chosen on the validation part."""
    changes: dict[str, Any] = {"evaluate.baselines": False, "train.keep": "best", "data.validation": VALIDATION}
    made = recipe.read(name)
    if made.data.outputs is not None:
        changes["data.outputs"] = len(dataset.classes)
    if made.data.shape is not None:
        changes["data.shape"] = list(dataset.shape or ())
    return changes


def _peak(made: Any, how: str) -> Row:
    """What the published way quotes: the best test figure of all epochs."""
    record, folder = made()
    history, _ = _history(folder)
    best = max(history, key=lambda row: row["test_accuracy"])
    value, n = best["test_accuracy"], record["judgement"].n
    low, high = wilson(value, n)
    return Row(
        AS_PUBLISHED, f"{how}, best of {len(history)} epochs on test", {"accuracy": Interval(value, low, high)}, n,
        seconds=record["seconds"], parameters=record["parameters"], fault=PEEKED, folder=record["folder"],
    )  # fmt: skip


def _right(made: Any, how: str) -> Row:
    record, folder = made()
    _, kept = _history(folder)
    return row_of(way=RIGHT, how=f"{how}, epoch {kept} by validation", **record)


def _history(folder: Path) -> tuple[list[Mapping[str, float]], int]:
    """A run's history, a record an epoch, and the kept epoch (from 1)."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return rows, int(json.loads((folder / "metrics.json").read_text())["kept_epoch"])
