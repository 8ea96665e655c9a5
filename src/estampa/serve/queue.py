"""Who scores, and when: requests that wait together are scored together, as many batches at once as there are threads.

Nothing waits for company: a request that finds a free thread is scored at once, and what has come in meanwhile goes
as one batch. So a lone client loses nothing, and many gain what a batch saves (docs/log.md has the measurement).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from estampa.bundle.session import Scores, batch_size
from estampa.bundle.store import Bundle
from estampa.errors import EstampaError
from estampa.predict.answers import Answers, judged, scored
from estampa.predict.source import Chunk
from estampa.predict.table_source import TableChunk
from estampa.serve.problems import Problem
from estampa.serve.wire import LOST, SCOPE

AnyChunk = Chunk | TableChunk
#: Seconds: what takes less is scored without a thread when nobody else waits; to wake one costs up to a third of it.
BRIEF = 0.003


@dataclass(frozen=True)
class Found:
    """Answers to the rows of a chunk, and what the model said of them."""

    answers: Answers
    scores: Scores


@dataclass
class _Item:
    """Rows that wait: at most one batch of them."""

    bundle: Bundle
    chunk: AnyChunk
    ids: np.ndarray
    wanted: tuple[str, ...]
    future: asyncio.Future[Found]
    scope: Mapping[str, Any]  #: of its request, see wire.SCOPE

    @property
    def lost(self) -> bool:
        """Whether nobody awaits its answer any more."""
        return self.future.done() or LOST in self.scope


class Queue:
    """Rows that wait to be scored, and the threads that score them."""

    def __init__(self, threads: int, most: int) -> None:
        self.threads, self.most = threads, most
        self.open: Collection[object] | None = None  #: requests that are being answered now, where the server says
        self._waiting: deque[_Item] = deque()
        self._took: WeakKeyDictionary[Bundle, float] = WeakKeyDictionary()  #: seconds of a single row, measured last
        self._busy = 0
        self._pool = ThreadPoolExecutor(threads, "score")

    async def answer(self, bundle: Bundle, chunk: AnyChunk, ids: np.ndarray, wanted: tuple[str, ...]) -> Found:
        """Score a chunk, a batch at a time, so that others get their turn between. Raises Problem when too many wait.

        A client that goes away takes its rows out of the queue.
        """
        if len(self._waiting) >= self.most:
            raise Problem("busy", f"{self.most} requests wait already; try again in a moment.", {"Retry-After": "1"})
        size = batch_size(bundle.contract)
        if len(chunk) <= size:
            return await self._put(bundle, chunk, ids, wanted)
        found = []
        for start in range(0, len(chunk), size * self.threads):
            pieces = range(start, min(start + size * self.threads, len(chunk)), size)
            some = [self._put(bundle, _cut(chunk, at, size), ids[at : at + size], wanted) for at in pieces]
            found += await asyncio.gather(*some)
        return _joined(found)

    def _put(self, bundle: Bundle, chunk: AnyChunk, ids: np.ndarray, wanted: tuple[str, ...]) -> asyncio.Future[Found]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        item = _Item(bundle, chunk, ids, wanted, future, SCOPE.get() or {})
        if self._alone(item):
            try:
                future.set_result(self._score([item])[0])
            except EstampaError as error:
                future.set_exception(error)
        else:
            self._waiting.append(item)
            self._start(loop)
        return future

    def _alone(self, item: _Item) -> bool:
        """Whether to score it here and now: no other request is there to be kept waiting, and it takes a moment."""
        lone = self.open is not None and len(self.open) == 1 and not self._busy and not self._waiting
        return lone and len(item.chunk) == 1 and self._took.get(item.bundle, BRIEF) < BRIEF

    def _score(self, items: list[_Item]) -> list[Found]:
        """Score waiting rows; notes how long a single one takes."""
        began = time.thread_time()
        found = _score(items)
        if len(items) == 1 and len(items[0].chunk) == 1:
            self._took[items[0].bundle] = time.thread_time() - began
        return found

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give waiting rows to free threads."""
        while self._waiting and self._busy < self.threads:
            items = self._take()
            if not items:
                continue
            self._busy += 1
            run = loop.run_in_executor(self._pool, self._score, items)
            run.add_done_callback(lambda done, items=items: self._finish(loop, items, done))  # type: ignore[misc]

    def _take(self) -> list[_Item]:
        """The first that waits, and those behind it that fit into the same batch."""
        items: list[_Item] = []
        rows = 0
        while self._waiting:
            item = self._waiting[0]
            if item.lost:
                self._waiting.popleft()
                if not item.future.done():
                    item.future.set_exception(Problem("not-understood", "The client has gone."))
                continue
            if items:
                first = items[0]
                same = item.bundle is first.bundle and item.wanted == first.wanted
                if not same or rows + len(item.chunk) > batch_size(first.bundle.contract):
                    break
            rows += len(item.chunk)
            items.append(self._waiting.popleft())
        return items

    def _finish(self, loop: asyncio.AbstractEventLoop, items: list[_Item], done: asyncio.Future[list[Found]]) -> None:
        self._busy -= 1
        error = done.exception()
        for i, item in enumerate(items):
            if item.future.done():
                continue
            if error is not None:
                item.future.set_exception(error)
            else:
                item.future.set_result(done.result()[i])
        self._start(loop)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _score(items: list[_Item]) -> list[Found]:
    """Score waiting rows as one batch, and part the answers again."""
    first = items[0]
    if len(items) == 1:
        scores = scored(first.bundle, first.chunk, 1, first.wanted)
        return [Found(judged(first.bundle, first.chunk, first.ids, scores.output), scores)]
    chunk, ids = _stacked(items), np.concatenate([item.ids for item in items])
    scores = scored(first.bundle, chunk, 1, first.wanted)
    answers = judged(first.bundle, chunk, ids, scores.output)
    ends = np.cumsum([len(item.chunk) for item in items]).tolist()
    return [_part(answers, scores, start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _stacked(items: list[_Item]) -> AnyChunk:
    rejected: dict[int, str] = {}
    at = 0
    for item in items:
        rejected |= {at + row - item.chunk.start: why for row, why in item.chunk.rejected.items()}
        at += len(item.chunk)
    first = items[0].chunk
    if isinstance(first, TableChunk):
        return TableChunk(
            0, np.concatenate([i.chunk.values for i in items if isinstance(i.chunk, TableChunk)]), rejected
        )
    return Chunk(0, np.concatenate([i.chunk.images for i in items if isinstance(i.chunk, Chunk)]), rejected)


def _part(answers: Answers, scores: Scores, start: int, end: int) -> Found:
    rows = slice(start, end)
    output = None if answers.output is None else answers.output[rows]
    some = Answers(answers.ids[rows], answers.predicted[rows], output, answers.flags[rows], answers.bad[rows])
    parts = (None if values is None else values[rows] for values in (scores.output, scores.logits, scores.embedding))
    return Found(some, Scores(*parts))  # type: ignore[arg-type]


def _cut(chunk: AnyChunk, start: int, size: int) -> AnyChunk:
    """Some rows of a chunk; they keep their numbers."""
    rows = range(chunk.start + start, chunk.start + start + size)
    rejected = {row: why for row, why in chunk.rejected.items() if row in rows}
    if isinstance(chunk, TableChunk):
        return replace(chunk, start=rows.start, values=chunk.values[start : start + size], rejected=rejected)
    return replace(chunk, start=rows.start, images=chunk.images[start : start + size], rejected=rejected)


def _joined(found: list[Found]) -> Found:
    """Answers to consecutive pieces as one."""
    first = found[0]

    def whole(values: list[np.ndarray | None]) -> np.ndarray | None:
        known = [v for v in values if v is not None]
        return np.concatenate(known) if known else None

    answers = Answers(
        np.concatenate([f.answers.ids for f in found]),
        np.concatenate([f.answers.predicted for f in found]),
        None if first.answers.output is None else whole([f.answers.output for f in found]),
        [flag for f in found for flag in f.answers.flags],
        np.concatenate([f.answers.bad for f in found]),
    )
    output = whole([f.scores.output for f in found])
    assert output is not None
    scores = Scores(output, whole([f.scores.logits for f in found]), whole([f.scores.embedding for f in found]))
    return Found(answers, scores)
