"""How much is unpacked at once, over all requests, and how many wait for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from estampa.serve.problems import Problem

CHARGE = "estampa.charge"  #: in the scope: what a reader tells how many bytes it is about to unpack
Read = TypeVar("Read")


class Room:
    """Bytes that may be unpacked at once, by all requests of a process together."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0
        self.lock = threading.Lock()

    def share(self) -> Share:
        """What one request takes of it."""
        return Share(self)


class Share:
    """What one request has unpacked; it lasts until its answer is made."""

    def __init__(self, room: Room) -> None:
        self._room, self._held, self._ended = room, 0, False

    def charge(self, size: int) -> None:
        """Take room for `size` bytes, from any thread. Raises Problem: there is none, or the request has ended."""
        room = self._room
        with room.lock:
            if self._ended or room.held + size > room.most:
                raise Problem("busy", "What others sent takes all room; try again.", {"Retry-After": "1"})
            room.held += size
            self._held += size

    def end(self) -> None:
        """Give the room back."""
        with self._room.lock:
            self._room.held -= self._held
            self._held, self._ended = 0, True


class Readers(ThreadPoolExecutor):
    """The threads that decode what requests hold; no more than `most` requests wait for one."""

    def __init__(self, threads: int, most: int) -> None:
        super().__init__(threads, "read")
        self.most, self.waiting = threads + most, 0

    async def read(self, work: Callable[[], Read]) -> Read:
        """What `work` gives, done in a thread. Raises Problem when too many wait."""
        if self.waiting >= self.most:
            raise Problem("busy", "Too many requests wait to be read; try again in a moment.", {"Retry-After": "1"})
        self.waiting += 1
        run = asyncio.get_running_loop().run_in_executor(self, work)
        run.add_done_callback(self._done)
        return await run

    def _done(self, _: asyncio.Future[Read]) -> None:
        self.waiting -= 1
