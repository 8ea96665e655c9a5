"""Late fusion: a net on the pictures and a model of the columns answer together, judged beside each alone.

p_fused is proportional to p_net ** weight times p_table ** (1 - weight): the weighted mean of log-probabilities, the
logarithmic opinion pool (Genest & Zidek 1986, Stat. Sci. 1, 114). The weight is chosen on the validation part alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import measure
from estampa.errors import InputError
from estampa.evaluate.judge import Judgement, judge, spelled, words
from estampa.evaluate.operating import Terms
from estampa.measure import Interval

NET, TABLE, FUSED = "net", "table", "fusion"
WEIGHTS = np.linspace(0, 1, 41)  #: of the net, that are tried
FEWEST = 20  #: validation objects from which on a weight is chosen; with fewer it is a half
_FLOOR = 1e-6  #: of a probability: a model that is sure of a class must not overrule the other for ever
COMPARED = ("balanced_accuracy", "accuracy", "macro_f1", "log_loss")


@dataclass(frozen=True)
class Fusion:
    """A net, a model of the table, and both together on the same objects.

    Attributes
    ----------
    weight : of the net, 0..1. `chosen_on` : validation objects that chose it; 0 = too few, it is a half.
    curve : (2, weights) weight of the net, log loss of the validation part.
    judgements : "net", "table", "fusion" -> judgement of the judged part.
    outputs : the same names -> (n, k) probabilities.
    differences : ("fusion - net", "fusion - table", "net - table") -> metric -> difference with its paired interval.
    about : name of each model, as people call them.
    agree : share of the judged objects to which net and table give one answer; `both_wrong` : share on which both err.
    """

    weight: float
    chosen_on: int
    curve: np.ndarray
    judgements: dict[str, Judgement]
    outputs: dict[str, np.ndarray]
    differences: dict[str, dict[str, Interval]]
    about: dict[str, str]
    agree: float
    both_wrong: float

    def headline(self) -> str:
        """Which is better, in a sentence that keeps to the intervals."""
        name = self.judgements[FUSED].leading
        told = ", ".join(f"{self.about[k]} {spelled(j.metrics[name])}" for k, j in self.judgements.items())
        lead = {other: self.differences[f"{FUSED} - {other}"][name] for other in (NET, TABLE)}
        sign = 1 if measure.larger_is_better(name) else -1
        better = [self.about[k] for k, d in lead.items() if min(sign * d.low, sign * d.high) > 0]
        rest = [self.about[k] for k in lead if self.about[k] not in better]
        gain = f"together they are better beyond chance than {' and than '.join(better)} alone" if better else ""
        gain += " and " if better and rest else "together they are " if rest else ""
        gain += f"not better beyond chance than {' or than '.join(rest)}" if rest else ""
        worse = [self.about[k] for k, d in lead.items() if max(sign * d.low, sign * d.high) < 0]
        gain += (
            f"; and worse beyond chance than {' and than '.join(worse)}, which then is the better model"
            if worse
            else ""
        )
        return f"{words(name).capitalize()}: {told}; {gain}."

    def to_json(self) -> dict[str, Any]:
        """Plain values; the answers themselves are left out."""
        return {
            "weight_of_net": self.weight, "chosen_on": self.chosen_on, "about": dict(self.about),
            "agree": self.agree, "both_wrong": self.both_wrong,
            **{name: found.to_json() for name, found in self.judgements.items()},
            "differences": {
                pair: {name: found.to_json() for name, found in each.items()}
                for pair, each in self.differences.items()
            },
        }  # fmt: skip


def fuse(net: np.ndarray, table: np.ndarray, weight: float) -> np.ndarray:
    """(n, k) probabilities of both together, `weight` of the net in 0..1; probabilities below 1e-6 count as 1e-6."""
    logs = weight * np.log(np.clip(net, _FLOOR, 1)) + (1 - weight) * np.log(np.clip(table, _FLOOR, 1))
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    fused: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return fused


def choose_weight(net: np.ndarray, table: np.ndarray, truth: np.ndarray) -> tuple[float, np.ndarray]:
    """The weight of the net with the least log loss, and the log loss of every weight that was tried, (2, w).

    Of weights within rounding of the least the one nearest to a half. `truth` (n,) class numbers.
    """
    loss = np.array([-np.log(fuse(net, table, w)[np.arange(len(truth)), truth]).mean() for w in WEIGHTS])
    least = np.flatnonzero(loss <= loss.min() + 1e-9)
    chosen = WEIGHTS[least[np.argmin(np.abs(WEIGHTS[least] - 0.5))]]
    return float(chosen), np.stack([WEIGHTS, loss])


def fusion(
    validation: tuple[np.ndarray, np.ndarray, np.ndarray],
    judged: tuple[np.ndarray, np.ndarray, np.ndarray],
    classes: Sequence[str],
    *,
    about: tuple[str, str] = ("the net on pictures", "the model of the table"),
    groups: np.ndarray | None = None,
    terms: Terms | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Fusion:
    """Fuse and judge a net and a model of the table on the same objects.

    Parameters
    ----------
    validation : probabilities (v, k) of the net and of the table's model, and the truth (v,) class numbers, of objects
        that neither learned from; they choose the weight and nothing else. Fewer than 20: the weight is a half.
    judged : the same of the judged objects (n, ...).
    classes : the k names, in the order of the columns.
    about : what net and table's model are called.
    groups : (n,) of the judged objects. `terms` : the prior and columns to slice by; a threshold is left aside, as it
        was chosen for one of the models.

    Raises InputError where the answers are not of the same objects and classes.
    """
    for part in (validation, judged):
        if np.shape(part[0]) != np.shape(part[1]) or len(part[0]) != len(part[2]):
            raise InputError(
                "a fusion needs the answers of both models to the same objects", where="fusion",
                allowed=f"twice {np.shape(part[0])}", got=f"{np.shape(part[1])}, {len(part[2])} labels",
            )  # fmt: skip
    enough = len(validation[2]) >= FEWEST
    weight, curve = choose_weight(*validation) if enough else (0.5, np.zeros((2, 0)))
    net, table, truth = judged
    outputs = {NET: np.asarray(net), TABLE: np.asarray(table), FUSED: fuse(net, table, weight)}
    plain = Terms(positive=terms.positive, prior=terms.prior, by=terms.by) if terms else None
    found = {
        name: judge(
            truth, output, task="classification", classes=classes, groups=groups, resamples=resamples, seed=seed,
            terms=plain,
        )
        for name, output in outputs.items()
    }  # fmt: skip
    names = [m for m in COMPARED if m in found[FUSED].metrics]
    differences = {
        f"{a} - {b}": measure.paired_difference(
            names, truth, outputs[a], outputs[b], groups, resamples=resamples, seed=seed
        )
        for a, b in ((FUSED, NET), (FUSED, TABLE), (NET, TABLE))
    }
    said = [output.argmax(axis=1) for output in (outputs[NET], outputs[TABLE])]
    wrong = (said[0] != truth) & (said[1] != truth)
    return Fusion(
        weight, len(validation[2]) if enough else 0, curve, found, outputs, differences,
        {NET: about[0], TABLE: about[1], FUSED: "both together"},
        float((said[0] == said[1]).mean()), float(wrong.mean()),
    )  # fmt: skip
