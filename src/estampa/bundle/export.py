"""From a trained network to a bundle: ONNX, checked against torch, and everything that travels with it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from estampa import machine
from estampa.bundle import reference as references
from estampa.bundle.card import card
from estampa.bundle.contract import SAMPLE, InputContract, contract_of, measure_range, out_of_range
from estampa.bundle.int8 import measured, quantised
from estampa.bundle.manifest import Int8, Parity, metadata, papers
from estampa.bundle.presets import Presets, answered, chosen
from estampa.bundle.session import INPUT, Scores, Session
from estampa.bundle.store import Bundle, Content, plain, write
from estampa.data.dataset import Dataset
from estampa.errors import BundleError
from estampa.plain import counted

if TYPE_CHECKING:
    from estampa.train.fitted import Fitted

#: Probabilities of the exported model differ from torch's by at most this; logits and values by at most this times
#: (1 + the largest of them), since float32 sums are added in another order.
TOLERANCE = 1e-4
_PARITY_ROWS, _SINGLES = 128, 8
_CHATTY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


@dataclass(frozen=True)
class Exported:
    """An ONNX model and how closely it agrees with torch."""

    onnx: bytes
    parity: Parity


def export_network(network: nn.Module, contract: InputContract, names: tuple[str, ...], sample: np.ndarray) -> Exported:
    """Export to one ONNX file and check it against torch, picture by picture and as one batch.

    Parameters
    ----------
    network : `models._network.Network`, or any module of its signature: stored pixels (n, h, w, c) to tensors `names`.
    contract : what one row of input is.
    names : the outputs in order, of "output", "logits", "embedding".
    sample : real pictures (m, h, w, c) of the stored type; some are compared one by one, all as a batch.

    Raises BundleError when the two differ by more than `TOLERANCE` or would answer with another class.
    """
    network = network.cpu().eval()
    images = torch.from_numpy(np.ascontiguousarray(_probe(sample)[:2]))
    batch = torch.export.Dim("batch", min=1)
    with _quiet(), torch.inference_mode():
        program = torch.onnx.export(
            network, (images,), dynamo=True, external_data=False, verbose=False, input_names=[INPUT],
            output_names=list(names), dynamic_shapes=({0: batch},),
        )  # fmt: skip
    if program is None:
        raise BundleError("torch exported nothing")
    data = _stripped(program.model_proto).SerializeToString()
    return Exported(data, _parity(network, contract, names, data, _probe(sample)))


def with_metadata(model: bytes, entries: Mapping[str, str]) -> bytes:
    """The model with `entries` as its metadata_props, for runtimes that never see bundle.json."""
    import onnx

    proto = onnx.load_model_from_string(model)
    onnx.helper.set_model_props(proto, dict(entries))
    return bytes(proto.SerializeToString())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter prints, logs and warns of; an exception passes, with the chatter as its note."""
    said = io.StringIO()
    loggers = [logging.getLogger(name) for name in _CHATTY]
    loggers += [v for k, v in logging.root.manager.loggerDict.items() if k.startswith(_CHATTY) and _is_logger(v)]  # type: ignore[misc]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    except Exception as error:
        error.add_note(f"The exporter said: {said.getvalue().strip() or 'nothing'}")
        raise
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _is_logger(value: object) -> bool:
    return isinstance(value, logging.Logger)


