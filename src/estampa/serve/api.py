"""The REST API: one object, many objects, the models' papers, and what watches over a service."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from starlette.routing import BaseRoute

from estampa import machine
from estampa.bundle.manifest import FORMAT
from estampa.monitor.feedback import API
from estampa.serve import metrics, papers
from estampa.serve.bodies import asked_of, body_of, one_of, parsed
from estampa.serve.feedback import OFF, Stored, sent
from estampa.serve.inputs import Reader
from estampa.serve.openapi import (
    ANSWER,
    ANSWERS,
    MODEL,
    MODELS,
    STORED,
    VERSION,
    classify_body,
    labels_body,
    predict_body,
    problems,
    responses,
)  # fmt: skip
from estampa.serve.problems import Problem, id_of
from estampa.serve.room import CHARGE
from estampa.serve.service import Service

_TEXT = {"type": "string"}
Name = Query("", description="Name of the model; needed where several are served.", max_length=64)


def add_api(app: FastAPI, service: Service) -> list[BaseRoute]:
    """Add every route of the API; returns those that carry the load, for `Direct`."""
    predictions = _predictions(service)
    for router in (predictions, _labels(service), _models(service), _watch(service)):
        app.include_router(router)
    return predictions.routes


def _json(value: Any, status: int = 200) -> Response:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), status, media_type="application/json")


def _predictions(service: Service) -> APIRouter:
    router = APIRouter(tags=["answers"])

    @router.post(
        "/classify", summary="Answer one object", responses=responses(ANSWER, 400, 401, 404, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": classify_body(service)},
    )  # fmt: skip
    async def classify(request: Request, model: str = Name) -> Response:
        """One object as JSON: `{"image": nested lists}` or `{"picture": base64}`, of a table `{"column": number}`."""
        chosen = service.models.pick(model)
        version = chosen.version
        _require_json(request)
        reader = Reader(version.bundle, service.settings, request.scope[CHARGE])
        try:
            asked = await one_of(request, reader)
        except Problem as problem:
            if problem.kind == "unreadable":
                service.metrics.refused(chosen.name)
            raise
        how: dict[str, Any] = {"consent": asked.consent, "version": version}
        served = await service.answered(chosen, asked.inputs, id_of(request), **how)
        return _json(served.answers[0] | ({"kept": served.kept} if asked.consent else {}))

    @router.post(
        "/v1/predict", summary="Answer many objects",
        responses=responses(ANSWERS, 400, 401, 404, 408, 413, 415, 422, 503),
        openapi_extra={"requestBody": predict_body(service)},
    )  # fmt: skip
    async def predict(request: Request, model: str = Name) -> Response:
        """Pictures in a form, `.npy` and `.npz` bodies, CSV or JSON rows; FITS and Parquet where they are installed."""
        chosen = service.models.pick(model)
        version = chosen.version
        asked = await asked_of(request, Reader(version.bundle, service.settings, request.scope[CHARGE]))
        how: dict[str, Any] = {"consent": asked.consent, "version": version}
        served = await service.answered(chosen, asked.inputs, id_of(request), **how)
        told: dict[str, Any] = {"request_id": id_of(request), "model": version.hash, "name": chosen.name}
        if asked.consent:
            told["kept"] = served.kept
        return _json(told | {"answers": served.answers})

    return router


def _require_json(request: Request) -> None:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem("media", f"{kind[:80]!r} is not read here. Send application/json, or use /v1/predict.")


def _labels(service: Service) -> APIRouter:
    router = APIRouter(tags=["labels"])

    @router.post(
        "/v1/feedback", summary="Give true labels of answers",
        responses=responses(STORED, 400, 401, 404, 408, 413, 415, 422, 503, 507),
        openapi_extra={"requestBody": labels_body(service)},
    )  # fmt: skip
    async def feedback(request: Request, model: str = Name) -> Response:
        """`{"labels": [{"id", "label"}, ...]}`; an id is the answer's `request_id`, a point and its number from 0."""
        chosen, desk = service.models.pick(model), service.desk
        if desk is None:
            raise Problem("not-found", OFF)
        _require_json(request)
        data, most = await body_of(request), service.settings.max_objects

        def work() -> Stored:
            return desk.take(chosen.version, sent(parsed(data), chosen, service.models, desk, most), API)

        done = await service.readers.read(work)
        return _json({"stored": done.stored, "unknown": done.unknown})

    return router


def _models(service: Service) -> APIRouter:
    router = APIRouter(tags=["models"])

    @router.get("/v1/models", summary="The models that are served", responses=responses(MODELS, 401))
    async def models() -> Response:
        """Names, hashes, classes and inputs."""
        return _json({"models": [papers.brief(model) for model in service.models.all()]})

    @router.get("/v1/model", summary="A model's papers", responses=responses(MODEL, 400, 401, 404))
    async def model_papers(model: str = Name) -> Response:
        """Card, classes, input contract, thresholds, hashes, metrics with their intervals, a request to send."""
        return _json(papers.full(service.models.pick(model)))

    return router


def _watch(service: Service) -> APIRouter:
    router = APIRouter(tags=["operation"])
    state = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}

    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz", summary="Whether the process lives", responses=responses(state))
    async def healthz() -> Response:
        """200 as long as the process answers."""
        return _json({"status": "ok"})

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz", summary="Whether it takes requests", responses=responses(state))
    async def readyz() -> Response:
        """200 once every model is loaded and warm; a service that stops takes no connection any more."""
        return _json({"status": "ready", "models": {m.name: m.version.hash for m in service.models.all()}})

    @router.get(
        "/metrics", summary="Counters for Prometheus",
        responses={200: {"description": "Text.", "content": {"text/plain": {"schema": _TEXT}}}, **problems(401)},
    )  # fmt: skip
    async def counters() -> Response:
        """Requests, durations, answers by class, confidence, abstentions, the model that answers; with a log, drift."""
        states = await service.watcher.states() if service.watcher is not None else {}
        return Response(service.metrics.text(states), media_type=metrics.CONTENT)

    @router.get("/version", summary="Versions", responses=responses(VERSION, 401))
    async def versions() -> Response:
        """Of estampa, of ONNX Runtime, and of the bundle format that it reads."""
        told = {name: machine.version_of(name) for name in ("estampa", "onnxruntime", "numpy", "fastapi")}
        return _json({**told, "bundle_format": FORMAT})

    return router
