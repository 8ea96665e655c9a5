"""Around every request: its id, its token, its limits, the headers of the answer, a count and a line in the log."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import ipaddress
import re
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from estampa.serve.frame import Frame
from estampa.serve.problems import KINDS, Problem
from estampa.serve.room import CHARGE, Room
from estampa.serve.service import Service
from estampa.serve.wire import OPEN, SCOPE

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{7,63}")
_OWN = ("localhost", "127.0.0.1", "::1")  #: names of this machine, for itself
_OPEN = ("/healthz", "/readyz")  #: answered without a token: who starts and stops the service must be able to ask
_STATIC = "/static/"  #: the package's own style and script, which the page that asks for the token needs
_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Of every answer. No page of the service may be framed, guessed at, or tell another site where it was left from.
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # "no-referrer" makes browsers send plain forms with "Origin: null"
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_CACHED = b"cache-control"
_SAFE = ("GET", "HEAD", "OPTIONS")
_SLOW = KINDS["too-slow"].status
_LINGER = 2.0  #: seconds that a body which is not wanted any more may go on arriving
_DIGITS = 18  #: of a length that is worth being looked at


class Guard:
    """ASGI middleware; the app behind it sees only requests that may pass."""

    def __init__(self, app: App, service: Service) -> None:
        self.app, self.service = app, service
        token = service.settings.token
        self._token = token.encode() if token else b""
        settings = service.settings
        # Without a token, and open to this machine alone, what a browser here asks for may be another site's doing.
        inner = settings.host in _OWN and not settings.token
        hosts = {*_OWN, settings.host, *(name.lower() for name in settings.allowed_hosts)}
        self._hosts = hosts if inner or settings.allowed_hosts else set()
        self.held = 0  #: bytes of the bodies of requests that are being answered
        self.most_held = max(16 * service.settings.max_body, 2 * service.settings.max_upload)
        self.room = Room(16 * service.settings.max_body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            self.service.queue.open = scope.get(OPEN)
            SCOPE.set(scope)
            await _Passage(self, scope, receive, send).go()
        else:  # no websockets here
            await send({"type": "websocket.close", "code": 1003})

    def allowed(self, scope: Scope, headers: dict[bytes, bytes]) -> Problem | None:
        """None when the request may pass: it carries the token, and no other site's page sent it."""
        path = self.path_of(scope)
        public = path in _OPEN or path.startswith(_STATIC)
        if self._token and not public and not self._carries(headers.get(b"authorization", b"")):
            asked = {"WWW-Authenticate": 'Bearer realm="estampa", Basic realm="estampa", charset="UTF-8"'}
            return Problem(
                "token", "Send the header Authorization: Bearer TOKEN; in a browser, the token as password.", asked
            )
        if self._hosts and not self._known(headers.get(b"host", b"").decode("latin-1")):
            return Problem("host", "This host is not served here. Start it with --allowed-host NAME, or a token.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        if scope["method"] not in _SAFE and origin and not _same(origin, headers):
            return Problem(
                "cross-site", "This request was sent by a page of another site. Open the service's own page."
            )
        return None

    def _known(self, host: str) -> bool:
        """Whether a host may be asked for: an address, this machine's own name, or one that was allowed.

        A page of another site can make its own name lead here (DNS rebinding), but not an address.
        """
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        name = name.strip("[]").lower().rstrip(".")
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return name in self._hosts or name.endswith(".localhost")

    def path_of(self, scope: Scope) -> str:
        """The path below the proxy's root, whether the proxy cuts that off or not."""
        path, root = str(scope["path"]), self.service.settings.root_path
        return path[len(root) :] if root and path.startswith(root + "/") else path

    def _carries(self, header: bytes) -> bool:
        """Whether the header holds the token, compared in constant time; a browser sends it as a password."""
        scheme, _, given = header.partition(b" ")
        given = given.strip()
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(given, self._token)


class _Passage:
    """One request on its way through."""

    def __init__(self, guard: Guard, scope: Scope, receive: Receive, send: Send) -> None:
        self.guard, self.scope, self._receive, self._send = guard, scope, receive, send
        self.settings = guard.service.settings
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        asked = self.headers.get(b"x-request-id", b"")
        self.id = asked.decode() if _ID.fullmatch(asked) else uuid.uuid4().hex
        scope["estampa.id"], scope["root_path"] = self.id, self.settings.root_path
        self.began, self.status, self.bytes = time.perf_counter(), 0, 0
        self.share = guard.room.share()
        scope[CHARGE] = self.share.charge
        self.whole = False  #: the body has arrived
        upload = guard.path_of(scope).endswith("/batch")
        self.most = self.settings.max_upload if upload else self.settings.max_body
        # A body of another limit may take its time: what is asked of a line is the same.
        self.seconds = self.settings.body_seconds * max(1.0, self.most / self.settings.max_body)

    async def go(self) -> None:
        """Answer it, whatever happens."""
        problem = self.guard.allowed(self.scope, self.headers) or self._too_large()
        try:
            if problem is not None:
                await self._refuse(problem)
            else:
                await self.guard.app(self.scope, self.receive, self.send)
        except Problem as found:
            if found.kind == "internal":
                self._fault()
            await self._refuse(found)
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the last place before the client: a fault of ours, told to the log alone
            self._fault()
            await self._refuse(Problem("internal", "A fault of the service; its log has the request's id."))
        finally:
            self.guard.held -= self.bytes
            self.share.end()
            self._count()

    def _too_large(self) -> Problem | None:
        length = self.headers.get(b"content-length", b"0")
        if not length.isdigit():
            return Problem("not-understood", "The header Content-Length is no number.")
        length = length.lstrip(b"0")
        return self._beyond() if len(length) > _DIGITS or int(length or b"0") > self.most else None

    def _beyond(self) -> Problem:
        return Problem(
            "too-large", f"The body is larger than {self.most:,} bytes, the limit here. Send less at a time, "
            f"or raise it with --max-body.",
        )  # fmt: skip

    async def receive(self) -> Message:
        """The next piece of the body, while it keeps to the limits of size and time."""
        if self.whole:  # what comes now is the client going away, however long that takes
            return await self._receive()
        left = self.seconds - (time.perf_counter() - self.began)
        try:
            async with asyncio.timeout(max(left, 0)):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(
                "too-slow", f"The body did not arrive within {self.seconds:g} s.", {"Connection": "close"}
            ) from error
        if message["type"] == "http.request":
            self.bytes += len(message.get("body", b""))
            self.guard.held += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.bytes > self.most:
                raise self._beyond()
            if self.guard.held > self.guard.most_held:
                raise Problem("busy", "The bodies of other requests take all room; try again.", {"Retry-After": "1"})
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; its head gets the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", []), *_HEADERS, (b"x-request-id", self.id.encode())]
            if not any(name.lower() == _CACHED for name, _ in headers):
                headers.append((_CACHED, b"no-store"))
            if not self.whole and self.scope["method"] == "POST":
                headers.append((b"connection", b"close"))  # the rest of its body is not read
            message["headers"] = headers
        elif not message.get("more_body") and self._sends_on():
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _sends_on(self) -> bool:
        """Whether the client may still be sending its body."""
        waits = b"expect" in self.headers  # for a leave that it did not get
        return not self.whole and not waits and self.status != _SLOW and self.scope["method"] not in _SAFE

    async def _linger(self) -> None:
        """Leave what is still coming aside for a moment: a connection that is closed before takes the answer along."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while not self.whole:
                    message = await self._receive()
                    self.whole = message["type"] != "http.request" or not message.get("more_body", False)

    def _fault(self) -> None:
        """Write the fault that is being handled to the server's log."""
        events = self.guard.service.events
        events.fault("fault", traceback.format_exc(), request_id=self.id, route=route_of(self.scope))

    async def _refuse(self, problem: Problem) -> None:
        if self.status:  # the answer has begun: nothing can be said any more
            return
        response = Frame(self.guard.service).told(Request(self.scope), problem)
        await response(self.scope, self.receive, self.send)

    def _count(self) -> None:
        took = time.perf_counter() - self.began
        route = route_of(self.scope)
        self.guard.service.metrics.request(route, self.status, took)
        if route not in _OPEN and route != "/metrics":
            self.guard.service.events.request(
                request_id=self.id, method=self.scope["method"], route=route, status=self.status,
                ms=round(1000 * took, 2), bytes=self.bytes,
            )  # fmt: skip


def route_of(scope: Scope) -> str:
    """The pattern of the address, as /models/{name}; "other" for what is not known: a label must stay bounded."""
    route = scope.get("route")
    return str(getattr(route, "path", "other")) if route is not None else "other"


def _same(origin: str, headers: dict[bytes, bytes]) -> bool:
    """Whether a page of this very host sent it."""
    host = headers.get(b"host", b"").decode("latin-1")
    try:
        return urlsplit(origin).netloc == host
    except ValueError:  # no address at all
        return False
