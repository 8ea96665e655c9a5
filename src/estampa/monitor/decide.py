"""keep, watch or retrain: a verdict from what was watched, by a policy, with reasons. It never retrains by itself."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from estampa import measure
from estampa.bundle.manifest import MANIFEST
from estampa.bundle.store import Bundle
from estampa.errors import InputError, nearest
from estampa.evaluate.judge import words
from estampa.monitor.figures import Figure, Watch
from estampa.monitor.labelled import UNKNOWN
from estampa.monitor.policy import Effect, Policy, RangePolicy
from estampa.monitor.registry import Entry
from estampa.plain import numbered

KEEP, WATCH, RETRAIN = "keep", "watch", "retrain"
_WEIGHT = {"ignore": 0, KEEP: 0, WATCH: 1, RETRAIN: 2}
_SAID = {
    KEEP: "Keep the model",
    WATCH: "Watch it closely",
    RETRAIN: "Retrain",
}
_MOST = 8  #: figures of one kind that are reasons of their own, and reasons that a terminal shows
_DAY = timedelta(days=1)
PERIODS = "periods"  #: the anchor of the part of a report that shows periods or groups


@dataclass(frozen=True)
class Facts:
    """What is known of a model besides what was watched.

    `trained` and `promoted` are UTC, None where not known; `dated` says where `trained` comes from; `release` is that
    of the data it learned from.
    """

    now: datetime
    trained: datetime | None = None
    promoted: datetime | None = None
    release: str = ""
    dated: str = ""


@dataclass(frozen=True)
class Reason:
    """Why a verdict is what it is.

    Attributes
    ----------
    text : in words.
    effect : "keep", "watch" or "retrain": what it asks for.
    figure : the watched figure that it rests on, "" for age and the like.
    evidence : the numbers, as text.
    period : the period or group in which the figure left its range, "" = over all objects.
    """

    text: str
    effect: str
    figure: str = ""
    evidence: str = ""
    period: str = ""

    @property
    def link(self) -> str:
        """Where its figure stands in the report: the name of an anchor; "" without a figure."""
        return PERIODS if self.period else anchor(self.figure) if self.figure else ""

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return {**vars(self), "link": self.link}


@dataclass(frozen=True)
class Verdict:
    """keep, watch or retrain, with the reasons, the weightiest first, and what to do next.

    `next` are commands as they are typed, but for names in capitals; `first` says what must be done before them.
    """

    kind: Literal["keep", "watch", "retrain"]
    reasons: tuple[Reason, ...]
    next: tuple[str, ...] = ()
    first: str = ""

    @property
    def sentence(self) -> str:
        """The verdict with its first reason."""
        return f"{_SAID[self.kind]}: {self.reasons[0].text}"

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        reasons = [reason.to_json() for reason in self.reasons]
        told = {"kind": self.kind, "said": self.sentence, "reasons": reasons}
        return {**told, "first": self.first, "next": list(self.next)}

    def lines(self) -> list[str]:
        """For a terminal."""
        rows = [f"verdict  {self.kind}", ""]
        for reason in self.reasons[:_MOST]:
            evidence = f" ({reason.evidence})" if reason.evidence and not reason.figure else ""
            rows.append(f"  {reason.effect:<8} {reason.text}{evidence}")
        if len(self.reasons) > _MOST:
            rows.append(f"  and {numbered(len(self.reasons) - _MOST, 'more reason')}")
        todo = [*([f"{self.first}, then"] if self.first else []), *self.next]
        return [*rows, *([""] if todo else []), *(f"{'' if i else 'next':<9}{line}" for i, line in enumerate(todo))]


def anchor(figure: str) -> str:
    """A figure's name as the anchor of its place in a report."""
    return "figure-" + re.sub(r"[^a-z0-9]+", "-", figure.lower()).strip("-")


def facts_of(bundle: Bundle, entry: Entry | None = None, now: datetime | None = None) -> Facts:
    """What a bundle, its run folder and its line in a registry say of it."""
    trained, dated = None, ""
    try:
        record = json.loads((bundle.folder.parent / "metrics.json").read_text(encoding="utf-8"))
        if bundle.folder.name == "model":
            trained, dated = _utc(datetime.fromisoformat(record["date"])), "by its run"
    except (OSError, ValueError, KeyError, TypeError):
        trained = None  # a bundle that travels alone has no run beside it
    if trained is None:
        stat = (bundle.folder / MANIFEST).stat()
        trained, dated = datetime.fromtimestamp(stat.st_mtime, UTC), "by the time of its files"
    release = str(bundle.manifest.data.get("release") or "")
    return Facts(now or datetime.now(UTC), trained, entry.time if entry else None, release, dated)


