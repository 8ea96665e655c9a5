"""The page and the lines of a watch: the result and the verdict first, then what moved most, over time, then all."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from estampa import machine, page
from estampa.files import require_writable, write_atomic
from estampa.measure import Interval
from estampa.monitor.decide import Verdict, anchor
from estampa.monitor.decide import section as verdict_section
from estampa.monitor.figures import KINDS, Figure, Watch
from estampa.monitor.timeline import how_far, over_time
from estampa.page import Section, Table
from estampa.page.table import number

PAGE, RECORD = "monitor.html", "monitor.json"
_MOST_DRAWN = 10  #: figures over time
_MOST_ROWS = 24  #: of the drawing of what moved
_TITLES = {
    "input": "Inputs", "embedding": "Embedding", "output": "Answers", "flags": "Flags",
    "performance": "Performance, with labels", "estimate": "Accuracy without labels",
}  # fmt: skip


def headline(found: Watch) -> str:
    """The result in one sentence."""
    tested = sum(1 for f in found.figures if math.isfinite(f.score))
    bad = [p for p in found.periods if p.alerts]
    periods = f", in {len(bad):,} of {len(found.periods):,} periods" if len(found.periods) > 1 else ""
    if found.alerts:
        first = found.alerts[0]
        more = f"{len(found.alerts)} of {tested} figures left their range"
        return f"{more} on {found.n:,} objects{periods}; farthest: {first.why}"
    if bad:
        return f"all {tested} figures of {found.n:,} objects lie in their ranges, but something left its range{periods}"
    return f"all {tested} figures of {found.n:,} objects lie in their ranges{periods}"


def lines(found: Watch, most: int = 12) -> list[str]:
    """For a terminal: the headline, what left its range, performance or its estimate, periods with alerts."""
    said = [headline(found), ""]
    said += [f"  {f.why}" for f in found.alerts[:most]]
    if len(found.alerts) > most:
        said.append(f"  and {len(found.alerts) - most} more")
    for figure in found.figures:
        if figure.kind == "estimate" or figure.name in ("accuracy", "macro_f1", "rmse"):
            said.append(f"  {figure.name} {_interval(figure)}" + (f" ({figure.why})" if figure.why else ""))
    bad = [p for p in found.periods if p.alerts] if len(found.periods) > 1 else []
    said += [f"  {p.name}: {len(p.alerts)} alerts, first {p.alerts[0].name}" for p in bad[:most]]
    if len(bad) > most:
        said.append(f"  and {len(bad) - most} more periods with alerts")
    return said


def write_report(folder: Path, found: Watch, verdict: Verdict, command: str) -> tuple[Path, Path]:
    """Write monitor.html and monitor.json into `folder`, and return their paths; StorageError where that cannot be."""
    for name in (PAGE, RECORD):
        require_writable(folder / name)
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    made = {
        "command": command, "Model": found.model,
        "Ranges": f"from {found.reference:,} objects of the bundle's reference; at most {found.rate:.3g} false alarms "
                  "per period, over all its figures together",
        "Versions": ", ".join(f"{k} {versions[k]}" for k in ("estampa", "numpy") if versions.get(k)),
    }  # fmt: skip
    sections = [s for s in _sections(found, verdict) if s.blocks]
    text = page.render("Watching a model", headline(found), sections, made_by=made)
    record = found.to_json() | {"verdict": verdict.to_json()}
    write_atomic(folder / RECORD, json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_atomic(folder / PAGE, text)
    return folder / PAGE, folder / RECORD


def _sections(found: Watch, verdict: Verdict) -> list[Section]:
    ranked = sorted(
        (f for f in found.figures if math.isfinite(f.score)), key=lambda f: (f.alert, f.score), reverse=True
    )
    moved = ranked[:_MOST_ROWS]
    made = [verdict_section(verdict), Section("moved", "What moved most", _moved(moved))]
    if len(found.periods) > 1:
        drawn = _drawn(found, ranked)
        made.append(Section("time", "Over time", [page.Text(_READ_TIME)]))
        names = [p.name for p in found.periods]
        for figure in drawn:
            place = [next((f for f in p.figures if f.name == figure.name), None) for p in found.periods]
            out = sum(1 for f in place if f is not None and f.alert)
            caption = f"{figure.name}: out of its range in {out:,} of {len(names):,} periods."
            made.append(
                Section(anchor(figure.name), figure.name, [page.Figure(over_time(names, place), caption)], level=3)
            )
    made += [_of_kind(found, kind) for kind in ("performance", "estimate")]
    if found.confusion:
        made.append(Section("confusion", "Confusion", [_confusion(found)]))
    made += [_of_kind(found, kind) for kind in KINDS if kind not in ("performance", "estimate")]
    told: list[Any] = [page.Note("warn", note) for note in found.notes]
    if found.bad:
        told.append(page.Note("warn", f"{found.bad:,} lines could not be read and are not in these figures."))
        told.append(page.Details("The first of them", [page.Code("\n".join(found.faults))]))
    made.append(Section("notes", "What else to know", told))
    return made


_READ_TIME = (
    "Each drawing is one figure. Shaded: the range in which it is expected for as many objects as the period has; the "
    "fewer, the wider. Line through a mark: the 95 % interval. A full triangle left its range."
)


def _moved(figures: Sequence[Figure]) -> list[Any]:
    if not figures:
        return []
    caption = (
        "How far each figure lies from the reference, in units of its range: 1 is the edge. The ranges are as wide as "
        "is needed for all figures together to keep the stated rate of false alarms."
    )
    return [page.Figure(how_far(figures), caption, "Figures by how far they moved")]


def _drawn(found: Watch, ranked: Sequence[Figure]) -> list[Figure]:
    """Figures worth a drawing over time: those that alarmed in most periods, then those that moved farthest."""
    often: dict[str, float] = {}
    for period in found.periods:
        for figure in period.figures:
            if math.isfinite(figure.score):
                often[figure.name] = often.get(figure.name, 0.0) + figure.alert + min(max(figure.score, 0), 4) / 100
    return sorted(ranked, key=lambda f: -often.get(f.name, 0.0))[:_MOST_DRAWN]


def _of_kind(found: Watch, kind: str) -> Section:
    rows = []
    for figure in found.figures:
        if figure.kind == kind:
            usual = f"{_end(figure.expected_low)} to {_end(figure.expected_high)}"
            usual = usual if math.isfinite(figure.expected_low) or math.isfinite(figure.expected_high) else "none"
            score = round(figure.score, 2) if math.isfinite(figure.score) else None
            said = "left its range" if figure.alert else figure.why
            rows.append([figure.name, _cell(figure), usual, score, said])
    if not rows:
        return Section(kind, _TITLES[kind], [])
    columns = ["figure", "value", "range", "how far", ""]
    return Section(kind, _TITLES[kind], [Table(columns, rows, decimals={"how far": 2}, align={"range": "right"})])


def _cell(figure: Figure) -> Any:
    if not math.isfinite(figure.value):
        return None
    if math.isfinite(figure.low) and math.isfinite(figure.high):
        return Interval(figure.value, figure.low, figure.high)
    return figure.value


def _confusion(found: Watch) -> Table:
    rows = [[name, *counts] for name, counts in zip(found.classes, found.confusion, strict=True)]
    return Table(["truth \\ answer", *found.classes], rows, caption=f"{found.labelled:,} labelled objects.")


def _interval(figure: Figure) -> str:
    return f"{number(figure.value)} [{_end(figure.low)}, {_end(figure.high)}]"


def _end(value: float) -> str:
    return number(value) if math.isfinite(value) else "…"
