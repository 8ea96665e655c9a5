"""Labels in little memory: what they count is what the file of labels says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from estampa.monitor.feedback import CHOSEN, GIVEN, PAGE, RANDOM, Label, drawn_of, gathered, lines_of_labels
from estampa.monitor.feedback import Given as Line
from estampa.monitor.log import LogWriter
from estampa.serve import tally as module
from estampa.serve.tally import Tally

MODELS, CLASSES = ("0" * 12, "1" * 12), ("a", "b")


@pytest.mark.parametrize("classes", [CLASSES, ()])
def test_it_counts_as_monitor_does(classes: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FRESH", 16)
    draw, tally, writer = np.random.default_rng(4), Tally(), LogWriter(tmp_path / "labels")
    some: list[Label] = ["a", "b", "comet", None, 1.5, -2.0]
    for i in range(1500):
        name, model = f"r{draw.integers(300)}", int(draw.random() < 0.1)
        drawn = GIVEN if draw.random() < 0.5 else drawn_of(name)
        label = some[draw.integers(len(some))]
        writer.append(lines_of_labels({name: label}, [MODELS[model]], PAGE, drawn))
        tally.take(Line(i, name, label, datetime.now(UTC), MODELS[model], PAGE, drawn))
    for model in MODELS:
        told, found = gathered(tmp_path / "labels", classes, model), tally.counts(model, classes)
        assert (found.chosen, found.aside) == (told.chosen, told.aside)
        assert min(found.chosen, found.given, found.random, found.aside) > 0
        assert found.turn == (RANDOM if found.random <= found.chosen else CHOSEN) or classes
        assert bool(found.news) == bool(classes)
    both = [tally.counts(model, classes) for model in MODELS]
    known = gathered(tmp_path / "labels", classes).labels
    assert sum(one.given + one.random for one in both) == len(known)
    for name, label in known.items():
        assert tally.label(name)[0] == label
    assert len(list(tally.labelled(f"r{i}" for i in range(400)))) == sum(
        len(gathered(tmp_path / "labels", of).labels) + gathered(tmp_path / "labels", of).chosen
        + gathered(tmp_path / "labels", of).aside + sum(gathered(tmp_path / "labels", of).unknown.values())
        for of in (CLASSES, ())
    )  # fmt: skip


def test_it_is_small() -> None:
    tally, now = Tally(), datetime.now(UTC)
    for i in range(50_000):
        tally.take(Line(i, f"r.{i}", "a", now, MODELS[0], PAGE, GIVEN))
    assert len(tally._keys) > 40_000
    assert (tally._keys.nbytes + tally._codes.nbytes + tally._values.nbytes) <= 20 * 50_000
    assert tally.label("r.7") == ("a", GIVEN)
    assert tally.label("r.50000") is None
    assert tally.counts(MODELS[0], CLASSES).given == 50_000
