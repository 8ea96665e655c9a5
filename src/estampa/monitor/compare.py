"""Champion and challenger on the same objects, none of which either has learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import numpy as np

from estampa import measure
from estampa.bundle.store import Bundle
from estampa.errors import ContractError, InputError
from estampa.evaluate.evaluation import learned_from, opened, require_unseen, rows_of, truth_of
from estampa.evaluate.judge import Judgement, judge
from estampa.evaluate.operating import Terms
from estampa.measure import Interval
from estampa.measure.intervals import Statistic, paired
from estampa.measure.pairs import discordance
from estampa.monitor.compare_classes import all_classes, unshared
from estampa.monitor.compare_slices import changes, columns
from estampa.monitor.comparison import Comparison, Side, recommend
from estampa.monitor.cost import Cost, costs_of
from estampa.monitor.registry import open_model
from estampa.predict import predict
from estampa.predict.parts import held_of
from estampa.predict.source import open_source, open_table
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset

MARGIN = 0.01  #: a loss of the leading figure that counts as none
_TIMED = 256  #: objects that are timed
_NAMED = 5
_SEEN = "Leave such rows out with --only-unseen, give other data, or state --allow-seen to compare what they remember."


class Wanted(TypedDict, total=False):
    """Keywords of `compare`."""

    by: Sequence[str]
    margin: float
    how: tuple[int, int]
    only_unseen: bool
    label: str


@dataclass(frozen=True)
class _Question:
    """What both are asked: `classes` are the champion's, then those that the challenger alone knows."""

    task: str
    classes: tuple[str, ...]
    groups: np.ndarray | None
    how: tuple[int, int]


@dataclass(frozen=True)
class _Answers:
    """What one model says of m rows, classes in the question's order; `answered` (m,) bool."""

    output: np.ndarray
    predicted: np.ndarray
    answered: np.ndarray

    def at(self, rows: np.ndarray) -> _Answers:
        return _Answers(self.output[rows], self.predicted[rows], self.answered[rows])


def compare(
    champion: Bundle | Path | str,
    challenger: Bundle | Path | str,
    data: Dataset | Path | str,
    *,
    part: str = "",
    allow_seen: bool = False,
    progress: Progress = SILENT,
    **wanted: Unpack[Wanted],
) -> Comparison:
    """Compare two models on labelled objects that neither has learned from.

    Parameters
    ----------
    champion, challenger : run folders, bundles, or REGISTRY:NAME. Each answers by its own threshold.
    data : a Dataset or any source, read as each model's training files were.
    part : "train", "validation", "test", "all"; "" = the test part (of data that one of the models was made from, as
        that model remembers it; the challenger's before the champion's), or all rows where there is none.
    allow_seen : compare also on rows that one of them learned from, which otherwise raises CheckFailed.
    by : columns to slice by, as in `evaluate`; "auto" = snr, magnitude, ... where they are there, of pictures
        brightness, spread and missing pixels of each channel, of tables the columns that the champion reads. Slices by
        the true class are always there.
    margin : a loss of the leading figure that counts as none (of values: a share of the champion's).
    how : (resamples, seed) of the bootstrap.
    only_unseen : leave out the rows that either learned from, as where both dealt the same data otherwise.
    label : the column of the answer in a table, where it is not found.

    Of classes that one model alone knows, the other's answers are wrong and its probabilities 0: `unshared` of what is
    returned tells of them, and of the classes that both know.

    Raises ContractError for models of other tasks or kinds of input, or that share no class; InputError where there is
    nothing to judge; CheckFailed (exit 3), rows named, for a leak.
    """
    by, margin, how = wanted.get("by", ("auto",)), wanted.get("margin", MARGIN), wanted.get("how", (1000, 0))
    if not 0 <= margin < 1:
        raise InputError("a margin is a share", where="--margin", allowed="0 <= margin < 1", got=margin)
    first, second = open_model(champion), open_model(challenger)
    _require_comparable(first, second)
    sets = _both(data, first, second, wanted.get("label", ""), progress)
    where = str(data if isinstance(data, (str, Path)) else sets[0].path)
    rows, chosen = _rows(sets[0], part, first, second)
    if wanted.get("only_unseen", False):
        rows = _unseen((first, second), sets, rows, where, progress)
    for who, bundle, dataset in zip(("champion", "challenger"), (first, second), sets, strict=True):
        if not allow_seen:
            require_unseen(bundle, dataset, rows, progress, who=who, where=where, cure=_SEEN)
    return _compared((first, second), sets, rows, by, (where, chosen, margin, how), progress)


