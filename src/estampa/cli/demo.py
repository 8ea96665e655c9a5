"""`estampa demo`: the whole way on an embedded data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console, duration
from estampa.cli.options import Json, Quiet


def command(
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder; default .demo/")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build, check, train, judge and predict on an embedded data set, and say where the report is.

    The data are a simulated survey for transients, science, template and difference images of 4,000 candidates, so it
    works without network.
    """
    import time
    from datetime import UTC, datetime

    from estampa import pipeline
    from estampa.data.check import check
    from estampa.data.read import build
    from estampa.predict import predict

    began = time.monotonic()
    console = Console(json=json, quiet=quiet)
    folder = output or Path(".demo")
    console.say("1/4  build: simulate 4,000 candidates of a transient survey, 21 x 21 pixels, 4 channels")
    dataset = build("simulate", folder / "stamps.h5", force=True, progress=console)
    console.say("2/4  check: duplicates, leaks, missing values")
    checked = check(dataset, page=folder / "check.html", progress=console)
    console.say("3/4  train: choose, learn, judge on objects not seen, export")
    run = pipeline.train(dataset, output=folder / f"run-{datetime.now(tz=UTC):%Y%m%d-%H%M%S}", progress=console)
    target = run.folder
    console.say("4/4  predict: score the set with the bundle, on ONNX Runtime alone")
    made = predict(target, dataset, target / "all.csv", progress=console)
    seconds = time.monotonic() - began
    record = {**run.to_json(), "seconds": seconds, "check": str(folder / "check.html"), "predicted": len(made)}
    lines = [
        "", run.headline, "",
        f"report       {target / 'report.html'}",
        f"data sheet   {folder / 'check.html'} ({len(checked.findings)} findings)",
        f"predictions  {target / 'all.csv'}",
        f"truth        {folder / 'stamps.truth.csv'}",
        f"all of it took {duration(seconds)}", "",
        "next         estampa train YOUR_FOLDER     (a folder of pictures per class, an .npz, a text file, ...)",
    ]  # fmt: skip
    console.result(record, lines)
