"""The graph in int8: kept only where the validation part loses little, and then every figure is of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from test_bundle_from import METRICS, trained

from estampa.bundle import int8
from estampa.bundle.export import bundle_from, shrink
from estampa.bundle.graph import audit_model
from estampa.bundle.int8 import quantised
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.errors import BundleError, RecipeError
from estampa.evaluate.settle import settle
from estampa.train.choose import complete
from estampa.train.fitted import Fitted
from made_bundles import SHAPE, model_of, pictures


def operators(bundle: Bundle) -> set[str]:
    return {node.op_type for node in onnx.load(bundle.folder / "model.onnx").graph.node}


def asked(folder: Path) -> tuple[Fitted, Dataset, dict[str, np.ndarray]]:
    fitted, dataset, rows = trained(folder, "classification")
    fitted.recipe = fitted.recipe.with_values({"train.int8": True})
    return fitted, dataset, rows


def test_the_rounded_graph_is_shipped_and_every_figure_is_its_own(tmp_path: Path) -> None:
    fitted, dataset, rows = asked(tmp_path)
    images = dataset.take(rows["test"])
    exact = fitted.predict(images)
    settled = settle(fitted, dataset, rows["validation"], train_rows=rows["train"])
    found = settled.int8
    assert found is not None
    assert found.kept
    assert found.rows == 40
    fitted.network.temperature.fill_(1.7)  # as calibration may leave it
    bundle = bundle_from(fitted, dataset, rows, METRICS, tmp_path / "model", extra={"int8": found})
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(bundle)
    assert bundle.manifest.int8 == found
    answers = bundle.score(images).output
    np.testing.assert_allclose(answers, fitted.predict(images), atol=1e-5)  # what was judged is what is shipped
    fitted.network.temperature.fill_(1.0)
    fitted.rounded = None
    assert np.abs(bundle.score(images).logits * 1.7 - next(fitted.answers(images))["logits"]).max() > 1e-6
    assert np.abs(fitted.predict(images) - exact).max() == 0
    validation = dataset.take(rows["validation"])
    after = (bundle.score(validation).output.argmax(1) == dataset.labels[rows["validation"]]).mean()
    assert found.after == pytest.approx(after)
    assert found.sentence() in fitted.decisions
    assert found.sentence() in (bundle.folder / "README.md").read_text()


def test_what_loses_too_much_is_refused_and_the_model_stays_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted, dataset, rows = asked(tmp_path)

    def spoiled(model: bytes, pictures: np.ndarray) -> bytes:
        proto = onnx.load_model_from_string(model)
        for value in proto.graph.initializer:
            if value.name.endswith("output.weight"):
                numbers = -onnx.numpy_helper.to_array(value)
                value.CopyFrom(onnx.numpy_helper.from_array(numbers, value.name))
        return bytes(proto.SerializeToString())

    monkeypatch.setattr("estampa.bundle.export.quantised", spoiled)
    found = shrink(fitted, dataset, rows["train"], rows["validation"])
    assert found.before - found.after > int8.MOST_LOST
    assert not found.kept
    assert fitted.rounded is None
    assert "refused, the model stays float" in found.sentence()
    bundle = bundle_from(fitted, dataset, rows, METRICS, tmp_path / "model", extra={"int8": found})
    assert "QuantizeLinear" not in operators(bundle)
    assert bundle.manifest.int8 is not None
    np.testing.assert_allclose(
        bundle.score(dataset.take(rows["test"])).output, fitted.predict(dataset.take(rows["test"])), atol=1e-4
    )


def test_without_a_validation_part_the_model_stays_float_with_a_warning(tmp_path: Path) -> None:
    fitted, dataset, rows = asked(tmp_path)
    settled = settle(fitted, dataset, rows["validation"][:0], train_rows=rows["train"])
    assert settled.int8 is None
    assert fitted.rounded is None
    assert any("stays float" in line and "validation part" in line for line in settled.warnings)


def test_a_graph_without_convolutions_is_said_to_have_none() -> None:
    with pytest.raises(BundleError, match="without convolutions"):
        quantised(model_of().SerializeToString(), pictures(4, SHAPE))


def test_the_same_pictures_give_the_same_bytes_without_paths(tmp_path: Path) -> None:
    fitted, dataset, rows = asked(tmp_path)
    bundle = bundle_from(fitted, dataset, rows, METRICS, tmp_path / "model")
    model, images = (bundle.folder / "model.onnx").read_bytes(), dataset.take(rows["train"])
    one = quantised(model, images)
    assert one == quantised(model, images)
    assert b"/tmp" not in one
    assert audit_model(one, "int8").metadata == audit_model(model, "float").metadata


def test_a_regression_has_no_accuracy_to_hold_int8_to(tmp_path: Path) -> None:
    fitted, dataset, rows = trained(tmp_path, "regression")
    with pytest.raises(RecipeError, match="int8"):
        complete(fitted.recipe.with_values({"train.int8": True}), dataset, rows["train"])