def decide(watch: Watch, policy: Policy, facts: Facts, *, run: str = "RUN", again: str = "") -> Verdict:
    """The verdict on a model from what was watched, by a policy.

    The weightiest reason decides. Figures that left their range (the learned one, or the policy's own) ask for what
    their kind's effect says; with fewer labels than `least.labels` a figure with labels asks for watching only; fewer
    objects than `least.objects` ask for nothing. What alarms in the last period alone, or in some groups of a column
    alone, asks for watching. A model over its age asks for what `age.effect` says. During the cool-down nothing asks
    for more than watching.

    Parameters
    ----------
    watch : what `watch()` found.
    policy : see policy.py; `Policy()` for the defaults.
    facts : see `facts_of`.
    run : how the model is called in the next command.
    again : the command that watches once more, with labels; "" = one for a log.

    Raises InputError for a range of the policy whose figure does not exist.
    """
    figures = _ruled(watch, policy)
    reasons = [*_too_few(watch, policy), *_of_figures(watch, policy, figures), *_of_age(policy, facts)]
    reasons += _of_groups(watch, policy) if watch.column else _of_last(watch, policy)
    reasons = _rested(reasons, policy, facts)
    reasons += _unmeasured(watch, policy)
    reasons.sort(key=lambda reason: -_WEIGHT[reason.effect])
    kind = reasons[0].effect if reasons and reasons[0].effect != "ignore" else KEEP
    if not any(_WEIGHT[reason.effect] for reason in reasons):
        if not any(reason.effect == KEEP for reason in reasons):
            held = sum(math.isfinite(f.score) or f.name in policy.ranges for f in figures)
            text = f"all {held:,} watched figures of {numbered(watch.n, 'object')} are in their ranges."
            reasons.insert(0, Reason(text, KEEP))
        kind = KEEP
    then, first = _next(kind, watch, policy, run, again)
    return Verdict(kind, tuple(reasons), then, first)  # type: ignore[arg-type]


def _ruled(watch: Watch, policy: Policy) -> list[Figure]:
    """The figures with the policy's own ranges in place of the learned ones."""
    known = {figure.name for figure in watch.figures}
    for name in policy.ranges:
        if name not in known and not _measurable(name, watch.classes):
            could = sorted(known | set(measure.METRICS["classification"]))
            raise InputError(
                f"no watched figure {name!r}", where=f"{policy.path}, ranges", allowed="; ".join(could[:40]),
                cure=nearest(name, could),
            )  # fmt: skip
    return [_with_range(f, policy.ranges[f.name]) if f.name in policy.ranges else f for f in watch.figures]


def _measurable(name: str, classes: Sequence[str]) -> bool:
    """Whether it is a figure that labels would give."""
    kind, cut, rest = name.partition("[")
    if cut:
        return kind in measure.PER_CLASS and rest.removesuffix("]") in classes
    return kind in measure.known() or name == UNKNOWN


def _with_range(figure: Figure, ruled: RangePolicy) -> Figure:
    if not ruled.own:
        return figure
    low = -math.inf if ruled.low is None else ruled.low
    high = math.inf if ruled.high is None else ruled.high
    ends = [end for end in (figure.low, figure.value, figure.high) if math.isfinite(end)]
    out = bool(ends) and (max(ends) < low or min(ends) > high)
    side = "below" if ends and max(ends) < low else "above"
    why = f"{figure.name} is {figure.value:.4g}, {side} the policy's range {low:.4g} to {high:.4g}" if out else ""
    return replace(figure, expected_low=low, expected_high=high, alert=out, why=why)


def _too_few(watch: Watch, policy: Policy) -> list[Reason]:
    if watch.n >= policy.least.objects:
        return []
    seen, needed = numbered(watch.n, "object"), policy.least.objects
    text = f"too little was seen to say more: {seen}, and {needed:,} are needed before figures decide."
    return [Reason(text, KEEP)]


def _of_figures(watch: Watch, policy: Policy, figures: Sequence[Figure]) -> list[Reason]:
    found: list[Reason] = []
    held: dict[str, int] = {}
    for figure in sorted((f for f in figures if f.alert), key=_order):
        own = policy.ranges.get(figure.name)
        effect: Effect = (own.effect if own is not None else None) or getattr(policy.effect, figure.kind)
        held[figure.kind] = held.get(figure.kind, 0) + 1
        if effect == "ignore" or held[figure.kind] > _MOST or watch.n < policy.least.objects:
            continue
        text = figure.why or f"{words(figure.name)} left its range."
        if figure.kind == "performance" and watch.labelled < policy.least.labels and effect == RETRAIN:
            there = "There is 1 label" if watch.labelled == 1 else f"There are {watch.labelled:,} labels"
            text = f"{text.rstrip('.')}. {there}, and {policy.least.labels:,} are needed before they decide."
            effect = "watch"
        found.append(Reason(text, effect, figure.name, _evidence(figure)))
    for kind, count in held.items():
        effect = getattr(policy.effect, kind)
        if count > _MOST and effect != "ignore" and watch.n >= policy.least.objects:
            rest = count - _MOST
            which = f"1 more figure of the kind {kind} left its range."
            text = which if rest == 1 else f"{rest:,} more figures of the kind {kind} left their ranges."
            found.append(Reason(text, WATCH if effect == WATCH or kind != "performance" else effect))
    return found


