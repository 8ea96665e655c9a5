"""The routes that carry the load, called without the framework's way to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI, Request
from starlette.routing import BaseRoute

from estampa.errors import EstampaError
from estampa.serve.guard import Receive, Scope, Send
from estampa.serve.problems import problem_of

_QUERY = re.compile(rb"(?:model=([A-Za-z0-9._-]{1,64}))?")


class Direct:
    """ASGI: a POST to one of `routes` goes straight to its function, all else to the app.

    FastAPI's way takes a fifth of what the service itself spends on a small request (docs/log.md). A query with
    anything but a plain model=NAME goes to the app, which checks it and says what is wrong.
    """

    def __init__(self, app: FastAPI, routes: Iterable[BaseRoute]) -> None:
        self.app = app
        self._routes: dict[str, Any] = {route.path: route for route in routes}  # type: ignore[attr-defined]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        query = _QUERY.fullmatch(scope["query_string"]) if route is not None else None
        if route is None or query is None:
            await self.app(scope, receive, send)
            return
        scope["app"], scope["route"] = self.app, route
        request = Request(scope, receive)
        try:
            response = await route.endpoint(request, model=(query[1] or b"").decode())
        except EstampaError as error:
            raise problem_of(error) from error  # which the guard tells the client
        await response(scope, receive, send)
