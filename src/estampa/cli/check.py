"""`estampa check`: look for what spoils a result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli import options
from estampa.cli.console import Console, change_lines, duration, table


def command(
    source: Annotated[list[Path], typer.Argument(help="A Dataset file, or anything that `build` reads.")],
    page: Annotated[Path | None, typer.Option("--page", help="Write the contact sheet, an HTML page, here.")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="An older Dataset: say by class and part what became of it.")
    ] = None,
    near: Annotated[bool, typer.Option("--near/--no-near", help="Look for near duplicates too.")] = True,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Look for what spoils a result: duplicates, leaks, missing values, wrong labels."""
    from estampa.data.changes import changes
    from estampa.data.check import check
    from estampa.data.read import ReadOptions, open_any

    console = Console(json=json, quiet=quiet, verbose=verbose)
    given = source[0] if len(source) == 1 else source
    result = check(open_any(given, ReadOptions(), console), near=near, page=page, progress=console)
    counts, words = result.classes_table(), {"refuse": "REFUSED", "warn": "warning", "note": "note"}
    rows = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in counts.rows]
    lines = table(counts.columns, rows, right=range(1, len(counts.columns)))
    lines += ["", *(f"{words[f.severity]:8} {f.message}" for f in result.findings)]
    lines += [] if result.findings else ["Nothing was found that would spoil a score."]
    lines += [f"contact sheet: {page}"] if page else []
    record = result.to_json()
    if against is not None:
        found = changes(against, result.dataset)
        record["changes"] = found.to_json()
        lines += ["", f"against {against}:", *change_lines(found), ""]
    console.result(record, [*lines, f"checked in {duration(result.seconds)}"])
    result.require_sound()
