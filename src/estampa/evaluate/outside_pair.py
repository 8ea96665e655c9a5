"""Answers from files at a chosen threshold, alone or against other answers to the same objects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from estampa import measure
from estampa.errors import InputError
from estampa.evaluate.judge import Judgement, spelled, words
from estampa.evaluate.operating import paired, positive_index
from estampa.evaluate.outside import Files, Foreign, read_files
from estampa.evaluate.tables_operating import short
from estampa.evaluate.terms import Asked, chosen_decision
from estampa.measure import Interval
from estampa.progress import SILENT, Progress

_OF_LABELS = ("accuracy", "balanced_accuracy", "macro_f1")
_OF_PROBABILITIES = ("log_loss", "brier", "roc_auc", "pr_auc")


@dataclass(frozen=True)
class Against:
    """Other answers to the same objects: their judgement, and ours minus theirs from resamples that both share."""

    name: str
    judgement: Judgement
    difference: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        difference = {name: found.to_json() for name, found in self.difference.items()}
        return {"name": self.name, **self.judgement.to_json(), "difference": difference}

    def lines(self) -> list[str]:
        """For a terminal."""
        width = max(len(_words(name)) for name in self.difference)
        head = ["", f"minus {self.name} on the same objects (paired; 0 outside the interval = beyond chance)"]
        theirs = self.judgement.numbers()
        return head + [
            f"  {_words(name):<{width}}  {spelled(found, 4)}  (theirs {theirs[name].value:.4f})"
            for name, found in self.difference.items()
        ]


def _words(name: str) -> str:
    return short(name) if name.startswith("fnr_at") else words(name) if len(name) > 3 else name.upper()


def judge_pair(
    files: Files,
    other: Files | None,
    asked: Asked,
    chosen_on: Path | None = None,
    how: tuple[int, int] = (1000, 0),
    progress: Progress = SILENT,
) -> tuple[Judgement, Against | None]:
    """Judge answers in files; with `other` also those, and the difference.

    An aim's threshold is chosen on `chosen_on`: a file of the same columns with the truth in a column `label`, of
    objects that are not judged. `how` is (resamples, seed). Raises InputError as `read_files`, for an aim without such
    a file, for one that holds judged objects, for two sides that do not answer the same objects and classes.
    """
    ours = read_files(files, asked.by)
    judgement, decision = _judged(ours, files, asked, chosen_on, how, progress)
    if other is None:
        return judgement, None
    theirs = read_files(other)
    if theirs.ids != ours.ids or theirs.classes != ours.classes or theirs.task != ours.task:
        raise InputError(
            "the two sides answer other objects or classes", where=other.predictions,
            allowed=f"{len(ours.ids):,} objects, {', '.join(ours.classes) or ours.task}",
            got=f"{len(theirs.ids):,} objects, {', '.join(theirs.classes) or theirs.task}",
        )  # fmt: skip
    beside, own = _judged(theirs, other, replace(asked, by=()), chosen_on, how, progress)
    difference = _difference(ours, theirs, (decision, own), asked, how)
    return judgement, Against(other.score or other.predictions.name, beside, difference)


def _judged(
    foreign: Foreign, files: Files, asked: Asked, chosen_on: Path | None, how: tuple[int, int], progress: Progress
) -> tuple[Judgement, float | None]:
    decision = asked.threshold
    if asked.aim:
        if chosen_on is None:
            raise InputError(
                f"no objects to choose a threshold for {asked.aim} on: it is never chosen on those that are judged",
                where="--aim", cure="Give --chosen-on FILE with answers to other objects, or state --threshold.",
            )  # fmt: skip
        apart = read_files(replace(files, predictions=chosen_on, labels=None, classes=foreign.classes, group=""))
        same = set(apart.ids) & set(foreign.ids) if not (apart.numbered or foreign.numbered) else set()
        if same or (apart.truth.shape == foreign.truth.shape and np.array_equal(apart.output, foreign.output)):
            raise InputError(
                "holds objects that are judged", where=chosen_on, got=", ".join(sorted(same)[:5]),
                cure="A threshold is chosen on other objects.",
            )  # fmt: skip
        decision, said = chosen_decision(asked, apart.classes, apart.truth, apart.output, chosen_on.name)
        progress.say(said)
    return foreign.judged(asked.terms(decision), *how), decision


def _difference(
    ours: Foreign,
    theirs: Foreign,
    decisions: tuple[float | None, float | None],
    asked: Asked,
    how: tuple[int, int],
) -> dict[str, Interval]:
    resamples, seed = how
    shared: dict[str, Any] = {"resamples": resamples, "seed": seed}
    if ours.task == "regression":
        names = measure.METRICS["regression"]
        return measure.paired_difference(names, ours.truth, ours.output, theirs.output, ours.groups, **shared)
    shared["classes"] = len(ours.classes)
    said = ours.answers(decisions[0]), theirs.answers(decisions[1])
    found = measure.paired_difference(_OF_LABELS, ours.truth, *said, ours.groups, **shared)
    both = ours.output.ndim == theirs.output.ndim == 2
    if both:
        found |= measure.paired_difference(
            _OF_PROBABILITIES, ours.truth, ours.output, theirs.output, ours.groups, **shared
        )
    if len(ours.classes) == 2:
        terms = asked.terms()
        sides = [np.asarray(s) for s in (ours.output, theirs.output)] if both else list(said)
        place = positive_index(ours.classes, asked.positive)
        pairs = list(zip(sides, said, strict=True))
        found |= paired(ours.truth, pairs[0], pairs[1], place, terms.prior, ours.groups, how)
    return {name: value for name, value in found.items() if not np.isnan(value.value)}
