"""`estampa check`: look for what spoils a result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from estampa.cli import options
from estampa.cli.console import Console, change_lines, duration, table

if TYPE_CHECKING:
    from estampa.data.findings import CheckResult


def command(
    source: Annotated[list[Path], typer.Argument(help="A Dataset file, or anything that `build` reads.")],
    page: Annotated[
        Path | None, typer.Option("--page", help="Write the contact sheet, an HTML page to tick what to leave out.")
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", help="Write what is suggested here, for build --exclude; default: beside the page."),
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="An older Dataset: say by class and part what became of it.")
    ] = None,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for near duplicates too.")] = True,
    labels: Annotated[
        bool | None,
        typer.Option("--labels/--no-labels", help="Look for likely wrong labels too; default: with --page, if it can."),
    ] = None,
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the answer in a table, as `build` has.")] = "",
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Look for what spoils a result: duplicates, leaks, missing values, wrong labels."""
    from estampa.data.changes import changes
    from estampa.data.check import check
    from estampa.data.read import ReadOptions
    from estampa.errors import InputError
    from estampa.evaluate.doubts import quick_doubts
    from estampa.machine import installed

    console = Console(json=json, quiet=quiet, verbose=verbose)
    if labels and page is None and listed is None:
        raise InputError("--labels is for the page", where="estampa check", cure="Name one: --page cleaning.html.")
    wanted = labels or (labels is None and page is not None and installed("sklearn", "cleanlab"))
    given = source[0] if len(source) == 1 else source
    result = check(
        given, options=ReadOptions(label=label), near=near, page=page, listed=listed,
        doubts=quick_doubts if wanted else None, progress=console,
    )  # fmt: skip
    counts, words = result.classes_table(), {"refuse": "REFUSED", "warn": "warning", "note": "note"}
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in counts.rows]
    lines = table(counts.columns, rows, right=range(1, len(counts.columns)))
    lines += ["", *(f"{words[f.severity]:8} {f.message}" for f in result.findings)]
    lines += [] if result.findings else ["Nothing was found that would spoil a score."]
    lines += _left_out(result)
    lines += [f"contact sheet: {page}"] if page else []
    record = result.to_json()
    if against is not None:
        found = changes(against, result.dataset)
        record["changes"] = found.to_json()
        lines += ["", f"against {against}:", *change_lines(found), ""]
    console.result(record, [*lines, f"checked in {duration(result.seconds)}"])
    result.require_sound()


def _left_out(result: CheckResult) -> list[str]:
    """What may be left out, by kind, and where the suggestions are."""
    from estampa.data.cleaning import KINDS

    found = result.cleaning
    if found is None:
        return []
    counts = [[KINDS[kind][0].lower(), f"{count:,}"] for kind, count in found.counts().items()]
    shown = ["", *table(["to look at", "objects"], counts, right=[1])] if counts else []
    return [*shown, "", f"suggested to leave out: {len(found.suggested()):,}, for build --exclude in {result.listed}"]
