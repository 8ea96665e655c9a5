"""What a challenger learns from: new data, with or without the old, and the champion's test part kept aside."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from estampa.bundle.contract import check_header
from estampa.data.dataset import PARTS, Dataset
from estampa.data.grow import grown, keeps_parts, named
from estampa.data.read import ReadOptions, open_any, write_reading
from estampa.data.split import parted as dealt
from estampa.data.ties import ties_of
from estampa.errors import CheckFailed, ContractError
from estampa.evaluate.labels import recipe_of
from estampa.plain import folded
from estampa.predict.parts import held_of, parts_of
from estampa.progress import Progress
from estampa.recipe import Recipe

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle

DATA = "data.h5"  #: in the run folder, where old and new data are joined
_TEST = PARTS.index("test")
_NAMED = 5


def gathered(
    champion: Bundle,
    data: Dataset | Path | str,
    add: Dataset | Path | str | None,
    folder: Path,
    progress: Progress,
    *,
    label: str = "",
) -> tuple[Dataset, list[str]]:
    """The Dataset that the challenger learns from, with its parts, and what was decided.

    What the champion was tested on, as far as its bundle knows it (ids and content hashes), is tested on or left out,
    and never learned from; so is what is tied to it (copies, near copies, groups). With `add`, old and new are joined
    in `folder`: old parts are kept, as the champion remembers them, and the new objects are dealt in the same shares,
    so that the challenger is tested on both. New data that come with parts (a train part among them) keep them.

    Raises ContractError for data of another task; CheckFailed (exit 3) where the new data's own parts would have it
    learn from the champion's test part.
    """
    recipe = recipe_of(champion)
    new = _opened(champion, data, label)
    _require_spelled(champion, new, data)
    said = [f"Retrained from model {champion.hash} by its own recipe ({recipe.name}) on {new.n:,} objects of {data}."]
    if add is None:
        dataset, more = _alone(champion, new, recipe, progress)
        return dataset, [*said, *_classes(champion, dataset, progress), *more]
    old, more = _old(champion, _opened(champion, add), recipe, progress)
    inside = _known(champion, new) & ~np.isin(new.hashes, old.hashes)  # a copy of an old row is left out anyway
    if inside.any():
        _require_unlearned(champion, new, inside)
        if not keeps_parts(new):
            new = new.with_split(np.where(inside, _TEST, new.split), new.split_record or _record(recipe))
            more.append(_aside(int(inside.sum())))
    name = named(Path(data)) if isinstance(data, (str, Path)) else new.path.stem
    options = ReadOptions(seed=recipe.train.seed)
    reading = grown(old, [new], [name], options=options, new_to="split", progress=progress)
    joined = write_reading(reading, folder / DATA, progress)
    more = [*_classes(champion, joined, progress), *more]
    return joined, [*said, *more, *(f"{note[:1].upper()}{note[1:]}." for note in reading.notes)]


def recipe_again(champion: Bundle, dataset: Dataset) -> Recipe:
    """The champion's recipe for the new data: the same, but for a temperature that enough objects tell anew."""
    from estampa.train.calibrate import LEAST

    recipe = recipe_of(champion)
    if recipe.train.temperature is not None and len(dataset.rows("validation")) >= LEAST:
        return recipe.with_values({"train.temperature": None})
    return recipe


def _opened(champion: Bundle, source: Dataset | Path | str, label: str = "") -> Dataset:
    """The data, read as the champion's training files were; ContractError for another task or kind of input."""
    if isinstance(source, Dataset):
        found = source
    else:
        options = ReadOptions(record=champion.contract.read_record, label=label or recipe_of(champion).data.label)
        found = open_any(source, options)
    where = found.path if isinstance(source, Dataset) else source
    if found.task != champion.task:
        raise ContractError(
            "its labels are of another task than the champion's", where=where, allowed=champion.task, got=found.task,
            cure="Name the column of the answer with --label." if found.task == "unlabelled" else "",
        )  # fmt: skip
    if not champion.of_table:
        check_header(champion.pictures, found.header, where)
    elif not found.header.columns:
        raise ContractError("no table", where=where, allowed=champion.contract.words(), got="pictures alone")
    return found


def _counted(dataset: Dataset) -> dict[str, int]:
    """How many objects there are of each class that there is."""
    labels = np.asarray(dataset.labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(dataset.classes))
    return {name: int(n) for name, n in zip(dataset.classes, counts, strict=True) if n}


