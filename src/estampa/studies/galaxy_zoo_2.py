"""Study 3, galaxies of Galaxy Zoo: clusters without labels, then nets on unequal and on equal classes.

The study publishes neither its net nor its figures, and its set of twelve classes is not at hand: the layers of
`gz2-cnn` and `gz2-balanced` are ours, and run here on whatever set of galaxies is given. What is the study's own is
kept: crops of 174 of 424 pixels, 75 principal components, twelve clusters by five methods, and 400 galaxies a class,
short classes filled with turned copies. Copies are made inside each training part: none is ever judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from estampa import machine, recipe
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, begins_like_hdf5, build, open_any, open_reading
from estampa.errors import InputError
from estampa.evaluate.crossval import crossval
from estampa.evaluate.judge import spelled
from estampa.measure import Interval
from estampa.prepare import balance
from estampa.prepare.descriptors import descriptors
from estampa.prepare.image import inside
from estampa.recipe import Recipe
from estampa.reduce.reduction import Reduction
from estampa.studies._table import Ledger, Row, row_of
from estampa.studies._ways import AS_PUBLISHED, OURS, RIGHT

LEADING = "balanced_accuracy"
SHOWN = ("accuracy", "macro_f1", "roc_auc")
DATA = (
    "a folder of galaxy pictures (images.tar and labels.csv, or one folder a class), or a Dataset; else simulated ones"
)
FOLDS, CROP, MARGIN = 5, 174, 247  #: pixels: the study's crop, and what holds it at any turn
MAP = "umap"  #: of the explorations
COMPONENTS, CLUSTERS, A_CLASS = 75, 12, 400
SIMULATED = {"n": "1200", "size": "96", "width": "4.94"}  #: the field of view of 247 pixels of 424
NEGLECTED = "the classes are learned as unequal as they are: the small ones are neglected"
FOLDED = f"All rows are of {FOLDS} folds, the same for each way, everything refitted in each."
PUBLISHED = "Neither the study's net nor its figures are published, so there is no row of published figures."


def run(source: Path | None, ledger: Ledger) -> tuple[str, list[str]]:
    """Fill the ledger; return what the data are, and notes. See `studies.reproduce`."""
    dataset = _data(source, ledger)
    ledger.bind(dataset.content_sha256)
    known = np.flatnonzero(dataset.labelled())
    ledger.add("unbalanced", partial(_net, ledger, dataset, "gz2-cnn", AS_PUBLISHED, "classes as they are"))
    how = f"{A_CLASS} a class with turned copies"
    ledger.add("balanced", partial(_net, ledger, dataset, "gz2-balanced", RIGHT, how))
    for key, words, seen, kind in _classical():
        ledger.add(key, partial(_baseline, dataset, words, seen, kind))
    ledger.add("ours", partial(_net, ledger, dataset, "galaxies", OURS, "recipe galaxies"))
    notes = [PUBLISHED, FOLDED, *_explored(ledger, dataset)]
    if dataset.header.origin.get("simulated"):
        notes.append("SIMULATED galaxies: no figure here is comparable with one of real galaxies. Give --data.")
    kind = "simulated " if dataset.header.origin.get("simulated") else ""
    return f"{len(known):,} {kind}galaxies, {len(dataset.classes)} classes", notes


def _data(source: Path | None, ledger: Ledger) -> Dataset:
    """The galaxies with their margin: the central 247 of wider pictures, a Dataset as it is."""
    if source is None:
        ledger.progress.warn("no --data: simulated galaxies stand in, so no figure is comparable with one of real ones")
        return build("galaxies", builder_options=SIMULATED, progress=ledger.progress)
    options = ReadOptions()
    if not (source.is_file() and begins_like_hdf5(source)):
        shape = open_reading([source], options).header.shape
        options = ReadOptions(crop=MARGIN if shape is not None and min(shape[:2]) >= MARGIN else 0)
    dataset = open_any(source, options, ledger.progress)
    if dataset.task != "classification" or dataset.shape is None or dataset.shape[2] != 3:
        raise InputError("is not a set of galaxy pictures with classes", where=source, cure=f"Give {DATA}.")
    return dataset


def _crop(dataset: Dataset) -> int:
    """The study's crop, as the same share of what these pictures show."""
    assert dataset.shape is not None
    side = min(dataset.shape[:2])
    return CROP if side >= MARGIN else round(side * CROP / MARGIN)


def _net(ledger: Ledger, dataset: Dataset, name: str, way: str, how: str) -> Row:
    """One recipe by folds, everything refitted in each; the answers are kept beside the row."""
    made: Recipe = recipe.read(name)
    if way != OURS:
        made = made.with_values({"prepare.crop": _crop(dataset)})
    ledger.progress.say(f"\n{name}")
    found = crossval(dataset, made, FOLDS, progress=ledger.progress)
    np.savez(ledger.folder / f"{name}.npz", rows=found.rows, output=found.output[0], fold=found.fold[0])
    fault = fault_of(dataset.labels[dataset.labelled()], len(dataset.classes)) if name == "gz2-cnn" else ""
    return row_of(
        found.judgement, way, how, seconds=found.seconds, parameters=_parameters(made, dataset), fault=fault
    )  # fmt: skip


def fault_of(labels: np.ndarray, classes: int) -> str:
    """What is wrong with learning classes as they are: nothing where they are about as large as each other."""
    return NEGLECTED if balance.imbalance(labels, classes) >= balance.IMBALANCE else ""


