"""What the service says of a model: its papers, as JSON."""

from __future__ import annotations

from typing import Any

from estampa.predict.answers import judged, scored
from estampa.serve.bodies import from_tree
from estampa.serve.inputs import Reader
from estampa.serve.models import Model
from estampa.serve.service import records
from estampa.serve.settings import Settings


def brief(model: Model) -> dict[str, Any]:
    """One line of the list of models."""
    version = model.version
    return {
        "name": model.name, "model": version.hash, "version": version.number or None, "task": version.bundle.task,
        "classes": list(version.bundle.classes), "input": version.bundle.contract.words(),
        "since": version.since.isoformat(timespec="seconds"),
    }  # fmt: skip


def full(model: Model) -> dict[str, Any]:
    """Card, classes, contract, thresholds, hashes, metrics with intervals, and a request to send."""
    bundle = model.version.bundle
    manifest = bundle.manifest
    said = manifest.model_dump(mode="json", include={
        "display", "contract", "thresholds", "metrics", "parts", "data", "hashes", "versions", "decisions", "model",
    })  # fmt: skip
    said["estimator"] = said.pop("model")
    version = model.version
    return brief(model) | said | {"recipe": manifest.name, "card": version.card, "example": version.request}


def answered(model: Model, settings: Settings) -> dict[str, Any]:
    """What POST /v1/predict answers to the model's own example, neither counted nor logged; {} where it has none."""
    version = model.version
    body = version.request
    if not body:
        return {}
    asked = from_tree(Reader(version.bundle, settings), body).inputs
    output = scored(version.bundle, asked.chunk, 1).output
    answers = judged(version.bundle, asked.chunk, asked.ids, output)
    told = {"request_id": "0" * 32, "model": version.hash, "name": model.name}
    return told | {"answers": records(version, answers, "0" * 32)}
