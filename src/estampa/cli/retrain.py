"""`estampa retrain`: a challenger, by the champion's own recipe, from new data."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Verbose


def command(
    champion: Annotated[str, typer.Argument(help="The model in use: a run, a bundle, or REGISTRY:NAME.")],
    data: Annotated[Path, typer.Option(help="New labelled objects: a Dataset or any source.")],
    add: Annotated[
        Path | None, typer.Option(help="Old data to learn from too, as what the champion was made from.")
    ] = None,
    label: Annotated[str, typer.Option(help="Column of the answer in --data, where it is another one.")] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Run folder; an unfinished one resumes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the champion's.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Other passes over the training part.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of training.")] = None,
    baselines: Annotated[bool, typer.Option(help="Simple methods beside it, as in train.")] = True,
    gallery: Annotated[bool, typer.Option(help="Thumbnails and a few whole objects in the bundle.")] = True,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a challenger by the champion's own recipe on new data; what the champion was tested on is kept aside.

    The challenger is a run like any other. Nothing is promoted: hold it against the champion with `estampa compare`.

    Example: estampa retrain registry.jsonl:champion --data labelled.csv --add old.h5 -o runs/challenger
    """
    from estampa import pipeline
    from estampa.cli.train import FLAGS, spelled
    from estampa.river.again import DATA

    console = Console(json=json, quiet=quiet, verbose=verbose)
    given = {"seed": seed, "epochs": epochs, "time_limit": time_limit}
    changes: dict[str, Any] = {FLAGS[name]: value for name, value in given.items() if value is not None}
    if not baselines:
        changes["evaluate.baselines"] = False
    run = pipeline.retrain(
        champion, data, add=add, label=label, changes=changes, output=output,
        habits=pipeline.Habits(gallery=gallery, command=spelled()), progress=console,
    )  # fmt: skip
    test = run.folder / DATA if add is not None else data
    words = ["estampa", "compare", champion, str(run.folder), "--data", str(test)]
    words += ["--label", label] if label and add is None else []
    lines = [*run.lines()[:-1], f"next    {shlex.join(words)}"]
    console.result(run.to_json() | {"data": str(test)}, lines)
