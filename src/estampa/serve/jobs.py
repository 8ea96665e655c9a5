"""Batch jobs: a file is scored in the background, its answers wait for some minutes, then everything is deleted.

A job is a folder under the private folder that all workers share, so that any worker can tell how far it is. The file
that came is deleted as soon as it has been scored; the answers go when their time has come, or when asked.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import re
import secrets
import shutil
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePath

from estampa import machine
from estampa.errors import EstampaError, Interrupted
from estampa.files import write_atomic
from estampa.predict import predict
from estampa.progress import Silent
from estampa.serve.archive import unpack
from estampa.serve.events import Events
from estampa.serve.models import Version
from estampa.serve.problems import Problem, problem_of
from estampa.serve.settings import Settings

MINUTES = 15  #: that answers are kept
_FAULT = "A fault of the service."
AT_ONCE, WAITING = 2, 8  #: jobs that are scored at once, and that wait, in all workers together
_ID = re.compile(r"[A-Za-z0-9_-]{24}")
_PROGRESS, _ANSWERS, _STOP = "progress.json", "answers.csv", "stop"
_INPUT, _PICTURES = "input", "pictures"  #: the file that came, and the folder that a zip file is unpacked into
_LOOK = 0.05  #: seconds between looks for a free turn
_EVERY = 0.25  #: seconds between notes of how far a job is
LIFTED = 4  #: a zip file may unpack to so many times the limit of an upload
_GOING = ("waiting", "reading", "working")


@dataclass(frozen=True)
class State:
    """How far a job is, and when it is deleted (`ends`).

    `state`: waiting, reading, working, done, failed, stopped or lost.
    """

    id: str
    model: str
    state: str = "waiting"
    done: int = 0
    total: int = 0
    bad: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    problem: str = ""
    kind: str = ""
    pid: int = 0
    ends: float = 0.0

    @property
    def going(self) -> bool:
        """Whether it is not over yet."""
        return self.state in _GOING


class Jobs:
    """The jobs of one process, in the folder that all processes share."""

    def __init__(self, settings: Settings, keep: float = 60.0 * MINUTES, events: Events | None = None) -> None:
        self.settings, self.keep, self._events = settings, keep, events or Events()
        self.folder = settings.scratch / "jobs"
        self._pool = ThreadPoolExecutor(AT_ONCE, "batch")
        self._timers: set[threading.Timer] = set()
        self.closed = False

    def begin(self, model: str, version: Version, fill: Callable[[Path], None], called: str) -> str:
        """Take a file on, and return the job's id. Raises Problem when too many wait.

        `fill` writes what came to the path that it is given; `called` is its name, by whose end it is read.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.purge()
        if sum(state.going for state in self._all()) >= AT_ONCE + WAITING:
            raise Problem("busy", f"{WAITING} files wait already; try again in some minutes.", {"Retry-After": "60"})
        name = secrets.token_urlsafe(18)
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        path = folder / f"{_INPUT}{PurePath(called.lower()).suffix}"
        try:
            fill(path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        state = State(name, model, pid=os.getpid(), ends=time.time() + self.keep)
        self._note(state)
        self._pool.submit(self._run, state, version, path, called)
        return name

    def state(self, name: str) -> State | None:
        """How far a job is; None where there is none (any more)."""
        if not _ID.fullmatch(name):
            return None
        self.purge()
        return self._read(self.folder / name)

    def answers(self, name: str) -> Path | None:
        """The file of answers; None where there is none (yet, or any more)."""
        state = self.state(name)
        return self.folder / name / _ANSWERS if state is not None and state.state == "done" else None

    def delete(self, name: str) -> None:
        """Delete a job with all that belongs to it; one that is being scored stops at its next step."""
        state = self.state(name)
        if state is None:
            return
        if state.going and state.state != "waiting":
            with suppress(OSError):
                (self.folder / name / _STOP).touch()
            state = self._read(self.folder / name)
            if state is not None and state.going:  # else it ended meanwhile, and did not see that it was to stop
                return
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def purge(self) -> None:
        """Delete what has had its time."""
        now = time.time()
        for state in self._all():
            if not state.going and state.ends <= now:
                shutil.rmtree(self.folder / state.id, ignore_errors=True)

    def close(self) -> None:
        """Stop what is being scored, forget what waits, and delete the jobs of this process."""
        self.closed = True
        for timer in list(self._timers):
            timer.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for state in self._all():
            if state.pid == os.getpid():
                shutil.rmtree(self.folder / state.id, ignore_errors=True)

    # ------------------------------------------------------------------ one job

    def _run(self, state: State, version: Version, path: Path, called: str) -> None:
        """Score it, in a thread of the pool; whatever happens, the file that came is deleted."""
        folder, done = self.folder / state.id, replace(state, state="failed", kind="internal", problem=_FAULT)
        try:
            with _turn(self):
                if not folder.is_dir():  # deleted while it waited
                    return
                done = self._score(replace(state, pid=os.getpid()), version, path)
        except Problem as problem:
            done = replace(state, state="failed", problem=problem.detail, kind=problem.kind)
        except Interrupted:
            done = replace(state, state="stopped")
        except EstampaError as error:
            told = problem_of(error, (path, folder / _PICTURES, folder), called)
            done = replace(state, state="failed", problem=told.detail, kind=told.kind)
            if told.kind == "internal":
                self._tell(error)
        except Exception as error:  # noqa: BLE001 - nobody waits for this thread: it is `done` as it was, a fault of ours
            self._tell(error)
        finally:
            self._clear(folder)
            if folder.is_dir():
                self._finish(done)

    def _tell(self, error: Exception) -> None:
        """Write a fault to the server's log. It names no job: who knows a job's id may read its answers."""
        self._events.fault("a batch job failed", "".join(traceback.format_exception(error)))

    def _score(self, state: State, version: Version, path: Path) -> State:
        folder = self.folder / state.id
        self._note(replace(state, state="reading"))
        source = path
        if path.suffix == ".zip":
            source = folder / _PICTURES
            unpack(path, source, LIFTED * self.settings.max_upload)
            path.unlink()
        told = _Told(self, replace(state, state="reading"))
        found = predict(version.bundle, source, folder / _ANSWERS, threads=1, progress=told)
        classes = _classes(folder / _ANSWERS) if version.bundle.classes else {}
        return replace(
            told.state, state="done", done=found.n, total=found.n, bad=found.bad, classes=classes, flags=found.counts
        )

    def _finish(self, state: State) -> None:
        """Note the end, and see to it that all is deleted when its time has come, asked for or not."""
        if state.state == "stopped" or (self.folder / state.id / _STOP).exists():
            shutil.rmtree(self.folder / state.id, ignore_errors=True)
            return
        self._note(replace(state, ends=time.time() + self.keep))
        timer = threading.Timer(self.keep + 0.1, self.purge)
        timer.daemon = True
        self._timers = {t for t in self._timers if t.is_alive()} | {timer}
        timer.start()

    @staticmethod
    def _clear(folder: Path) -> None:
        """Delete everything of a job but its answers and how far it is."""
        for found in folder.glob("*"):
            if found.name in (_PROGRESS, _ANSWERS, _STOP):
                continue
            if found.is_dir():
                shutil.rmtree(found, ignore_errors=True)
            else:
                found.unlink(missing_ok=True)

    def stopped(self, name: str) -> bool:
        """Whether a job is to stop."""
        return self.closed or (self.folder / name / _STOP).exists() or not (self.folder / name).is_dir()

    def _note(self, state: State) -> None:
        folder = self.folder / state.id
        if folder.is_dir():
            write_atomic(folder / _PROGRESS, json.dumps(asdict(state)))

    def _read(self, folder: Path) -> State | None:
        try:
            state = State(**json.loads((folder / _PROGRESS).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        if state.going and not machine.alive(state.pid):
            self._clear(folder)
            state = replace(state, state="lost")
            self._note(state)
        return state

    def _all(self) -> list[State]:
        if not self.folder.is_dir():
            return []
        found = (self._read(folder) for folder in self.folder.iterdir() if _ID.fullmatch(folder.name))
        return [state for state in found if state is not None]


@contextmanager
def _turn(jobs: Jobs) -> Iterator[None]:
    """Hold one of the `AT_ONCE` turns that all workers share: the lock of a folder, which goes with who holds it.

    Raises Interrupted when the service ends before one is free.
    """
    turns = [jobs.folder / f"turn-{i}" for i in range(AT_ONCE)]
    for turn in turns:
        turn.mkdir(exist_ok=True)
    while not jobs.closed:
        for turn in turns:
            lock = os.open(turn, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            try:
                yield
            finally:
                os.close(lock)
            return
        time.sleep(_LOOK)
    raise Interrupted("stopped")


class _Told(Silent):
    """Writes down how far a prediction is, and stops it when asked."""

    def __init__(self, jobs: Jobs, state: State) -> None:
        self._jobs, self.state, self._last = jobs, state, 0.0

    def start(self, what: str, total: int | None, unit: str) -> None:  # noqa: ARG002 - of the protocol
        """The rows are known."""
        self.state = replace(self.state, state="working", total=total or 0)
        self._jobs._note(self.state)

    def advance(self, count: int = 1, note: str = "") -> None:  # noqa: ARG002 - of the protocol
        """Rows are done."""
        self.state = replace(self.state, done=self.state.done + count)
        if self._jobs.stopped(self.state.id):
            raise Interrupted("stopped")
        now = time.monotonic()
        if now - self._last >= _EVERY:
            self._last = now
            self._jobs._note(self.state)


def _classes(path: Path) -> dict[str, int]:
    """How often each class was answered, in a file of answers."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        next(rows, None)
        counts = Counter(row[1] for row in rows if row and row[1])
    return dict(counts.most_common())
