"""Random search over the settings of classical models, judged on folds of the objects to learn from.

Settings are drawn, method by method in turns, from the wide ranges that each model documents (Bergstra & Bengio 2012,
JMLR 13, 281); the first of each method is its defaults. Every setting is fitted once a fold, with a preparation fitted
on the same fold's training rows, and answers the rows that were held out. Each finished setting is a line of
`trials.jsonl`: a search that was stopped goes on after the last one, and comes to the same result.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from estampa import files, measure, parts
from estampa.errors import DatasetError, EstampaError, Interrupted, StorageError
from estampa.models.tables._space import draw
from estampa.prepare.table import TablePreparation
from estampa.progress import SILENT, Progress
from estampa.recipe import check_options

Array = np.ndarray[Any, Any]
FOLDER = "models/tables"
NAME = "trials.jsonl"
#: Prepared folds are kept in memory up to so many bytes; beyond they are made anew for each setting.
KEPT_BYTES = 1 << 29


@dataclass(frozen=True)
class Setting:
    """A method and values of its keys."""

    number: int
    method: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One setting and how it did on the objects held out: `score` of all folds together, `spread` over the folds.

    `spread` is the standard deviation of the folds' own scores. A setting that failed has no score and says why.
    """

    number: int
    method: str
    values: dict[str, Any]
    score: float | None
    spread: float | None = None
    folds: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Problem:
    """What is learned, and how settings are judged.

    Attributes
    ----------
    values : (n, c) float64, raw rows to learn from.
    columns, units : names (c) of the columns, and their units or ().
    labels : (n,) class numbers, 0 to classes - 1.
    classes : number of classes.
    fold : (n,) number of the fold in which a row is held out.
    invalid, derive : as in `[prepare]`.
    metric : what ranks settings.
    seed, threads : of the estimators.
    """

    values: Array
    columns: tuple[str, ...]
    units: tuple[str, ...]
    labels: Array
    classes: int
    fold: Array
    invalid: str
    derive: bool
    metric: str
    seed: int
    threads: int

    def prepared(self, rows: Array) -> TablePreparation:
        """The preparation fitted on `rows`."""
        return TablePreparation.fit(
            self.values[rows], self.columns, units=self.units, invalid=self.invalid, derive=self.derive
        )

    @property
    def folds(self) -> int:
        """How many there are."""
        return int(self.fold.max()) + 1

    @cached_property
    def _cache(self) -> dict[int, tuple[Array, Array, Array, Array]]:
        return {}

    def part(self, number: int) -> tuple[Array, Array, Array, Array]:
        """(training rows, held-out rows, prepared training rows, prepared held-out rows) of one fold."""
        if number in self._cache:
            return self._cache[number]
        held, learn = np.flatnonzero(self.fold == number), np.flatnonzero(self.fold != number)
        rule = self.prepared(learn)
        made = (learn, held, rule.transform(self.values[learn]), rule.transform(self.values[held]))
        if self.folds * (made[2].nbytes + made[3].nbytes) <= KEPT_BYTES:
            self._cache[number] = made
        return made

    def fingerprint(self) -> str:
        """One hash of everything that decides a trial's score, the setting apart."""
        import sklearn

        words = [
            list(self.columns), list(self.units), self.classes, self.invalid, self.derive, self.metric, self.seed,
            sklearn.__version__,
        ]  # fmt: skip
        digest = hashlib.sha256(json.dumps(words).encode())
        for array in (self.values, self.labels, self.fold):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


@dataclass
class Searched:
    """Every trial in the order tried, why the search ended, and the held-out answers that are at hand by number."""

    trials: list[Trial]
    planned: int
    stopped: str
    answers: dict[int, Array] = field(default_factory=dict)

    def best(self, metric: str) -> dict[str, Trial]:
        """The best trial of each method that has one; of equal ones the first."""
        sign = 1 if measure.larger_is_better(metric) else -1
        found: dict[str, Trial] = {}
        for trial in self.trials:
            if trial.score is None:
                continue
            rival = found.get(trial.method)
            if rival is None or sign * trial.score > sign * (rival.score or 0.0):
                found[trial.method] = trial
        return found


