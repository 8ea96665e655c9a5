"""Every classical model keeps one contract."""

import numpy as np
import pytest

from estampa import parts
from estampa.errors import RecipeError
from estampa.models.tables._space import Choice, Number, Whole, class_weights, draw
from estampa.recipe import check_options

FOLDER = "models/tables"
METHODS = ("logistic", "tree", "knn", "forest", "boosting")


def blobs(n=240, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    return (rng.normal(size=(n, 4)) + 1.5 * labels[:, None] * [1, -1, 0, 0]).astype(np.float32), labels


def test_the_folder_holds_the_five_methods_in_the_order_of_their_simplicity():
    assert set(parts.names(FOLDER)) == set(METHODS)
    assert [parts.load(FOLDER, name).SIMPLICITY for name in METHODS] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", METHODS)
def test_each_learns_answers_probabilities_and_is_the_same_again(method):
    module = parts.load(FOLDER, method)
    x, y = blobs()
    small = {"trees": 20} if method == "forest" else {"rounds": 20} if method == "boosting" else {}
    options = module.Options(**small)
    output = [module.estimator(options, 3, threads, y).fit(x, y).predict_proba(x) for threads in (1, 2)]
    assert output[0].shape == (240, 3)
    assert np.allclose(output[0].sum(axis=1), 1)
    assert np.array_equal(output[0], output[1])
    assert (output[0].argmax(axis=1) == y).mean() > 0.7


@pytest.mark.parametrize("method", METHODS)
def test_every_drawn_setting_is_one_that_the_model_takes(method):
    module = parts.load(FOLDER, method)
    assert set(module.SPACE) <= set(module.Options.model_fields)
    drawn = [draw(module.SPACE, np.random.default_rng(i)) for i in range(60)]
    for values in drawn:
        assert (
            check_options(module.Options, values, method).model_dump() | values == module.Options(**values).model_dump()
        )
    for key, kind in module.SPACE.items():
        assert kind.words()
        assert len({str(values[key]) for values in drawn}) > 1 or isinstance(kind, Choice)
    assert drawn == [draw(module.SPACE, np.random.default_rng(i)) for i in range(60)]


@pytest.mark.parametrize("method", METHODS)
def test_unknown_keys_and_values_out_of_range_are_refused(method):
    module = parts.load(FOLDER, method)
    with pytest.raises(RecipeError, match="unknown key 'treess'"):
        check_options(module.Options, {"treess": 3}, method)
    key = next(iter(module.SPACE))
    with pytest.raises(RecipeError, match=key):
        check_options(module.Options, {key: -3}, method)


def test_ranges_are_even_and_hold_their_ends():
    rng = np.random.default_rng(0)
    whole = [Whole(1, 4, log=True).draw(rng) for _ in range(2000)]
    assert set(whole) == {1, 2, 3, 4}
    assert whole.count(1) > whole.count(4)
    numbers = np.array([Number(0.01, 100, log=True).draw(rng) for _ in range(2000)])
    assert numbers.min() >= 0.01
    assert numbers.max() <= 100
    assert np.mean(numbers < 1) == pytest.approx(0.5, abs=0.05)
    assert {Whole(2, 3).draw(rng) for _ in range(50)} == {2, 3}


def test_class_weights_are_scikit_learns_to_the_power():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array([0] * 90 + [2] * 10)
    balanced = compute_class_weight("balanced", classes=np.array([0, 2]), y=labels)
    assert class_weights(1.0, labels) == pytest.approx(dict(zip([0, 2], balanced, strict=True)))
    assert class_weights(0.5, labels)[2] == pytest.approx(np.sqrt(balanced[1]))
    assert class_weights(0.0, labels) is None


def test_weights_move_answers_towards_the_rare_class():
    rng = np.random.default_rng(1)
    labels = (rng.random(600) < 0.1).astype(int)
    x = (rng.normal(size=(600, 2)) + labels[:, None]).astype(np.float32)
    for method in ("logistic", "tree", "forest", "boosting"):
        module = parts.load(FOLDER, method)
        plain, weighted = (
            module.estimator(module.Options(balance=b, leaf=20) if method != "logistic" else module.Options(balance=b),
                             0, 1, labels).fit(x, labels).predict(x).mean() for b in (0.0, 1.0)
        )  # fmt: skip
        assert weighted > plain


def test_neighbours_are_no_more_than_objects():
    module = parts.load(FOLDER, "knn")
    x, y = blobs(9)
    assert module.estimator(module.Options(neighbours=50), 0, 1, y).fit(x, y).predict_proba(x).shape == (9, 3)


def test_products_of_many_columns_are_not_tried():
    logistic = parts.load(FOLDER, "logistic")
    assert logistic.limited(10) == {}
    assert logistic.limited(5000) == {"degree": 1}
