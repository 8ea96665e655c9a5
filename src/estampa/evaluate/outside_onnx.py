"""An ONNX model that was trained elsewhere, judged on a Dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from estampa import machine
from estampa.errors import ContractError, InputError, SourceError, nearest
from estampa.evaluate.judge import Judgement, judge
from estampa.evaluate.terms import Asked, Wanted, columns_of
from estampa.progress import SILENT, Progress

if TYPE_CHECKING:
    from estampa.data.dataset import Dataset

_BATCH = 512
_SCALES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "raw": lambda images, _: images.astype(np.float32),
    "unit": lambda images, top: images.astype(np.float32) / np.float32(top),
    "symmetric": lambda images, top: images.astype(np.float32) / np.float32(top / 2) - np.float32(1),
}


def judge_onnx(
    model: Path | str,
    dataset: Dataset,
    rows: np.ndarray,
    *,
    layout: str = "",
    scale: str = "",
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = SILENT,
    **wanted: Unpack[Wanted],
) -> Judgement:
    """Judge an ONNX model that was trained elsewhere on rows of a Dataset.

    Parameters
    ----------
    model : the .onnx file, in one piece. Its one image input is (n, c, h, w) or (n, h, w, c); its first output gives
        probabilities or logits in the order of the Dataset's classes, one column (the second class) for two classes,
        or one value. Logits are recognised by rows that are no probabilities, and said.
    layout : "NCHW" or "NHWC"; needed only when the shapes fit both.
    scale : "raw" (values as stored), "unit" (0..1) or "symmetric" (-1..1); needed when the model takes floats and
        the Dataset holds whole numbers.
    wanted : threshold, positive, by, prior, see `terms.Asked`; an aim is refused, as there is nothing to choose it on.

    Raises ContractError, naming both sides, when shapes do not fit, InputError when layout or scale must be stated.
    """
    path, asked = Path(model), Asked(**wanted)
    if asked.aim:
        raise InputError(
            "a foreign model has no validation part to choose a threshold on", where=f"aim {asked.aim}",
            cure="State --threshold.",
        )  # fmt: skip
    session = _session(path)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs)
        raise ContractError("takes more than one input", where=path, allowed="one image input", got=names)
    chosen = _layout(inputs[0].shape, dataset, layout, path)
    convert = _conversion(inputs[0].type, dataset, scale, path)
    output_name = session.get_outputs()[0].name
    single = isinstance(inputs[0].shape[0], int)
    answers = []
    progress.start(f"scoring with {path.name}", len(rows), "objects")
    for _, images in dataset.blocks(rows, inputs[0].shape[0] if single else _BATCH):
        fed = convert(images)
        fed = np.ascontiguousarray(fed.transpose(0, 3, 1, 2) if chosen == "NCHW" else fed)
        missing = inputs[0].shape[0] - len(fed) if single else 0  # a fixed batch is filled up and cut again
        padded = np.concatenate([fed, np.repeat(fed[-1:], missing, axis=0)]) if missing > 0 else fed
        answers.append(np.asarray(session.run([output_name], {inputs[0].name: padded})[0])[: len(fed)])
        progress.advance(len(fed))
    progress.finish()
    output = _probabilities(np.concatenate(answers), dataset, path, progress)
    groups = None if dataset.groups is None else np.asarray(dataset.groups)[rows]
    truth = np.asarray(dataset.labels)[rows]
    task, classes = dataset.task, dataset.classes
    terms = asked.terms(columns=columns_of(dataset, rows, asked.by))
    return judge(
        truth, output, task=task, classes=classes, groups=groups, resamples=resamples, seed=seed, terms=terms
    )  # fmt: skip


def _session(path: Path) -> Any:
    """An ONNX Runtime session of the file; SourceError when it cannot be run."""
    import onnxruntime

    if not path.is_file():
        raise SourceError("there is no such file", where=path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = machine.threads()
    try:
        # From bytes: a model that points to files beside it cannot make us read them.
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except _runtime_errors() as error:
        raise SourceError("is not an ONNX model that can be run", where=path, got=str(error).splitlines()[0]) from error
    return session


def _runtime_errors() -> tuple[type[Exception], ...]:
    """The errors of ONNX Runtime, which have no public base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = [v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception)]
    return (RuntimeError, ValueError, *own)


