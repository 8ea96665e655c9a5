"""`estampa split`: part a Dataset and store the parts in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli import options
from estampa.cli.console import Console, table


def command(
    dataset: Annotated[Path, typer.Argument(help="The Dataset file.")],
    test: Annotated[float, typer.Option("--test", help="Share of the labelled objects that is held out.")] = 0.2,
    validation: Annotated[
        float, typer.Option("--validation", help="Share of the objects that are not test, to choose models with.")
    ] = 0.1,
    group: Annotated[
        str | None,
        typer.Option("--group", help="Name of the groups that must not be torn; they always are kept whole."),
    ] = None,
    seed: options.Seed = 0,
    near: Annotated[
        bool, typer.Option("--near/--no-near", help="Keep near duplicates on one side, as exact ones always are.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Replace a split that came with the data.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Part a Dataset into train, validation and test, and store the parts in it."""
    from estampa.data.split import split

    console = Console(json=json, quiet=quiet, verbose=verbose)
    result = split(
        dataset, test=test, validation=validation, group=group, seed=seed, force=force, near=near, progress=console
    )
    counts = result.table()
    rows = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in counts.rows]
    lines = [*table(counts.columns, rows, right=range(1, len(counts.columns))), "", result.sentence()]
    console.result(result.to_json(), lines)
