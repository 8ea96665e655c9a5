"""Study 5, galaxies by their catalogued light: nearest neighbours, a tree and a forest on photometry.

The study splits 80 / 10 / 10 and searches its hyper-parameters on the validation part, so on an eighth of what it could
learn from; rows with a failed measurement are left out. Here every way answers every object once, in five folds, by a
model that has not learned from it (from 5,000 objects on, those of the first fold only): as published, the search sees
an eighth of the rest; done right, all of it; ours chooses among five methods, each searched, and answers also the rows
with failed measurements. Columns that tell the answer (votes, redshift, the spectrum's class) are left out of all.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from estampa import page, recipe
from estampa.data.dataset import Dataset
from estampa.data.folds import fold_numbers
from estampa.data.read import ReadOptions, build, open_any
from estampa.data.roles import features_of
from estampa.data.ties import ties_of
from estampa.errors import InputError
from estampa.evaluate import plots
from estampa.evaluate.judge import Judgement, judge
from estampa.files import write_atomic
from estampa.measure import Interval
from estampa.prepare.table import TablePreparation
from estampa.recipe import Recipe
from estampa.studies._table import Ledger, Row, row_of
from estampa.studies._ways import AS_PUBLISHED, OURS, PUBLISHED, RIGHT, trained

LEADING = "accuracy"
SHOWN = ("balanced_accuracy", "macro_f1")
DATA = "a catalogue (CSV, Parquet, FITS, VOTable, .npy) or a Dataset; without --data one is simulated"
FOLDS, MANY = 5, 5_000  #: from MANY labelled objects on the first fold is answered alone: a fifth of them is enough
EIGHTH = 8  #: the published search sees one part in so many of what is not judged: 10 % beside 80 %
#: Method, recipe, published accuracy, macro F1 and recalls of elliptical and spiral.
METHODS = (
    ("k nearest neighbours", "photometry-knn", 0.95, 0.93, (0.91, 0.96)),
    ("decision tree", "photometry-tree", 0.95, 0.93, (0.89, 0.96)),
    ("random forest", "photometry-forest", 0.96, 0.95, (0.92, 0.97)),
)
FEW_SEARCHED = "the settings are chosen on an eighth of what could be learned from"


def run(source: Path | None, ledger: Ledger) -> tuple[str, list[str]]:
    """Fill the ledger; return what the data are, and notes. See `studies.reproduce`."""
    dataset = _data(source, ledger)
    ledger.bind(dataset.content_sha256)
    known = np.flatnonzero(dataset.labelled())
    valid = _valid(dataset, known)
    fold = _folds(dataset, known)
    judged = np.ones(len(known), bool) if len(known) < MANY else fold == 0
    held = f"{FOLDS} folds" if len(known) < MANY else f"a fifth of {len(known):,} held out"
    for method, name, accuracy, f1, recalls in METHODS:
        ledger.add(f"published-{name}", partial(_published, method, accuracy, f1, recalls))
    for method, name, *_ in METHODS:
        made = recipe.read(name)
        how = f"{method}, {held}, rows with a failed measurement left out"
        ledger.add(
            f"as-published-{name}",
            partial(
                _row, ledger, dataset, (valid, judged, fold), made, _searched_on_few, AS_PUBLISHED, how, FEW_SEARCHED
            ),
        )
        ledger.add(
            f"right-{name}", partial(_row, ledger, dataset, (valid, judged, fold), made, _searched, RIGHT, how, "")
        )
    ours, how = recipe.read("tables"), f"recipe tables, {held}, every row"
    everything = np.ones(len(known), bool)
    ledger.add("ours", partial(_row, ledger, dataset, (everything, judged, fold), ours, _searched, OURS, how, ""))
    ledger.add("ours-run", lambda: row_of(way=OURS, how="recipe tables, one run", **trained(
        ledger, "run-ours", dataset, "tables", {})))  # fmt: skip
    simulated = "simulated " * bool(dataset.header.origin.get("simulated"))
    return f"{dataset.n:,} {simulated}objects, {len(dataset.classes)} classes", _notes(dataset, known, valid)


def sections(folder: Path) -> list[page.Section]:
    """The confusion matrix of each way that was run here."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("judged-*.json"))]
    drawn = [
        page.Figure(plots.confusion(Judgement.from_json(record["judgement"])).svg, f"{record['title']}.")
        for record in records
    ]
    return [page.Section("confusion", "What is taken for what", drawn)]


# ---------------------------------------------------------------------------------------------- the data


def _data(source: Path | None, ledger: Ledger) -> Dataset:
    if source is None:
        ledger.progress.warn(
            "no --data: a simulated catalogue stands in, so no figure is comparable with a published one"
        )
        return build("photometry", progress=ledger.progress)
    if source.is_dir():  # of a set that lies in a folder of its own: the table with labels
        for path in sorted(p for p in source.iterdir() if p.suffix in (".csv", ".npy", ".parquet", ".fits", ".vot")):
            dataset = open_any(path, ReadOptions(), ledger.progress)
            if dataset.task == "classification":
                return dataset
        raise InputError("holds no table with classes", where=source, cure=f"Give {DATA}.")
    dataset = open_any(source, ReadOptions(), ledger.progress)
    if dataset.table is None or dataset.task != "classification":
        raise InputError("is not a table of objects with classes", where=source, cure=f"Give {DATA}.")
    return dataset


