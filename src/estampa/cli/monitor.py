"""`estampa monitor`: hold a model's answers against what it knows of clean data, and say whether to retrain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Json, Quiet
from estampa.errors import InputError

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.monitor.kept import Kept
    from estampa.monitor.registry import Entry
    from estampa.monitor.watch import Watch


def command(
    run: Annotated[str, typer.Argument(help="A run folder, a bundle, or REGISTRY:NAME.")],
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="A log of `estampa serve --log`; once for each file.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A Dataset or any source, which the model scores now.")] = None,
    predictions: Annotated[
        list[Path] | None, typer.Option(help="A file that `estampa predict` wrote; once for each.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels: of `serve --feedback`, columns id, label, or data; without it, those that --data holds."
        ),
    ] = None,
    by: Annotated[
        str, typer.Option(help="Periods: batch (all as one), day (UTC), a number of objects; or a column: camera.")
    ] = "batch",
    rate: Annotated[
        float, typer.Option(help="False alarms per period that are allowed, over all figures together.")
    ] = 0.01,
    part: Annotated[str, typer.Option(help="Of --data, a Dataset: train, validation or test.")] = "",
    policy: Annotated[Path | None, typer.Option(help="policy.toml: when to keep, watch or retrain.")] = None,
    write_policy: Annotated[
        Path | None, typer.Option(help="Write a policy to edit: every key, the learned ranges as comments.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the report.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of inputs kept by consent: the report shows what moved. With --log, -o.")
    ] = None,
    on_alert: Annotated[
        str,
        typer.Option(
            help="A command that is run when something left its range; it reads the JSON on stdin. No shell: for pipes "
            "and variables give sh -c '...'."
        ),
    ] = "",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Watch a model by its log, by predictions or on data: ranges from its own reference, alerts, a verdict.

    Exit code 3 when a figure left its range, in a period or over all. Nothing is retrained by itself.

    Example: estampa monitor runs/a --log answers.jsonl --by day -o watched
    """
    from estampa.cli.train import spelled
    from estampa.errors import CheckFailed
    from estampa.files import require_writable, write_atomic
    from estampa.monitor import report
    from estampa.monitor.decide import decide, facts_of
    from estampa.monitor.examples import Examples
    from estampa.monitor.policy import Policy, read_policy, template
    from estampa.monitor.report_examples import examples_section
    from estampa.monitor.watch import Asked, watch_and_show
    from estampa.plain import numbered

    given: dict[str, object] = {"log": log, "predictions": predictions, "data": data}
    kinds = [kind for kind, source in given.items() if source]
    if len(kinds) != 1:
        raise InputError("one source is watched", where="estampa monitor", allowed="--log, --predictions or --data",
                         got=", ".join(f"--{kind}" for kind in kinds) or "none")  # fmt: skip
    console = Console(json=json, quiet=quiet)
    rules = read_policy(policy) if policy is not None else Policy()
    if output is not None:
        require_writable(output / report.PAGE)
    if write_policy is not None:
        _require_new(write_policy)
    store = _store(keep, kinds[0], output)
    bundle, entry = _opened(run)
    asked = Asked(labels, int(by) if by.isdecimal() else by, rate, kinds[0], part)
    examples = Examples(bundle, store)
    found, shown = watch_and_show(bundle, log or predictions or data or "", asked, examples, console)
    verdict = decide(found, rules, facts_of(bundle, entry), run=run, again=_again(spelled(), labels))
    for note in (*found.notes, *found.faults):
        console.warn(note)
    if found.bad > len(found.faults):
        console.warn(f"and {numbered(found.bad - len(found.faults), 'more line')} that could not be read")
    places: list[str] = []
    if output is not None:
        pictured = examples_section(bundle, shown, examples.unshown)
        places = ["", f"report   {report.write_report(output, found, verdict, spelled(), pictured)[0]}"]
    if write_policy is not None:
        write_atomic(write_policy, template(found, rules))
        places += [*([] if places else [""]), f"policy   {write_policy}"]
    record = found.to_json() | {"verdict": verdict.to_json()}
    console.result(record, [*report.lines(found), "", *verdict.lines(), *places])
    if found.alarmed and on_alert and (failed := _tell(on_alert, record)):
        console.warn(f"--on-alert: {failed}")
    if found.alarmed:
        raise CheckFailed(_alarm(found), where="estampa monitor")


def _opened(run: str) -> tuple[Bundle, Entry | None]:
    """The bundle, and its line where a registry names it."""
    from estampa.bundle.store import Bundle
    from estampa.monitor.registry import Registry

    path, cut, name = run.rpartition(":")
    if not cut or Path(run).exists():
        return Bundle.open(run), None
    registry = Registry(Path(path))
    entry = registry.named(name)
    return registry.open(entry), entry


def _require_new(policy: Path) -> None:
    """Refuse to write over what somebody may have edited."""
    from estampa.files import require_writable

    if policy.exists():
        raise InputError(
            "is there already", where=policy, cure="Name another file; --policy reads and keeps its rules."
        )
    require_writable(policy)


def _store(keep: Path | None, kind: str, output: Path | None) -> Kept | None:
    """The store of kept inputs, where it is of any use."""
    from estampa.monitor.kept import Kept

    if keep is None:
        return None
    if kind != "log" or output is None:
        raise InputError("kept inputs are shown in the report of a log", where="--keep", cure="Give --log FILE and -o.")
    if not keep.is_dir():
        raise InputError("there is no such folder", where=keep, cure="It is the folder of `estampa serve --keep`.")
    return Kept(keep)


def _again(command: str, labels: Path | None) -> str:
    """The command that was typed, to be run once more with labels."""
    import shlex

    words, kept = iter(shlex.split(command)), []
    for word in words:
        if word == "--write-policy":  # it is written once, never over another
            next(words, None)
        elif not word.startswith("--write-policy="):
            kept.append(word)
    return shlex.join([*kept, *([] if labels is not None else ["--labels", "FILE"])])


def _tell(command: str, record: dict[str, object]) -> str:
    """Run the command of --on-alert with the result on its standard input; what failed, "" for nothing."""
    import json
    import shlex
    import subprocess

    try:
        words = shlex.split(command)
        ended = subprocess.run(words, input=json.dumps(record), text=True, timeout=60, stdout=2, check=False)
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired) as error:
        return f"the command cannot be run: {str(error)[:200]}"
    return f"the command failed with exit code {ended.returncode}" if ended.returncode else ""


def _alarm(found: Watch) -> str:
    """What left its range, in a line."""
    if found.alerts:
        return "1 figure left its range" if len(found.alerts) == 1 else f"{len(found.alerts)} figures left their range"
    bad = [period.name for period in found.periods if period.alerts]
    unit = f"groups by {found.column}" if found.column else "periods"
    return f"figures left their range in {len(bad)} of {len(found.periods)} {unit}, first {bad[0]}"
