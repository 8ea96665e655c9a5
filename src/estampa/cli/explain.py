"""`estampa explain`: what the answers of a run hang on, pixels or columns."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Seed


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, or a bundle.")],
    data: Annotated[list[Path], typer.Argument(help="A Dataset, what `estampa build` reads, or loose pictures.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for pages, table and maps.")] = Path("explain"),
    n: Annotated[
        int | None, typer.Option("--n", "--rows", min=1, help="Objects; none = 24, with --shortcuts 240, of a table 8.")
    ] = None,
    id: Annotated[list[str] | None, typer.Option(help="Explain this object. Repeatable.")] = None,
    part: Annotated[str, typer.Option(help="Of a Dataset: train, validation, test or all.")] = "",
    shortcuts: Annotated[
        bool, typer.Option("--shortcuts", help="Also: which regions the answers of each class lean on.")
    ] = False,
    window: Annotated[int | None, typer.Option(min=1, help="Side of the window, pixels; none = a sixth.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Its steps, pixels; none = half of the window.")] = None,
    fill: Annotated[str, typer.Option(help="In place of what is hidden: median, around, or a number.")] = "median",
    of: Annotated[str, typer.Option(help="What is measured: logit or probability of the answer.")] = "logit",
    channel: Annotated[list[str] | None, typer.Option(help="A map of this channel alone, too. Repeatable.")] = None,
    grid: Annotated[int, typer.Option(min=2, max=9, help="Of --shortcuts: regions along a side.")] = 3,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show what the answers hang on: pixels, by hiding window after window; of a table its columns, by shuffling them.

    Example: estampa explain runs/a new_pictures/ -o explain --shortcuts
    """
    from estampa.bundle.store import Bundle
    from estampa.explain.run import MAPS, PAGE, SHORTCUTS, TABLE, explain, explain_pictures
    from estampa.explain.shortcuts import lines, to_json

    console, bundle = Console(json=json, quiet=quiet), Bundle.open(run)
    console.say(f"{bundle.manifest.name}, model {bundle.hash}: {bundle.task}, {bundle.contract.words()}")
    number = fill.replace(".", "", 1).removeprefix("-").isdigit()
    if bundle.of_table:
        settings = {"shortcuts": shortcuts, "window": window, "stride": stride, "channels": channel or (), "of": of,
                    "fill": fill, "grid": grid}  # fmt: skip
        columns = explain(
            bundle, data[0] if len(data) == 1 else data, output, n=n, ids=id or (), part=part, seed=seed,
            progress=console, **settings,
        )  # fmt: skip
        told = {"page": str(output / PAGE), "table": str(output / TABLE)}
        console.result(columns.to_json() | told, [*columns.lines(), "", f"page       {output / PAGE}"])
        return
    found = explain_pictures(
        bundle, data[0] if len(data) == 1 else data, output, n=n, ids=id or (), part=part, shortcuts=shortcuts,
        window=window, stride=stride, fill=float(fill) if number else fill, of=of, channels=channel or (), grid=grid,
        seed=seed, progress=console,
    )  # fmt: skip
    record = found.to_json() | {"page": str(output / PAGE), "table": str(output / TABLE), "maps": str(output / MAPS)}
    lines_told = found.lines()
    if shortcuts:
        record |= {"shortcuts": to_json(found, grid), "shortcuts_page": str(output / SHORTCUTS)}
        lines_told = [found.headline(), "", *lines(found, grid), "", f"shortcuts  {output / SHORTCUTS}"]
    console.result(
        record,
        [*lines_told, *([] if shortcuts else [""]), f"page       {output / PAGE}", f"maps       {output / MAPS}"],
    )
