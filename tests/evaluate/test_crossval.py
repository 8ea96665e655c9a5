"""Folds: balanced, whole groups, and no state that crosses them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estampa import recipe as recipes
from estampa.data.folds import fold_numbers
from estampa.errors import InputError
from estampa.evaluate.crossval import crossval


@given(st.integers(2, 6), st.integers(6, 80), st.integers(1, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_single_objects_are_dealt_evenly(folds: int, n: int, classes: int, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, classes, n)
    found = fold_numbers(labels, folds, task="classification", seed=seed)
    assert np.ptp(np.bincount(found, minlength=folds)) <= 1
    for c in range(classes):
        assert np.ptp(np.bincount(found[labels == c], minlength=folds)) <= 1
    assert (found == fold_numbers(labels, folds, task="classification", seed=seed)).all()


@given(st.integers(2, 5), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_groups_are_kept_whole_and_balanced(folds: int, seed: int, regression: bool) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 40, 400)
    labels = rng.normal(size=400) if regression else rng.integers(0, 3, 400)
    task = "regression" if regression else "classification"
    found = fold_numbers(labels, folds, task=task, groups=groups, seed=seed)
    for group in np.unique(groups):
        assert len(set(found[groups == group])) == 1
    assert np.bincount(found, minlength=folds).min() > 400 / folds * 0.7


def test_regression_folds_have_like_targets() -> None:
    labels = np.random.default_rng(0).exponential(size=300)
    found = fold_numbers(labels, 5, task="regression", seed=1)
    means = [labels[found == i].mean() for i in range(5)]
    assert np.ptp(means) < 0.5


def test_too_many_folds_are_refused() -> None:
    with pytest.raises(InputError, match="cannot make 5 folds"):
        fold_numbers(np.zeros(4, int), 5, task="classification")
    with pytest.raises(InputError, match="groups"):
        fold_numbers(np.zeros(9, int), 4, task="classification", groups=np.arange(9) // 3)


def test_an_unknown_group_ties_nothing() -> None:
    groups = np.array(["", "", "", "", "a", "a"])
    found = fold_numbers(np.zeros(6, int), 3, task="classification", groups=groups)
    assert found[4] == found[5]
    assert np.bincount(found, minlength=3).tolist() == [2, 2, 2]


class Memory:
    """A stand-in net: it knows by heart what it was shown, and guesses the rest. `shown` is its state."""

    def __init__(self, classes: int, shown: dict[bytes, int] | None = None) -> None:
        self.classes, self.shown = classes, {} if shown is None else shown

    def learn(self, dataset: Any, rows: np.ndarray) -> Memory:
        for row, image in zip(rows, dataset.take(rows), strict=True):
            self.shown[image.tobytes()] = int(dataset.labels[row])
        return self

    def predict(self, dataset: Any, rows: np.ndarray) -> np.ndarray:
        said = [self.shown.get(image.tobytes(), int(image.sum()) % self.classes) for image in dataset.take(rows)]
        return np.eye(self.classes)[said]


@pytest.fixture
def planted(make_dataset: Any) -> Any:
    """200 pictures of noise whose two labels were drawn at random: nothing can be learned."""
    rng = np.random.default_rng(7)
    images = rng.integers(0, 255, (200, 4, 4, 1)).astype(np.uint8)
    return make_dataset(images, rng.integers(0, 2, 200), classes=("a", "b"))


def test_no_state_crosses_folds(planted: Any) -> None:
    """Random labels: refitting in each fold stays at chance, one model trained on through all folds seems to know."""
    recipe = recipes.Recipe()

    def refit(
        dataset: Any, recipe: Any, *, train_rows: Any, validation_rows: Any, folder: Any, progress: Any
    ) -> Memory:
        return Memory(2).learn(dataset, train_rows)

    kept = Memory(2)

    def trained_on(dataset: Any, recipe: Any, *, train_rows: Any, **rest: Any) -> Memory:
        return kept.learn(dataset, train_rows)

    right = crossval(planted, recipe, 5, fit=refit)
    wrong = crossval(planted, recipe, 5, fit=trained_on)
    honest, leaked = (c.judgement.metrics["accuracy"] for c in (right, wrong))
    assert honest.low < 0.5 < honest.high
    assert leaked.low > 0.8
    by_fold = [r["metrics"]["accuracy"] for r in wrong.per_fold]
    assert by_fold[0] < 0.7  # only the first fold had not been seen yet
    assert by_fold[1:] == [1.0] * 4


def test_every_fit_is_new_and_sees_nothing_of_its_fold(planted: Any) -> None:
    seen: list[tuple[set[int], int]] = []
    recipe = recipes.Recipe().with_values({"train.keep": "best", "data.validation": 0.2, "train.seed": 3})

    def fit(dataset: Any, recipe: Any, *, train_rows: Any, validation_rows: Any, folder: Any, progress: Any) -> Memory:
        assert not set(train_rows) & set(validation_rows)
        assert len(validation_rows) == pytest.approx(32, abs=2)
        assert folder is None
        seen.append(({*map(int, train_rows), *map(int, validation_rows)}, recipe.train.seed))
        return Memory(2)

    found = crossval(planted, recipe, 5, repeats=2, fit=fit)
    assert [seed for _, seed in seen] == list(range(3, 13))
    for number, (rows, _) in enumerate(seen):
        held = set(found.rows[found.fold[number // 5] == number % 5].tolist())
        assert not rows & held
        assert len(rows | held) == 200
    assert found.output.shape == (2, 200, 2)
    assert found.judgement.n == 400
    assert found.judgement.groups == 200  # an object answered twice is one unit of evidence
    assert (found.fold[0] != found.fold[1]).any()
    assert len(found.to_json()["per_fold"]) == 10


def test_groups_and_copies_stay_together(make_dataset: Any) -> None:
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 255, (30, 4, 4, 1)), 2, axis=0).astype(np.uint8)  # each picture twice
    groups = np.array([f"drawer {i // 6}" for i in range(60)])
    data = make_dataset(images, rng.integers(0, 2, 60), classes=("a", "b"), groups=groups)

    def fit(dataset: Any, recipe: Any, *, train_rows: Any, **rest: Any) -> Memory:
        return Memory(2).learn(dataset, train_rows)

    found = crossval(data, recipes.Recipe(), 5, fit=fit)
    assert found.grouped
    for drawer in np.unique(groups):
        assert len(set(found.fold[0][groups == drawer])) == 1
    alone = make_dataset(images, np.asarray(data.labels), classes=("a", "b"), name="alone")
    copies = crossval(alone, recipes.Recipe(), 5, fit=fit)
    assert not copies.grouped
    assert (copies.fold[0][0::2] == copies.fold[0][1::2]).all()
    grain = rng.integers(40, 215, (30, 16, 16, 1))
    pairs = np.stack([grain, grain * 1.1 + 4], axis=1).reshape(60, 16, 16, 1).astype(np.uint8)  # and a little brighter
    near = crossval(
        make_dataset(pairs, np.asarray(data.labels), classes=("a", "b"), name="n"), recipes.Recipe(), 5, fit=fit
    )
    assert (near.fold[0][0::2] == near.fold[0][1::2]).all()


def test_unlabelled_rows_are_left_out_and_regression_works(make_dataset: Any) -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=40)
    labels[:4] = np.nan
    data = make_dataset(rng.random((40, 3, 3, 1)).astype(np.float32), labels)

    class Mean:
        def __init__(self, value: float) -> None:
            self.value = value

        def predict(self, dataset: Any, rows: np.ndarray) -> np.ndarray:  # noqa: ARG002 - the signature of Fitted
            return np.full(len(rows), self.value)

    def fit(dataset: Any, recipe: Any, *, train_rows: Any, **rest: Any) -> Mean:
        return Mean(float(np.mean(dataset.labels[train_rows])))

    found = crossval(data, recipes.Recipe(), 4, fit=fit)
    assert found.rows.tolist() == list(range(4, 40))
    assert found.judgement.task == "regression"
    assert found.judgement.metrics["r2"].value < 0.05


def test_an_object_of_no_known_group_is_one_unit_over_all_repeats(blobs: Any) -> None:
    quick = recipes.Recipe().with_values({"evaluate.resamples": 100})
    even = SimpleNamespace(predict=lambda _, rows: np.full((len(rows), 3), 1 / 3))
    some = crossval(blobs, quick, 2, 2, groups=np.array(["", "a"]).repeat([236, 4]), fit=lambda *_, **__: even)
    assert some.judgement.groups == 237
    assert some.grouped
    none = crossval(blobs, quick, 2, 2, groups=np.full(240, ""), fit=lambda *_, **__: even)
    assert not none.grouped
    assert none.judgement.groups == 240
