"""HTTP on the wire: uvicorn's own protocol, and a limit to how long a request's head may take to arrive."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
OPEN = "estampa.open"  #: in the scope: every request that is being answered now


class Wire(HttpToolsProtocol):
    """Closes a connection on which a head has begun, or was awaited first, and is not whole in time."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected: its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def on_message_begin(self) -> None:
        """A head has begun."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._forget_head()
        super().on_headers_complete()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[OPEN] = self.tasks

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget_head()
        super().connection_lost(exc)

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
