"""What the model's page shows: how well it does, what it confuses, its classes, what it reads and how it was made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import measure
from estampa.bundle.store import Bundle
from estampa.page.display import Shown
from estampa.serve.exhibits import exhibits
from estampa.serve.models import Model, Version
from estampa.serve.pages.markdown import Block, blocks
from estampa.serve.pages.words import Words
from estampa.serve.views import class_names

_SHADES = 8  #: of the cells of the confusion matrix
_MOST_CLASSES = 40  #: that the matrix is drawn for
_CARD, _CARD_MOST = "README.md", 200_000  #: the card, and how many characters of it are shown
_PERCENT = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Figure:
    """A figure with its interval."""

    name: str
    value: str
    interval: str
    meaning: str


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix; `right`: on the diagonal."""

    share: str
    count: str
    shade: int
    right: bool


@dataclass(frozen=True)
class MatrixRow:
    """A true class."""

    name: str
    cells: list[Cell]


@dataclass(frozen=True)
class Matrix:
    """Rows are truth, columns are answers."""

    names: Sequence[str]
    rows: list[MatrixRow]
    caption: str


@dataclass(frozen=True)
class ClassShown:
    """A class with training examples; `original` is its name in the data where that differs."""

    name: str
    original: str
    figures: str
    pictures: list[Shown]


@dataclass(frozen=True)
class ColumnShown:
    """A column of the table."""

    name: str
    unit: str
    least: str
    greatest: str


@dataclass(frozen=True)
class AboutPage:
    """The whole page."""

    title: str
    lead: str
    figures: list[Figure]
    judged: str
    matrix: Matrix | None
    classes: list[ClassShown]
    classes_words: str
    reads: list[tuple[str, str]]
    columns: list[ColumnShown]
    made: list[tuple[str, str]]
    decisions: Sequence[str]
    card: list[Block]


def about_page(model: Model, version: Version, words: Words) -> AboutPage:
    """The model's page, in a language."""
    bundle, t = version.bundle, words
    metrics, names = bundle.manifest.metrics, class_names(bundle, t)
    shown = exhibits(version)
    return AboutPage(
        t("about.title", name=model.name), _lead(metrics, t), _figures(metrics, t), _judged(metrics, t),
        _matrix(bundle, names, t), _classes(version, names, t),
        t("about.class_words", count=t.whole(len(shown.labels))) if len(shown.labels) else "",
        _reads_table(bundle, t) if bundle.of_table else _reads_pictures(bundle, t), _columns(bundle, t),
        _made(version, names, t), bundle.manifest.decisions, _card(bundle),
    )  # fmt: skip


def _value(metrics: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    found = metrics.get("metrics", {}).get(name)
    return found if isinstance(found, dict) and isinstance(found.get("value"), int | float) else None


def _interval(value: Mapping[str, Any], write: Callable[[float], str], t: Words, key: str = "about.to") -> str:
    """The interval of a figure; "" where it has none, as of a single object."""
    low, high = value.get("low"), value.get("high")
    return "" if low is None or high is None else t(key, low=write(low), high=write(high))


def _lead(metrics: Mapping[str, Any], t: Words) -> str:
    count, part = t.whole(metrics.get("n", 0)), t(f"part.{metrics.get('part') or 'test'}")
    accuracy, off = _value(metrics, "accuracy"), _value(metrics, "mae")
    if accuracy:
        said = _interval(accuracy, t.percent, t, "about.interval_of") or t("about.interval_none")
        return t("about.lead_accuracy", percent=t.percent(accuracy["value"]), count=count, part=part, interval=said)
    if off:
        said = _interval(off, t.short, t, "about.interval_of") or t("about.interval_none")
        return t("about.lead_value", off=t.short(off["value"]), count=count, part=part, interval=said)
    return t("about.lead_none")


def _judged(metrics: Mapping[str, Any], t: Words) -> str:
    if not metrics.get("metrics"):
        return ""
    intervals = metrics.get("intervals", {})
    over = "groups" if intervals.get("over") == "groups" else "objects"
    method = t(f"about.over.{over}", count=t.whole(intervals.get("units") or metrics.get("n", 0)))
    any_of = any(_interval(value, t.short, t) for name in metrics["metrics"] if (value := _value(metrics, name)))
    told = t("about.intervals_by", method=method) if any_of else t("about.intervals_none")
    return t(f"about.judged.{metrics.get('part') or 'test'}", count=t.whole(metrics.get("n", 0)), intervals=told)


def _figures(metrics: Mapping[str, Any], t: Words) -> list[Figure]:
    found = []
    for name in metrics.get("metrics", {}):
        value = _value(metrics, name)
        if value is None:
            continue
        write = t.percent if name in _PERCENT else lambda x: t.number(x, 3)
        known = t.has(f"metric.{name}.name")
        interval = _interval(value, write, t) or t("about.interval_none")
        found.append(
            Figure(
                t(f"metric.{name}.name") if known else name, write(value["value"]), interval,
                t(f"metric.{name}.meaning") if known else "",
            )
        )  # fmt: skip
    return found


def counts_of(bundle: Bundle) -> tuple[np.ndarray, str] | None:
    """The confusion matrix (k, k), rows are truth, and the part that it is of; None for a regression.

    It is the one that the bundle was judged by; without one, it is counted on the examples that the bundle keeps to
    compare new data with.
    """
    if not bundle.classes:
        return None
    metrics = bundle.manifest.metrics
    given = metrics.get("confusion")
    size = (len(bundle.classes), len(bundle.classes))
    if given is not None and np.shape(given) == size:
        return np.asarray(given, np.int64), str(metrics.get("part") or "test")
    kept = bundle.tensors("reference")
    known = np.isfinite(kept["output"]).all(axis=1) & (kept["labels"] >= 0)
    if not known.any():
        return None
    predicted = measure.decide(kept["output"][known], bundle.thresholds.decision)
    counts = measure.confusion_matrix(kept["labels"][known], predicted, len(bundle.classes))
    return counts, bundle.manifest.reference_part or "validation"


def _matrix(bundle: Bundle, names: Sequence[str], t: Words) -> Matrix | None:
    found = counts_of(bundle)
    if found is None or len(names) > _MOST_CLASSES:
        return None
    counts, part = found
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        MatrixRow(
            name,
            [
                Cell(t.percent(shares[i, j]), t.whole(counts[i, j]), round(_SHADES * float(shares[i, j])), i == j)
                for j in range(len(names))
            ],
        )
        for i, name in enumerate(names)
    ]
    return Matrix(names, rows, t("about.matrix", count=t.whole(counts.sum()), part=t(f"part.{part}")))


