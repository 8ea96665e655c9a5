"""The OpenAPI 3.1 description: schemas of what comes and goes, with examples of the very bundles that are served."""

from __future__ import annotations

from typing import Any

from estampa.bundle import example
from estampa.serve import papers
from estampa.serve.bodies import JSON, MULTIPART, TYPES
from estampa.serve.problems import KINDS, MEDIA
from estampa.serve.service import Service

Schema = dict[str, Any]
_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}
_MAYBE = {"type": ["number", "null"]}
_BINARY = {"type": "string", "contentMediaType": "application/octet-stream"}
_BASE64 = {"type": "string", "contentEncoding": "base64"}
_REQUEST = "1ecc9e3828e246e892a16ce9ff90f5b9"
_LONGEST = 64 << 10  #: characters of an example that the description holds
ANSWER: Schema = {
    "type": "object",
    "description": "The answer to one object. Of a regression `predicted` is the value, and no probability is given.",
    "properties": {
        "id": {"type": "string", "description": "As it was given, a file's name, or the row number."},
        "predicted": {"type": ["string", "number", "null"], "description": "Class or value; null = none, see flags."},
        "probability": {**_MAYBE, "description": "Of the class that was answered, calibrated on validation data."},
        "probabilities": {"type": ["object", "null"], "additionalProperties": _NUMBER},
        "threshold": {**_MAYBE, "description": "Where the second of two classes begins; null = the likeliest."},
        "flags": {
            "type": "array", "items": _TEXT,
            "description": "out_of_range, low_confidence, not_finite, imputed:COLUMNS, unreadable:WHY, invalid:COLUMNS",
        },
        "model": {"type": "string", "description": "Hash of the bundle that answered."},
        "request_id": _TEXT,
        "kept": {"type": "boolean", "description": "Whether the input was stored; only after consent."},
    },
    "required": ["id", "predicted", "flags", "model", "request_id"],
}  # fmt: skip
ANSWERS: Schema = {
    "type": "object",
    "properties": {
        "request_id": _TEXT, "model": _TEXT, "name": _TEXT, "kept": {"type": "boolean"},
        "answers": {"type": "array", "items": ANSWER},
    },
    "required": ["request_id", "model", "name", "answers"],
}  # fmt: skip
_BRIEF: Schema = {
    "type": "object",
    "properties": {
        "name": _TEXT, "model": _TEXT, "version": {"type": ["string", "null"]},
        "task": {"enum": ["classification", "regression"]}, "classes": {"type": "array", "items": _TEXT},
        "input": _TEXT, "since": {"type": "string", "format": "date-time"},
    },
    "required": ["name", "model", "task", "classes", "input", "since"],
}  # fmt: skip
MODELS: Schema = {
    "type": "object",
    "properties": {"models": {"type": "array", "items": _BRIEF}},
    "required": ["models"],
}
MODEL: Schema = {
    **_BRIEF,
    "properties": {
        **_BRIEF["properties"],
        **{k: {"type": "object"} for k in ("contract", "thresholds", "metrics", "hashes", "parts", "example")},
        "card": {"type": "string", "description": "The model card, Markdown."},
    },
}
VERSION: Schema = {"type": "object", "properties": {"estampa": {"type": ["string", "null"]}}, "required": ["estampa"]}
STORED: Schema = {
    "type": "object",
    "properties": {
        "stored": {"type": "integer", "description": "How many labels were written."},
        "unknown": {
            "type": "array", "items": _TEXT,
            "description": "Ids that are not among the last answers. Their labels are stored nevertheless.",
        },
    },
    "required": ["stored", "unknown"],
}  # fmt: skip
PROBLEM: Schema = {
    "type": "object",
    "description": "RFC 9457 problem details.",
    "properties": {
        "type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "request_id": _TEXT,
    },
    "required": ["type", "title", "status", "detail"],
}  # fmt: skip
#: Statuses that any operation may answer with: a method that is not offered, a fault of ours, a page of another site.
_ALWAYS = (405, 500)


