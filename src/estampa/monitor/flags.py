"""Shares of flagged answers against those of the reference, as far as it tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

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
    answered = np.isfinite(ranges.output).all(axis=1)
    shares = {UNREADABLE: 0.0, INVALID: float(1 - answered.mean())}
    least = bundle.thresholds.confidence
    if ranges.classes and least is not None and answered.any():
        output = ranges.output[answered]
        shares["low_confidence"] = float((confidence(output, decide(output, ranges.decision)) < least).mean())
    if not bundle.of_table:
        missing = bundle.tensors("reference")["describe"][:, STATISTICS.index("missing") :: len(STATISTICS)]
        shares["not_finite"] = float((missing > 0).any(axis=1).mean())
    return shares


def flag_figures(
    counts: Mapping[str, int], n: int, shares: Mapping[str, float], ranges: Ranges, bound: float
) -> list[Figure]:
    """The share of each flag among n objects, with its range where the reference tells its own share."""
    made = []
    for name in sorted(set(shares) | set(counts)):
        share, title = counts.get(name, 0) / n, f"flagged {name}"
        low, high = wilson(share, n)
        if name not in shares:
            why = "no range: the reference does not keep this flag"
            made.append(Figure(title, share, low, high, math.nan, math.nan, "flags", False, why))
            continue
        usual = np.array([shares[name]])
        score = abs(float(of_shares(n, np.array([share]), ranges.m, usual)[0])) / bound
        least, most = (float(end[0]) for end in share_range(n, ranges.m, usual, bound))
        alert = score > 1
        side = "above" if share > most else "below"
        why = f"{title} is {share:.4g}, {side} its range {least:.4g} to {most:.4g}"
        made.append(Figure(title, share, low, high, least, most, "flags", alert, why if alert else "", score))
    return made
