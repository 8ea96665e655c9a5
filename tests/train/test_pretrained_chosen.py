"""Which colour pictures get a net that has learned on photographs, and what is said about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estampa import machine
from estampa.data.read import ReadOptions
from estampa.data.sizing import sized
from estampa.errors import RecipeError
from estampa.recipe import Recipe, parse
from estampa.river.data import sized_options
from estampa.train import choose
from estampa.train.choose import complete, default_for
from estampa.train.feed import ArraySet

TINY = {"name": "pretrained", "backbone": "test_efficientnet", "weights": "none", "hidden": 4}
PIXELS = np.random.default_rng(0).integers(0, 255, (30, 100, 60, 3), dtype=np.uint8)


def pictures(pixels: np.ndarray = PIXELS) -> ArraySet:
    return ArraySet(pixels, np.arange(len(pixels)) % 3, "classification", ("a", "b", "c"))


@pytest.fixture
def recipe_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe of such pictures, with a net small enough for a test."""
    real = choose.read
    own = parse({"name": choose.PRETRAINED, "model": TINY, "prepare": {"scale": "unit"}}, "test")
    monkeypatch.setattr(choose, "shipped", lambda: [choose.PRETRAINED])
    monkeypatch.setattr(choose, "read", lambda name: own if name == choose.PRETRAINED else real(name))


def test_without_timm_the_decision_says_what_to_install(recipe_at_hand: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "version_of", lambda _: None)
    made, said = complete(Recipe(), pictures())
    assert made.model.name != "pretrained"
    (line,) = [s for s in said if "pip install 'estampa[pretrained]'" in s]
    assert "not at hand is timm" in line
    assert not any("estampa[pretrained]" in s for s in complete(Recipe(), pictures(PIXELS[:, :60]))[1])


class TestWithTimm:
    """Where the extra is installed."""

    @pytest.fixture(autouse=True)
    def _installed(self, recipe_at_hand: None) -> None:  # noqa: ARG002 - a fixture
        pytest.importorskip("timm", reason="the extra 'pretrained' is not installed")

    @pytest.mark.parametrize(
        ("pixels", "name"),
        [
            (PIXELS, choose.PRETRAINED),
            (PIXELS[:, :95], "pictures"),
            (PIXELS[..., :1], "pictures"),
            (PIXELS.astype(np.uint16), "pictures"),
        ],
    )
    def test_colour_pictures_of_96_pixels_get_it(
        self, monkeypatch: pytest.MonkeyPatch, pixels: np.ndarray, name: str
    ) -> None:
        monkeypatch.setattr("estampa.models._weights.at_hand", lambda: "some")
        assert default_for(pictures(pixels))[0] == name

    def test_the_choice_is_said_and_whole(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("estampa.models._weights.at_hand", lambda: "some")
        made, said = complete(Recipe(), pictures())
        assert (made.model.name, made.prepare.scale) == ("pretrained", "unit")
        assert any("weights are at hand" in line and "100 x 60 x 3" in line for line in said)
        again, more = complete(made, pictures())
        assert again == made
        assert more == []

    def test_without_weights_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("estampa.models._weights.at_hand", lambda: "")
        assert any("not at hand is weights" in line for line in complete(Recipe(), pictures())[1])

    def test_pixels_reach_it_between_0_and_1(self) -> None:
        made, _ = complete(Recipe().with_values({"model": TINY}), pictures())
        assert made.prepare.scale == "unit"
        assert made.model.options["side"] == 0
        with pytest.raises(RecipeError, match="statistics") as caught:
            complete(made.with_values({"prepare.scale": "standard"}), pictures())
        assert "Allowed: unit" in str(caught.value)

    def test_training_through_the_loop(self) -> None:
        from estampa.train.fit import fit_net

        told = {"model": TINY, "train.epochs": 1, "train.batch": 10, "train.threads": 1, "train.dtype": "float32"}
        fitted = fit_net(pictures(), Recipe().with_values(told), train_rows=np.arange(30))
        assert fitted.predict(PIXELS[:4]).shape == (4, 3)
        assert fitted.parameters == sum(row.parameters for row in fitted.layers)
        assert fitted.network.state_dict()["body.mean"].shape == (1, 3, 1, 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, size in (("a", (300, 260)), ("b", (300, 260)), ("c", (310, 270))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(4):
            noise = np.random.default_rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "set" / name / f"{number}.png")
    return tmp_path / "set"


def test_photographs_are_read_at_the_size_that_the_net_waits_for(folder: Path) -> None:
    assert max(sized(folder, ReadOptions(), photographs=224).size or ()) == 224
    assert max(sized(folder, ReadOptions()).size or ()) == 64
    assert sized(folder, ReadOptions(), photographs=400).size is None  # smaller ones stay as they are


def test_the_pipeline_asks_for_that_size_where_such_a_net_is_chosen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from estampa.progress import SILENT

    monkeypatch.setattr(choose, "lacking_for_pretrained", lambda: "")
    assert max(sized_options(folder, ReadOptions(), Recipe(), SILENT).size or ()) == 224
    monkeypatch.setattr(choose, "lacking_for_pretrained", lambda: "timm")
    assert max(sized_options(folder, ReadOptions(), Recipe(), SILENT).size or ()) == 64
    named = Recipe().with_values({"model.name": "pretrained"})
    assert max(sized_options(folder, ReadOptions(), named, SILENT).size or ()) == 224
