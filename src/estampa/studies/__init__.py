"""Published studies, reproduced: each study is one file; `reproduce` runs it and writes its page."""

from __future__ import annotations

import datetime
import json
import os
import time
from pathlib import Path

from estampa import machine, page, parts, pipeline
from estampa.errors import InputError
from estampa.evaluate.judge import words
from estampa.files import require_writable, write_atomic
from estampa.progress import SILENT, Progress
from estampa.studies._table import WAYS, Ledger, Reproduction, Row

__all__ = ["WAYS", "Reproduction", "Row", "reproduce"]


def reproduce(
    name: str, *, data: Path | str | None = None, output: Path | str | None = None, progress: Progress = SILENT
) -> Reproduction:
    """Run a study: published / as published, run here / done right / ours, each with its interval.

    Parameters
    ----------
    name : a file of studies/, with _ or -.
    data : the study's data; None = $ESTAMPA_DATA/<name> where it exists, else what the study can get or simulate.
    output : folder; None = runs/<time>-reproduce-<name>. An unfinished one is continued, row by row.

    Raises InputError for an unknown study, and what `build` and `train` raise.
    """
    study = parts.load("studies", name.replace("-", "_"))
    machine.require("train", *pipeline.NEEDS, needed_for=f"estampa reproduce {name}")
    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%d-%H%M%S")
    folder = Path(output) if output is not None else Path("runs") / f"{stamp}-reproduce-{name}"
    require_writable(folder / "table.json")
    began = time.monotonic()
    source = Path(data) if data is not None else _at_hand(name)
    if source is not None and not source.exists():
        raise InputError("there is nothing", where=source, cure=f"Give the data of the study with --data: {study.DATA}")
    ledger = Ledger(folder, progress)
    described, notes = study.run(source, ledger)
    made = Reproduction(
        study=name,
        data=described,
        rows=ledger.rows,
        leading=study.LEADING,
        seconds=time.monotonic() - began,
        folder=folder,
        notes=tuple(notes),
        shown=getattr(study, "SHOWN", ()),
        command=f"estampa reproduce {name}" + (f" --data {data}" if data else ""),
    )
    write_atomic(folder / "table.json", json.dumps(made.to_json(), indent=1, allow_nan=False))
    more = study.sections(folder) if hasattr(study, "sections") else []
    write_atomic(folder / "report.html", _page(made, more))
    return made


def _at_hand(name: str) -> Path | None:
    """The study's folder under $ESTAMPA_DATA, when there is one."""
    home = os.environ.get("ESTAMPA_DATA", "")
    return Path(home) / name if home and (Path(home) / name).exists() else None


def _page(made: Reproduction, more: list[page.Section]) -> str:
    """The reproduction's page: the table, what is wrong with which way, recalls by class, what the study adds."""
    ours = [r for r in made.rows if r.way == WAYS[3]]
    best = (ours or made.rows)[0]
    value = best.metrics[made.leading]
    band = f"{value.value:.4f} [{value.low:.4f}, {value.high:.4f}]"
    lead = f"Ours reaches {words(made.leading)} {band} on {best.n:,} objects ({best.how})."
    sections = [page.Section("ways", "The ways side by side", [made.table()])]
    if len(made.metrics) > 1:
        sections.append(page.Section("costs", "What each way costs", [made.costs()]))
    faults = [page.Note("warn", f"{r.way}, {r.how}: {r.fault}") for r in made.rows if r.fault]
    if faults:
        sections.append(page.Section("faults", "What is wrong with which way", faults))
    classes = list(dict.fromkeys(c for r in made.rows for c in r.per_class))
    if classes:
        rows = [[f"{r.way}, {r.how}", *(r.per_class.get(c) for c in classes)] for r in made.rows if r.per_class]
        caption = "Share of each class's objects that were called by their name."
        table = page.Table(["way", *classes], rows, caption=caption, best=dict.fromkeys(classes, "max"))
        sections.append(page.Section("recalls", "Recall by class", [table]))
    sections += more
    if made.notes:
        sections.append(page.Section("notes", "Notes", [page.Text("\n\n".join(made.notes))]))
    described = machine.describe()
    facts = {
        "command": made.command, "data": made.data, "seconds in all": round(made.seconds, 1),
        "processor": described["processor"], "threads": described["threads"], "versions": described["versions"],
    }  # fmt: skip
    return page.render(f"Study {made.study}, reproduced", lead, sections, made_by=facts)
