"""Calibration judged, and answers that are flagged: the threshold keeps what it promises, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa import measure, pipeline
from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.data.read import build
from estampa.errors import CheckFailed, InputError, RecipeError
from estampa.evaluate.abstain import keep_accuracy, lines
from estampa.evaluate.confidence import (
    Threshold,
    abstention,
    calibration,
    choose_threshold,
    require_enough,
    require_kept,
)
from estampa.evaluate.judge import judge
from estampa.measure.intervals import bootstrap
from estampa.measure.selective import Selective, confidence_threshold, least_objects
from estampa.predict import predict


def honest(n: int, seed: int = 0, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(truth, probabilities): the truth is drawn from the probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (n, classes))
    output = np.exp(logits - logits.max(1, keepdims=True))
    output /= output.sum(1, keepdims=True)
    return (output.cumsum(1) > rng.random((n, 1))).argmax(1), output


def test_selective_accuracy_is_that_of_the_answered() -> None:
    truth, output = honest(500)
    right, sure = output.argmax(1) == truth, output.max(1)
    thresholds = np.array([0.0, 0.5, 0.9, 2.0])
    weights = np.random.default_rng(1).integers(0, 4, 500).astype(float)
    values = Selective(right, sure, thresholds)(weights)
    for i, t in enumerate(thresholds):
        kept = weights * (sure >= t)
        assert values[i] == pytest.approx(kept.sum() / weights.sum())
        if kept.sum():
            assert values[4 + i] == pytest.approx((kept * right).sum() / kept.sum())
    assert np.isnan(values[7])
    with pytest.raises(InputError, match="one confidence for each answer"):
        Selective(right, sure[:3], thresholds)


def test_wilson_stands_in_where_all_the_answered_are_right() -> None:
    found = bootstrap(Selective(np.ones(50, bool), np.linspace(0.5, 1, 50), np.array([0.0, 0.9])), resamples=100)
    assert found["accuracy[0]"].low == pytest.approx(measure.wilson(1.0, 50)[0])
    assert found["accuracy[1]"].low == pytest.approx(measure.wilson(1.0, 10)[0])
    tied = np.repeat(np.arange(5), 10)
    grouped = bootstrap(Selective(np.ones(50, bool), np.linspace(0.5, 1, 50), np.array([0.0])), tied, resamples=100)
    assert grouped["accuracy[0]"].low == pytest.approx(measure.wilson(1.0, 5)[0])


def test_the_threshold_is_the_smallest_that_keeps_the_accuracy() -> None:
    truth, output = honest(2000)
    said, sure = output.argmax(1), output.max(1)
    threshold, best = confidence_threshold(truth, said, sure, 0.95)
    assert threshold is not None
    assert best >= 0.95

    def low(t: float) -> float:
        kept = sure >= t
        return measure.wilson(float((truth == said)[kept].mean()), float(kept.sum()))[0]

    assert low(threshold) >= 0.95
    assert all(low(t) < 0.95 for t in sure if t < threshold)


def test_it_keeps_the_accuracy_on_other_data() -> None:
    """Chosen on 1,000 objects, the true accuracy among the answered falls short in few of 100 cases."""
    truth, output = honest(200_000, seed=9)
    short = 0
    for seed in range(100):
        own = choose_threshold(0.95, *honest(1000, seed))
        kept = output.max(1) >= require_kept(own)
        short += bool((output.argmax(1) == truth)[kept].mean() < 0.95)
    assert short <= 10


def test_groups_count_once() -> None:
    truth, output = honest(2000)
    groups = np.repeat(np.arange(100), 20)
    alone, _ = confidence_threshold(truth, output.argmax(1), output.max(1), 0.95)
    tied, _ = confidence_threshold(truth, output.argmax(1), output.max(1), 0.95, groups)
    assert alone is not None
    assert tied is None or tied > alone


def test_equal_confidence_is_never_parted_and_all_may_be_answered() -> None:
    truth = np.array([0] * 90 + [1] * 10)
    same = np.full(100, 0.8)
    assert confidence_threshold(truth, np.zeros(100, int), same, 0.8)[0] == 0.0
    assert confidence_threshold(truth, np.zeros(100, int), same, 0.9)[0] is None


def test_what_cannot_be_kept_is_refused_before_and_after() -> None:
    assert least_objects(0.99) == 381
    assert measure.wilson(1.0, 381)[0] >= 0.99 > measure.wilson(1.0, 380)[0]
    require_enough(0.99, np.zeros(381, int), None, "classification")
    with pytest.raises(RecipeError, match=r"cannot be shown on so few.*at least 381 objects.*380"):
        require_enough(0.99, np.zeros(380, int), None, "classification")
    with pytest.raises(RecipeError, match=r"at least 381 groups.*Got: 10"):
        require_enough(0.99, np.zeros(1000, int), np.repeat(np.arange(10), 100).astype(str), "classification")
    with pytest.raises(RecipeError, match="where classes are told"):
        require_enough(0.9, np.zeros(380), None, "regression")
    rng = np.random.default_rng(0)
    hopeless = choose_threshold(0.99, rng.integers(0, 3, 500), honest(500)[1])
    assert hopeless.value is None
    with pytest.raises(CheckFailed, match=r"no threshold of confidence keeps an accuracy of 0.99.*at best 0\.\d+"):
        require_kept(hopeless)
    assert "No answer is flagged" in hopeless.sentence


def test_two_classes_are_told_by_their_decision_threshold() -> None:
    truth = np.repeat([0, 1], 200)
    output = np.stack([np.repeat([0.4, 0.2], 200), np.repeat([0.6, 0.8], 200)], 1)
    assert choose_threshold(0.95, truth, output).value == pytest.approx(0.7)
    assert choose_threshold(0.95, truth, output, decision=0.7).value == 0.0


def test_an_answer_against_the_odds_is_not_sure() -> None:
    """An answer given from a probability of 0.05 on is mostly wrong just there, however sure its rival looks."""
    rng = np.random.default_rng(0)
    real = rng.uniform(0, 1, 4000) ** 3
    truth, output = (rng.uniform(size=4000) < real).astype(int), np.stack([1 - real, real], 1)
    judgement = judge(truth, output, task="classification", classes="ab", resamples=100)
    threshold = choose_threshold(0.9, truth, output, decision=0.05)
    found = abstention(truth, output, None, judgement, threshold, 0.05)
    assert threshold.value is not None
    assert found is not None
    assert found.coverage is not None
    answered = np.where(real >= 0.05, real, 1 - real) >= threshold.value
    assert found.coverage.value == pytest.approx(answered.mean())
    assert (real[answered] < 0.05).any()
    assert (real[answered] > threshold.value).any()
    assert not ((real[answered] >= 0.05) & (real[answered] < 0.5)).any()
    assert found.curve[1, 0] > 0.95  # the surest first


def test_calibration_is_judged_in_pairs() -> None:
    truth, output = honest(600)
    sharp = output**3 / (output**3).sum(1, keepdims=True)
    judgement = judge(truth, output, task="classification", classes="abc", resamples=200)
    found = calibration(3.0, 100, truth, output, sharp, None, judgement)
    assert found.after["ece"] == judgement.metrics["ece"]
    assert found.before["ece"].value == pytest.approx(measure.ece(truth, sharp))
    for name in ("ece", "brier", "log_loss"):
        assert found.difference[name].value == pytest.approx(found.after[name].value - found.before[name].value)
        assert found.difference[name].high < 0  # better beyond chance: the truth was drawn from `output`


def test_coverage_without_a_threshold_is_a_curve_only() -> None:
    truth, output = honest(400)
    judgement = judge(truth, output, task="classification", classes="abc", resamples=100)
    found = abstention(truth, output, None, judgement)
    assert found is not None
    assert found.curve[0, -1] == 1
    assert found.curve[1, -1] == pytest.approx(judgement.metrics["accuracy"].value)
    assert (found.curve[2] <= found.curve[1]).all()
    assert (found.curve[1] <= found.curve[3]).all()
    json.dumps(found.to_json(), allow_nan=False)
    missed = abstention(truth, output, None, judgement, Threshold(0.999, None, 400, 0.9))
    assert missed is not None
    assert missed.to_json()["threshold"] is None
    assert abstention(truth[:5], output[:5], None, judgement) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("digits")
    changes = {
        "train.epochs": 5, "train.threads": 1, "evaluate.baselines": False, "evaluate.resamples": 200,
        "evaluate.keep_accuracy": 0.97, "data.validation": 0.3,
    }  # fmt: skip
    return pipeline.train(build("digits", folder / "digits.h5"), changes=changes, output=folder / "run")


def test_a_run_calibrates_chooses_and_shows_it(run: pipeline.Run) -> None:
    record = json.loads((run.folder / "metrics.json").read_text())
    found, silent = record["calibration"], record["abstention"]
    assert found["n"] == 431
    assert found["after"]["ece"] == record["metrics"]["ece"]
    assert found["difference"]["log_loss"]["high"] < 0
    bundle = Bundle.open(run.folder)
    assert bundle.thresholds.confidence == silent["threshold"] > 0
    assert any("Temperature" in line for line in bundle.manifest.decisions)
    table = predict(bundle, build("digits", run.folder.parent / "digits.h5"))
    flagged = np.array(["low_confidence" in f for f in table.flags])
    assert (flagged == (np.asarray(table.probabilities).max(1) < silent["threshold"])).all()
    text = (run.folder / "report.html").read_text()
    assert f"One temperature, {found['temperature']:.3f}" in text
    assert f"divided by a temperature of {found['temperature']:.3f}" in text
    assert "are flagged low_confidence" in text
    for name in ("figures/coverage.svg", "figures/reliability.svg", "tables/calibration.csv"):
        assert (run.folder / name).stat().st_size > 0, name


def test_the_exported_graph_has_the_temperature(run: pipeline.Run) -> None:
    temperature = json.loads((run.folder / "metrics.json").read_text())["calibration"]["temperature"]
    bundle = Bundle.open(run.folder)
    assert float(bundle.tensors("weights")["temperature"]) == pytest.approx(temperature, rel=1e-6)
    reference = bundle.tensors("reference")
    truth, output = reference["labels"], reference["output"].astype(float)
    logits = np.log(np.maximum(output, 1e-30))
    best = measure.log_loss(truth, output)
    for factor in (0.9, 1.1):  # the reference is the validation part: any other temperature is worse on it
        other = np.exp(logits / factor)
        assert measure.log_loss(truth, other / other.sum(1, keepdims=True)) > best


def test_a_bundle_gives_a_threshold_for_another_accuracy(run: pipeline.Run, capsys: Any) -> None:
    digits = build("digits", run.folder.parent / "digits.h5")
    own = json.loads((run.folder / "metrics.json").read_text())["abstention"]
    again = keep_accuracy(run.folder, 0.97, digits)
    assert again.threshold == pytest.approx(own["threshold"], abs=1e-4)
    assert again.coverage is not None
    assert again.coverage.value == pytest.approx(own["coverage"]["value"])
    on_validation = keep_accuracy(run.folder, 0.97)
    assert on_validation.accuracy is not None
    assert on_validation.accuracy.value >= 0.97
    assert "keeps 0.97" in lines(on_validation)[0]
    with pytest.raises(RecipeError, match="cannot be shown on so few"):
        keep_accuracy(run.folder, 0.999)
    with pytest.raises(CheckFailed, match="learned from"):
        keep_accuracy(run.folder, 0.9, digits, part="all")
    assert ended(run, "0.97", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out)["keep_accuracy"] == 0.97
    assert ended(run, "1.5") == 2
    assert ended(run, "0.9", "--onnx", "x.onnx") == 2


def ended(run: pipeline.Run, *words: str) -> Any:
    """Exit code of `estampa evaluate RUN --keep-accuracy ...`."""
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(run.folder), "--keep-accuracy", *words])
    return end.value.code


def test_too_few_validation_objects_are_refused_before_training(tmp_path: Path) -> None:
    digits = build("digits", tmp_path / "digits.h5")
    with pytest.raises(RecipeError, match=r"keep_accuracy.*cannot be shown"):
        pipeline.train(digits, changes={"evaluate.keep_accuracy": 0.999}, output=tmp_path / "run")
    assert not (tmp_path / "run" / "history.jsonl").exists()
