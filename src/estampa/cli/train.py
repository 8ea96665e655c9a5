"""`estampa train`: from data to a judged, exported model in a run folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from estampa.cli.console import Console, table
from estampa.cli.options import Json, Quiet, Verbose
from estampa.plain import counted

if TYPE_CHECKING:
    from estampa.run import Plan

FLAGS = {"seed": "train.seed", "epochs": "train.epochs", "time_limit": "train.time_limit", "device": "train.device"}


def command(
    data: Annotated[str | None, typer.Argument(help="A Dataset, or anything `estampa build` reads.")] = None,
    recipe: Annotated[str, typer.Option(help="A shipped recipe's name or a TOML file.")] = "auto",
    label: Annotated[str, typer.Option(help="Column of the answer.")] = "",
    group: Annotated[str, typer.Option(help="Column of what must not be torn apart across parts.")] = "",
    features: Annotated[str, typer.Option(metavar="A,B", help="Of a table, the columns to learn from.")] = "",
    also: Annotated[
        str, typer.Option(metavar="A,B", help="Columns besides, as one left out because it tells the answer.")
    ] = "",
    without: Annotated[str, typer.Option(metavar="A,B", help="Columns not to learn from.")] = "",
    method: Annotated[
        str,
        typer.Option(metavar="A,B", help="Of a table, the models to search: logistic, tree, knn, forest, boosting."),
    ] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Run folder; an unfinished one resumes.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The one seed that rules the run.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the training part.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds of training.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    aim: Annotated[
        str, typer.Option(help="Of two classes, choose the threshold on validation: fpr=0.01, recall=0.95, f1.")
    ] = "",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any recipe key: --set prepare.shift=2")] = None,
    search: Annotated[
        list[str] | None, typer.Option(help="Values to try, judged on validation: --search widths=16,32,64")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="At most so many settings, drawn at random.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Cross-validate too, refitting everything in each.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Of the cross-validation.")] = None,
    baselines: Annotated[
        bool, typer.Option(help="Simple methods beside it: majority, logistic regression, forests.")
    ] = True,
    gallery: Annotated[bool, typer.Option(help="Thumbnails and a few whole objects in the bundle.")] = True,
    as_: Annotated[str, typer.Option("--as", help="Name of the source; default: ask each whether it is its own.")] = "",
    crop: Annotated[int, typer.Option(min=0, metavar="SIDE", help="Take a picture's central square. 0: all.")] = 0,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Bring pictures to this height and width.")] = None,
    fit: Annotated[str, typer.Option(help="How: stretch, pad or crop.")] = "stretch",
    layout: Annotated[str, typer.Option(help="NCHW or NHWC, where an array does not say.")] = "",
    reshape: Annotated[str | None, typer.Option(metavar="HxWxC", help="Shape of flattened rows.")] = None,
    skip_bad: Annotated[bool, typer.Option(help="Leave out pictures that cannot be read instead of stopping.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be trained, and stop.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a model, judge it on data it has not seen, and leave a run folder with model, report and predictions.

    Without flags everything is inferred from the data, and each decision is said with its reason.

    Example: estampa train drawings/
    """
    from estampa import pipeline
    from estampa.cli.reading import height_width, height_width_channels, one_of
    from estampa.data.read import ReadOptions
    from estampa.errors import InputError

    console = Console(json=json, quiet=quiet, verbose=verbose)
    given = {"seed": seed, "epochs": epochs, "time_limit": time_limit, "device": device}
    changes: dict[str, Any] = {FLAGS[k]: v for k, v in given.items() if v is not None}
    changes |= _settings(set_ or [])
    changes |= {k: v for k, v in {"data.label": label, "data.group": group, "evaluate.aim": aim}.items() if v}
    changes |= {k: v for k, v in {"evaluate.folds": folds, "evaluate.repeats": repeats}.items() if v}
    if not baselines:
        changes["evaluate.baselines"] = False
    listed = {"data.features": features, "data.also": also, "data.without": without, "search.methods": method}
    changes |= {key: [name.strip() for name in text.split(",")] for key, text in listed.items() if text}
    if search:
        changes["search.values"] = _grid(search)
    if trials:
        changes["search.trials"] = trials
    reading = ReadOptions(
        crop=crop, size=height_width(size), fit=one_of("--fit", fit, "stretch", "pad", "crop"),
        layout=one_of("--layout", layout.upper(), "", "NCHW", "NHWC"), reshape=height_width_channels(reshape),
        label=label, group=group, as_=as_,
    )  # fmt: skip
    habits = pipeline.Habits(gallery=gallery, skip_bad=skip_bad, command=spelled())
    if dry_run:
        planned = pipeline.plan(recipe, data, changes=changes, reading=reading, habits=habits, progress=console)
        console.result(planned.to_json(), _summary(planned))
        return
    if data is None:
        raise InputError("needs data", where="estampa train", cure="Give a path, or --dry-run with a shipped recipe.")
    if repeats and not folds:
        raise InputError("--repeats needs --folds", where="estampa train", cure="As in: --folds 5 --repeats 3")
    run = pipeline.train(
        data,
        recipe=recipe,
        changes=changes,
        output=output,
        reading=reading,
        habits=habits,
        progress=console,
    )
    console.result(run.to_json(), run.lines())


def spelled() -> str:
    """The command as it was typed, for a report."""
    return shlex.join(["estampa", *sys.argv[1:]])


def _settings(pairs: list[str]) -> dict[str, Any]:
    """`--set key=value` pairs as dotted keys; raises InputError for one without '='."""
    from estampa.errors import InputError
    from estampa.recipe import value_of

    found = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise InputError("has no '='", where=f"--set {pair}", allowed="stage.key=value, as --set train.batch=64")
        found[key.strip()] = value_of(text.strip())
    return found


def _grid(pairs: list[str]) -> dict[str, list[Any]]:
    """`--search key=a,b,c` as dotted keys and values; a key without a stage is the model's own."""
    from estampa.errors import InputError
    from estampa.recipe import value_of

    found: dict[str, list[Any]] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not text.strip():
            raise InputError("has no values", where=f"--search {pair}", allowed="key=a,b,c, as --search widths=16,32")
        values = value_of(f"[{text}]")
        dotted = key.strip() if "." in key else f"model.{key.strip()}"
        found[dotted] = values if isinstance(values, list) else [value_of(v.strip()) for v in text.split(",")]
    return found


def _summary(planned: Plan) -> list[str]:
    """The layer table, as `model.summary()` prints it elsewhere; of a table what is learned from and searched."""
    told = f"{planned.recipe.name}: {planned.recipe.about or planned.recipe.model.name}"
    outputs = f"{planned.outputs} output{'s' if planned.outputs != 1 else ''}"
    if not planned.layers:
        recipe = planned.recipe
        return [
            told, f"input {planned.shape[0]} columns, {outputs}", "", *planned.decisions, "",
            f"columns  {', '.join(recipe.data.features)}",
            f"models   {', '.join(recipe.search.methods) or recipe.model.name}",
        ]  # fmt: skip
    rows = [[r.name, r.kind, " x ".join(map(str, r.shape)), f"{r.parameters:,}"] for r in planned.layers]
    shape = " x ".join(map(str, planned.shape))
    return [
        told,
        f"input {shape}, {outputs}",
        "",
        *table(["layer", "kind", "output shape", "parameters"], rows, right=[3]),
        "",
        counted(planned.parameters, planned.layers),
    ]
