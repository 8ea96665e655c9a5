"""Try values for a recipe's keys, judged on validation only. Every trial is listed; a killed search goes on."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from estampa import files, measure, parts
from estampa.errors import EstampaError, InputError, Interrupted, RecipeError, StorageError, nearest
from estampa.progress import SILENT, Progress
from estampa.recipe import Recipe, known_keys
from estampa.train import checkpoint
from estampa.train.choose import complete
from estampa.train.fit import fit_net
from estampa.train.fitted import Fitted, ImageSet

Array = np.ndarray[Any, Any]
NAME = "trials.jsonl"


@dataclass(frozen=True)
class Trial:
    """One setting and how it did: `score` is the validation part's, None when the trial failed (`error` says why)."""

    number: int
    values: dict[str, Any]
    score: float | None
    epoch: int = 0
    parameters: int = 0
    seconds: float = 0.0
    error: str = ""


@dataclass
class SearchResult:
    """Every trial, best first, and the recipe with the best values. `stopped` says why the search ended."""

    metric: str
    trials: list[Trial]
    best: Recipe
    stopped: str
    planned: int
    decisions: list[str] = field(default_factory=list)

    @property
    def winner(self) -> Trial:
        """The trial with the best validation score; of equal ones the one with fewer parameters."""
        return self.trials[0]

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        values = ", ".join(f"{key} = {value}" for key, value in self.winner.values.items())
        told = (
            f"{len(self.trials)} of {self.planned} settings tried"
            if len(self.trials) < self.planned
            else (f"{self.planned} settings tried")
        )
        return f"{values}: the best on validation ({self.metric} {self.winner.score:.4f}), {told}."

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return {
            "metric": f"validation_{self.metric}", "best": self.winner.values, "planned": self.planned,
            "stopped": self.stopped, "trials": [vars(t) for t in self.trials],
        }  # fmt: skip

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{t.number}</td><td>{t.values}</td><td>{'' if t.score is None else f'{t.score:.4f}'}</td>"
            f"<td>{t.parameters:,}</td><td>{t.seconds:.1f}</td></tr>"
            for t in self.trials
        )
        head = f"<tr><th>trial</th><th>values</th><th>validation {self.metric}</th><th>parameters</th><th>s</th></tr>"
        return f"<table>{head}{rows}</table>"


def settings(recipe: Recipe) -> list[dict[str, Any]]:
    """The settings to try, in order: the whole grid, or `search.trials` of it drawn at random by the recipe's seed.

    A key without a stage ("widths") is the model's own. Raises RecipeError for a key that there is not.
    """
    if not recipe.search.values:
        raise RecipeError("nothing to search", where="search.values", cure="For example: --search widths=16,32,64")
    keys = [full_key(key, recipe) for key in recipe.search.values]
    lists = list(recipe.search.values.values())
    empty = [k for k, values in zip(keys, lists, strict=True) if not values]
    if empty:
        raise RecipeError("no values to try", where=f"search.values.{empty[0]}")
    total = math.prod(len(values) for values in lists)
    if recipe.search.trials is None or recipe.search.trials >= total:
        return [dict(zip(keys, combination, strict=True)) for combination in itertools.product(*lists)]
    chosen = np.random.default_rng(recipe.train.seed).choice(total, recipe.search.trials, replace=False)
    return [dict(zip(keys, _combination(int(number), lists), strict=True)) for number in chosen]


def _combination(number: int, lists: list[list[Any]]) -> list[Any]:
    """The number-th combination of the grid."""
    chosen = []
    for values in reversed(lists):
        number, place = divmod(number, len(values))
        chosen.append(values[place])
    return chosen[::-1]


def full_key(key: str, recipe: Recipe) -> str:
    """The dotted key that is meant: "widths" is "model.widths", "rate" is "train.rate"."""
    options = [f"model.{name}" for name in _options(recipe)]
    known = [*options, *known_keys()]
    if key in known:
        return key
    meant = [k for k in known if k.partition(".")[2] == key]
    if len(meant) != 1:
        raise RecipeError(
            f"unknown key {key!r}" if not meant else f"{key!r} may mean {' or '.join(meant)}",
            where="search",
            cure=nearest(key, known) if not meant else "Give it with its stage.",
        )
    return meant[0]


def _options(recipe: Recipe) -> list[str]:
    if recipe.model.name not in parts.names("models"):
        return []
    return list(parts.load("models", recipe.model.name).Options.model_fields)


