"""Which values are no measurements: the documented table, what a column gives away, and what is left alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from estampa.data.sentinels import EVERYWHERE, MAGNITUDES, Rule, invalid, is_magnitude, rules_for, tally


def magnitudes(n: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(14, 22, n)


def failed(column: np.ndarray, name: str, unit: str = "") -> np.ndarray:
    values = column[:, None]
    return invalid(values, [name], rules_for([name], values, [unit]))[:, 0]


@pytest.mark.parametrize("value", [*EVERYWHERE, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["mag_r", "petroR50_r", "lnLExp_i", "anything"])
def test_sentinels_are_failed_in_every_column(value: float, name: str) -> None:
    column = magnitudes()
    column[7] = value
    assert np.flatnonzero(failed(column, name)).tolist() == [7]


@pytest.mark.parametrize("value", MAGNITUDES)
def test_sentinels_of_magnitudes(value: float) -> None:
    column = magnitudes()
    column[3] = value
    assert np.flatnonzero(failed(column, "dered_g")).tolist() == [3]
    assert np.flatnonzero(failed(column, "anything", "mag")).tolist() == [3]
    if value not in EVERYWHERE:
        assert not failed(column, "count").any()


def test_rules_hold_for_values_that_training_never_saw() -> None:
    rules = rules_for(["mag_r"], magnitudes()[:, None])
    new = np.array([[17.0], [0.0], [-9999.0], [99.0], [np.nan]])
    assert invalid(new, ["mag_r"], rules)[:, 0].tolist() == [False, True, True, True, True]


def test_a_value_among_others_like_it_is_a_measurement() -> None:
    whole = np.arange(-1500, 1500).astype(float)  # -1000 is one of them
    assert not failed(whole, "offset").any()
    colours = np.random.default_rng(1).normal(0.3, 0.5, 400)
    colours[5] = 0.0
    assert not failed(colours, "u-g", "mag").any()
    assert not failed(np.array([0.0, 0.1, 0.2] * 20), "extinction_mag", "mag").any()


def test_impossible_signs() -> None:
    size = np.random.default_rng(2).uniform(1, 9, 100)
    size[:2] = (0, -1)
    assert np.flatnonzero(failed(size, "petroR90_z")).tolist() == [0, 1]
    assert np.flatnonzero(failed(size, "modelMagErr_g")).tolist() == [0, 1]
    ratio = np.random.default_rng(3).uniform(0.1, 1, 100)
    ratio[:3] = (1.0, 1.2, -0.1)
    assert np.flatnonzero(failed(ratio, "expAB_r")).tolist() == [1, 2]
    assert not failed(-size, "petroR90_z")[5:].any()  # of which most are negative: not what its name says


def test_a_spike_far_beyond_all_others() -> None:
    column = np.random.default_rng(4).normal(0, 1, 1000)
    column[:20] = -555.0
    assert np.flatnonzero(failed(column, "shape")).tolist() == list(range(20))
    assert not failed(np.clip(column[20:], -1, 1), "shape").any()  # a limit is no spike
    assert not failed(np.array([0.0, 1.0] * 50), "flag").any()
    one = np.random.default_rng(5).normal(0, 1, 1000)
    one[0] = 400.0
    assert not failed(one, "shape").any()  # a single outlier may be true


def test_letters_are_magnitudes_beside_others() -> None:
    values = np.stack([magnitudes()] * 3, 1)
    values[0] = 0.0
    assert invalid(values, "gri", rules_for("gri", values))[0].all()
    assert not invalid(values[:, :1], ["g"], rules_for(["g"], values[:, :1])).any()
    assert is_magnitude("magpsf")
    assert not is_magnitude("modelMagErr_r")


def test_counts_by_column_and_rule() -> None:
    values = np.stack([magnitudes(), magnitudes()], 1)
    values[:3, 0], values[3:5, 0], values[5, 1], values[6, 1] = -9999, 0, np.nan, np.inf
    rules = rules_for(["mag_g", "mag_r"], values)
    found = [(one.column, one.rule, one.count) for one in tally(values, ["mag_g", "mag_r"], rules)]
    assert sorted(found) == [
        ("mag_g", "-9999", 3), ("mag_g", "0", 2), ("mag_r", "infinite", 1), ("mag_r", "missing", 1)
    ]  # fmt: skip
    assert sum(count for _, _, count in found) == int(invalid(values, ["mag_g", "mag_r"], rules).sum())


def test_rules_travel_as_json() -> None:
    values = np.stack([magnitudes(), np.r_[np.full(9, 77.0), np.random.default_rng(0).uniform(0, 1, 191)]], 1)
    rules = rules_for(["mag_g", "expAB_r"], values)
    assert {rule.kind for rule in rules} == {"equal", "outside"}
    assert tuple(Rule.from_json(json.loads(json.dumps(rule.to_json()))) for rule in rules) == rules
    for wrong in ({}, {"column": "a", "kind": "eval", "values": [1], "why": ""},
                  {"column": "a", "kind": "equal", "values": [], "why": ""},
                  {"column": "a", "kind": "outside", "values": [1], "why": ""},
                  {"column": "a", "kind": "equal", "values": ["x"], "why": ""}):  # fmt: skip
        with pytest.raises(ValueError, match="rule"):
            Rule.from_json(wrong)


def test_columns_in_another_order_have_the_same_rules() -> None:
    values = np.stack([magnitudes(), np.random.default_rng(6).uniform(1, 5, 200)], 1)
    values[0] = (0.0, 0.0)
    rules = rules_for(["mag_g", "petroR50_g"], values)
    turned = invalid(values[:, ::-1], ["petroR50_g", "mag_g"], rules)
    assert np.array_equal(turned[:, ::-1], invalid(values, ["mag_g", "petroR50_g"], rules))
    assert not invalid(values[:, 1:], ["other"], rules).any()
