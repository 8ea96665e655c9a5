"""The whole river on one page: data -> parts -> check -> recipe -> training -> bundle -> judgement -> report.

This is the only file that knows the order. Each stage is a function of its own room; here they are called one after
another, and what each leaves is written into the run folder at once, so that a run that was stopped goes on.
"""

from __future__ import annotations

import datetime
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import machine
from estampa import recipe as recipes
from estampa.data.dataset import PARTS, Dataset
from estampa.data.read import ReadOptions, begins_like_hdf5, open_any
from estampa.data.sizing import sized
from estampa.errors import CheckFailed, DatasetError, InputError, RecipeError
from estampa.evaluate.confidence import require_enough
from estampa.evaluate.judge import spelled, words
from estampa.evaluate.settle import Settled, settle, witness
from estampa.evaluate.terms import asked_of, columns_of, require_choosable
from estampa.files import require_writable, write_atomic
from estampa.plain import duration
from estampa.progress import SILENT, Clock, Progress
from estampa.recipe import Recipe
from estampa.run import Habits, Plan, Run

if TYPE_CHECKING:
    from estampa.evaluate.evidence import Evidence
    from estampa.train.fitted import Fitted

__all__ = ["Habits", "Plan", "Run", "plan", "train"]

NEEDS = ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "tomli_w")
SIGN = "unfinished"  #: file in a run folder that was begun by us and is not finished
SEARCH_VALIDATION = 0.1  #: share that a search gets when its recipe has no validation part


def plan(
    recipe: str = "auto",
    source: Path | str | Dataset | None = None,
    *,
    changes: Mapping[str, Any] | None = None,
    reading: ReadOptions | None = None,
    habits: Habits | None = None,
    progress: Progress = SILENT,
) -> Plan:
    """Say what would be trained, without training. A shipped recipe that states its input needs no data.

    Raises RecipeError when neither the recipe nor data say what goes in, and as `train` does.
    """
    chosen = _recipe(recipe, changes or {})
    decisions: list[str] = []
    if source is not None:
        from estampa.train.choose import complete

        dataset, chosen = _open(source, reading, chosen, habits or Habits(), progress)
        dataset, decisions = _parted(dataset, chosen, progress)
        chosen, said = complete(chosen, dataset, _rows(dataset)["train"])
        decisions += said
        shape, outputs = dataset.shape, len(dataset.classes) if dataset.task == "classification" else 1
    else:
        shape, outputs = chosen.data.shape, chosen.data.outputs or 0
    if shape is None or not outputs:
        raise RecipeError(
            "does not state its input", where=chosen.name, cure="Give data, or set data.shape and data.outputs."
        )
    from estampa.train.fit import layers_of

    return Plan(chosen, layers_of(chosen, shape, outputs), shape, outputs, decisions)