def settings(counts: dict[str, int], seed: int, fixed: dict[str, Any] | None = None, columns: int = 0) -> list[Setting]:
    """`counts[method]` settings of each method, in turns, so that a search cut short has tried every method.

    `fixed` values take the place of drawn ones where a method has the key, as do those that the number of prepared
    `columns` fixes. Equal settings are tried once.
    """
    queues = {}
    for method, count in counts.items():
        module = parts.load(FOLDER, method)
        number = int.from_bytes(hashlib.sha256(method.encode()).digest()[:4], "little")
        rng = np.random.default_rng([seed, number])
        limits = module.limited(columns) if hasattr(module, "limited") else {}
        own = limits | {k: v for k, v in (fixed or {}).items() if k in module.Options.model_fields}
        drawn: list[dict[str, Any]] = []
        for attempt in range(20 * count):
            if len(drawn) == count:
                break
            values = {**(draw(module.SPACE, rng) if attempt else module.Options().model_dump()), **own}
            if values not in drawn:
                drawn.append(values)
        queues[method] = drawn
    order = [
        (method, queue[turn]) for turn in range(max(counts.values(), default=0)) for method, queue in queues.items()
        if turn < len(queue)
    ]  # fmt: skip
    return [Setting(number, method, values) for number, (method, values) in enumerate(order, start=1)]


def made(setting: Setting | Trial, seed: int, threads: int, labels: Array) -> Any:
    """The unfitted estimator of a setting for objects of these class numbers (n,)."""
    module = parts.load(FOLDER, setting.method)
    options = check_options(module.Options, setting.values, f"model {setting.method!r}")
    return module.estimator(options, seed, threads, labels)


def learned(estimator: Any, features: Array, labels: Array) -> Any:
    """The estimator fitted, on one thread: threads of OpenMP wait for each other at each split of a small tree.

    A fit that did not converge is no error: its score says how good it is. Not for fits side by side, as the limit of
    BLAS is the process's (see `held_out`).
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return estimator.fit(features, labels)


def answered(estimator: Any, features: Array, classes: int) -> Array:
    """(n, classes) float64 probabilities; a class that was not learned has 0."""
    output = np.zeros((len(features), classes))
    if len(features):
        output[:, np.asarray(estimator.classes_, np.int64)] = estimator.predict_proba(features)
    return output


def held_out(problem: Problem, setting: Setting | Trial) -> Array:
    """(n, classes) answers to every row by an estimator that has not learned from it."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    output = np.zeros((len(problem.labels), problem.classes))

    def one(number: int) -> None:
        learn, held, x, y = problem.part(number)
        labels = problem.labels[learn]
        with threadpool_limits(1, user_api="openmp"):  # of this thread alone
            estimator = made(setting, problem.seed, 1, labels).fit(x, labels)
            output[held] = answered(estimator, y, problem.classes)

    # A fold a thread: estimators of small tables gain nothing from threads of their own, and folds are independent.
    # Filters of warnings and the threads of BLAS are the process's: set around the threads, and set back after them.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        with ThreadPoolExecutor(max_workers=problem.threads) as pool:
            list(pool.map(one, range(problem.folds)))
    return output


