"""From a fitted classifier of a table to a bundle: ONNX, checked against scikit-learn row by row, and its papers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from estampa import machine
from estampa.bundle import reference as references
from estampa.bundle.card import card
from estampa.bundle.contract_table import TableContract, batch_of, out_of_range_rows, table_contract_of
from estampa.bundle.manifest import Parity, metadata, papers
from estampa.bundle.presets import Presets, chosen
from estampa.bundle.session import TABLE_INPUT, Session
from estampa.bundle.store import Bundle, Content, plain, record_tensor, write
from estampa.bundle.table_graph import IR, ML, ML_OPSET, OPSET, Graph, probabilities, tied
from estampa.data.dataset import Dataset
from estampa.errors import BundleError
from estampa.prepare.table import TablePreparation
from estampa.train.fitted_table import LEAST_PROBABILITY, raw_rows

if TYPE_CHECKING:
    from estampa.train.fitted_table import FittedTable

#: Probabilities of the graph differ from scikit-learn's by at most this, on every row that is compared.
TOLERANCE = 1e-5
#: Rows at most that the contract's ranges and the reference are measured on.
SAMPLE = 65_536
_REFERENCE = 4096
_SINGLES = 16


def bundle_from_table(
    fitted: FittedTable,
    dataset: Dataset,
    rows: Mapping[str, np.ndarray],
    metrics: Mapping[str, Any],
    folder: Path,
    *,
    gallery: bool = True,
    extra: Mapping[str, Any] | None = None,
    test_rows: np.ndarray | None = None,
) -> Bundle:
    """Export a fitted classifier and write its bundle to `folder`.

    Parameters
    ----------
    rows : part ("train", "validation", "test") -> row numbers of `dataset`.
    metrics : as `evaluate --json` gives them; its "part" says which part was judged (none = "test").
    gallery : keep at most 24 rows of the validation part; False where rows must not be passed on.
    extra : `thresholds` ({"decision": ..., "confidence": ...}) and `card` (answers by the keys of `card.ASKED`).
    test_rows : rows that the graph is compared with scikit-learn on, each of them; None = the test part, or where
        there is none the validation part, or the training part.

    Raises BundleError when one answer differs by more than `TOLERANCE`, or when the estimator has no graph.
    """
    machine.require("train", "onnx", "skl2onnx", needed_for="export")
    extra = extra or {}
    train = rows["train"]
    validation = rows.get("validation", train[:0])
    graph = graph_of(fitted)
    contract = _contract(fitted, dataset, train, graph.batch)
    tree = _manifest(fitted, dataset, rows, metrics, contract) | {
        "reference_part": "validation" if len(validation) else "train",
        "thresholds": dict(extra.get("thresholds", {})),
    }  # fmt: skip
    onnx = _model(graph, fitted, metadata(plain(tree)))
    session = Session(onnx, contract)
    compared = test_rows if test_rows is not None else next(
        (r for r in (rows.get("test", train[:0]), validation) if len(r)), train
    )  # fmt: skip
    tree |= {"outputs": session.outputs, "parity": check_parity(fitted, session, dataset, compared)}
    judged = _spread(validation if len(validation) else train)
    presets = _presets(fitted, dataset, judged) if gallery else None
    return write(
        folder,
        Content(
            manifest=tree,
            onnx=onnx,
            prepare={**fitted.preparation.state(), **record_tensor(fitted.preparation.record())},
            reference=_reference(fitted, session, contract, dataset, judged),
            held=references.held({p: (dataset.ids[r], dataset.hashes[r]) for p, r in rows.items()}),
            presets=presets,
            card=card(plain(tree), extra.get("card"), presets),
        ),
    )


def graph_of(fitted: FittedTable) -> Graph:
    """The graph from prepared rows `table` (n, features) float32 to `output` and `logits`, (n, classes) float32.

    `logits` are the logarithms of the estimator's probabilities, none taken for less than `LEAST_PROBABILITY`, over
    the temperature. At temperature 1 `output` holds the very probabilities, zeros included; at any other the softmax
    of `logits`, where a class of probability 0 has a little.
    """
    machine.require("train", "onnx", "skl2onnx", needed_for="export")
    names = fitted.preparation.names
    graph = Graph(TABLE_INPUT, len(names), batch_of(len(fitted.preparation.columns), len(names)))
    known = np.asarray(fitted.estimator.classes_, np.int64)
    chances = probabilities(graph, fitted.estimator)
    if len(known) != len(fitted.classes):  # a class that training had no object of: its probability is 0
        spread = np.zeros((len(known), len(fitted.classes)), np.float32)
        spread[np.arange(len(known)), known] = 1
        chances = graph.add("MatMul", chances, graph.constant(spread))
    least = graph.constant(np.array([LEAST_PROBABILITY], np.float32))
    logarithms = graph.add("Log", graph.add("Max", chances, least))
    heat = graph.constant(np.array([fitted.temperature], np.float32))
    logits = graph.add("Div", logarithms, heat, output="logits")
    if fitted.temperature == 1:
        graph.add("Identity", chances, output="output")
    else:
        graph.add("Softmax", logits, output="output", axis=1)
    return graph


def _model(graph: Graph, fitted: FittedTable, entries: Mapping[str, str]) -> bytes:
    """The graph as an ONNX file with `entries` as its metadata."""
    from onnx import TensorProto, helper

    said = [helper.make_tensor_value_info(graph.input, TensorProto.FLOAT, ["batch", graph.features])]
    out = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(fitted.classes)])
        for name in ("output", "logits")
    ]
    made = helper.make_graph(graph.nodes, "table", said, out, graph.constants)
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR, producer_name="estampa")
    helper.set_model_props(model, dict(entries))
    return bytes(model.SerializeToString())


def check_parity(fitted: FittedTable, session: Session, dataset: Dataset, rows: np.ndarray) -> Parity:
    """Compare the graph with scikit-learn on every one of `rows`, and some one by one.

    Rows of nearest neighbours whose last neighbour is as far as the first that is left out have two right answers:
    they are counted apart. Raises BundleError where any other answer differs by more than `TOLERANCE`.
    """
    worst, ties = 0.0, 0
    for start in range(0, len(rows), SAMPLE):
        some = rows[start : start + SAMPLE]
        features = fitted.preparation.transform(raw_rows(dataset, fitted.preparation.columns, some))
        ours = fitted.predict(dataset, some)
        theirs = session.score(features, wanted=("output",)).output
        few = np.arange(min(_SINGLES, len(features)))
        alone = np.concatenate([session.run_whole(features[i : i + 1]).output for i in few])
        if not np.isfinite(theirs).all():
            raise BundleError("the exported model gives answers that are not numbers")
        apart = np.abs(ours.astype(np.float64) - theirs).max(axis=1)
        apart[few] = np.maximum(apart[few], np.abs(ours[few].astype(np.float64) - alone).max(axis=1))
        far = np.flatnonzero(apart > TOLERANCE)
        both_right = tied(fitted.estimator, features[far])
        ties += int(both_right.sum())
        apart[far[both_right]] = 0
        worst = max(worst, float(apart.max(initial=0)))
        if worst > TOLERANCE:
            row = int(apart.argmax())
            raise BundleError(
                "the exported model differs from scikit-learn's", where=f"row {dataset.ids[some[row]]}",
                allowed=f"{TOLERANCE:g} in probability", got=f"{apart[row]:g}",
                cure="This is a fault of the export of this estimator; please report it with the recipe.",
            )  # fmt: skip
    return Parity(rows=len(rows), tolerance=TOLERANCE, output=worst, ties=ties)


def _contract(fitted: FittedTable, dataset: Dataset, train: np.ndarray, batch: int) -> TableContract:
    preparation = fitted.preparation
    values = raw_rows(dataset, preparation.columns, _spread(train, SAMPLE))
    return table_contract_of(
        dataset.header, preparation.columns, preparation.names, values, preparation.invalid(values),
        invalid_rule=preparation.how, batch=batch,
    )  # fmt: skip


def _manifest(
    fitted: FittedTable,
    dataset: Dataset,
    rows: Mapping[str, np.ndarray],
    metrics: Mapping[str, Any],
    contract: TableContract,
) -> dict[str, Any]:
    header = dataset.header
    used = ("estampa", "sklearn", "numpy", "onnx", "skl2onnx", "onnxruntime")
    return papers(header, fitted.recipe, dataset.content_sha256, rows, used) | {
        "task": "classification",
        "classes": fitted.classes,
        "display": header.display if header.classes == fitted.classes else {},
        "contract": contract,
        "metrics": metrics,
        "model": {
            "name": fitted.recipe.model.name, "parameters": fitted.parameters,
            "estimator": type(fitted.estimator).__name__, "counted": _size(fitted),
            "temperature": fitted.temperature,
        },
        "prepare": {
            "kind": "table", "invalid": fitted.preparation.how, "scaled": fitted.preparation.scaled,
            "rules": len(fitted.preparation.rules), "derived": [item.name for item in fitted.preparation.made],
        },
        "decisions": fitted.decisions,
    }  # fmt: skip


def _size(fitted: FittedTable) -> str:
    """What the model holds, in words."""
    estimator = fitted.estimator
    if hasattr(estimator, "n_samples_fit_"):
        return f"{estimator.n_samples_fit_:,} rows of the training part, kept in the model"
    return "" if fitted.parameters is None else f"{fitted.parameters:,} numbers"


def _reference(
    fitted: FittedTable, session: Session, contract: TableContract, dataset: Dataset, rows: np.ndarray
) -> dict[str, np.ndarray]:
    """The prepared rows, answers and labels of the validation part."""
    preparation = fitted.preparation
    raw = raw_rows(dataset, preparation.columns, rows).astype(np.float64)
    features = preparation.transform(raw)
    output = session.score(features, wanted=("output",)).output
    groups = None if dataset.groups is None else dataset.groups[rows]
    told = references.reference_table(features, output, dataset.labels[rows])
    return told | references.flagged(_marks(preparation, contract, raw)) | references.group_codes(groups)


def _marks(preparation: TablePreparation, contract: TableContract, raw: np.ndarray) -> dict[str, np.ndarray]:
    """Which answers carry which flag, as `predict` gives them."""
    failed, good = preparation.invalid(raw), ~preparation.unanswered(raw)
    needed = np.array([name in preparation.needed for name in preparation.columns])
    told = {"invalid": ~good, "out_of_range": good & out_of_range_rows(contract, raw, failed)}
    if contract.invalid == "impute":
        told["imputed"] = good & (failed & needed).any(axis=1)
    return told


def _presets(fitted: FittedTable, dataset: Dataset, rows: np.ndarray) -> Presets | None:
    """Rows to try the model on, of those that it answers; None where there are none."""
    raw = raw_rows(dataset, fitted.preparation.columns, rows).astype(np.float64)
    good = ~fitted.preparation.unanswered(raw)
    rows, raw = rows[good], raw[good]
    labels = dataset.labels[rows]
    return Presets(labels, dataset.ids[rows], rows=raw).kept(chosen(labels, len(fitted.classes), raw[:1].nbytes))


def _spread(rows: np.ndarray, most: int = _REFERENCE) -> np.ndarray:
    """At most `most` rows, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
