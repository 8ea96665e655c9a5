"""Study 2, navigability: Mars elevation patches of 20 x 20 x 4, a score from 1 to 4, judged by 5-fold cross-validation.

The published 0.3367 has two faults: one model was trained on through all folds, and the four images of a patch were
joined by `reshape(n, 20, 20, 4)`, which deals the pixels of all four out over rows, columns and channels. Here that way
stands beside the right one. The study's patches are not at hand: an elevation model is cut into patches by the builder
`mars`, whose score is derived by a rule, and folds are of whole areas, as neighbouring patches know each other.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np

from estampa import measure, recipe
from estampa.data.builders import mars
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build, open_any
from estampa.errors import InputError
from estampa.evaluate.crossval import crossval
from estampa.evaluate.judge import judge
from estampa.measure import Interval
from estampa.studies._table import Ledger, Row, row_of
from estampa.studies._ways import AS_PUBLISHED, LEAK, OURS, PUBLISHED, RIGHT, folds_as_published, parameters_of

LEADING = "mse"
DATA = "an elevation model (.npz, .npy, FITS, GeoTIFF), a Dataset of the builder mars, or the study's own pickled file"
FOLDS, MSE, N, PARAMETERS = 5, 0.3367, 849, 60_833
SHAPE = (20, 20, 4)
MIXED = "the four images are joined by a reshape that mixes their pixels"
NEIGHBOURS = "patches that overlap, or lie side by side, stand in different folds"
#: Metrics of our row: ours minus that of the published net, paired; as it is, and on standardised values.
DIFFERENCES = {"right": "mse_less_the_published_nets", "scaled": "mse_less_the_published_nets_scaled"}


def run(source: Path | None, ledger: Ledger) -> tuple[str, list[str]]:
    """Fill the ledger; return what the data are, and notes. See `studies.reproduce`."""
    dataset = _data(source, ledger)
    ledger.bind(dataset.content_sha256)
    areas = dataset.groups is not None
    published = Row(
        PUBLISHED, "5 folds at random", {"mse": Interval(MSE, MSE, MSE)}, N, parameters=PARAMETERS,
        fault=f"{LEAK}; {MIXED}", comparable=False,
    )  # fmt: skip
    ledger.add("published", lambda: published)
    ledger.add("as-published", partial(_as_published, ledger, dataset))
    if areas:
        ledger.add("right-at-random", partial(_folds, ledger, dataset, "right-at-random", RIGHT, by_area=False))
    for key, way in (("right", RIGHT), ("scaled", RIGHT), ("ours", OURS)):
        ours = ledger.add(key, partial(_folds, ledger, dataset, key, way, by_area=areas))
    return _described(dataset), _notes(dataset, ours)


def _described(dataset: Dataset) -> str:
    areas = f" in {len(np.unique(dataset.groups))} areas" if dataset.groups is not None else ""
    kind = "simulated " if dataset.header.origin.get("simulated") else ""
    return f"{dataset.n:,} {kind}patches of 20 x 20 x 4{areas}"


def _notes(dataset: Dataset, ours: Row) -> list[str]:
    bands = [
        f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
        for found in (ours.metrics[name] for name in DIFFERENCES.values())
    ]
    drawn = "paired" if dataset.groups is None else "paired, whole areas drawn"
    notes = [
        f"Ours less the published net, on the same held-out patches: {bands[0]} ({drawn}).",
        f"Ours less that net on standardised values: {bands[1]} ({drawn}).",
        f"Always answering the mean score would give {float(np.var(dataset.labels)):.4f}.",
    ]
    if dataset.groups is None:
        notes.append("The data name no areas, so folds by area could not be made: neighbours may know each other.")
    if dataset.header.origin.get("builder") == "mars":
        notes.append(
            "The score is DERIVED from the heights by a rule (docs/data.md, mars), not judged by people: no figure "
            "here is comparable with the published one."
        )
    if dataset.header.origin.get("simulated"):
        notes.append("SIMULATED ground, not Mars. Give --data an elevation model for a real one.")
    return notes


def _data(source: Path | None, ledger: Ledger) -> Dataset:
    if source is None:
        ledger.progress.warn(
            "no --data: a simulated ground stands in, so no figure is comparable with the published one"
        )
        return build("mars", progress=ledger.progress)
    if source.is_dir():
        models = [path for path in sorted(source.iterdir()) if path.is_file() and mars.is_elevation(path)]
        source = models[0] if models else source
    if source.is_file() and mars.is_elevation(source):
        patches = ledger.folder / "patches.h5"
        return build("mars", patches, builder_options={"dem": str(source)}, progress=ledger.progress)
    dataset = open_any(source, ReadOptions(), ledger.progress)
    if dataset.task != "regression" or dataset.shape != SHAPE or not dataset.labelled().all():
        raise InputError(
            "is not a navigability set", where=source, allowed="patches of 20 x 20 x 4, each with a score",
            got=f"{dataset.task}, {dataset.shape}, {int((~dataset.labelled()).sum())} without a score",
            cure=f"Give {DATA}.",
        )  # fmt: skip
    return dataset


def mixed(images: np.ndarray) -> np.ndarray:
    """Patches (n, 20, 20, 4) as the published code joined them: four images a patch, reshaped instead of stacked."""
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)).reshape(images.shape)


def _as_published(ledger: Ledger, dataset: Dataset) -> Row:
    """Folds at random, one model through all of them, channels mixed: every fault kept."""
    from estampa.train.feed import ArraySet

    joined = ArraySet(mixed(dataset.take(np.arange(dataset.n))), dataset.labels, dataset.task)
    fold = np.random.default_rng(0).permutation(dataset.n) % FOLDS
    output = folds_as_published(joined, "navigability", fold, ledger.progress)
    faults = f"{LEAK}; {MIXED}" + (f"; {NEIGHBOURS}" if dataset.groups is not None else "")
    return row_of(
        judge(dataset.labels, output, task=dataset.task), AS_PUBLISHED, "5 folds at random", fault=faults,
        parameters=parameters_of("navigability", dataset),
    )  # fmt: skip


def _folds(ledger: Ledger, dataset: Dataset, key: str, way: str, *, by_area: bool) -> Row:
    """Folds, refitted in each, channels stacked. Our row holds the paired differences to the published net's answers.

    The study's images are 8-bit pictures and these are metres and degrees, which raw are hard on the published net: the
    row "scaled" is the same net on standardised values, so that ours does not win by its units.
    """
    name = "terrain" if way == OURS else "navigability"
    made = recipe.read(name)
    if key == "scaled":
        made = made.with_values({"prepare.scale": "standard"})
    groups = dataset.groups if by_area else np.array([f"row {i}" for i in range(dataset.n)])
    began = time.perf_counter()
    found = crossval(dataset, made, FOLDS, groups=groups, progress=ledger.progress)
    metrics = {"mse": found.judgement.metrics["mse"]}
    if way == OURS:
        drawn = dataset.groups if by_area else None
        for other, metric in DIFFERENCES.items():
            answers = np.load(ledger.folder / f"{other}-answers.npy")
            pair = measure.paired_difference(["mse"], dataset.labels, found.output[0], answers, drawn)
            metrics[metric] = pair["mse"]
    else:
        np.save(ledger.folder / f"{key}-answers.npy", found.output[0])
    what = {"ours": "recipe terrain", "scaled": "refitted, stacked, standardised"}.get(key, "refitted, stacked")
    neighbours = dataset.groups is not None and not by_area
    return Row(
        way, f"5 folds {'of whole areas' if by_area else 'at random'}, {what}", metrics, dataset.n,
        seconds=time.perf_counter() - began, fault=NEIGHBOURS if neighbours else "",
        parameters=parameters_of(name, dataset),
    )  # fmt: skip
