"""What a run says of itself."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from estampa.evaluate.judge import judge
from estampa.progress import Clock
from estampa.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    truth = np.array([0, 1, 0, 1, 1, 0])
    output = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7], [0.6, 0.4], [0.8, 0.2]])
    judgement = judge(truth, output, task="classification", classes=("no", "yes"), resamples=200)
    return Run(tmp_path / "r", judgement, "test", 1.5)


def test_the_headline_has_the_interval_the_count_and_the_part(run: Run) -> None:
    assert run.headline.startswith("accuracy 0.833 [")
    assert "6 objects" in run.headline
    assert run.headline.endswith("(test part)")


def test_the_record_is_json_with_the_places(run: Run) -> None:
    record = json.loads(json.dumps(run.to_json(), allow_nan=False))
    assert record["n"] == 6
    assert record["report"].endswith("r/report.html")
    assert record["metrics"]["accuracy"]["value"] == pytest.approx(5 / 6)


def test_the_last_line_is_the_next_command(run: Run) -> None:
    assert run.lines()[-1].startswith("next    estampa predict ")


def test_a_stage_that_is_entered_again_adds_up_even_when_it_fails() -> None:
    clock = Clock()

    def fail() -> None:
        with clock.of("work"):
            time.sleep(0.01)
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
    assert clock.seconds["work"] >= 0.02
