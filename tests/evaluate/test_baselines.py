"""What a model must beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from estampa.errors import InputError
from estampa.evaluate import baselines as room
from estampa.evaluate import baselines_pictures as pictures_room
from estampa.evaluate.baselines import baselines, block_means
from estampa.progress import Progress


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_TREES", 20)
    monkeypatch.setattr(pictures_room, "TREES", 20)


def test_three_methods_on_one_split(blobs: Any) -> None:
    found = {b.name: b for b in baselines(blobs, blobs.rows("train"), blobs.rows("test"), resamples=100)}
    assert list(found) == [
        "majority", "logistic regression", "random forest", "forest on components", "forest on descriptors"
    ]  # fmt: skip
    plain = found["majority"].judgement.metrics
    assert plain["accuracy"].value < 0.5
    assert plain["roc_auc"].value == 0.5
    for name in ("logistic regression", "random forest", "forest on components"):
        assert found[name].judgement.metrics["accuracy"].low > plain["accuracy"].high
    for name in ("logistic regression", "random forest"):
        assert found[name].judgement.n == 90
        assert found[name].note == ""
        assert "output" not in found[name].to_json()


def test_same_seed_same_answer(blobs: Any) -> None:
    first, second = (
        baselines(blobs, blobs.rows("train"), blobs.rows("test"), 5, resamples=100)[2].output for _ in range(2)
    )
    assert (first == second).all()


def test_what_is_cut_is_said(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_ROWS", 60)
    monkeypatch.setattr(room, "MOST_VALUES", 9)
    monkeypatch.setattr(block_means, "__defaults__", (9,))
    found = baselines(blobs, blobs.rows("train"), blobs.rows("test"), resamples=100)
    assert "60 of 120 objects" in found[1].note
    assert "36 values an object reduced to 9" in found[1].note


def test_block_means() -> None:
    images = np.arange(2 * 5 * 7 * 2, dtype=np.uint8).reshape(2, 5, 7, 2)
    assert (block_means(images, 70) == images.reshape(2, -1)).all()
    halved = block_means(images, 24).reshape(2, 3, 4, 2)
    assert halved[0, 0, 0, 0] == pytest.approx(images[0, :2, :2, 0].mean())
    assert halved[1, 2, 3, 1] == images[1, 4, 6, 1]  # the corner block holds one pixel
    assert block_means(images, 1).shape == (2, 2)  # one value a channel is the least


def test_regression_and_missing_pixels(make_dataset: Any) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(120, 4, 4, 1)).astype(np.float32)
    labels = images.sum(axis=(1, 2, 3)).astype(np.float64)
    images[::7, 0, 0] = np.nan
    images[:, 3, 3] = np.nan  # a pixel that is never there
    data = make_dataset(images, labels)
    found = {b.name: b for b in baselines(data, np.arange(80), np.arange(80, 120), resamples=100)}
    assert list(found)[:3] == ["mean", "ridge regression", "random forest"]
    assert found["forest on components"].judgement.metrics["r2"].value > 0
    assert np.isfinite(found["forest on descriptors"].output).all()
    assert found["ridge regression"].judgement.metrics["r2"].value > 0.5
    assert found["mean"].judgement.metrics["r2"].value <= 0


def test_a_class_that_training_lacks_has_probability_0(blobs: Any) -> None:
    train = blobs.rows("train")
    known = train[np.asarray(blobs.labels)[train] != 1]
    found = baselines(blobs, known, blobs.rows("test"), resamples=100)
    assert all((b.output[:, 1] == 0).all() for b in found)
    only = train[np.asarray(blobs.labels)[train] == 2]
    assert "one class only" in baselines(blobs, only, blobs.rows("test"), resamples=100)[1].note


def test_nothing_to_learn_from_is_refused(blobs: Any) -> None:
    with pytest.raises(InputError, match="need training rows"):
        baselines(blobs, np.array([], int), blobs.rows("test"))


def test_forests_on_components_and_descriptors_say_what_they_saw(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures_room, "MOST_ROWS", 100)
    monkeypatch.setattr(pictures_room, "COMPONENTS", 7)
    found = {b.name: b for b in baselines(blobs, blobs.rows("train"), blobs.rows("test"), resamples=100)}
    note = found["forest on components"].note
    assert note.startswith("7 principal components, ")
    assert "learned from 100 of 120 objects" in note
    assert "learned from 100 of 120 objects" in found["forest on descriptors"].note
    assert found["forest on components"].judgement.n == 90


def test_descriptors_that_take_too_long_are_left_out_and_it_is_said(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures_room, "SECONDS", 1e-6)
    said: list[str] = []

    class Telling(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    found = baselines(blobs, blobs.rows("train"), blobs.rows("test"), resamples=100, progress=Telling())
    assert "forest on descriptors" not in [b.name for b in found]
    assert any("no baseline on descriptors" in line for line in said)


def test_pictures_are_reduced_before_their_descriptors_are_taken(make_dataset: Any) -> None:
    images = np.random.default_rng(0).integers(0, 255, (30, 70, 66, 3)).astype(np.uint8)
    small = pictures_room.smaller(images)
    assert small.shape == (30, 23, 22, 3)
    assert small[0, 0, 0, 0] == pytest.approx(images[0, :3, :3, 0].mean())
    thin = images[:, :, :2]
    assert pictures_room.smaller(thin) is thin
    data = make_dataset(images, np.arange(30) % 2, classes=("a", "b"))
    found = {b.name: b for b in baselines(data, np.arange(20), np.arange(20, 30), resamples=100)}
    assert "pictures reduced to 32 pixels" in found["forest on descriptors"].note


def test_the_same_picture_everywhere_has_no_components(make_dataset: Any) -> None:
    data = make_dataset(np.full((40, 6, 6, 1), 7, np.uint8), np.arange(40) % 2, classes=("a", "b"))
    found = [b.name for b in baselines(data, np.arange(30), np.arange(30, 40), resamples=100)]
    assert "forest on components" not in found