def train(
    source: Path | str | Dataset,
    *,
    recipe: str | Recipe = "auto",
    changes: Mapping[str, Any] | None = None,
    output: Path | str | None = None,
    reading: ReadOptions | None = None,
    habits: Habits | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Train a model, judge it on data it has not seen, and leave a run folder.

    Parameters
    ----------
    source : a Dataset, its file, or anything that `build` reads.
    recipe : a shipped recipe's name, a TOML file, a Recipe, or "auto".
    changes : dotted keys that override the recipe, as {"train.epochs": 3}.
    output : the run folder; None = runs/<time>-<recipe>. An unfinished one is continued.
    reading : how files are read, when `source` is not a Dataset.
    habits : see Habits.

    Returns the Run. Raises InputError and its kinds for wrong data or recipes, CheckFailed (exit 3) for a leak between
    parts that we made, Interrupted with the checkpoint saved.
    """
    machine.require("train", *NEEDS, needed_for="estampa train")
    began, habits, clock = time.monotonic(), habits or Habits(), Clock()
    chosen = recipe if isinstance(recipe, Recipe) else _recipe(recipe, changes or {})
    folder = None if output is None else _folder(Path(output))
    with clock.of("reading"):
        dataset, chosen = _open(source, reading, chosen, habits, progress)
    if chosen.search.values and not chosen.data.validation and not dataset.split_record:
        chosen = chosen.with_values({"data.validation": SEARCH_VALIDATION})
        progress.say(f"A validation part of {SEARCH_VALIDATION:.0%} is taken: a search is judged on nothing else.")
    dataset, decisions = _parted(dataset, chosen, progress)
    if chosen.evaluate.keep_accuracy is not None:
        known = _rows(dataset)["validation"]
        tied = None if dataset.groups is None else dataset.groups[known]
        require_enough(chosen.evaluate.keep_accuracy, dataset.labels[known], tied, dataset.task)
    require_choosable(asked_of(chosen.evaluate), dataset.classes, dataset.labels[_rows(dataset)["validation"]])
    columns_of(dataset, np.zeros(0, np.int64), chosen.evaluate.by)  # a column that is not there is told now
    with clock.of("check"):
        twins, warnings = _checked(dataset, progress)
    folder = folder or _folder(_unnamed(chosen, dataset))
    stage = _Stage(folder, dataset, _rows(dataset), progress, clock)
    fitted, trials = _learn(stage, chosen, decisions, follow=habits.follow_test)
    with clock.of("calibration"):
        settled = settle(fitted, dataset, stage.rows["validation"], progress, stage.rows["train"])
    part = "test" if len(stage.rows["test"]) else "validation"
    if part == "validation" and (trials or fitted.recipe.train.keep == "best"):
        warnings.append("There is no test part: the figures are of the validation part, which chose the kept epoch.")
    if part == "validation" and settled.thresholds():
        warnings.append("There is no test part: the thresholds were chosen on the validation part that is judged.")
    warnings += settled.warnings
    evidence = _judge(stage, fitted, part, settled)
    evidence.trials = trials
    evidence.twins, evidence.warnings = np.isin(evidence.rows, twins), warnings
    evidence.command = habits.command or f"estampa train {dataset.path} --recipe {folder / 'recipe.toml'}"
    _ship(stage, fitted, evidence, habits, settled)
    _report(stage, evidence)
    return Run(folder, evidence.judgement, part, time.monotonic() - began)


# ---------------------------------------------------------------------------------------------- stages


@dataclass(frozen=True)
class _Stage:
    """What the stages after the data share."""

    folder: Path
    dataset: Dataset
    rows: dict[str, np.ndarray]
    progress: Progress
    clock: Clock


def _recipe(name: str, changes: Mapping[str, Any]) -> Recipe:
    """Read a recipe; the environment overrides it, and `changes` (flags) override both."""
    base = Recipe(name="auto") if name == "auto" else recipes.read(name)
    if environment := recipes.from_environment():
        base = base.with_values(environment, "environment")
    return base.with_values(changes) if changes else base


def _unnamed(recipe: Recipe, dataset: Dataset) -> Path:
    """runs/<time>-<recipe>, for who names no folder."""
    from estampa.train.choose import default_for

    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{default_for(dataset)[0] if recipe.model.name == 'auto' else recipe.name}"


def _folder(folder: Path) -> Path:
    """The run folder, made now; refused when it holds a finished run or something else."""
    if (folder / "metrics.json").exists():
        raise InputError("holds a finished run", where=folder, cure="Choose another folder with -o, or remove it.")
    begun = any((folder / sign).exists() for sign in (SIGN, "history.jsonl", "checkpoint.safetensors"))
    if folder.is_dir() and any(folder.iterdir()) and not begun:
        raise InputError("is not empty and not a run", where=folder, cure="Choose another folder with -o.")
    require_writable(folder / SIGN)
    return folder


def _open(
    source: Path | str | Dataset, reading: ReadOptions | None, recipe: Recipe, habits: Habits, progress: Progress
) -> tuple[Dataset, Recipe]:
    """Open a Dataset, or build one from files into the cache; the recipe then says how pictures were read."""
    options = reading or ReadOptions(label=recipe.data.label, group=recipe.data.group)
    if isinstance(source, Dataset):
        dataset = source
    elif Path(source).is_file() and begins_like_hdf5(Path(source)):
        dataset = open_any(source, replace(options, group=""), progress)
    else:
        options = _sized(source, options, recipe, progress)
        dataset = open_any(source, options, progress, skip_bad=habits.skip_bad)
        if options.size is not None or options.crop:
            read = {"data.size": options.size, "data.fit": options.fit, "data.crop": options.crop}
            recipe = recipe.with_values(read, "size")
    if dataset.shape is None:
        raise DatasetError("holds no images", where=dataset.path, cure="Give pictures or arrays.")
    height, width, channels = dataset.shape
    kind = f"{len(dataset.classes)} classes" if dataset.task == "classification" else dataset.task
    name = dataset.path if isinstance(source, Dataset) else source
    progress.say(f"{dataset.n:,} objects, {kind}, {height} x {width} x {channels} {dataset.dtype}, from {name}")
    return dataset, recipe


def _sized(source: Path | str, options: ReadOptions, recipe: Recipe, progress: Progress) -> ReadOptions:
    """Crop and size from the flags, else from the recipe, else as suits the pictures."""
    data = recipe.data
    if options.size is None and not options.crop and (data.size is not None or data.crop):
        return replace(options, size=data.size, fit=data.fit, crop=data.crop)
    if data.shape is not None:
        return options
    from estampa.train.choose import PHOTOGRAPH_SIDE, lacking_for_pretrained

    pretrained = recipe.model.name == "pretrained" or (recipe.model.name == "auto" and not lacking_for_pretrained())
    return sized(
        source, options, progress, cutouts="auto" in (recipe.model.name, recipe.prepare.crop),
        photographs=PHOTOGRAPH_SIDE if pretrained else 0,
    )  # fmt: skip


def _parted(dataset: Dataset, recipe: Recipe, progress: Progress) -> tuple[Dataset, list[str]]:
    """The Dataset with the parts that this run uses: the file's own where they are whole, else dealt here."""
    from estampa.data.split import parted
    from estampa.data.ties import in_words

    data = recipe.data
    if dataset.split_record and (dataset.split == PARTS.index("train")).any():
        said = f"Parts: as stored in the file by `estampa split`{in_words(dataset.split_record)}."
    else:
        split, record, notes = parted(
            dataset, test=data.test, validation=data.validation, seed=recipe.train.seed, group=data.group or None
        )
        dataset = dataset.with_split(split, record)
        for note in notes:
            progress.warn(note)
        kept = "the published test part is kept" if record.get("published") else "no test part came with the data"
        tied = (", groups kept whole" if dataset.groups is not None else "") + in_words(record)
        said = f"Parts: dealt here with seed {recipe.train.seed}, stratified{tied}; {kept}."
    counts = {name: len(rows) for name, rows in _rows(dataset).items()}
    said += " " + ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) + "."
    progress.say(said)
    if not counts["train"] or not counts["test"] + counts["validation"]:
        raise DatasetError(
            "has no part to learn from" if not counts["train"] else "has no part to judge on",
            where=dataset.path, cure="Part it with: estampa split SET.h5 --test 0.2 --validation 0.1",
        )  # fmt: skip
    if dataset.task == "classification":
        learned = np.unique(dataset.labels[_rows(dataset)["train"]])
        if len(learned) < 2:
            raise DatasetError(
                f"its train part holds one class only, {dataset.classes[int(learned[0])]!r}: there is nothing to tell "
                "apart", where=dataset.path, cure="Add objects of another class, or part it again: estampa split",
            )  # fmt: skip
    return dataset, [said]


