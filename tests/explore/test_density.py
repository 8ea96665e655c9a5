"""HDBSCAN: the library's clusters by either road, noise, and new objects as approximate_predict has them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from groups import blobs, moons, pure

from estampa.errors import InputError
from estampa.explore.clustering import Clustering, cluster
from estampa.explore.methods import hdbscan as ours


@pytest.mark.parametrize("features", [2, 12])
def test_labels_and_strength_are_the_librarys(features: int) -> None:
    from hdbscan import HDBSCAN

    x, truth = moons(features=features)
    made = cluster("hdbscan", x, options={"smallest": 50, "neighbours": 10})
    plain = HDBSCAN(min_cluster_size=50, min_samples=10, approx_min_span_tree=False).fit(x.astype(np.float64))
    assert made.clusters == plain.labels_.max() + 1 == 2
    pairs = np.unique(np.stack([made.labels, plain.labels_]), axis=1).T
    assert (made.labels == -1).mean() == pytest.approx((plain.labels_ == -1).mean(), abs=0.005)
    assert len(pairs) <= 5
    assert np.allclose(made.strength, plain.probabilities_, atol=0.03)
    assert pure(made.labels[truth < 2], truth[truth < 2]) > 0.97
    assert (made.labels[truth == 2] == -1).mean() > 0.7


def test_evidence_is_a_tree_over_all_objects() -> None:
    x, _ = moons()
    made = cluster("hdbscan", x, options={"smallest": 50})
    tree, edges, n = made.evidence["condensed_tree"], made.evidence["mst"], len(x)
    assert edges.shape == (n - 1, 3)
    assert sorted(set(edges[:, :2].astype(int).ravel())) == list(range(n))
    assert sorted(tree[tree[:, 1] < n, 1]) == list(range(n)), "every object falls out once"
    for number, node in enumerate(made.evidence["chosen_nodes"]):
        below, members = [node], []
        for parent in below:
            rows = tree[tree[:, 0] == parent]
            members += list(rows[rows[:, 1] < n, 1])
            below += list(rows[rows[:, 1] >= n, 1])
        assert set(np.flatnonzero(made.labels == number)) == {int(m) for m in members}
    assert made.evidence["noise"] == made.noise


@pytest.mark.parametrize("features", [2, 12])
def test_new_objects_are_assigned_as_approximate_predict_does(features: int) -> None:
    from hdbscan import HDBSCAN, approximate_predict

    x, _ = moons(features=features)
    plain = HDBSCAN(min_cluster_size=50, min_samples=10, approx_min_span_tree=False, prediction_data=True)
    plain.fit(x.astype(np.float64))
    made = cluster("hdbscan", x, options={"smallest": 50, "neighbours": 10})
    new = (x[::-1] + np.random.default_rng(5).normal(0, 0.05, x.shape)).astype(np.float32)
    theirs, probability = approximate_predict(plain, new.astype(np.float64))
    labels, strength = made.assign(new)
    names = np.array([made.labels[plain.labels_ == c][0] for c in range(plain.labels_.max() + 1)] + [-1])
    agreed = labels == names[theirs]
    assert agreed.mean() > 0.98
    assert 0.02 < (labels == -1).mean() < 0.5
    assert np.abs(strength - probability)[agreed].mean() < 0.02


def test_far_objects_are_noise() -> None:
    x, _ = moons()
    labels, strength = cluster("hdbscan", x).assign(np.full((3, 2), 50.0))
    assert (labels == -1).all()
    assert (strength == 0).all()


@pytest.mark.parametrize("features", [2, 20])
def test_all_points_noise(features: int) -> None:
    x = np.random.default_rng(0).uniform(size=(300, features)).astype(np.float32)
    made = cluster("hdbscan", x, options={"smallest": 140})
    assert made.clusters == 0
    assert made.centres.shape == (0, features)
    assert (made.labels == -1).all()
    assert made.noise == 1.0
    assert "all are noise" in made.evidence["note"]
    assert (made.strength == 0).all()
    again = Clustering.from_state(*json.loads(json.dumps(made.state()[1])) and made.state())
    for clustering in (made, again):
        labels, strength = clustering.assign(x[:5])
        assert (labels == -1).all()
        assert (strength == 0).all()


def test_copies_make_no_infinity() -> None:
    x = np.repeat(np.array([[0, 0], [5, 5]], np.float32), 40, axis=0)
    made = cluster("hdbscan", x, options={"smallest": 20})
    assert made.clusters == 2
    assert (made.strength == 1).all()
    json.dumps(made.state()[1], allow_nan=False)
    labels, strength = made.assign(x)
    assert (labels == made.labels).all()
    assert np.isfinite(strength).all()


@pytest.mark.parametrize("features", [2, 12])
def test_too_many_objects_hang_on_centroids(features: int) -> None:
    x, truth = moons(4000, features=features)
    made = cluster("hdbscan", x, options={"smallest": 150, "limit": 800})
    assert "4,000 objects are too many" in made.evidence["note"]
    assert made.evidence["mst"].shape == (3999, 3)
    assert made.clusters == 2
    assert pure(made.labels[truth < 2], truth[truth < 2]) > 0.95
    assert (made.labels[truth == 2] == -1).mean() > 0.5
    labels, _ = made.assign(x)
    assert (labels == made.labels).mean() > 0.85
    assert len(made.memory["points"]) <= 800


def test_fewer_objects_than_neighbours_are_refused() -> None:
    with pytest.raises(InputError, match="hdbscan: fewer objects"):
        cluster("hdbscan", blobs(10)[0][:8])


def test_a_state_with_impossible_numbers_is_refused() -> None:
    arrays, record = cluster("hdbscan", moons(300)[0], options={"smallest": 30}).state()
    with pytest.raises(InputError, match="belongs to no cluster"):
        Clustering.from_state({**arrays, "memory.point_clusters": arrays["memory.point_clusters"] + 9}, record)
    with pytest.raises(InputError, match="'neighbours'"):
        Clustering.from_state(arrays, {**record, "options": {"neighbours": 10**9}})
    with pytest.raises(InputError, match="negative"):
        Clustering.from_state({**arrays, "memory.reach": -arrays["memory.reach"]}, record)


def test_the_limit_follows_the_number_of_features() -> None:
    assert ours.LIMIT > ours.LIMIT_WIDE
