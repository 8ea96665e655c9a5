"""Reasons for one answer: what each column adds to its probability, beside typical objects of the training part.

The Shapley value of each column (or group of columns), by sampling orders: Štrumbelj & Kononenko 2014 (Knowl. Inf.
Syst. 41, 647, algorithm 1), each order used forwards and backwards (Mitchell, Cooper, Frank & Holmes 2022, J. Mach.
Learn. Res. 23, 43). With x the object, b a typical one, f the probability of the answer:

    reason(u) = mean over orders and b of  f(x's columns up to u, b's after it) - f(x's columns before u, b's from u on)

The reasons of an object add up, exactly, to f(x) minus the mean of f over the typical objects that were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa.errors import InputError
from estampa.explain.asking import Invalid, Score, Units, ask, named

ORDERS = 32  #: each used forwards and backwards
TYPICAL = 200  #: objects that stand for the training part
SHOWN = 6  #: reasons of an object that are told


@dataclass(frozen=True)
class Reason:
    """What one column, or a group together, adds to the probability of the answer.

    `columns`, `values`: of this object; `missing`: whether the values are no measurements. `typical`: medians of the
    valid values of the typical objects. `above`: share of them that is smaller, of a single column (NaN of a group).
    `effect`: in probability, signed; `error`: its standard error from sampling orders.
    """

    columns: tuple[str, ...]
    values: tuple[float, ...]
    missing: tuple[bool, ...]
    typical: tuple[float, ...]
    above: float
    effect: float
    error: float

    @property
    def name(self) -> str:
        """The column; of a group its columns after one another."""
        return ", ".join(self.columns)

    def told(self) -> str:
        """The value beside what is typical, in words."""
        if len(self.columns) > 1:
            pairs = zip(self.columns, self.values, self.missing, strict=True)
            return ", ".join(f"{name} {'not measured' if bad else format_value(v)}" for name, v, bad in pairs)
        if self.missing[0]:
            return "not measured"
        text = f"{format_value(self.values[0])}, typical {format_value(self.typical[0])}"
        if np.isnan(self.above):
            return text
        share = self.above if self.above >= 0.5 else 1 - self.above
        kind = "larger" if self.above >= 0.5 else "smaller"
        return (
            f"{text}; {kind} than {100 * min(share, 0.995):.0f} %" if share < 0.995 else f"{text}; among the {kind}st"
        )


@dataclass(frozen=True)
class Reasons:
    """Why one object got its answer.

    `answer`, `truth`: class numbers, truth -1 = not known. `p`: probability of the answer; `usual`: its mean over the
    typical objects. `reasons`: strongest first; their effects add up to p - usual.
    """

    id: str
    answer: int
    truth: int
    p: float
    usual: float
    reasons: tuple[Reason, ...]

    def sentence(self, classes: Sequence[str], most: int = 3) -> str:
        """The answer and its strongest reasons in words."""
        said = f"{self.id}: {classes[self.answer]} with {_percent(self.p)} (typical objects: {_percent(self.usual)})"
        if self.truth >= 0 and self.truth != self.answer:
            said += f", is {classes[self.truth]}"
        strong = [r for r in self.reasons[:most] if abs(r.effect) >= 0.005]
        if not strong:
            return f"{said}. No column alone moves it by half a point."
        return f"{said}. " + "; ".join(f"{r.name} ({r.told()}) {points(r.effect)}" for r in strong) + "."

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain values."""
        return {
            "id": self.id, "predicted": classes[self.answer], "truth": classes[self.truth] if self.truth >= 0 else None,
            "p": self.p, "usual": self.usual,
            "reasons": [
                {
                    "columns": list(r.columns),
                    "values": [v if np.isfinite(v) else None for v in r.values],
                    "typical": [v if np.isfinite(v) else None for v in r.typical],
                    "effect": r.effect, "error": r.error,
                }
                for r in self.reasons
            ],
        }  # fmt: skip


def points(effect: float) -> str:
    """A change of a probability as signed percentage points: "+12.3 points"."""
    return f"{100 * effect:+.1f} points".replace("-", "\N{MINUS SIGN}")


