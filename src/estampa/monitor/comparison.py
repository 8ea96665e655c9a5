"""What a comparison of two models came to, and what it recommends."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estampa import measure
from estampa.data.dataset import Dataset
from estampa.evaluate.judge import Judgement, words
from estampa.evaluate.slices import stretched
from estampa.measure import Interval
from estampa.measure.pairs import Discordance
from estampa.monitor.compare_classes import SIDES, Unshared
from estampa.monitor.cost import Cost
from estampa.plain import numbered, table

PROMOTE, EITHER, LOOK, KEEP = "promote", "either", "look", "keep"
#: What each recommendation says, in one line.
SAID = {
    PROMOTE: "Promote the challenger",
    EITHER: "Either will do",
    LOOK: "Look before you decide",
    KEEP: "Keep the champion",
}
_NAMED = 4  #: slices, or classes, named in a sentence
_INDEPENDENT = (
    "Objects are taken as independent, as the data name no groups: where some belong together (a night, a field, a "
    "person), the intervals are too short."
)
_LACKING = "No object is of {}: figures that average or compare classes, as macro F1, say little here."


@dataclass(frozen=True)
class Side:
    """One of the two models."""

    path: str
    model: str  #: hash
    recipe: str
    data: str  #: content hash of what it learned from
    judgement: Judgement
    cost: Cost
    unanswered: int = 0  #: rows that it gave no answer to

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "path": self.path, "model": self.model, "recipe": self.recipe, "data": self.data,
            "unanswered": self.unanswered, **self.cost.to_json(), **self.judgement.to_json(),
        }  # fmt: skip


@dataclass(frozen=True)
class SliceChange:
    """Objects of one stretch or value of a column, and what both models make of them.

    `champion` and `challenger` are the share of right answers (of values the mean absolute error), `difference` the
    challenger's minus the champion's. `change`: "worse", "better" or "" (not beyond chance over all slices together).
    """

    by: str
    label: str
    n: int
    champion: float
    challenger: float
    difference: Interval
    change: str = ""

    @property
    def name(self) -> str:
        """As in a sentence: "snr 3 to 5"."""
        return f"{self.by} {self.label}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "difference": self.difference.to_json()}


@dataclass(frozen=True)
class Recommendation:
    """What the comparison recommends ("promote", "either", "look", "keep"), and why, in sentences."""

    kind: str
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The recommendation with its first reason."""
        return f"{SAID[self.kind]}: {self.reasons[0]}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": self.kind, "said": SAID[self.kind], "reasons": list(self.reasons)}


