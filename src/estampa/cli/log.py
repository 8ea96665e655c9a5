"""`estampa log`: what a service has logged, shown, forgotten or gathered to learn from; a registry's history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from estampa.cli.console import Console, table
from estampa.cli.options import Experiment, Files, Json, Mlflow
from estampa.errors import InputError


def command(
    action: Annotated[str, typer.Argument(help="show, forget, gather or history.")],
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Of forget: ids of requests, or of answers. Of gather: the run.", metavar="[ID]..."),
    ] = None,
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="A log of `estampa serve --log`; once for each file.")
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Of forget, gather: the folder of kept inputs (`serve --keep`).")
    ] = None,
    feedback: Annotated[
        list[Path] | None,
        typer.Option(help="Of forget, gather: labels (`serve --feedback`); of forget, each file."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Of gather: the Dataset to write.")] = None,
    registry: Annotated[
        Path | None, typer.Option(help="Of history: the registry, a file or a folder with registry.jsonl.")
    ] = None,
    head: Annotated[str, typer.Option(help="Of history: a head kept elsewhere, which the registry must hold.")] = "",
    mlflow: Mlflow = "",
    model: Annotated[str, typer.Option(help="Of --mlflow: the registered model whose versions are made.")] = "estampa",
    experiment: Experiment = "estampa",
    files: Files = False,
    json: Json = False,
) -> None:
    """Show what a service has logged, forget answers, gather labelled ones to learn from, or list a registry's history.

    forget blanks lines and labels in place while the service runs, and deletes kept inputs; an id that is nowhere is
    an error, after the others are forgotten. gather makes a Dataset of what was kept by consent and labelled, for
    `estampa retrain RUN --data`. history checks every line of a registry; with --head also that none is
    missing at its end (exit code 3), and with --mlflow it is exported: bundles as runs and versions, names as aliases.

    Example: estampa log forget 4f1c8a --log answers.jsonl --keep kept/
    """
    from estampa.cli.reading import one_of

    one_of("estampa log", action, "show", "forget", "gather", "history")
    console = Console(json=json)
    if ids and action not in ("forget", "gather"):
        raise InputError(f"`estampa log {action}` takes no ids", where="estampa log", got=" ".join(ids[:5]))
    if mlflow and action != "history":
        raise InputError(f"`estampa log {action}` exports nothing", where="--mlflow", cure="history does.")
    if action == "history":
        if registry is None:
            raise _missing("--registry")
        _history(console, registry, head, (mlflow, model, experiment, files))
    elif action == "gather":
        if not ids or len(ids) != 1 or keep is None or not feedback or len(feedback) != 1 or output is None:
            raise _missing("the run, --keep, one --feedback and -o NEW.h5")
        _gather(console, ids[0], (keep, feedback[0], output))
    elif action == "show":
        if not log:
            raise _missing("--log")
        _show(console, log)
    else:
        if not log and keep is None and not feedback:
            raise _missing("--log, --keep, --feedback or several of them")
        _forget(console, ids or [], log or [], keep, feedback or [])


def _missing(option: str) -> InputError:
    return InputError("something is missing", where="estampa log", cure=f"Give {option}.")


def _show(console: Console, paths: list[Path]) -> None:
    """Count a log's lines by model, and name those that are none."""
    from estampa.monitor.summary import HEAD, summarise

    found = summarise(paths)
    for fault in found.faults:
        console.warn(fault)
    if found.bad > len(found.faults):
        console.warn(f"and {found.bad - len(found.faults):,} more lines that are none")
    console.result(found.to_json(), table(HEAD, found.cells(), right=(1, 2)) if found.models else ["no lines"])


def _forget(console: Console, ids: list[str], paths: list[Path], keep: Path | None, feedback: list[Path]) -> None:
    """Forget ids, and say which were nowhere."""
    from estampa.monitor.log import forget

    found = forget(paths, ids, keep, feedback)
    record = {
        "lines": found.lines, "inputs": found.inputs, "labels": found.labels, "unknown": list(found.unknown),
    }  # fmt: skip
    said = f"forgotten: {found.lines:,} log lines, {found.inputs:,} kept inputs, {found.labels:,} labels"
    console.result(record, [said])
    if found.unknown:
        raise InputError(
            f"of {len(found.unknown)} of {len(ids)} ids there was nothing", where="estampa log forget",
            got=", ".join(found.unknown[:5]), cure="Name every log that may hold them, rotated ones too.",
        )  # fmt: skip


def _gather(console: Console, run: str, places: tuple[Path, Path, Path]) -> None:
    """Make a Dataset of kept and labelled inputs, and say until when it may be kept."""
    import numpy as np

    from estampa.bundle.store import Bundle
    from estampa.data.record import PARTS
    from estampa.monitor.gather import gather

    keep, feedback, output = places
    found = gather(Bundle.open(run), keep, feedback, output, console)
    for said in (*found.faults[:20], *found.notes):
        console.warn(said)
    dataset, first = found.dataset, found.expires[0]
    counts = {name: int((dataset.labels == i).sum()) for i, name in enumerate(dataset.classes)}
    lines = [f"{dataset.n:,} labelled inputs of {run} in {output}"]
    lines += [f"{name}: {n:,}" for name, n in counts.items()]
    parts = {name: int(n) for name, n in zip(PARTS, np.bincount(dataset.split, minlength=len(PARTS)), strict=True)}
    some = [f"{parts[name]:,} {name}" for name in PARTS[1:]]
    some[0] += f" ({found.unfair['train']:,} of them no fair draw: chosen, or of the half that is chosen from)"
    lines.append(f"parts: {', '.join(some)}")
    if parts["none"]:
        lines.append(
            f"in no part: {parts['none']:,} that are none; others of their request, or copies, are judged with"
        )
    lines += [f"left out: {n:,} {why}" for why, n in found.left.items()]
    lines += ["", f"The first of them is to be deleted by {first:%Y-%m-%d %H:%M} UTC, as was promised; this copy too."]
    lines += [f"next     estampa retrain {run} --data {output}"]
    record = {
        "path": str(output), "n": dataset.n, "classes": counts, "parts": parts, "unfair": found.unfair,
        "left": found.left, "expires": [f"{end:%Y-%m-%dT%H:%M:%SZ}" for end in found.expires],
    }  # fmt: skip
    console.result(record, lines)


def _history(console: Console, path: Path, head: str, export: tuple[str, str, str, bool]) -> None:
    """List a registry, checked; `export`: the MLflow server's address ("" = none), model, experiment, files."""
    from estampa.monitor.registry import Registry

    registry = Registry(path)
    last = registry.verify(head)
    entries = registry.history()
    rows = [
        [str(e.number), f"{e.time:%Y-%m-%d %H:%M:%S}", e.action, e.name, str(e.version), e.model, e.who, e.why]
        for e in entries
    ]
    lines = table(["line", "time (UTC)", "what", "name", "version", "model", "who", "why"], rows, right=(0, 4))
    record: dict[str, Any] = {"head": last, "entries": [e.to_json() for e in entries]}
    lines += ["", f"head {last}"]
    url, model, experiment, files = export
    if url:
        from estampa.monitor.mlflow import export_registry
        from estampa.monitor.mlflow_api import Server

        sent = export_registry(registry, Server(url), model, experiment=experiment, files=files, progress=console)
        record["exported"] = [one.to_json() for one in sent]
        lines.append(f"exported {sum(one.new for one in sent):,} new of {len(sent):,} versions of {model} to {url}")
    console.result(record, lines)