def _rows(dataset: Dataset, part: str, first: Bundle, second: Bundle) -> tuple[np.ndarray, str]:
    """The rows to compare on, and the part's name.

    Data that one of the models was made from may have come in another form, as with another order of classes: then all
    rows are among those that it remembers, and its test part is found by content.
    """
    found = rows_of(dataset, part, second if _made_from(second, dataset) else first)
    if part or found[1] != "all":
        return found
    for bundle in (second, first):
        known = {name: np.isin(dataset.hashes, held_of(bundle, name)[1]) for name in ("train", "validation", "test")}
        tested = np.flatnonzero(known["test"] & ~known["train"] & np.asarray(dataset.labelled()))
        if len(tested) and np.any(list(known.values()), axis=0).all():
            return tested, "test"
    return found


def _unseen(
    bundles: tuple[Bundle, Bundle], sets: tuple[Dataset, Dataset], rows: np.ndarray, where: str, progress: Progress
) -> np.ndarray:
    """The rows that neither learned from; InputError where there is none."""
    seen = np.any([learned_from(b, d, rows) for b, d in zip(bundles, sets, strict=True)], axis=0)
    if seen.all():
        raise InputError("one or the other model learned from all of it", where=where, cure="Give other data.")
    if seen.any():
        progress.say(
            f"left out, as one or the other model learned from them: {int(seen.sum()):,} of {len(rows):,} rows"
        )
    return np.asarray(rows[~seen])


def _compared(
    bundles: tuple[Bundle, Bundle],
    sets: tuple[Dataset, Dataset],
    rows: np.ndarray,
    by: Sequence[str],
    terms: tuple[str, str, float, tuple[int, int]],
    progress: Progress,
) -> Comparison:
    """Answers, figures and costs of two models on rows; `terms`: where, part, margin, how."""
    champion, data = bundles[0], sets[0]
    where, part, margin, how = terms
    classes = all_classes(*bundles)
    truth = truth_of(data, rows, classes)
    answers = [_answers(b, d, rows, classes, progress) for b, d in zip(bundles, sets, strict=True)]
    kept = np.flatnonzero(answers[0].answered & answers[1].answered)
    lost = [int((~a.answered).sum()) for a in answers]
    if not len(kept):
        raise InputError("there is no object that both models answer", where=where)
    if len(kept) < len(rows):
        progress.warn(
            f"left out, as they got no answer: {lost[0]:,} from the champion, {lost[1]:,} from the challenger"
        )
    rows, truth, answers = rows[kept], truth[kept], [a.at(kept) for a in answers]
    groups = None if data.groups is None else np.asarray(data.groups)[rows]
    question = _Question(champion.task, classes, groups, how)
    progress.say(f"comparing on {len(rows):,} objects (part {part}), {how[0]:,} shared resamples")
    judged = [_judged(truth, a, question) for a in answers]
    lone = unshared(
        (champion.classes, bundles[1].classes), classes, truth, (answers[0].predicted, answers[1].predicted),
        figure=judged[0].leading, groups=groups, how=how,
    )  # fmt: skip
    difference = _differences(truth, answers, question)
    if lone is not None and not all(one.n for one in lone.lone):
        difference.pop("macro_f1")  # one answer of a class that no object is of would add an F1 of 0 to the mean
    sliced = changes(
        columns(data, rows, champion, (classes, truth), by), truth, answers[0].predicted, answers[1].predicted,
        classes=len(classes), groups=groups, how=how,
    )  # fmt: skip
    sides = [
        Side(str(b.folder), b.hash, b.manifest.name, b.manifest.hashes.data, j, c, n)
        for b, j, c, n in zip(bundles, judged, _costs(bundles, sets, rows), lost, strict=True)
    ]
    return Comparison(
        len(rows), part, where, sides[0], sides[1], difference, discordance(*_right(truth, answers, champion.task)),
        sliced, recommend(judged[0], difference, sliced, margin, lone), margin, data, np.asarray(data.ids)[rows], truth,
        np.stack([a.predicted for a in answers], axis=1), lone,
    )  # fmt: skip


def _require_comparable(champion: Bundle, challenger: Bundle) -> None:
    """Two models that answer the same question; ContractError names both sides."""

    def refuse(what: str, allowed: object, got: object) -> ContractError:
        return ContractError(f"the challenger {what}", where=challenger.folder, allowed=allowed, got=got)

    if champion.hash == challenger.hash:
        raise InputError("champion and challenger are the same model", where=challenger.folder, got=champion.hash)
    if champion.task != challenger.task:
        raise refuse("is of another task", champion.task, challenger.task)
    if champion.of_table != challenger.of_table:
        raise refuse("takes other input", champion.contract.words(), challenger.contract.words())
    all_classes(champion, challenger)


