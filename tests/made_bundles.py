"""Small bundles for the tests, made without training: a graph that judges a picture by its mean."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from estampa.bundle import reference
from estampa.bundle.card import card
from estampa.bundle.contract import contract_of, measure_range
from estampa.bundle.presets import Presets, answered, chosen
from estampa.bundle.store import Bundle, Content, plain, write
from estampa.data.record import Header, ReadRecord

TYPES = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16, "float32": TensorProto.FLOAT}
SHAPE = (6, 5, 1)


def pictures(n: int, shape: tuple[int, int, int] = SHAPE, dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Pictures of every brightness: values up to 255, or 0..1 for floats."""
    draw = np.random.default_rng(seed)
    x = draw.uniform(0.2, 1, (n, 1, 1, 1)) * draw.uniform(0, 1, (n, *shape))
    return x.astype(np.float32) if dtype == "float32" else (255 * x).astype(dtype)


def model_of(
    shape: tuple[int, int, int] = SHAPE, dtype: str = "uint8", classes: tuple[str, ...] = ("dark", "light"),
    domain: str = "", task: str = "classification",
) -> onnx.ModelProto:  # fmt: skip
    """images -> embedding (mean and its square) -> logits -> output."""
    width = max(len(classes), 1)
    weights = np.stack([np.linspace(-1, 1, width), np.zeros(width)]).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["stored"], to=TensorProto.FLOAT),
        helper.make_node("IsNaN", ["stored"], ["holes"]),
        helper.make_node("Where", ["holes", "zero", "stored"], ["x"]),
        helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["m"]),
        helper.make_node("Div", ["m", "scale"], ["u"]),
        helper.make_node("Mul", ["u", "u"], ["square"]),
        helper.make_node("Concat", ["u", "square"], ["embedding"], axis=1),
        helper.make_node("Gemm", ["embedding", "w", "b"], ["logits"], domain=domain),
    ]
    outputs = [("output", [None, width]), ("logits", [None, width]), ("embedding", [None, 2])]
    if task == "regression":
        nodes.append(helper.make_node("Squeeze", ["logits", "last"], ["output"]))
        outputs = [("output", [None]), ("embedding", [None, 2])]
    else:
        nodes.append(helper.make_node("Softmax", ["logits"], ["output"], axis=1))
    constants = {
        "zero": np.zeros(1, np.float32),
        "axes": np.array([1, 2, 3], np.int64), "last": np.array([1], np.int64), "w": weights,
        "scale": np.array([1 if dtype == "float32" else 255], np.float32),
        "b": np.linspace(0.5, -0.5, width).astype(np.float32) if width > 1 else np.zeros(1, np.float32),
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "mean",
        [helper.make_tensor_value_info("images", TYPES[dtype], ["batch", *shape])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *size[1:]]) for name, size in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    said = {"estampa.format": "1", "estampa.task": task, "estampa.classes": json.dumps(list(classes))}
    helper.set_model_props(model, said)
    return model


def content_of(
    shape: tuple[int, int, int] = SHAPE, dtype: str = "uint8", classes: tuple[str, ...] = ("dark", "light"),
    **more: Any,
) -> Content:  # fmt: skip
    """A whole bundle's content around `model_of`; `more` replaces header fields, thresholds, nan, task and read.

    `presets=False` leaves the presets out; `groups` (n,) are those of the reference.
    """
    task = more.get("task", "classification")
    seen = more.get("seen", pictures(64, shape, dtype))
    header = Header(
        64, shape, dtype, task, classes, channels=more.get("channels", ()), units=more.get("units", ""),
        pixel_scale=more.get("pixel_scale"), read=more.get("read", ReadRecord(source="arrays")),
    )  # fmt: skip
    labels = np.zeros(len(seen)) if task == "regression" else np.arange(len(seen)) % max(len(classes), 1)
    outputs = {"output": max(len(classes), 1), "embedding": 2}
    if task == "classification":
        outputs["logits"] = len(classes)
    tree = {
        "name": "mean", "task": task, "classes": classes, "outputs": outputs,
        "contract": contract_of(header, measure_range(seen), more.get("nan", "zero")),
        "thresholds": more.get("thresholds", {}), "parts": {"train": 40, "validation": 10, "test": 14},
        "metrics": {"n": 14, "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}}},
        "hashes": {"data": "d" * 64, "recipe": sha256(b"").hexdigest()},
    }  # fmt: skip
    vectors = np.stack([seen.mean(axis=(1, 2, 3)), labels], axis=1).astype(np.float32)
    ids = np.array([f"object {i} ñ" for i in range(len(seen))])
    few = chosen(labels, len(classes), seen[:1].nbytes)
    presets = None
    if more.get("presets", True):
        presets = Presets(labels[few], ids[few], images=seen[few]).kept(answered(tree["contract"], seen[few]))
    return Content(
        manifest=tree,
        onnx=more.get("model", model_of(shape, dtype, classes, task=task)).SerializeToString(),
        prepare={"mean_": np.zeros(shape[2])},
        reference=reference.reference(seen, np.full((len(seen), max(len(classes), 1)), 0.5), labels, vectors)
        | reference.group_codes(more.get("groups")),
        held=reference.held({"train": (ids[:40], np.arange(40, dtype=np.uint64))}),
        gallery=reference.gallery(seen, labels, ids, vectors, len(classes)),
        presets=presets,
        card=card(plain(tree), presets=presets),
        weights={"w": np.ones((2, 2), np.float32)},
    )


def make(folder: Path, **how: Any) -> Bundle:
    """Write such a bundle to `folder`."""
    return write(folder, content_of(**how))
