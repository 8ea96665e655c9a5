"""The page of a comparison: the recommendation first, then each figure, the classes, the slices, what it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from estampa import machine, page
from estampa.evaluate.judge import words
from estampa.files import require_writable, write_atomic
from estampa.measure import Interval
from estampa.monitor.comparison import (
    LOOK,
    SAID,
    Comparison,
    advantage,
    signed,
    verdict_of,
)
from estampa.page import Section, Table
from estampa.page.kept import Kept

PAGE, RECORD = "compare.html", "compare.json"
_MOST_ROWS = 40  #: of a drawing
_MOST_PICTURES = 12  #: of one side; half as many where each stands for several channels
_RIGHT: dict[str, Any] = {"difference": "right"}
_UNBOUNDED = ("log_loss", "mse", "rmse", "mae")  #: beside figures of 0 to 1 they would take the whole axis
_ENDS = ("champion better", "challenger better")


def write_report(folder: Path, found: Comparison, made_by: dict[str, Any]) -> tuple[Path, Path]:
    """Write compare.html and compare.json into `folder`, and return their paths; StorageError where that cannot be."""
    for name in (PAGE, RECORD):
        require_writable(folder / name)
    kept = Kept()
    sections = [s for s in _sections(found, kept) if s.blocks]
    lead = found.headline()
    text = page.render("Champion and challenger", lead, sections, made_by=made_by)
    write_atomic(folder / RECORD, json.dumps(found.to_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_atomic(folder / PAGE, text)
    return folder / PAGE, folder / RECORD


def made_by(command: str, found: Comparison, how: tuple[int, int]) -> dict[str, Any]:
    """How it was made, for the end of the page."""
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    return {
        "command": command,
        "Champion": [found.champion.path, found.champion.model],
        "Challenger": [found.challenger.path, found.challenger.model],
        "Data": found.data,
        "Intervals": f"95 % percentile bootstrap, {how[0]:,} resamples shared by both, seed {how[1]}",
        "Versions": ", ".join(f"{k} {versions[k]}" for k in ("estampa", "onnxruntime", "numpy") if versions.get(k)),
    }


def _sections(found: Comparison, kept: Kept) -> list[Section]:
    return [
        Section("result", "Recommendation", _result(found)),
        Section("figures", "Each figure", _figures(found, kept)),
        Section("unshared", "Classes that one model alone knows", _unshared(found, kept)),
        Section("classes", "Class by class", _classes(found, kept)),
        Section("parted", "Where they part", _parted(found, kept)),
        Section("slices", "Slices", _slices(found, kept)),
        Section("calibration", "Calibration", _calibration(found, kept)),
        Section("cost", "What they cost", [kept.table("cost", _costs(found))]),
        Section("tables", "Tables to take away", [kept.downloads()]),
    ]


def _result(found: Comparison) -> list[Any]:
    name, one = found.leading, found.recommendation
    turned = advantage(name, found.difference[name])
    side = "better beyond chance" if turned.low > 0 else "worse beyond chance" if turned.high < 0 else "0 lies inside"
    items = [
        (f"champion, {words(name)}", found.champion.judgement.metrics[name], found.champion.model),
        (f"challenger, {words(name)}", found.challenger.judgement.metrics[name], found.challenger.model),
        ("difference", found.difference[name], side),
    ]
    how = (
        f"Both answered the same {found.n:,} objects (part {found.part}), from which neither learned. Differences are "
        "the challenger's figure minus the champion's, from resamples that both share, so that what is hard for both "
        "does not widen them."
    )
    blocks: list[Any] = [page.Headline(items)]
    more = "\n\n".join(one.reasons[1:])
    if one.kind == LOOK:
        blocks.append(page.Note("warn", f"{SAID[one.kind]}: what follows speaks against it, or is not known."))
    if more:
        blocks.append(page.Text(more))
    return [*blocks, page.Text(" ".join([how, *found.notes()]))]


def figures(found: Comparison) -> Table:
    """Every figure over all classes."""
    rows = _pairs(found, [(name, words(name)) for name in found.figures()])
    caption = "The first figure decides. The challenger is better or worse where the interval leaves out 0."
    head = ["figure", "champion", "challenger", "difference", "change"]
    return Table(head, rows, caption=caption, align=_RIGHT, stacked=True)


def _pairs(found: Comparison, named: Sequence[tuple[str, str]]) -> list[list[Any]]:
    sides = found.champion.judgement, found.challenger.judgement
    rows = []
    for name, shown in sorted(named, key=lambda pair: pair[0] != found.leading):
        change = found.difference[name]
        rows.append([shown, *(s.metrics[name] for s in sides), signed(change, 3), verdict_of(name, change) or None])
    return rows


def _figures(found: Comparison, kept: Kept) -> list[Any]:
    listed = sorted(found.figures().items(), key=lambda pair: pair[0] != found.leading)
    bounded = [(words(name), name, change) for name, change in listed if name not in _UNBOUNDED]
    shares = [one for name, change in listed if name in _UNBOUNDED and (one := _share(found, name, change))]
    caption = (
        "The challenger's advantage with its 95 % interval: right of the line it is better, whatever the figure "
        "(errors and losses are turned round). Triangles: beyond chance, up better, down worse; rings: 0 lies inside."
    )
    apart = "The same of figures without an upper end, as shares of the champion's, on an axis of their own."
    drawn = [(bounded, caption, "each figure"), (shares, apart if bounded else f"{caption} {apart}", "each loss")]
    blocks = [
        page.Figure(_drawing(rows), said, f"Advantage of the challenger in {what}")
        for rows, said, what in drawn
        if rows
    ]
    return [*blocks, kept.table("figures", figures(found))]


def _share(found: Comparison, name: str, change: Interval) -> tuple[str, str, Interval] | None:
    """(label, figure, difference) to draw of a figure without an upper end: a share of the champion's."""
    whole = found.champion.judgement.metrics[name].value
    if not whole > 0:
        return None
    return f"{words(name)}, as a share", name, Interval(change.value / whole, change.low / whole, change.high / whole)


