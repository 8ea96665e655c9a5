"""The service itself, without HTTP: models, the queue before them, what is counted, logged and kept."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from estampa import machine
from estampa.errors import EstampaError
from estampa.monitor.kept import Kept
from estampa.monitor.log import LogWriter
from estampa.predict.answers import Answers
from estampa.predict.source import Chunk
from estampa.serve.events import Events
from estampa.serve.feedback import desk_of
from estampa.serve.inputs import Inputs, others, reason_of
from estampa.serve.metrics import Metrics
from estampa.serve.models import Model, Models, Version
from estampa.serve.notes import Note, Notes, Outcome
from estampa.serve.problems import Problem
from estampa.serve.queue import Queue
from estampa.serve.room import Readers
from estampa.serve.settings import Settings
from estampa.serve.watcher import Watcher

Explained = TypeVar("Explained")
POOLS = ("read_", "log_", "score_", "batch_", "decode_", "why_", "watch_")  #: how the names of our pools' threads begin
_EXPLAINED = 4  #: explanations at once and waiting; each asks the model hundreds of times
_PURGE = 60.0  #: seconds between looks for kept inputs whose time has come


@dataclass(frozen=True)
class Served:
    """What one request got.

    Attributes
    ----------
    version : the model that answered, even if it has been swapped since.
    answers : one record an object, as the API gives them.
    inputs : the objects as they were scored.
    embedding : (n, e) float32, where it was asked for and the model has one.
    kept : whether the inputs were stored, by consent.
    """

    version: Version
    answers: list[dict[str, Any]]
    inputs: Inputs
    embedding: np.ndarray | None
    kept: bool = False


class Service:
    """Answers requests for the models of `settings`. Opening it opens and audits every bundle."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.events = settings, Events(quiet=settings.quiet)
        self.log = LogWriter(settings.log) if settings.log else None
        self.desk = desk_of(settings)
        self.keep = Kept(settings.keep, settings.retention) if settings.keep else None
        self.models, self.metrics = Models(settings.bundles, logged=settings.log is not None), Metrics()
        threads = settings.threads or max(1, machine.threads() // settings.workers)
        self.queue = Queue(threads, settings.max_waiting)
        self.readers = Readers(threads, settings.max_waiting)
        self._explaining, self._turns = ThreadPoolExecutor(1, "why"), threading.Semaphore(_EXPLAINED)
        self.notes = Notes(self.log, self._noted) if self.log is not None else None
        self.watcher = Watcher(settings.log, self.models, self.events.warn) if settings.log else None
        self._tasks: list[asyncio.Task[None]] = []
        self.closers: list[Callable[[], None]] = []  #: what else is to be let go at the end
        if self.desk is not None:
            self.closers.append(self.desk.close)
        for model in self.models.all():
            self.metrics.model(model.name, model.version)
            if model.place.entry:
                self.metrics.follows(model.name)

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Begin to follow registries and to clear kept inputs away."""
        self._tasks = [asyncio.create_task(self.models.watch(self.settings.poll_seconds, self._swapped), name="watch")]
        if self.keep is not None:
            self._tasks.append(asyncio.create_task(self._purge(), name="purge"))
        for task in self._tasks:
            task.add_done_callback(self._ended)
        for model in self.models.all():
            self.events.say("ready", model=model.name, sha=model.version.hash, version=model.version.number)

    async def stop(self) -> None:
        """Let everything go; what has been asked is answered by then."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for close in self.closers:
            close()
        self.queue.close()
        self.readers.shutdown(wait=False)
        self._explaining.shutdown(wait=False, cancel_futures=True)
        if self.watcher is not None:
            self.watcher.close()
        if self.notes is not None:
            self.notes.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Say of a task that works for ever that it has failed: nothing else would show it."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            trace = "".join(traceback.format_exception(error))
            self.events.fault("a task of the service has ended", trace, task=task.get_name())

    def _swapped(self, model: Model, found: tuple[Version, Version] | Exception) -> None:
        """Say what became of a change in the registry."""
        if isinstance(found, Exception):
            self.metrics.swaps.labels(model.name, "failed").inc()
            why = str(found) if isinstance(found, EstampaError) else repr(found)
            self.events.warn("swap failed; the model before it answers on", model=model.name, why=why)
            return
        before, after = found
        self.metrics.swaps.labels(model.name, "done").inc()
        self.metrics.model(model.name, after, before)
        self.events.say("swapped", model=model.name, sha=after.hash, version=after.number, before=before.hash)

    async def _purge(self) -> None:
        """Clear away what was kept by consent, when its time has come."""
        assert self.keep is not None
        while True:
            try:
                gone = await asyncio.to_thread(self.keep.purge)
            except (EstampaError, OSError) as error:
                self.events.warn("kept inputs could not be cleared away", why=str(error))
            else:
                if gone:
                    self.events.say("cleared away", inputs=gone)
            await asyncio.sleep(min(_PURGE, self.settings.retention.total_seconds()))

    # ------------------------------------------------------------------ answering

    async def answer(
        self, model: Model, inputs: Inputs, request_id: str, *, consent: bool = False, embedding: bool = False,
        version: Version | None = None,
    ) -> Served:  # fmt: skip
        """Score the objects of one request, count and log them.

        Parameters
        ----------
        consent : the inputs may be stored, where the service keeps any.
        embedding : give the embedding, too.
        version : the model's version that the inputs were read for; None = the one that answers now.

        Raises Problem: too many wait, or the model failed.
        """
        version = version or model.version
        wanted: tuple[str, ...] = ("output",)
        if (embedding or self.notes is not None) and "embedding" in version.bundle.session.outputs:
            wanted = ("output", "embedding")
        try:
            found = await self.queue.answer(version.bundle, inputs.chunk, inputs.ids, wanted)
        except EstampaError as error:
            self.events.warn("the model failed", model=model.name, request_id=request_id, why=str(error))
            raise Problem("internal", "The model failed; the server's log has the request's id.") from error
        answers = records(version, found.answers, request_id)
        self.metrics.answers(model.name, version, answers)
        if self.notes is not None:
            ids = [log_id(request_id, i) for i in range(len(answers))]
            flags = [one["flags"] for one in answers]
            await self.notes.add(Note(version.bundle, _rows(inputs), found.scores, ids, flags))
        kept = consent and self.keep is not None and await asyncio.to_thread(self._store, version, inputs, answers)
        return Served(version, answers, inputs, found.scores.embedding, kept)

    async def answered(self, model: Model, inputs: Inputs, request_id: str, **how: Any) -> Served:
        """Answer as `answer` does; where not one object gets an answer, Problem says why of the first."""
        served = await self.answer(model, inputs, request_id, **how)
        if all(one["predicted"] is None for one in served.answers):
            flags = served.answers[0]["flags"]
            kind = "unreadable" if any(flag.startswith("unreadable") for flag in flags) else "no-answer"
            raise Problem(kind, reason_of(flags) + others(len(served.answers) - 1))
        return served

    async def explained(self, work: Callable[[], Explained]) -> Explained:
        """What `work` gives, one at a time in a thread that the end of the service does not wait for.

        Raises Problem when too many wait.
        """
        if not self._turns.acquire(blocking=False):
            raise Problem("busy", "Others wait to be told the reasons; try again.", {"Retry-After": "5"})
        run = self._explaining.submit(work)
        run.add_done_callback(lambda _: self._turns.release())
        return await asyncio.wrap_future(run)

    def _noted(self, outcome: Outcome) -> None:
        """A disk that is full loses lines of the log, which are counted, and never an answer."""
        if outcome.why:
            self.events.warn("the log cannot be written; answers are given all the same", why=outcome.why)
        if outcome.lost:
            self.metrics.lost.inc(outcome.lost)

    def _store(self, version: Version, inputs: Inputs, answers: Sequence[dict[str, Any]]) -> bool:
        """Keep the inputs by consent; False where they could not be."""
        assert self.keep is not None
        try:
            for i, (row, one) in enumerate(zip(_rows(inputs), answers, strict=True)):
                self.keep.put(log_id(one["request_id"], i), row, {"model": version.hash})
        except (EstampaError, OSError) as error:
            self.events.warn("an input could not be kept", request_id=answers[0]["request_id"], why=str(error))
            return False
        return True


def log_id(request_id: str, row: int) -> str:
    """The id of an answer in the log, and of its input where it is kept."""
    return f"{request_id}.{row}"


def _rows(inputs: Inputs) -> np.ndarray:
    return inputs.chunk.images if isinstance(inputs.chunk, Chunk) else inputs.chunk.values


def records(version: Version, answers: Answers, request_id: str) -> list[dict[str, Any]]:
    """One record an object, numbers with the fewest digits that read back as the same float32."""
    bundle = version.bundle
    ids, bad = answers.ids.tolist(), answers.bad.tolist()
    flags = [flag.split(";") if flag else [] for flag in answers.flags]
    told = {"model": version.hash, "request_id": request_id}
    if answers.output is None:
        values = _short(answers.predicted)
        return [
            {"id": ids[i], "predicted": None if bad[i] else values[i], "flags": flags[i], **told}
            for i in range(len(ids))
        ]
    classes, threshold = bundle.classes, threshold_of(version)
    width, numbers, predicted = len(classes), _short(answers.output), answers.predicted.tolist()
    made = []
    for i, name in enumerate(ids):
        row = numbers[i * width : (i + 1) * width]
        none = bad[i]
        made.append(
            {
                "id": name, "predicted": None if none else classes[predicted[i]],
                "probability": None if none else row[predicted[i]],
                "probabilities": None if none else dict(zip(classes, row, strict=True)),
                "threshold": threshold, "flags": flags[i], **told,
            }
        )  # fmt: skip
    return made


def threshold_of(version: Version) -> float | None:
    """The probability from which the second of two classes is predicted; None of more, where the likeliest is."""
    decision = version.bundle.thresholds.decision
    if decision is None and len(version.bundle.classes) == 2:
        return 0.5
    return decision


def _short(values: np.ndarray) -> list[float]:
    return [float(text) for text in values.astype(np.float32).reshape(-1).astype(np.str_).tolist()]
