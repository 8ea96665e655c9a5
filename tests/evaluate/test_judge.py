"""judge(): the JSON that people rely on, and what is refused."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from estampa.errors import InputError
from estampa.evaluate.judge import Judgement, judge

CLASSES = ("id", "p_x", "räudig")


def some(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    raw = rng.random((n, 3)) + 1.5 * np.eye(3)[truth] * rng.random((n, 1))
    return truth, raw / raw.sum(axis=1, keepdims=True)


def test_json_seam() -> None:
    truth, output = some()
    found = judge(truth, output, task="classification", classes=CLASSES)
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["n"] == 90
    assert {"accuracy", "balanced_accuracy", "roc_auc", "log_loss"} <= set(record["metrics"])
    for value in record["metrics"].values():
        assert set(value) == {"value", "low", "high"}
        assert value["low"] <= value["value"] <= value["high"]
    assert record["metrics"]["accuracy"]["value"] == pytest.approx(sk.accuracy_score(truth, output.argmax(1)))
    assert [row["class"] for row in record["per_class"]] == list(CLASSES)
    assert sum(row["n"] for row in record["per_class"]) == 90
    assert np.sum(record["confusion"]) == 90
    assert record["intervals"]["over"] == "objects"
    again = Judgement.from_json(record)
    assert again.to_json() == found.to_json()


def test_labels_without_probabilities() -> None:
    truth, output = some()
    found = judge(truth, output.argmax(axis=1), task="classification", classes=CLASSES)
    assert list(found.metrics) == ["accuracy", "balanced_accuracy", "macro_f1", "weighted_f1"]
    assert set(found.per_class[0]) == {"class", "n", "precision", "recall", "f1"}


def test_regression() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    found = judge(truth, truth + rng.normal(size=50) * 0.1, task="regression")
    assert found.confusion is None
    assert found.metrics["r2"].low > 0.9
    assert Judgement.from_json(found.to_json()).metrics == found.metrics
    assert "mean squared error" in found.headline()


def test_groups_are_counted_and_said() -> None:
    truth, output = some()
    found = judge(truth, output, task="classification", classes=CLASSES, groups=np.arange(90) // 9)
    assert found.groups == 10
    assert "10 groups" in found.headline()
    assert found.to_json()["intervals"]["units"] == 10


def test_undefined_numbers_are_null_and_said() -> None:
    found = judge(np.zeros(5, int), np.tile([0.9, 0.1], (5, 1)), task="classification", classes=("a", "b"))
    assert found.to_json()["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert math.isnan(found.per_class[1]["recall"].value)
    assert any("undefined" in line for line in found.lines())


def test_lines_and_notebook_show_every_class() -> None:
    truth, output = some()
    found = judge(truth, output, task="classification", classes=("<b>", "p_x", "räudig"))
    assert all(any(name in line for line in found.lines()) for name in found.classes)
    shown = found._repr_html_()
    assert "&lt;b&gt;" in shown
    assert "<b>" not in shown.replace("<body>", "")


@pytest.mark.parametrize(
    ("output", "classes", "message"),
    [
        (np.full((3, 2), 0.5), ("a", "b", "c"), "one column of probabilities for each class"),
        (np.array([0, 1, 5]), ("a", "b"), "out of range"),
        (np.full((2, 2), 0.5), ("a", "b"), "for each object"),
        (np.full((3, 2), np.nan), ("a", "b"), "NaN"),
    ],
)
def test_what_does_not_fit_is_refused(output: np.ndarray, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        judge(np.array([0, 1, 1]), output, task="classification", classes=classes)
    with pytest.raises(InputError, match="cannot judge the task"):
        judge(np.array([0, 1, 1]), output, task="unlabelled")


def test_of_uneven_classes_the_headline_quotes_balanced_accuracy_first() -> None:
    truth = np.repeat([0, 1], [90, 30])
    found = judge(truth, np.zeros(120, int), task="classification", classes=("a", "b"))
    assert found.headline().startswith("balanced accuracy 0.500 [")
    assert ", accuracy 0.750 [" in found.headline()
    even = judge(truth[15:105], np.zeros(90, int), task="classification", classes=("a", "b"))  # 75 to 15: uneven
    assert even.leading == "balanced_accuracy"
    even = judge(truth[40:], np.zeros(80, int), task="classification", classes=("a", "b"))  # 50 to 30
    assert even.headline().startswith("accuracy 0.625 [")
    assert found.headline("macro_f1").startswith("macro F1 ")


def test_an_average_precision_of_positives_alone_is_undefined() -> None:
    sure = np.repeat([[0.9, 0.1]], 20, axis=0)
    found = judge(np.zeros(20, int), sure, task="classification", classes=("a", "b"))
    assert np.isnan(found.metrics["pr_auc"].value)
    assert found.to_json()["metrics"]["pr_auc"]["value"] is None
    assert "undefined" in "\n".join(found.lines())
