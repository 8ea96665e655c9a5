"""`estampa evaluate`: judge a run, an ONNX model, or anyone's answers; gate with --require."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Seed


def command(
    run: Annotated[Path | None, typer.Argument(help="A run folder or a bundle.")] = None,
    data: Annotated[
        Path | None, typer.Argument(help="A Dataset or any source; none = the run's own judgement.")
    ] = None,
    part: Annotated[str, typer.Option(help="Rows judged: train, validation, test or all.")] = "",
    require: Annotated[
        list[str] | None, typer.Option(help="A gate: balanced_accuracy.low>=0.95, or recall[real].low>0.9. Repeatable.")
    ] = None,
    predictions: Annotated[Path | None, typer.Option(help="A file of answers: id, predicted, p_<class>...")] = None,
    labels: Annotated[Path | None, typer.Option(help="A file of truths: id, label; or a Dataset.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="An ONNX model trained elsewhere, judged on DATA.")] = None,
    classes: Annotated[str, typer.Option(help="Class names in order, parted by commas.")] = "",
    task: Annotated[str, typer.Option(help="classification or regression, where files do not say.")] = "",
    group: Annotated[str, typer.Option(help="Column of --labels that resamples keep whole.")] = "",
    layout: Annotated[str, typer.Option(help="Of --onnx: NCHW or NHWC.")] = "",
    scale: Annotated[str, typer.Option(help="Of --onnx: raw, unit (0 to 1) or symmetric (-1 to 1).")] = "",
    labels_check: Annotated[
        bool, typer.Option("--labels-check", help="Find likely wrong labels in DATA, by retraining; nothing is judged.")
    ] = False,
    recipe: Annotated[
        str, typer.Option(help="Of --labels-check without a run: estampa evaluate DATA --recipe X.")
    ] = "",
    folds: Annotated[int, typer.Option(min=2, help="Of --labels-check.")] = 5,
    output: Annotated[Path, typer.Option("-o", "--output", help="Of --labels-check: folder of its page.")] = Path(
        "labels"
    ),
    allow_seen: Annotated[bool, typer.Option(help="Judge on rows that the model learned from.")] = False,
    resamples: Annotated[int, typer.Option(min=100, help="Of the bootstrap.")] = 1000,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a run on data that it has not seen, or anyone's answers; exit 3 when a --require does not hold.

    Example: estampa evaluate runs/a new.h5 --require 'balanced_accuracy.low>=0.95'
    """
    from estampa.errors import InputError
    from estampa.evaluate import evaluation, outside, outside_onnx
    from estampa.evaluate import require as gates

    console = Console(json=json, quiet=quiet)
    if labels_check:
        _check_labels(console, run, data, (recipe, folds, seed), output)
        return
    asked = [gates.parse(text) for text in require or []]
    chosen, source = part, data
    told = {"RUN": run, "DATA": data, "--part": part or None, "--onnx": onnx}
    if predictions is not None or labels is not None:
        _refuse("--predictions", {name for name, value in told.items() if value is not None})
        if predictions is None or labels is None:
            raise InputError("--predictions and --labels belong together", where="estampa evaluate")
        names = [c.strip() for c in classes.split(",") if c.strip()]
        judgement = outside.judge_files(
            predictions, labels, task=task, classes=names, group=group, resamples=resamples, seed=seed
        )
    elif onnx is not None:
        if data is not None:
            _refuse("--onnx", {"RUN"})
        source = run
        if source is None:
            raise InputError("--onnx needs DATA", where="estampa evaluate")
        dataset = evaluation.opened(source, None, console)
        rows, chosen = evaluation.rows_of(dataset, part)
        judgement = outside_onnx.judge_onnx(
            onnx, dataset, rows, layout=layout.upper(), scale=scale, resamples=resamples, seed=seed, progress=console
        )
    elif run is None:
        raise InputError("needs a run, or --predictions and --labels, or --onnx", where="estampa evaluate")
    else:
        judgement, chosen = evaluation.judge_run(
            run, data, part=part, allow_seen=allow_seen, resamples=resamples, seed=seed, progress=console
        )
    console.result(judgement.to_json() | {"part": chosen, "data": str(source or "")}, judgement.lines())
    for line in gates.require(judgement, asked):
        console.say(f"holds: {line}")


def _refuse(way: str, names: set[str]) -> None:
    """Refuse what would be left aside without a word: each way of judging takes its own data."""
    from estampa.errors import InputError

    if names:
        got = ", ".join(sorted(names))
        raise InputError(f"{way} cannot be combined with {got}", where="estampa evaluate", cure=f"Leave {got} out.")


def _check_labels(
    console: Console, run: Path | None, data: Path | None, how: tuple[str, int, int], output: Path
) -> None:
    """`--labels-check`: by the run's own recipe, or by a recipe that is named; `how`: recipe, folds, seed."""
    from estampa.bundle.store import Bundle
    from estampa.cli.train import spelled
    from estampa.errors import InputError
    from estampa.evaluate import evaluation, labels
    from estampa.files import require_writable
    from estampa.recipe import read

    named, folds, seed = how
    source = run if named else data
    if run is None or source is None or (named and data is not None):
        raise InputError(
            "--labels-check needs a run and data, or data and --recipe", where="estampa evaluate",
            cure="As in: estampa evaluate RUN DATA --labels-check, or estampa evaluate DATA --recipe pictures ...",
        )  # fmt: skip
    require_writable(output / labels.PAGE)
    bundle = None if named else Bundle.open(run)
    recipe = read(named) if bundle is None else labels.recipe_of(bundle)
    dataset = evaluation.opened(source, bundle, console)
    found = labels.check_labels(dataset, recipe, folds=folds, seed=seed, progress=console)
    page, listed = labels.write_labels(output, found, dataset, labels.made_by(spelled(), recipe, dataset))
    places = ["", f"page  {page}", f"list  {listed}", f"next  estampa build {source} -o clean.h5 --exclude {listed}"]
    console.result(found.to_json(dataset) | {"page": str(page), "list": str(listed)}, [*found.lines(dataset), *places])
