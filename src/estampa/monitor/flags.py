"""Shares of flagged answers against those of the reference, as far as it tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from estampa.bundle.reference import flags_of
from estampa.bundle.store import Bundle
from estampa.data.summary import STATISTICS
from estampa.measure import confidence, decide
from estampa.measure.intervals import wilson
from estampa.monitor.against import of_shares
from estampa.monitor.figures import Figure
from estampa.monitor.ranges import Ranges, share_range
from estampa.predict.answers import INVALID, UNREADABLE


def known_shares(bundle: Bundle, ranges: Ranges) -> dict[str, float]:
    """The share of the reference that has each flag, of those flags that can be told from what it holds."""
    kept, answered = bundle.tensors("reference"), np.isfinite(ranges.output).all(axis=1)
    shares = {UNREADABLE: 0.0, INVALID: float(1 - answered.mean())}
    least = bundle.thresholds.confidence
    if ranges.classes and least is not None and answered.any():
        output = ranges.output[answered]
        shares["low_confidence"] = float((confidence(output, decide(output, ranges.decision)) < least).mean())
    if not bundle.of_table:
        missing = kept["describe"][:, STATISTICS.index("missing") :: len(STATISTICS)]
        shares["not_finite"] = float((missing > 0).any(axis=1).mean())
    return shares | {name: float(marked.mean()) for name, marked in flags_of(kept).items()}


def flag_figures(
    counts: Mapping[str, int], n: int, shares: Mapping[str, float], ranges: Ranges, bound: float
) -> list[Figure]:
    """The share of each flag among n objects, with its range where the reference tells its own share.

    Only more doubts than usual are an alarm: with fewer the inputs themselves tell whether they changed.
    """
    names = sorted(set(shares) | set(counts))
    share = np.array([counts.get(name, 0) / n for name in names])
    usual = np.array([shares.get(name, 0.5) for name in names])
    scores = np.maximum(of_shares(n, share, ranges.m, usual), 0) / bound
    ends = share_range(n, ranges.m, usual, bound)[1]
    made = []
    for name, value, score, most in zip(names, share.tolist(), scores.tolist(), ends.tolist(), strict=True):
        title, (low, high) = f"flagged {name}", wilson(value, n)
        if name not in shares:
            why = "no range: the reference does not keep this flag"
            made.append(Figure(title, value, low, high, math.nan, math.nan, "flags", False, why))
            continue
        why = f"{title} is {value:.4g}, above its range 0 to {most:.4g}" if score > 1 else ""
        made.append(Figure(title, value, low, high, 0.0, most, "flags", score > 1, why, score))
    return made
