"""The reference of the API as a page: made from the OpenAPI description, with requests that can be copied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from estampa.bundle import example
from estampa.serve.frame import Frame
from estampa.serve.openapi import ANSWER
from estampa.serve.pages.words import Words
from estampa.serve.problems import KINDS
from estampa.serve.service import Service

_SHOWN = 3000  #: characters of a command that the page shows


@dataclass(frozen=True)
class Operation:
    """One method of one address, as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    text: tuple[tuple[bool, str], ...]  #: in pieces, code or prose
    parameters: tuple[tuple[str, str], ...]
    bodies: tuple[str, ...]
    answers: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    example: str  #: of an answer, JSON; "" for none


def reference(service: Service) -> list[BaseRoute]:
    """The route of /docs."""

    def docs(request: Request) -> Response:
        request.scope["route"] = made  # what the guard counts a request by; Starlette's own routes do not say it
        url = str(request.base_url).rstrip("/")
        operations = operations_of(request.app.openapi(), commands_of(service, url))
        fields = [(name, _kind(schema), schema.get("description", "")) for name, schema in ANSWER["properties"].items()]
        return Frame(service).html(
            request, "reference", Words("en"), here="docs", operations=operations, fields=fields, problems=KINDS,
            url=url, token=bool(service.settings.token), keeps=service.settings.keep is not None,
            labels=service.settings.feedback is not None, limits=_limits(service),
        )  # fmt: skip

    made = Route("/docs", docs, name="docs")
    return [made]


def operations_of(tree: Mapping[str, Any], commands: Mapping[str, tuple[tuple[str, str], ...]]) -> list[Operation]:
    """Every operation of an OpenAPI description, in its order."""
    found = []
    for path, methods in tree["paths"].items():
        for method, told in methods.items():
            parameters = tuple((p["name"], p.get("description", "")) for p in told.get("parameters", ()))
            bodies = tuple(told.get("requestBody", {}).get("content", ()))
            answers = tuple((status, one["description"]) for status, one in told["responses"].items())
            anchor = f"{method}{path.replace('/', '-')}"
            found.append(
                Operation(
                    anchor, method.upper(), path, told.get("summary", ""), _pieces(told.get("description", "")),
                    parameters, bodies, answers, commands.get(path, ()), _example(told),
                )
            )  # fmt: skip
    return found


def _pieces(text: str) -> tuple[tuple[bool, str], ...]:
    """Prose and what stands between backticks in it, in turn."""
    return tuple((bool(i % 2), piece) for i, piece in enumerate(text.split("`")) if piece)


def _example(told: Mapping[str, Any]) -> str:
    """The first example of an operation's answer, as JSON."""
    content = told["responses"].get("200", {}).get("content", {}).get("application/json", {})
    examples = list(content.get("examples", {}).values())
    return json.dumps(examples[0]["value"], indent=1, ensure_ascii=False) if examples else ""


def commands_of(service: Service, url: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Address -> (model, a command to copy): the bundle's own examples, with the token's header where one is needed."""
    models = service.models.all()
    found: dict[str, list[tuple[str, str]]] = {}
    bearer = 'curl -s -H "Authorization: Bearer $TOKEN" ' if service.settings.token else "curl -s "
    for model in models:
        for line in example.curl(model.bundle, url, model.name if len(models) > 1 else ""):
            path = next((p for p in ("/v1/predict", "/classify", "/v1/model") if f"{url}{p}" in line), "")
            command = line.replace("curl -s ", bearer)
            if len(command) <= _SHOWN:
                found.setdefault(path, []).append((model.name, command))
        if not model.bundle.of_table and model.bundle.pictures.read_record.mode:
            asked = f"'{url}/v1/predict?model={model.name}'" if len(models) > 1 else f"{url}/v1/predict"
            command = f"{bearer}{asked} -F files=@one.jpg -F files=@two.png"
            found.setdefault("/v1/predict", []).append((model.name, command))
    for path in ("/v1/models", "/healthz", "/readyz", "/metrics", "/version"):
        found[path] = [("", f"{bearer}{url}{path}")]
    return {path: tuple(lines) for path, lines in found.items()}


def _limits(service: Service) -> list[tuple[str, str]]:
    limits = service.settings
    return [
        ("a body", f"{limits.max_body / 2**20:g} MiB, within {limits.body_seconds:g} s"),
        ("objects of a request", f"{limits.max_objects:,}"),
        ("a picture", f"{limits.max_pixels:,} pixels"),
        ("requests that wait", f"{limits.max_waiting:,}, then 503"),
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
