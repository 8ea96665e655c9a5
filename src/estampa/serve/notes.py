"""The log lines of answers: written by a thread of their own, those that wait together in one go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from estampa.bundle.session import Scores
from estampa.bundle.store import Bundle
from estampa.errors import StorageError
from estampa.monitor.log import LogWriter, lines_of

_MOST = 512  #: rows of one go


@dataclass(frozen=True)
class Note:
    """What is logged of one request: its rows as they were scored, what the model said, ids and flags of each."""

    bundle: Bundle
    rows: np.ndarray
    scores: Scores
    ids: Sequence[str]
    flags: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Outcome:
    """What became of some lines: how many could not be written, and what is to be said of that ("" = nothing new)."""

    lost: int
    why: str = ""


class Notes:
    """Writes log lines. `told` is called in the event loop with what became of each go.

    The statistics of a line cost many small steps, which many rows share: a lone client gains nothing, and many pay
    a third for the log of what each would pay alone (docs/log.md).
    """

    def __init__(self, log: LogWriter, told: Callable[[Outcome], None]) -> None:
        self.log, self._told = log, told
        self._waiting: deque[tuple[Note, asyncio.Future[None]]] = deque()
        self._busy = False
        self._thread = ThreadPoolExecutor(1, "log")
        self._unmade = False  #: lines could not be made the last time, which has been said

    async def add(self, note: Note) -> None:
        """Return once its lines are written, or lost."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((note, future))
        self._start()
        await future

    def _start(self) -> None:
        if self._busy or not self._waiting:
            return
        taken = [self._waiting.popleft()]
        rows = len(taken[0][0].ids)
        while self._waiting and rows + len(self._waiting[0][0].ids) <= _MOST:
            taken.append(self._waiting.popleft())
            rows += len(taken[-1][0].ids)
        self._busy = True
        run = asyncio.get_running_loop().run_in_executor(self._thread, self._write, [note for note, _ in taken])
        run.add_done_callback(lambda done: self._finish([future for _, future in taken], done))

    def _finish(self, futures: list[asyncio.Future[None]], done: asyncio.Future[Outcome]) -> None:
        self._busy = False
        for future in futures:
            if not future.done():  # else its client has gone
                future.set_result(None)
        self._told(done.result())
        self._start()

    def _write(self, notes: Sequence[Note]) -> Outcome:
        """Make and write lines. Whatever fails here loses them alone: the answers that they tell of are given."""
        lines: list[dict[str, object]] = []
        unmade, before, why = 0, self.log.lost, ""
        for _, group in groupby(notes, lambda note: id(note.bundle)):
            some = list(group)
            try:
                lines += _lines(some)
            except Exception as error:  # noqa: BLE001 - told to the server's log and counted; see above
                unmade += sum(len(note.ids) for note in some)
                why = "" if self._unmade else repr(error)
        self._unmade = unmade > 0
        try:
            self.log.append(lines)
        except StorageError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - the same: a line that is no JSON, no memory
            unmade, why = unmade + len(lines), repr(error)
        return Outcome(unmade + self.log.lost - before, why)

    def close(self) -> None:
        """Write what waits, and let the file go."""
        self._thread.shutdown(wait=True)
        self.log.close()


def _lines(notes: Sequence[Note]) -> list[dict[str, object]]:
    """The lines of notes of one bundle."""
    if len(notes) == 1:
        (only,) = notes
        return lines_of(only.bundle, only.rows, only.scores, only.ids, only.flags)
    embeddings = [note.scores.embedding for note in notes]
    scores = Scores(
        np.concatenate([note.scores.output for note in notes]),
        None,
        None if any(e is None for e in embeddings) else np.concatenate([e for e in embeddings if e is not None]),
    )
    ids = [name for note in notes for name in note.ids]
    flags = [of for note in notes for of in note.flags]
    return lines_of(notes[0].bundle, np.concatenate([note.rows for note in notes]), scores, ids, flags)
