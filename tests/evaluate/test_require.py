"""Gates."""

from __future__ import annotations

import numpy as np
import pytest

from estampa.errors import CheckFailed, InputError
from estampa.evaluate.judge import Judgement, judge
from estampa.evaluate.require import parse, require


@pytest.fixture(scope="module")
def judged() -> Judgement:
    truth = np.repeat([0, 1], 50)
    said = truth.copy()
    said[:5] = 1
    return judge(truth, said, task="classification", classes=("bogus", "real [x]"))


def test_gates_that_hold(judged: Judgement) -> None:
    texts = ["accuracy>=0.95", " balanced_accuracy.low > 0.5 ", "recall[real [x]].low>0.9", "macro_f1.high<1.0"]
    lines = require(judged, [parse(t) for t in texts])
    assert len(lines) == 4
    assert "0.9500" in lines[0]


def test_gates_that_fail_name_value_and_gate(judged: Judgement) -> None:
    with pytest.raises(CheckFailed) as caught:
        require(judged, [parse("accuracy>=0.99"), parse("recall[bogus].value>=0.95"), parse("accuracy>0.5")])
    assert caught.value.exit_code == 3
    text = str(caught.value)
    assert "accuracy>=0.99 (it is 0.9500)" in text
    assert "recall[bogus].value>=0.95 (it is 0.9000)" in text
    assert "2 of 3" in text
    assert "accuracy>0.5" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("balanced_acuracy>=0.9", "Did you mean 'balanced_accuracy'"),
        ("accuracy", "not a gate"),
        ("accuracy=0.9", "not a gate"),
        ("accuracy==0.9", "not a gate"),
        ("accuracy>=high", "not a gate"),
        ("accuracy>=1-2", "not a number"),
        ("accuracy.lo>=0.9", "Did you mean 'low'"),
    ],
)
def test_what_is_no_gate(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recall>=0.9", r"recall\[CLASS\]"),
        ("recall[bogs]>=0.9", "Did you mean 'bogus'"),
        ("log_loss<1", "no metric 'log_loss'"),
        ("roc_auc[bogus]>0.5", "no metric of a class"),
    ],
)
def test_what_this_judgement_lacks(judged: Judgement, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        require(judged, [parse(text)])


def test_an_undefined_number_never_passes() -> None:
    only = judge(np.zeros(4, int), np.zeros(4, int), task="classification", classes=("a", "b"))
    for sign in (">", "<"):
        with pytest.raises(CheckFailed, match="undefined"):
            require(only, [parse(f"recall[b]{sign}0.5")])
