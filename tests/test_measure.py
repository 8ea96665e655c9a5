"""Metrics against scikit-learn and scipy, intervals against what they promise."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from estampa import measure
from estampa.errors import InputError
from estampa.measure.intervals import bootstrap, unit_numbers

CLASSES = 4


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth and probabilities, with absent classes, ties, constant scores and single objects among them."""
    k = draw(st.integers(2, CLASSES))
    n = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = rng.permutation(k)[: draw(st.integers(1, k))]
    truth = rng.choice(present, n)
    levels = draw(st.sampled_from([1, 2, 5, 0]))  # 1 = constant scores, few = ties, 0 = all different
    raw = rng.random((n, k)) if levels == 0 else rng.integers(1, levels + 1, (n, k)).astype(float)
    return truth, raw / raw.sum(axis=1, keepdims=True), k


def same(ours: float, theirs: float) -> None:
    assert (math.isnan(ours) and math.isnan(theirs)) or ours == pytest.approx(theirs, abs=1e-9), (ours, theirs)


@given(answers())
@settings(max_examples=150, deadline=None)
def test_labels_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, output, k = case
    said = output.argmax(axis=1)
    labels = list(range(k))
    seen = sorted(set(truth) | set(said))
    assert (measure.confusion_matrix(truth, said, k) == sk.confusion_matrix(truth, said, labels=labels)).all()
    same(measure.accuracy(truth, said), sk.accuracy_score(truth, said))
    same(
        measure.balanced_accuracy(truth, said),
        sk.recall_score(truth, said, labels=sorted(set(truth)), average="macro", zero_division=np.nan),
    )
    same(measure.macro_f1(truth, said), sk.f1_score(truth, said, labels=seen, average="macro", zero_division=0))
    same(measure.weighted_f1(truth, said), sk.f1_score(truth, said, labels=seen, average="weighted", zero_division=0))
    theirs = sk.precision_recall_fscore_support(truth, said, labels=labels, zero_division=np.nan)
    for ours, expected in zip(measure.precision_recall_f1(truth, said, k), theirs, strict=False):
        for a, b in zip(ours, expected, strict=True):
            same(a, b)


@given(answers())
@settings(max_examples=150, deadline=None)
def test_probabilities_agree_with_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, output, k = case
    labels = list(range(k))
    same(measure.log_loss(truth, output), sk.log_loss(truth, output, labels=labels))
    same(measure.brier(truth, output), sk.brier_score_loss(truth, output if k > 2 else output[:, 1], labels=labels))
    roc, ap = measure.roc_auc_ovr(truth, output), measure.pr_auc_ovr(truth, output)
    for c in labels:
        mine = truth == c
        if mine.any() and not mine.all():
            same(roc[c], sk.roc_auc_score(mine, output[:, c]))
            false, true, _ = measure.roc_curve(mine, output[:, c])
            same(float(np.trapezoid(true, false)), roc[c])
        else:
            assert math.isnan(roc[c])
        if mine.any() and not mine.all():  # all positive is no achievement: scikit-learn says 1
            same(ap[c], sk.average_precision_score(mine, output[:, c]))
        else:
            assert math.isnan(ap[c])


