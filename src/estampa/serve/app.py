"""The ASGI app: API, docs, pages, and the guard around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from estampa.errors import EstampaError
from estampa.serve.api import add_api
from estampa.serve.bodies import JSON
from estampa.serve.direct import Direct
from estampa.serve.frame import Frame
from estampa.serve.guard import Guard
from estampa.serve.models import Version
from estampa.serve.openapi import answers_of, classify_body, labels_body, predict_body
from estampa.serve.problems import KINDS, Problem
from estampa.serve.reference import reference
from estampa.serve.service import Service
from estampa.serve.settings import Settings
from estampa.serve.site import routes

_STATUSES = {404: "not-found", 405: "method", 413: "too-large", 415: "media"}


def create_app(settings: Settings) -> Guard:
    """The whole service as an ASGI app. Raises what opening the bundles raises."""
    service = Service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()
        service.events.flush()

    app = FastAPI(
        title="estampa", version=version("estampa"), lifespan=lifespan,
        summary="Answers of models of small scientific pictures and tables, with what is to be doubted in them.",
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    for kind in (Problem, EstampaError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _told)
    app.add_exception_handler(Exception, _fault)
    loaded = add_api(app, service)
    _describe(app, service)
    app.router.routes.extend([*reference(service), *routes(service)])
    return Guard(Direct(app, loaded), service)


async def _told(request: Request, error: Exception) -> Response:
    """Every error of a route as problem details."""
    frame = Frame(request.app.state.service)
    problem = frame.problem(request, error) if isinstance(error, EstampaError) else problem_for(error)
    return frame.told(request, problem)


async def _fault(request: Request, _: Exception) -> Response:
    """What nobody foresaw; Starlette raises it again after this answer, and the guard writes it to the log."""
    problem = Problem("internal", "A fault of the service; its log has the request's id.")
    return Frame(request.app.state.service).told(request, problem)


def problem_for(error: Exception) -> Problem:
    """The problem that an error of the framework is."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        return Problem("not-understood", f"The request does not fit its description: {faults}.")
    assert isinstance(error, HTTPException)
    kind = _STATUSES.get(error.status_code, "not-understood")
    headers = dict(error.headers or {})
    return Problem(kind, KINDS[kind].meaning, headers)


def _describe(app: FastAPI, service: Service) -> None:
    """Say of the OpenAPI description what FastAPI cannot know: the token, and the problems' own status texts."""
    made = app.openapi
    told: dict[str, Any] = {}
    of: list[Version] = []

    def described() -> dict[str, Any]:
        """The description, made once for the versions that answer: its examples are scored."""
        versions = [model.version for model in service.models.all()]
        if not of or any(before is not now for before, now in zip(of, versions, strict=True)):
            told.update(_completed(made(), service))
            of[:] = versions
        return told

    app.openapi = described  # type: ignore[method-assign]


def _completed(tree: dict[str, Any], service: Service) -> dict[str, Any]:
    """The description with the token, and the bodies and examples of the models that are served."""
    if service.settings.token:
        tree.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        tree["security"] = [{"token": []}]
    # FastAPI leaves out what is null, also in examples, where it means NaN.
    for path, body in (("/classify", classify_body), ("/v1/predict", predict_body)):
        operation = tree["paths"][path]["post"]
        operation["requestBody"] = body(service)
        operation["responses"]["200"]["content"][JSON]["examples"] = answers_of(service, one=path == "/classify")
    tree["paths"]["/v1/feedback"]["post"]["requestBody"] = labels_body(service)
    for path in tree["paths"].values():  # ours are 4xx of one shape; FastAPI's own is never sent
        for operation in path.values():
            answer = operation["responses"].get("422", {})
            if "HTTPValidationError" in str(answer):
                operation["responses"].pop("422")
    return tree
