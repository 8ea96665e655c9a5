"""Study characters: one training a net, its peak on the test part beside the epoch that validation chose."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa import recipe, studies
from estampa.data.builders import characters as drawing
from estampa.data.read import build
from estampa.errors import InputError
from estampa.progress import SILENT
from estampa.studies import characters
from estampa.studies._table import Ledger

pytest.importorskip("timm", reason="timm is not installed: pip install 'estampa[pretrained]'")
NETS = {"characters", "characters-frozen", "pictures-pretrained"}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two epochs on one thread, a tiny backbone with random weights, small pictures."""
    read = recipe.read

    def shortened(name: str) -> recipe.Recipe:
        few = {
            "train.epochs": 2, "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
            "evaluate.resamples": 100, "evaluate.baselines": False,
        }  # fmt: skip
        if name in NETS:
            few |= {"model.backbone": "test_efficientnet", "model.weights": "none", "model.side": 48}
        if name in ("characters", "characters-frozen"):
            few |= {"data.size": (60, 40), "data.shape": (60, 40, 3)}
        if name == "pictures-pretrained":
            few |= {"train.head_epochs": 1, "train.unfreeze": "all"}
        return read(name).with_values(few)

    monkeypatch.setattr(characters.recipe, "read", shortened)
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESTAMPA_DATA", raising=False)
    monkeypatch.setattr(characters, "DRAWN", {"each": "12"})


@pytest.mark.usefixtures("quick")
@pytest.mark.timeout(600)
def test_every_way_on_drawn_pictures_and_its_page(tmp_path: Path) -> None:
    made = studies.reproduce("characters", output=tmp_path / "out")
    ways = [row.way for row in made.rows]
    assert ways == ["published"] * 4 + ["as published, run here", "done right"] * 4 + ["ours"]
    assert all(row.fault == characters.PEEKED for row in made.rows if row.way == "as published, run here")
    judged = made.rows[-1].n
    assert judged > 0
    assert {row.n for row in made.rows} == {0, judged}
    for peak, right in zip(made.rows[4:12:2], made.rows[5:12:2], strict=True):
        assert peak.metrics["accuracy"].value >= right.metrics["accuracy"].value - 1e-6
    assert any("DRAWN" in note for note in made.notes)
    page = (tmp_path / "out" / "report.html").read_text()
    for words in ("Between training and test pictures", "drawn, never used", "Pretrained net, frozen but for its head"):
        assert words in page
    history = [
        json.loads(line) for line in (tmp_path / "out" / "run-frozen" / "history.jsonl").read_text().splitlines()
    ]
    assert all("test_accuracy" in row for row in history)
    ours = (tmp_path / "out" / "run-ours" / "history.jsonl").read_text()
    assert "test_accuracy" not in ours, "only the study's own nets are followed on the test part"
    runs = {key: json.loads((tmp_path / "out" / f"run-{key}" / "metrics.json").read_text()) for key in ("cnn", "ours")}
    assert runs["cnn"]["data"]["counts"] == runs["ours"]["data"]["counts"], "all ways have the same parts"


@pytest.mark.usefixtures("quick")
def test_all_sizes_of_the_same_pictures_have_the_same_parts(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    build("characters", tmp_path / "x.h5", builder_options={"each": "8", "size": "32", "folder": str(folder)})
    views = characters._Views(folder, Ledger(tmp_path / "ledger", SILENT))
    large, small = views.of("characters"), views.of("characters-cnn")
    assert large.shape == (60, 40, 3)
    assert small.shape == (100, 75, 3)
    seen = views.of("pictures-pretrained").shape
    assert seen is not None
    assert 96 <= max(seen[:2]) <= 224, "as large as a pretrained net is given pictures without settings"
    assert list(large.ids) == list(small.ids)
    assert (large.split == small.split).all()
    assert set(large.split) == {1, 2, 3}


@pytest.mark.usefixtures("quick")
def test_what_is_no_set_of_pictures_with_classes_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "loose"
    folder.mkdir()
    picture = drawing.draw(0, np.random.default_rng(0))
    picture.save(folder / "one.png")
    with pytest.raises(InputError, match="not a set of pictures with classes"):
        studies.reproduce("characters", data=folder, output=tmp_path / "out")
