"""From a trained network to a bundle that answers as it does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.export import bundle_from
from estampa.bundle.store import Bundle
from estampa.data.dataset import PARTS, Dataset, DatasetWriter, Header, ReadRecord
from estampa.data.summary import describe
from estampa.recipe import Recipe
from estampa.train.fit import fit_net
from estampa.train.fitted import Fitted
from made_bundles import pictures

SHAPE = (10, 8, 2)
METRICS = {"n": 30, "metrics": {"accuracy": {"value": 0.9, "low": 0.75, "high": float("nan")}}}


def trained(folder: Path, task: str) -> tuple[Fitted, Dataset, dict[str, np.ndarray]]:
    images = pictures(150, SHAPE)
    bright = images.mean(axis=(1, 2, 3))
    labels = bright.astype(np.float64) if task == "regression" else (bright > np.median(bright)).astype(np.int64)
    header = Header(
        150, SHAPE, "uint8", task, () if task == "regression" else ("=dark", "ñ"), channels=("g", "r"), units="ADU",
        display={} if task == "regression" else {"es": ("oscuro", "claro")}, release="DR1", licence="CC-BY-4.0",
        read=ReadRecord(source="arrays", layout="NHWC"),
    )  # fmt: skip
    split = np.repeat([1, 2, 3], [80, 40, 30]).astype(np.uint8)
    ids = [f"señal {i}" for i in range(150)]
    writer = DatasetWriter(folder / "set.h5", header, ids=ids, labels=labels, split=split, fingerprint="test")
    writer.write(0, images)
    dataset = writer.finish()
    rows = {part: dataset.rows(part) for part in PARTS[1:]}
    recipe = Recipe().with_values(
        {"model.name": "convnet", "model.filters": [4], "model.pool_after": [1], "model.dense": [12], "train.epochs": 1}
    )
    fitted = fit_net(dataset, recipe, train_rows=rows["train"], validation_rows=rows["validation"])
    return fitted, dataset, rows


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_trained_network_becomes_a_bundle(tmp_path: Path, task: str) -> None:
    fitted, dataset, rows = trained(tmp_path, task)
    bundle = bundle_from(
        fitted, dataset, rows, METRICS, tmp_path / "run" / "model",
        extra={"thresholds": {"confidence": 0.6}, "card": {"authors": "The survey team"}},
    )  # fmt: skip
    images = dataset.take(rows["test"])
    scores = bundle.score(images)
    np.testing.assert_allclose(scores.output, fitted.predict(images), atol=1e-4, rtol=1e-4)
    manifest = bundle.manifest
    assert manifest.metrics["metrics"]["accuracy"] == {"value": 0.9, "low": 0.75, "high": None}
    assert manifest.parts == {"train": 80, "validation": 40, "test": 30}
    assert manifest.contract.units == "ADU"
    assert manifest.contract.read_record.layout == "NHWC"
    assert manifest.recipe["train"]["epochs"] == 1
    assert manifest.parity is not None
    assert manifest.parity.output < 1e-3
    assert manifest.hashes.data == dataset.content_sha256
    assert manifest.thresholds.confidence == 0.6
    _check_tensors(bundle, dataset, rows, fitted)
    card = (bundle.folder / "README.md").read_text()
    assert "The survey team" in card
    assert "test part on 30 objects that the model has not seen" in card
    assert manifest.reference_part == "validation"
    assert "compared with:** validation" in card
    assert card.count("[More information needed]") >= 4
    text = (bundle.folder / "bundle.json").read_text() + (bundle.folder / "model.onnx").read_bytes().decode("latin-1")
    assert str(tmp_path) not in text
    assert str(Path.home()) + "/" not in text
    assert json.loads((bundle.folder / "bundle.json").read_text())["format"] == 1


def _check_tensors(bundle: Bundle, dataset: Dataset, rows: dict[str, np.ndarray], fitted: Fitted) -> None:
    validation = dataset.take(rows["validation"])
    reference = bundle.tensors("reference")
    np.testing.assert_array_equal(reference["describe"], describe(validation))
    np.testing.assert_allclose(reference["output"], bundle.score(validation).output, atol=1e-6)
    np.testing.assert_array_equal(
        reference["labels"], dataset.labels[rows["validation"]].astype(reference["labels"].dtype)
    )
    embedding = bundle.score(validation).embedding
    assert embedding is not None
    np.testing.assert_allclose(reference["components"], embedding @ reference["projection"], atol=1e-4, rtol=1e-4)
    assert reference["components"].shape == (40, 8)
    for part, chosen in rows.items():
        ids, hashes = bundle.held(part)
        np.testing.assert_array_equal(ids, dataset.ids[chosen])
        np.testing.assert_array_equal(hashes, dataset.hashes[chosen])
    gallery = bundle.tensors("gallery")
    assert gallery["thumbnails"].shape == (80, *SHAPE)
    assert len(gallery["exemplar"]) == len(bundle.classes)
    weights = bundle.tensors("weights")
    for name, value in fitted.network.state_dict().items():
        np.testing.assert_array_equal(weights[name], value.numpy())
        assert weights[name].shape == tuple(value.shape)
    for name, array in fitted.preparation.state().items():
        np.testing.assert_array_equal(bundle.tensors("prepare")[name], array)


def test_without_test_and_validation_parts_the_card_says_so(tmp_path: Path) -> None:
    fitted, dataset, rows = trained(tmp_path, "classification")
    part = {**METRICS, "part": "validation"}
    card = (bundle_from(fitted, dataset, rows, part, tmp_path / "one").folder / "README.md").read_text()
    assert "Of the validation part on 30 objects, not learned from but not unseen" in card
    assert "has not seen" not in card
    rows = {"train": rows["train"], "validation": rows["validation"][:0], "test": rows["test"]}
    bundle = bundle_from(fitted, dataset, rows, METRICS, tmp_path / "two")
    assert bundle.manifest.reference_part == "train"
    assert len(bundle.tensors("reference")["labels"]) == 80


def test_the_same_training_gives_the_same_bundle(tmp_path: Path) -> None:
    """No time, no path and no chance goes into a bundle."""
    fitted, dataset, rows = trained(tmp_path, "classification")
    one = bundle_from(fitted, dataset, rows, METRICS, tmp_path / "one", gallery=False)
    two = bundle_from(fitted, dataset, rows, METRICS, tmp_path / "two", gallery=False)
    assert one.hash == two.hash
    assert "gallery.safetensors" not in one.manifest.files


def test_without_a_validation_part_the_training_part_is_the_reference(tmp_path: Path) -> None:
    fitted, dataset, rows = trained(tmp_path, "classification")
    bundle = bundle_from(fitted, dataset, {"train": rows["train"]}, {}, tmp_path / "model")
    assert len(bundle.tensors("reference")["output"]) == 80
    assert "[More information needed]" in (bundle.folder / "README.md").read_text()
