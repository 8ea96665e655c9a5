"""Working points: against the definition, scikit-learn, and a bootstrap that sorts anew each time."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from estampa.errors import InputError
from estampa.measure.aims import choose, read_aim
from estampa.measure.cells import bootstrap_counts, drawn_counts, paired_counts
from estampa.measure.intervals import unit_numbers, wilson
from estampa.measure.operating import Operating, Scored, purity, read_prior


def made(n: int, share: float = 0.5, seed: int = 0, places: int = 9) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    return positive, np.round(1 / (1 + np.exp(-(rng.normal(size=n) + 2 * positive - 1))), places)


def by_definition(positive: np.ndarray, scores: np.ndarray, rate: float) -> float:
    """FNR at the smallest score whose FPR is not above `rate`: every score tried."""
    best = 1.0
    for threshold in np.unique(scores):
        said = scores >= threshold
        if said[~positive].sum() <= rate * (~positive).sum() * (1 + 1e-12):
            best = min(best, float((~said[positive]).mean()))
    return best


@pytest.mark.parametrize("places", [9, 2, 1])
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_the_values_are_those_of_scikit_learn(places: int, share: float) -> None:
    positive, scores = made(3000, share, places=places)
    rates = (0.01, 0.05, 0.2)
    operating = Operating(Scored(positive, scores), scores >= 0.5, rates, prior=0.01)
    found = dict(zip(operating.names, operating(np.bincount(operating.cells, minlength=operating.k)), strict=True))
    false, true, _ = sk.roc_curve(positive, scores, drop_intermediate=False)
    for rate in rates:
        assert found[f"fnr_at_fpr_{rate:g}"] == pytest.approx(1 - true[false <= rate][-1])
        threshold = Scored(positive, scores).threshold(rate)
        assert (scores[~positive] >= threshold).mean() <= rate
        assert (scores[positive] < threshold).mean() == pytest.approx(found[f"fnr_at_fpr_{rate:g}"])
    wrong, missed, thresholds = sk.det_curve(positive, scores)
    at = np.flatnonzero(thresholds >= 0.5)[0]
    assert (found["fpr"], found["fnr"]) == (pytest.approx(wrong[at]), pytest.approx(missed[at]))
    assert found["completeness"] == pytest.approx(sk.recall_score(positive, scores >= 0.5))
    assert found["purity"] == pytest.approx(purity(found["completeness"], found["fpr"], 0.01))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_weights_and_ties_follow_the_definition(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 40))
    positive = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    scores = np.array(data.draw(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), min_size=n, max_size=n)))
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    rates = (0.1, 0.3)
    operating = Operating(Scored(positive, scores), scores >= 0.5, rates)
    values = operating(np.bincount(operating.cells, weights=weights, minlength=operating.k))
    drawn = np.repeat(np.arange(n), weights)
    for value, rate in zip(values, rates, strict=False):
        if not positive.any() or rate * (~positive).sum() < 1 or not positive[drawn].any() or positive[drawn].all():
            assert math.isnan(value)
        else:
            assert value == pytest.approx(by_definition(positive[drawn], scores[drawn], rate))


@pytest.mark.parametrize("tied", [False, True])
def test_joined_stretches_change_no_resample(tied: bool) -> None:
    positive, scores = made(40_000, places=3 if tied else 9)
    groups = np.random.default_rng(1).integers(0, 300, 40_000) if tied else None
    operating = Operating(Scored(positive, scores), scores >= 0.5, (1e-2, 1e-3), units=groups)
    assert tied or operating.k < 10_000  # else nothing was joined
    rng = np.random.default_rng(2)
    for _ in range(10):
        drawn = rng.integers(0, 40_000, 40_000)
        if groups is not None:
            drawn = np.concatenate([np.flatnonzero(groups == g) for g in rng.integers(0, 300, 300)])
        counts = np.bincount(operating.cells[drawn], minlength=operating.k)
        false, true, _ = sk.roc_curve(positive[drawn], scores[drawn], drop_intermediate=False)
        expected = [1 - true[false <= rate * (1 + 1e-12)][-1] for rate in (1e-2, 1e-3)]
        np.testing.assert_allclose(operating(counts)[:2], expected)


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_are_those_of_a_bootstrap_that_sorts_anew(grouped: bool) -> None:
    positive, scores = made(600, places=2)
    groups = np.arange(600) // 6 if grouped else None
    operating = Operating(Scored(positive, scores), scores >= 0.5, (0.05,), units=groups)
    found = bootstrap_counts(operating, groups, resamples=4000)
    rng, values = np.random.default_rng(3), []
    for _ in range(1500):
        drawn = rng.integers(0, 600, 600)
        if grouped:
            drawn = (rng.integers(0, 100, 100)[:, None] * 6 + np.arange(6)).ravel()
        said = scores[drawn] >= 0.5
        wrong = positive[drawn] != said
        values.append([by_definition(positive[drawn], scores[drawn], 0.05), wrong[~positive[drawn]].mean()])
    low, high = np.percentile(values, (2.5, 97.5), axis=0)
    for i, name in enumerate(("fnr_at_fpr_0.05", "fpr")):
        width = high[i] - low[i]
        assert found[name].low == pytest.approx(low[i], abs=0.12 * width)
        assert found[name].high == pytest.approx(high[i], abs=0.12 * width)


def test_paired_differences_share_their_resamples() -> None:
    positive, scores = made(2000)
    other = scores + np.random.default_rng(4).normal(size=2000) * 0.02
    a, b = (Operating(Scored(positive, s), s >= 0.5, (0.05,), prior=0.01) for s in (scores, other))
    found = paired_counts(a, b)
    alone = bootstrap_counts(a)
    for name in ("fnr_at_fpr_0.05", "fpr", "purity"):
        assert found[name].low <= found[name].value <= found[name].high
        assert found[name].high - found[name].low < 0.6 * (alone[name].high - alone[name].low)
    same = paired_counts(a, a)
    assert all((v.value, v.low, v.high) == (0, 0, 0) for v in same.values())
    with pytest.raises(InputError, match="same objects"):
        paired_counts(a, Operating(Scored(positive[1:], scores[1:]), scores[1:] >= 0.5))


def test_counts_are_drawn_as_objects_would_be() -> None:
    cells = np.repeat([0, 2, 3], [5, 30, 65])
    drawn = np.stack([c.copy() for c in drawn_counts(cells, 5, None, 4000, 0)])
    assert (drawn.sum(axis=1) == 100).all()
    np.testing.assert_allclose(drawn.mean(axis=0), [5, 0, 30, 65, 0], atol=0.4)
    np.testing.assert_allclose(drawn.std(axis=0) ** 2, [4.75, 0, 21, 22.75, 0], rtol=0.1)
    groups = unit_numbers(100, np.arange(100) // 10)
    of_groups = np.stack([c.copy() for c in drawn_counts(cells, 5, groups, 4000, 0)])
    assert (of_groups.sum(axis=1) == 100).all()
    np.testing.assert_allclose(of_groups.mean(axis=0), [5, 0, 30, 65, 0], atol=0.8)
    assert of_groups[:, 2].std() > 2 * drawn[:, 2].std()


def test_zero_positives_and_too_few_negatives_are_undefined() -> None:
    scores = np.linspace(0, 1, 50)
    nobody = bootstrap_counts(Operating(Scored(np.zeros(50, bool), scores), scores >= 0.5, (0.1,), prior=0.01))
    assert math.isnan(nobody["fnr_at_fpr_0.1"].value)
    assert math.isnan(nobody["completeness"].value)
    assert nobody["fpr"].value == 0.5
    positive = np.arange(50) >= 25
    few = bootstrap_counts(Operating(Scored(positive, scores), positive, (0.1, 0.04, 0.03), prior=0.01))
    assert few["fnr_at_fpr_0.04"].value == 0
    assert math.isnan(few["fnr_at_fpr_0.03"].value)
    assert math.isnan(few["fnr_at_fpr_0.03"].high)
    assert few["fpr"].high == pytest.approx(wilson(0, 25)[1])
    # no negative was called positive: purity is 1 only as far as 25 negatives can tell
    assert few["purity"].value == 1
    assert few["purity"].low == pytest.approx(purity(1.0, wilson(0, 25)[1], 0.01))


def test_ten_positives_in_a_hundred_thousand() -> None:
    positive = np.zeros(100_000, bool)
    positive[:10] = True
    scores = np.random.default_rng(5).random(100_000)
    scores[:10] = [1.5] * 8 + [0.1] * 2
    began = time.monotonic()
    found = bootstrap_counts(Operating(Scored(positive, scores), scores >= 0.999, prior=1e-4))
    assert time.monotonic() - began < 10
    assert found["fnr_at_fpr_0.001"].value == pytest.approx(0.2)
    assert found["fnr_at_fpr_0.001"].low == 0
    assert found["fnr_at_fpr_0.001"].high >= 0.4
    with pytest.raises(InputError, match=r"no threshold reaches precision=0\.9"):
        choose(Scored(positive[5:], np.zeros(99_995)), read_aim("precision=0.9"))


def test_all_scores_equal() -> None:
    positive = np.arange(400) < 200
    scored = Scored(positive, np.full(400, 0.5))
    found = bootstrap_counts(Operating(scored, np.zeros(400, bool), (0.01,)))
    assert found["fnr_at_fpr_0.01"].value == 1
    assert found["fnr_at_fpr_0.01"].low > 0.97
    assert scored.threshold(0.01) == math.inf
    assert choose(scored, read_aim("recall=0.9")).threshold == 0.5
    with pytest.raises(InputError, match=r"no threshold reaches fpr=0\.01.*fpr 1 at best"):
        choose(scored, read_aim("fpr=0.01"))


@pytest.mark.parametrize("places", [9, 2])
def test_thresholds_for_an_aim(places: int) -> None:
    positive, scores = made(800, 0.3, places=places)
    scored = Scored(positive, scores)
    tried = np.unique(scores)
    said = scores >= tried[:, None]
    recall, false = said[:, positive].mean(axis=1), said[:, ~positive].mean(axis=1)
    precision = np.array([positive[row].mean() for row in said])
    found = choose(scored, read_aim("fpr=0.05"))
    assert found.reached <= 0.05
    assert (scores[positive] >= found.threshold).mean() == recall[false <= 0.05].max()
    found = choose(scored, read_aim("recall=0.9"))
    assert found.threshold == tried[recall >= 0.9].max()
    found = choose(scored, read_aim("precision=0.8"))
    assert found.reached >= 0.8
    assert (scores[positive] >= found.threshold).mean() == recall[precision >= 0.8].max()
    found = choose(scored, read_aim("f1"))
    f1 = [sk.f1_score(positive, row) for row in said]
    assert found.reached == pytest.approx(max(f1))
    assert sk.f1_score(positive, scores >= found.threshold) == pytest.approx(max(f1))
    found = choose(scored, read_aim("balanced_accuracy"))
    assert found.reached == pytest.approx(((recall + 1 - false) / 2).max())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fpr", "needs a number"),
        ("fpr=2", "between 0 and 1"),
        ("recall=much", "needs a number"),
        ("f1=0.9", "takes no number"),
        ("recal=0.9", "Did you mean 'recall'"),
        ("", "no aim"),
    ],
)
def test_an_aim_that_is_none(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_aim(text)
    assert str(read_aim(" fpr = 0.010 ")) == "fpr=0.01"


def test_an_aim_needs_both_sides_and_enough_negatives() -> None:
    scores = np.linspace(0, 1, 50)
    with pytest.raises(InputError, match="has no positives"):
        choose(Scored(np.zeros(50, bool), scores), read_aim("f1"))
    with pytest.raises(InputError, match=r"too few negatives.*at least 100"):
        choose(Scored(np.arange(50) >= 25, scores), read_aim("fpr=0.01"))


def test_priors() -> None:
    assert read_prior("1:1000") == pytest.approx(1 / 1001)
    assert read_prior(0.001) == 0.001
    for wrong in ("1:0", "0:5", "2", "-1", "many", "1:x", "nan", ""):
        with pytest.raises(InputError, match="not a prior"):
            read_prior(wrong)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="one score for each object"):
        Scored(np.zeros(3, bool), np.zeros(4))
    with pytest.raises(InputError, match="2 scores are NaN"):
        Scored(np.zeros(3, bool), np.array([np.nan, 1, np.inf]))


def test_a_million_scores_take_seconds() -> None:
    positive, scores = made(1_000_000)
    began = time.monotonic()
    found = bootstrap_counts(Operating(Scored(positive, scores), scores >= 0.5, prior=1e-3))
    assert time.monotonic() - began < 20  # half a second alone on one core; the machine may be busy
    assert all(v.low < v.value < v.high for v in found.values())
