"""What the answers of a table's model hang on: functions whose reasons are known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from estampa.errors import InputError
from estampa.explain.asking import telling, together
from estampa.explain.dependence import dependence
from estampa.explain.importance import Permuting, importance
from estampa.explain.reasons import reasons

COLUMNS = ("light", "size", "noise a", "noise b", "twin")


def logistic(weights: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A scoring function of two classes whose log-odds are weighted values."""

    def score(values: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-(np.nan_to_num(values) @ weights).clip(-500, 500)))
        return np.stack([1 - p, p], axis=1)

    return score


@pytest.fixture
def planted() -> tuple[np.ndarray, np.ndarray]:
    """500 objects: "light" carries the class, "twin" repeats "size", which means nothing."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(500, 5))
    values[:, 4] = values[:, 1] + 0.05 * rng.normal(size=500)
    return values, (values[:, 0] > 0).astype(np.int64)


def test_the_column_that_carries_the_class_is_first_and_noise_holds_0(planted: tuple[np.ndarray, np.ndarray]) -> None:
    values, truth = planted
    spoiled = logistic(np.array([4.0, 0.2, 0.3, -0.3, 0.2]))  # as one that learned a little of the noise
    found = importance(spoiled, values, truth, COLUMNS, how=Permuting(resamples=400))
    assert found.order[0] == "light"
    first, *others = found.columns
    assert first.sure
    assert first.drop.low > 0.3
    assert first.rise.low > 0
    for lost in others:
        assert lost.drop.low <= 0 <= lost.drop.high, lost
        assert not lost.sure
    assert found.base == pytest.approx(np.mean(truth == (spoiled(values)[:, 1] > 0.5)), abs=0.02)
    assert [lost.columns for lost in found.groups] == [("size", "twin")]


def test_the_drop_is_that_of_balanced_accuracy() -> None:
    """A column that decides alone: shuffled, each class is right as often as chance deals it."""
    values = np.repeat([[-1.0], [1.0]], [300, 100], axis=0)
    truth = np.repeat([0, 1], [300, 100])
    found = importance(logistic(np.array([50.0])), values, truth, ["x"], how=Permuting(repeats=200, resamples=200))
    assert found.base == 1
    assert found.columns[0].drop.value == pytest.approx(0.5, abs=0.01)
    assert found.columns[0].recall == pytest.approx((0.25, 0.75), abs=0.01)


def test_twins_that_say_the_same_lose_together_what_neither_loses_alone() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 1))
    values = np.concatenate([x, x, rng.normal(size=(600, 1))], axis=1)

    def either(v: np.ndarray) -> np.ndarray:
        """The median of three takes one liar."""
        p = (np.median(np.stack([v[:, 0], v[:, 1], x[:, 0]]), axis=0) > 0).astype(float)
        return np.stack([1 - p, p], axis=1)

    found = importance(
        either, values, (x[:, 0] > 0).astype(int), ["a", "b", "c"], how=Permuting(rows=600, seconds=None)
    )
    assert max(lost.drop.value for lost in found.columns) == 0
    assert found.groups[0].columns == ("a", "b")
    assert found.groups[0].drop.low > 0.2


def test_same_seed_same_figures_and_whole_groups(planted: tuple[np.ndarray, np.ndarray]) -> None:
    values, truth = planted
    score, how = logistic(np.array([1.0, 0, 0, 0, 0])), Permuting(resamples=200, seconds=None, seed=5)
    one, two = (importance(score, values, truth, COLUMNS, how=how) for _ in range(2))
    assert one.to_json() == two.to_json()
    few = importance(score, values, truth, COLUMNS, groups=np.arange(500) // 50, how=how)
    assert few.columns[0].drop.value == one.columns[0].drop.value
    assert few.columns[0].drop != one.columns[0].drop


def test_a_bound_of_time_is_kept_and_said(planted: tuple[np.ndarray, np.ndarray]) -> None:
    values, truth = planted
    found = importance(
        logistic(np.ones(5)), values, truth, COLUMNS, how=Permuting(seconds=1e-9, resamples=100, correlated=2)
    )
    assert (found.n, found.repeats) == (300, 3)
    assert "3 times instead of 10" in found.notes[0]
    assert "300 of 500 objects" in found.notes[1]


def test_of_many_columns_those_that_tell_classes_apart_are_looked_at() -> None:
    rng = np.random.default_rng(0)
    truth = np.arange(200) % 2
    values = rng.normal(size=(200, 400))
    values[:, 77] += 3 * truth
    names = [f"c{i}" for i in range(400)]
    weights = np.zeros(400)
    weights[77] = 3
    assert 77 in telling(values, truth, 5)
    found = importance(logistic(weights), values, truth, names, how=Permuting(columns=8, resamples=100))
    assert len(found.columns) == 8
    assert found.order[0] == "c77"
    assert "Of 400 columns the 8" in found.notes[0]


def test_columns_are_tied_by_ranks_and_not_by_chains() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=1000)
    values = np.stack([a, -np.exp(a), rng.normal(size=1000), np.zeros(1000)], axis=1)
    values[::50, 0] = np.nan
    assert together(values) == ((0, 1),)
    steps = np.cumsum(rng.normal(size=(1000, 4)), axis=1)  # each like its neighbour, the ends unlike
    assert all(len(group) == 2 for group in together(steps, 0.8))


def test_partial_dependence_of_a_known_function() -> None:
    rng = np.random.default_rng(1)
    values = rng.uniform(-1, 1, (400, 2))

    def score(v: np.ndarray) -> np.ndarray:
        p = 0.5 + 0.2 * v[:, 0] + 0.1 * v[:, 0] * v[:, 1]
        return np.stack([1 - p, p], axis=1)

    found = dependence(score, values, ["x", "y"], ["x"], units=["mag", ""])[0]
    assert found.unit == "mag"
    some = found.curves[:, 0, 1] - found.curves[:, -1, 1]  # each object's own slope: 0.2 + 0.1 y
    slope = -some / (found.grid[-1] - found.grid[0])
    assert 0.1 < slope.min() < 0.11
    assert 0.29 < slope.max() < 0.3
    assert found.mean[:, 1] == pytest.approx(0.5 + slope.mean() * found.grid)
    assert found.swing[1] == pytest.approx(slope.mean() * np.ptp(found.grid))
    low, high = found.spread(1)
    assert (low <= found.mean[:, 1]).all()
    assert (high >= found.mean[:, 1]).all()
    assert found.grid[0] == pytest.approx(np.quantile(values[:, 0], 0.02))
    assert (found.rug >= found.grid[0]).all()


def test_partial_dependence_never_goes_to_a_sentinel() -> None:
    values = np.linspace(14, 18, 100)[:, None].repeat(2, axis=1)
    values[:20, 0] = -9999
    values[:, 1] = np.arange(100) % 3  # few values: those themselves
    found = dependence(
        logistic(np.ones(2)), values, ["r", "kind"], ["r", "kind"], invalid=lambda v: np.asarray(v < -1000)
    )
    assert found[0].grid[0] > 14
    assert found[0].rug.min() > 14
    assert found[1].grid.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="no column 'q'"):
        dependence(logistic(np.ones(2)), values, ["r", "kind"], ["q"])


def test_reasons_add_up_and_have_the_right_signs() -> None:
    rng = np.random.default_rng(2)
    typical, objects = rng.normal(size=(300, 4)), np.array([[2.0, -1.0, 0.0, 5.0], [-2.0, 0.0, 0.0, 0.0]])
    score = logistic(np.array([1.0, 0.7, 0.3, 0.0]))
    found = reasons(score, objects, typical, ["a", "b", "c", "nothing"])
    for one in found:
        assert sum(r.effect for r in one.reasons) == pytest.approx(one.p - one.usual, abs=1e-12)
    first = {r.name: r for r in found[0].reasons}
    assert found[0].answer == 1
    assert first["a"].effect > 0.2
    assert first["b"].effect < -0.05
    assert first["nothing"].effect == 0
    assert first["a"].above > 0.9
    second = {r.name: r for r in found[1].reasons}
    assert found[1].answer == 0
    assert second["a"].effect > 0.2  # it speaks for the answer, which is the other class
    text = found[0].sentence(["no", "yes"])
    assert "yes with 79 %" in text
    assert "+" in text
    assert "\N{MINUS SIGN}" in text


def test_reasons_are_shapley_values() -> None:
    """Against the sum over all orders and all typical objects of a function without additive parts."""
    rng = np.random.default_rng(4)
    typical, x = rng.normal(size=(32, 3)), np.array([1.0, -0.5, 2.0])

    def score(v: np.ndarray) -> np.ndarray:
        p = 1 / (1 + np.exp(-v[:, 0] * v[:, 1] - v[:, 2] * v[:, 0]))
        return np.stack([1 - p, p], axis=1)

    exact = np.zeros(3)
    for order in permutations(range(3)):
        rows = typical.copy()
        before = score(rows)[:, 1].mean()
        for c in order:
            rows[:, c] = x[c]
            after = score(rows)[:, 1].mean()
            exact[c] += (after - before) / 6
            before = after
    known = ["x"], np.array([1]), np.array([-1])
    found = reasons(score, x[None], typical, ["0", "1", "2"], known=known)[0]
    assert found.usual == pytest.approx(score(typical)[:, 1].mean())  # 32 orders: each typical object once
    for r in found.reasons:
        assert r.effect == pytest.approx(exact[int(r.name)], abs=max(4 * r.error, 0.01))


def test_reasons_of_columns_replaced_together_and_of_what_is_not_measured() -> None:
    rng = np.random.default_rng(2)
    typical = rng.normal(20, 1, size=(100, 3))
    score = logistic(np.array([1.0, -1.0, 0.01]))
    objects = np.array([[30.0, 29.0, -9999.0]])
    found = reasons(score, objects, typical, ["u", "g", "r"], units=((0, 1),), invalid=lambda v: np.asarray(v < -1000))
    by = {r.name: r for r in found[0].reasons}
    assert set(by) == {"u, g", "r"}
    assert by["r"].told() == "not measured"
    assert "u 30" in by["u, g"].told()
    with pytest.raises(InputError, match="no typical objects"):
        reasons(score, objects, typical[:0], ["u", "g", "r"])


def test_objects_without_an_answer_are_left_out_or_refused(planted: tuple[np.ndarray, np.ndarray]) -> None:
    values, truth = planted
    values[:100] = np.nan

    def strict(v: np.ndarray) -> np.ndarray:
        output = logistic(np.ones(5))(v)
        output[np.isnan(v).any(axis=1)] = np.nan
        return output

    assert importance(strict, values, truth, COLUMNS, how=Permuting(resamples=100)).n == 400
    with pytest.raises(InputError, match="no answer"):
        importance(strict, values[:100], truth[:100], COLUMNS)
    with pytest.raises(InputError, match="without an answer"):
        reasons(strict, values[:1], values[200:], COLUMNS)
