"""The simple model's doubts: planted wrong labels are among them, weak models say so, the page shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_labels import flipped

from estampa.cli import main
from estampa.data.check import check
from estampa.data.read import build
from estampa.evaluate import doubts as room
from estampa.evaluate.doubts import quick_doubts
from estampa.prepare.descriptors import histograms


def test_flipped_labels_of_digits_are_doubted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, wrong = flipped(tmp_path)
    dataset = build(source, tmp_path / "dirty.h5")
    found = quick_doubts(dataset)
    assert found is not None
    hit = np.isin(found.rows, wrong)
    assert hit.sum() >= 0.8 * len(wrong), "at least 80 % of the flipped labels"
    assert hit.mean() >= 0.5, "at least half of the list is flipped labels"
    assert "The simple model agrees with" in found.remark
    assert found.notes[0].startswith("likely ")
    with pytest.raises(SystemExit) as end:
        main(["check", str(dataset.path), "--page", str(tmp_path / "page.html"), "--no-near"])
    assert end.value.code == 0
    assert f"likely wrong labels  {len(found.rows):>7,}" in capsys.readouterr().out
    html = (tmp_path / "page.html").read_text()
    assert 'id="choices-labels"' in html
    assert "The simple model agrees with" in html


def test_a_model_that_cannot_tell_doubts_nothing_and_says_why(make_dataset: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (120, 8, 8, 1)).astype(np.uint8)
    data = make_dataset(images, np.tile([0, 1], 60), classes=("a", "b", "c"))
    found = quick_doubts(data)
    assert found is not None
    assert len(found.rows) == 0
    assert "too few for its doubts to mean anything" in found.remark
    check(data, page=tmp_path / "page.html", doubts=quick_doubts)
    assert "too few for its doubts to mean anything" in (tmp_path / "page.html").read_text()


def test_only_labelled_pictures_are_described(make_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a million without a label must cost nothing; and answers belong to the rows that they are said of."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 90, (600, 12, 12, 1)).astype(np.uint8)
    labels = np.tile([0, -1, 1, -1], 150)
    images[labels == 1, 3:9, 3:9] += 120
    wrong = np.arange(0, 600, 30)  # of both classes
    labels[wrong] = 1 - labels[wrong]
    seen = []
    monkeypatch.setattr(room, "histograms", lambda small: (seen.append(len(small)), histograms(small))[1])
    found = quick_doubts(make_dataset(images, labels, classes=("a", "b", "c")))
    assert found is not None
    assert sum(seen) == 300
    hit = np.isin(wrong, found.rows)
    assert hit.sum() >= 10, found.remark
    assert len(found.rows) <= 30


def test_what_cannot_be_looked_at_is_said(make_dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1)).astype(np.uint8)
    assert quick_doubts(make_dataset(images, np.linspace(0, 1, 60))) is None
    few = quick_doubts(make_dataset(images, np.r_[np.zeros(55), np.ones(5)].astype(int), classes=("a", "b", "c")))
    assert few is not None
    assert "fewer than 10 objects cannot be cross-validated: 'b'." in few.remark
    one = quick_doubts(make_dataset(images, np.zeros(60, int), classes=("a", "b")))
    assert one is not None
    assert "one class only" in one.remark
    monkeypatch.setattr(room, "MOST_ROWS", 50)
    many = quick_doubts(make_dataset(images, np.tile([0, 1], 30), classes=("a", "b", "c")))
    assert many is not None
    assert "Not looked for among 60 labels" in many.remark
