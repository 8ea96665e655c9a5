"""The temperature: what it minimises, where it goes, when it is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from made import bars, brightness, halves, recipe

from estampa import measure
from estampa.train import calibrate as room
from estampa.train.calibrate import both_answers, calibrate, temperature_of
from estampa.train.fit import NetClassifier, fit_net


def drawn(n, classes, scale, seed=0):
    """Logits, and labels drawn from the very probabilities that they state."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, scale, (n, classes))
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return logits, (p.cumsum(1) > rng.random((n, 1))).argmax(1), p


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_it_finds_the_factor_by_which_logits_are_wrong(factor):
    logits, truth, _ = drawn(20_000, 4, 2.0)
    assert temperature_of(logits * factor, truth) == pytest.approx(factor, rel=0.03)


def test_sigmoid_outputs_are_softened_as_the_network_does_it():
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, (20_000, 2))
    p = 1 / (1 + np.exp(-logits))
    truth = (rng.random(20_000) < (p[:, 1] / p.sum(1))).astype(int)
    assert temperature_of(logits * 2.5, truth, sigmoid=True) == pytest.approx(2.5, rel=0.05)


def test_it_has_the_least_log_loss_of_all(monkeypatch):
    logits, truth, _ = drawn(500, 3, 4.0, seed=3)
    found = temperature_of(logits * 2, truth)
    losses = [room._log_loss(logits * 2 / t, truth, False) for t in np.geomspace(0.1, 10, 400)]
    assert room._log_loss(logits * 2 / found, truth, False) <= min(losses) + 1e-12


@pytest.fixture
def few_are_enough(monkeypatch):
    monkeypatch.setattr(room, "LEAST", 20)
    monkeypatch.setattr(room, "LEAST_WRONG", 1)


@pytest.fixture(scope="module")
def data():
    made = bars(320, seed=2)
    made.labels[::7] = (made.labels[::7] + 1) % 3  # some are wrong on purpose: there must be mistakes
    return made


def test_it_goes_into_the_network_and_no_answer_changes(data, few_are_enough):
    train, validation = halves(data)
    fitted = fit_net(data, recipe(train__epochs=8), train_rows=train, validation_rows=validation)
    before = fitted.predict(data, validation)
    found = calibrate(fitted, data, validation)
    after, again = both_answers(fitted, data, validation)
    assert found.fitted
    assert float(fitted.network.temperature) == pytest.approx(found.value, rel=1e-6)
    assert (after.argmax(1) == before.argmax(1)).all()
    np.testing.assert_allclose(again, before, atol=1e-5)
    truth = data.labels[validation]
    assert measure.log_loss(truth, after) < measure.log_loss(truth, before)
    assert any("Temperature" in line for line in fitted.decisions)
    assert calibrate(fitted, data, validation).value == found.value  # it starts anew each time, and is deterministic


def test_a_sigmoid_net_is_calibrated_in_its_own_way(data, few_are_enough):
    train, validation = halves(data)
    made = recipe(train__epochs=8, train__loss="binary", model__output="sigmoid")
    fitted = fit_net(data, made, train_rows=train, validation_rows=validation)
    before = fitted.predict(data, validation)
    calibrate(fitted, data, validation)
    after, again = both_answers(fitted, data, validation)
    truth = data.labels[validation]
    assert measure.log_loss(truth, after) <= measure.log_loss(truth, before)
    np.testing.assert_allclose(again, before, atol=1e-5)
    assert fitted.probabilities(np.full((1, 3), -200.0)) == pytest.approx(1 / 3)


def test_it_is_left_at_one_and_said_where_there_is_too_little(data):
    train, validation = halves(data)
    fitted = fit_net(data, recipe(train__epochs=1), train_rows=train, validation_rows=validation)
    found = calibrate(fitted, data, validation)
    assert len(validation) == 80
    assert (found.value, found.fitted) == (1.0, False)
    assert "80 validation objects, and 100 are needed" in fitted.decisions[-1]
    assert both_answers(fitted, data, validation)[1] is None


def test_it_is_left_at_one_where_nothing_is_wrong(monkeypatch):
    made = bars(400, seed=5)
    train, validation = halves(made)
    fitted = fit_net(made, recipe(train__epochs=10), train_rows=train, validation_rows=validation)
    monkeypatch.setattr(fitted, "answers", lambda *_: iter([{"logits": 9 * np.eye(3)[made.labels[validation]]}]))
    assert "0 wrong answers" in calibrate(fitted, made, validation).reason


def test_who_says_false_and_regressions_are_left_alone(data, few_are_enough):
    train, validation = halves(data)
    fitted = fit_net(data, recipe(train__calibrate=False), train_rows=train, validation_rows=validation)
    said = list(fitted.decisions)
    assert not calibrate(fitted, data, validation).fitted
    values = brightness()
    other = fit_net(values, recipe(), train_rows=np.arange(100), validation_rows=np.arange(100, 160))
    assert not calibrate(other, values, np.arange(100, 160)).fitted
    assert fitted.decisions == said


def test_the_decision_says_what_weakens_it(data, few_are_enough):
    train, validation = halves(data)
    made = recipe(train__keep="best", prepare__balance="weights")
    fitted = fit_net(data, made, train_rows=train, validation_rows=validation)
    said = calibrate(fitted, data, validation).sentence
    assert "chose the kept epoch" in said
    assert "classes count equally" in said


def test_the_estimator_calibrates_on_the_validation_it_is_given(data, few_are_enough):
    train, validation = halves(data)
    net = NetClassifier(recipe(train__epochs=6), random_state=0)
    net.fit(data.images[train], data.labels[train], (data.images[validation], data.labels[validation]))
    assert float(net.fitted_.network.temperature) != 1
    net.fit(data.images[train], data.labels[train])
    assert float(net.fitted_.network.temperature) == 1
