"""How sure an answer is, in words that rest on its calibrated probability and on the bundle's thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from estampa.bundle.store import Bundle
from estampa.serve.pages.words import Words

#: Probability from which a word is used, the strongest first; below the last one: none of them.
LEVELS = ((0.97, "high"), (0.85, "fair"), (0.6, "low"))
UNSURE, VALUE = "none", "value"
ROUGH, WRONG = 0.05, 0.1  #: judged calibration error from which on the words are weaker, and weaker still
FEW, MANY = 0.2, 0.5  #: share of a row's measurements that are missing from which on the same
#: How a bundle's decisions say that its percentages are not calibrated (train/calibrate.py).
UNCALIBRATED = ("probabilities are not calibrated", "trust no probability")
_SECOND = 0.1  #: a runner-up with this probability is named


@dataclass(frozen=True)
class Sure:
    """The word for how sure an answer is, what it means, and what it rests on.

    `level`: "high", "fair", "low" or "none"; "value" of a regression.
    """

    level: str
    word: str
    sentence: str
    basis: str = ""


@dataclass(frozen=True)
class Remark:
    """Something that the reader must know about an answer: `kind` is "warn" or "bad"."""

    kind: str
    title: str
    text: str


def level_of(bundle: Bundle, probability: float) -> str:
    """The word's key: below the bundle's threshold of confidence an answer is never called sure."""
    asked = bundle.thresholds.confidence
    if asked is not None and probability < asked:
        return UNSURE
    return next((level for least, level in LEVELS if probability >= least), UNSURE)


def _weaker(level: str, most: str) -> str:
    """A word's key, lowered to `most` where it is stronger."""
    order = [*(name for _, name in LEVELS), UNSURE]
    return max(level, most, key=order.index)


def most_of(bundle: Bundle) -> str:
    """The strongest word that a bundle's percentages are good for, by its judged calibration error and its decisions.

    "fair" from an error of `ROUGH` on, or where nothing was calibrated; "low" from `WRONG` on, where both hold, or
    where the error of what was not calibrated is not known.
    """
    error = bundle.manifest.metrics.get("metrics", {}).get("ece", {}).get("value")
    if uncalibrated(bundle):
        return "low" if error is None or error >= ROUGH else "fair"
    return "high" if error is None or error < ROUGH else "fair" if error < WRONG else "low"


def uncalibrated(bundle: Bundle) -> bool:
    """Whether a bundle says that its percentages were not calibrated, or could not be."""
    manifest = bundle.manifest
    asked = manifest.recipe.get("train", {}).get("calibrate", True)
    return not asked or any(told in line for line in manifest.decisions for told in UNCALIBRATED)


def missing_of(flags: Sequence[str]) -> int:
    """How many measurements of a row typical values stand for."""
    return sum(flag.count("|") + 1 for flag in flags if flag.startswith("imputed:"))


def sure_of(t: Words, bundle: Bundle, told: dict[str, Any], noun: str, names: Sequence[str]) -> Sure | None:
    """The words for one answer (a record as the API gives it); of a regression, how far off it was when tested."""
    metrics = bundle.manifest.metrics
    known, part = metrics.get("metrics", {}), t(f"part.{metrics.get('part') or 'test'}")
    if not bundle.classes:
        off = known.get("mae", {}).get("value")
        return None if off is None else Sure(VALUE, t("sure.value"), t("sure.off_value", off=t.short(off), part=part))
    probability = told["probability"]
    if "out_of_range" in told["flags"]:  # what was calibrated on other objects says nothing of this one
        return Sure(UNSURE, t("sure.word.outside"), t("sure.outside"))
    columns, missing = len(bundle.table.columns) if bundle.of_table else 0, missing_of(told["flags"])
    rough = {"percent": t.chance(probability), "missing": t.whole(missing), "all": t.whole(columns)}
    if missing and missing >= MANY * columns:
        return Sure(UNSURE, t("sure.word.outside"), t("sure.missing", **rough))
    most = most_of(bundle)
    few = missing > 0 and missing >= FEW * columns
    level = _weaker(level_of(bundle, probability), _weaker(most, "low" if few else "high"))
    said = _beside(t, bundle, told, names)
    error = known.get("ece", {}).get("value")
    off = {"points": t.number(None if error is None else 100 * error, 1), "part": part}
    large = error is not None and error >= ROUGH
    if few:
        said.append(t("sure.missing", **rough))
    elif large:
        said.append(t("sure.rough", **rough, **off))
    elif most != "high":
        said.append(t("sure.uncalibrated", **rough))
    else:
        out_of = 1000 if probability >= 0.995 else 100
        right = min(round(out_of * probability), out_of - 1)
        said.append(t(f"sure.often.{noun}", right=t.whole(right), of=t.whole(out_of)))
    basis = "" if error is None or large or few else t("sure.off", **off)
    return Sure(level, t(f"sure.word.{level}"), " ".join(said), basis)


def _beside(t: Words, bundle: Bundle, told: dict[str, Any], names: Sequence[str]) -> list[str]:
    """What is to be known beside a probability: the limit that it is below, the class that has more or comes next."""
    probability, said = told["probability"], []
    asked = bundle.thresholds.confidence
    if asked is not None and probability < asked:
        said.append(t("sure.below", percent=t.percent(asked)))
    top = max(told["probabilities"].values())
    if probability < top:
        said.append(t("sure.threshold", name=names[_best(told)], percent=t.chance(top)))
    else:
        others = sorted(told["probabilities"].items(), key=lambda pair: -pair[1])[1:]
        if others and others[0][1] >= _SECOND and len(names) > 2:
            second = names[bundle.classes.index(others[0][0])]
            said.append(t("sure.second", name=second, percent=t.chance(others[0][1])))
    return said


def _best(told: dict[str, Any]) -> int:
    shares = list(told["probabilities"].values())
    return shares.index(max(shares))


def remarks_of(t: Words, flags: Sequence[str], noun: str) -> list[Remark]:
    """The flags of an answer in words; one that the word for how sure it is has said already is left out."""
    found = []
    for flag in flags:
        name, _, rest = flag.partition(":")
        if name == "low_confidence":
            continue
        if not t.has(f"flag.{name}.title"):
            found.append(Remark("warn", flag, ""))
            continue
        key = f"flag.{name}.text"
        text = t(f"{key}_{noun}" if t.has(f"{key}_{noun}") else key, columns=rest.replace("|", ", "), reason=rest)
        bad = name in ("unreadable", "invalid")
        found.append(Remark("bad" if bad else "warn", t(f"flag.{name}.title"), text))
    return found
