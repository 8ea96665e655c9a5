"""The report's sections on probabilities: whether they can be trusted, and when the model may stay silent."""

from __future__ import annotations

from typing import Any

import numpy as np

from estampa import page
from estampa.evaluate import plots
from estampa.evaluate.confidence import CALIBRATED, Abstention, Calibration
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.judge import spelled, words
from estampa.page import Kept, Table


def calibration(evidence: Evidence, kept: Kept) -> list[Any]:
    """Reliability, before and after the temperature where there is one."""
    if np.ndim(evidence.output) != 2:
        return []
    found = evidence.calibration
    output = np.asarray(evidence.output, float)
    drawn = plots.reliability(evidence.truth, output, None if found is None else np.asarray(found.output, float))
    caption = (
        "How often the predicted class is right, by its probability; whiskers are 95 % Wilson intervals. On the grey "
        "line a probability of 0.8 is right 8 times in 10; below it the model is too sure of itself. Bars: share of "
        "the objects. "
    )
    if found is not None:
        caption += "Orange, open: at temperature 1, as the model was trained; blue: after the temperature. "
    caption += f"Expected calibration error {spelled(evidence.judgement.metrics['ece'])}."
    blocks: list[Any] = []
    if found is not None:
        blocks.append(page.Text(_said(found, evidence)))
    blocks.append(kept.figure("reliability", drawn, caption, "Reliability diagram"))
    if found is not None:
        blocks.append(kept.table("calibration", _table(found, evidence.judgement.n)))
    return blocks


def _said(found: Calibration, evidence: Evidence) -> str:
    kind = (
        "softened: the model was too sure of itself" if found.temperature > 1 else "sharpened: it was not sure enough"
    )
    own = " The judged objects are the same, so this shows the best that one temperature does." * (
        evidence.part == "validation"
    )
    where = f"found on {found.n:,} {evidence.calibrated_on()}" if found.n else "as the recipe states it"
    return (
        f"One temperature, {found.temperature:.3f}, {where}, divides the logits inside the exported model. The "
        f"probabilities are {kind}. No answer changes.{own * (found.n > 0)}"
    )


def _table(found: Calibration, n: int) -> Table:
    rows = [[words(m), found.before[m], found.after[m], found.difference[m]] for m in CALIBRATED]
    caption = (
        f"The same {n:,} objects before and after, smaller is better, with 95 % bootstrap intervals. Change: after "
        "minus before, from resamples that both share; where its interval leaves out 0, the change is beyond chance. "
        "The calibration error of a finite sample is never 0: a perfect model has one too."
    )
    columns = ["metric", "temperature 1", f"temperature {found.temperature:.3f}", "change"]
    return Table(columns, rows, caption=caption, decimals=dict.fromkeys(columns[1:], 4))


def abstention(evidence: Evidence, kept: Kept) -> list[Any]:
    """Coverage against accuracy, with the chosen threshold where one was asked for."""
    found = evidence.abstention
    if found is None:
        return []
    caption = (
        "Objects are answered from the surest on. Accuracy of those that are answered, by their share of all; band: "
        "95 % interval, Wilson's where all the answered are right, which is wide where few objects or groups are. "
    )
    if found.threshold:
        caption += f"Dot: answered from a probability of {found.threshold:.4f} on."
    drawn = plots.coverage(found.curve, found.keep, found.coverage, found.accuracy)
    figure = kept.figure("coverage", drawn, caption, "Accuracy against coverage")
    return [*_verdict(found, evidence), figure]


def _verdict(found: Abstention, evidence: Evidence) -> list[Any]:
    if found.keep is None:
        return []
    if found.coverage is None or found.accuracy is None or found.threshold is None:
        text = (
            f"No threshold keeps an accuracy of {found.keep:g} on the {found.chosen_on:,} validation objects (the best "
            f"keeps {found.best:.4f}, lower end of its 95 % interval), so no answer is flagged."
        )
        return [page.Note("warn", text)]
    holds = found.accuracy.high >= found.keep
    flagged = f"answers with a probability below {found.threshold:.4f} are flagged low_confidence"
    if found.threshold == 0:
        flagged = "no answer need be flagged"
    text = (
        f"To keep an accuracy of {found.keep:g}, {flagged} (chosen on {found.chosen_on:,} validation objects, lower "
        f"end of the 95 % interval). On the {evidence.judgement.n:,} {evidence.part} objects "
        f"{spelled(found.coverage)} are answered, and "
        f"{spelled(found.accuracy)} of those are right."
    )
    if holds:
        return [page.Text(text)]
    return [page.Note("warn", f"{text} The accuracy is not kept here: these objects are harder than the others.")]
