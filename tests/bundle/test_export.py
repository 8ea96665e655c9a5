"""The exported model is the trained one: the same answers, in one file, without a word of this machine."""

from __future__ import annotations

import json
import logging
import warnings

import numpy as np
import onnx
import pytest
import torch

from estampa.bundle import export, reference
from estampa.bundle.contract import InputContract, contract_of, measure_range
from estampa.bundle.export import TOLERANCE, export_network, with_metadata
from estampa.bundle.graph import audit_model
from estampa.bundle.session import Session
from estampa.data.record import Header, ReadRecord
from estampa.errors import BundleError
from estampa.models._network import Body, Network
from estampa.prepare.image import ImagePreparation
from made_bundles import pictures

SHAPE = (9, 9, 2)


class Small(Body):
    """A convolution and two dense layers."""

    def __init__(self, shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        self.convolve = torch.nn.Conv2d(shape[2], 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.dense = torch.nn.Linear(4 * (shape[0] - 2) * (shape[1] - 2), 6)
        self.last = torch.nn.Linear(6, outputs)

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.dense(torch.relu(self.norm(self.convolve(x))).flatten(1)))

    def head(self, e: torch.Tensor) -> torch.Tensor:
        return self.last(e)


def parts(
    dtype: str = "uint8", task: str = "classification", views: str = "d4", nan: str = "zero", stretch: str = "asinh"
) -> tuple[Network, InputContract, np.ndarray]:
    torch.manual_seed(0)
    images = pictures(60, SHAPE, dtype)
    preparation = ImagePreparation(nan, stretch).fit([images])
    network = Network(
        Small(SHAPE, 1 if task == "regression" else 3), shape=SHAPE, dtype=dtype, task=task,
        rule=preparation.to_record(), constants=preparation.constants(), views=views,
    ).eval()  # fmt: skip
    header = Header(60, SHAPE, dtype, task, ("a", "b", "c"), read=ReadRecord(source="arrays"))
    return network, contract_of(header, measure_range(images), nan), images


@pytest.mark.parametrize(
    ("dtype", "task", "views", "nan"),
    [
        ("uint8", "classification", "d4", "zero"),
        ("uint16", "classification", "none", "zero"),
        ("float32", "classification", "hflip", "median"),
        ("float32", "regression", "d4", "zero"),
    ],
)
def test_the_exported_model_answers_as_the_trained_one(dtype: str, task: str, views: str, nan: str) -> None:
    network, contract, images = parts(dtype, task, views, nan)
    made = export_network(network, contract, network.output_names, images)
    assert made.parity.rows >= 60
    assert made.parity.output <= TOLERANCE
    session = Session(made.onnx, contract)
    assert set(session.outputs) == set(network.output_names)
    with torch.inference_mode():
        ours = dict(zip(network.output_names, network(torch.from_numpy(images)), strict=True))
    for n in (1, 7, 60):
        scores = session.score(images[:n])
        for name, value in ours.items():
            np.testing.assert_allclose(getattr(scores, name), value[:n].numpy(), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def exported() -> bytes:
    network, contract, images = parts("float32", nan="refuse", stretch="linear")
    return export_network(network, contract, network.output_names, images).onnx


def test_it_is_one_file_without_paths_of_this_machine(exported: bytes) -> None:
    facts = audit_model(exported, "x")
    assert facts.nodes > 5
    for word in (b"/home", b"/work", b"/tmp", b"stack_trace", b".py", b"/root"):
        assert word not in exported
    model = onnx.load_model_from_string(exported)
    onnx.checker.check_model(model)
    assert model.graph.input[0].name == "images"
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param
    assert [d.dim_value for d in dims[1:]] == list(SHAPE)


def test_metadata_travel_in_the_file(exported: bytes) -> None:
    told = with_metadata(exported, {"estampa.format": "1", "estampa.classes": json.dumps(["ñ"])})
    assert audit_model(told, "x").metadata == {"estampa.format": "1", "estampa.classes": '["\\u00f1"]'}


def test_refused_pixels_give_no_answer(exported: bytes) -> None:
    _, contract, images = parts("float32", nan="refuse")
    images = images.copy()
    images[1, 2, 2, 0] = np.nan
    output = Session(exported, contract).score(images).output
    assert np.isnan(output[1]).all()
    assert np.isfinite(output[0]).all()


def test_export_is_silent_and_keeps_settings(capfd: pytest.CaptureFixture[str]) -> None:
    network, contract, images = parts()
    before = logging.getLogger("torch.onnx").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_network(network, contract, network.output_names, images)
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err == ""
    assert logging.getLogger("torch.onnx").level == before


def test_an_exporter_that_fails_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    network, contract, images = parts()

    def failing(*_: object, **__: object) -> None:
        print("some chatter")
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.onnx, "export", failing)
    with pytest.raises(RuntimeError, match="no such operator") as caught:
        export_network(network, contract, network.output_names, images)
    assert "some chatter" in caught.value.__notes__[0]


def test_a_model_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network, contract, images = parts()
    genuine = export._stripped

    def spoiled(model: onnx.ModelProto) -> onnx.ModelProto:
        model = genuine(model)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("last.bias"):
                tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([3, 0, 0], np.float32), tensor.name))
        return model

    monkeypatch.setattr(export, "_stripped", spoiled)
    with pytest.raises(BundleError, match="differs from the trained one"):
        export_network(network, contract, network.output_names, images)


# ------------------------------------------------------------------------------------------------ what else travels


def test_the_projection_is_fixed_and_orthonormal() -> None:
    frame = reference.projection(64)
    np.testing.assert_allclose(frame.T @ frame, np.eye(8), atol=1e-6)
    np.testing.assert_array_equal(frame, reference.projection(64))
    narrow = reference.projection(3)
    assert narrow.shape == (3, 8)
    np.testing.assert_allclose(narrow[:, :3].T @ narrow[:, :3], np.eye(3), atol=1e-6)
    assert (narrow[:, 3:] == 0).all()


def test_the_gallery_is_balanced_and_small() -> None:
    labels = np.repeat([0, 1, 2], [5000, 300, 7])
    rows = reference.gallery_rows(labels, 3)
    counts = np.bincount(labels[rows])
    assert len(rows) == len(set(rows.tolist())) == 1000
    assert counts[2] == 7
    assert counts[1] == 300
    np.testing.assert_array_equal(rows, reference.gallery_rows(labels, 3))
    assert len(reference.gallery_rows(np.linspace(0, 1, 3000), 0)) == 1000


def test_exemplars_lie_nearest_to_their_class() -> None:
    images = pictures(6, (100, 80, 1), "float32")
    vectors = np.array([[0.0], [1], [2], [10], [11], [15]])
    made = reference.gallery(images, np.array([0, 0, 0, 1, 1, 1]), list("abcdef"), vectors, 3)
    assert made["exemplar"].tolist() == [1, 4, -1]
    assert made["thumbnails"].dtype == np.uint8
    assert max(made["thumbnails"].shape[1:3]) <= 64
    assert reference.unpack_ids(made, "gallery").tolist() == list("abcdef")
