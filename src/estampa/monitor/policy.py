"""When to keep, watch or retrain a model: a file of rules that people set, policy.toml."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from estampa.errors import InputError
from estampa.monitor.figures import Figure, Watch
from estampa.recipe import Record, faults

Effect = Literal["ignore", "watch", "retrain"]
Days = Annotated[float, Field(ge=0, le=36_500)]


class AgePolicy(Record):
    """`[age]`: how old a model may be."""

    days: Days = 365  #: since it was trained; 0 = as old as it gets
    effect: Effect = "retrain"  #: what a model that is older asks for
    trained: date | None = None  #: when it was trained, where neither its run nor its files are to be asked
    newest_release: str = ""  #: of the data; a model that rests on another one is watched. "" = not known


class LeastPolicy(Record):
    """`[least]`: what must be there before a verdict rests on it."""

    objects: Annotated[int, Field(ge=1)] = 50  #: below so many the verdict is keep, as too little was seen
    labels: Annotated[int, Field(ge=1)] = 100  #: below so many figures with labels ask for no more than watching


class CooldownPolicy(Record):
    """`[cooldown]`: rest after a change, so that a model is not retrained on the echo of the last alarm."""

    days: Days = 7  #: since the model was promoted, or trained; meanwhile retraining is put off, and said


class EffectPolicy(Record):
    """`[effect]`: what a figure that left its range asks for, by its kind.

    Only figures with labels ask for retraining by themselves: without labels there is nothing to retrain on, and drift
    that costs no accuracy is no reason.
    """

    input: Effect = "watch"  #: what describes the objects
    embedding: Effect = "watch"  #: where they lie in the model's own space
    output: Effect = "watch"  #: classes and confidences answered
    flags: Effect = "watch"  #: answers with doubts, or none
    estimate: Effect = "watch"  #: accuracy estimated without labels
    performance: Effect = "retrain"  #: figures with labels


class RangePolicy(Record):
    """`[ranges."NAME"]`: one figure's own range instead of the learned one."""

    low: float | None = None  #: an interval that lies wholly below it has left the range; none = no lower end
    high: float | None = None  #: the same above
    effect: Effect | None = None  #: what leaving it asks for; none = as its kind

    @model_validator(mode="after")
    def _some(self) -> RangePolicy:
        ends = [end for end in (self.low, self.high) if end is not None]
        if not all(map(math.isfinite, ends)) or (len(ends) == 2 and ends[0] > ends[1]):
            raise ValueError("low must not be above high, and both be numbers")
        if not ends and self.effect is None:
            raise ValueError("a range needs low, high or effect")
        return self

    @property
    def own(self) -> bool:
        """Whether it replaces the learned range."""
        return self.low is not None or self.high is not None


class Policy(Record):
    """policy.toml, whole. Everything has a default: the ranges are then those learned from the bundle's reference."""

    age: AgePolicy = AgePolicy()
    least: LeastPolicy = LeastPolicy()
    cooldown: CooldownPolicy = CooldownPolicy()
    effect: EffectPolicy = EffectPolicy()
    ranges: dict[str, RangePolicy] = Field(default_factory=dict)
    _path: str = PrivateAttr("policy")

    @property
    def path(self) -> str:
        """Its file, for messages."""
        return self._path

    def __eq__(self, other: object) -> bool:
        """Alike in every key, wherever they were read."""
        return isinstance(other, Policy) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]


def read_policy(path: Path | str) -> Policy:
    """Read policy.toml; InputError says which key or value is wrong, and the nearest real key."""
    path = Path(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("cannot be read", where=path, got=error.strerror or "") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError("not TOML", where=path, got=str(error)) from error
    return parse_policy(tree, str(path))


def parse_policy(tree: Mapping[str, Any], where: str = "policy") -> Policy:
    """Check a tree of keys; all faults are told at once, in one InputError."""
    try:
        policy = Policy.model_validate(dict(tree))
    except ValidationError as error:
        raise InputError(faults(error, known_keys()), where=where) from None
    policy._path = where
    return policy


def known_keys() -> list[str]:
    """Every dotted key of a policy; of ranges, those of one called NAME."""
    keys = ["ranges"]
    for name, field in Policy.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Record):
            keys += [name, *(f"{name}.{key}" for key in kind.model_fields)]
    return [*keys, *(f"ranges.NAME.{key}" for key in RangePolicy.model_fields)]


def template(watch: Watch | None = None, policy: Policy | None = None) -> str:
    """A policy as TOML text to edit: every key with its value, and each watched figure's learned range as a comment."""
    policy = policy or Policy()
    lines = ["# When to keep, watch or retrain. What is left out has the value that stands here."]
    for name, field in Policy.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, Record)):
            continue
        lines += ["", f"[{name}]"]
        for key, value in getattr(policy, name).model_dump(mode="json").items():
            lines.append(f"# {key} = 2026-01-31" if value is None else f"{key} = {json.dumps(value)}")
    for name, one in policy.ranges.items():
        said = one.model_dump(mode="json", exclude_none=True).items()
        lines += ["", f"[ranges.{json.dumps(name)}]", *(f"{key} = {json.dumps(value)}" for key, value in said)]
    figures = [f for f in (watch.figures if watch else ()) if f.name not in policy.ranges and _ranged(f)]
    if figures and watch is not None:
        lines += ["", f"# Learned ranges, for {watch.n:,} objects. Take the # away to fix one whatever the number."]
    for figure in figures:
        ends = {"low": figure.expected_low, "high": figure.expected_high}
        told = [f"# {key} = {value:.6g}" for key, value in ends.items() if math.isfinite(value)]
        lines += [f"# [ranges.{json.dumps(figure.name)}]", *told]
    return "\n".join(lines) + "\n"


def _ranged(figure: Figure) -> bool:
    return math.isfinite(figure.expected_low) or math.isfinite(figure.expected_high)
