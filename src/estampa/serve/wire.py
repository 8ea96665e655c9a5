"""HTTP on the wire: uvicorn's own protocol, with limits to how long a head may take to arrive, and be, and to how long
an answer may wait to be taken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from estampa.serve.problems import MEDIA, Problem

HEAD_SECONDS = 10.0
HEAD_BYTES = 128 << 10  #: of a head, or of what stands between and behind the pieces of a body; the parser keeps all
TAKE_SECONDS = 30.0  #: in which a client takes some of an answer that waits for it, or loses the connection
#: Of the request that is being answered: its scope, in which `LOST` is true once its client has gone.
SCOPE: ContextVar[Mapping[str, Any] | None] = ContextVar("scope", default=None)
LOST = "estampa.lost"
OPEN = "estampa.open"  #: in the scope: every request that is being answered now


class Wire(HttpToolsProtocol):
    """Closes a connection on which a head has begun, or was awaited first, and is not whole in time or is too long."""

    _head: asyncio.TimerHandle | None = None
    _taking: asyncio.TimerHandle | None = None
    _spoiled = False  #: no HTTP came: nothing that follows is read
    _idle = 0  #: bytes that came since the last piece of a body, or the last whole head

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        if self._spoiled:
            return
        self._idle += len(data)
        super().data_received(data)
        if self._idle > HEAD_BYTES:
            self.send_400_response("The head of the request is too long.")

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._idle = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request has ended."""
        self._idle = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, as every problem is told; the connection ends, after what was asked before it."""
        self._spoiled = True
        cycle = self.cycle
        answering = cycle is not None and not cycle.response_complete
        if self.transport.is_closing():
            return
        if answering and not cycle.more_body:
            cycle.keep_alive = False
            return
        if not answering or not cycle.response_started:
            body = Problem("not-understood", msg).response().body
            head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA}\r\ncontent-length: {len(body)}\r\n"
            guarded = "x-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
            self.transport.write((head + guarded).encode() + bytes(body))
        self.transport.close()

    def on_message_begin(self) -> None:
        """A head has begun."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._forget_head()
        self._idle = 0
        super().on_headers_complete()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[OPEN] = self.tasks

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget_head()
        self.resume_writing()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            scope: dict[str, Any] = cycle.scope  # type: ignore[assignment]
            scope[LOST] = True
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """More of an answer waits than the connection takes."""
        super().pause_writing()
        self._expect(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """The client has taken what waited."""
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None
        super().resume_writing()

    def _expect(self, waits: int) -> None:
        self._taking = self.loop.call_later(TAKE_SECONDS, self._look, waits)

    def _look(self, waited: int) -> None:
        """Go on while the client takes something; else what waits for it would stay in memory."""
        waits = self.transport.get_write_buffer_size()
        if waits < waited:
            self._expect(waits)
        else:
            self._taking = None
            self.transport.abort()

    def _await_head(self) -> None:
        self._forget_head()
        self._head = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        transport: Any = self.transport
        if transport is not None and not transport.is_closing():
            transport.close()