def _drawing(rows: Sequence[tuple[str, str, Interval]]) -> str:
    turned = [(shown, advantage(name, change), verdict_of(name, change)) for shown, name, change in rows]
    return page.forest(
        [(s, c.value, c.low, c.high, v) for s, c, v in turned], ends=_ENDS, unit="advantage of the challenger"
    )


def _classes(found: Comparison, kept: Kept) -> list[Any]:
    if not found.classes:
        return []
    both = found.champion.judgement.per_class, found.challenger.judgement.per_class
    rows, drawn = [], []
    for old, new in zip(*both, strict=True):
        for kind in ("recall", "precision", "f1"):
            change = found.difference.get(f"{kind}[{old['class']}]")
            if change is None:
                continue
            verdict = verdict_of(f"{kind}[", change)
            rows.append([old["class"], words(kind), old["n"], old[kind], new[kind], signed(change, 3), verdict or None])
            if kind == "recall":
                drawn.append((f"{old['class']} (n = {old['n']:,})", "recall[", change))
    blocks: list[Any] = []
    if drawn:
        caption = "Recall of each class, the challenger's minus the champion's, with its 95 % interval (of one look)."
        blocks.append(page.Figure(_drawing(drawn[:_MOST_ROWS]), caption, "Change of recall by class"))
    table = Table(["class", "figure", "n", "champion", "challenger", "difference", "change"], rows, align=_RIGHT)
    return [*blocks, page.Details("Recall, precision and F1 of each class", [kept.table("classes", table)])]


def _unshared(found: Comparison, kept: Kept) -> list[Any]:
    lone = found.unshared
    if lone is None:
        return []
    rows = [[one.name, one.known_by, one.n, one.recall, one.taken() or None] for one in lone.lone]
    caption = (
        "Recall is of the model that knows the class. The other one can only be wrong: the last column says what it "
        "answers. Objects of these classes count in every figure of this page."
    )
    head = ["class", "known by", "n", "recall", "the other says"]
    blocks: list[Any] = [kept.table("unshared", Table(head, rows, caption=caption))]
    if lone.difference is not None:
        text = (
            f"Of the {lone.n:,} objects of classes that both know, the challenger's {words(lone.figure)} minus the "
            f"champion's is {signed(lone.difference)}: what the new classes cost, or gain, on the others."
        )
        blocks.append(page.Text(text))
    return blocks


def _parted(found: Comparison, kept: Kept) -> list[Any]:
    counts = found.parted
    grouped = found.champion.judgement.groups
    tied = " It takes objects as independent; the intervals of this page hold groups together." if grouped else ""
    if not found.classes:
        text = (
            f"The champion is nearer on {counts.only_first:,} objects, the challenger on {counts.only_second:,}; as "
            f"near on {counts.neither:,}. Sign test: p = {counts.p:.2g}.{tied}"
        )
        return [page.Text(text)]
    rows = [
        ["champion right", counts.both, counts.only_first],
        ["champion wrong", counts.only_second, counts.neither],
    ]
    caption = (
        f"Counts of objects. McNemar's exact test on the {counts.only_first + counts.only_second:,} that one alone has "
        f"right: p = {counts.p:.2g}.{tied}"
    )
    table = kept.table("parted", Table(["", "challenger right", "challenger wrong"], rows, caption=caption))
    return [table, *_examples(found)]


