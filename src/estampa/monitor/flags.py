"""Shares of flagged answers against those of the reference, as far as it tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from estampa.measure.intervals import wilson
from estampa.monitor.against import of_shares
from estampa.monitor.figures import Figure
from estampa.monitor.ranges import Ranges, share_range


def flag_figures(counts: Mapping[str, int], n: int, ranges: Ranges, bound: float) -> list[Figure]:
    """The share of each flag among n objects, with its range where the reference tells its own share.

    Only more doubts than usual are an alarm: with fewer the inputs themselves tell whether they changed.
    """
    shares = {name: float(marked.mean()) for name, marked in ranges.flags.items()}
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
