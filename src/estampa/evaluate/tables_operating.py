"""Working points and slices as tables and as lines for a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from estampa.evaluate.judge import Judgement, spelled, words
from estampa.evaluate.operating import Working
from estampa.evaluate.slices import Slices
from estampa.measure import Interval
from estampa.page import Table

_SHORT = {"fnr": "FNR", "fpr": "FPR", "purity": "purity", "completeness": "completeness"}


def short(name: str) -> str:
    """A figure's name as people write it: "FNR at FPR 0.01"."""
    if name.startswith("fnr_at_fpr_"):
        return f"FNR at FPR {name.removeprefix('fnr_at_fpr_')}"
    return _SHORT.get(name) or words(name)


def prior_words(prior: float) -> str:
    """A share as odds: "1:1000"."""
    return f"1:{(1 - prior) / prior:.6g}"


def lines(judgement: Judgement) -> list[str]:
    """What two classes come to at work, and the figures by columns, as lines for a terminal."""
    found: list[str] = []
    if judgement.working is not None:
        found += ["", *_working_lines(judgement.working)]
    for part in judgement.slices:
        found += ["", *_slice_lines(part), "  " + sentence(judgement, part)]
    return found


def sentence(judgement: Judgement, part: Slices) -> str:
    """Which slices of a column are worse than the whole."""
    return part.sentence(judgement.metrics[part.leading], words(part.leading))


def _working_lines(working: Working) -> list[str]:
    width = max([len(short(p.name)) for p in working.points] + [len("completeness")])
    out = [f"  positive class: {working.positive}"]
    for point in working.points:
        behind = f"threshold {point.threshold:.4g}, {point.false_positives:,} of {point.negatives:,} negatives"
        told = point.note if math.isnan(point.fnr.value) else behind + (f"; {point.note}" if point.note else "")
        out.append(f"  {short(point.name):<{width}}  {spelled(point.fnr, 4)}  {told}")
    for name, rate in working.rates.items():
        tail = f"  at a prior of {prior_words(working.prior)}" if name == "purity" and working.prior else ""
        out.append(f"  {short(name):<{width}}  {spelled(rate, 4)}{tail}")
    return out


def _slice_lines(part: Slices) -> list[str]:
    names = list(part.slices[0].metrics)
    longest = max([len(part.by), *(len(s.label) for s in part.slices)])
    head = f"  {part.by:<{longest}}  {'n':>9}  " + "  ".join(f"{short(name):<22}" for name in names)
    rows = [
        f"  {s.label:<{longest}}  {s.n:>9,}  " + "  ".join(f"{spelled(s.metrics[name]):<22}" for name in names)
        for s in part.slices
    ]
    return [line.rstrip() for line in (head, *rows)]


def cell(found: Interval) -> Interval | float | None:
    """An interval as a table's cell: a dash where undefined, the value alone where it has no interval."""
    if math.isnan(found.value):
        return None
    return found.value if math.isnan(found.low) else found


def points(working: Working, others: Mapping[str, Working] | None = None) -> Table:
    """Misses at each false-positive rate; with `others` (name -> theirs) beside it."""
    others = others or {}
    rows: list[list[Any]] = []
    for i, point in enumerate(working.points):
        threshold = point.threshold if math.isfinite(point.threshold) else None
        beside = [cell(other.points[i].fnr) for other in others.values()]
        rows.append(
            [f"{point.fpr:g}", cell(point.fnr), *beside, threshold, point.false_positives, point.negatives, point.note]
        )
    columns = ["FPR", "FNR", *(f"FNR, {name}" for name in others), "threshold", "false positives", "negatives", "note"]
    if not any(row[-1] for row in rows):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    caption = (
        f"Share of {working.positive!r} that is missed when the threshold keeps the share of negatives called "
        f"{working.positive!r} at or below FPR; the threshold is the smallest score that does, and each resample finds "
        "its own. False positives: the negatives that set it; below ten the figure is rough."
    )
    return Table(columns, rows, caption=caption, decimals={"threshold": 4, "FNR": 4} | {f"FNR, {o}": 4 for o in others})


def rates(working: Working) -> Table:
    """What the answers as given come to."""
    rows: list[list[Any]] = [[short(name), cell(found)] for name, found in working.rates.items()]
    caption = f"Of the answers as given{working.told()}."
    if working.prior is not None:
        caption += (
            f" Purity is the share of objects called {working.positive!r} that are, where one object in "
            f"{1 / working.prior:,.0f} is ({prior_words(working.prior)}): from the two rates, by Bayes's rule."
        )
    return Table(["rate", "value"], rows, caption=caption, decimals={"value": 4})


def slices(part: Slices) -> Table:
    """The figures by one column."""
    names = list(part.slices[0].metrics)
    rows = [[s.label, s.n, *(cell(s.metrics[name]) for name in names)] for s in part.slices]
    return Table(
        [part.by, "n", *(short(name) for name in names)],
        rows,
        caption="Each row judges the objects of that slice alone; beside each value its 95 % interval.",
    )
