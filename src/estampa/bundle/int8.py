"""A bundle's graph in whole numbers of 8 bits: convolutions on rounded values, checked for what that costs.

Weights are rounded by channel, activations by the range that they have on training pictures (Jacob et al. 2018,
arXiv:1712.05877). The head stays float: it takes no time, and classes hang on it directly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from estampa.bundle.contract import InputContract
from estampa.bundle.manifest import Int8
from estampa.bundle.session import INPUT, Session
from estampa.errors import BundleError

#: Accuracy on the validation part that may be lost, as a share.
MOST_LOST = 0.003
#: Training pictures whose activations are measured, and how many at a time.
CALIBRATED, AT_ONCE = 128, 16
_ROUNDED = ["Conv", "Add", "Clip", "Relu", "MaxPool"]
_PREPARED = ("onnx.quant.pre_process", "onnxruntime.quant")


def quantised(model: bytes, pictures: np.ndarray) -> bytes:
    """The graph with its convolutions in int8, from one that is checked already.

    `pictures` (m, h, w, c) of the stored type, of the training part: at most `CALIBRATED`, evenly spread, are looked
    at. The same model and pictures give the same bytes. Raises BundleError where there is no convolution.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    proto = onnx.load_model_from_string(model)
    if not any(node.op_type == "Conv" for node in proto.graph.node):
        raise BundleError("a graph without convolutions has nothing to round to int8")
    notes = [(entry.key, entry.value) for entry in proto.metadata_props]
    proto.metadata_props.add(key=_PREPARED[0], value=_PREPARED[1])  # the exporter has folded what could be folded
    chosen = pictures[np.unique(np.linspace(0, len(pictures) - 1, min(CALIBRATED, len(pictures))).astype(np.int64))]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantize_static(
            proto, target, _reader(chosen), quant_format=QuantFormat.QDQ, per_channel=True,
            op_types_to_quantize=_ROUNDED, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, calibration_providers=["CPUExecutionProvider"],
        )  # fmt: skip
        made = onnx.load_model(target)
    del made.metadata_props[:]
    onnx.helper.set_model_props(made, dict(notes))
    return bytes(made.SerializeToString(deterministic=True))


def _reader(pictures: np.ndarray) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Pictures(CalibrationDataReader):  # type: ignore[misc]
        """Batches of pictures, once."""

        def __init__(self) -> None:
            self.batches: Iterator[np.ndarray] = iter(
                [pictures[start : start + AT_ONCE] for start in range(0, len(pictures), AT_ONCE)]
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: np.ascontiguousarray(batch)}

    return Pictures()


def measured(
    model: bytes, rounded: bytes, contract: InputContract, blocks: Callable[[], Iterator[np.ndarray]], truth: np.ndarray
) -> Int8:
    """What rounding costs on the validation part: accuracy before and after, and how many answers are the same.

    `blocks()` gives its pictures in the order of `truth` (n,), class numbers. Raises BundleError where there are none.
    """
    if not len(truth):
        raise BundleError("int8 needs a validation part, to measure what it costs")
    answers = []
    for graph in (model, rounded):
        session = Session(graph, contract)
        answers.append(np.concatenate([session.score(b, wanted=("output",)).output.argmax(1) for b in blocks()]))
    before, after = (float((found == truth).mean()) for found in answers)
    return Int8(
        kept=before - after <= MOST_LOST, rows=len(truth), before=before, after=after,
        agreement=float((answers[0] == answers[1]).mean()), allowed=MOST_LOST,
    )  # fmt: skip
