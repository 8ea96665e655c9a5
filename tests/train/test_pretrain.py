"""First weights from simulated stamps."""

import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from estampa.data.builders.simulate import simulate
from estampa.data.read import build
from estampa.data.record import Header, ReadRecord
from estampa.progress import SILENT
from estampa.recipe import read
from estampa.train import lessons, pretrain
from estampa.train.choose import complete
from estampa.train.feed import ArraySet
from estampa.train.fit import fit_net

CHANNELS = ("science", "template", "difference")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))


def recipe(**changes):
    small = {
        "model.filters": (4, 6, 8), "train.pretrain_stamps": 400, "train.pretrain_epochs": 1, "train.epochs": 1,
        "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
    }  # fmt: skip
    return read("stamps").with_values({**small, "train.pretrain": "simulate", "data.task": "classification", **changes})


def alerts(n=60, classes=("0", "1"), channels=CHANNELS):
    """Simulated stamps that pass for somebody's own."""
    made = simulate(n, seed=5, channels=channels, size=15)
    held = ArraySet(made.images, made.labels, "classification", classes)
    held.header = Header(
        n=n, shape=held.shape, dtype="float32", task="classification", classes=classes, channels=channels,
        read=ReadRecord(source="arrays"),
    )  # fmt: skip
    return held


def test_lessons_are_kept_and_the_same_again(tmp_path):
    first, said = pretrain.first_weights(recipe(), alerts(), SILENT)
    assert "400 simulated stamps" in said
    assert first is not None
    again, said = pretrain.first_weights(recipe(), alerts(), SILENT)
    assert "from the cache" in said
    assert all(torch.equal(first[k], again[k]) for k in first)
    for path in (tmp_path / "cache").rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    anew, said = pretrain.first_weights(recipe(), alerts(), SILENT)
    assert "in 1 epochs" in said
    assert all(torch.equal(first[k], anew[k]) for k in first)


def test_a_net_begins_with_them_and_one_seed_gives_one_net():
    chosen = recipe(**{"train.rate": 1e-9, "train.weight_decay": 0.0})
    weights, _ = pretrain.first_weights(complete(chosen, alerts())[0], alerts(), SILENT)
    fitted = fit_net(alerts(), chosen, train_rows=np.arange(60))
    kept = fitted.network.body.state_dict()
    for name, value in weights.items():
        if name.endswith(("weight", "bias")):
            torch.testing.assert_close(kept[name], value, atol=1e-4, rtol=0)
    assert any("First weights" in line for line in fitted.decisions)
    assert fitted.recipe.train.pretrain == "simulate"
    assert torch.equal(
        kept["output.weight"],
        fit_net(alerts(), chosen, train_rows=np.arange(60)).network.body.state_dict()["output.weight"],
    )


def test_classes_in_the_other_order_are_taught_in_that_order():
    there = pretrain.first_weights(recipe(), alerts(classes=("bogus", "real")), SILENT)[0]
    back = pretrain.first_weights(recipe(), alerts(classes=("real", "bogus")), SILENT)[0]
    assert there is not None
    assert back is not None
    assert not torch.equal(there["output.weight"], back["output.weight"])


@pytest.mark.parametrize(
    ("classes", "which"),
    [
        (("0", "1"), 1),
        (("Real", "Bogus"), 0),
        (("bogus", "supernova"), 1),
        (("supernova", "artifact"), 0),
        (("a", "b"), None),
    ],
)
def test_the_real_class_is_known_by_name(classes, which):
    assert lessons.real_class(classes) == which


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"channels": ()}, "no names"),
        ({"channels": ("science", "template", "mask")}, "no channel 'mask'"),
        ({"classes": ("a", "b", "c")}, "two classes"),
        ({"classes": ("ok", "junk")}, "neither 'ok' nor 'junk' is a name for real"),
        ({"shape": (15, 16, 3)}, "squares of 11 to 63"),
        ({"shape": (65, 65, 3)}, "squares of 11 to 63"),
        ({"origin": {"builder": "simulate"}}, "simulated themselves"),
    ],
)
def test_it_says_why_there_is_nothing_to_learn(change, why):
    header = replace(alerts().header, **change)
    asked = SimpleNamespace(header=header, shape=header.shape, classes=header.classes)
    weights, said = pretrain.first_weights(recipe(), asked, SILENT)
    assert weights is None
    assert why in said


def test_a_time_limit_holds_for_lessons_too(tmp_path):
    chosen = recipe(
        **{
            "train.time_limit": 1.0,
            "train.pretrain_stamps": 100_000,
            "train.pretrain_epochs": 1000,
            "train.epochs": 1000,
        }
    )
    began = time.perf_counter()
    fitted = fit_net(alerts(), chosen, train_rows=np.arange(60))
    assert time.perf_counter() - began < 20  # of which most is not training
    assert "time limit" in fitted.stopped
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert fitted.recipe.train.time_limit == 1.0


def test_without_lessons_the_recipe_that_is_written_back_says_so(tmp_path):
    dataset = build("simulate", tmp_path / "s.h5", builder_options={"n": "80"})
    fitted = fit_net(dataset, recipe(), train_rows=np.arange(80))
    assert fitted.recipe.train.pretrain == "none"