def _layout(shape: Sequence[Any], dataset: Dataset, asked: str, path: Path) -> str:
    if dataset.shape is None:
        raise ContractError("needs images", where=path, got=f"{dataset.path.name} holds a table only")
    height, width, channels = dataset.shape
    sides = {"NCHW": (channels, height, width), "NHWC": (height, width, channels)}
    fits = [
        name
        for name, side in sides.items()
        if len(shape) == 4 and all(not isinstance(s, int) or s == d for s, d in zip(shape[1:], side, strict=True))
    ]
    if not fits or (asked and asked not in fits):
        raise ContractError(
            "the model's input does not fit the images",
            where=path,
            allowed=" x ".join(map(str, shape)),
            got=f"{height} x {width} x {channels} (height, width, channels)" + (f", {asked}" if asked else ""),
        )
    if asked or len(fits) == 1:
        return asked or fits[0]
    raise InputError(
        "the model's input fits the images both ways",
        where=path,
        got=" x ".join(map(str, shape)),
        cure="State --layout NCHW or --layout NHWC.",
    )


def _conversion(kind: str, dataset: Dataset, asked: str, path: Path) -> Callable[[np.ndarray], np.ndarray]:
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    types |= {"tensor(uint16)": np.uint16, "tensor(float16)": np.float16}
    if kind not in types:
        raise ContractError("the model's input has a type that no image has", where=path, got=kind)
    wanted, stored = np.dtype(types[kind]), np.dtype(dataset.dtype)
    if asked and asked not in _SCALES:
        raise InputError(f"unknown scale {asked!r}", allowed=", ".join(_SCALES), cure=nearest(asked, _SCALES))
    if wanted.kind == "u":
        if stored != wanted or asked not in ("", "raw"):
            raise ContractError("the model takes other pixels", where=path, allowed=str(wanted), got=str(stored))
        return lambda images: images
    if stored.kind != "u":
        if asked not in ("", "raw"):
            raise InputError("float pixels have no known top to scale by", where=path, allowed="raw", got=asked)
        return lambda images: images.astype(wanted)
    if not asked:
        raise InputError(
            "the model takes floats and the images are whole numbers",
            where=path,
            got=f"{kind} and {stored}",
            cure="State --scale raw, --scale unit (0 to 1) or --scale symmetric (-1 to 1).",
        )
    top = float(np.iinfo(stored).max)
    return lambda images: _SCALES[asked](images, top).astype(wanted)


def _probabilities(output: np.ndarray, dataset: Dataset, path: Path, progress: Progress) -> np.ndarray:
    """The model's output as (n, k) probabilities or (n,) values."""
    output = output.reshape(len(output), -1).astype(np.float64)
    k = 1 if dataset.task == "regression" else len(dataset.classes)
    one_for_two = k == 2 and output.shape[1] == 1
    if output.shape[1] != k and not one_for_two:
        raise ContractError(
            "the model has another number of outputs than there are classes",
            where=path,
            allowed=f"{k} ({', '.join(dataset.classes[:8])})" if dataset.classes else "1",
            got=str(output.shape[1]),
        )
    if dataset.task == "regression":
        return output[:, 0]
    if not np.isfinite(output).all():
        raise ContractError("the model answers NaN or infinity", where=path)
    if one_for_two:
        if output.min() < 0 or output.max() > 1:
            progress.say("its one output is no probability: taken as a logit of the second class")
            output = 1 / (1 + np.exp(-output))
        return np.hstack([1 - output, output])
    if output.min() < 0 or np.abs(output.sum(axis=1) - 1).max() > 1e-3:
        progress.say("its outputs are no probabilities: taken as logits, softmax applied")
        output = np.exp(output - output.max(axis=1, keepdims=True))
        output /= output.sum(axis=1, keepdims=True)
    return output