def responses(schema: Schema, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """200 with a schema, and the problems that an operation answers with."""
    good = {"description": "The answer.", "content": {JSON: {"schema": schema}}}
    return {200: good, **problems(*statuses)}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The descriptions of problems by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *_ALWAYS, *([403] if 413 in statuses else [])}):
        titles = "; ".join(kind.title for kind in KINDS.values() if kind.status == status)
        found[status] = {"description": titles, "content": {MEDIA: {"schema": PROBLEM}}}
    return found


def _numbers() -> Schema:
    """Nested lists of numbers, null = NaN."""
    return {"type": "array", "items": {}, "description": "Nested lists of numbers; null is NaN."}


def _agreed(service: Service) -> str:
    """What a sender agrees to with `consent`."""
    if service.settings.keep is None:
        return "Nothing is kept here, with it or without."
    more = "" if service.settings.feedback is None else ", shown to the people who label here, and used to train models"
    return f"The input may be kept for a time{more}. Without it nothing is."


def classify_body(service: Service) -> Schema:
    """The body of POST /classify: JSON, with an example of each model that is served."""
    schema = {
        "type": "object",
        "description": "Of pictures `image` (height x width x channels) or `picture` (base64 of a file); of a table "
        "its columns.",
        "properties": {
            "image": _numbers(), "picture": _BASE64,
            "consent": {"type": "boolean", "description": _agreed(service)},
        },
        "additionalProperties": True, "minProperties": 1,
    }  # fmt: skip
    return {"required": True, "content": {JSON: {"schema": schema, **_examples(service, one=True)}}}


def predict_body(service: Service) -> Schema:
    """The body of POST /v1/predict in every form that is read."""
    tree = {
        "type": "object",
        "properties": {
            "images": _numbers(), "pictures": {"type": "array", "items": _BASE64},
            "rows": {"type": "array", "items": {"type": "object", "additionalProperties": _MAYBE}},
            "ids": {"type": "array", "items": _TEXT}, "consent": {"type": "boolean"},
        },
    }  # fmt: skip
    form = {
        "type": "object",
        "properties": {"files": {"type": "array", "items": _BINARY}, "consent": {"type": "string"}},
        "required": ["files"],
    }
    content: dict[str, Any] = {
        JSON: {"schema": tree, **_examples(service, one=False)},
        MULTIPART: {"schema": form},
        **{kind: {"schema": _BINARY} for kind in TYPES},
        "application/octet-stream": {"schema": _BINARY},
    }
    return {"required": True, "content": content}


def labels_body(service: Service) -> Schema:
    """The body of POST /v1/feedback, with an example for each model where labels are taken."""
    name = {"type": "string", "description": "The answer's request_id, a point, its number in the request from 0."}
    label = {"type": ["string", "number", "null"], "description": "The class, or the value; null withdraws a label."}
    new = {"type": "boolean", "description": "The label is a class that the model does not know."}
    parts = {"id": name, "label": label, "new": new}
    one = {"type": "object", "properties": parts, "required": ["id", "label"], "additionalProperties": False}
    many = {
        "type": "object",
        "properties": {"labels": {"type": "array", "items": one, "minItems": 1}},
        "required": ["labels"],
    }
    found = {}
    for model in service.models.all() if service.desk is not None else ():
        value: Any = (model.bundle.classes or (17.5,))[0]
        told = {"labels": [{"id": f"{_REQUEST}.0", "label": value}]}
        found[model.name] = {"summary": f"For the model {model.name}", "value": told}
    examples = {"examples": found} if found else {}
    return {"required": True, "content": {JSON: {"schema": {"anyOf": [many, one]}, **examples}}}


def answers_of(service: Service, *, one: bool) -> dict[str, Any]:
    """What the models answer to those examples, by name."""
    found = {}
    for model in service.models.all():
        answer = papers.answered(model, service.settings)
        if answer:
            value = answer["answers"][0] | {"id": "0"} if one else answer
            found[model.name] = {"summary": f"Of the model {model.name}", "value": value}
    return found


def _examples(service: Service, *, one: bool) -> dict[str, Any]:
    """An example for each model, real objects of its bundle; those that would be too long are left out."""
    found = {}
    for model in service.models.all():
        body = example.single(model.version.request) if one else model.version.request
        if body and len(example.text_of(body)) <= _LONGEST:
            found[model.name] = {"summary": f"For the model {model.name}", "value": body}
    return {"examples": found} if found else {}
