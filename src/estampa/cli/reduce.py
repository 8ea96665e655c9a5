"""`estampa reduce`: wide pictures to a few numbers, and back."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from estampa.cli import options
from estampa.cli.console import Console


def command(
    source: Annotated[list[Path], typer.Argument(help="A Dataset, or what `estampa build` reads.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write: new or empty.")],
    components: Annotated[
        int | None, typer.Option(min=1, help="How many numbers; none: 75, or as many as the train part has.")
    ] = None,
    crop: Annotated[int, typer.Option(min=0, metavar="SIDE", help="Look at the central square only. 0: all.")] = 0,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Reduce pictures to the scores of their principal components: fitted on the train part, written for every row.

    Example: estampa reduce galaxies.h5 --crop 174 --components 75 -o reduced
    """
    from estampa.reduce.run import reduce

    console = Console(json=json, quiet=quiet, verbose=verbose)
    made = reduce(
        source[0] if len(source) == 1 else source, output, components=components, crop=crop, seed=seed,
        command=shlex.join(["estampa", *sys.argv[1:]]), progress=console,
    )  # fmt: skip
    console.result(made.to_json(), made.lines())
