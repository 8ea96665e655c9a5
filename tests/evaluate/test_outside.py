"""Answers from elsewhere: files joined by id, ONNX models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from estampa.errors import ContractError, InputError, SourceError
from estampa.evaluate.judge import judge
from estampa.evaluate.outside import judge_files
from estampa.evaluate.outside_onnx import judge_onnx

LABELS = "id,label,field\na,bogus,1\nb,real,1\nc,real,2\nd,bogus,2\n"
ANSWERS = (
    "id,predicted,p_real,p_bogus,flags,model\nd,bogus,.2,.8,,x\na,bogus,.1,.9,,x\nb,real,.9,.1,,x\nc,bogus,.4,.6,,x\n"
)


def files(folder: Path, answers: str = ANSWERS, labels: str = LABELS) -> tuple[Path, Path]:
    (folder / "p.csv").write_text(answers, encoding="utf-8")
    (folder / "y.csv").write_text(labels, encoding="utf-8")
    return folder / "p.csv", folder / "y.csv"


def test_joined_by_id_in_the_declared_class_order(tmp_path: Path) -> None:
    found = judge_files(*files(tmp_path))
    assert found.classes == ("real", "bogus")
    assert found.n == 4
    assert found.metrics["accuracy"].value == 0.75
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 1], [0, 2]]
    expected = sk.log_loss([1, 0, 0, 1], [[0.1, 0.9], [0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
    assert found.metrics["log_loss"].value == pytest.approx(expected)
    assert judge_files(*files(tmp_path), classes=("bogus", "real")).classes == ("bogus", "real")
    assert judge_files(*files(tmp_path), group="field").groups == 2


def test_without_probabilities(tmp_path: Path) -> None:
    found = judge_files(*files(tmp_path, "id,predicted\na,bogus\nb,real\nc,real\nd,real\n"))
    assert found.classes == ("bogus", "real")
    assert "log_loss" not in found.metrics
    numbers = judge_files(*files(tmp_path, "id,predicted\na,10\nb,2\n", "id,label\na,10\nb,10\n"))
    assert numbers.classes == ("2", "10")  # by number, not by letter


def test_probabilities_alone_are_enough(tmp_path: Path) -> None:
    assert judge_files(*files(tmp_path, "id,p_real,p_bogus\na,.1,.9\nb,.9,.1\nc,.9,.1\nd,.2,.8\n")).n == 4


def test_odd_class_names(tmp_path: Path) -> None:
    answers = "id,predicted,p_id,p_p_x,p_ñandú\n1,id,.8,.1,.1\n2,p_x,.1,.8,.1\n3,ñandú,.1,.1,.8\n"
    found = judge_files(*files(tmp_path, answers, "\ufeffid,label\n1,id\n2,p_x\n3,ñandú\n"))
    assert found.classes == ("id", "p_x", "ñandú")
    assert found.metrics["accuracy"].value == 1


def test_regression(tmp_path: Path) -> None:
    found = judge_files(*files(tmp_path, "id,predicted\na,1.5\nb,2\nc,3\n", "id,y\na,1\nb,2.5\nc,3\n"))
    assert found.task == "regression"
    assert found.metrics["mae"].value == pytest.approx(1 / 3)
    whole = files(tmp_path, "id,predicted\na,1\nb,2\n", "id,y\na,1\nb,3\n")
    assert judge_files(*whole).task == "classification"
    assert judge_files(*whole, task="regression").metrics["mse"].value == 0.5


def test_json_lines_and_parquet_say_the_same(tmp_path: Path) -> None:
    answers, labels = files(tmp_path)
    expected = judge_files(answers, labels).to_json()
    rows = [line.split(",") for line in ANSWERS.splitlines()[1:]]
    records = [
        {"id": r[0], "predicted": r[1], "probabilities": {"real": float(r[2]), "bogus": float(r[3])}} for r in rows
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert judge_files(tmp_path / "p.jsonl", labels).to_json() == expected
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    flat = [
        {"id": r["id"], "p_real": r["probabilities"]["real"], "p_bogus": r["probabilities"]["bogus"]} for r in records
    ]  # type: ignore[index]
    parquet.write_table(arrow.Table.from_pylist(flat), tmp_path / "p.parquet")
    assert judge_files(tmp_path / "p.parquet", labels).to_json() == expected


def test_labels_from_a_dataset(tmp_path: Path, blobs: Any) -> None:
    names = [blobs.classes[c] for c in blobs.labels]
    text = "id,predicted\n" + "".join(f"{i},{n}\n" for i, n in zip(blobs.ids, names, strict=True))
    (tmp_path / "p.csv").write_text(text)
    found = judge_files(tmp_path / "p.csv", blobs.path)
    assert found.classes == blobs.classes
    assert found.metrics["accuracy"].value == 1


@pytest.mark.parametrize(
    ("answers", "labels", "message"),
    [
        ("id,predicted\na,real\nb,real\nz,real\n", LABELS, "2 ids of y.csv have no prediction: c, d; 1 ids have .*: z"),
        ("id,predicted\na,real\na,real\n", LABELS, "ids occur twice.*a"),
        ("name,predicted\na,real\n", LABELS, "no column 'id'"),
        ("id,said\na,x\nb,x\nc,x\nd,x\n", LABELS, "no column 'predicted'"),
        ("id,predicted,flags\na,,unreadable:cut\nb,real,\nc,real,\nd,real,\n", LABELS, "no answer for id"),
        (ANSWERS.replace("p_bogus", "p_bogs"), LABELS, "Did you mean 'bogs'|is no class"),
        (ANSWERS.replace(".4,.6", ".4,nan"), LABELS, "no finite number"),
        (ANSWERS.replace(".4,.6", ".4,.9"), LABELS, "do not sum to 1"),
        (ANSWERS, "id,colour\na,b\n", "no column of labels"),
        ("id,predicted\n", LABELS, "no rows"),
        ("id,predicted\na\n", LABELS, "another number of cells"),
        (ANSWERS, "id,label\na,bogus,x\n", "another number of cells"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(tmp_path: Path, answers: str, labels: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        judge_files(*files(tmp_path, answers, labels))
    assert caught.value.exit_code == 2


def test_files_that_are_none(tmp_path: Path) -> None:
    answers, labels = files(tmp_path)
    with pytest.raises(SourceError, match="no such file"):
        judge_files(tmp_path / "nothing.csv", labels)
    answers.write_bytes(b"\xff\xfe\x00id")
    with pytest.raises(SourceError, match="cannot be read as a table"):
        judge_files(answers, labels)
    with pytest.raises(InputError, match="Did you mean 'field'"):
        judge_files(*files(tmp_path), group="fields")
    with pytest.raises(InputError, match="do not match"):
        judge_files(*files(tmp_path), classes=("real", "bogus", "third"))


# ---- ONNX ----


def linear(path: Path, shape: list[Any], weights: np.ndarray, *, kind: int = 1, softmax: bool = False) -> Path:
    """An ONNX model: flatten, multiply, perhaps softmax."""
    from onnx import TensorProto, checker, helper, numpy_helper, save

    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["f"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["z"]),
        helper.make_node("Softmax", ["z"], ["y"]) if softmax else helper.make_node("Identity", ["z"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], weights.shape[1]])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, path)
    return path


@pytest.fixture
def weights() -> np.ndarray:
    """Sums of the three thirds of a 6 x 6 picture, rows times 10."""
    found = np.zeros((36, 3))
    for c in range(3):
        found[12 * c : 12 * c + 12, c] = 1.0
    return found


@pytest.mark.parametrize("batch", ["n", 32])
def test_onnx_logits_and_probabilities_agree(tmp_path: Path, blobs: Any, weights: np.ndarray, batch: Any) -> None:
    rows = blobs.rows("test")
    z = blobs.take(rows).reshape(90, -1) / 255 @ weights
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = judge(blobs.labels[rows], p, task="classification", classes=blobs.classes)
    for softmax in (False, True):
        path = linear(tmp_path / "m.onnx", [batch, 1, 6, 6], weights, softmax=softmax)
        found = judge_onnx(path, blobs, rows, scale="unit")
        assert found.metrics["log_loss"].value == pytest.approx(expected.metrics["log_loss"].value, abs=1e-5)
        assert (found.confusion == expected.confusion).all()


def test_onnx_layout(tmp_path: Path, weights: np.ndarray, make_dataset: Any) -> None:
    rng = np.random.default_rng(0)
    cube = make_dataset(rng.random((20, 3, 3, 3)).astype(np.float32), rng.integers(0, 3, 20), classes=("a", "b", "c"))
    path = linear(tmp_path / "m.onnx", ["n", 3, 3, 3], rng.normal(size=(27, 3)))
    rows = np.arange(20)
    with pytest.raises(InputError, match=r"both ways.*--layout NCHW"):
        judge_onnx(path, cube, rows)
    one, two = (judge_onnx(path, cube, rows, layout=layout).metrics["log_loss"].value for layout in ("NCHW", "NHWC"))
    assert one != two
    wide = linear(tmp_path / "w.onnx", ["n", 5, 5, 3], rng.normal(size=(75, 3)))
    with pytest.raises(ContractError, match=r"n x 5 x 5 x 3.*3 x 3 x 3"):
        judge_onnx(wide, cube, rows)


def test_onnx_scale_must_be_stated(tmp_path: Path, blobs: Any, weights: np.ndarray) -> None:
    path = linear(tmp_path / "m.onnx", ["n", 6, 6, 1], weights)
    rows = blobs.rows("test")
    with pytest.raises(InputError, match="State --scale"):
        judge_onnx(path, blobs, rows)
    with pytest.raises(InputError, match="Did you mean 'unit'"):
        judge_onnx(path, blobs, rows, scale="units")
    values = {s: judge_onnx(path, blobs, rows, scale=s).metrics["log_loss"].value for s in ("raw", "unit", "symmetric")}
    assert len(set(values.values())) == 3
    stored = linear(tmp_path / "u.onnx", ["n", 6, 6, 1], weights / 255, kind=2)
    assert judge_onnx(stored, blobs, rows).metrics["log_loss"].value == pytest.approx(values["unit"], abs=1e-4)
    with pytest.raises(ContractError, match="other pixels"):
        judge_onnx(linear(tmp_path / "u16.onnx", ["n", 6, 6, 1], weights, kind=4), blobs, rows)


def test_onnx_that_does_not_fit(tmp_path: Path, blobs: Any, weights: np.ndarray) -> None:
    rows = blobs.rows("test")
    with pytest.raises(ContractError, match="another number of outputs"):
        judge_onnx(linear(tmp_path / "m.onnx", ["n", 6, 6, 1], weights[:, :2]), blobs, rows, scale="raw")
    (tmp_path / "bad.onnx").write_bytes(b"not a model")
    with pytest.raises(SourceError, match="not an ONNX model"):
        judge_onnx(tmp_path / "bad.onnx", blobs, rows, scale="raw")
    with pytest.raises(SourceError, match="no such file"):
        judge_onnx(tmp_path / "none.onnx", blobs, rows)
    with pytest.raises(ContractError, match="NaN"):
        judge_onnx(linear(tmp_path / "n.onnx", ["n", 6, 6, 1], weights * np.nan), blobs, rows, scale="raw")


def test_one_logit_for_two_classes_and_regression(tmp_path: Path, make_dataset: Any) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(60, 2, 2, 1)).astype(np.float32)
    sums = images.sum(axis=(1, 2, 3))
    two = make_dataset(images, (sums > 0).astype(int), classes=("no", "yes"))
    path = linear(tmp_path / "m.onnx", ["n", 2, 2, 1], np.ones((4, 1)))
    found = judge_onnx(path, two, np.arange(60))
    assert found.metrics["accuracy"].value == 1
    assert found.metrics["log_loss"].value == pytest.approx(float(np.log1p(np.exp(-np.abs(sums))).mean()), abs=1e-5)
    values = make_dataset(images, sums.astype(np.float64), name="values")
    assert judge_onnx(path, values, np.arange(60)).metrics["mse"].value < 1e-10


def test_guards_of_our_own_tables_are_taken_off(tmp_path: Path) -> None:
    answers = "id,predicted,p_=x,p_y,flags,model\n'-a1,'=x,.9,.1,,m\n''=b,y,.2,.8,,m\nc,y,.3,.7,,m\n"
    found = judge_files(*files(tmp_path, answers, "id,label\n-a1,=x\n'=b,y\nc,y\n"))
    assert found.n == 3
    assert found.metrics["accuracy"].value == 1
    with pytest.raises(InputError, match="-a1"):  # of a table from elsewhere every sign counts
        judge_files(*files(tmp_path, "id,predicted\n'-a1,x\n", "id,label\n-a1,x\n"))