@given(answers(), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_weights_are_copies(case: tuple[np.ndarray, np.ndarray, int], seed: int) -> None:
    """A whole-number weight must mean exactly what that many copies of the object mean."""
    truth, output, _ = case
    weights = np.random.default_rng(seed).integers(0, 3, len(truth))
    weights[0] = 1
    copies = np.repeat(np.arange(len(truth)), weights)
    ours = measure.Classification(truth, output)(weights.astype(float))
    theirs = measure.Classification(truth[copies], output[copies])(np.ones(len(copies)))
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    target, value = truth + output[:, 0], output[:, 1].round(1)
    ours = measure.Regression(target, value)(weights.astype(float))
    theirs = measure.Regression(target[copies], value[copies])(np.ones(len(copies)))
    np.testing.assert_allclose(ours[:3], theirs[:3], atol=1e-9)
    if len(np.unique(target[copies])) > 1 and len(np.unique(value[copies])) > 1:
        np.testing.assert_allclose(ours[3:], theirs[3:], rtol=1e-6, atol=1e-9)


@given(st.integers(2, 60), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=100, deadline=None)
def test_values_agree_with_scikit_learn_and_scipy(n: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    truth, said = rng.normal(size=n), rng.normal(size=n) * 3
    if ties:
        truth, said = truth.round(), said.round()
    same(measure.mse(truth, said), sk.mean_squared_error(truth, said))
    same(measure.rmse(truth, said), math.sqrt(sk.mean_squared_error(truth, said)))
    same(measure.mae(truth, said), sk.mean_absolute_error(truth, said))
    if len(np.unique(truth)) > 1:
        same(measure.r2(truth, said), sk.r2_score(truth, said))
        if len(np.unique(said)) > 1:
            same(measure.spearman(truth, said), stats.spearmanr(truth, said).statistic)
    for i, name in enumerate(measure.METRICS["regression"]):
        same(measure.score(name, truth, said), float(measure.Regression(truth, said)(np.ones(n))[i]))


def test_a_constant_truth_leaves_correlation_undefined() -> None:
    assert math.isnan(measure.r2(np.full(5, 0.1), np.arange(5)))
    assert math.isnan(measure.spearman(np.full(5, 0.1), np.arange(5)))
    assert math.isnan(measure.spearman(np.arange(5), np.full(5, 0.1)))
    found = measure.intervals(["mse", "r2"], np.full(5, 0.1), np.arange(5.0))
    assert found["r2"].to_json() == {"value": None, "low": None, "high": None}
    assert found["mse"].low <= found["mse"].value <= found["mse"].high


def test_ece_of_a_known_case() -> None:
    # 10 objects at confidence 0.8, 6 of them right: the one bin is off by 0.2.
    output = np.tile([0.8, 0.2], (10, 1))
    truth = np.array([0] * 6 + [1] * 4)
    assert measure.ece(truth, output) == pytest.approx(0.2)
    table = measure.reliability(truth, output)
    assert table["count"].tolist() == [10]
    assert table["accuracy"][0] == pytest.approx(0.6)
    assert table["low"][0] < 0.6 < table["high"][0]


@pytest.mark.parametrize("name", measure.METRICS["classification"])
def test_nan_is_refused_in_probabilities(name: str) -> None:
    with pytest.raises(InputError, match="NaN"):
        measure.score(name, np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 1.0]]))


