"""Sections of a report: two classes at work, and the figures by columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from estampa import page
from estampa.evaluate import plots_operating, tables_operating
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.judge import spelled
from estampa.evaluate.operating import Working, scored
from estampa.evaluate.tables_operating import prior_words, sentence
from estampa.page import Kept


def operating(evidence: Evidence, kept: Kept) -> list[Any]:
    """Misses at stated false-positive rates, ROC and DET curves, and purity at the prior; nothing but two classes."""
    working, output = evidence.judgement.working, np.asarray(evidence.output)
    if working is None or output.ndim != 2:
        return []
    sides = scored(evidence.truth, output, list(evidence.judgement.classes).index(working.positive))
    others = {
        b.name: b.judgement.working for b in evidence.baselines if b.judgement.working and b.judgement.working.points
    }
    blocks: list[Any] = [page.Text(_told(working))]
    blocks.append(kept.table("operating", tables_operating.points(working, others)))
    if sides.positives and sides.negatives:
        drawn = plots_operating.rates(sides, working, evidence.groups, evidence.judgement.seed)
        caption = (
            f"Left the share of {working.positive!r} that is found, right the share that is missed (both axes "
            f"logarithmic), against the share of the others called {working.positive!r}; bands and whiskers are 95 % "
            f"intervals, dots the stated rates, the diamond the answers as given, grey chance. {_seen(working)}"
        )
        blocks.append(kept.figure("operating", drawn, caption, "ROC and DET curves"))
        if working.prior is not None:
            blocks.append(_prior(evidence, working, kept, sides))
    blocks.append(kept.table("rates", tables_operating.rates(working)))
    return blocks


def _told(working: Working) -> str:
    if working.threshold is None:
        return f"The more probable class is answered; the class that is looked for is {working.positive}."
    aim = f", chosen for {working.aim} on the validation part" if working.aim else ""
    return (
        f"The second class is answered from a probability of {working.threshold:.4g} on{aim}; the class that is looked "
        f"for is {working.positive}."
    )


def _seen(working: Working) -> str:
    """What the curves show, in one sentence."""
    known = [p for p in working.points if not math.isnan(p.fnr.value)]
    if not known:
        return "There are too few negatives for any of the stated rates."
    last = known[-1]
    text = f"At an FPR of {last.fpr:g}, set by {last.false_positives:,} negatives, {spelled(last.fnr)} are missed"
    if len(known) > 1:
        text += f", at {known[0].fpr:g} {spelled(known[0].fnr)}"
    lacking = [f"{p.fpr:g}" for p in working.points if math.isnan(p.fnr.value)]
    return (
        text
        + "."
        + (f" {working.points[-1].negatives:,} negatives say nothing of {', '.join(lacking)}." if lacking else "")
    )


def _prior(evidence: Evidence, working: Working, kept: Kept, sides: Any) -> Any:
    own = working.threshold  # of the second class
    if own is not None and working.positive == evidence.judgement.classes[0]:
        own = 1 - own
    drawn = plots_operating.at_prior(sides, working, evidence.groups, evidence.judgement.seed, own)
    assert working.prior is not None
    pure, complete = spelled(working.rates["purity"]), spelled(working.rates["completeness"])
    caption = (
        f"Completeness (line) and purity (dashed) at a prior of {prior_words(working.prior)}, with 95 % bands; purity "
        f"ends where fewer than {plots_operating.FEWEST} judged negatives are above the threshold. The answers as "
        f"given reach a purity of {pure} and a completeness of {complete}."
    )
    return kept.figure("prior", drawn, caption, "Purity and completeness against the threshold")


def by_columns(evidence: Evidence, kept: Kept) -> list[Any]:
    """The figures by each column, the worst slices named."""
    blocks: list[Any] = []
    for number, part in enumerate(evidence.judgement.slices, 1):
        drawn = plots_operating.slices(evidence.judgement, part)
        seen = sentence(evidence.judgement, part)
        caption = f"Whiskers are 95 % intervals (cut at the edge), dashed lines all objects. {seen}"
        blocks.append(kept.figure(f"slices_{number}", drawn, caption, f"Figures by {part.by}"))
        blocks.append(kept.table(f"slices_{number}", tables_operating.slices(part)))
    return blocks