def _stripped(model: Any) -> Any:
    """The model without the exporter's notes, which hold paths and lines of source of this machine."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:]
    graph = model.graph
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    return model


def _probe(sample: np.ndarray) -> np.ndarray:
    """Pictures to compare on: real ones and the extremes that they may lack (for floats also NaN and infinities)."""
    shape, dtype = sample.shape[1:], sample.dtype
    rows = [sample[:_PARITY_ROWS], np.zeros((1, *shape), dtype)]
    if dtype.kind == "u":
        rows.append(np.full((1, *shape), np.iinfo(dtype).max, dtype))
    else:
        holes = sample[:1].copy()
        holes.reshape(-1)[::7] = np.nan
        holes.reshape(-1)[3::11] = np.inf
        rows.append(holes)
    return np.concatenate(rows)


def _parity(
    network: nn.Module, contract: InputContract, names: tuple[str, ...], model: bytes, images: np.ndarray
) -> Parity:
    with torch.inference_mode():
        found = network(torch.from_numpy(images))
    ours = Scores(**{name: t.numpy() for name, t in zip(names, found, strict=True)})
    session = Session(model, contract)
    if set(session.outputs) != set(names):
        raise BundleError("the exported model has other outputs", allowed=", ".join(names), got=session.outputs)
    together = session.run_whole(images)
    singles = session.score(images, threads=1) if len(images) <= _SINGLES else _one_by_one(session, images)
    worst = {"output": 0.0, "logits": 0.0}
    for theirs, rows in ((together, np.arange(len(images))), (singles, _single_rows(len(images)))):
        for name in names:
            a, b = getattr(ours, name)[rows], getattr(theirs, name)
            _compare(name, a, b, contract, worst)
        if ours.logits is not None:
            _same_class(ours.output[rows], theirs.output)
    return Parity(
        rows=len(images), tolerance=TOLERANCE, output=worst["output"],
        logits=worst["logits"] if ours.logits is not None else None,
    )  # fmt: skip


def _single_rows(n: int) -> np.ndarray:
    """Which rows are also scored alone: the first few and the two extremes at the end."""
    return np.unique(np.r_[: min(_SINGLES, n), max(n - 2, 0) : n])


def _one_by_one(session: Session, images: np.ndarray) -> Scores:
    parts = [session.run_whole(images[i : i + 1]) for i in _single_rows(len(images))]
    return Scores(
        *(
            None if getattr(parts[0], k) is None else np.concatenate([getattr(p, k) for p in parts])  # type: ignore[arg-type]
            for k in ("output", "logits", "embedding")
        )
    )


def _compare(name: str, ours: np.ndarray, theirs: np.ndarray, contract: InputContract, worst: dict[str, float]) -> None:
    """Raise BundleError when one output differs by more than is allowed; NaN (a refused pixel) must be NaN in both."""
    if ours.shape != theirs.shape or (np.isnan(ours) != np.isnan(theirs)).any():
        raise BundleError(
            f"the exported model's {name} has another shape or other gaps", allowed=ours.shape, got=theirs.shape
        )
    known = ~np.isnan(ours)
    difference = float(np.abs(ours[known].astype(np.float64) - theirs[known]).max(initial=0.0))
    is_probability = name == "output" and ours.ndim == 2
    scale = 1.0 if is_probability else 1.0 + float(np.abs(ours[known]).max(initial=0.0))
    worst[name] = max(worst.get(name, 0.0), difference)
    if difference > TOLERANCE * scale:
        raise BundleError(
            f"the exported model differs from the trained one in {name!r}", where=contract.words(),
            allowed=f"{TOLERANCE * scale:g}", got=f"{difference:g}",
            cure="This is a fault of the exporter with this net; please report it with the recipe.",
        )  # fmt: skip


def _same_class(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The same class everywhere, save where torch's own first two lie closer together than the tolerance."""
    top = np.sort(ours, axis=1)
    decided = top[:, -1] - top[:, -2] > 2 * TOLERANCE
    if (ours.argmax(axis=1) != theirs.argmax(axis=1))[decided].any():
        raise BundleError("the exported model answers with another class than the trained one")


