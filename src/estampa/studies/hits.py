"""Study 1: transient stamps of the HiTS survey, real or bogus, 21 x 21 x 4; and always real alerts beside it.

The published net is judged on the third of the objects that it did not learn from, as published; then on a third of
whole exposures, so that the seeing and sky of a judged stamp were not seen. The survey's own pixels are not public: a
file of its layout is read with `--data`, else a simulated survey stands in. Beside it stand real alerts of ZTF, folds
of whole objects, judged by ROC AUC and balanced accuracy, as most of them are real.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from estampa import measure, recipe
from estampa.data.dataset import PARTS, Dataset
from estampa.data.folds import fold_numbers
from estampa.data.read import ReadOptions, build, open_any
from estampa.errors import InputError
from estampa.evaluate.baselines import baselines
from estampa.evaluate.judge import Judgement, judge, spelled, words
from estampa.files import write_atomic
from estampa.measure import Interval, wilson
from estampa.recipe import Recipe
from estampa.studies._table import Ledger, Row, row_of
from estampa.studies._ways import AS_PUBLISHED, OURS, RIGHT, parameters_of, published, trained

LEADING = "accuracy"
SHOWN = ("accuracy", "balanced_accuracy", "roc_auc")
DATA = (
    "a file of the HiTS layout (four arrays of 21 x 21 pixels, labels), or ZTF stamps (science, template, difference)"
)
N, HELD, ACCURACY, FIRST = 4_026, 1_329, 0.9857, 0.95
PARAMETERS = 41_986
RECALLS = {"artifact": 650 / 660, "real": 660 / 669}
SHAPE, CHANNELS = (21, 21, 4), 4
FAINT = 7.0  #: signal-to-noise ratio below which candidates are hard
SURE = 0.2  #: distance of ZTF's score `drb` from 0 or 1 within which its label is hardly in doubt
FOLDS = 5
LESSONS = 40_000  #: simulated alerts that a net learns from which sees no real one
NEAR = 2.0  #: arcsec to a known asteroid within which an alert is surely real
SIMULATED = "SIMULATED stamps stand in for the survey's own, which are not public: no figure on them is comparable."
PLAIN: dict[str, Any] = {"evaluate.baselines": False}


def run(source: Path | None, ledger: Ledger) -> tuple[str, list[str]]:
    """Fill the ledger; return what the data are, and notes. See `studies.reproduce`."""
    given = None if source is None else _opened(source, ledger)
    if given is not None and given.shape == SHAPE:
        hits, beside = given, _at_hand(ledger)
    else:
        hits, beside = _simulated(ledger), given or _at_hand(ledger)
    ledger.bind(hits.content_sha256 + (beside.content_sha256 if beside else ""))
    simulated = bool(hits.header.origin.get("simulated"))
    notes = _hits(ledger, hits, comparable=not simulated)
    notes += [SIMULATED] if simulated else []
    if beside is None:
        notes.append("No real alerts at hand: give ZTF stamps with --data, or $ESTAMPA_DATA/ztf_stamps.")
        return f"{hits.n:,} {'simulated ' * simulated}stamps", notes
    notes += _ztf(ledger, beside)
    return f"{hits.n:,} {'simulated ' * simulated}stamps, and {beside.n:,} alerts of ZTF", notes


# ------------------------------------------------------------------------------------------- the survey's stamps


def _simulated(ledger: Ledger) -> Dataset:
    ledger.progress.warn("no stamps of the survey: simulated ones stand in, so no figure on them is comparable")
    return build("simulate", builder_options={"n": str(N)}, progress=ledger.progress)


def _opened(source: Path, ledger: Ledger) -> Dataset:
    """Stamps with two classes: the survey's four channels, or three of ZTF."""
    options = (
        ReadOptions(group="objectId") if list(source.parent.glob("*alerts.csv")) or source.is_dir() else ReadOptions()
    )
    dataset = open_any(source, options, ledger.progress)
    if len(dataset.classes) != 2 or dataset.shape is None or dataset.shape[2] not in (3, 4):
        raise InputError(
            "is not a set of stamps with two classes", where=source, allowed="3 or 4 channels, 2 classes",
            got=f"{dataset.shape}, {len(dataset.classes)} classes", cure=f"Give {DATA}.",
        )  # fmt: skip
    return dataset


