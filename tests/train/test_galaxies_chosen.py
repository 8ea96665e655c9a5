"""What is chosen for cut-outs of the sky: recipe, crop, symmetry, exchanged classes, lessons."""

import numpy as np
import pytest

from estampa.data.builders._galaxy_light import KINDS
from estampa.data.builders.galaxies import simulate_galaxies
from estampa.data.record import Header, ReadRecord
from estampa.progress import SILENT
from estampa.recipe import Recipe, read
from estampa.train import lessons, pretrain
from estampa.train.choose import complete, default_for
from estampa.train.feed import ArraySet
from estampa.train.fit import fed, fit_net

IMAGES, LABELS = simulate_galaxies(96, size=64, width=4.9, seed=2)


def galaxies(images=IMAGES, labels=LABELS, origin=None):
    held = ArraySet(images, labels, "classification", KINDS)
    held.header = Header(
        n=len(images), shape=held.shape, dtype=str(images.dtype), task="classification", classes=KINDS,
        channels=("red", "green", "blue"), read=ReadRecord(source="folder", mode="RGB"), origin=origin or {},
    )  # fmt: skip
    return held


def quick(**changes):
    small = {
        "model.filters": (4, 6, 8), "train.pretrain_stamps": 128, "train.pretrain_epochs": 1, "train.epochs": 1,
        "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
    }  # fmt: skip
    return read("galaxies").with_values({**small, **changes})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))


def test_cutouts_of_the_sky_get_the_recipe_galaxies_and_others_do_not():
    assert default_for(galaxies())[0] == "galaxies"
    noise = np.random.default_rng(0).integers(0, 255, IMAGES.shape).astype(np.uint8)
    assert default_for(galaxies(noise))[0] == "pictures"


def test_crop_symmetry_and_twins_are_decided_and_said():
    whole, said = complete(Recipe(name="auto"), galaxies())
    prepare = whole.prepare
    assert prepare.crop == 42  # 64 / 1.5, the same margin on both sides
    assert prepare.side == 0
    assert prepare.symmetry == "d4"
    assert prepare.mirrored == (("spiral_clockwise", "spiral_anticlockwise"),)
    assert whole.train.pretrain == "galaxies"
    text = " ".join(said)
    for words in ("central 42 x 42", "neither up nor down", "A mirror exchanges classes: spiral_clockwise"):
        assert words in text
    assert fed(whole, (64, 64, 3)) == (42, 42, 3)


def test_lessons_give_everything_but_the_output_layer():
    whole, _ = complete(quick(), galaxies())
    weights, said = pretrain.first_weights(whole, galaxies(), SILENT)
    assert "128 simulated galaxies" in said
    assert weights is not None
    assert not any(name.startswith("output.") for name in weights)
    fitted = fit_net(galaxies(), quick(**{"train.rate": 1e-9}), train_rows=np.arange(96))
    kept = fitted.network.body.state_dict()
    for name in (n for n in weights if n.endswith("weight")):
        np.testing.assert_allclose(kept[name], weights[name], atol=1e-4)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: galaxies(IMAGES[..., :1]), "these are 1 channels of uint8"),
        (lambda: galaxies(IMAGES.astype(np.uint16)), "3 channels of uint16"),
        (lambda: galaxies(IMAGES[:, :20, :20]), "the net sees 20 x 20"),
        (lambda: galaxies(origin={"builder": "galaxies"}), "simulated themselves"),
    ],
)
def test_it_says_why_there_is_nothing_to_learn(made, why):
    whole = quick(**{"prepare.crop": 0, "prepare.side": 0, "train.pretrain": "galaxies"})
    found = lessons.galaxies(whole, made())
    assert isinstance(found, str)
    assert why in found


def test_the_answer_to_a_mirrored_galaxy_is_the_mirrored_answer():
    fitted = fit_net(galaxies(), quick(few={}), train_rows=np.arange(96))
    answer = fitted.predict(IMAGES[:20])
    mirrored = fitted.predict(np.ascontiguousarray(IMAGES[:20, :, ::-1]))
    assert fitted.exchange is not None
    np.testing.assert_allclose(mirrored[:, fitted.exchange], answer, atol=1e-4)
    assert fitted.exchange.tolist() == [0, 1, 2, 4, 3, 5, 6]


def test_copies_are_of_the_training_part_alone_and_learned_from_turned():
    balanced = quick(**{
        "few": {}, "prepare.balance": "copies", "prepare.balance_to": 12, "prepare.symmetry": "none",
        "prepare.rotate": 0.0, "prepare.zoom": 0.0, "prepare.shift": 0, "train.epochs": 2,
    })  # fmt: skip
    one = fit_net(galaxies(), balanced, train_rows=np.arange(80), validation_rows=np.arange(80, 96))
    spoilt = IMAGES.copy()
    spoilt[80:] = 255 - spoilt[80:]  # what is not in the training part changes nothing that is learned
    two = fit_net(
        galaxies(spoilt), balanced, train_rows=np.arange(80), validation_rows=np.arange(80, 96),
    )  # fmt: skip
    for name, value in one.network.body.state_dict().items():
        np.testing.assert_array_equal(value, two.network.body.state_dict()[name])
    plain = fit_net(galaxies(), balanced.with_values({"prepare.balance": "none"}), train_rows=np.arange(80))
    assert (plain.network.body.state_dict()["output.weight"] != one.network.body.state_dict()["output.weight"]).any()


def test_pictures_that_are_no_squares_are_not_brought_to_one():
    wide = np.random.default_rng(0).integers(0, 255, (40, 110, 140, 3)).astype(np.uint8)
    whole, _ = complete(read("galaxies"), galaxies(wide, LABELS[:40]))
    assert (whole.prepare.crop, whole.prepare.side) == (0, 0)
    assert fed(whole, (110, 140, 3)) == (110, 140, 3)
