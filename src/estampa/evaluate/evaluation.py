"""`estampa.evaluate`: a run judged again, scored through its bundle, on data that it has not learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from estampa.errors import CheckFailed, ContractError, InputError
from estampa.evaluate.judge import Judgement, judge
from estampa.evaluate.require import parse
from estampa.evaluate.require import require as held
from estampa.evaluate.terms import Asked, Wanted, columns_of, terms_of_bundle
from estampa.predict.parts import held_of, in_class_order, parts_of
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.data.dataset import Dataset

_MOST_NAMED = 5
_PARTS = ("train", "validation", "test")


def evaluate(
    run: Path | str | Bundle,
    data: Dataset | Path | str | None = None,
    *,
    part: str = "",
    require: Sequence[str] = (),
    allow_seen: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = SILENT,
    **wanted: Unpack[Wanted],
) -> Judgement:
    """Judge a run on data that it has not seen.

    Parameters
    ----------
    run : a run folder, a bundle's folder, or an open Bundle.
    data : a Dataset, its file, or any source, which is read as the training files were; None = the judgement that was
        made after training and is kept in the bundle.
    part : "train", "validation", "test" or "all"; "" = the test part, or all rows where there is none.
    require : gates, as "balanced_accuracy.low>=0.95"; CheckFailed (exit 3) names those that do not hold.
    allow_seen : judge also on rows that the model learned from, which otherwise raises CheckFailed.
    resamples, seed : of the bootstrap.
    wanted : aim, threshold, positive, by, prior: see `terms.Asked`. An aim's threshold is chosen on the validation part
        that the bundle keeps; without aim and threshold the bundle's own counts, as it does in `predict`.
    """
    gates, asked = [parse(text) for text in require], Asked(**wanted)
    judgement, _ = judge_run(
        run, data, part=part, allow_seen=allow_seen, resamples=resamples, seed=seed, asked=asked, progress=progress
    )
    for line in held(judgement, gates):
        progress.say(f"holds: {line}")
    return judgement


def opened(
    source: Dataset | Path | str,
    bundle: Bundle | None,
    progress: Progress,
    classes: Sequence[str] = (),
    label: str = "",
) -> Dataset:
    """The Dataset, or the source read as the bundle's training files were, with its class order, or `classes`; `label`
    names the column of the answer.
    """
    from estampa.data.dataset import Dataset
    from estampa.data.read import ReadOptions, open_any

    if isinstance(source, Dataset):
        return source
    if bundle is None:
        return open_any(source, ReadOptions(), progress)
    known = tuple(classes) or bundle.classes
    return open_any(source, ReadOptions(record=bundle.contract.read_record, classes=known, label=label), progress)


def rows_of(dataset: Dataset, part: str = "", bundle: Bundle | None = None) -> tuple[np.ndarray, str]:
    """Labelled rows to judge, and the part's name: the part asked for, else the test part, else all rows.

    Of the very data that the bundle was made from, the parts are those of its training, which it remembers; of other
    data, those that the file states. Raises InputError when there is no labelled row.
    """
    labelled = np.asarray(dataset.labelled())
    if part not in (*_PARTS, "", "all"):
        raise InputError(f"there is no part {part!r}", where="--part", allowed=", ".join((*_PARTS, "all")))
    parts = parts_of(dataset, bundle)
    chosen = part or ("test" if len(parts["test"]) else "all")
    rows = np.arange(dataset.n) if chosen == "all" else parts[chosen]
    rows = rows[labelled[rows]]
    if not len(rows):
        raise InputError(
            "there is nothing to judge",
            where=dataset.path,
            got=f"no labelled row in part {chosen!r}",
            cure="Choose another --part, or --part all.",
        )
    return rows, chosen


def require_unseen(
    bundle: Bundle,
    dataset: Dataset,
    rows: np.ndarray,
    progress: Progress = SILENT,
    *,
    who: str = "model",
    where: object = "",
    cure: str = "Judge other data, or state --part train or --allow-seen to see how well it remembers.",
) -> None:
    """Raise CheckFailed (exit 3), rows named, when the model learned from some of `rows`.

    `who`, `where` and `cure` are how the message calls the model and the data, and what it advises.


    The same object is recognised by its content; within the very Dataset that the model was made from also by its id,
    and there a test row that merely equals a training row is warned of, since `estampa check` has judged that split.
    Rows of the validation part are warned of: they helped to choose the model.
    """
    ids, hashes = np.asarray(dataset.ids)[rows], np.asarray(dataset.hashes)[rows]
    own = dataset.content_sha256 == bundle.manifest.hashes.data
    equal, seen = np.isin(hashes, held_of(bundle, "train")[1]), learned_from(bundle, dataset, rows)
    if seen.any():
        names = ", ".join(map(str, ids[seen][:_MOST_NAMED]))
        raise CheckFailed(
            f"the {who} learned from {int(seen.sum()):,} of the {len(rows):,} rows to be judged",
            where=where or dataset.path,
            got=f"{names}{' ...' if seen.sum() > _MOST_NAMED else ''}",
            cure=cure,
        )
    if own and equal.any():
        progress.warn(f"{int(equal.sum()):,} judged rows equal a training row: their answers may be remembered")
    chosen_by = np.isin(hashes, held_of(bundle, "validation")[1])
    if chosen_by.any():
        progress.warn(f"{int(chosen_by.sum()):,} judged rows helped to choose the model: the score is a little high")


def learned_from(bundle: Bundle, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Which of `rows` (m,) bool the model learned from: by content, and within its very own Dataset by id."""
    ids, hashes = held_of(bundle, "train")
    own = dataset.content_sha256 == bundle.manifest.hashes.data
    found: np.ndarray = np.isin(np.asarray(dataset.ids)[rows], ids) if own else np.isin(dataset.hashes[rows], hashes)
    return found