def _at_hand(ledger: Ledger) -> Dataset | None:
    """Real alerts under $ESTAMPA_DATA, where there are any."""
    home = os.environ.get("ESTAMPA_DATA", "")
    folder = Path(home) / "ztf_stamps"
    return _opened(folder, ledger) if home and folder.is_dir() else None


def _hits(ledger: Ledger, dataset: Dataset, *, comparable: bool) -> list[str]:
    """The rows on stamps of the survey's layout, and what is to be said of faint candidates."""
    grouped = dataset.groups is not None
    first, final = (parameters_of(name, dataset) for name in ("hits-first", "hits"))
    said = {"comparable": comparable}
    ledger.add("published-first", lambda: published(FIRST, HELD, "first net", {}, first, **said))
    ledger.add("published", lambda: published(ACCURACY, HELD, "final net", RECALLS, final, **said))
    fault = "stamps of one exposure stand on both sides" if grouped else ""
    dealt = _dealt(dataset, by_group=False)
    for key, name in (("first", "hits-first"), ("final", "hits")):
        how = f"{key} net, a third at random"
        ledger.add(f"as-published-{key}", partial(_as_published, ledger, dealt, name, how, fault))
    held = f"a third, {'whole exposures' if grouped else 'stratified'}"
    dealt = _dealt(dataset, by_group=True)
    ledger.add("right", partial(_trained, ledger, "right", dealt, "hits", RIGHT, f"final net, {held}", ""))
    ledger.add("forest", lambda: _forest(ledger, dealt, held))
    split = dealt.split.copy()
    split[_validation(dealt)] = PARTS.index("validation")
    parted = dealt.with_split(split, dealt.split_record)
    ledger.add("ours", partial(_trained, ledger, "ours", parted, "stamps", OURS, f"recipe stamps, {held}", ""))
    return _faint(ledger, dataset)


def _dealt(dataset: Dataset, *, by_group: bool) -> Dataset:
    """The Dataset with a third as test part: at random, as published, or stratified by whole exposures."""
    known = np.flatnonzero(dataset.labelled())
    split = np.zeros(dataset.n, np.uint8)
    split[known] = PARTS.index("train")
    if by_group:
        groups = None if dataset.groups is None else dataset.groups[known]
        held = known[fold_numbers(dataset.labels[known], 3, task=dataset.task, groups=groups) == 0]
    else:
        held = np.random.default_rng(0).permutation(known)[: round(len(known) * HELD / N)]
    split[held] = PARTS.index("test")
    return dataset.with_split(split, {"made": "by the study", "by": "group" if by_group else "random"})


def _validation(dataset: Dataset) -> np.ndarray:
    """A tenth of the training part, whole exposures, for the temperature of our net."""
    train = dataset.rows("train")
    groups = None if dataset.groups is None else dataset.groups[train]
    folds = min(10, len(train) if groups is None else len(np.unique(groups)))
    fold = fold_numbers(dataset.labels[train], folds, task=dataset.task, groups=groups, seed=1)
    held: np.ndarray = train[fold == 0]
    return held


def _as_published(ledger: Ledger, dataset: Dataset, name: str, how: str, fault: str) -> Row:
    """Fitted outside the pipeline, which would rightly refuse to tear exposures apart."""
    from estampa.train.fit import fit_net

    began, held = time.monotonic(), dataset.rows("test")
    fitted = fit_net(dataset, recipe.read(name), train_rows=dataset.rows("train"), progress=ledger.progress)
    output = fitted.predict(dataset, held)
    judgement = judge(dataset.labels[held], output, task=dataset.task, classes=dataset.classes)
    seconds = time.monotonic() - began
    return row_of(judgement, AS_PUBLISHED, how, fault=fault, parameters=fitted.parameters, seconds=seconds)


def _trained(ledger: Ledger, key: str, dataset: Dataset, name: str, way: str, how: str, fault: str) -> Row:
    return row_of(way=way, how=how, fault=fault, **trained(ledger, key, dataset, name, PLAIN))


def _forest(ledger: Ledger, dataset: Dataset, held: str) -> Row:
    """The method that the study sets out to replace."""
    made = baselines(dataset, dataset.rows("train"), dataset.rows("test"), progress=ledger.progress)
    forest = next(b for b in made if "forest" in b.name)
    return row_of(forest.judgement, RIGHT, f"random forest on pixels, {held}")


