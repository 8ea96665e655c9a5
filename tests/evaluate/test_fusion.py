"""Late fusion: the weight from validation alone, and paired intervals on what it gains."""

from __future__ import annotations

import numpy as np
import pytest

from estampa.errors import InputError
from estampa.evaluate.fusion import FUSED, NET, TABLE, choose_weight, fuse, fusion

CLASSES = ("elliptical", "spiral")


def views(n: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two models that each see the class through noise of their own: (net, table, truth), as good as can be."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(n) < 0.4).astype(np.int64)
    answers = []
    for own in (1.0, noise):
        seen = (2 * truth - 1) + own * rng.normal(size=n)
        p = 1 / (1 + np.exp(-(2 * seen / own**2 + np.log(2 / 3))))
        answers.append(np.stack([1 - p, p], axis=1))
    return answers[0], answers[1], truth


def test_two_views_are_better_than_one() -> None:
    found = fusion(views(600, 0), views(2000, 1), CLASSES, resamples=300)
    assert 0.3 < found.weight < 0.7
    assert found.chosen_on == 600
    for other in (NET, TABLE):
        gain = found.differences[f"{FUSED} - {other}"]["balanced_accuracy"]
        own = found.judgements[FUSED].metrics["balanced_accuracy"].value
        assert gain.value == pytest.approx(own - found.judgements[other].metrics["balanced_accuracy"].value)
        assert gain.low > 0
        assert found.differences[f"{FUSED} - {other}"]["log_loss"].high < 0
    assert "better beyond chance than the net on pictures and than the model of the table alone" in found.headline()
    said = [found.outputs[k].argmax(axis=1) for k in (NET, TABLE)]
    assert found.agree == pytest.approx((said[0] == said[1]).mean())


def test_a_view_that_tells_nothing_gets_no_weight() -> None:
    net, _, truth = views(1000, 0)
    blind = np.full_like(net, 0.5)
    assert choose_weight(net, blind, truth)[0] >= 0.9
    assert choose_weight(blind, net, truth)[0] <= 0.1
    found = fusion((net, blind, truth), (net, blind, truth), CLASSES, resamples=100)
    assert "and not better beyond chance than the net on pictures." in found.headline()
    assert choose_weight(net, net, truth)[0] == 0.5


def test_the_weight_comes_from_validation_and_not_from_what_is_judged() -> None:
    validation, (net, table, truth) = views(300, 2), views(300, 3)
    one = fusion(validation, (net, table, truth), CLASSES, resamples=100)
    two = fusion(validation, (net, table, 1 - truth), CLASSES, resamples=100)
    assert one.weight == two.weight
    assert one.to_json()["weight_of_net"] == one.weight
    assert set(one.to_json()["differences"]) == {"fusion - net", "fusion - table", "net - table"}


def test_few_validation_objects_choose_no_weight() -> None:
    few = tuple(part[:5] for part in views(300, 2))
    found = fusion(few, views(100, 3), CLASSES, resamples=100)
    assert (found.weight, found.chosen_on) == (0.5, 0)


def test_fuse_is_the_weighted_mean_of_logs() -> None:
    net, table = np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]])
    both = fuse(net, table, 0.25)
    ratio = (0.8 / 0.2) ** 0.25 * (0.4 / 0.6) ** 0.75
    assert both[0, 0] / both[0, 1] == pytest.approx(ratio)
    assert both.sum() == pytest.approx(1)
    sure = fuse(np.array([[1.0, 0.0]]), np.array([[0.01, 0.99]]), 0.5)
    assert 0 < sure[0, 1] < 0.5
    assert fuse(net, table, 1.0) == pytest.approx(net)


def test_answers_to_other_objects_are_refused() -> None:
    net, table, truth = views(50, 0)
    with pytest.raises(InputError, match="same objects"):
        fusion((net, table, truth), (net[:-1], table, truth), CLASSES)
