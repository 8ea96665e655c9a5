"""From what is given to a Dataset with parts that may be learned from: opened, parted, checked for leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from estampa.data.dataset import PARTS, Dataset
from estampa.data.grow import keeps_parts
from estampa.data.read import ReadOptions, begins_like_hdf5, open_any
from estampa.data.sizing import sized
from estampa.errors import CheckFailed, DatasetError
from estampa.progress import Progress
from estampa.recipe import Recipe
from estampa.run import Habits


def opened(
    source: Path | str | Dataset, reading: ReadOptions | None, recipe: Recipe, habits: Habits, progress: Progress
) -> tuple[Dataset, Recipe]:
    """Open a Dataset, or build one from files into the cache; the recipe then says how pictures were read."""
    options = reading or ReadOptions(label=recipe.data.label, group=recipe.data.group)
    if isinstance(source, Dataset):
        dataset = source
    elif Path(source).is_file() and begins_like_hdf5(Path(source)):
        dataset = open_any(source, replace(options, group=""), progress)
    else:
        options = sized_options(source, options, recipe, progress)
        dataset = open_any(source, options, progress, skip_bad=habits.skip_bad)
        if options.size is not None or options.crop:
            read = {"data.size": options.size, "data.fit": options.fit, "data.crop": options.crop}
            recipe = recipe.with_values(read, "size")
    kind = f"{len(dataset.classes)} classes" if dataset.task == "classification" else dataset.task
    name = dataset.path if isinstance(source, Dataset) else source
    what = f"{len(dataset.header.columns)} columns of numbers"
    if dataset.shape is not None:
        height, width, channels = dataset.shape
        what = f"{height} x {width} x {channels} {dataset.dtype}"
    progress.say(f"{dataset.n:,} objects, {kind}, {what}, from {name}")
    return dataset, recipe


def sized_options(source: Path | str, options: ReadOptions, recipe: Recipe, progress: Progress) -> ReadOptions:
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


def parted(dataset: Dataset, recipe: Recipe, progress: Progress) -> tuple[Dataset, list[str]]:
    """The Dataset with the parts that this run uses: the file's own where they are whole, else dealt here."""
    from estampa.data.split import parted as dealt
    from estampa.data.ties import in_words

    data = recipe.data
    if keeps_parts(dataset):
        whose = "as stored in the file by `estampa split`"
        if dataset.split_record.get("retrained"):
            whose = "dealt by the champion's recipe"
        elif "gathered" in dataset.split_record:
            whose = "dealt by `estampa log gather`, what was chosen learned from alone"
        said = f"Parts: {whose}{in_words(dataset.split_record)}."
    else:
        split, record, notes = dealt(
            dataset, test=data.test, validation=data.validation, seed=recipe.train.seed, group=data.group or None
        )
        dataset = dataset.with_split(split, record)
        for note in notes:
            progress.warn(note)
        kept = "the published test part is kept" if record.get("published") else "no test part came with the data"
        tied = (", groups kept whole" if dataset.groups is not None else "") + in_words(record)
        said = f"Parts: dealt here with seed {recipe.train.seed}, stratified{tied}; {kept}."
    counts = {name: len(rows) for name, rows in rows_of(dataset).items()}
    said += " " + ", ".join(f"{n:,} {name}" for name, n in counts.items() if n) + "."
    progress.say(said)
    if not counts["train"] or not counts["test"] + counts["validation"]:
        raise DatasetError(
            "has no part to learn from" if not counts["train"] else "has no part to judge on",
            where=dataset.path, cure="Part it with: estampa split SET.h5 --test 0.2 --validation 0.1",
        )  # fmt: skip
    if dataset.task == "classification":
        learned = np.unique(dataset.labels[rows_of(dataset)["train"]])
        if len(learned) < 2:
            raise DatasetError(
                f"its train part holds one class only, {dataset.classes[int(learned[0])]!r}: there is nothing to tell "
                "apart", where=dataset.path, cure="Add objects of another class, or part it again: estampa split",
            )  # fmt: skip
    return dataset, [said]


def rows_of(dataset: Dataset) -> dict[str, np.ndarray]:
    """Labelled rows of each part."""
    known = dataset.labelled()
    return {part: rows[known[rows]] for part in PARTS[1:] for rows in [dataset.rows(part)]}


def checked(dataset: Dataset, progress: Progress) -> tuple[np.ndarray, list[str]]:
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