def _valid(dataset: Dataset, known: np.ndarray) -> np.ndarray:
    """Which of the labelled rows hold no failed measurement among the columns that are learned from, (n,) bool."""
    features = features_of(dataset.header, Recipe().data)
    values = dataset.table_rows(known)[:, [dataset.header.columns.index(name) for name in features]]
    fitted = TablePreparation.fit(values, features, invalid="drop")
    return np.asarray(fitted.usable(values), bool)


def _folds(dataset: Dataset, known: np.ndarray) -> np.ndarray:
    """Fold of each labelled object, stratified; copies of an object stay in one."""
    tied = ties_of(dataset, dataset.groups).units[known]
    return fold_numbers(dataset.labels[known], FOLDS, task=dataset.task, groups=tied)


def _notes(dataset: Dataset, known: np.ndarray, valid: np.ndarray) -> list[str]:
    roles = dataset.header.roles or ("feature",) * len(dataset.header.columns)
    left = [name for name, role in zip(dataset.header.columns, roles, strict=True) if role == "leak"]
    counts = ", ".join(f"{name} {int((dataset.labels[known] == i).sum()):,}" for i, name in enumerate(dataset.classes))
    failed = f"{int((~valid).sum()):,} hold a failed measurement"
    notes = [
        f"{len(known):,} objects have a label ({counts}), {failed}; {dataset.n - len(known):,} have none.",
        "The published rows are of another, larger sample (about 251,000 objects): none is comparable.",
        "The study does not state how many settings it tried; here as many as the recipe says.",
        "What marks a failed measurement is drawn up from all labelled rows, without their labels.",
    ]
    if left:
        notes.append(f"Left out of every way, as they tell the answer: {', '.join(left)}.")
    return notes


# ---------------------------------------------------------------------------------------------- the ways


def _published(method: str, accuracy: float, f1: float, recalls: tuple[float, float]) -> Row:
    """As printed, to two places; the number judged is not stated, so there is no interval."""
    metrics = {"accuracy": Interval(accuracy, accuracy, accuracy), "macro_f1": Interval(f1, f1, f1)}
    each = dict(zip(("elliptical", "spiral"), recalls, strict=True))
    return Row(PUBLISHED, method, metrics, 0, each, comparable=False)


Fit = Callable[[Ledger, Dataset, Recipe, np.ndarray], Any]


def _searched(ledger: Ledger, dataset: Dataset, made: Recipe, rows: np.ndarray) -> Any:
    """Searched and learned on all of `rows`."""
    from estampa.train.classical import fit_table

    return fit_table(dataset, made, train_rows=rows, validation_rows=rows[:0], folder=None, progress=ledger.progress)


def _searched_on_few(ledger: Ledger, dataset: Dataset, made: Recipe, rows: np.ndarray) -> Any:
    """The settings are searched on an eighth of `rows`, the study's validation part; the rest is learned from."""
    from estampa.train.classical import fit_table

    few = fold_numbers(dataset.labels[rows], EIGHTH, task=dataset.task, seed=made.train.seed) == 0
    found = _searched(ledger, dataset, made, rows[few]).recipe
    return fit_table(
        dataset, found, train_rows=rows[~few], validation_rows=rows[:0], folder=None, progress=ledger.progress
    )  # fmt: skip


def _row(ledger: Ledger, dataset: Dataset, parts: tuple[np.ndarray, ...], made: Recipe, fit: Fit, *said: str) -> Row:
    """One way: every judged object is answered once, by a model of the other folds. `said`: way, how, fault.

    `parts`, of the labelled objects: which may be used (n,) bool, which are judged (n,) bool, the fold of each (n,).
    """
    used, judged, fold = parts
    known = np.flatnonzero(dataset.labelled())
    output = np.zeros((len(known), len(dataset.classes)))
    way, how, fault = said
    ledger.progress.say(f"\n{way}: {how}")
    for held in np.unique(fold[judged]).tolist():
        seeded = made.with_values({"train.seed": held})
        fitted = fit(ledger, dataset, seeded, known[used & (fold != held)])
        here = used & (fold == held)
        output[here] = fitted.predict(dataset, known[here])
    answered = used & judged
    judgement = _judged(dataset, known[answered], output[answered])
    record = {"title": f"{way[0].upper()}{way[1:]}: {how}", "judgement": judgement.to_json()}
    name = f"judged-{way.partition(',')[0].replace(' ', '-')}-{made.name}.json"
    write_atomic(ledger.folder / name, json.dumps(record, allow_nan=False))
    return row_of(judgement, way, how, fault=fault)


def _judged(dataset: Dataset, rows: np.ndarray, output: np.ndarray) -> Judgement:
    groups = None if dataset.groups is None else dataset.groups[rows]
    return judge(dataset.labels[rows], output, task=dataset.task, classes=dataset.classes, groups=groups)
