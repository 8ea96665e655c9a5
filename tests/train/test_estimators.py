"""The estimators keep scikit-learn's contract."""

import numpy as np
import pytest
from made import bars, brightness, recipe
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.utils.validation import check_is_fitted

from estampa.errors import ContractError, InputError
from estampa.train.estimators import NetClassifier, NetRegressor, as_images

QUICK = {"train.epochs": 12, "train.rate": 0.01}


def classifier(**more):
    return NetClassifier(recipe(), settings=QUICK, **more)


def test_constructor_stores_and_clone_works():
    one = classifier(random_state=4)
    assert one.get_params()["random_state"] == 4
    two = clone(one)
    assert two is not one
    assert two.get_params() == one.get_params()
    assert two.set_params(random_state=5) is two
    assert two.random_state == 5
    assert "random_state=4" in repr(one)
    with pytest.raises(InputError, match=r"no parameter 'epochs'.*recipe"):
        one.set_params(epochs=3)
    assert is_classifier(one)
    assert is_regressor(NetRegressor())


def test_not_fitted_is_scikit_learns_error():
    for call in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="call fit"):
            getattr(classifier(), call)(bars().images)
    with pytest.raises(NotFittedError):
        check_is_fitted(classifier())


def test_classes_order_the_columns_and_labels_may_be_words():
    data = bars(240)
    words = np.array(["upright", "none", "flat"])[data.labels]
    net = classifier().fit(data.images[:180], words[:180], validation=(data.images[180:], words[180:]))
    assert net.classes_.tolist() == ["flat", "none", "upright"]
    p = net.predict_proba(data.images[180:])
    assert p.shape == (60, 3)
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    assert np.array_equal(net.predict(data.images[180:]), net.classes_[p.argmax(1)])
    assert net.score(data.images[180:], words[180:]) > 0.85
    assert net.history_[-1]["validation_accuracy"] == pytest.approx(net.score(data.images[180:], words[180:]))
    check_is_fitted(net)


def test_random_state_decides():
    data = bars()
    a, b, c = (
        classifier(random_state=s).fit(data.images, data.labels).predict_proba(data.images[:9]) for s in (1, 1, 2)
    )
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_it_stands_in_scikit_learns_cross_validation():
    data = bars(120)
    scores = cross_val_score(classifier(), data.images, data.labels, cv=2)
    assert scores.shape == (2,)
    assert scores.mean() > 0.5


def test_regressor():
    data = brightness(240)
    net = NetRegressor(recipe(), settings={**QUICK, "model.output": "linear"})
    net.fit(data.images[:180], data.labels[:180], validation=(data.images[180:], data.labels[180:]))
    assert net.predict(data.images[180:]).shape == (60,)
    assert net.score(data.images[180:], data.labels[180:]) > 0.85


def test_strange_validation_labels_are_named():
    data = bars()
    with pytest.raises(InputError, match=r"1 validation labels do not occur.*9"):
        classifier().fit(data.images, data.labels, validation=(data.images[:1], np.array([9])))


def test_mismatched_lengths_are_refused():
    data = bars()
    with pytest.raises(InputError, match="160 images, 159 labels"):
        classifier().fit(data.images, data.labels[:-1])


def test_prediction_on_other_pictures_names_both_sides():
    data = bars()
    net = classifier().fit(data.images, data.labels)
    with pytest.raises(ContractError, match=r"\(10, 10, 2\).*\(10, 10, 1\)"):
        net.predict(data.images[..., :1])
    with pytest.raises(ContractError, match=r"uint8.*float64"):
        net.predict(data.images / 255)


@pytest.mark.parametrize(("given", "stored"), [
    (np.zeros((2, 3, 3), bool), "uint8"), (np.zeros((2, 3, 3)), "float32"), (np.full((2, 3, 3), 300), "uint16"),
    (np.full((2, 3, 3), 7), "uint8"), (np.zeros((2, 3, 3), np.uint16), "uint16"),
])  # fmt: skip
def test_images_become_one_of_three_types(given, stored):
    made = as_images(given)
    assert made.shape == (2, 3, 3, 1)
    assert str(made.dtype) == stored
    assert np.array_equal(made[..., 0], given)


@pytest.mark.parametrize("given", [np.full((2, 3, 3), 70_000), np.full((2, 3, 3), -1)])
def test_whole_numbers_that_fit_no_type_are_refused(given):
    with pytest.raises(ContractError, match="pixels that are not what the net is fed"):
        as_images(given)
    with pytest.raises(InputError, match="2 axes"):
        as_images(np.zeros((2, 3)))
    with pytest.raises(InputError, match="not numbers"):
        as_images(np.full((2, 3, 3), "a"))