def format_value(value: float) -> str:
    """A value of a column for people, four digits."""
    if not np.isfinite(value):
        return "missing"
    text = f"{value:,.0f}" if abs(value) >= 1e4 and abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", "\N{MINUS SIGN}")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def reasons(
    score: Score,
    objects: np.ndarray,
    typical: np.ndarray,
    columns: Sequence[str],
    *,
    units: Units = (),
    invalid: Invalid | None = None,
    known: tuple[Sequence[str], np.ndarray, np.ndarray] | None = None,
    seed: int = 0,
) -> list[Reasons]:
    """Why each of `objects` (m, columns) got its answer, beside `typical` (b, columns) objects of the training part.

    Parameters
    ----------
    score, columns, invalid : see `asking`.
    units : columns that are replaced together; those in none stand alone.
    known : ids (m,), answers (m,) class numbers, truth (m,) class numbers with -1 = not known; None = numbered, the
        most probable class, not known.

    Of each object 64 (columns + 1) questions are asked. Raises InputError without typical objects, or for an object
    without an answer.
    """
    drawn = np.random.default_rng(seed).permutation(len(typical))[:TYPICAL]
    typical = np.asarray(typical, np.float64)[drawn]
    typical = typical[np.isfinite(ask(score, typical)).all(axis=1)] if len(typical) else typical
    if not len(typical):
        raise InputError("there are no typical objects to compare with", where="reasons")
    output = ask(score, objects)
    if not np.isfinite(output).all():
        raise InputError("an object without an answer has no reasons", where="reasons")
    tied = {c for unit in units for c in unit}
    all_units: Units = (*((c,) for c in range(len(columns)) if c not in tied), *units)
    if known is None:
        known = [str(i) for i in range(len(objects))], output.argmax(axis=1), np.full(len(objects), -1)
    good = np.isfinite(typical) if invalid is None else np.isfinite(typical) & ~invalid(typical)
    bad = ~np.isfinite(objects) if invalid is None else ~np.isfinite(objects) | invalid(objects)
    found = []
    for i, x in enumerate(np.asarray(objects, np.float64)):
        answer = int(known[1][i])
        # The same draw of typical objects for each, so that what is usual for a class is one number on a page.
        each, usual = _effects(score, x, typical, all_units, answer, np.random.default_rng(seed))
        effect, error = each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))
        told = [
            _reason(unit, columns, (x, bad[i]), (typical, good), (float(effect[u]), float(error[u])))
            for u, unit in enumerate(all_units)
        ]
        told.sort(key=lambda r: -abs(r.effect))
        made = str(known[0][i]), answer, int(known[2][i]), float(output[i, answer]), usual, tuple(told)
        found.append(Reasons(*made))
    return found


def _effects(
    score: Score, x: np.ndarray, typical: np.ndarray, units: Units, answer: int, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    """(orders, units) what each unit adds, mean of an order and its reverse; the mean answer to typical objects."""
    many = len(units)
    chosen = np.concatenate([rng.permutation(len(typical)) for _ in range(-(-ORDERS // len(typical)))])[:ORDERS]
    orders = np.stack([rng.permutation(many) for _ in range(ORDERS)])
    orders = np.stack([orders, orders[:, ::-1]], axis=1)  # (ORDERS, 2, units)
    rows = np.repeat(typical[chosen], 2 * (many + 1), axis=0).reshape(ORDERS, 2, many + 1, -1)
    for (o, way), order in ((key, orders[key]) for key in np.ndindex(ORDERS, 2)):
        for step, u in enumerate(order):
            columns = list(units[u])
            rows[o, way, step + 1 :, columns] = x[columns][:, None]
    p = ask(score, rows.reshape(-1, rows.shape[-1]))[:, answer].reshape(ORDERS, 2, many + 1)
    steps = np.diff(p, axis=2)
    each = np.empty_like(steps)
    np.put_along_axis(each, orders, steps, axis=2)
    return each.mean(axis=1), float(p[:, 0, 0].mean())


def _reason(
    unit: tuple[int, ...], columns: Sequence[str], own: tuple[np.ndarray, np.ndarray],
    typical: tuple[np.ndarray, np.ndarray], effect: tuple[float, float],
) -> Reason:  # fmt: skip
    valid = [typical[0][typical[1][:, c], c] for c in unit]
    middle = tuple(float(np.median(v)) if len(v) else np.nan for v in valid)
    above = float((valid[0] < own[0][unit[0]]).mean()) if len(unit) == 1 and len(valid[0]) else np.nan
    values, missing = tuple(float(own[0][c]) for c in unit), tuple(bool(own[1][c]) for c in unit)
    return Reason(tuple(named((c,), columns) for c in unit), values, missing, middle, above, *effect)