def shrink(fitted: Fitted, dataset: Dataset, train: np.ndarray, validation: np.ndarray) -> Int8:
    """Round the exported graph to int8, and measure on the validation rows what that costs.

    Where it costs little enough, `fitted` answers by the rounded graph from now on, so that temperature, thresholds
    and figures are of what `bundle_from` will ship. Raises BundleError without validation rows or convolutions.
    """
    machine.require("train", "onnx", "onnxscript", needed_for="export")
    fitted.rounded, names = None, fitted.network.output_names
    fitted.network.temperature.fill_(1.0)
    seen = _images(dataset, _sampled(train, dataset))
    contract = contract_of(dataset.header, measure_range(seen), fitted.preparation.nan)
    exact = export_network(fitted.network, contract, names, seen).onnx
    made = quantised(exact, seen)
    found = measured(
        exact, made, contract, lambda: (images for _, images in dataset.blocks(validation)), dataset.labels[validation]
    )
    if found.kept:
        session = Session(made, contract)

        def answer(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            scores = session.score(images, wanted=("logits", "embedding"))
            assert scores.logits is not None
            assert scores.embedding is not None
            return scores.logits, scores.embedding

        fitted.rounded = answer
    return found


def bundle_from(
    fitted: Fitted,
    dataset: Dataset,
    rows: Mapping[str, np.ndarray],
    metrics: Mapping[str, Any],
    folder: Path,
    *,
    gallery: bool = True,
    extra: Mapping[str, Any] | None = None,
) -> Bundle:
    """Export a trained network and write its bundle to `folder`.

    Parameters
    ----------
    rows : part ("train", "validation", "test") -> row numbers of `dataset`.
    metrics : as `evaluate --json` gives them; its "part" says which part was judged (none = "test").
    gallery : keep at most 1,000 thumbnails of the training part, and at most 24 pictures of the validation part as they
        are stored; False where pictures must not be passed on.
    extra : `thresholds` ({"decision": ..., "confidence": ...}), `card` (answers by the keys of `card.ASKED`) and `int8`
        (what `shrink` found; the graph is rounded where it was kept).
    """
    machine.require("train", "onnx", "onnxscript", needed_for="export")
    extra = extra or {}
    train = rows["train"]
    seen = _images(dataset, _sampled(train, dataset))
    contract = contract_of(dataset.header, measure_range(seen), fitted.preparation.nan)
    validation = rows.get("validation", train[:0])
    judged = validation if len(validation) else _sampled(train, dataset)
    exported = export_network(fitted.network, contract, fitted.network.output_names, seen)
    tree = _manifest(fitted, dataset, rows, metrics, contract) | {
        "parity": exported.parity, "reference_part": "validation" if len(validation) else "train",
        "thresholds": dict(extra.get("thresholds", {})), "int8": extra.get("int8"),
    }  # fmt: skip
    graph = exported.onnx if fitted.rounded is None else quantised(exported.onnx, seen)
    onnx = with_metadata(graph, metadata(plain(tree)))
    session = Session(onnx, contract)
    tree["outputs"] = session.outputs
    presets = _presets(contract, dataset, judged) if gallery else None
    return write(
        folder,
        Content(
            manifest=tree,
            onnx=onnx,
            weights={k: v.detach().cpu().numpy() for k, v in fitted.network.state_dict().items()},
            prepare=fitted.preparation.state(),
            reference=_reference(session, contract, dataset, judged),
            held=references.held({p: (dataset.ids[r], dataset.hashes[r]) for p, r in rows.items()}),
            gallery=_gallery(session, dataset, train) if gallery else None,
            presets=presets,
            card=card(plain(tree), extra.get("card"), presets),
        ),
    )


def _manifest(
    fitted: Fitted,
    dataset: Dataset,
    rows: Mapping[str, np.ndarray],
    metrics: Mapping[str, Any],
    contract: InputContract,
) -> dict[str, Any]:
    header = dataset.header
    used = ("estampa", "torch", "numpy", "onnx", "onnxscript", "onnxruntime")
    return papers(header, fitted.recipe, dataset.content_sha256, rows, used) | {
        "task": fitted.network.task,
        "classes": header.classes if fitted.network.task == "classification" else (),
        "display": header.display if fitted.network.task == "classification" else {},
        "contract": contract,
        "metrics": metrics,
        "model": {
            "name": fitted.recipe.model.name, "parameters": fitted.parameters, "kept_epoch": fitted.kept_epoch,
            "epochs": len(fitted.history), "counted": counted(fitted.parameters, fitted.layers),
        },
        "prepare": fitted.preparation.to_record(),
        "decisions": fitted.decisions,
    }  # fmt: skip


def _sampled(rows: np.ndarray, dataset: Dataset) -> np.ndarray:
    """At most `SAMPLE` rows and 32 million values, evenly spread."""
    assert dataset.shape is not None
    most = min(SAMPLE, max(_PARITY_ROWS, (1 << 25) // int(np.prod(dataset.shape))))
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def _images(dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    blocks = [images for _, images in dataset.blocks(rows)]
    assert dataset.shape is not None
    return np.concatenate(blocks) if blocks else np.zeros((0, *dataset.shape), dataset.dtype)


def _marks(contract: InputContract, images: np.ndarray) -> dict[str, np.ndarray]:
    """Which answers carry which flag, as `predict` gives them."""
    good = answered(contract, images)
    holes = ~np.isfinite(images).all(axis=(1, 2, 3))
    return {"unreadable": ~good, "not_finite": good & holes, "out_of_range": good & out_of_range(contract, images)}


def _reference(session: Session, contract: InputContract, dataset: Dataset, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The reference of the validation part, block by block; the training part stands in where there is none."""
    made: list[dict[str, np.ndarray]] = []
    for numbers, images in dataset.blocks(rows):
        scores = session.score(images)
        embedding = scores.embedding if scores.embedding is not None else scores.output.reshape(len(images), -1)
        told = references.reference(images, scores.output, dataset.labels[numbers], embedding)
        made.append(told | references.flagged(_marks(contract, images)))
    joined = {k: np.concatenate([m[k] for m in made]) for k in made[0]}
    groups = None if dataset.groups is None else dataset.groups[rows]
    return joined | {"projection": made[0]["projection"]} | references.group_codes(groups)


def _presets(contract: InputContract, dataset: Dataset, rows: np.ndarray) -> Presets | None:
    """Pictures to try the model on, of those that it answers; None where there are none, or each is too large."""
    classes = len(dataset.classes) if dataset.task == "classification" else 0
    size = int(np.prod(contract.shape)) * np.dtype(contract.dtype).itemsize
    few = rows[chosen(dataset.labels[rows], classes, size)]
    images = _images(dataset, few)
    return Presets(dataset.labels[few], dataset.ids[few], images=images).kept(answered(contract, images))


def _gallery(session: Session, dataset: Dataset, train: np.ndarray) -> dict[str, np.ndarray]:
    labels = dataset.labels[train]
    classes = len(dataset.classes) if dataset.task == "classification" else 0
    rows = train[references.gallery_rows(labels, classes)]
    images = _images(dataset, rows)
    scores = session.score(images)
    embedding = scores.embedding if scores.embedding is not None else scores.output.reshape(len(images), -1)
    return references.gallery(images, dataset.labels[rows], dataset.ids[rows], embedding, classes)
