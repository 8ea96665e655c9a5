"""What every page shares: the reader's language, the frame around the content, and how a problem is shown."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from estampa.errors import EstampaError
from estampa.serve.jobs import MINUTES
from estampa.serve.models import Model, Version
from estampa.serve.pages.render import render
from estampa.serve.pages.words import Words, preferred
from estampa.serve.problems import Problem, id_of, problem_of
from estampa.serve.service import Service
from estampa.serve.shown import fault_of

_COOKIE = "estampa_language"
_YEAR = 365 * 86_400
Endpoint = Callable[[Request], Awaitable[Response]]


class Frame:
    """The frame of a service's pages."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def words(self, request: Request) -> Words:
        """The language: that of the control, of the cookie, of the browser, else English."""
        asked, kept = request.query_params.get("lang", ""), request.cookies.get(_COOKIE, "")
        return Words(preferred(asked, kept, request.headers.get("accept-language", "")))

    def stored(self, t: Words) -> str:
        """What becomes of what is given, as every page says it at its end."""
        settings = self.service.settings
        said = [t("base.stored.agreed" if settings.keep is not None else "base.stored.none")]
        if settings.keep is not None and settings.feedback is not None:
            said.append(t("base.stored.shown"))
        if settings.log is not None:
            said.append(t("base.stored.log"))
        if settings.feedback is not None:
            said.append(t("base.stored.labels"))
        return " ".join([*said, t("base.stored.batch", minutes=t.whole(MINUTES)), t("base.stored.stays")])

    def html(self, request: Request, template: str, t: Words, status: int = 200, **values: Any) -> Response:
        """A template as an answer, with the frame that every page has."""
        root = str(request.scope.get("root_path", ""))
        others = [(k, v[:200]) for k, v in request.query_params.multi_items() if k != "lang"]
        frame = {
            "model": None, "here": "", "several": len(self.service.models.names()) > 1,
            "labels": self.service.desk is not None,
            "query": urlencode(others) + "&" if others else "", "stored": self.stored(t),
        }  # fmt: skip
        html = render(template, t, root, **(frame | values))
        headers = {
            "Content-Language": t.language,
            "Vary": "Accept, Accept-Language, Cookie, HX-Request",
            "Cache-Control": "no-store",
        }
        made = HTMLResponse(html, status, headers)
        if request.query_params.get("lang") == t.language:
            made.set_cookie(
                _COOKIE, t.language, _YEAR, path=root or "/", samesite="lax", httponly=True,
                secure=request.url.scheme == "https",
            )  # fmt: skip
        return made

    def told(self, request: Request, problem: Problem) -> Response:
        """A problem as whoever asked can read it: a page for a browser, problem details for a program."""
        asks = request.headers.get("accept", "")
        if "text/html" not in asks.lower() or request.headers.get("hx-request"):
            return problem.response(id_of(request), request.scope.get("root_path", ""))
        return self.fault(request, problem)

    def problem(self, request: Request, error: Problem | EstampaError) -> Problem:
        """The problem that an error of a request is; a fault of ours is written to the server's log."""
        if isinstance(error, Problem):
            return error
        problem = problem_of(error)
        if problem.kind == "internal":
            self.service.events.fault("fault", "".join(traceback.format_exception(error)), request_id=id_of(request))
        return problem

    def fault(self, request: Request, problem: Problem) -> Response:
        """A problem as a page."""
        t = self.words(request)
        page = self.html(request, "fault", t, problem.status, problem=fault_of(t, problem, id_of(request)))
        page.headers.update(problem.headers)
        return page

    def route(self, path: str, endpoint: Endpoint, methods: Sequence[str] = ("GET",)) -> Route:
        """A route whose problems are shown as a page."""

        async def shown(request: Request) -> Response:
            request.scope["route"] = made  # what the guard counts a request by; Starlette's own routes do not say it
            try:
                return await endpoint(request)
            except (Problem, EstampaError) as error:
                return self.fault(request, self.problem(request, error))

        made = Route(path, shown, methods=list(methods))
        return made

    def picked(self, request: Request) -> tuple[Model, Version, str]:
        """The model of the address, its version, and the address of its page. Raises Problem."""
        model = self.service.models.pick(request.path_params["name"])
        return model, model.version, f"{request.scope.get('root_path', '')}/models/{model.name}"

    async def read(self, work: Callable[[], Any]) -> Any:
        """Decode what came, in one of the threads that are there for that."""
        return await self.service.readers.read(work)
