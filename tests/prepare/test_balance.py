"""Class weights and drawing weights."""

import numpy as np
import pytest

from estampa.prepare import balance

LABELS = np.array([0] * 60 + [1] * 30 + [2] * 10 + [-1] * 5)


def test_class_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    known = LABELS[LABELS >= 0]
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=known)
    np.testing.assert_allclose(balance.class_weights(LABELS, 3), wanted, rtol=1e-6)


def test_an_absent_class_weighs_nothing_and_the_mean_weight_is_1():
    weights = balance.class_weights(LABELS, 4)
    assert weights[3] == 0
    known = LABELS[LABELS >= 0]
    assert weights[known].mean() == pytest.approx(1)


def test_drawing_makes_classes_equally_likely_and_skips_the_unlabelled():
    p = balance.drawing_weights(LABELS, 3)
    assert p.sum() == pytest.approx(1)
    assert [p[c == LABELS].sum() for c in range(3)] == pytest.approx([1 / 3] * 3)
    assert not p[LABELS < 0].any()


def test_imbalance_is_largest_over_smallest_present():
    assert balance.imbalance(LABELS, 9) == 6
    assert balance.imbalance(np.zeros(4, int), 1) == 1


@pytest.mark.parametrize("count", [0, 5, 40, 100])
def test_copies_make_every_class_as_large(count):
    places, angles = balance.copies(LABELS, 4, count, seed=3)
    wanted = count or 60
    np.testing.assert_array_equal(balance.counts(LABELS[places], 4), [wanted, wanted, wanted, 0])
    for number, there in enumerate((60, 30, 10)):
        own = LABELS[places] == number
        originals = places[own & (angles == 0)]
        assert len(originals) == len(set(originals)) == min(there, wanted)
        assert ((angles[own] > 0).sum()) == max(0, wanted - there)
        if wanted > there:  # each object is copied as often as the others, to one
            times = np.bincount(places[own & (angles > 0)], minlength=len(LABELS))[number == LABELS]
            assert np.ptp(times) <= 1
    again = balance.copies(LABELS, 4, count, seed=3)
    np.testing.assert_array_equal(again[0], places)
    np.testing.assert_array_equal(again[1], angles)


def test_a_power_leads_from_unequal_to_equal_weights():
    equal, half, none = (balance.class_weights(LABELS, 3, power) for power in (1.0, 0.5, 0.0))
    np.testing.assert_allclose(none, 1, rtol=1e-6)
    np.testing.assert_allclose(half / half[0], np.sqrt(equal / equal[0]), rtol=1e-5)
    known = LABELS[LABELS >= 0]
    assert half[known].mean() == pytest.approx(1)