@dataclass(frozen=True)
class Comparison:
    """Two models on the same objects.

    Attributes
    ----------
    n : objects that both answered.
    part, data : what they are.
    champion, challenger : the two sides, judged on these objects.
    difference : the challenger's minus the champion's figure, by name ("accuracy", "recall[3]"), with the 95 % interval
        of resamples that both share.
    parted : how often one alone was right; of values, how often one was nearer.
    slices : figures by columns.
    recommendation : see `recommend`.
    margin : a loss that counts as none: of the leading figure, of values a share of it.
    dataset : what they lie in, as the champion reads it.
    ids, truth, said : of every object compared, for a report: (n,) texts; (n,) class numbers or values; (n, 2).
    unshared : of models that know different classes; None where they know the same.
    """

    n: int
    part: str
    data: str
    champion: Side
    challenger: Side
    difference: dict[str, Interval]
    parted: Discordance
    slices: tuple[SliceChange, ...]
    recommendation: Recommendation
    margin: float
    dataset: Dataset = field(repr=False)
    ids: np.ndarray = field(repr=False)
    truth: np.ndarray = field(repr=False)
    said: np.ndarray = field(repr=False)
    unshared: Unshared | None = None

    @property
    def leading(self) -> str:
        """The figure that decides."""
        return self.champion.judgement.leading

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the champion's order, then those that the challenger alone knows."""
        return self.champion.judgement.classes

    def notes(self) -> list[str]:
        """What must be known of the objects to read the figures."""
        said = []
        if not self.champion.judgement.groups:
            said.append(_INDEPENDENT)
        lacking = [name for c, name in enumerate(self.classes) if not (self.truth == c).any()]
        if lacking:
            more = f" and {len(lacking) - _NAMED} more classes" if len(lacking) > _NAMED else ""
            said.append(_LACKING.format(f"{', '.join(lacking[:_NAMED])}{more}"))
        return said

    def figures(self) -> dict[str, Interval]:
        """The differences over all classes."""
        return {name: found for name, found in self.difference.items() if "[" not in name}

    def worse(self) -> list[SliceChange]:
        """Slices that got worse beyond chance, the largest loss first."""
        sign = -1 if self.champion.judgement.task == "regression" else 1
        return sorted((s for s in self.slices if s.change == "worse"), key=lambda s: sign * s.difference.value)

    def headline(self) -> str:
        """One line: the recommendation and the difference that it rests on."""
        return f"{self.recommendation.sentence} ({numbered(self.n, 'object')}, part {self.part})"

    def to_json(self) -> dict[str, Any]:
        """Plain values; nothing of single objects."""
        return {
            "n": self.n,
            "part": self.part,
            "data": self.data,
            "recommendation": self.recommendation.to_json(),
            "leading": self.leading,
            "margin": self.margin,
            "champion": self.champion.to_json(),
            "challenger": self.challenger.to_json(),
            "difference": {name: found.to_json() for name, found in self.difference.items()},
            "parted": self.parted.to_json(),
            "slices": [found.to_json() for found in self.slices],
            "notes": self.notes(),
            "unshared": None if self.unshared is None else self.unshared.to_json(),
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        judged = self.champion.judgement.metrics, self.challenger.judgement.metrics
        rows = [
            [words(name), *(f"{one[name].value:.4f}" for one in judged), signed(found), verdict_of(name, found)]
            for name, found in self.figures().items()
        ]
        costs = self.champion.cost, self.challenger.cost
        rows += [[name, *texts, "", ""] for name, *texts in costs[0].beside(costs[1])]
        head = ["", f"champion {self.champion.model}", f"challenger {self.challenger.model}", "difference", ""]
        changed = [[s.name, f"{s.n:,}", signed(s.difference), s.change] for s in self.slices if s.change]
        lines = [self.headline(), *self.recommendation.reasons[1:], "", *table(head, rows, right=(1, 2))]
        if changed:
            lines += ["", *table(["slice", "n", "difference", ""], changed, right=(1,))]
        return [*lines, "", *self.notes()] if self.notes() else lines

    def _repr_html_(self) -> str:
        from estampa import page
        from estampa.monitor.compare_report import figures

        return page.fragment(page.Text(self.headline()), figures(self))


def signed(found: Interval, places: int = 4) -> str:
    """A difference with its sign and interval: "+0.0120 [+0.0040, +0.0200]"."""
    if math.isnan(found.value):
        return "undefined"
    ends = "no interval" if math.isnan(found.low) else f"{found.low:+.{places}f}, {found.high:+.{places}f}"
    return f"{found.value:+.{places}f} [{ends}]".replace("-", "\N{MINUS SIGN}")


def advantage(name: str, found: Interval) -> Interval:
    """The difference turned so that positive is good for the challenger."""
    plain = name.partition("[")[0]
    if plain in measure.PER_CLASS or measure.larger_is_better(plain):
        return found
    return Interval(-found.value, -found.high, -found.low)


def verdict_of(name: str, found: Interval) -> str:
    """What a difference is called that is beyond chance by its own interval: "better" or "worse"; else ""."""
    turned = advantage(name, found)
    return "better" if turned.low > 0 else "worse" if turned.high < 0 else ""


def recommend(
    champion: Judgement,
    difference: dict[str, Interval],
    slices: tuple[SliceChange, ...],
    margin: float,
    lone: Unshared | None = None,
) -> Recommendation:
    """What to do, by rules that were fixed before any figure was seen.

    - The leading figure worse beyond chance: keep.
    - Better beyond chance: promote; but look first where a slice got worse beyond chance over all slices together, or
      another figure over all classes did over all of those together.
    - Not beyond chance, and a loss larger than `margin` is excluded: either; keep where a slice got worse.
    - Else these objects cannot tell: keep.

    Of models that know different classes (`lone`), promote and either become look where a loss larger than `margin` on
    the classes that both know is not excluded, or no object is of a class that one alone knows.
    """
    name = champion.leading
    found = advantage(name, difference[name])
    lost = [s for s in slices if s.change == "worse"]
    but = _losses(lost, _other_losses(name, difference))
    room = margin * abs(champion.metrics[name].value) if champion.task == "regression" else margin
    figure = f"{words(name)} {signed(difference[name])}"
    more, unsure = _of_classes(lone, margin)
    if found.high < 0:
        return Recommendation(KEEP, (f"the challenger is worse, {figure}.", *more, *but))
    if found.low > 0:
        return Recommendation(LOOK if but or unsure else PROMOTE, (f"the challenger is better, {figure}.", *more, *but))
    if found.low >= -room:
        said = f"no difference beyond chance, and no loss over {room:.4g}: {figure}."
        if but or unsure:
            return Recommendation(KEEP if but else LOOK, (said, *more, *but))
        return Recommendation(EITHER, (said, *more, "Another reason, as age, drift, cost or size, may decide."))
    return Recommendation(
        KEEP, (f"these objects cannot tell: {figure}.", *_wanted(champion.n, found, room), *more, *but)
    )


def _of_classes(lone: Unshared | None, margin: float) -> tuple[tuple[str, ...], bool]:
    """What is said of classes that one model alone knows, and whether a person must weigh it."""
    if lone is None:
        return (), False
    said = [one.sentence for one in lone.lone]
    unsure = any(not one.n for one in lone.lone)
    if {one.known_by for one in lone.lone} == set(SIDES):
        said.append("If two of these are one class under two names, give the data one name for it, and retrain.")
        unsure = True
    if lone.difference is not None:
        excluded = lone.difference.low >= -margin
        told = "" if excluded else f": a loss over {margin:.4g} is not excluded"
        said.append(f"Of the {lone.n:,} objects of classes that both know, {_shared(lone)}{told}.")
        unsure = unsure or not excluded
    return tuple(said), unsure


def _shared(lone: Unshared) -> str:
    assert lone.difference is not None
    return f"{words(lone.figure)} {signed(lone.difference)}"


#: Figures that say nearly the same as the leading one: their loss is no second reason.
_TWINS = {"mse": ("rmse",), "accuracy": ("weighted_f1",), "balanced_accuracy": ()}


def _other_losses(leading: str, difference: dict[str, Interval]) -> list[str]:
    """Other figures over all classes that got worse beyond chance, their intervals stretched for their number."""
    others = [n for n in difference if "[" not in n and n != leading and n not in _TWINS.get(leading, ())]
    far = stretched(len(others))
    found = []
    for name in others:
        one = difference[name]
        ends = (one.value + far * (end - one.value) for end in (one.low, one.high))
        if verdict_of(name, Interval(one.value, *ends)) == "worse":
            found.append(name)
    return found


def _losses(slices: list[SliceChange], figures: list[str]) -> tuple[str, ...]:
    said = []
    if slices:
        worst = sorted(slices, key=lambda s: -abs(s.difference.value))
        named = "; ".join(f"{s.name} ({signed(s.difference, 3)}, n = {s.n:,})" for s in worst[:_NAMED])
        more = f"; and {len(worst) - _NAMED} more" if len(worst) > _NAMED else ""
        said.append(f"It got worse at: {named}{more}.")
    if figures:
        said.append(f"Worse beyond chance too: {', '.join(words(f) for f in figures)}.")
    return tuple(said)


def _wanted(n: int, found: Interval, room: float) -> tuple[str, ...]:
    """How many objects would tell, as the interval narrows with their square root."""
    half = (found.high - found.low) / 2
    if not (half > 0 and room > 0):
        return ()
    wanted = math.ceil(n * (half / room) ** 2 / 100) * 100
    return (f"About {wanted:,} objects would be needed to exclude a loss of {room:.4g}.",)