def _parameters(made: Recipe, dataset: Dataset) -> int:
    from estampa.train.choose import complete
    from estampa.train.fit import layers_of

    assert dataset.shape is not None
    whole, _ = complete(made, dataset)
    return sum(layer.parameters for layer in layers_of(whole, dataset.shape, len(dataset.classes)))


# ---------------------------------------------------------------------------------------------- classical methods

#: (dataset, rows) -> (m, f) numbers of those rows.
Numbers = Callable[[Dataset, np.ndarray], np.ndarray]


def _classical() -> list[tuple[str, str, Callable[[Dataset, np.ndarray], Numbers], str]]:
    """Key, words, what is learned of the training rows to make numbers of any, and the method, of each baseline."""
    return [
        ("forest-pixels", "random forest on pixels", _pixels, "forest"),
        ("forest-pca", f"random forest on {COMPONENTS} components", _components, "forest"),
        # In pixel values: on one scale the last components, all noise, would count as the first.
        ("knn-pca", f"nearest neighbours on {COMPONENTS} components", _components, "knn"),
        ("forest-descriptors", "random forest on descriptors", _described, "forest"),
        ("knn-descriptors", "nearest neighbours on descriptors", _described, "knn-standard"),
    ]


def _baseline(dataset: Dataset, how: str, seen: Callable[[Dataset, np.ndarray], Numbers], kind: str) -> Row:
    """A baseline by the same folds as the nets: both are dealt by `crossval`."""

    def fit(data: Dataset, _recipe: Recipe, *, train_rows: np.ndarray, **_: object) -> _Fitted:
        return _Fitted(data, train_rows, seen(data, train_rows), kind)

    found = crossval(dataset, recipe.read("gz2-cnn"), FOLDS, fit=fit)
    return row_of(found.judgement, RIGHT, how, seconds=found.seconds)


class _Fitted:
    """A classical method that has learned from some rows of a Dataset."""

    def __init__(self, dataset: Dataset, rows: np.ndarray, numbers: Numbers, kind: str) -> None:
        from sklearn.ensemble import RandomForestClassifier
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        jobs = machine.threads()
        if kind == "forest":
            self.model = RandomForestClassifier(300, random_state=0, n_jobs=jobs, class_weight="balanced_subsample")
        elif kind == "knn":
            self.model = KNeighborsClassifier(15, weights="distance")
        else:
            self.model = make_pipeline(StandardScaler(), KNeighborsClassifier(15, weights="distance"))
        self.numbers, self.classes = numbers, len(dataset.classes)
        self.model.fit(numbers(dataset, rows), dataset.labels[rows])

    def predict(self, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """(len(rows), classes) probabilities; a class that was absent has 0."""
        output = np.zeros((len(rows), self.classes))
        known = np.asarray(self.model.classes_, np.int64)
        output[:, known] = self.model.predict_proba(self.numbers(dataset, rows))
        return output


def _pixels(dataset: Dataset, rows: np.ndarray) -> Numbers:  # noqa: ARG001 - nothing is learned of them
    from estampa.evaluate.baselines import block_means

    return partial(_of_crops, block_means)


def _described(dataset: Dataset, rows: np.ndarray) -> Numbers:  # noqa: ARG001 - nothing is learned of them
    return partial(_of_crops, descriptors)


def _of_crops(make: Callable[[np.ndarray], np.ndarray], dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Numbers of the study's crop of each picture, read by blocks."""
    crop = _crop(dataset)
    return np.concatenate([make(images[inside(images.shape[1:3], crop)]) for _, images in dataset.blocks(rows)])


def _components(dataset: Dataset, rows: np.ndarray) -> Numbers:
    made = Reduction.fit(dataset, rows, components=min(COMPONENTS, len(rows) - 1), crop=_crop(dataset))
    return partial(_scores, made)


def _scores(made: Reduction, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Scores on the principal components, in pixel values."""
    scores: np.ndarray = made.transform_dataset(dataset, rows) * made.scale
    return scores


# ---------------------------------------------------------------------------------------------- explored


def _explored(ledger: Ledger, dataset: Dataset) -> list[str]:
    """The five explorations in a folder of their own, and what they found, a sentence each."""
    from estampa.explore.exploration import TITLES, Settings
    from estampa.explore.run import RECORD, explore

    folder = ledger.folder / "explored"
    if not (folder / RECORD).is_file():
        if folder.exists():  # begun and not finished: what is there is ours, and made anew
            import shutil

            shutil.rmtree(folder)
        settings = Settings(
            components=min(COMPONENTS, dataset.n - 1),
            crop=_crop(dataset),
            clusters=min(CLUSTERS, dataset.n // 2),
            map=MAP,
        )
        explore(dataset, folder, settings, command="estampa reproduce galaxy-zoo-2", progress=ledger.progress)
    record = json.loads((folder / RECORD).read_text())
    report = f"{folder.name}/report.html beside this page"
    said = [f"Explored without labels, report in {report}. How clusters agree with the classes:"]
    for name, found in record["methods"].items():
        agreement = ", ".join(
            f"{words} {spelled(Interval.from_json(found[key]))}"
            for key, words in (("ari", "adjusted Rand index"), ("purity", "purity"))
            if key in found
        )
        noise = f", {found['noise']:.0%} noise" if found["noise"] else ""
        said.append(
            f"{TITLES.get(name, name)} ({found['clusters']} clusters{noise}, of {found['space']}): {agreement}."
        )
    return said
