"""The contact sheet of a Dataset, one HTML page: what was found, how the objects look, how their values spread."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from estampa import machine
from estampa.data.findings import CheckResult, Finding
from estampa.data.record import PARTS
from estampa.data.sheet_cleaning import cleaning_sections, label_of, scale_unit
from estampa.page import (
    Details,
    Facts,
    Figure,
    Headline,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
    histogram,
    render,
)
from estampa.page.blocks import NoteKind

_EXAMPLES, _CLASSES, _SETS, _CHANNELS = 8, 40, 12, 12
_TITLES = {
    "exact_across": "Copies on both sides of the split",
    "near_across": "Near duplicates on both sides of the split",
    "group_torn": "Groups torn by the split",
    "missing_pixels": "Missing pixels",
    "fill_values": "Fill values",
    "flat_channel": "Pictures with a channel of one value",
}
_NOTES: dict[str, NoteKind] = {"refuse": "bad", "warn": "warn", "note": "note"}


def contact_sheet(result: CheckResult, *, seed: int = 0) -> str:
    """Return the page as HTML text; `seed` chooses the examples."""
    data = result.dataset
    sections = [Section("result", "Result", _verdict(result)), *cleaning_sections(result, _asked(result))]
    shown = [f for f in result.findings if f.kind in _TITLES and data.shape is not None and len(f.rows)]
    sections += [Section(f.kind.replace("_", "-"), _TITLES[f.kind], _finding(result, f), 3) for f in shown]
    caption = "Objects in each class and part. Bars are drawn from zero."
    classes = result.classes_table()
    counts = Table(classes.columns, classes.rows, caption, drawn="all")
    sections.append(Section("classes", "Classes" if data.task == "classification" else "Objects", [counts]))
    if data.shape is not None:
        sections.append(Section("examples", "Examples", _examples(result, np.random.default_rng(seed)), 3))
        sections.append(Section("values", "Values", _values(result)))
    sections.append(Section("data", "The data", [Facts(_facts(result))]))
    return render(f"Contact sheet of {_name(result)}", _lead(result), sections, made_by=_made_by(result))


def _made_by(result: CheckResult) -> dict[str, Any]:
    near = "" if result.near is not None else " --no-near"
    return {
        "command": f"estampa check {_asked(result)}{near} --page FILE",
        "estampa": machine.version_of("estampa") or "not installed",
        "content SHA-256": result.dataset.content_sha256,
        "seconds": f"{result.seconds:.1f}",
    }


def _name(result: CheckResult) -> str:
    """What a person calls the data: the file, or for a source that was read into the cache, that source."""
    return ", ".join(_paths(result))


def _asked(result: CheckResult) -> str:
    """The same as a shell wants it."""
    return shlex.join(_paths(result))


def _paths(result: CheckResult) -> list[str]:
    data = result.dataset
    cached = data.fingerprint.startswith(data.path.stem)
    return list(data.header.origin.get("paths", [])) if cached else [data.path.name]


def _lead(result: CheckResult) -> str:
    data = result.dataset
    shape = f" of {' × '.join(map(str, data.shape))}" if data.shape else ""
    kind = f"{len(data.classes)} classes" if data.task == "classification" else data.task
    refused = sum(f.severity == "refuse" for f in result.findings)
    warned = sum(f.severity == "warn" for f in result.findings)
    if refused:
        verdict = "Do not trust a score from this split: objects are on both sides of it."
    elif warned:
        verdict = f"{warned} thing{'s' if warned > 1 else ''} to know before a score is believed."
    else:
        verdict = "Nothing was found that would spoil a score."
    return f"{data.n:,} objects{shape}, {kind}. {verdict}"


def _verdict(result: CheckResult) -> list[Any]:
    data = result.dataset
    leaking = len(result.near_across)
    items: list[tuple[str, Any, str]] = [("objects", data.n, data.dtype.name if data.shape else "table")]
    if data.task == "classification":
        items.append(("classes", len(data.classes), "named in the file"))
    if (data.split > 0).any():
        tests = int((data.split == PARTS.index("test")).sum())
        items.append(("test objects with a twin", leaking, f"in train or validation, of {tests:,}"))
    if result.near is not None:
        items.append(("near duplicates", len(result.near), "pairs"))
    notes: list[Any] = [
        Note(_NOTES[f.severity], f.message if f.message.endswith("…") else f.message + ".") for f in result.findings
    ]
    if not notes:
        notes = [Note("good", "No missing values, no copies, no torn groups, no odd labels.")]
    return [Headline(items), *notes]


def _finding(result: CheckResult, finding: Finding) -> list[Any]:
    data = result.dataset
    if not finding.sets:
        rows = finding.rows[:_EXAMPLES]
        return [_pictures(result, rows, _of(len(rows), len(finding.rows), "picture") + ".")]
    sets = [np.asarray(s)[:4] for s in finding.sets[:_SETS]]
    blocks: list[Any] = []
    if all(len(s) == 2 for s in sets):
        rows = np.concatenate(sets)
        caption = f"{_of(len(sets), len(finding.sets), 'pair')}, the two of a pair beside each other."
        blocks.append(_pictures(result, rows, caption, paired=True))
    else:
        caption = f"{_of(len(sets), len(finding.sets), 'set')}, at most four of each, one set after the other."
        blocks.append(_pictures(result, np.concatenate(sets), caption))
    ids = [[" · ".join(str(data.ids[r]) for r in s[:6]), len(s)] for s in finding.sets[:200]]
    blocks.append(
        Details(
            "Their ids" if len(ids) == len(finding.sets) else f"The first {len(ids)} ids",
            [Table(["ids", "objects"], ids)],
        )
    )
    return blocks


def _of(shown: int, total: int, noun: str) -> str:
    """Say how many of how many: "The one pair", "All 8 pairs", "The first 12 of 852 pairs"."""
    if shown == total:
        return f"The one {noun}" if total == 1 else f"All {total:,} {noun}s"
    return f"The first {shown:,} of {total:,} {noun}s"


def _pictures(result: CheckResult, rows: np.ndarray, caption: str, *, paired: bool = False) -> Pictures:
    data = result.dataset
    order = np.argsort(rows, kind="stable")
    images = np.empty((len(rows), *(data.shape or ())), data.dtype)
    images[order] = data.take(np.asarray(rows)[order])
    items = []
    for row, image in zip(np.asarray(rows).tolist(), images, strict=True):
        part = PARTS[data.split[row]] if data.split[row] else ""
        items.append(Picture(image, label_of(result, row), ", ".join(filter(None, [str(data.ids[row]), part]))))
    header = data.header
    return Pictures(
        items,
        caption,
        channels=header.channels,
        pixel_scale=header.pixel_scale,
        scale_unit=scale_unit(result),
        paired=paired,
    )


def _examples(result: CheckResult, rng: np.random.Generator) -> list[Any]:
    data = result.dataset
    blocks: list[Any] = []
    if data.task == "classification":
        every = [(name, np.flatnonzero(data.labels == c)) for c, name in enumerate(data.classes)]
        for name, rows in every[:_CLASSES]:
            if len(rows):
                chosen = np.sort(rng.choice(rows, min(_EXAMPLES, len(rows)), replace=False))
                blocks.append(_pictures(result, chosen, f"{name}: {len(chosen)} of {len(rows):,}, chosen at random."))
        if len(every) > _CLASSES:
            blocks.append(Text(f"The first {_CLASSES} of {len(every):,} classes are shown."))
    rest = np.flatnonzero(~data.labelled()) if data.task == "classification" else np.arange(data.n)
    if len(rest):
        chosen = np.sort(rng.choice(rest, min(2 * _EXAMPLES, len(rest)), replace=False))
        what = "Without label" if data.task == "classification" else "All"
        blocks.append(_pictures(result, chosen, f"{what}: {len(chosen)} of {len(rest):,}, chosen at random."))
    return blocks


def _values(result: CheckResult) -> list[Any]:
    looked, header = result.survey, result.dataset.header
    assert looked is not None
    count = len(looked.low)
    names = list(header.channels) or [f"channel {c + 1}" for c in range(count)]
    rows = [[names[c], looked.low[c], looked.mean[c], looked.high[c]] for c in range(count)]
    whole = result.dataset.dtype.kind == "u"
    numbers = [[r[0], int(r[1]) if whole else r[1], r[2], int(r[3]) if whole else r[3]] for r in rows]
    blocks: list[Any] = [
        Table(["channel", "lowest", "mean", "highest"], numbers, "Finite values of all objects, as stored.", decimals=2)
    ]
    for c in range(min(count, _CHANNELS)):
        low, high = (float(v) for v in looked.edges[c])
        ends = (
            "from 0 to the largest value"
            if result.dataset.dtype == np.uint8
            else "the middle 99.8 %; what lies beyond is in the end bins"
        )
        high = high - 1 if result.dataset.dtype == np.uint8 else high
        svg = histogram(looked.histograms[c].tolist(), low, high, unit=header.units, width=640, height=140)
        caption = f"{names[c]}: values of {looked.sampled:,} evenly spaced objects, {ends}."
        blocks.append(Figure(svg, caption, f"histogram of {names[c]}"))
    return blocks


def _facts(result: CheckResult) -> dict[str, Any]:
    data, header = result.dataset, result.dataset.header
    facts: dict[str, Any] = {
        "name": _name(result),
        "read from": header.read.source,
        "shape": " × ".join(map(str, data.shape)) + f", {header.dtype}" if data.shape else "table",
        "channels": list(header.channels),
        "units": header.units,
        "pixel scale": header.pixel_scale,
        "release": header.release,
        "licence": header.licence,
        "split": data.summary()["split"],
    }
    return {name: value for name, value in facts.items() if value not in ("", None, [])}