def _examples(found: Comparison) -> list[Any]:
    """Objects that one alone has right, as pictures."""
    dataset = found.dataset
    if dataset.shape is None:
        return []
    tiles = 1 if dataset.shape[2] in (1, 3) else dataset.shape[2]
    most = _MOST_PICTURES if tiles == 1 else _MOST_PICTURES // 2
    place = {name: row for row, name in enumerate(np.asarray(dataset.ids).tolist())}
    right = found.said == found.truth[:, None]
    blocks: list[Any] = []
    for who, mine in (("challenger", right[:, 1] & ~right[:, 0]), ("champion", right[:, 0] & ~right[:, 1])):
        at = np.flatnonzero(mine)
        at = at[np.linspace(0, len(at) - 1, min(len(at), most)).astype(np.int64)]
        if not len(at):
            continue
        items = []
        other = 0 if who == "challenger" else 1
        for i in at.tolist():
            image = dataset.take(np.array([place[found.ids[i]]]))[0]
            wrong = found.classes[int(found.said[i, other])]
            items.append(page.Picture(image, found.classes[int(found.truth[i])], f"{found.ids[i]}: not {wrong}"))
        caption = (
            f"{len(items)} of the {int(mine.sum()):,} objects that the {who} alone has right, spread over them; below, "
            "what the other took them for."
        )
        blocks.append(
            page.Pictures(
                items, caption, columns=None if tiles == 1 else max(1, 6 // tiles), channels=dataset.header.channels,
                pixel_scale=dataset.header.pixel_scale,
            )
        )  # fmt: skip
    return [page.Details("Objects that one of the two alone has right", blocks)] if blocks else []


def _slices(found: Comparison, kept: Kept) -> list[Any]:
    if not found.slices:
        return [page.Text("No slice has 20 objects.")]
    values = not found.classes
    changed = sorted(
        (s for s in found.slices if s.change), key=lambda s: (s.change != "worse", -abs(s.difference.value))
    )
    what = "mean absolute error" if values else "share of right answers"
    rows = [
        [s.by, s.label, s.n, s.champion, s.challenger, signed(s.difference, 3), s.change or None] for s in found.slices
    ]
    table = Table(
        ["by", "slice", "n", "champion", "challenger", "difference", "change"],
        rows,
        caption=f"Figures: {what}.",
        align=_RIGHT,
    )
    looked = f"{len(found.slices):,} slices of at least 20 objects were looked at"
    bar = "the change must hold over all of them together (Bonferroni)"
    blocks: list[Any] = []
    if changed:
        blocks.append(page.Text(f"{looked}; {len(changed)} changed beyond chance, where {bar}."))
        turn = -1 if values else 1
        drawn = [(f"{s.name} (n = {s.n:,})", *_turned(s.difference, turn), s.change) for s in changed[:_MOST_ROWS]]
        caption = (
            f"Slices that changed, losses first: the challenger's advantage in {what}, with the 95 % interval of one "
            "look."
        )
        blocks.append(page.Figure(page.forest(drawn, ends=_ENDS), caption, "Change by slice"))
    else:
        blocks.append(page.Note("good", f"{looked}; none changed beyond chance, where {bar}."))
    return [*blocks, page.Details("Every slice", [kept.table("slices", table)])]


def _turned(change: Interval, sign: int) -> tuple[float, float, float]:
    ends = sorted((sign * change.low, sign * change.high))
    return sign * change.value, ends[0], ends[1]


def _calibration(found: Comparison, kept: Kept) -> list[Any]:
    known = [n for n in ("ece", "log_loss", "brier") if n in found.difference]
    if not known:
        return []
    rows = _pairs(found, [(name, words(name)) for name in known])
    columns = ["figure", "champion", "challenger", "difference", "change"]
    caption = (
        "Smaller is better in all. ECE is biased upward by chance, alike for both; log loss and Brier score are proper."
    )
    if found.unshared is not None:
        caption += (
            " A class that a model does not know has the probability 0 from it, of which the log loss is cut at 36."
        )
    return [kept.table("calibration", Table(columns, rows, caption=caption, align=_RIGHT, stacked=True))]


def _costs(found: Comparison) -> Table:
    rows = [[what, ours, theirs] for what, ours, theirs in found.champion.cost.beside(found.challenger.cost)]
    for what, one, two in (
        ("model", found.champion.model, found.challenger.model),
        ("recipe", found.champion.recipe, found.challenger.recipe),
        ("learned from", found.champion.data[:12], found.challenger.data[:12]),
        ("objects without an answer", f"{found.champion.unanswered:,}", f"{found.challenger.unanswered:,}"),
    ):
        rows.append([what, one, two])
    caption = (
        "Timed here on one thread, both in turn on the same objects: hold the columns against each other, not against "
        "other machines."
    )
    align: dict[str, Any] = {"champion": "right", "challenger": "right"}
    return Table(["", "champion", "challenger"], rows, caption=caption, align=align)