def _of_last(watch: Watch, policy: Policy) -> list[Reason]:
    """What alarms in the last of several periods, and not over all objects together: what began lately."""
    if len(watch.periods) < 2 or watch.periods[-1].n < policy.least.objects:
        return []
    last = watch.periods[-1]
    known = {figure.name for figure in watch.alerts}
    found = [f for f in last.alerts if f.name not in known and getattr(policy.effect, f.kind) != "ignore"]
    return [
        Reason(f"in the last period ({last.name}): {f.why or words(f.name) + ' left its range.'}", WATCH, f.name,
               _evidence(f), last.name)
        for f in found[:_MOST]
    ]  # fmt: skip


def _of_groups(watch: Watch, policy: Policy) -> list[Reason]:
    """What alarms in a group, and not over all objects together: the fault of one camera is not the model's."""
    known = {figure.name for figure in watch.alerts}
    found = []
    for group in watch.periods:
        own = [f for f in group.alerts if f.name not in known and getattr(policy.effect, f.kind) != "ignore"]
        if own and group.n >= policy.least.objects:
            first = min(own, key=_order)
            more = f", and {numbered(len(own) - 1, 'more figure')} left the range" if len(own) > 1 else ""
            text = f"{watch.column} {group.name}, {numbered(group.n, 'object')}: {first.why}{more}"
            found.append((_order(first), Reason(text, WATCH, first.name, _evidence(first), group.name)))
    reasons = [reason for _, reason in sorted(found, key=lambda pair: pair[0])]
    rest = len(reasons) - _MOST
    told = (
        [Reason(f"{rest:,} more groups of {watch.column} have figures out of their ranges.", WATCH)] if rest > 0 else []
    )
    return reasons[:_MOST] + told


def _order(figure: Figure) -> tuple[bool, bool, float]:
    """What labels say first, then single features, which a person can look at, before distances over all of them."""
    return figure.kind != "performance", figure.joint, -figure.score if math.isfinite(figure.score) else 0.0


def _evidence(figure: Figure) -> str:
    shown = f"{figure.value:.4g}"
    if math.isfinite(figure.low) and math.isfinite(figure.high):
        shown += f" [{figure.low:.4g}, {figure.high:.4g}]"
    if math.isfinite(figure.expected_low) and math.isfinite(figure.expected_high):
        return f"{shown}, expected {figure.expected_low:.4g} to {figure.expected_high:.4g}"
    if math.isfinite(figure.expected_low):
        return f"{shown}, expected at least {figure.expected_low:.4g}"
    return f"{shown}, expected at most {figure.expected_high:.4g}" if math.isfinite(figure.expected_high) else shown


def _of_age(policy: Policy, facts: Facts) -> list[Reason]:
    found: list[Reason] = []
    trained, dated = facts.trained, facts.dated
    if policy.age.trained is not None:
        on = policy.age.trained
        trained, dated = datetime(on.year, on.month, on.day, tzinfo=UTC), "by the policy"
    rests = f"It rests on data release {facts.release}." if facts.release else "Its data state no release."
    if policy.age.days and trained is not None and policy.age.effect != "ignore":
        age = (facts.now - trained) / _DAY
        if age > policy.age.days:
            text = f"it is {age:,.0f} days old, and {policy.age.days:,.0f} are allowed. {rests}"
            found.append(Reason(text, policy.age.effect, evidence=f"trained {trained:%Y-%m-%d}, {dated}"))
        elif age < 0:
            text = "it was trained in the future, by this clock: its age is not known."
            found.append(Reason(text, WATCH, evidence=f"trained {trained:%Y-%m-%d}, {dated}"))
    newest = policy.age.newest_release
    if newest and newest != facts.release:
        found.append(Reason(f"the newest data release is {newest}. {rests}", WATCH))
    return found


def _rested(reasons: list[Reason], policy: Policy, facts: Facts) -> list[Reason]:
    """Within the cool-down retraining is put off."""
    last = facts.promoted or facts.trained
    if last is None or not policy.cooldown.days:
        return reasons
    until = last + policy.cooldown.days * _DAY
    if not last <= facts.now < until:
        return reasons
    rest = f". Put off: the model changed on {last:%Y-%m-%d}, and rests until {until:%Y-%m-%d}."
    return [replace(r, effect=WATCH, text=r.text.rstrip(".") + rest) if r.effect == RETRAIN else r for r in reasons]


def _unmeasured(watch: Watch, policy: Policy) -> list[Reason]:
    known = {figure.name for figure in watch.figures}
    return [
        Reason(f"{words(name)} has a range in the policy, and no labels to measure it by.", "ignore", name)
        for name in policy.ranges
        if name not in known
    ]


def _next(kind: str, watch: Watch, policy: Policy, run: str, again: str) -> tuple[tuple[str, ...], str]:
    """The commands to run next, and what must be done before them."""
    run = shlex.quote(run)
    if kind == RETRAIN:
        return (f"estampa retrain {run} --data LABELLED -o CHALLENGER",), ""
    lacking = policy.least.labels - watch.labelled
    if kind == WATCH and lacking > 0:
        more = "more " if watch.labelled else ""
        said = f"label {lacking:,} {more}object{'' if lacking == 1 else 's'}"
        return (again or f"estampa monitor {run} --log LOG --labels FILE",), said
    return (), ""


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
