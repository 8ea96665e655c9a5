"""McNemar's exact test, held against sums of binomial coefficients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from estampa.errors import InputError
from estampa.measure.pairs import Discordance, discordance, sign_test


@pytest.mark.parametrize(("one", "two"), [(0, 0), (5, 5), (1, 9), (9, 1), (0, 12), (40, 61)])
def test_p_is_twice_the_tail(one: int, two: int) -> None:
    n = one + two
    tail = sum(math.comb(n, k) for k in range(min(one, two) + 1)) / 2**n
    assert sign_test(one, two) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_many_objects_are_no_trouble() -> None:
    assert sign_test(500_000, 500_000) == 1.0
    assert 0 < sign_test(49_000, 51_000) < 1e-8


def test_counts() -> None:
    first = np.array([True, True, True, False, False])
    second = np.array([True, False, False, True, False])
    assert discordance(first, second) == Discordance(1, 2, 1, 1)
    assert discordance(first, second).to_json()["p"] == 1.0


def test_two_rows_of_truth_values_are_needed() -> None:
    with pytest.raises(InputError, match="two answers to the same objects"):
        discordance(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(InputError, match="int64"):
        discordance(np.ones(3, np.int64), np.ones(3, bool))


def test_the_level_is_kept() -> None:
    draw = np.random.default_rng(0)
    found = [sign_test(k, 60 - k) < 0.05 for k in draw.binomial(60, 0.5, 2000).tolist()]
    assert np.mean(found) <= 0.05