def search_table(
    problem: Problem,
    plan: Sequence[Setting],
    folder: Path | None,
    progress: Progress = SILENT,
    *,
    time_limit: float | None = None,
) -> Searched:
    """Try every setting of `plan`; no new one is begun after `time_limit` seconds, the first of each method excepted.

    Finished settings are lines of `folder`/trials.jsonl (None: kept nowhere), read back by a later search of the same
    problem. Raises EstampaError when every setting failed; Interrupted on Ctrl-C, with the finished ones kept.
    """
    own = problem.fingerprint()
    done = {} if folder is None else _earlier(folder, own, progress)
    if done:
        progress.say(f"Going on with an earlier search: {len(done)} of {len(plan)} settings are done.")
    began, found = time.perf_counter(), Searched([], len(plan), "every setting tried")
    seen: set[str] = set()
    progress.start("search", len(plan), "settings")
    for setting in plan:
        trial = done.get(_key(setting))
        if trial is None:
            late = time_limit is not None and time.perf_counter() - began > time_limit
            if late and setting.method in seen:
                found.stopped = f"time limit of {time_limit:g} s reached after {len(found.trials)} of {len(plan)}"
                break
            trial = _tried(problem, setting, found.answers, folder, own)
        trial = replace(trial, number=setting.number)  # an earlier search may have counted other methods
        seen.add(setting.method)
        found.trials.append(trial)
        said = trial.error or f"{problem.metric} {trial.score:.4f} +- {trial.spread:.4f} over the folds"
        progress.advance(1, f"{trial.method}: {said}")
    progress.finish(found.stopped)
    if not any(trial.score is not None for trial in found.trials):
        raise EstampaError("every setting failed", where="search", got=found.trials[0].error if found.trials else "")
    return found


def _tried(problem: Problem, setting: Setting, answers: dict[int, Array], folder: Path | None, own: str) -> Trial:
    try:
        trial, output = _try(problem, setting)
    except KeyboardInterrupt:
        raise Interrupted(
            "the search was stopped", where=folder or "search",
            cure="The settings that were finished are kept; the same command goes on with it.",
        ) from None  # fmt: skip
    if output is not None:
        answers[setting.number] = output
    if folder is not None:
        _append(folder, own, trial)
    return trial


def _try(problem: Problem, setting: Setting) -> tuple[Trial, Array | None]:
    """Judge one setting; an error of its own is noted, one of the machine or the data is raised."""
    began = time.perf_counter()
    try:
        output = held_out(problem, setting)
    except (StorageError, Interrupted, DatasetError):
        raise
    except (EstampaError, ValueError, np.linalg.LinAlgError) as error:  # how scikit-learn refuses a setting
        spent = round(time.perf_counter() - began, 3)
        return Trial(setting.number, setting.method, setting.values, None, seconds=spent, error=str(error)), None
    score = measure.score(problem.metric, problem.labels, output)
    each = tuple(
        round(float(measure.score(problem.metric, problem.labels[held], output[held])), 6)
        for held in (problem.fold == number for number in range(problem.folds))
    )
    spread = float(np.std(each, ddof=1)) if len(each) > 1 else 0.0
    spent = round(time.perf_counter() - began, 3)
    if not math.isfinite(score):
        return Trial(setting.number, setting.method, setting.values, None, seconds=spent, error="no score"), None
    rounded = round(float(score), 8)
    return Trial(setting.number, setting.method, setting.values, rounded, round(spread, 8), each, spent), output


def _key(setting: Setting | Trial) -> str:
    return json.dumps([setting.method, setting.values], sort_keys=True)


def _append(folder: Path, own: str, trial: Trial) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with files.storage_errors(path), path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({"search": own, **asdict(trial)}) + "\n")


def _earlier(folder: Path, own: str, progress: Progress) -> dict[str, Trial]:
    """Trials of the same search that are on disk. A line cut short by a kill is removed, as are those of others."""
    path = folder / NAME
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text[: text.rfind("\n") + 1].splitlines(keepends=True)
    read = [(line, _read(line, own)) for line in lines]
    ours = [line for line, trial in read if trial is not None]
    if len(ours) < len(lines):
        progress.warn(f"{len(lines) - len(ours)} settings in {path} belong to another recipe or other data: removed.")
    if "".join(ours) != text:
        files.write_atomic(path, "".join(ours))
    return {_key(trial): trial for _, trial in read if trial is not None}


def _read(line: str, own: str) -> Trial | None:
    """The trial of a line; None where it is of another search, or damaged."""
    try:
        record = json.loads(line)
        if record.pop("search") != own:
            return None
        return Trial(**{**record, "folds": tuple(record["folds"])})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