@pytest.mark.parametrize("name", measure.METRICS["regression"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused_in_values(name: str, bad: float) -> None:
    with pytest.raises(InputError, match="NaN or infinity"):
        measure.score(name, np.array([0.0, bad]), np.array([0.0, 1.0]))
    with pytest.raises(InputError, match="NaN or infinity"):
        measure.score(name, np.array([0.0, 1.0]), np.array([0.0, bad]))


@pytest.mark.parametrize(
    ("truth", "output", "message"),
    [
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "out of range.*row 1|row 1.*out of range"),
        ([0, -1], [[0.5, 0.5], [0.5, 0.5]], "out of range"),
        ([0, 1], [[0.5, 0.6], [0.5, 0.5]], "sum to 1"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], "outside 0 to 1"),
        ([0], [[0.5, 0.5], [0.5, 0.5]], "one class number for each object"),
        ([0.5, 1], [[0.5, 0.5], [0.5, 0.5]], "whole"),
        ([], np.zeros((0, 2)), "one row for each object"),
    ],
)
def test_unfit_arrays_are_refused(truth: list[float], output: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure.score("log_loss", np.asarray(truth), np.asarray(output))


def test_unknown_metric_names_the_nearest() -> None:
    with pytest.raises(InputError, match="Did you mean 'balanced_accuracy'"):
        measure.larger_is_better("balanced_acuracy")
    with pytest.raises(InputError, match=r"recall\[1\]"):
        measure.intervals(["recal[1]"], np.array([0, 1]), np.array([0, 1]))


def test_direction_of_every_metric() -> None:
    truth = np.array([0, 1, 0, 1, 1])
    good, bad = np.eye(2)[truth] * 0.9 + 0.05, np.eye(2)[1 - truth] * 0.9 + 0.05
    for name in measure.METRICS["classification"]:
        better = measure.score(name, truth, good) - measure.score(name, truth, bad)
        assert (better > 0) == measure.larger_is_better(name)
        assert (measure.worst(name) < 0) == measure.larger_is_better(name)
    for name in measure.METRICS["regression"]:
        better = measure.score(name, truth, truth + 0.1) - measure.score(name, truth, -truth)
        assert (better > 0) == measure.larger_is_better(name)


# ---- intervals ----


def binary(n: int, seed: int, shift: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    one = 1 / (1 + np.exp(-(rng.normal(size=n) + shift * (2 * truth - 1))))
    return truth, np.stack([1 - one, one], axis=1)


def test_intervals_are_seeded() -> None:
    truth, output = binary(200, 1)
    first = measure.intervals(["accuracy", "roc_auc"], truth, output, seed=3)
    assert first == measure.intervals(["accuracy", "roc_auc"], truth, output, seed=3)
    assert first != measure.intervals(["accuracy", "roc_auc"], truth, output, seed=4)


def test_interval_equals_a_plain_bootstrap() -> None:
    """The weights must give what drawing rows and calling scikit-learn gives, resample by resample."""
    truth, output = binary(120, 5)
    found = measure.intervals(["roc_auc[1]", "balanced_accuracy"], truth, output, resamples=200, seed=9)
    rng = np.random.default_rng(9)
    plain = []
    for _ in range(200):
        rows = rng.integers(0, 120, 120, dtype=np.int32)
        said = output[rows].argmax(axis=1)
        plain.append((sk.roc_auc_score(truth[rows], output[rows, 1]), sk.balanced_accuracy_score(truth[rows], said)))
    low, high = np.percentile(plain, (2.5, 97.5), axis=0)
    for i, name in enumerate(found):
        assert (found[name].low, found[name].high) == pytest.approx((low[i], high[i]), abs=1e-12)


def test_coverage_is_near_95_percent() -> None:
    """Accuracy of a coin with p = 0.8 over 100 objects: 300 experiments, expected coverage 0.92 to 0.97."""
    rng = np.random.default_rng(0)
    held = 0
    for i in range(300):
        truth = np.zeros(100, int)
        found = measure.intervals(["accuracy"], truth, (rng.random(100) > 0.8).astype(int), resamples=300, seed=i)
        held += found["accuracy"].low <= 0.8 <= found["accuracy"].high
    assert 0.89 < held / 300 < 0.985


def test_groups_widen_the_interval() -> None:
    """Twenty groups of copies hold the evidence of twenty objects, not of two hundred."""
    truth, output = binary(20, 2, 0.5)
    groups = np.repeat([f"drawer {i}" for i in range(20)], 10)
    truth, output = np.repeat(truth, 10), np.repeat(output, 10, axis=0)
    alone = measure.intervals(["accuracy"], truth, output)["accuracy"]
    joined = measure.intervals(["accuracy"], truth, output, groups)["accuracy"]
    assert joined.value == alone.value
    assert joined.high - joined.low > 2.5 * (alone.high - alone.low)


def test_wilson_at_0_and_1() -> None:
    assert measure.wilson(1.0, 100) == (pytest.approx(0.96301, abs=1e-4), 1.0)
    assert measure.wilson(0.0, 100)[0] == 0.0
    theirs = stats.binomtest(7, 30).proportion_ci(method="wilson")
    assert measure.wilson(7 / 30, 30) == (pytest.approx(theirs.low), pytest.approx(theirs.high))
    truth = np.repeat([0, 1], 50)
    perfect = np.eye(2)[truth]
    found = bootstrap(measure.Classification(truth, perfect))
    assert found["accuracy"].low == pytest.approx(0.96301, abs=1e-4)
    assert found["balanced_accuracy"].low == pytest.approx(0.96301, abs=1e-4)  # balanced: the same evidence
    assert found["recall[0]"].low == pytest.approx(measure.wilson(1, 50)[0])
    assert found["roc_auc"].low < 1
    for name in ("accuracy", "recall[1]", "macro_f1", "pr_auc[0]"):
        assert found[name].value == found[name].high == 1.0
    wrong = bootstrap(measure.Classification(truth, 1 - perfect))
    assert wrong["accuracy"].low == 0.0
    assert wrong["accuracy"].high == pytest.approx(1 - 0.96301, abs=1e-4)
    grouped = bootstrap(measure.Classification(truth, perfect), np.arange(100) // 10)
    assert grouped["accuracy"].low == pytest.approx(measure.wilson(1, 10)[0])


def test_one_object_has_no_interval_but_wilsons() -> None:
    found = bootstrap(measure.Classification(np.array([1]), np.array([[0.3, 0.7]])))
    assert found["accuracy"].low == pytest.approx(measure.wilson(1, 1)[0])
    assert math.isnan(found["log_loss"].low)
    assert math.isnan(found["roc_auc"].value)
    assert math.isnan(found["recall[0]"].value)
    one_group = bootstrap(measure.Classification(np.array([0, 1, 1]), np.array([0, 1, 0])), np.zeros(3))
    assert math.isnan(one_group["accuracy"].low)


def test_the_interval_always_holds_the_value() -> None:
    for seed in range(20):
        truth, output = binary(15 + seed, seed, 2.0)
        for name, found in bootstrap(measure.Classification(truth, output), resamples=100, seed=seed).items():
            if not math.isnan(found.value):
                assert found.low <= found.value <= found.high, name


def test_paired_difference_is_sharper_than_two_intervals() -> None:
    truth, output = binary(400, 11)
    rng = np.random.default_rng(0)
    worse = output.copy()
    rows = rng.permutation(400)[:12]
    worse[rows] = worse[rows][:, ::-1]
    found = measure.paired_difference(["accuracy", "brier"], truth, output, worse)
    alone = measure.intervals(["accuracy"], truth, output)["accuracy"]
    assert found["accuracy"].value == pytest.approx(
        measure.accuracy(truth, output.argmax(1)) - measure.accuracy(truth, worse.argmax(1))
    )
    assert found["accuracy"].high - found["accuracy"].low < alone.high - alone.low
    nothing = measure.paired_difference(["accuracy"], truth, output, output)["accuracy"]
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)


def test_json_round_trip() -> None:
    whole, hollow = measure.Interval(0.9, 0.8, 0.95), measure.Interval(math.nan, math.nan, math.nan)
    assert measure.Interval.from_json(whole.to_json()) == whole
    assert math.isnan(measure.Interval.from_json(hollow.to_json()).value)
    assert str(whole) == "0.9000 [0.8000, 0.9500]"


def test_ten_thousand_objects_and_ten_classes_take_seconds() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 10, 10_000)
    output = rng.dirichlet(np.ones(10), 10_000)
    began = time.process_time()
    found = bootstrap(measure.Classification(truth, output))
    assert time.process_time() - began < 10  # about 1.2 s on two cores of 2024
    assert len(found) == 9 + 50


def test_hits_published_scores(shared: Path) -> None:
    """Deep-HiTS against a random forest on 80,000 candidates: our numbers are scikit-learn's, and the net wins."""
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(shared / "hits_scores" / "hits_test_scores.parquet")
    truth = table["label"].to_numpy().astype(int)
    outputs = {}
    for name in ("p_rf", "p_cnn"):
        one = table[name].to_numpy().astype(float)
        outputs[name] = np.stack([1 - one, one], axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert measure.roc_auc_ovr(truth, outputs[name])[1] == pytest.approx(sk.roc_auc_score(truth, one))
            assert measure.pr_auc_ovr(truth, outputs[name])[1] == pytest.approx(sk.average_precision_score(truth, one))
    net = measure.intervals(["accuracy"], truth, outputs["p_cnn"], resamples=200)["accuracy"]
    assert 0.990 < net.value < 0.997
    lead = measure.paired_difference(["accuracy"], truth, outputs["p_cnn"], outputs["p_rf"], resamples=200)["accuracy"]
    assert lead.low > 0


def test_an_unknown_group_is_a_unit_of_its_own() -> None:
    found = unit_numbers(5, np.array(["", "a", "", "b", "a"]))
    assert found is not None
    assert sorted(found.tolist()) == [0, 0, 1, 2, 3]
    assert found[1] == found[4]
    assert unit_numbers(3, ["", "", ""]) is None
    repeated = unit_numbers(4, np.array([7, 7, 3, 3]))
    assert repeated is not None
    assert repeated.tolist() == [1, 1, 0, 0]
    with pytest.raises(InputError, match="one group for each object"):
        unit_numbers(3, ["a"])
    truth, output = np.array([0, 1, 1, 0, 1, 0]), np.array([0, 1, 0, 0, 1, 1])
    alone = measure.intervals(["accuracy"], truth, output)
    assert measure.intervals(["accuracy"], truth, output, np.array([""] * 6)) == alone
