"""The page and the lines of a watch: the result and the verdict first, then what moved most, over time, then all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from estampa import machine, measure, page
from estampa.files import require_writable, write_atomic
from estampa.measure import Interval
from estampa.monitor.decide import KEEP, PERIODS, Reason, Verdict, anchor
from estampa.monitor.drift import NAME as TOLD_APART
from estampa.monitor.estimate import NAME as ESTIMATE
from estampa.monitor.figures import KINDS, Figure, Period, Watch
from estampa.monitor.timeline import by_group, how_far, over_time
from estampa.page import Link, Section, Table
from estampa.page.table import short
from estampa.plain import numbered

PAGE, RECORD = "monitor.html", "monitor.json"
_MOST_DRAWN = 10  #: figures over time
_MOST_ROWS = 14  #: of the drawings of what moved
_MOST_REASONS, _MOST_PERIODS, _MOST_GROUPS = 5, 31, 16  #: that are shown without being asked for
_LEADING = ("balanced_accuracy", "accuracy", "macro_f1", "rmse")
_TITLES = {
    "input": "Inputs", "embedding": "Embedding", "output": "Answers", "flags": "Flags",
    "performance": "Performance, with labels", "estimate": "Accuracy without labels",
}  # fmt: skip
_OF = {"input": "inputs", "embedding": "embedding", "output": "answers", "flags": "flags", "performance": "performance"}
_SAID = {KEEP: "Keep", "watch": "Watch", "retrain": "Retrain"}


def headline(found: Watch) -> str:
    """The result in one sentence."""
    tested = sum(1 for f in found.figures if math.isfinite(f.score))
    bad = [p for p in found.periods if p.alerts]
    many, objects = len(found.periods), numbered(found.n, "object")
    periods = f", in {len(bad) or 'none'} of {many:,} {_unit(found, many)}" if many > 1 else ""
    if found.alerts:
        of = ", ".join(f"{n} of the {_OF[kind]}" for kind in _OF if (n := sum(f.kind == kind for f in found.alerts)))
        more = f"{len(found.alerts)} of {tested} figures left {'its' if len(found.alerts) == 1 else 'their'} range"
        return f"{more} on {objects}{periods} ({of}); farthest: {_farthest(found.alerts)}"
    if bad:
        return f"all {tested} figures of {objects} lie in their ranges, but something left its range{periods}"
    each = f", and in each of {many:,} {_unit(found, many)}" if many > 1 else ""
    return f"all {tested} figures of {objects} lie in their ranges{each}"


def _farthest(alerts: Sequence[Figure]) -> str:
    """What left its range farthest; where that is a distance over all features, the farthest single figure too."""
    said = f"{alerts[0].why} ({alerts[0].score:.2f} of its range)"
    one = next((f for f in alerts if not f.joint), None)
    if not alerts[0].joint or one is None:
        return said
    return f"{said}; of single figures, {one.why} ({one.score:.2f} of its range)"


def _unit(found: Watch, many: int) -> str:
    """What periods are called."""
    if found.column:
        return f"groups by {found.column}"
    name = "day" if found.by == "day" else "period"
    return name if many == 1 else f"{name}s"


def lines(found: Watch, most: int = 12) -> list[str]:
    """For a terminal, before the verdict: the headline, performance or its estimate, periods with alerts."""
    said = [headline(found), ""]
    for figure in found.figures:
        if figure.kind == "estimate" or figure.name in ("accuracy", "macro_f1", "rmse"):
            value = f"{short(figure.value)} [{_end(figure.low)}, {_end(figure.high)}]"
            if figure.relied:
                said.append(f"  {figure.name} {value}" + (f" ({figure.why})" if figure.why else ""))
            elif not found.labelled:
                said.append(f"  accuracy is not known: label some objects. Estimated without labels: {value},")
                said.append(f"  {figure.why}")
    bad = [p for p in found.periods if p.alerts] if len(found.periods) > 1 else []
    for p in bad[:most]:
        counts = f"{numbered(p.n, 'object')}: {numbered(len(p.alerts), 'alert')}"
        said.append(f"  {p.name}, {counts}, first {_first(p).name}")
    if len(bad) > most:
        said.append(f"  and {len(bad) - most} more {_unit(found, len(bad))} with alerts")
    return said


def _first(period: Period) -> Figure:
    """The alert that says most: of a single feature, if there is one."""
    return next((f for f in period.alerts if not f.joint), period.alerts[0])


def write_report(
    folder: Path, found: Watch, verdict: Verdict, command: str, examples: Section | None = None
) -> tuple[Path, Path]:
    """Write monitor.html and monitor.json into `folder`, and return their paths; StorageError where that cannot be.

    With `examples`, which may be of people's inputs, the page is readable for its owner only.
    """
    for name in (PAGE, RECORD):
        require_writable(folder / name)
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    whole = "all groups" if found.column else "a period"
    made = {
        "command": command, "Model": found.model,
        "Ranges": f"from {found.reference:,} objects of the bundle's reference; at most {found.rate:.3g} false alarms "
                  f"for {whole}, over all figures together",
        "Versions": ", ".join(f"{k} {versions[k]}" for k in ("estampa", "numpy") if versions.get(k)),
    }  # fmt: skip
    sections = [s for s in _sections(found, verdict, examples) if s.blocks]
    text = page.render("Watching a model", verdict.sentence, sections, made_by=made)
    record = found.to_json() | {"verdict": verdict.to_json()}
    write_atomic(folder / RECORD, json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_atomic(folder / PAGE, text, private=bool(examples and examples.blocks))
    return folder / PAGE, folder / RECORD


def _sections(found: Watch, verdict: Verdict, examples: Section | None) -> list[Section]:
    ranked = sorted(
        (f for f in found.figures if math.isfinite(f.score)), key=lambda f: (f.alert, f.score), reverse=True
    )
    made = [verdict_section(verdict, found), Section("moved", "What moved most", _moved(found, ranked[:_MOST_ROWS]))]
    made += [examples] if examples is not None else []
    if len(found.periods) > 1:
        title = f"By {found.column}" if found.column else "Over time"
        made.append(Section(PERIODS, title, [*_drawings(found, ranked), *_periods(found)]))
    made += [_of_kind(found, kind) for kind in ("performance", "estimate")]
    if found.confusion:
        made.append(Section("confusion", "Confusion", [_confusion(found)]))
    made += [_of_kind(found, kind) for kind in KINDS if kind not in ("performance", "estimate")]
    told: list[Any] = [page.Note("warn", f"{note[0].upper()}{note[1:]}.") for note in found.notes]
    if found.bad:
        told.append(page.Note("warn", f"{numbered(found.bad, 'line')} could not be read: not in these figures."))
        told.append(page.Details("The first of them", [page.Code("\n".join(found.faults))]))
    made.append(Section("notes", "What else to know", told))
    return made


def verdict_section(verdict: Verdict, found: Watch) -> Section:
    """The verdict in large, the numbers that it rests on, and its reasons, each linked to its evidence."""
    tested, many = sum(1 for f in found.figures if math.isfinite(f.score)), len(found.periods)
    bad, unit = sum(1 for p in found.periods if p.alerts), "groups" if found.column else _unit(found, many)
    items: list[tuple[str, Any, str]] = [
        ("verdict", _SAID[verdict.kind], "by its weightiest reason"),
        ("objects", f"{found.n:,}", f"{found.labelled:,} with a label" if found.labelled else "none with a label"),
        ("left their range", f"{len(found.alerts)} of {tested}",
         f"figures; in {bad or 'none'} of {many:,} {unit} something did" if many > 1 else "figures"),
    ]  # fmt: skip
    leading = _leading(found)
    if leading is not None:
        items.append(_known(leading))
    rows = [_reason(reason) for reason in verdict.reasons]
    blocks: list[Any] = [page.Headline(items), _reasons(rows[:_MOST_REASONS])]
    if verdict.next:
        caption = f"Next: {verdict.first}, then" if verdict.first else "Next"
        blocks.append(page.Code("\n".join(verdict.next), caption))
    if len(rows) > _MOST_REASONS:
        rest = len(rows) - _MOST_REASONS
        blocks.append(page.Details(numbered(rest, "more reason"), [_reasons(rows[_MOST_REASONS:])]))
    return Section("verdict", "Verdict", blocks)


def _known(leading: Figure) -> tuple[str, Any, str]:
    """The leading figure in large; in place of an estimate that is not to be relied on, that nothing is known."""
    if not leading.relied:
        return "accuracy", "not known", "label some objects: without labels it is not to be told here"
    value = Interval(leading.value, leading.low, leading.high) if math.isfinite(leading.low) else leading.value
    if leading.kind == "estimate":
        return "accuracy, estimated", value, "without labels"
    return _plain(leading.name), value, "with labels"


def _reasons(rows: Sequence[Sequence[Any]]) -> Table:
    return Table(("asks for", "reason", "evidence"), rows, stacked=True)


def _reason(reason: Reason) -> list[Any]:
    said = reason.evidence.partition(", expected")[0] if reason.figure else reason.evidence
    return [reason.effect, reason.text, Link(said or "its row", reason.link) if reason.figure else said or None]


def _leading(found: Watch) -> Figure | None:
    """The figure by which a model is known: with labels the accuracy, else its estimate; of values the error."""
    by_name = {figure.name: figure for figure in found.figures if math.isfinite(figure.value)}
    return next((by_name[name] for name in (*_LEADING, ESTIMATE) if name in by_name), None)


_READ_TIME = (
    "Each drawing is one figure. Shaded: the range in which it is expected for as many objects as {} has; the fewer, "
    "the wider. Line through a mark: the 95 % interval; an arrow head ends one that goes on beyond the drawing. A full "
    "triangle left its range."
)


def _moved(found: Watch, figures: Sequence[Figure]) -> list[Any]:
    if not figures:
        return []
    caption = (
        "How far each figure lies from the reference, in units of its range, which is shaded: 1 is the edge. A line "
        "with a break is longer than drawn. The ranges are as wide as is needed for all figures together to keep the "
        "stated rate of false alarms."
    )
    apart = [f for f in found.figures if f.name == TOLD_APART]
    said = [
        f"A linear classifier tells these objects from the reference with an AUC of {f.value:.2f} [{f.low:.2f}, "
        f"{f.high:.2f}]: 0.5 is not at all, 1 is always."
        for f in apart
    ]
    half = math.ceil(len(figures) / 2) if len(figures) > _MOST_ROWS // 2 else len(figures)
    parts = [part for part in (figures[:half], figures[half:]) if part]
    drawn = [page.Figure(how_far(part, figures), alt="Figures by how far they moved") for part in parts]
    return [page.Text(f"{headline(found)[0].upper()}{headline(found)[1:]}."),
            page.Figures(drawn, " ".join([caption, *said]))]  # fmt: skip


def _drawings(found: Watch, ranked: Sequence[Figure]) -> list[Any]:
    """Figures over periods or groups, side by side."""
    shown, read = list(found.periods), _READ_TIME.format("the group" if found.column else "the period")
    if found.column and len(shown) > _MOST_GROUPS:
        kept = sorted(shown, key=lambda p: (-len(p.alerts), -p.n))[:_MOST_GROUPS]
        shown = [p for p in shown if p in kept]
        read += f" {_MOST_GROUPS} of {len(found.periods)} groups: those with most out of range, then the largest."
    names = [p.name for p in shown]
    drawn = []
    for figure in _drawn(found, ranked):
        place = [next((f for f in p.figures if f.name == figure.name), None) for p in shown]
        every = [f for p in found.periods for f in p.figures if f.name == figure.name]
        many, out = f"{len(found.periods):,}", sum(f.alert for f in every)
        caption = f"{_plain(figure.name)}: out of its range in {out:,} of {many}."
        if figure.kind == "estimate":
            unsure = sum(not f.relied for f in every)
            caption = f"{figure.name}: not to be relied on in {unsure or 'none'} of {many}"
            caption += f" ({'grey ring' if unsure == 1 else 'grey rings'})." if unsure else "."
            caption += " It raises no alarm."
        drawing = by_group(names, place) if found.column else over_time(names, place)
        drawn.append(page.Figure(drawing, caption))
    return [page.Text(read), page.Figures(drawn)] if drawn else []


def _drawn(found: Watch, ranked: Sequence[Figure]) -> list[Figure]:
    """Figures worth a drawing: the leading one, those that alarmed in most periods, then those that moved farthest."""
    often: dict[str, float] = {}
    for period in found.periods:
        for figure in period.figures:
            if math.isfinite(figure.score):
                often[figure.name] = often.get(figure.name, 0.0) + figure.alert + min(max(figure.score, 0), 4) / 100
    leading = _leading(found)
    rest = sorted((f for f in ranked if f is not leading), key=lambda f: -often.get(f.name, 0.0))
    return [*([leading] if leading is not None else []), *rest][:_MOST_DRAWN]


def _periods(found: Watch) -> list[Any]:
    """Every period in a row."""
    leading = _leading(found)
    rows: list[list[Any]] = []
    for period in found.periods:
        one = next((f for f in period.figures if leading is not None and f.name == leading.name), None)
        value = None if one is None or not math.isfinite(one.value) else f"{short(one.value)} {_between(one)}".strip()
        value = value if one is None or one.relied else "not known"
        far = _first(period) if period.alerts else None
        rows.append([period.name, period.n, period.labelled, len(period.alerts), value, far.why if far else None])
    name = _plain(leading.name) if leading is not None else "accuracy"
    columns = [found.column or "period", "objects", "labelled", "out of range", name, "farthest"]
    table = Table(columns, rows, align={name: "right"}, stacked=True)
    if len(rows) <= _MOST_PERIODS:
        return [table]
    return [page.Details(f"All {len(rows):,} {_unit(found, len(rows))}", [table])]


def _of_kind(found: Watch, kind: str) -> Section:
    rows, ids = [], []
    for figure in found.figures:
        if figure.kind == kind:
            usual = f"{_end(figure.expected_low)} to {_end(figure.expected_high)}"
            usual = usual if math.isfinite(figure.expected_low) or math.isfinite(figure.expected_high) else "none"
            score = f"{figure.score:.2f}".replace("-", "\N{MINUS SIGN}") if math.isfinite(figure.score) else None
            said = "left its range" if figure.alert else figure.why
            value = short(figure.value) if math.isfinite(figure.value) else None
            rows.append([figure.name, value, _between(figure) or None, usual, score, said])
            ids.append(anchor(figure.name))
    if not rows:
        return Section(kind, _TITLES[kind], [])
    columns = ["figure", "value", "95 % interval", "range", "how far", ""]
    if not any(row[4] for row in rows):  # an estimate has a range and no alarm
        columns, rows = columns[:4] + columns[5:], [row[:4] + row[5:] for row in rows]
    said = _explained(found) if kind == "input" else ""
    table = Table(columns, rows, said, align=dict.fromkeys(columns[1:-1], "right"), ids=ids, stacked=True)
    return Section(kind, _TITLES[kind], [table])


def _explained(found: Watch) -> str:
    """What the names of features mean."""
    said = (
        "Typical: a mean that one wild object cannot move, in the units of the data. Spread: 1 is as wide as in the "
        "reference. Share: of the objects."
    )
    names = {f.name.partition(",")[0].rpartition(".")[2] for f in found.figures if f.kind == "input"}
    return f"{said} {_STATISTICS}" if names >= {"gradient", "centre"} else said


_STATISTICS = (
    "Of each channel: low and high are its 1st and 99th percentile, missing the share of pixels without a value, "
    "extreme that of pixels at the picture's own least or largest value, gradient the mean squared difference of "
    "neighbours, centre the mean of the central half of rows and columns, edge that of all others."
)


def _confusion(found: Watch) -> Table:
    rows = [[name, *counts] for name, counts in zip(found.classes, found.confusion, strict=True)]
    return Table(["truth \\ answer", *found.classes], rows, caption=f"{found.labelled:,} labelled objects.")


def _plain(name: str) -> str:
    """The name of a metric as words; others are told by what a user called them."""
    kind, cut, rest = name.partition("[")
    return f"{kind.replace('_', ' ')}{cut}{rest}" if kind in measure.known() else name


def _between(figure: Figure) -> str:
    if not (math.isfinite(figure.low) and math.isfinite(figure.high)):
        return ""
    return f"{short(figure.low)} to {short(figure.high)}"


def _end(value: float) -> str:
    return short(value) if math.isfinite(value) else "…"
