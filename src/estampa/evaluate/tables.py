"""A judgement's tables, for the report, a notebook, CSV and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from estampa import measure
from estampa.evaluate.judge import Judgement, words
from estampa.measure import Interval
from estampa.page import Table

if TYPE_CHECKING:
    from estampa.evaluate.baselines import Baseline
    from estampa.evaluate.crossval import CrossValidation

_HOW = "Beside each value its 95 % interval: bootstrap over {over}, Wilson where a share is exactly 0 or 1."


#: Of even and of uneven classes, what stands first when methods are compared.
_ABREAST = 3  #: metrics with intervals that fit beside one another on a page
_FIRST = {False: ("accuracy", "balanced_accuracy"), True: ("balanced_accuracy", "macro_f1", "accuracy")}


def _over(judgement: Judgement) -> str:
    return f"{judgement.groups:,} groups" if judgement.groups else "objects"


def _direction(name: str) -> Literal["max", "min"]:
    return "max" if measure.larger_is_better(name) else "min"


def _cell(found: Interval) -> Interval | float | None:
    """An interval as a table's cell: a dash where undefined, the value alone where it has no interval."""
    if math.isnan(found.value):
        return None
    return found.value if math.isnan(found.low) else found


def metrics(judgement: Judgement) -> Table:
    """Every metric of one judgement, a row each."""
    rows = [
        [words(name), _cell(found), "larger" if measure.larger_is_better(name) else "smaller"]
        for name, found in judgement.metrics.items()
    ]
    caption = f"{judgement.n:,} objects. " + _HOW.format(over=_over(judgement))
    return Table(["metric", "value", "better"], rows, caption=caption)


def versus(
    name: str, judgement: Judgement, baselines: Sequence[Baseline], leads: dict[str, Interval], seconds: float | None
) -> Table:
    """The model against the baselines on the same objects.

    `leads` holds, by baseline, the model's leading metric minus the baseline's, from resamples that both share.
    """
    shown = [
        m
        for m in (*_FIRST[judgement.uneven], "log_loss", "mse", "mae")
        if all(m in one.metrics for one in [judgement, *(b.judgement for b in baselines)])
    ][:_ABREAST]
    columns = ["method", words(shown[0]), "lead", *(words(m) for m in shown[1:]), "seconds"]

    def row(title: str, found: Judgement, lead: Interval | None, spent: float | None) -> list[Any]:
        first, *others = (_cell(found.metrics[m]) for m in shown)
        return [title, first, lead, *others, spent]

    rows = [row(name, judgement, None, seconds)]
    rows += [row(b.name, b.judgement, leads.get(b.name), b.seconds) for b in baselines]
    sign = "" if measure.larger_is_better(judgement.leading) else " (negative is better)"
    caption = (
        f"The same {judgement.n:,} objects for all. Lead: {words(judgement.leading)} of {name} minus that of the "
        f"row{sign}, from resamples that both share; where its interval leaves out 0, the difference is beyond chance. "
        "Seconds: training and scoring."
    )
    by_note = {b.note: [o.name for o in baselines if o.note == b.note] for b in baselines if b.note}
    notes = [f"{' and '.join(names).capitalize()}: {note}." for note, names in by_note.items()]
    return Table(
        columns,
        rows,
        caption=" ".join([caption, *notes]),
        best={words(m): _direction(m) for m in shown},
        decimals={"seconds": 1},
    )


def per_class(judgement: Judgement, wanted: Sequence[str] = measure.PER_CLASS) -> Table:
    """Precision, recall, F1 and the areas of each class, or those `wanted`, in declared order."""
    kinds = [k for k in wanted if judgement.per_class and k in judgement.per_class[0]]
    rows = [[r["class"], r["n"], *(_cell(r[k]) for k in kinds)] for r in judgement.per_class]
    return Table(
        ["class", "n", *(words(k) for k in kinds)],
        rows,
        caption="Each class against the rest, in declared order; n is how often it occurs in the truth. "
        + _HOW.format(over=_over(judgement)),
        drawn=words("recall") if "recall" in kinds else "",
    )


def confusion(judgement: Judgement) -> Table:
    """The confusion matrix as a table of counts."""
    assert judgement.confusion is not None
    rows = [[name, *(int(v) for v in row)] for name, row in zip(judgement.classes, judgement.confusion, strict=True)]
    return Table(["truth", *(f"as {c}" for c in judgement.classes)], rows, caption="Counts; rows are truth.")


def twins(every: Judgement, apart: Judgement) -> Table:
    """The score with and without the test objects that have a near twin in the training part."""
    kept = [m for m in every.metrics if m in apart.metrics]
    rows: list[list[Any]] = [
        ["all objects", every.n, *(_cell(every.metrics[m]) for m in kept[:3])],
        ["without near twins", apart.n, *(_cell(apart.metrics[m]) for m in kept[:3])],
    ]
    return Table(
        ["judged on", "n", *(words(m) for m in kept[:3])],
        rows,
        caption=f"Judged objects that look nearly the same as one that was learned from: {every.n - apart.n:,}. "
        "A model that only remembers loses in the second row.",
    )


def folds(found: CrossValidation) -> Table:
    """One row a fold, then all folds pooled."""
    names = list(found.judgement.metrics)[:4]
    rows: list[list[Any]] = [
        [f"{r['repeat'] + 1}.{r['fold'] + 1}", r["n"], *(r["metrics"][m] for m in names), r["seconds"]]
        for r in found.per_fold
    ]
    rows.append(["pooled", found.judgement.n, *(_cell(found.judgement.metrics[m]) for m in names), found.seconds])
    return Table(
        ["fold", "n", *(words(m) for m in names), "seconds"],
        rows,
        caption="Repeat and fold. Everything is refitted in each fold, the preparation included; the last row judges "
        "all answers to held-out objects together.",
        decimals={"seconds": 1},
    )
