"""Look into an ONNX file without running it, without the onnx package: a walk over its protobuf fields.

What is refused: bytes that are not a well-formed model, tensors whose data lie in other files (they could name any
path), operators outside the standard domains (they would need code of their own), functions and training graphs
(which the exporter never leaves). Field numbers are those of onnx.proto3 (onnx 1.17, IR version 10).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from estampa.errors import BundleError

DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})  #: operators that ONNX itself defines
_DEEPEST = 16  #: graphs within graphs
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Fields of the messages that are walked.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA, _MODEL_TRAINING, _MODEL_FUNCTIONS = 7, 8, 14, 20, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_GRAPH_VALUES = (11, 12, 13)  # inputs, outputs, what is between
_VALUE_SIDES = (2, 1, 2, 1)  # its type, that of a tensor, its shape, the sides
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS, _ATTRIBUTE_SPARSE = (5, 10), (6, 11), (22, 23)
#: A run of an attribute's own numbers and short texts (floats = 7, ints = 8, strings = 9): a forest has millions.
_PLAIN = re.compile(
    rb"(?:\x3d.{4}|\x40[\x80-\xff]{0,9}[\x00-\x7f]|" + b"|".join(b"\x4a%c.{%d}" % (n, n) for n in range(24)) + b")++",
    re.DOTALL,
)
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14


@dataclass
class ModelFacts:
    """What an ONNX file says about itself."""

    metadata: dict[str, str] = field(default_factory=dict)  #: metadata_props
    opsets: dict[str, int] = field(default_factory=dict)  #: domain -> version
    nodes: int = 0


def audit_model(data: bytes, where: object) -> ModelFacts:
    """Walk the whole model; raise BundleError for what is refused (see above). Nothing is executed."""
    if data[4:8] == b"ORTM":  # ONNX Runtime would take it for its own format, which this walk cannot see into
        raise BundleError("not an ONNX model but one in ONNX Runtime's own format", where=where)
    facts = ModelFacts()
    try:
        _walk_model(memoryview(data), facts, where)
    except _MalformedError as error:
        raise BundleError("not a well-formed ONNX model", where=where, got=str(error)) from error
    if not facts.nodes:
        raise BundleError("an ONNX model without a graph", where=where)
    return facts


class _MalformedError(ValueError):
    """The bytes are not those of a protobuf message of the kind that belongs there."""


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise _MalformedError("it ends within a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _MalformedError("a number of more than ten bytes")


def _fields(view: memoryview, passed: re.Pattern[bytes] | None = None) -> Iterator[tuple[int, int, int | memoryview]]:
    """(field number, wire type, value) of one message: a number for varints, bytes for the rest.

    Runs of whole fields that match `passed` are passed over.
    """
    at = 0
    while at < len(view):
        run = passed.match(view, at) if passed is not None else None
        if run is not None:
            at = run.end()
            continue
        key, at = _varint(view, at)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise _MalformedError("a field without a number")
        if wire == _VARINT:
            value, at = _varint(view, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            length, at = _varint(view, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise _MalformedError(f"wire type {wire}")
        if length > len(view) - at:
            raise _MalformedError(f"a field of {length} bytes where {len(view) - at} are left")
        yield number, wire, view[at : at + length]
        at += length


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _MalformedError("a number where a message belongs")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return str(_message(value), "utf-8")
    except UnicodeDecodeError as error:
        raise _MalformedError("a name that is not UTF-8") from error


def _walk_model(model: memoryview, facts: ModelFacts, where: object) -> None:
    for number, _, value in _fields(model):
        if number == _MODEL_GRAPH:
            _walk_graph(_message(value), facts, where, 0)
        elif number == _MODEL_OPSET:
            domain, version = "", 0
            for n, _, v in _fields(_message(value)):
                if n == 1:
                    domain = _text(v)
                elif n == 2 and isinstance(v, int):
                    version = v
            _require_standard(domain, "the model", where)
            facts.opsets[domain] = version
        elif number == _MODEL_METADATA:
            pair = {n: _text(v) for n, _, v in _fields(_message(value)) if n in (1, 2)}
            facts.metadata[pair.get(1, "")] = pair.get(2, "")
        elif number in (_MODEL_TRAINING, _MODEL_FUNCTIONS):
            what = "a training graph" if number == _MODEL_TRAINING else "functions of its own"
            raise BundleError(f"the ONNX model carries {what}, which estampa never writes", where=where)


def _walk_graph(graph: memoryview, facts: ModelFacts, where: object, depth: int) -> None:
    if depth > _DEEPEST:
        raise _MalformedError(f"graphs nested more than {_DEEPEST} deep")
    for number, _, value in _fields(graph):
        if number == _GRAPH_NODE:
            facts.nodes += 1
            _walk_node(_message(value), facts, where, depth)
        elif number == _GRAPH_INITIALIZER:
            _walk_tensor(_message(value), where)
        elif number == _GRAPH_SPARSE:
            _walk_sparse(_message(value), where)
        elif number in _GRAPH_VALUES:
            _walk_down(_message(value), _VALUE_SIDES)


def _walk_down(message: memoryview, path: tuple[int, ...]) -> None:
    """Walk a message, and of its fields those of the first number in `path`, down to the last one."""
    for number, _, value in _fields(message):
        if path and number == path[0]:
            _walk_down(_message(value), path[1:])


def _walk_node(node: memoryview, facts: ModelFacts, where: object, depth: int) -> None:
    operator, domain = "", ""
    for number, _, value in _fields(node):
        if number == _NODE_OPERATOR:
            operator = _text(value)
        elif number == _NODE_DOMAIN:
            domain = _text(value)
            _require_standard(domain, f"operator {operator!r}", where)
        elif number == _NODE_ATTRIBUTE:
            for n, _, v in _fields(_message(value), _PLAIN):
                if n in _ATTRIBUTE_TENSORS:
                    _walk_tensor(_message(v), where)
                elif n in _ATTRIBUTE_GRAPHS:
                    _walk_graph(_message(v), facts, where, depth + 1)
                elif n in _ATTRIBUTE_SPARSE:
                    _walk_sparse(_message(v), where)


def _walk_sparse(sparse: memoryview, where: object) -> None:
    for number, _, value in _fields(sparse):
        if number in (1, 2):  # values, indices
            _walk_tensor(_message(value), where)


def _walk_tensor(tensor: memoryview, where: object) -> None:
    for number, _, value in _fields(tensor):
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise BundleError("the ONNX model keeps tensors in other files, which is refused", where=where)


def _require_standard(domain: str, whose: str, where: object) -> None:
    if domain not in DOMAINS:
        raise BundleError(
            f"{whose} is of the domain {domain!r}, which ONNX does not define; it is refused",
            where=where, allowed=", ".join(sorted(d for d in DOMAINS if d)),
        )  # fmt: skip
