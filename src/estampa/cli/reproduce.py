"""`estampa reproduce`: a published study, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Verbose


def command(
    name: Annotated[str, typer.Argument(help="The study: a file of src/estampa/studies/.")],
    data: Annotated[
        str | None, typer.Option(help="The study's data; else $ESTAMPA_DATA/NAME, or what it can get.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder; an unfinished one is continued.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a published study: published / as published, run here / done right / ours, each with its interval.

    Example: estampa reproduce fashion
    """
    from estampa.studies import reproduce

    console = Console(json=json, quiet=quiet, verbose=verbose)
    made = reproduce(name, data=data, output=output, progress=console)
    console.result(made.to_json(), made.lines())
