"""`estampa runs`: all runs of a folder, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console, table
from estampa.cli.options import Json


def command(
    folder: Annotated[Path, typer.Argument(help="The folder that holds run folders.")] = Path("runs"),
    json: Json = False,
) -> None:
    """List the runs of a folder side by side, the newest first: result with interval, recipe, data, cost, date.

    Example: estampa runs
    """
    from estampa.evaluate.runs import HEAD, list_runs

    found = list_runs(folder)
    lines = table(HEAD, [row.cells() for row in found.rows], right=[4, 5]) if found.rows else [f"no runs in {folder}"]
    Console(json=json).result(found.to_json(), lines)
