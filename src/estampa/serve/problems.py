"""What a client is told when a request cannot be answered: RFC 9457 problem details, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from estampa.errors import BundleError, ContractError, EstampaError, InputError, MissingExtra

MEDIA = "application/problem+json"
_LONGEST = 1200  #: characters of a detail


@dataclass(frozen=True)
class Kind:
    """One kind of problem: its HTTP status, its title, and what it means for who reads the docs page."""

    status: int
    title: str
    meaning: str


#: Every kind that the service answers with; the key is the last word of the problem's `type`.
KINDS: dict[str, Kind] = {
    "not-understood": Kind(400, "The request is not understood", "The body is no JSON, or lacks what it must have."),
    "which-model": Kind(400, "Several models are served", "Name one of them with ?model=NAME."),
    "token": Kind(401, "A token is needed", "Send the header Authorization: Bearer TOKEN."),
    "cross-site": Kind(403, "Another site sent this", "A page may only be sent from itself."),
    "host": Kind(421, "Another host was asked for", "The header Host names one that is not served here."),
    "not-found": Kind(404, "There is no such thing", "The address, or the model's name, is not known here."),
    "method": Kind(405, "This method is not offered here", "The header Allow names those that are."),
    "too-slow": Kind(408, "The request took too long to arrive", "The body must arrive within the time limit."),
    "too-large": Kind(413, "The request is too large", "The body, a picture or the number of objects passes a limit."),
    "media": Kind(415, "This kind of data is not read here", "The content type is not known, or needs an extra."),
    "contract": Kind(
        422, "This is not what the model was fed", "Shape, type, columns or scale differ; both are named."
    ),
    "unreadable": Kind(422, "The data cannot be read", "Damaged, truncated, hostile, or not what its name says."),
    "no-answer": Kind(422, "The model does not answer this", "A measurement that it needs has failed or is missing."),
    "label": Kind(422, "This label cannot be", "Not a class of the model, no finite number, or not of such an answer."),
    "storage": Kind(507, "It could not be stored", "The disk is full or cannot be written; nothing was stored."),
    "busy": Kind(503, "Too many requests wait", "Try again after the seconds that Retry-After says."),
    "internal": Kind(500, "A fault of the service", "It is in the server's log under the request's id."),
}


class Problem(Exception):  # noqa: N818 - what RFC 9457 calls it
    """A request that cannot be answered: a kind of `KINDS`, what is wrong with the cure, and headers to send along."""

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers = kind, detail, dict(headers or {})

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status

    def record(self, request_id: str = "", root: str = "") -> dict[str, object]:
        """The members of RFC 9457, and the request's id."""
        return {
            "type": f"{root}/docs#{self.kind}", "title": KINDS[self.kind].title, "status": self.status,
            "detail": self.detail, "request_id": request_id,
        }  # fmt: skip

    def response(self, request_id: str = "", root: str = "") -> Response:
        """The answer to the client."""
        body = json.dumps(self.record(request_id, root), ensure_ascii=False).encode()
        return Response(body, self.status, self.headers, MEDIA)


def problem_of(error: EstampaError, hide: Collection[Path] = (), shown: str = "") -> Problem:
    """What a client is told of an error that reading its data raised.

    `hide` are paths of the server that the message must not tell, and their names; `shown` stands in their place.
    """
    text = str(error)
    for path in sorted(map(str, hide), key=len, reverse=True):
        text = text.replace(path, shown)
    if len(text) > _LONGEST:  # a thousand columns, say: what is wrong comes first, the cure last
        text = f"{text[: _LONGEST - 300]} ... {text[-250:]}"
    if isinstance(error, MissingExtra):
        return Problem("media", text)
    if isinstance(error, ContractError):
        return Problem("contract", text)
    if isinstance(error, InputError) and not isinstance(error, BundleError):  # a model's own files: ours to mend
        return Problem("unreadable", text)
    return Problem("internal", "The model could not answer; the server's log says why.")


def id_of(request: Request) -> str:
    """The id that the guard gave a request."""
    return str(request.scope.get("estampa.id", ""))