def _rows(dataset: Dataset) -> dict[str, np.ndarray]:
    """Labelled rows of each part."""
    known = dataset.labelled()
    return {part: rows[known[rows]] for part in PARTS[1:] for rows in [dataset.rows(part)]}


def _checked(dataset: Dataset, progress: Progress) -> tuple[np.ndarray, list[str]]:
    """Refuse leaks; return the rows that have a near twin in the training part, and what weakens the result."""
    from estampa.data.check import check

    found = check(dataset, progress=progress)
    warnings = [f.message for f in found.findings if f.severity == "warn"]
    for line in warnings:
        progress.warn(line)
    if found.refused:
        leaks = "; ".join(f.message for f in found.findings if f.severity == "refuse")
        raise CheckFailed(
            leaks, where=dataset.path, cure="Part it again with: estampa split, which keeps them together."
        )
    return np.asarray(found.near_across, np.int64), warnings


def _learn(stage: _Stage, chosen: Recipe, decisions: list[str], *, follow: bool) -> tuple[Fitted, list[dict[str, Any]]]:
    """Complete the recipe, search if asked, and train; recipe.toml and history.jsonl are written."""
    from estampa.train.choose import complete
    from estampa.train.fit import fit_net

    whole, said = complete(chosen, stage.dataset, stage.rows["train"])
    for line in said:
        stage.progress.say(line)
    trials: list[dict[str, Any]] = []
    if whole.search.values:
        from estampa.train.search import search

        with stage.clock.of("search"):
            found = search(
                stage.dataset, whole, asked=chosen, train_rows=stage.rows["train"],
                validation_rows=stage.rows["validation"], folder=stage.folder / "search", progress=stage.progress,
            )  # fmt: skip
        whole, said = found.best, [*said, found.sentence]
        trials = [vars(trial) for trial in found.trials]
        stage.progress.say(found.sentence)
    write_atomic(stage.folder / SIGN, "This run has begun and is not finished; the same command goes on with it.\n")
    write_atomic(stage.folder / "recipe.toml", whole.to_toml())
    with stage.clock.of("training"):
        fitted = fit_net(
            stage.dataset, whole, train_rows=stage.rows["train"], validation_rows=stage.rows["validation"],
            folder=stage.folder, progress=stage.progress, watched_rows=stage.rows["test"] if follow else None,
        )  # fmt: skip
    write_atomic(stage.folder / "recipe.toml", fitted.recipe.to_toml())
    fitted.decisions[:] = [*decisions, *said, *(d for d in fitted.decisions if d not in said)]
    return fitted, trials


