"""Ranges of performance: how often clean batches alarm where a model is nearly perfect, and what wrong labels do."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from estampa.monitor.labelled import Performance


def answers(n: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Three classes, one of them rare; 1 % of the answers are surely wrong, the others nearly surely right."""
    labels = draw.choice(3, n, p=(0.5, 0.42, 0.08))
    said = np.where(draw.random(n) < 0.01, (labels + draw.integers(1, 3, n)) % 3, labels)
    sure = draw.beta(40, 1, n)
    output = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
    output[np.arange(n), said] = sure
    return labels, output.astype(np.float32)


def learned(draw: np.random.Generator, m: int = 500) -> Performance:
    labels, output = answers(m, draw)
    ranges: Any = SimpleNamespace(
        classes=("star", "galaxy", "quasar"), decision=None, labels=labels, output=output, groups=np.arange(m), m=m,
        wider=lambda *_: 1.0,
    )  # fmt: skip
    return Performance(ranges, 0.01, resamples=2)


def test_clean_batches_of_a_nearly_perfect_model_are_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that met no failure of the rare class, or few, must not make every batch that has one an alarm."""
    monkeypatch.setattr("estampa.monitor.labelled.DRAWS", 250)
    draw, alarms, batches = np.random.default_rng(0), 0, 0
    for _ in range(8):
        performance = learned(draw)
        for n in (25, 400):
            for _ in range(15):
                labels, output = answers(n, draw)
                figures, _ = performance.figures(labels.astype(np.float64), output)
                alarms += any(f.alert for f in figures)
                batches += 1
    assert alarms / batches <= 0.03


@pytest.mark.parametrize(("share", "n"), [(0.05, 200), (0.2, 40)])
def test_wrong_labels_are_seen(share: float, n: int) -> None:
    draw = np.random.default_rng(1)
    performance, seen = learned(draw), 0
    for _ in range(20):
        labels, output = answers(n, draw)
        wrong = draw.random(n) < share
        figures, _ = performance.figures(np.where(wrong, (labels + 1) % 3, labels).astype(np.float64), output)
        seen += any(f.alert for f in figures)
    assert seen >= 16


def test_a_figure_that_alarms_lies_below_its_range() -> None:
    draw = np.random.default_rng(2)
    performance = learned(draw)
    labels, output = answers(300, draw)
    figures, _ = performance.figures(((labels + (draw.random(300) < 0.3)) % 3).astype(np.float64), output)
    told = {figure.name: figure for figure in figures}
    accuracy, loss = told["accuracy"], told["log_loss"]
    assert accuracy.alert
    assert accuracy.value < accuracy.expected_low < 1 == accuracy.expected_high
    assert "the reference reached 0.9" in accuracy.why
    assert loss.alert
    assert loss.value > loss.expected_high > 0 == loss.expected_low
    assert all(f.alert == (not f.expected_low <= f.value <= f.expected_high) for f in figures if f.score == f.score)


def test_a_class_of_few_objects_says_so_and_is_named_where_the_whole_alarms() -> None:
    draw = np.random.default_rng(3)
    performance = learned(draw)
    labels, output = answers(600, draw)
    rare = int((performance._usual == 2).sum())
    assert rare < 50
    quiet = {f.name: f for f in performance.figures(labels.astype(np.float64), output)[0]}
    assert (
        quiet["recall[quasar]"].why == f"its range rests on {rare} quasar of the reference: only a large loss is seen"
    )
    assert quiet["recall[galaxy]"].why == quiet["accuracy"].why == ""
    output[labels == 2] = output[labels == 2][:, [2, 1, 0]]  # every quasar is taken for a star
    told = {f.name: f for f in performance.figures(labels.astype(np.float64), output)[0]}
    assert told["accuracy"].alert
    assert "most was lost in recall[quasar], 0" in told["accuracy"].why
    assert f"on {rare} of them" in told["accuracy"].why