def _made_from(bundle: Bundle, dataset: Dataset) -> bool:
    return dataset.content_sha256 == bundle.manifest.hashes.data


def _both(
    data: Dataset | Path | str, first: Bundle, second: Bundle, label: str, progress: Progress
) -> tuple[Dataset, Dataset]:
    """The data as each model reads them: one Dataset, or two of the same objects where files are read differently."""
    classes = all_classes(first, second)
    one = opened(data, first, progress, classes, label)
    if one.task != first.task:
        where = data if isinstance(data, (str, Path)) else one.path
        raise ContractError("the data's labels are of another task", where=where, allowed=first.task, got=one.task)
    same = first.contract.read_record == second.contract.read_record
    if same or not isinstance(data, (str, Path)) or one.path == Path(data):
        return one, one
    two = opened(data, second, progress, classes, label)
    if not np.array_equal(one.ids, two.ids):
        other = [i for i, j in zip(one.ids.tolist(), two.ids.tolist(), strict=False) if i != j][:_NAMED]
        raise ContractError(
            "the two models read other objects in it", where=data, allowed=f"{one.n:,} objects",
            got=f"{two.n:,} objects{': ' + ', '.join(other) if other else ''}",
            cure="Build a Dataset that both can read, and give that.",
        )  # fmt: skip
    return one, two


def _answers(
    bundle: Bundle, dataset: Dataset, rows: np.ndarray, classes: tuple[str, ...], progress: Progress
) -> _Answers:
    found = predict(bundle, dataset, part=rows, progress=progress)
    if found.probabilities is None:
        values = np.asarray(found.predicted, np.float64)
        return _Answers(values, values, np.isfinite(values))
    output = np.zeros((len(rows), len(classes)), found.probabilities.dtype)
    output[:, [classes.index(name) for name in bundle.classes]] = found.probabilities
    place = {name: c for c, name in enumerate(classes)}
    said = np.array([place.get(name, -1) for name in found.predicted.tolist()], np.int64)
    return _Answers(output, said, (said >= 0) & np.isfinite(output).all(axis=1))


def _judged(truth: np.ndarray, answers: _Answers, question: _Question) -> Judgement:
    terms = Terms(predicted=answers.predicted) if question.classes else Terms()
    return judge(
        truth, answers.output, task=question.task, classes=question.classes, groups=question.groups,
        resamples=question.how[0], seed=question.how[1], terms=terms,
    )  # fmt: skip


def _differences(truth: np.ndarray, answers: Sequence[_Answers], question: _Question) -> dict[str, Interval]:
    """Challenger minus champion: every figure, each class's under "recall[NAME]"."""

    def statistic(side: _Answers) -> Statistic:
        if question.task == "regression":
            return measure.Regression(truth, side.output)
        return measure.Classification(truth, side.output, len(question.classes), predicted=side.predicted)

    old, new = map(statistic, answers)
    found = paired(new, old, new.names, question.groups, resamples=question.how[0], seed=question.how[1])
    return {_named(name, question.classes): value for name, value in found.items() if np.isfinite(value.value)}


def _named(name: str, classes: Sequence[str]) -> str:
    """A figure with the class by name: "recall[1]" as "recall[galaxy]"."""
    kind, cut, number = name.partition("[")
    return f"{kind}[{classes[int(number[:-1])]}]" if cut else name


def _right(truth: np.ndarray, answers: Sequence[_Answers], task: str) -> tuple[np.ndarray, np.ndarray]:
    """Which answers are right; of values, which are strictly nearer than the other's."""
    if task == "classification":
        return answers[0].predicted == truth, answers[1].predicted == truth
    away = [np.abs(a.predicted - truth) for a in answers]
    return away[0] < away[1], away[1] < away[0]


def _costs(bundles: tuple[Bundle, Bundle], sets: tuple[Dataset, Dataset], rows: np.ndarray) -> list[Cost]:
    """Both timed on the same objects."""
    picked = rows[np.linspace(0, len(rows) - 1, min(_TIMED, len(rows))).astype(np.int64)]
    sides = []
    for bundle, dataset in zip(bundles, sets, strict=True):
        some = np.arange(len(picked))
        if bundle.of_table:
            values = open_table(dataset, bundle.table, picked).take_rows(some)
        else:
            values = open_source(dataset, bundle.pictures, picked).take(some)
        sides.append((bundle, values))
    return costs_of(sides)
