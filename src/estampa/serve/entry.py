"""What is asked on a page, before there is an answer: the chooser of models, presets, the form of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from estampa.bundle.store import Bundle
from estampa.page.display import Shown
from estampa.serve.drawn import Canvas, canvas_of
from estampa.serve.exhibits import exhibits
from estampa.serve.models import Model, Version
from estampa.serve.pages.words import Words
from estampa.serve.views import class_names, label_name, noun_of


@dataclass(frozen=True)
class Preset:
    """An object to try; `truth`: its class, or its value, as the data set says."""

    number: int
    id: str
    picture: Shown | None
    truth: str


@dataclass(frozen=True)
class Field:
    """A field of a table's form."""

    number: int
    name: str
    unit: str
    value: str
    range: str
    fault: str = ""


@dataclass(frozen=True)
class Kind:
    """A class with its most typical picture."""

    name: str
    picture: Shown | None


@dataclass(frozen=True)
class ClassifyPage:
    """The page around the answers."""

    title: str
    lead: str
    noun: str
    address: str
    empty: str
    presets: list[Preset]
    presets_from: str
    chosen: int | None
    columns: list[Field]
    drawing: Canvas | None
    kinds_known: list[Kind]
    accept: str
    kinds: str
    limit: int


def classify_page(version: Version, words: Words, address: str, limit: int, **now: Any) -> ClassifyPage:
    """The classify page of a model.

    `now`: `chosen` (a preset's number), `row` ((columns,) values in the form), `typed` and `faults` (column -> text
    that was typed, and what is wrong with it).
    """
    bundle, t = version.bundle, words
    noun, shown, names = noun_of(bundle), exhibits(version), class_names(bundle, words)
    presets = shown.presets
    listed: list[Preset] = []
    if presets is not None:
        thumbs: list[Shown | None] = [*shown.preset_thumbs] or [None] * len(presets)
        truths = [label_name(bundle, names, t, label) for label in presets.labels.tolist()]
        listed = [Preset(i, str(presets.ids[i]), thumbs[i], truths[i]) for i in range(len(presets))]
    what = "classes" if bundle.classes else "value"
    some = _joined(t, names)
    if len(names) > 13:
        some = t("classify.and_more", names=", ".join(names[:12]), n=len(names) - 12)
    return ClassifyPage(
        t(f"classify.title.{noun}" if bundle.classes else "classify.title_value"),
        t(f"classify.lead.{noun}_{what}", names=some), noun, address, t(f"empty.{noun}"), listed,
        t(f"classify.presets_from.{bundle.manifest.reference_part or 'train'}"), now.get("chosen"),
        _fields(bundle, t, now), None if bundle.of_table else canvas_of(bundle.pictures, presets),
        [Kind(name, shown.exemplar(k)) for k, name in enumerate(names)][:40],
        *_accepted(bundle, t, limit), limit,
    )  # fmt: skip


def _joined(words: Words, names: Sequence[str]) -> str:
    """Names as a list in a sentence: "a, b or c"."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {words('classify.or')} {names[-1]}"


def _accepted(bundle: Bundle, words: Words, limit: int) -> tuple[str, str]:
    """Which files the page takes, for the browser and in words."""
    if bundle.of_table:
        return "", ""
    height, width, channels = bundle.pictures.shape
    size = {
        "width": width,
        "height": height,
        "channels": words("answer.channels", n=channels),
        "limit": words.size(limit),
    }
    if reads_pictures(bundle):
        resized = bundle.pictures.read_record.mode and bundle.pictures.read_record.size
        return "image/*,.npy", words("classify.kinds_any" if resized else "classify.kinds_size", **size)
    return ".npy,.npz,.fits,.fit", words("classify.kinds_arrays", **size)


def reads_pictures(bundle: Bundle) -> bool:
    """Whether picture files can become what the model was fed."""
    contract = bundle.pictures
    return bool(contract.read_record.mode) or (contract.shape[2] in (1, 3) and contract.dtype != "float32")


def _fields(bundle: Bundle, words: Words, now: dict[str, Any]) -> list[Field]:
    if not bundle.of_table:
        return []
    row, typed, faults = now.get("row"), now.get("typed") or {}, now.get("faults") or {}
    fields = []
    for i, column in enumerate(bundle.table.columns):
        value = typed.get(i, "" if row is None else words.typed(float(row[i])))
        known = column.low is not None and column.high is not None
        told = words("cells.usual", low=words.short(column.low), high=words.short(column.high)) if known else ""
        fields.append(Field(i, column.name, column.unit, value, told, faults.get(i, "")))
    return fields


@dataclass(frozen=True)
class Item:
    """A model in the chooser."""

    name: str
    what: str
    pictures: list[Shown]
    columns: str
    figure: str


def chooser_items(models: Sequence[Model], words: Words) -> list[Item]:
    """What the chooser says of each model."""
    return [_item(model, words) for model in models]


def _item(model: Model, t: Words) -> Item:
    version = model.version
    bundle, shown = version.bundle, exhibits(version)
    names, noun = class_names(bundle, t), noun_of(bundle)
    what = t(f"chooser.{noun}", names=_joined(t, names[:6])) if bundle.classes else t("chooser.value")
    if len(names) > 6:
        what = t("chooser.many", n=len(names))
    pictures = [p for k in range(min(len(names), 6)) if (p := shown.exemplar(k)) is not None]
    if not names:
        pictures = [shown.thumb(place) for place in range(min(len(shown.labels), 6))]
    figure = ""
    part = t(f"part.{bundle.manifest.metrics.get('part') or 'test'}")
    known = {name: found.get("value") for name, found in bundle.manifest.metrics.get("metrics", {}).items()}
    if known.get("accuracy") is not None:
        figure = t("chooser.accuracy", percent=t.percent(known["accuracy"]), part=part)
    elif known.get("mae") is not None:
        figure = t("sure.off_value", off=t.short(known["mae"]), part=part)
    columns = ", ".join(bundle.table.column_names[:6]) + " …" if bundle.of_table else ""
    return Item(model.name, what, pictures, columns, figure)
