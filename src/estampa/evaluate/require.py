"""Gates: `--require balanced_accuracy.low>=0.95`, `'recall[real].low>0.9'`, `'fnr_at_fpr_0.01.high<=0.05'`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from estampa import measure
from estampa.errors import CheckFailed, InputError, nearest
from estampa.evaluate import operating
from estampa.evaluate.judge import Judgement
from estampa.measure import Interval

_GATE = re.compile(
    r"\s*(?P<metric>[a-z_0-9]+(?:\.\d+)?)\s*(?:\[(?P<class>.+)\])?\s*(?:\.\s*(?P<end>\w+))?\s*"
    r"(?P<sign>>=|<=|==|>|<|=)\s*(?P<bound>[-+0-9.eE]+)\s*"
)
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
Found = TypeVar("Found", Interval, dict[str, Any])
_FORM = "METRIC[.value|.low|.high] >= NUMBER (also >, <, <=), METRIC[CLASS] for one class"


@dataclass(frozen=True)
class Gate:
    """One condition on a judgement."""

    text: str
    metric: str
    of_class: str  #: "" = over all classes
    end: str  #: value, low or high
    sign: str
    bound: float

    def check(self, judgement: Judgement) -> tuple[bool, float]:
        """Whether the gate holds, and the number that it was held against; an undefined number never passes.

        Raises InputError, with the nearest real name, for a metric or class that the judgement has not.
        """
        found = self._interval(judgement)
        value = float(getattr(found, self.end))
        return _SIGNS[self.sign](value, self.bound), value

    def _interval(self, judgement: Judgement) -> Interval:
        if not self.of_class:
            return _looked_up(self.metric, judgement.numbers(), "metric", self.text)
        row = _looked_up(self.of_class, {r["class"]: r for r in judgement.per_class}, "class", self.text)
        each = {k: v for k, v in row.items() if isinstance(v, Interval)}
        return _looked_up(self.metric, each, "metric of a class", self.text)


def _looked_up(name: str, known: Mapping[str, Found], what: str, where: str) -> Found:
    if name not in known:
        cure = nearest(name, known)
        if what == "metric" and name in measure.PER_CLASS:
            cure = f"Write {name}[CLASS]; it exists for each class."
        elif name == "purity":
            cure = "State the prior that it is wanted for, as --prior 1:1000."
        elif what == "metric" and name in operating.NAMES:
            cure = "It exists for probabilities of two classes."
        raise InputError(f"no {what} {name!r}", where=f"--require {where}", allowed=", ".join(known), cure=cure)
    return known[name]


def parse(text: str) -> Gate:
    """Read one gate; InputError says the form when it is not one."""
    found = _GATE.fullmatch(text)
    if found is None or found["sign"] not in _SIGNS:
        raise InputError("not a gate", where=f"--require {text!r}", allowed=_FORM)
    try:
        bound = float(found["bound"])
    except ValueError:
        raise InputError("the bound is not a number", where=f"--require {text!r}", got=found["bound"]) from None
    end = found["end"] or "value"
    ends = ("value", "low", "high")
    if end not in ends:
        raise InputError(
            f"unknown part {end!r}", where=f"--require {text!r}", allowed=", ".join(ends), cure=nearest(end, ends)
        )
    if not found["class"]:
        known = (*measure.known(), *measure.PER_CLASS, *operating.NAMES)
        if found["metric"] not in known:
            raise InputError(
                f"no metric {found['metric']!r}",
                where=f"--require {text!r}",
                allowed=", ".join((*measure.known(), *operating.NAMES)),
                cure=nearest(found["metric"], known),
            )
    return Gate(text.strip(), found["metric"], (found["class"] or "").strip(), end, found["sign"], bound)


def require(judgement: Judgement, gates: Iterable[Gate]) -> list[str]:
    """Hold every gate; return a line for each that holds, and raise CheckFailed that names all that do not."""
    passed: list[str] = []
    failed: list[str] = []
    for gate in gates:
        holds, value = gate.check(judgement)
        shown = "undefined" if math.isnan(value) else f"{value:.4f}"
        (passed if holds else failed).append(f"{gate.text} (it is {shown})")
    if failed:
        raise CheckFailed(
            f"{len(failed)} of {len(failed) + len(passed)} required conditions do not hold: {'; '.join(failed)}",
            where=f"{judgement.n:,} objects",
        )
    return passed
