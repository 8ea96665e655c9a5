"""The part of the contact sheet where a person ticks what to leave out."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from estampa.data.cleaning import KINDS, SUGGESTED, Suspect, Suspects, reason_of
from estampa.data.findings import CheckResult
from estampa.data.record import PARTS
from estampa.page import Choice, Choices, ChosenBar, Code, Details, Downloads, Note, Picture, Section, Table, Text

_SHOWN = 300  # of a kind on the page
_SIDE = 144  # pixels of a picture on the page
_RESTS = ("unreadable", "exact", "near")  # kinds of which what is not shown can be ticked unseen
SAVED = "exclude.csv"


def label_of(result: CheckResult, row: int) -> str:
    """The label of a row in words."""
    data = result.dataset
    if not data.labelled()[row]:
        return "no label"
    return data.classes[data.labels[row]] if data.task == "classification" else f"{data.labels[row]:.4g}"


def scale_unit(result: CheckResult) -> str:
    """The unit that a pixel's scale is stated in."""
    return str(result.dataset.header.origin.get("pixel_scale_unit", "″"))


def cleaning_sections(result: CheckResult, name: str) -> list[Section]:
    """The sections, the introduction first; `name` is how a shell names the data. [] where nothing was looked for."""
    found = result.cleaning
    if found is None:
        return []
    sections = [Section("clean", "What to leave out", _introduction(result, name))]
    sections += [Section(k.kind.replace("_", "-"), KINDS[k.kind][0], _kind(result, k), 3) for k in found.kinds]
    if found.unread:
        rows = [[one] for one in found.unread[:_SHOWN]]
        words = f"{len(found.unread):,} files in the folder are of a kind that no build reads; they are in no Dataset."
        shown = f"The first {_SHOWN}" if len(found.unread) > _SHOWN else "Their names"
        blocks = [Text(words), Details(shown, [Table(["file"], rows)])]
        sections.append(Section("unread", "Files that are not read", blocks, 3))
    return sections


def _introduction(result: CheckResult, name: str) -> list[Any]:
    found = result.cleaning
    assert found is not None
    suggested = len(found.suggested())
    if not any(map(len, found.kinds)):
        return [Note("good", "Nothing to leave out: no copies, nothing unreadable, nothing that stands out.")]
    beside = f"the file {result.listed.name} beside this page" if result.listed else "no file"
    words = (
        "Tick what you do not want, save the list, and build again without it. Nothing is deleted, and nothing is left "
        f"out unless you build with the list. {_suggestions(suggested)} The list as suggested is {beside}."
        "\n\nA click on a picture ticks it; Tab and the arrow keys go from one to the next, the space bar ticks. The "
        "same picture in several sections is ticked in all. What you tick is kept in this browser until you return."
    )
    without = f"The boxes show what is suggested and cannot be changed; that list is {beside}."
    facts = [result.dataset.content_sha256, *(f"{k.kind} {len(k)}" for k in found.kinds)]
    key = "estampa-clean-" + hashlib.sha256("\n".join(facts).encode()).hexdigest()[:20]
    blocks: list[Any] = [
        Text(words),
        Code(f"estampa build {name} -o clean.h5 --exclude {SAVED}"),
        ChosenBar(SAVED, key, without),
        Table(
            ["kind", "found", "suggested"],
            [[KINDS[k.kind][0], found.counts()[k.kind], sum(s.suggested for s in k.every())] for k in found.kinds],
            "Objects of each kind. Of what is ranked by a measure, found are those that stand out by more than 3.5 "
            "robust deviations; a few more are shown for comparison.",
        ),
    ]
    if not found.files:
        blocks.append(
            Text(
                "Sizes, shapes and frames of the files are not known from a Dataset: check the folder itself for them."
            )
        )
    return [*blocks, Downloads([("findings.csv", "text/csv", found.all_csv())])]


def _suggestions(count: int) -> str:
    if not count:
        return "Nothing is suggested: there are no exact copies and no unreadable files."
    one = "1 is" if count == 1 else f"{count:,} are"
    return f"{one} ticked already: exact copies but one of each, and unreadable files, as neither loses anything."


