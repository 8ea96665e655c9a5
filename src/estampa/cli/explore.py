"""`estampa explore`: look at data without labels, and assign new data to what was found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from estampa.cli.console import Console, duration, table
from estampa.cli.options import Json, Quiet, Seed, Verbose

if TYPE_CHECKING:
    from estampa.explore.exploration import Exploration


def command(
    data: Annotated[Path, typer.Argument(help="A Dataset or any source; with --assign the folder of an exploration.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; with --assign a .csv file.")],
    features: Annotated[str, typer.Option(help="pca, embedding:RUN (a run, bundle or backbone), or table.")] = "pca",
    components: Annotated[
        int | None, typer.Option(min=1, help="Principal components of the pixels; default 75.")
    ] = None,
    crop: Annotated[int, typer.Option(min=0, help="Look at the central square of so many pixels; 0 = all.")] = 0,
    clusters: Annotated[str, typer.Option(help="How many clusters; auto = chosen, with the evidence.")] = "auto",
    methods: Annotated[str, typer.Option(help="Parted by commas; default: kmeans,hierarchical,hdbscan,som,gmm.")] = "",
    compare: Annotated[
        str | None,
        typer.Option(help="Other ways to look, as 'crop=174,96;components=75,147;features=pca,embedding:RUN'."),
    ] = None,
    map: Annotated[
        str,
        typer.Option(help="umap, or first: the first two features, quick but poor; HDBSCAN sees them all."),
    ] = "umap",
    assign: Annotated[
        Path | None, typer.Option(help="New data, a Dataset or any source, to assign to a finished exploration.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find clusters in several ways, compare them with each other and with known classes, and report it as one page.

    Example: estampa explore galaxies.h5 -o explored --crop 174 --clusters 12
    """
    from estampa.cli.train import spelled
    from estampa.explore import run
    from estampa.explore.compare import read_ways

    console, began = Console(json=json, quiet=quiet, verbose=verbose), time.monotonic()
    if assign is not None:
        told = {"--compare": compare is not None, "--methods": methods, "--components": components, "--crop": crop}
        _refuse({**told, "--clusters": clusters != "auto", "--features": features != "pca", "--map": map != "umap"})
        count = run.assign(data, assign, output, progress=console)
        spent = time.monotonic() - began
        record = {"rows": count, "output": str(output), "seconds": round(spent, 3)}
        console.result(record, [f"{count:,} rows in {output}, {duration(spent)}"])
        return
    if compare is not None:
        read_ways(compare)  # an empty one is refused, not passed over
    settings = run.Settings(
        features=features, components=components, crop=crop, clusters=run.read_clusters(clusters),
        methods=run.read_methods(methods), compare=compare or "", map=run.read_map(map), seed=seed,
    )  # fmt: skip
    found = run.explore(data, output, settings, command=spelled(), progress=console)
    spent = time.monotonic() - began
    report = output / run.PAGE
    lines = [run.lead(found), "", *_lines(found), "", f"report  {report}", f"table   {output / run.ASSIGNMENTS}"]
    lines += [f"next    estampa explore {output} --assign NEW -o assigned.csv", f"explored in {duration(spent)}"]
    console.result(found.to_json() | {"output": str(output), "report": str(report)}, lines)


def _lines(found: Exploration) -> list[str]:
    """The comparison as a plain table."""
    from estampa.explore.report import comparison

    shown = comparison(found)
    rows = [[" ".join(filter(None, (c.text, c.interval and f"[{c.interval}]"))) for c in row] for row in shown.shown()]
    return table(shown.columns, rows, right=range(1, len(shown.columns)))


def _refuse(told: dict[str, object]) -> None:
    """Refuse what would be left aside without a word: a finished exploration has its own settings."""
    from estampa.errors import InputError

    names = sorted(name for name, value in told.items() if value)
    if names:
        raise InputError(
            f"--assign cannot be combined with {', '.join(names)}", where="estampa explore",
            cure="The exploration keeps what it was made with; leave it out.",
        )  # fmt: skip
