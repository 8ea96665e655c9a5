"""All that a report is made of, and the parts of it that are measured here."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import measure
from estampa.errors import InputError
from estampa.evaluate.judge import Judgement, judge
from estampa.measure import Interval
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset
    from estampa.evaluate.baselines import Baseline
    from estampa.evaluate.confidence import Abstention, Calibration
    from estampa.evaluate.crossval import CrossValidation
    from estampa.evaluate.table_evidence import TableEvidence
    from estampa.explain.brief import Brief

#: Objects on which consistency under mirrors and turns is measured; and where answers are means over these views, so
#: that it holds by construction and only a fault would break it.
MOST_VIEWED, FEW_VIEWED = 2_000, 64
Answer = Callable[[np.ndarray], np.ndarray]


def data_name(dataset: Dataset) -> str:
    """What people call the data: the name it gave itself, else that of its first file, else that of the Dataset."""
    origin = dataset.header.origin
    paths = origin.get("paths")
    first = Path(str(paths[0])).stem if isinstance(paths, (list, tuple)) and paths else ""
    return str(origin.get("name") or first or dataset.path.stem)


@dataclass(frozen=True)
class Consistency:
    """Whether answers stay when the declared symmetry is applied to the picture.

    `same`: share of objects whose class stays under every view (NaN for regression). `shift`: mean over objects and
    views of half the summed absolute change of the probabilities, or of the absolute change of the value.
    """

    symmetry: str
    n: int
    views: int
    same: Interval
    shift: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "symmetry": self.symmetry,
            "n": self.n,
            "views": self.views,
            "same": self.same.to_json(),
            "shift": self.shift.to_json(),
        }


@dataclass
class Evidence:
    """What the report tells. Only the first six are needed; a part that is None or empty is left out.

    Attributes
    ----------
    name : what the model is called, as the recipe's name.
    dataset : where the judged objects' pictures, ids and groups are.
    rows : (n,) row numbers of the judged objects.
    output : (n, k) probabilities, or (n,) values, in the order of `rows`.
    judgement : of `output`.
    counts : objects in each part that was used: {"train": ..., "validation": ..., "test": ...}.
    part : which part is judged.
    baselines : on the same rows.
    history, kept_epoch, monitor : one record an epoch, the epoch whose weights were kept, the metric that chose it.
    decisions, warnings : what was inferred and why; what weakens the result.
    layers : records or objects with name, kind, shape, parameters; `parameters` counts the trainable ones.
    recipe : the complete recipe as TOML.
    consistency, crossval, calibration, abstention : see there.
    maps : of some right and wrong answers, made through the bundle.
    table : what is told of a model of a table, or of its fusion with a net.
    twins : (n,) bool over `rows`: the object has a near twin in the training part.
    seconds : stage -> seconds. `peak_memory` in bytes.
    machine : `machine.describe()`.
    command : how to repeat it.
    hashes : what -> hash (data, recipe, model).
    citations : of the data and the method, beyond those that the report adds itself.
    """

    name: str
    dataset: Dataset
    rows: np.ndarray
    output: np.ndarray
    judgement: Judgement
    counts: Mapping[str, int]
    part: str = "test"
    baselines: Sequence[Baseline] = ()
    history: Sequence[Mapping[str, float]] = ()
    kept_epoch: int = 0
    monitor: str = ""
    stopped: str = ""
    decisions: Sequence[str] = ()
    warnings: Sequence[str] = ()
    layers: Sequence[Any] = ()
    parameters: int | None = None
    recipe: str = ""
    about: str = ""
    consistency: Consistency | None = None
    crossval: CrossValidation | None = None
    calibration: Calibration | None = None
    abstention: Abstention | None = None
    maps: Brief | None = None
    table: TableEvidence | None = None
    twins: np.ndarray | None = None
    trials: Sequence[Mapping[str, Any]] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory: int | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    hashes: Mapping[str, str] = field(default_factory=dict)
    citations: Sequence[str] = ()
    date: str = ""

    @property
    def truth(self) -> np.ndarray:
        """(n,) labels of the judged objects."""
        labels: np.ndarray = np.asarray(self.dataset.labels)[self.rows]
        return labels

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) groups of the judged objects, or None."""
        return None if self.dataset.groups is None else np.asarray(self.dataset.groups)[self.rows]

    @property
    def data_name(self) -> str:
        """What people call the data."""
        return data_name(self.dataset)

    def seen(self) -> str:
        """What the judged objects were to the model, as the end of "90 test objects ..."."""
        if self.part == "train":
            return "learned from"
        if self.part != "validation":
            return "not seen in training"
        train = tomllib.loads(self.recipe).get("train", {})
        if self.table is not None and self.table.method:
            chosen = ["the method"] if self.table.choice else []
        else:
            chosen = ["the search's values"] if self.trials else []
            chosen += ["the kept epoch"] if train.get("keep") == "best" or train.get("patience") else []
        chosen += ["the temperature"] if self.calibration is not None else []
        chosen += ["the threshold"] if self.decision is not None else []
        withheld = self.abstention is not None and self.abstention.threshold is not None
        chosen += ["the confidence to answer from"] if withheld else []
        return f"not learned from, but they chose {' and '.join(chosen)}" if chosen else "not seen in training"

    def calibrated_on(self) -> str:
        """Which objects the temperature was found on, as the end of "1,000 validation objects"."""
        folds = self.calibration is not None and self.calibration.n > self.counts.get("validation", 0)
        return "held-out objects of the folds and of the validation part" if folds else "validation objects"

    @property
    def decision(self) -> float | None:
        """Of two classes the probability from which the second is answered; None = the more probable one is."""
        return self.judgement.working.threshold if self.judgement.working else None

    @property
    def predicted(self) -> np.ndarray:
        """(n,) class numbers answered."""
        return measure.decide(self.output, self.decision) if np.ndim(self.output) == 2 else np.asarray(self.output)

    def leads(self) -> dict[str, Interval]:
        """Leading metric of the model minus that of each baseline, paired over the same resamples."""
        name, own = self.judgement.leading, self.judgement
        answers = self.output if own.task == "regression" else self.predicted  # the leading metric is of these
        found = {}
        for other in self.baselines:
            pair = measure.paired_difference(
                [name],
                self.truth,
                answers,
                other.output,
                self.groups,
                classes=len(own.classes) or None,
                resamples=own.resamples,
                seed=own.seed,
            )
            found[other.name] = pair[name]
        return found

    def apart(self) -> Judgement | None:
        """The judgement without the objects that have a near twin in the training part; None when there are none."""
        if self.twins is None or not self.twins.any() or self.twins.all():
            return None
        kept = ~self.twins
        own = self.judgement
        groups = None if self.groups is None else self.groups[kept]
        return judge(
            self.truth[kept],
            self.output[kept],
            task=own.task,
            classes=own.classes,
            groups=groups,
            resamples=own.resamples,
            seed=own.seed,
            terms=own.working.terms() if own.working else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The run's metrics.json: the judgement, and beside it what `estampa runs` lists."""
        found: dict[str, Any] = self.judgement.to_json()
        apart = self.apart()
        found |= {
            "part": self.part,
            "recipe": self.name,
            "data": {
                "name": self.data_name,
                "sha256": self.dataset.content_sha256,
                "counts": dict(self.counts),
            },
            "parameters": self.parameters,
            "kept_epoch": self.kept_epoch,
            "seconds": dict(self.seconds),
            "peak_memory": self.peak_memory,
            "date": self.date,
            "baselines": [b.to_json() for b in self.baselines],
            "without_near_twins": None if apart is None else apart.to_json(),
            "consistency": None if self.consistency is None else self.consistency.to_json(),
            "crossval": None if self.crossval is None else self.crossval.to_json(),
            "calibration": None if self.calibration is None else self.calibration.to_json(),
            "abstention": None if self.abstention is None else self.abstention.to_json(),
            "table": None if self.table is None else self.table.to_json(self.judgement.classes),
        }
        return found


def views(images: np.ndarray, symmetry: str) -> list[tuple[np.ndarray, bool]]:
    """The other views of (n, h, w, c) images under "hflip" (1) or "d4" (7: turns and mirrors of the square).

    With each, whether it is a mirror image.

    A picture that is not square has three other views under "d4": the two mirrors and the half turn.
    """
    mirrored = images[:, :, ::-1]
    if symmetry == "none":
        return []
    if symmetry == "hflip":
        return [(mirrored, True)]
    if symmetry != "d4":
        raise InputError(f"unknown symmetry {symmetry!r}", allowed="none, hflip, d4")
    if images.shape[1] != images.shape[2]:
        return [(mirrored, True), (images[:, ::-1], True), (images[:, ::-1, ::-1], False)]
    turned = [(np.rot90(images, turns, axes=(1, 2)), False) for turns in (1, 2, 3)]
    return [*turned, *((np.rot90(mirrored, turns, axes=(1, 2)), True) for turns in range(4))]


def consistency(
    answer: Answer,
    dataset: Dataset,
    rows: np.ndarray,
    symmetry: str,
    *,
    exchange: np.ndarray | None = None,
    most: int = MOST_VIEWED,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Consistency | None:
    """Ask again under every view of the declared symmetry, on at most `most` of `rows` drawn with `seed`.

    `answer` takes stored images (m, h, w, c) and gives (m, k) probabilities or (m,) values. None without a symmetry.
    `exchange` (k,): the class that each becomes in the mirror; None = itself (see prepare.mirror).
    """
    if symmetry in ("none", "auto") or not len(rows):
        return None
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(rows, most, replace=False)) if len(rows) > most else rows
    same, shift, count = [], [], 0
    progress.start(f"consistency under {symmetry}", len(chosen), "objects")
    for _, images in dataset.blocks(chosen, 512):
        plain = np.asarray(answer(images))
        others = []
        for view, mirrored in views(images, symmetry):
            other = np.asarray(answer(np.ascontiguousarray(view)))
            others.append(other[:, exchange] if mirrored and exchange is not None and other.ndim == 2 else other)
        count = len(others)
        if plain.ndim == 2:
            same.append(np.all([o.argmax(axis=1) == plain.argmax(axis=1) for o in others], axis=0))
            shift.append(np.mean([np.abs(o - plain).sum(axis=1) / 2 for o in others], axis=0))
        else:
            shift.append(np.mean([np.abs(o - plain) for o in others], axis=0))
        progress.advance(len(images))
    progress.finish()
    moved = np.concatenate(shift)
    held = measure.Interval(np.nan, np.nan, np.nan)
    if same:
        stays = np.concatenate(same).astype(np.int64)
        held = measure.intervals(["accuracy"], np.ones(len(stays), np.int64), stays, seed=seed)["accuracy"]
    mean = measure.intervals(["mae"], np.zeros(len(moved)), moved, seed=seed)["mae"]
    return Consistency(symmetry, len(chosen), count, held, mean)


def worst_mistakes(evidence: Evidence, most: int = 24) -> np.ndarray:
    """Places in `evidence.rows` of the worst mistakes: least probability of the truth, or largest error, first."""
    truth, output = evidence.truth, np.asarray(evidence.output, float)
    if evidence.judgement.task == "regression":
        return np.argsort(-np.abs(output.reshape(len(truth), -1)[:, 0] - truth), kind="stable")[:most]
    truth = truth.astype(np.int64)
    wrong = np.flatnonzero(evidence.predicted != truth)
    own = output[wrong, truth[wrong]]
    margin = own - output[wrong].max(axis=1)
    return wrong[np.lexsort((margin, own))][:most]
