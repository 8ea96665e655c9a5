"""All runs of a folder, side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estampa import page
from estampa.errors import SourceError
from estampa.evaluate.judge import Judgement, spelled, words
from estampa.measure import Interval

#: Files that tell a run folder, finished or not.
_SIGNS = ("recipe.toml", "history.jsonl", "metrics.json")


@dataclass(frozen=True)
class RunRow:
    """One run. A run without metrics.json or without its bundle's manifest is incomplete."""

    name: str
    complete: bool
    state: str  #: "complete", or what is missing
    recipe: str = ""
    data: str = ""
    part: str = ""
    metric: str = ""
    value: Interval | None = None
    n: int = 0
    parameters: int | None = None
    seconds: float | None = None
    date: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        value = None if self.value is None else self.value.to_json()
        return vars(self) | {"value": value}

    def cells(self) -> list[str]:
        """The row as texts, in the order of `HEAD`."""
        if not self.complete:
            return [self.name, f"incomplete: {self.state}", self.recipe, self.data, "", "", self.date]
        assert self.value is not None
        return [
            self.name,
            f"{words(self.metric)} {spelled(self.value)}",
            self.recipe,
            self.data,
            "" if self.parameters is None else f"{self.parameters:,}",
            "" if self.seconds is None else f"{self.seconds:,.1f}",
            self.date[:16],
        ]


HEAD = ("run", "result", "recipe", "data", "parameters", "seconds", "date")


@dataclass(frozen=True)
class Runs:
    """The runs of a folder, the newest first."""

    folder: Path
    rows: list[RunRow]

    def to_json(self) -> dict[str, Any]:
        """{"folder", "runs": [...]}."""
        return {"folder": str(self.folder), "runs": [row.to_json() for row in self.rows]}

    def _repr_html_(self) -> str:
        return page.fragment(page.Table(HEAD, [row.cells() for row in self.rows]))


def list_runs(folder: Path | str = "runs") -> Runs:
    """Read every run folder inside `folder`, the newest first. Nothing is executed and no model is loaded.

    Raises SourceError when there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SourceError("there is no such folder", where=folder, cure="Runs are made by: estampa train DATA")
    found = [child for child in folder.iterdir() if child.is_dir() and any((child / s).exists() for s in _SIGNS)]
    rows = [_row(child) for child in found]
    return Runs(folder, sorted(rows, key=lambda row: (row.date, row.name), reverse=True))


def _row(folder: Path) -> RunRow:
    recipe = _recipe_name(folder)
    metrics = folder / "metrics.json"
    missing = [name for name in ("metrics.json", "model/bundle.json") if not (folder / name).is_file()]
    if missing:
        return RunRow(folder.name, complete=False, state=f"no {', no '.join(missing)}", recipe=recipe)
    try:
        record = json.loads(metrics.read_text(encoding="utf-8"))
        judgement = Judgement.from_json(record)
        seconds = sum(record["seconds"].values()) if record.get("seconds") else None
        return RunRow(
            folder.name,
            complete=True,
            state="complete",
            recipe=record.get("recipe") or recipe,
            data=record["data"]["name"],
            part=record["part"],
            metric=judgement.leading,
            value=judgement.metrics[judgement.leading],
            n=judgement.n,
            parameters=record.get("parameters"),
            seconds=seconds,
            date=record.get("date", ""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return RunRow(folder.name, complete=False, state=f"metrics.json cannot be read ({error!r})", recipe=recipe)


def _recipe_name(folder: Path) -> str:
    import tomllib

    path = folder / "recipe.toml"
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("name", ""))
    except (OSError, ValueError):
        return ""  # told as incomplete by the caller; a run is listed even when its recipe is damaged