def _kind(result: CheckResult, kind: Suspects) -> list[Any]:
    data = result.dataset
    said = [Text(KINDS[kind.kind][1]), *([Note("note", kind.remark)] if kind.remark else [])]
    if not kind.groups:
        return said
    shown, hidden = _split(kind)
    rows = np.array([s.row for group in shown for s in group if s.row >= 0], np.int64)
    order = np.unique(rows)
    images = dict(zip(order.tolist(), data.take(order), strict=True)) if data.shape is not None and len(order) else {}
    groups = [[_choice(result, kind.kind, one, images.get(one.row)) for one in group] for group in shown]
    rest, words, ticked = _rest(kind, hidden)
    header = data.header
    block = Choices(
        kind.kind, groups, _caption(kind, shown), rest, words, ticked, channels=header.channels,
        pixel_scale=header.pixel_scale, scale_unit=scale_unit(result), side=_SIDE,
    )  # fmt: skip
    return [*said, block]


def _split(kind: Suspects) -> tuple[list[tuple[Suspect, ...]], list[Suspect]]:
    """The groups that are shown, cut to what a page can bear; and of those that are not, all but each first."""
    keep = 0 if kind.kind == "unreadable" else 1
    shown: list[tuple[Suspect, ...]] = []
    hidden: list[Suspect] = []
    room = _SHOWN
    for group in kind.groups:
        if room >= len(group):
            shown.append(group)
        elif not shown:  # one group larger than a page
            shown.append(group[:room])
            hidden += group[room:]
        else:
            hidden += group[keep:]
        room -= len(group) if room >= len(group) else room
    return shown, hidden


def _rest(kind: Suspects, hidden: list[Suspect]) -> tuple[list[tuple[str, str]], str, bool]:
    """What is not shown and one box ticks: (id, reason), the box's words, whether it is ticked.

    Near duplicates are not suggested, but exact copies among them are: then the box is for these, so that what the page
    saves is what is suggested.
    """
    if kind.kind not in _RESTS or not hidden:
        return [], "", False
    copies = [s for s in hidden if s.suggested]
    if kind.kind not in SUGGESTED and copies:
        return (
            [(s.id, reason_of(kind.kind, s)) for s in copies],
            f"Also {len(copies):,} exact copies among the {len(hidden):,} that are not shown here",
            True,
        )
    what = "" if kind.kind == "unreadable" else ", all but the first of each group"
    words = f"Also the {len(hidden):,} that are not shown here{what}"
    return [(s.id, reason_of(kind.kind, s)) for s in hidden], words, kind.kind in SUGGESTED


def _choice(result: CheckResult, kind: str, one: Suspect, image: np.ndarray | None) -> Choice:
    reason = reason_of(kind, one)
    if one.row < 0 or image is None:
        return Choice(one.id, None, reason, one.suggested)
    part = PARTS[result.dataset.split[one.row]] if result.dataset.split[one.row] else ""
    note = " · ".join(filter(None, [one.id, part, one.note]))
    return Choice(one.id, Picture(image, label_of(result, one.row), note), reason, one.suggested)


def _caption(kind: Suspects, shown: list[tuple[Suspect, ...]]) -> str:
    count, total = sum(map(len, shown)), len(kind)
    cut = f" The first {count:,} of {total:,} are shown; all are in findings.csv above." if count < total else ""
    if kind.kind == "unreadable":
        return f"The file, and why it cannot be read.{cut}"
    what = "Label, id" + ("" if kind.kind in ("exact", "label_conflict", "near") else " and measure")
    if kind.standing is None:
        return f"{what}.{cut}" if cut else f"{what}; all {total:,} are shown."
    rest = total - kind.standing
    some = {0: "none stands out", 1: "the first stands out"}.get(
        kind.standing, f"the first {kind.standing:,} stand out"
    )
    return f"{what}, the farthest first: {some}{f', {rest:,} more for comparison' if rest else ''}.{cut}"
