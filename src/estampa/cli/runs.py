"""`estampa runs`: all runs of a folder, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console, table
from estampa.cli.options import Experiment, Files, Json, Mlflow


def command(
    folder: Annotated[Path, typer.Argument(help="The folder that holds run folders.")] = Path("runs"),
    mlflow: Mlflow = "",
    experiment: Experiment = "estampa",
    files: Files = False,
    json: Json = False,
) -> None:
    """List the runs of a folder side by side, the newest first: result with interval, recipe, data, cost, date.

    With --mlflow the complete ones are exported to an MLflow server, each once: recipe, figures, hashes, decisions.

    Example: estampa runs
    """
    from estampa.evaluate.runs import HEAD, list_runs

    found = list_runs(folder)
    lines = table(HEAD, [row.cells() for row in found.rows], right=[4, 5]) if found.rows else [f"no runs in {folder}"]
    record = found.to_json()
    if mlflow:
        from estampa.monitor.mlflow import export_runs
        from estampa.monitor.mlflow_api import Server

        told = [folder / row.name for row in found.rows if row.complete]
        sent = export_runs(told, Server(mlflow), experiment=experiment, files=files)
        record["exported"] = [one.to_json() for one in sent]
        lines = [*lines, "", f"exported {sum(one.new for one in sent):,} new of {len(sent):,} runs to {mlflow}"]
    Console(json=json).result(record, lines)