def search(
    dataset: ImageSet,
    recipe: Recipe,
    folder: Path,
    progress: Progress = SILENT,
    *,
    train_rows: Array,
    validation_rows: Array,
    asked: Recipe | None = None,
    time_limit: float | None = None,
) -> SearchResult:
    """Train with each of the `settings` and compare them on the validation part; the test part is never looked at.

    Each trial is `asked` with its values, completed anew: so a value of `train.steps` or `train.batch` decides the
    epochs. `asked` is the recipe before its completion; None = `recipe`, which may be complete already.

    Each finished trial is a line of `folder`/trials.jsonl; the same search in the same folder goes on after the last
    one, and lines of another recipe or other data are removed. A trial whose loss is no longer a number, or whose net
    cannot be built, has failed: it is listed with its error. With a `time_limit` (seconds, for the whole search) no
    new trial is begun after it; the first one always is.

    Raises InputError without a validation part, EstampaError when every trial failed.
    """
    if len(validation_rows) == 0:
        raise InputError("a search needs a validation part", where="search", cure="Split with --validation 0.1.")
    plan, (base, decisions) = settings(recipe), complete(recipe, dataset, train_rows)
    metric, start = base.train.monitor, asked or recipe
    folder.mkdir(parents=True, exist_ok=True)
    own = checkpoint.fingerprint(start, dataset.content_sha256, np.sort(train_rows), np.sort(validation_rows))
    done = {json.dumps(t.values, sort_keys=True): t for t in _earlier(folder, own, progress)}
    if done:
        progress.say(f"Going on with an earlier search: {len(done)} of {len(plan)} trials are done.")
    began, stopped = time.perf_counter(), "every setting tried"
    trials: list[Trial] = []
    progress.start("search", len(plan), "trials")
    for number, values in enumerate(plan, start=1):
        trial = done.get(json.dumps(values, sort_keys=True))
        if trial is None:
            if trials and time_limit is not None and time.perf_counter() - began > time_limit:
                stopped = f"time limit of {time_limit:g} s reached after {len(trials)} of {len(plan)} trials"
                break
            trial = _try(number, values, start, lambda r: fit_net(
                dataset, r, train_rows=train_rows, validation_rows=validation_rows), metric)  # fmt: skip
            _append(folder, own, trial)
        trials.append(trial)
        shown = trial.error or f"validation {metric} {trial.score:.4f}"
        progress.advance(1, ", ".join(f"{k} {v}" for k, v in values.items()) + f": {shown}")
    progress.finish(stopped)
    sign = 1 if measure.larger_is_better(metric) else -1
    if not any(t.score is not None for t in trials):
        raise EstampaError("every trial failed", where="search", got=trials[0].error if trials else stopped)
    ranked = sorted(trials, key=lambda t: (t.score is None, -sign * (t.score or 0.0), t.parameters, t.number))
    best, _ = complete(start.with_values({**ranked[0].values, "search": {}}, "search"), dataset, train_rows)
    return SearchResult(metric, ranked, best, stopped, len(plan), decisions)


def _try(number: int, values: dict[str, Any], recipe: Recipe, fit: Callable[[Recipe], Fitted], metric: str) -> Trial:
    """Train one setting; an error of its own (a net too deep for the pictures, a loss that diverges) is noted."""
    try:
        fitted = fit(recipe.with_values({**values, "train.monitor": metric}, "search"))
    except (StorageError, Interrupted):  # of the machine or the user, not of the setting
        raise
    except EstampaError as error:
        return Trial(number, values, None, error=str(error))
    row = fitted.history[fitted.kept_epoch - 1]
    score = float(row[f"validation_{metric}"])
    return Trial(
        number, values, score if math.isfinite(score) else None, fitted.kept_epoch, fitted.parameters,
        round(fitted.seconds, 3), "" if math.isfinite(score) else f"validation {metric} is {score}",
    )  # fmt: skip


def _append(folder: Path, own: str, trial: Trial) -> None:
    path = folder / NAME
    with files.storage_errors(path), path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"search": own, **vars(trial)}) + "\n")


def _earlier(folder: Path, own: str, progress: Progress) -> list[Trial]:
    """Trials of the same search that are on disk. A line cut short by a kill is removed, as are those of others."""
    path = folder / NAME
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    ours = [line for line in lines if json.loads(line)["search"] == own]
    if len(ours) < len(lines):
        progress.warn(f"{len(lines) - len(ours)} trials in {path} belong to another recipe or other data: removed.")
    if "".join(ours) != text:
        files.write_atomic(path, "".join(ours))
    return [Trial(**{k: v for k, v in json.loads(line).items() if k != "search"}) for line in ours]