def _faint(ledger: Ledger, dataset: Dataset) -> list[str]:
    """Ours less the published net on faint candidates of the same judged third, paired."""
    if "snr" not in dataset.header.columns:
        return []
    ids = {name: row for row, name in enumerate(np.asarray(dataset.ids).tolist())}
    (rows, ours), (others, theirs) = (
        _answers(ledger.folder / key / "predictions.csv", ids) for key in ("ours", "right")
    )
    theirs = theirs[np.argsort(others)][np.searchsorted(np.sort(others), rows)]
    faint = dataset.column("snr")[rows] < FAINT
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[rows][faint]
    pair = measure.paired_difference(
        ["accuracy", "roc_auc"], dataset.labels[rows][faint], ours[faint], theirs[faint], groups
    )
    bands = ", ".join(f"{words(name)} {spelled(found)}" for name, found in pair.items())
    which = f"the {int(faint.sum()):,} judged candidates of SNR below {FAINT:g}"
    return [f"Ours less the published net on {which}: {bands} (paired)."]


def _answers(path: Path, ids: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and probabilities (n, 2) of a run's predictions."""
    with path.open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    columns = [name for name in lines[0] if name.startswith("p_")]
    rows = np.array([ids[line["id"]] for line in lines])
    return rows, np.array([[float(line[name]) for name in columns] for line in lines])


# ------------------------------------------------------------------------------------------- real alerts


def _ztf(ledger: Ledger, dataset: Dataset) -> list[str]:
    """Rows on real alerts: folds of whole objects, refitted in each, answers of all folds judged together."""
    assert dataset.shape is not None
    objects = dataset.groups if dataset.groups is not None else np.asarray(dataset.ids)
    fold = fold_numbers(dataset.labels + 1, FOLDS, task="classification", groups=objects)
    stamps = recipe.read("stamps")
    net = recipe.read("hits").with_values({"data.shape": dataset.shape})
    scratch = stamps.with_values({"train.pretrain": "none"})
    ways: list[tuple[str, str, str, Callable[[], np.ndarray]]] = [
        ("net", RIGHT, "the final net", lambda: _folded(ledger, dataset, net, fold)),
        ("pixels", RIGHT, "random forest on pixels", lambda: _forests(dataset, fold)),
        ("simulated", OURS, "recipe stamps, simulated alerts only", lambda: _from_simulated(ledger, dataset)),
        ("scratch", OURS, "recipe stamps, no simulated lessons", lambda: _folded(ledger, dataset, scratch, fold)),
        ("stamps", OURS, "recipe stamps", lambda: _folded(ledger, dataset, stamps, fold)),
    ]
    for key, way, how, answer in ways:
        ledger.add(f"ztf-{key}", partial(_ztf_row, ledger, dataset, key, way, f"ZTF alerts, {how}", answer))
    return [_gap(ledger), *_sure(ledger, dataset), *_asteroids(ledger, dataset)]


def _ztf_row(ledger: Ledger, dataset: Dataset, key: str, way: str, how: str, answer: Callable[[], np.ndarray]) -> Row:
    """One way on the alerts; the probabilities of all of them, labelled or not, are kept beside the table."""
    began = time.monotonic()
    output = answer()
    np.save(ledger.folder / f"ztf-{key}.npy", output)
    known = dataset.labelled()
    groups = None if dataset.groups is None else dataset.groups[known]
    judgement = judge(dataset.labels[known], output[known], task=dataset.task, classes=dataset.classes, groups=groups)
    return row_of(judgement, way, how, seconds=time.monotonic() - began)


def _folded(ledger: Ledger, dataset: Dataset, made: Recipe, fold: np.ndarray) -> np.ndarray:
    """Answers (n, 2) to every alert by the net that was fitted without its fold."""
    from estampa.train.fit import fit_net

    output = np.zeros((dataset.n, 2))
    known = dataset.labelled()
    ledger.progress.start(f"{FOLDS} folds of objects", FOLDS, "fold")
    for held in range(FOLDS):
        fitted = fit_net(dataset, made, train_rows=np.flatnonzero((fold != held) & known))
        rows = np.flatnonzero(fold == held)
        output[rows] = fitted.predict(dataset, rows)
        ledger.progress.advance()
    ledger.progress.finish()
    return output


def _forests(dataset: Dataset, fold: np.ndarray) -> np.ndarray:
    """Answers of a random forest on the pixels, missing ones 0, by the same folds."""
    from sklearn.ensemble import RandomForestClassifier

    pixels = np.nan_to_num(dataset.take(np.arange(dataset.n)).reshape(dataset.n, -1))
    output, known = np.zeros((dataset.n, 2)), dataset.labelled()
    for held in range(FOLDS):
        forest = RandomForestClassifier(300, random_state=0, n_jobs=1)
        train = np.flatnonzero((fold != held) & known)
        forest.fit(pixels[train], dataset.labels[train])
        output[fold == held] = forest.predict_proba(pixels[fold == held])
    return output


def _from_simulated(ledger: Ledger, dataset: Dataset) -> np.ndarray:
    """Answers of a net that has seen simulated alerts of the same camera only; those to a tenth of these are kept."""
    from estampa.train.fit import fit_net

    assert dataset.shape is not None
    options = {
        "n": str(LESSONS),
        "camera": "ztf",
        "size": str(dataset.shape[0]),
        "channels": ",".join(dataset.header.channels),
    }
    simulated = build("simulate", builder_options=options, progress=ledger.progress)
    exposures = np.asarray(simulated.groups)
    names = np.unique(exposures)
    apart = np.isin(exposures, names[-max(1, len(names) // 10) :])
    train, rows = np.flatnonzero(~apart), np.flatnonzero(apart)
    fitted = fit_net(simulated, recipe.read("stamps"), train_rows=train, progress=ledger.progress)
    seen = judge(
        simulated.labels[rows], fitted.predict(simulated, rows), task=simulated.task, classes=simulated.classes,
        groups=exposures[rows],
    )  # fmt: skip
    write_atomic(ledger.folder / "simulated-alerts.json", json.dumps(seen.to_json(), indent=1))
    answers: np.ndarray = fitted.predict(dataset, np.arange(dataset.n))
    return answers


def _gap(ledger: Ledger) -> str:
    """How the net that learned from simulated alerts only does on simulated ones, to hold against real ones."""
    seen = Judgement.from_json(json.loads((ledger.folder / "simulated-alerts.json").read_text())).metrics
    real = next(row.metrics for row in ledger.rows if row.how.endswith("simulated alerts only"))
    there, here = spelled(seen["roc_auc"]), spelled(real["roc_auc"])
    return (
        f"The net that learned from simulated alerts only has ROC AUC {there} on simulated alerts of exposures it had "
        f"not seen and {here} on real ones: the gap is what the simulator lacks."
    )


def _sure(ledger: Ledger, dataset: Dataset) -> list[str]:
    """The figures where the survey's own classifier, whose answers the labels are, was sure."""
    if "drb" not in dataset.header.columns:
        return []
    score = dataset.column("drb")
    kept = dataset.labelled() & ((score < SURE) | (score > 1 - SURE))
    if len(np.unique(dataset.labels[kept])) < 2:
        return []
    groups = None if dataset.groups is None else dataset.groups[kept]
    output = np.load(ledger.folder / "ztf-stamps.npy")[kept]
    found = judge(dataset.labels[kept], output, task=dataset.task, classes=dataset.classes, groups=groups).metrics
    which = f"the {int(kept.sum()):,} alerts of which it was sure (drb below {SURE:g} or above {1 - SURE:g})"
    bands = ", ".join(f"{words(name)} {spelled(found[name])}" for name in ("roc_auc", "balanced_accuracy"))
    return [f"The labels of ZTF are its own classifier's. Our net on {which}: {bands}."]


def _asteroids(ledger: Ledger, dataset: Dataset) -> list[str]:
    """How many alerts beside a known asteroid, labelled or not, are called real: truth that no classifier gave."""
    if "ssdistnr" not in dataset.header.columns:
        return []
    from estampa.train.lessons import real_class

    distance, real = dataset.column("ssdistnr"), real_class(dataset.classes)
    near = (distance >= 0) & (distance <= NEAR)
    if real is None or not near.any():
        return []
    said = np.load(ledger.folder / "ztf-stamps.npy")[near, real] >= 0.5
    found = Interval(float(said.mean()), *wilson(float(said.mean()), len(said)))
    where = f"within {NEAR:g} arcsec of a known asteroid"
    return [f"Of {len(said):,} alerts {where}, our net, which had not seen them, calls {spelled(found)} real."]