def _judge(stage: _Stage, fitted: Fitted, part: str, settled: Settled) -> Evidence:
    """Judge the kept model once on `part`, beside baselines, with cross-validation if asked."""
    from estampa.evaluate.baselines import baselines
    from estampa.evaluate.crossval import crossval
    from estampa.evaluate.evidence import FEW_VIEWED, MOST_VIEWED, Evidence, consistency
    from estampa.evaluate.judge import judge
    from estampa.train.calibrate import both_answers

    dataset, rows, recipe = stage.dataset, stage.rows[part], fitted.recipe
    asked = asked_of(recipe.evaluate)
    with stage.clock.of("judging"):
        output, before = both_answers(fitted, dataset, rows)
        judgement = judge(
            dataset.labels[rows], output, task=dataset.task, classes=dataset.classes,
            groups=None if dataset.groups is None else dataset.groups[rows],
            resamples=recipe.evaluate.resamples, seed=recipe.train.seed,
            terms=asked.terms(settled.decision, columns_of(dataset, rows, asked.by)),
        )  # fmt: skip
        steady = consistency(
            fitted.predict, dataset, rows, recipe.prepare.symmetry, exchange=fitted.exchange,
            seed=recipe.train.seed, progress=stage.progress,
            most=FEW_VIEWED if recipe.prepare.views == "symmetry" else MOST_VIEWED,
        )  # fmt: skip
    stage.progress.say(f"{judgement.headline()} ({part} part)")
    evidence = Evidence(recipe.name, dataset, rows, output, judgement, {k: len(v) for k, v in stage.rows.items()}, part)
    with stage.clock.of("judging"):
        witness(evidence, settled, before)
    if recipe.evaluate.baselines:
        with stage.clock.of("baselines"):
            evidence.baselines = baselines(
                dataset, stage.rows["train"], rows, recipe.train.seed, resamples=recipe.evaluate.resamples,
                progress=stage.progress,
            )  # fmt: skip
    if recipe.evaluate.folds:
        with stage.clock.of("cross-validation"):
            evidence.crossval = crossval(
                dataset, recipe, recipe.evaluate.folds, recipe.evaluate.repeats, seed=recipe.train.seed,
                progress=stage.progress,
            )  # fmt: skip
    evidence.consistency = steady
    evidence.history, evidence.kept_epoch, evidence.stopped = fitted.history, fitted.kept_epoch, fitted.stopped
    evidence.monitor, evidence.recipe, evidence.about = recipe.train.monitor, recipe.to_toml(), recipe.about
    evidence.decisions, evidence.layers, evidence.parameters = fitted.decisions, fitted.layers, fitted.parameters
    return evidence


def _ship(stage: _Stage, fitted: Fitted, evidence: Evidence, habits: Habits, settled: Settled) -> None:
    """Write the bundle, and the judged part's predictions by the bundle itself."""
    from estampa.bundle.export import bundle_from
    from estampa.explain.brief import brief
    from estampa.predict import predict

    if (stage.folder / "model").exists():  # of an earlier start of this run that did not reach its end
        shutil.rmtree(stage.folder / "model")
    with stage.clock.of("export"):
        bundle = bundle_from(
            fitted, stage.dataset, stage.rows, {**evidence.judgement.to_json(), "part": evidence.part},
            stage.folder / "model",
            gallery=habits.gallery, extra={"thresholds": settled.thresholds(), "int8": settled.int8},
        )  # fmt: skip
        predict(bundle, stage.dataset, stage.folder / "predictions.csv", part=evidence.part, progress=stage.progress)
    if stage.dataset.task == "classification":
        with stage.clock.of("maps"):
            seed, said = fitted.recipe.train.seed, stage.progress
            evidence.maps = brief(bundle, stage.dataset, evidence.rows, evidence.output, seed=seed, progress=said)
    evidence.hashes = {
        "data": stage.dataset.content_sha256, "model": bundle.hash, "recipe": bundle.manifest.hashes.recipe,
    }  # fmt: skip


def _report(stage: _Stage, evidence: Evidence) -> None:
    """Write the report, then metrics.json, which marks the run as finished."""
    from estampa.evaluate.report import write_report
    from estampa.train import checkpoint

    evidence.seconds = {k: round(v, 3) for k, v in stage.clock.seconds.items()}
    evidence.peak_memory, evidence.machine = machine.peak_memory(), machine.describe()
    evidence.date = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    write_report(stage.folder, evidence)
    checkpoint.remove(stage.folder)  # the run is whole: nothing is left to go on from
    (stage.folder / SIGN).unlink(missing_ok=True)
    name = evidence.judgement.leading
    best = max(evidence.baselines, key=lambda b: b.judgement.metrics[name].value, default=None)
    if best is not None and evidence.judgement.task == "classification":
        stage.progress.say(f"best baseline: {best.name}, {words(name)} {spelled(best.judgement.metrics[name])}")
    stage.progress.say(f"in all {duration(sum(stage.clock.seconds.values()))}")
