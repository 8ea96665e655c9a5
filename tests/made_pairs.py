"""Champion and challenger for the tests, made without training: each says "light" from its own brightness on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from onnx import numpy_helper

from estampa.bundle import reference
from estampa.bundle.store import Bundle, write
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from made_bundles import SHAPE, content_of, model_of, pictures

TRUE = 0.3  #: brightness from which a picture is light


def dataset(path: Path, n: int = 400, seed: int = 1, *, parts: bool = False, groups: bool = False) -> Dataset:
    """Pictures with their right labels, and ids that begin with the file's name; `parts`: half train, half test."""
    images = pictures(n, seed=seed)
    labels = (images.mean(axis=(1, 2, 3)) / 255 > TRUE).astype(np.int64)
    header = Header(n, SHAPE, "uint8", "classification", ("dark", "light"), read=ReadRecord(source="arrays"))
    writer = DatasetWriter(
        path, header, ids=[f"{path.stem}-{i}" for i in range(n)], labels=labels, fingerprint=path.stem,
        groups=np.array([f"night {i // 8}" for i in range(n)]) if groups else None,
        split=np.where(np.arange(n) % 2, 3, 1).astype(np.uint8) if parts else None,
    )  # fmt: skip
    writer.write(0, images, {})
    return writer.finish()


def model(folder: Path, light_from: float, learned: Dataset | None = None, **how: Any) -> Bundle:
    """A bundle that answers "light" from a brightness on; it remembers the parts of `learned`.

    `how` goes to `content_of`, and `part`: of `learned`, what it remembers as its test part.
    """
    classes = how.get("classes", ("dark", "light"))
    graph = model_of(shape=how.get("shape", SHAPE), classes=classes, task=how.get("task", "classification"))
    if how.get("task") is None:
        turned = light_from if classes[0] == "dark" else 1 - light_from
        bias = 40 * np.array([turned, -turned], np.float32)
        weights = np.zeros((2, 2), np.float32)
        weights[0] = (-40, 40) if classes[0] == "dark" else (40, -40)
        if classes[0] != "dark":
            bias = 40 * np.array([-light_from, light_from], np.float32)
        for tensor in graph.graph.initializer:
            if tensor.name in ("w", "b"):
                tensor.CopyFrom(numpy_helper.from_array(weights if tensor.name == "w" else bias, tensor.name))
    content = content_of(model=graph, **how)
    if learned is not None:
        rows = {part: learned.rows(part) for part in ("train", "validation", "test")}
        held = {part: (learned.ids[r], learned.hashes[r]) for part, r in rows.items()}
        tree = dict(content.manifest)
        tree["hashes"] = {**tree["hashes"], "data": learned.content_sha256}
        content = replace(content, held=reference.held(held), manifest=tree)
    return write(folder, content)
