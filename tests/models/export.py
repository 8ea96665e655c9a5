"""One check of the ONNX graph against torch, for several tests."""

import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from estampa.models._network import Body, Network
from estampa.prepare.image import ImagePreparation


def check_export(body: Body, dtype: str, folder: Path, *, views: str = "d4", stretch: str = "asinh") -> None:
    """Export with a free batch, then compare at batch 1 and 9; the pixels hold NaN and infinity where they can."""
    x = (np.random.default_rng(0).random((9, 20, 20, 2)) * 250).astype(dtype)
    if dtype == "float32":
        x[0, 3, 3, 0], x[1, 3, 3, 1] = np.nan, np.inf
    rule = ImagePreparation("median", stretch).fit([x])
    network = Network(
        body, shape=(20, 20, 2), dtype=dtype, task="classification", rule=rule.to_record(), constants=rule.constants(),
        views=views,
    ).eval()  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of itself
        program = torch.onnx.export(
            network, (torch.from_numpy(x[:3]),), dynamo=True, dynamic_shapes=({0: torch.export.Dim("n")},),
            input_names=["images"], output_names=list(network.output_names), external_data=False, verbose=False,
        )  # fmt: skip
        program.save(str(folder / "m.onnx"))
    session = onnxruntime.InferenceSession(folder / "m.onnx")
    for count in (1, 9):
        got = session.run(None, {"images": x[:count]})
        with torch.inference_mode():
            wanted = network(torch.from_numpy(x[:count]))
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b.numpy(), atol=1e-5)
