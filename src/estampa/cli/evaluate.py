"""`estampa evaluate`: judge a run, an ONNX model, or anyone's answers; gate with --require."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet, Seed

if TYPE_CHECKING:
    from estampa.evaluate.outside import Files


def command(
    run: Annotated[Path | None, typer.Argument(help="A run folder or a bundle.")] = None,
    data: Annotated[
        Path | None, typer.Argument(help="A Dataset or any source; none = the run's own judgement.")
    ] = None,
    part: Annotated[str, typer.Option(help="Rows judged: train, validation, test or all.")] = "",
    require: Annotated[
        list[str] | None, typer.Option(help="A gate: balanced_accuracy.low>=0.95, or recall[real].low>0.9. Repeatable.")
    ] = None,
    aim: Annotated[
        str, typer.Option(help="Choose the threshold of two classes: fpr=0.01, recall=0.95, precision=0.9, f1.")
    ] = "",
    threshold: Annotated[
        float | None, typer.Option(help="Of two classes: the second is answered from this probability on.")
    ] = None,
    positive: Annotated[
        str, typer.Option(help="Of two classes the one looked for; else the run's own, or the second.")
    ] = "",
    by: Annotated[
        list[str] | None, typer.Option(help="Figures by a column: snr, or snr:3,5,7,10 with edges. Repeatable.")
    ] = None,
    prior: Annotated[str, typer.Option(help="State purity where the positive class is so rare: 1:1000.")] = "",
    predictions: Annotated[Path | None, typer.Option(help="A file of answers: id, predicted, p_<class>...")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="A file of truths: id, label; or a Dataset. Default with --score: that file.")
    ] = None,
    score: Annotated[str, typer.Option(help="Column of --predictions: probability of the second of two classes.")] = "",
    against: Annotated[Path | None, typer.Option(help="Other answers to the same objects: paired differences.")] = None,
    against_score: Annotated[str, typer.Option(help="Their column of scores, by default in --predictions.")] = "",
    chosen_on: Annotated[
        Path | None, typer.Option(help="Answers with a column label, of other objects: there --aim is chosen.")
    ] = None,
    onnx: Annotated[Path | None, typer.Option(help="An ONNX model trained elsewhere, judged on DATA.")] = None,
    classes: Annotated[str, typer.Option(help="Class names in order, parted by commas.")] = "",
    task: Annotated[str, typer.Option(help="classification or regression, where files do not say.")] = "",
    group: Annotated[str, typer.Option(help="Column of --labels that resamples keep whole.")] = "",
    layout: Annotated[str, typer.Option(help="Of --onnx: NCHW or NHWC.")] = "",
    scale: Annotated[str, typer.Option(help="Of --onnx: raw, unit (0 to 1) or symmetric (-1 to 1).")] = "",
    keep_accuracy: Annotated[
        float | None,
        typer.Option(help="Of a run: the confidence to answer from that keeps this accuracy, and coverage."),
    ] = None,
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
    from estampa.evaluate.terms import Asked

    console = Console(json=json, quiet=quiet)
    if labels_check or keep_accuracy is not None:
        _refuse("such a check of a run", {"--predictions": predictions, "--onnx": onnx, "--require": require})
        if keep_accuracy is None:
            _check_labels(console, run, data, (recipe, folds, seed), output)
        else:
            _keep_accuracy(console, run, data, (keep_accuracy, part, allow_seen), (resamples, seed))
        return
    gated = [gates.parse(text) for text in require or []]
    asked = Asked(aim, threshold, positive, by or ("auto",), prior or None)
    chosen, source, beside = part, data, None
    of_model: dict[str, object] = {"RUN": run, "DATA": data, "--part": part, "--allow-seen": allow_seen}
    of_files: dict[str, object] = {
        "--labels": labels, "--score": score, "--against": against, "--against-score": against_score,
        "--chosen-on": chosen_on, "--classes": classes, "--task": task, "--group": group,
    }  # fmt: skip
    of_onnx: dict[str, object] = {"--layout": layout, "--scale": scale}
    if predictions is not None:
        _refuse("--predictions", of_model | {"--onnx": onnx} | of_onnx)
        from estampa.evaluate.outside_pair import judge_pair

        names = tuple(c.strip() for c in classes.split(",") if c.strip())
        files = outside.Files(predictions, labels, score, task, names, group)
        judgement, beside = judge_pair(
            _whole(files), _other(files, against, against_score), asked, chosen_on, (resamples, seed), console
        )
    elif onnx is not None:
        told: dict[str, object] = {"RUN": run if data is not None else None, "--allow-seen": allow_seen}
        _refuse("--onnx", told | of_files)
        source = run
        if source is None:
            raise InputError("--onnx needs DATA", where="estampa evaluate")
        dataset = evaluation.opened(source, None, console)
        rows, chosen = evaluation.rows_of(dataset, part)
        judgement = outside_onnx.judge_onnx(
            onnx, dataset, rows, layout=layout.upper(), scale=scale, resamples=resamples, seed=seed, progress=console,
            aim=aim, threshold=threshold, positive=positive, by=asked.by, prior=asked.prior,
        )  # fmt: skip
    elif run is None:
        raise InputError("needs a run, or --predictions, or --onnx", where="estampa evaluate")
    else:
        _refuse("a run", of_files | of_onnx)
        judgement, chosen = evaluation.judge_run(
            run, data, part=part, allow_seen=allow_seen, resamples=resamples, seed=seed, asked=asked, progress=console
        )
    record = judgement.to_json() | {"part": chosen, "data": str(source or "")}
    if beside is not None:
        record["against"] = beside.to_json()
    console.result(record, judgement.lines() + (beside.lines() if beside else []))
    for line in gates.require(judgement, gated):
        console.say(f"holds: {line}")


def _whole(files: Files) -> Files:
    """The files as given; refused when there is no truth: only a table of scores may hold its own."""
    from estampa.errors import InputError

    if files.labels is None and not files.score:
        raise InputError(
            "--predictions needs --labels", where="estampa evaluate",
            cure="Or name the column of scores, as --score p_real, of a table that also holds the labels.",
        )  # fmt: skip
    return files


def _other(files: Files, against: Path | None, score: str) -> Files | None:
    """The other side of a paired comparison: another file, another column of scores, or both."""
    if against is None and not score:
        return None
    labels = files.labels or (files.predictions if against is not None and not score else None)
    return replace(files, predictions=against or files.predictions, labels=labels, score=score)


def _refuse(way: str, told: Mapping[str, object]) -> None:
    """Refuse what would be left aside without a word: each way of judging takes its own data."""
    from estampa.errors import InputError

    names = sorted(name for name, value in told.items() if value not in (None, "", False))
    if names:
        got = ", ".join(names)
        raise InputError(f"{way} cannot be combined with {got}", where="estampa evaluate", cure=f"Leave {got} out.")


def _keep_accuracy(
    console: Console, run: Path | None, data: Path | None, what: tuple[float, str, bool], how: tuple[int, int]
) -> None:
    """`--keep-accuracy`; `what`: the accuracy, part, allow_seen; `how`: resamples, seed."""
    from estampa.errors import InputError
    from estampa.evaluate import abstain

    keep, part, allow_seen = what
    if run is None or not 0 < keep < 1:
        raise InputError(
            "needs a run and an accuracy", where="--keep-accuracy", allowed="between 0 and 1", got=keep,
            cure="As in: estampa evaluate RUN DATA --keep-accuracy 0.99",
        )  # fmt: skip
    found = abstain.keep_accuracy(run, keep, data, part=part, allow_seen=allow_seen, how=how, progress=console)
    console.result(found.to_json(), abstain.lines(found))


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
