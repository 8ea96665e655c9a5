"""`estampa build`: pictures, arrays or text files into one Dataset file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console, change_lines, duration, table
from estampa.cli.options import Json, Quiet, Seed, Verbose
from estampa.cli.reading import height_width, height_width_channels, one_of
from estampa.data.changes import changes
from estampa.data.grow import adds
from estampa.data.read import ReadOptions, build
from estampa.data.view import Dataset
from estampa.errors import InputError

_SHOWN = 30  #: classes in the table


def pairs(texts: list[str]) -> dict[str, str]:
    """Read "key=value" texts as a table."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InputError("not understood", where="--option", allowed="KEY=VALUE", got=repr(text))
        if (old := found.get(key.strip())) is not None:
            raise InputError(
                "is given twice", where=f"--option {key.strip()}", got=f"{old!r} and {value.strip()!r}",
                cure="Keep the one that is meant.",
            )  # fmt: skip
        found[key.strip()] = value.strip()
    return found


def _lines(dataset: Dataset, seconds: float) -> list[str]:
    """What a person wants to know of a Dataset that was just built."""
    facts, header = dataset.summary(), dataset.header
    shape = " x ".join(map(str, facts["shape"])) + f" {facts['dtype']}" if facts["shape"] else ""
    kind, origin = shape or f"{len(header.columns)} columns", header.read.source or "a builder"
    lines = [f"{dataset.n:,} objects, {kind}, {facts['task']}, from {origin}, in {duration(seconds)}"]
    counts = facts["classes"]
    if counts:
        shown = list(counts.items())[:_SHOWN]
        lines += ["", *table(["class", "objects"], [[name, f"{count:,}"] for name, count in shown], right=[1])]
        if len(counts) > _SHOWN:
            lines.append(f"... and {len(counts) - _SHOWN} more classes")
    if facts["unlabelled"] and facts["task"] != "unlabelled":
        lines.append(f"unlabelled: {facts['unlabelled']:,}")
    if facts["split"] != "none":
        parts = ", ".join(f"{part} {count:,}" for part, count in facts["parts"].items() if count)
        lines.append(f"parts ({facts['split']}): {parts}")
    if facts["rejected"]:
        lines.append(f"left out as unreadable: {facts['rejected']:,}")
    following = "train" if facts["split"] != "none" else "split"
    return [*lines, "", f"{dataset.path}  ({facts['content_sha256'][:12]})",
            f"next: estampa check {dataset.path}, then estampa {following} {dataset.path}"]  # fmt: skip


def command(
    source: Annotated[list[str], typer.Argument(help="Files or folders of one kind, or the name of a builder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The Dataset file to write, NAME.h5.")],
    as_: Annotated[str, typer.Option("--as", help="Name of the source; default: ask each whether it is its own.")] = "",
    crop: Annotated[int, typer.Option(min=0, metavar="SIDE", help="Take a picture's central square. 0: all.")] = 0,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Bring pictures to this height and width.")] = None,
    fit: Annotated[str, typer.Option(help="How another shape is brought to --size: stretch, pad or crop.")] = "stretch",
    layout: Annotated[str, typer.Option(help="Axis order of arrays: NCHW or NHWC.")] = "",
    mode: Annotated[str, typer.Option(help="Colours of pictures: L, RGB or auto.")] = "auto",
    label: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the answer in a manifest.")] = "",
    group: Annotated[str, typer.Option(metavar="COLUMN", help="Column of what a split must not tear apart.")] = "",
    reshape: Annotated[
        str | None, typer.Option(metavar="HxWxC", help="Height, width, channels of flattened rows.")
    ] = None,
    classes: Annotated[str, typer.Option(metavar="A,B,...", help="The classes in the order wanted.")] = "",
    exclude: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Text or CSV file of ids or content hashes to leave out.")
    ] = None,
    match_radius: Annotated[
        str, typer.Option(metavar="ANGLE", help="Join a catalogue given beside by position: 2arcsec.")
    ] = "",
    per_class: Annotated[
        int, typer.Option(min=0, metavar="N", help="Draw exactly N objects of each class by --seed. 0: all.")
    ] = 0,
    new_to: Annotated[
        str, typer.Option(help="Where new objects of a Dataset's old classes go: train, or split among its parts.")
    ] = "train",
    seed: Seed = 0,
    max_pixels: Annotated[int, typer.Option(min=1, help="A picture with more pixels is refused.")] = 64_000_000,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Accept that unreadable rows are left out.")] = False,
    option: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of a builder; may be repeated.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that was built from other data.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Read pictures, arrays or text files into one Dataset file. A build that was stopped goes on when run again."""
    console = Console(json=json, quiet=quiet, verbose=verbose)
    options = ReadOptions(
        as_=as_, crop=crop, size=height_width(size), fit=one_of("--fit", fit, "stretch", "pad", "crop"),
        mode=one_of("--mode", mode, "auto", "L", "RGB"),
        layout=one_of("--layout", layout.upper(), "", "NCHW", "NHWC"), label=label, group=group,
        reshape=height_width_channels(reshape), max_pixels=max_pixels, exclude=exclude, match_radius=match_radius,
        classes=tuple(name.strip() for name in classes.split(",") if name.strip()),
        per_class=per_class, seed=seed,
    )  # fmt: skip
    began = time.monotonic()
    dataset = build(
        source, output, options, builder_options=pairs(option or []), skip_bad=skip_bad, force=force,
        new_to=one_of("--new-to", new_to, "train", "split"), progress=console,
    )  # fmt: skip
    seconds = time.monotonic() - began
    facts, lines = {**dataset.summary(), "seconds": round(seconds, 3)}, _lines(dataset, seconds)
    if adds([Path(path) for path in source]):
        found = changes(source[0], dataset)
        facts["changes"] = found.to_json()
        lines = [*change_lines(found), "", *lines]
    console.result(facts, lines)