def validated(bundle: Bundle, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Which of `rows` (m,) bool are of the bundle's validation part, whatever file they come from.

    By content; within the very Dataset that the model was made from by id, as `require_unseen`.
    """
    ids, hashes = held_of(bundle, "validation")
    own = dataset.content_sha256 == bundle.manifest.hashes.data
    found: np.ndarray = np.isin(np.asarray(dataset.ids)[rows], ids) if own else np.isin(dataset.hashes[rows], hashes)
    return found


def truth_of(dataset: Dataset, rows: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels of the rows in the model's class order; ContractError, naming both sides, for a class that it lacks."""
    labels: np.ndarray = np.asarray(dataset.labels)[rows]
    if dataset.task == "regression":
        return labels
    unknown = [name for c, name in enumerate(dataset.classes) if name not in classes and (labels == c).any()]
    if unknown:
        raise ContractError(
            f"the data hold classes that the model does not know: {', '.join(unknown[:8])}",
            where=dataset.path,
            allowed=", ".join(classes),
            got=", ".join(dataset.classes),
        )
    return in_class_order(labels, dataset.classes, classes)


def judge_run(
    run: Path | str | Bundle,
    data: Dataset | Path | str | None,
    *,
    part: str = "",
    allow_seen: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    asked: Asked | None = None,
    progress: Progress = SILENT,
) -> tuple[Judgement, str]:
    """As `evaluate`, without gates; returns the judgement and the name of the part that was judged."""
    from estampa.bundle.store import Bundle
    from estampa.predict import predict

    bundle, asked = run if isinstance(run, Bundle) else Bundle.open(run), asked or Asked()
    if data is None:
        if asked.beyond_data():
            raise InputError(
                f"{', '.join(asked.beyond_data())} can only be had from data", where="evaluate",
                cure="Give the data too.",
            )  # fmt: skip
        return _kept(bundle, part, progress)
    dataset = opened(data, bundle, progress)
    if dataset.task != bundle.task:
        raise ContractError(
            "the data's labels are of another task", where=dataset.path, allowed=bundle.task, got=dataset.task
        )
    rows, chosen = rows_of(dataset, part, bundle)
    if left := _left_out(dataset, rows):
        progress.say(f"{len(rows):,} of {dataset.n:,} rows are judged (part {chosen}); left out: {left}")
    if chosen != "train" and not allow_seen:
        require_unseen(bundle, dataset, rows, progress)
    if asked.aim and (known := validated(bundle, dataset, rows)).any():
        raise InputError(
            f"the threshold for {asked.aim} is chosen on the model's validation part, some of which is to be judged",
            where=dataset.path, got=f"{int(known.sum()):,} of {len(rows):,} rows",
            cure="Judge other objects, or state --threshold.",
        )  # fmt: skip
    terms, said = terms_of_bundle(bundle, asked)
    terms = replace(terms, by=columns_of(dataset, rows, asked.by))
    if said:
        progress.say(said)
    truth = truth_of(dataset, rows, bundle.classes)
    found = predict(bundle, dataset, part=rows, progress=progress)
    output = found.predicted if found.probabilities is None else found.probabilities
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[rows]
    judgement = judge(
        truth, output, task=bundle.task, classes=bundle.classes, groups=groups, resamples=resamples, seed=seed,
        terms=terms,
    )  # fmt: skip
    return judgement, chosen


def _left_out(dataset: Dataset, rows: np.ndarray) -> str:
    """What is not among the judged `rows`, in words; "" when all are."""
    known = int(np.asarray(dataset.labelled()).sum())
    found = {"without a label": dataset.n - known, "of other parts": known - len(rows)}
    return ", ".join(f"{n:,} {what}" for what, n in found.items() if n)


def _kept(bundle: Bundle, part: str, progress: Progress) -> tuple[Judgement, str]:
    """The judgement that was made after training; InputError when there is none or another part is asked for."""
    if not bundle.manifest.metrics:
        raise InputError("this model was never judged", where=bundle.folder, cure="Give data to judge it on.")
    if part:
        raise InputError(f"the part {part!r} can only be taken from data", where="evaluate", cure="Give the data too.")
    progress.say("the judgement made after training; give data to judge it again")
    return Judgement.from_json(bundle.manifest.metrics), str(bundle.manifest.metrics.get("part") or "test")
