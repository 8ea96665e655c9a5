"""What the stages of a run share: where it is kept, what it learns from, and its end."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from estampa import machine
from estampa.data.dataset import Dataset
from estampa.errors import InputError
from estampa.evaluate.judge import spelled, words
from estampa.files import require_writable
from estampa.plain import duration
from estampa.progress import Clock, Progress

if TYPE_CHECKING:
    from estampa.evaluate.evidence import Evidence

SIGN = "unfinished"  #: file in a run folder that was begun by us and is not finished


@dataclass(frozen=True)
class Stage:
    """What the stages after the data share. `rows`: part -> its labelled rows."""

    folder: Path
    dataset: Dataset
    rows: dict[str, np.ndarray]
    progress: Progress
    clock: Clock


def unnamed(name: str) -> Path:
    """runs/<time>-<recipe>, for who names no folder."""
    stamp = datetime.datetime.now(tz=datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{stamp}-{name}"


def made_folder(folder: Path) -> Path:
    """The run folder, made now; refused when it holds a finished run or something else."""
    if (folder / "metrics.json").exists():
        raise InputError("holds a finished run", where=folder, cure="Choose another folder with -o, or remove it.")
    begun = any((folder / sign).exists() for sign in (SIGN, "history.jsonl", "checkpoint.safetensors"))
    if folder.is_dir() and any(folder.iterdir()) and not begun:
        raise InputError("is not empty and not a run", where=folder, cure="Choose another folder with -o.")
    require_writable(folder / SIGN)
    return folder


def report(stage: Stage, evidence: Evidence) -> None:
    """Write the report, then metrics.json, which marks the run as finished."""
    from estampa.evaluate.report import write_report
    from estampa.train import checkpoint

    evidence.seconds = {k: round(v, 3) for k, v in stage.clock.seconds.items()}
    evidence.peak_memory, evidence.machine = machine.peak_memory(), machine.describe()
    evidence.date = datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds")
    write_report(stage.folder, evidence)
    checkpoint.remove(stage.folder)  # the run is whole: nothing is left to go on from
    (stage.folder / SIGN).unlink(missing_ok=True)
    name = evidence.judgement.leading
    best = max(evidence.baselines, key=lambda b: b.judgement.metrics[name].value, default=None)
    if best is not None and evidence.judgement.task == "classification":
        stage.progress.say(f"best baseline: {best.name}, {words(name)} {spelled(best.judgement.metrics[name])}")
    stage.progress.say(f"in all {duration(sum(stage.clock.seconds.values()))}")
