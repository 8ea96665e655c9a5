"""Agreement, inner quality, stability, the number of clusters, and the strangest objects, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from groups import blobs, moons

from estampa.errors import InputError
from estampa.explore import neighbours, number, quality, strange


def two_labellings(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, n)
    return classes, np.where(rng.random(n) < 0.7, classes, rng.integers(0, 5, n))


def test_agreement_is_scikit_learns_with_an_interval_around_it() -> None:
    from sklearn import metrics

    classes, labels = two_labellings()
    found = quality.agreement(classes, labels)
    assert found["ari"].value == pytest.approx(metrics.adjusted_rand_score(classes, labels))
    assert found["nmi"].value == pytest.approx(metrics.normalized_mutual_info_score(classes, labels))
    assert found["homogeneity"].value == pytest.approx(metrics.homogeneity_score(classes, labels))
    table = metrics.cluster.contingency_matrix(classes, labels)
    assert found["purity"].value == pytest.approx(table.max(axis=0).sum() / len(labels))
    for interval in found.values():
        assert interval.low < interval.value < interval.high
        assert interval.high - interval.low < 0.2
    assert quality.agreement(classes, labels) == found, "the same seed, the same interval"


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    long = two_labellings(200_000, seed=99)
    truth = quality.adjusted_rand(*long)
    held = 0
    for seed in range(60):
        interval = quality.agreement(*two_labellings(400, seed), resamples=200)["ari"]
        held += interval.low <= truth <= interval.high
    assert held >= 51


def test_unlabelled_objects_are_left_out_and_noise_is_a_cluster() -> None:
    classes, labels = two_labellings()
    half = classes.copy()
    half[::2] = -1
    assert quality.agreement(half, labels)["ari"].value == quality.agreement(classes[1::2], labels[1::2])["ari"].value
    assert quality.agreement(np.full(10, -1), np.zeros(10, int)) == {}
    perfect = quality.agreement(classes, classes)
    dropped = quality.agreement(classes, np.where(np.arange(300) % 2, classes, -1))
    assert perfect["ari"].value == 1
    assert perfect["purity"].low < 1 < perfect["purity"].high + 1e-9
    assert dropped["ari"].value < 0.7, "calling half of the objects noise does not pay"


def test_groups_widen_the_interval() -> None:
    classes, labels = (np.repeat(a, 20) for a in two_labellings(60))
    alone = quality.agreement(classes, labels)["purity"]
    tied = quality.agreement(classes, labels, np.repeat(np.arange(60), 20))["purity"]
    assert tied.high - tied.low > 3 * (alone.high - alone.low)


def test_one_class_leaves_agreement_undefined_and_one_cluster_makes_it_nothing() -> None:
    found = quality.agreement(np.zeros(20, int), np.arange(20) % 3)
    assert np.isnan([found[name].value for name in ("ari", "nmi", "homogeneity")]).all()
    assert found["purity"].value == 1
    found = quality.agreement(np.arange(20) % 2, np.zeros(20, int))
    assert found["ari"].value == pytest.approx(0)
    assert found["purity"].value == 0.5
    with pytest.raises(InputError, match="of the same objects"):
        quality.agreement(np.zeros(3, int), np.zeros(4, int))


def test_inner_quality_leaves_noise_out_and_is_undefined_for_one_cluster() -> None:
    x, truth = blobs()
    good = quality.inner(x, truth)
    assert good["silhouette"] > 0.7
    assert good["davies_bouldin"] < 0.4
    bad = quality.inner(x, np.random.default_rng(0).permutation(truth))
    assert bad["silhouette"] < 0.02
    assert bad["davies_bouldin"] > 3
    far = np.vstack([x, np.full((5, 3), 1e3, np.float32)])
    assert quality.inner(far, np.append(truth, np.full(5, -1))) == pytest.approx(good, abs=1e-6)
    for labels in (np.zeros(len(x), int), np.full(len(x), -1), np.arange(len(x))):
        assert all(np.isnan(v) for v in quality.inner(x, labels).values())


def test_the_right_number_is_stable_and_another_is_not() -> None:
    x, _ = blobs(1000)
    right = quality.stability(x, "kmeans", options={"clusters": 4}, pairs=4)
    wrong = quality.stability(x, "kmeans", options={"clusters": 7}, pairs=4)
    assert right.value > 0.99
    assert wrong.value < 0.85
    assert wrong.low <= wrong.value <= wrong.high
    dense = quality.stability(moons(800)[0], "hdbscan", options={"smallest": 50}, pairs=3)
    assert dense.value > 0.8
    assert np.isnan(quality.stability(x[:5], "kmeans", options={"clusters": 5}).value)


# ------------------------------------------------------------------------------------------ number of clusters


@pytest.mark.parametrize("rule", number.RULES)
def test_the_number_of_groups_is_found_by_every_rule(rule: str) -> None:
    x, _ = blobs(400)
    choice = number.choose(x, range(2, 8), rule=rule)
    assert choice.number == 4
    assert choice.numbers == [2, 3, 4, 5, 6, 7]
    assert set(choice.series) == {"silhouette", "stability", "bic"}
    assert all(np.isfinite(v).all() and len(v) == 6 for v in choice.series.values())
    assert choice.reason.startswith("4 clusters: ")
    assert "continuum" not in choice.reason
    assert choice.table()[2] == {"clusters": 4, **{name: values[2] for name, values in choice.series.items()}}


def test_a_continuum_is_called_one() -> None:
    x = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    choice = number.choose(x, range(2, 6))
    assert "continuum rather than clusters" in choice.reason
    assert "BIC is lowest at 2. That is the smallest number tried." in choice.reason


def test_a_number_cannot_be_chosen_of_too_few_objects_or_by_an_unknown_rule() -> None:
    with pytest.raises(InputError, match="too few objects to choose"):
        number.choose(blobs(10)[0][:3])
    with pytest.raises(InputError, match=r"unknown rule 'elbow'.*silhouette"):
        number.choose(blobs()[0], rule="elbow")
    with pytest.raises(InputError, match="NaN or infinite"):
        number.choose(np.full((30, 2), np.nan))
    assert max(number.choose(blobs(20)[0]).numbers) == 10


# ------------------------------------------------------------------------------------------ strangest objects


def test_the_strangest_objects_are_those_far_from_all_others() -> None:
    x, _ = blobs()
    odd = np.array([[4.5, 4.5, 4.5], [30, 0, 0], [-9, -9, 0]], np.float32)
    order, scores = strange.strangest(np.vstack([x, odd]), 5)
    assert list(order[:3]) == [401, 402, 400], "one between the groups is strange too, though near a centre"
    assert len(order) == 5
    assert len(scores) == 403
    plain = np.sort(np.linalg.norm(x - odd[1], axis=1))[:10].mean()
    assert scores[401] == pytest.approx(plain, rel=0.2)


def test_strangeness_is_the_mean_distance_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    x[5] = x[6] = x[7]
    table = np.linalg.norm(x[:, None] - x, axis=2)
    plain = np.sort(table, axis=1)[:, 1:4].mean(axis=1)
    assert np.allclose(strange.strangeness(x, count=3), plain, atol=1e-5)
    monkeypatch.setattr(neighbours, "FEW", 1)
    assert np.allclose(strange.strangeness(x, count=3), plain, atol=1e-3)
    assert strange.strangeness(x[:3], count=10).shape == (3,)
    monkeypatch.setattr(strange, "REFERENCE", 30)
    sampled = strange.strangeness(x, count=3)
    assert (sampled >= plain - 1e-3).all()
    assert np.corrcoef(sampled, plain)[0, 1] > 0.7


def test_neighbours_are_the_same_by_tree_and_by_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, points = rng.normal(size=(40, 5)).astype(np.float32), rng.normal(size=(300, 5)).astype(np.float32)
    away, rows = neighbours.nearest(x, points, 7)
    monkeypatch.setattr(neighbours, "FEW", 1)
    again, others = neighbours.nearest(x, points, 7)
    assert (rows == others).all()
    assert np.allclose(away, again, atol=1e-4)
    assert neighbours.nearest(x, points[:3], 7)[1].shape == (40, 3)
