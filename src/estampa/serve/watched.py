"""What the model's page says of its last answers: which kinds of figures are out of their range, and which figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from estampa.bundle.store import Bundle
from estampa.serve.pages.words import Words

if TYPE_CHECKING:
    from estampa.monitor.figures import Figure
    from estampa.monitor.gauges import State

_MOST = 20  #: figures that are named; `estampa monitor` tells all


@dataclass(frozen=True)
class FigureShown:
    """A figure: its value, the range expected, and how far it is, 1 = the edge of the range."""

    name: str
    value: str
    expected: str
    distance: str


@dataclass(frozen=True)
class KindShown:
    """A kind of figures, whether one of them left its range, and the farthest of them."""

    name: str
    state: str
    out: bool
    farthest: FigureShown


@dataclass(frozen=True)
class WatchedNow:
    """The section; `few` stands in place of everything else."""

    few: str
    lead: str
    kinds: list[KindShown]
    left: list[FigureShown]
    left_title: str
    more: str


def watched_now(state: State, bundle: Bundle, t: Words) -> WatchedNow:
    """The section, in a language."""
    from estampa.monitor.gauges import LEAST

    if state.n < LEAST:
        return WatchedNow(t("watched.few", n=state.n, least=t.whole(LEAST)), "", [], [], "", "")
    part = t(f"part.{bundle.manifest.reference_part or 'validation'}")
    times = {"since": _minute(state.since), "until": _minute(state.until)}
    lead = t("watched.lead", count=t.whole(state.n), part=part, **times)
    out, kinds = {figure.kind for figure in state.alerts}, []
    for kind, figure in sorted(state.farthest.items(), key=lambda item: state.kinds.index(item[0])):
        said = t("watched.out" if kind in out else "watched.in")
        kinds.append(KindShown(t(f"watched.kind.{kind}"), said, kind in out, _shown(figure, t)))
    left = len(state.alerts)
    more = t("watched.more", n=left - _MOST) if left > _MOST else ""
    shown = [_shown(figure, t) for figure in state.alerts[:_MOST]]
    return WatchedNow("", lead, kinds, shown, t("watched.left", n=left) if left else "", more)


def _shown(figure: Figure, t: Words) -> FigureShown:
    low, high = figure.expected_low, figure.expected_high
    expected = t("about.to", low=t.short(low), high=t.short(high)) if math.isfinite(low + high) else "–"
    return FigureShown(figure.name, t.short(figure.value), expected, t.number(figure.score, 1))


def _minute(time: str) -> str:
    """A moment of the log to the minute, as "2026-11-22 17:26"."""
    return time[:16].replace("T", " ")
