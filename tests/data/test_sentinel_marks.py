"""The rules of all columns at once say what they say one by one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from estampa.data.sentinels import Marks, Rule, invalid

NAMES = ("a", "b", "c")
NUMBERS = st.sampled_from([-9999.0, -1.0, 0.0, 0.5, 1.0, 3.0, 99.0, float("nan"), float("inf")])
FINITE = st.sampled_from([-9999.0, -1.0, 0.0, 0.5, 1.0, 99.0])


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from(["equal", "at_most", "outside", "spike"]))
    values = sorted(draw(st.lists(FINITE, min_size=2, max_size=3)))
    return Rule(draw(st.sampled_from([*NAMES, "elsewhere"])), kind, tuple(values), "")


@given(st.lists(rules(), max_size=6), st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=5))
def test_marks_are_the_rules(some: list[Rule], rows: list[tuple[float, float, float]]) -> None:
    values = np.array(rows, np.float64).reshape(-1, 3)
    expected = ~np.isfinite(values)
    for rule in some:
        if rule.column in NAMES:
            i = NAMES.index(rule.column)
            expected[:, i] |= rule.hits(values[:, i])
    np.testing.assert_array_equal(invalid(values, NAMES, some), expected)
    np.testing.assert_array_equal(Marks.of(NAMES, some).invalid(values), expected)
