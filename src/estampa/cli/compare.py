"""`estampa compare`: champion and challenger on the same objects."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Seed


def command(
    champion: Annotated[str, typer.Argument(help="The model in use: a run, a bundle, or REGISTRY:NAME.")],
    challenger: Annotated[str, typer.Argument(help="The model that might take its place.")],
    data: Annotated[Path, typer.Option(help="Labelled objects that neither has learned from: a Dataset, any source.")],
    label: Annotated[str, typer.Option(help="Column of the answer in --data, where it is another one.")] = "",
    part: Annotated[str, typer.Option(help="Rows compared on: train, validation, test or all.")] = "",
    by: Annotated[
        list[str] | None, typer.Option(help="Slices by a column: snr, or snr:3,5,7,10 with edges. Repeatable.")
    ] = None,
    margin: Annotated[
        float, typer.Option(help="A loss of the leading figure that counts as none; of values, as a share.")
    ] = 0.01,
    gate: Annotated[bool, typer.Option("--gate", help="Exit 3 unless the challenger is to be promoted.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the report.")] = None,
    allow_seen: Annotated[bool, typer.Option(help="Compare on rows that one of them learned from, too.")] = False,
    only_unseen: Annotated[
        bool, typer.Option("--only-unseen", help="Leave out rows that one of them learned from.")
    ] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 1000,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare two models on the same unseen objects, with paired intervals, and recommend one; -o writes a report.

    Each figure, class and slice with its difference; McNemar's test; calibration; time and size. Rows that either model
    learned from are refused (exit 3). Nothing is promoted: `estampa promote` does that.

    Example: estampa compare registry.jsonl:champion runs/new --data test.h5 -o compared
    """
    from estampa.cli.train import spelled
    from estampa.errors import CheckFailed
    from estampa.files import require_writable
    from estampa.monitor import compare_report
    from estampa.monitor.compare import compare
    from estampa.monitor.comparison import EITHER, LOOK, PROMOTE

    console = Console(json=json, quiet=quiet)
    if output is not None:
        require_writable(output / compare_report.PAGE)
    found = compare(
        champion, challenger, data, part=part, by=by or ("auto",), allow_seen=allow_seen, margin=margin,
        only_unseen=only_unseen, label=label,
        how=(resamples, seed), progress=console,
    )  # fmt: skip
    places: list[str] = []
    if output is not None:
        made = compare_report.made_by(spelled(), found, (resamples, seed))
        places = [f"report  {compare_report.write_report(output, found, made)[0]}"]
    if found.recommendation.kind in (PROMOTE, EITHER, LOOK):
        places.append(f"next    {_promotion(champion, challenger, found.champion.model)}")
    console.result(found.to_json(), [*found.lines(), "", *places])
    if gate and found.recommendation.kind != PROMOTE:
        raise CheckFailed(f"not to be promoted: {found.recommendation.sentence}", where="--gate")


def _promotion(champion: str, challenger: str, model: str) -> str:
    """The command that promotes the challenger instead of this very champion."""
    from estampa.monitor.registry import registry_of

    named = registry_of(champion)
    words = ["estampa", "promote", challenger, "--registry", str(named[0].path) if named else "registry.jsonl"]
    if named:
        words += [] if named[1] == "champion" else ["--as", named[1]]
        words += ["--instead-of", model]
    return f"{shlex.join(words)} --why ..."