def _require_spelled(champion: Bundle, new: Dataset, source: object) -> None:
    """ContractError where a new class is one of the champion's but for case or blanks, or none is the champion's."""
    if champion.task != "classification":
        return
    there, plain = list(_counted(new)), {folded(name): name for name in champion.classes}
    strange = [name for name in there if name not in champion.classes]
    alike = {name: plain[key] for name in strange if (key := folded(name)) in plain}
    if alike or len(strange) == len(there):
        what = "spells classes otherwise than the champion" if alike else "holds none of the champion's classes"
        pairs = ", ".join(f"{theirs!r} as {ours!r}" for theirs, ours in alike.items())
        raise ContractError(
            what, where=source if not isinstance(source, Dataset) else new.path, allowed=", ".join(champion.classes),
            got=", ".join(there), cure=f"Write {pairs}." if pairs else "A challenger needs some class of its name.",
        )  # fmt: skip


def _classes(champion: Bundle, dataset: Dataset, progress: Progress) -> list[str]:
    """What the challenger will know that the champion does not, and the other way round."""
    if champion.task != "classification":
        return []
    counts = _counted(dataset)
    new = [f"{name} ({n:,} objects)" for name, n in counts.items() if name not in champion.classes]
    lost = [name for name in champion.classes if name not in counts]
    said = []
    if new:
        said.append(f"New classes, which the champion does not know: {', '.join(new)}.")
    if lost:
        said.append(f"No object of {', '.join(lost)}: the challenger will not know what the champion knows of that.")
        progress.warn(f"{said[-1]} --add old data that hold some.")
    return said


def _known(champion: Bundle, dataset: Dataset) -> np.ndarray:
    """(n,) bool: rows that the champion was tested on, by content; of its very data by id."""
    ids, hashes = held_of(champion, "test")
    if dataset.content_sha256 == champion.manifest.hashes.data:
        return np.isin(dataset.ids, ids)
    return np.isin(dataset.hashes, hashes)


def _require_unlearned(champion: Bundle, dataset: Dataset, tested: np.ndarray) -> None:
    """The parts that the data state must not let the challenger learn from what the champion was tested on."""
    learned = tested & np.isin(dataset.split, [PARTS.index("train"), PARTS.index("validation")])
    if learned.any():
        ids = np.asarray(dataset.ids)[learned]
        raise CheckFailed(
            f"{int(learned.sum()):,} rows of its train and validation parts are of the champion's test part",
            where=dataset.path, got=", ".join(map(str, ids[:_NAMED])) + (" ..." if len(ids) > _NAMED else ""),
            cure=f"Leave them out, or take the parts away: they are then dealt with these kept aside. Champion: "
            f"{champion.folder}.",
        )  # fmt: skip


def _old(champion: Bundle, old: Dataset, recipe: Recipe, progress: Progress) -> tuple[Dataset, list[str]]:
    """The old data with parts: the champion's own, where it was made from them; else those stated, or dealt."""
    if old.content_sha256 != champion.manifest.hashes.data:
        return _alone(champion, old, recipe, progress)
    split = np.zeros(old.n, np.uint8)
    for part, rows in parts_of(old, champion).items():
        split[rows] = PARTS.index(part)
    said = "The old data are those that the champion learned from: its parts are kept."
    return old.with_split(split, old.split_record or _record(recipe)), [said]


def _alone(champion: Bundle, data: Dataset, recipe: Recipe, progress: Progress) -> tuple[Dataset, list[str]]:
    """Data with their own parts, checked; or dealt by the recipe, with what the champion was tested on kept aside."""
    tested = _known(champion, data)
    if keeps_parts(data):
        _require_unlearned(champion, data, tested)
        return data, []
    split, record, notes = dealt(
        data, test=recipe.data.test, validation=recipe.data.validation, seed=recipe.train.seed,
        group=_group(data, recipe), progress=progress,
    )  # fmt: skip
    record = {**record, "retrained": True}
    for note in notes:
        progress.warn(note)
    if not tested.any():
        return data.with_split(split, record), []
    units = ties_of(data, data.groups, progress=progress).units
    aside = np.isin(units, units[tested]) & np.asarray(data.labelled())
    return data.with_split(np.where(aside, _TEST, split).astype(np.uint8), record), [_aside(int(aside.sum()))]


def _group(data: Dataset, recipe: Recipe) -> str | None:
    return recipe.data.group if recipe.data.group and data.groups is not None else None


def _record(recipe: Recipe) -> dict[str, object]:
    """How parts were made that the champion dealt itself and no file states."""
    return {
        "test": recipe.data.test, "validation": recipe.data.validation, "seed": recipe.train.seed, "grouped": False,
        "published": False,
    }  # fmt: skip


def _aside(count: int) -> str:
    return f"{count:,} objects are of the champion's test part, or tied to it: tested on, and not learned from."
