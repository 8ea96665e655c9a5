"""`estampa predict`: score data with a run or a bundle."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console, duration
from estampa.cli.options import Json, Quiet, Verbose


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, or a bundle.")],
    data: Annotated[list[Path], typer.Argument(help="A Dataset, or what `estampa build` reads.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="File to write: .csv, .jsonl or .parquet; none = stdout.")
    ] = None,
    format: Annotated[str, typer.Option(help="csv, jsonl or parquet, where the name does not say.")] = "",
    labels_only: Annotated[bool, typer.Option(help="Only the predicted class, one a line, in row order.")] = False,
    part: Annotated[str, typer.Option(help="Of a Dataset: train, validation or test.")] = "",
    threads: Annotated[int | None, typer.Option(min=1, help="Batches side by side.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score pictures or a table; what cannot be read gets its row, and the exit code is 1 at the end.

    Example: estampa predict runs/a drawings/ -o predictions.csv
    """
    from estampa.bundle.store import Bundle
    from estampa.errors import EstampaError
    from estampa.predict import predict
    from estampa.predict.answers import UNREADABLE

    console, began = Console(json=json, quiet=quiet, verbose=verbose), time.monotonic()
    bundle = Bundle.open(run)
    console.say(f"{bundle.manifest.name}, model {bundle.hash}: {bundle.task}, {bundle.contract.words()}")
    source = data[0] if len(data) == 1 else data
    found = predict(
        bundle,
        source,
        output,
        format=format,
        labels_only=labels_only,
        part=part,
        threads=threads,
        progress=console,
    )
    seconds = time.monotonic() - began
    if output is None and not json:
        sys.stdout.write(found.to_text(format or "csv", labels_only=labels_only))
    else:
        where = f" in {output}" if output else ""
        console.result(
            found.summary() | {"seconds": round(seconds, 3)},
            [f"{found.n:,} rows{where}, {duration(seconds)}; flagged: {found.flag_words()}"],
        )
    unread = found.counts.get(UNREADABLE, 0)
    if found.bad > unread:
        console.warn(f"{_rows(found.bad - unread)} no answer, as measurements failed; the flag invalid says which")
    if unread:
        raise EstampaError(
            f"{_rows(unread)} no answer; the flag unreadable says why", where=output or "predict",
            cure="Repair those rows and run it again.",
        )  # fmt: skip


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,} rows have"