def _classes(version: Version, names: Sequence[str], t: Words) -> list[ClassShown]:
    bundle, shown = version.bundle, exhibits(version)
    judged = {str(row.get("class")): row for row in bundle.manifest.metrics.get("per_class", [])}
    found = []
    for k, (original, name) in enumerate(zip(bundle.classes, names, strict=True)):
        row = judged.get(original)
        said = ""
        if row and all(isinstance(row.get(key, {}).get("value"), int | float) for key in ("recall", "precision")):
            said = t(
                "about.class_figures", count=t.whole(row["n"]), recall=t.percent(row["recall"]["value"]),
                precision=t.percent(row["precision"]["value"]),
            )  # fmt: skip
        found.append(ClassShown(name, original if original != name else "", said, shown.examples(k)))
    return found


def _reads_pictures(bundle: Bundle, t: Words) -> list[tuple[str, str]]:
    contract = bundle.pictures
    height, width, channels = contract.shape
    size = {"width": width, "height": height, "channels": t("answer.channels", n=channels)}
    facts = [(t("about.pictures"), t("about.pixels", dtype=contract.dtype, **size))]
    if contract.channels:
        facts.append((t("about.channels"), ", ".join(contract.channels)))
    facts.append((t("about.units"), contract.units or t("about.unknown")))
    if contract.pixel_scale:
        facts.append((t("about.scale"), t.short(contract.pixel_scale)))
    resized = bool(contract.read_record.mode and contract.read_record.size)
    facts.append((t("about.resized"), t("about.resized_yes" if resized else "about.resized_no")))
    low, high = min(contract.range.low), max(contract.range.high)
    facts.append((t("about.range"), t("about.to", low=t.short(low), high=t.short(high))))
    return facts


def _reads_table(bundle: Bundle, t: Words) -> list[tuple[str, str]]:
    contract = bundle.table
    return [
        (t("about.rows"), t("about.columns_of", count=t.whole(len(contract.columns)))),
        (t("about.invalid"), t(f"about.invalid_{contract.invalid}")),
    ]


def _columns(bundle: Bundle, t: Words) -> list[ColumnShown]:
    if not bundle.of_table:
        return []
    nothing = float("nan")
    return [
        ColumnShown(
            c.name, c.unit, t.short(nothing if c.minimum is None else c.minimum),
            t.short(nothing if c.maximum is None else c.maximum),
        )
        for c in bundle.table.columns
    ]  # fmt: skip


def _made(version: Version, names: Sequence[str], t: Words) -> list[tuple[str, str]]:
    bundle = version.bundle
    manifest = bundle.manifest
    model, count = [str(manifest.model["name"])] if manifest.model.get("name") else [], manifest.model.get("parameters")
    if isinstance(count, int):
        model.append(t("about.parameters", n=count))
    facts = [
        (t("about.model"), ", ".join(model) or t("about.unknown")),
        (t("about.recipe"), manifest.name),
        (t("about.hash"), bundle.hash + (f" ({version.number})" if version.number else "")),
    ]
    parts = {part: t.whole(manifest.parts.get(part, 0)) for part in ("train", "validation", "test")}
    facts.append((t("about.objects"), t("about.parts", **parts)))
    origin = manifest.data.get("origin") or {}
    said = [str(origin.get(key)) for key in ("builder", "name") if origin.get(key)] if isinstance(origin, dict) else []
    if isinstance(origin, dict) and origin.get("simulated"):
        said.append(t("about.simulated"))
    said += [str(manifest.data["release"])] if manifest.data.get("release") else []
    facts.append((t("about.origin"), ", ".join(said) or t("about.unknown")))
    facts.append((t("about.licence"), str(manifest.data.get("licence") or t("about.unknown"))))
    thresholds = bundle.thresholds
    if thresholds.decision is not None and len(names) == 2:
        percent = t.percent(thresholds.decision)
        facts.append((t("about.threshold"), t("about.threshold_decision", name=names[1], percent=percent)))
    if thresholds.confidence is not None:
        percent = t.percent(thresholds.confidence)
        facts.append((t("about.threshold"), t("about.threshold_confidence", percent=percent)))
    facts.append((t("about.versions"), ", ".join(f"{k} {v}" for k, v in sorted(manifest.versions.items()))))
    return facts


def _card(bundle: Bundle) -> list[Block]:
    """The card, as it was written or filled in by hand; nothing where it cannot be read."""
    try:
        with (bundle.folder / _CARD).open(encoding="utf-8", errors="replace") as stream:
            return blocks(stream.read(_CARD_MOST))
    except OSError:
        return []
