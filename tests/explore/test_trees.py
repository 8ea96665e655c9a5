"""Hierarchical clustering: the tree is the library's, weights count as copies, and the cut gives k clusters."""

from __future__ import annotations

import numpy as np
import pytest
from groups import blobs, pure

from estampa.errors import RecipeError
from estampa.explore import trees
from estampa.explore.clustering import cluster
from estampa.explore.coarse import coarse


def same_parts(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two labellings part the objects in the same way."""
    return len(np.unique(np.stack([a, b]), axis=1).T) == len(np.unique(a)) == len(np.unique(b))


@pytest.mark.parametrize("rule", ["ward", "average", "complete", "single"])
def test_the_tree_is_that_of_fastcluster_on_the_objects(rule: str) -> None:
    import fastcluster

    x = blobs(200)[0]
    made = cluster("hierarchical", x, options={"linkage": rule, "clusters": 3})
    plain = fastcluster.linkage(x.astype(float), rule)
    assert np.allclose(made.evidence["linkage"][:, 2], plain[:, 2], rtol=1e-6)
    assert (made.evidence["linkage"][:, 3] == plain[:, 3]).all()


@pytest.mark.parametrize("rule", trees.WEIGHTED)
def test_without_weights_ours_is_fastclusters(rule: str) -> None:
    import fastcluster

    x = np.random.default_rng(1).normal(size=(120, 4))
    ours, plain = trees.weighted_linkage(x, np.ones(120), rule), fastcluster.linkage(x, rule)
    assert np.allclose(ours[:, 2:], plain[:, 2:])
    assert (np.sort(ours[:, :2], axis=1) == np.sort(plain[:, :2], axis=1)).all()


@pytest.mark.parametrize("rule", trees.WEIGHTED)
def test_a_weight_is_so_many_copies(rule: str) -> None:
    import fastcluster

    rng = np.random.default_rng(2)
    x, weights = rng.normal(size=(40, 3)), rng.integers(1, 9, 40)
    copies = fastcluster.linkage(np.repeat(x, weights, axis=0), rule)
    ours = trees.weighted_linkage(x, weights, rule)
    assert np.allclose(ours[:, 2], copies[-39:, 2])
    assert np.allclose(copies[:-39, 2], 0)
    for clusters in (2, 5, 11):
        assert same_parts(np.repeat(trees.cut(ours, clusters)[0], weights), trees.cut(copies, clusters)[0])


@pytest.mark.parametrize("clusters", [1, 2, 3, 7, 39, 40])
def test_the_cut_is_scipys_and_lies_between_two_merges(clusters: int) -> None:
    from scipy.cluster.hierarchy import cut_tree, linkage

    tree = linkage(np.random.default_rng(3).normal(size=(40, 2)), "average")
    labels, height = trees.cut(tree, clusters)
    assert set(labels) == set(range(clusters))
    assert same_parts(labels, cut_tree(tree, n_clusters=clusters).ravel())
    assert (tree[:, 2] > height).sum() == clusters - 1


def test_too_many_objects_go_through_centroids_with_their_weights() -> None:
    x, truth = blobs(3000)
    made = cluster("hierarchical", x, options={"clusters": 4, "limit": 500})
    assert "3,000 objects are too many" in made.evidence["note"]
    assert "weight of its members" in made.evidence["note"]
    assert made.evidence["leaf_weights"].sum() == 3000
    assert len(made.evidence["leaf_clusters"]) == len(made.evidence["linkage"]) + 1 <= 500
    assert pure(made.labels, truth) > 0.99
    whole = cluster("hierarchical", x, options={"clusters": 4})
    assert "note" not in whole.evidence
    assert (made.labels == whole.labels).mean() > 0.99
    assert made.evidence["linkage"][-1, 2] == pytest.approx(whole.evidence["linkage"][-1, 2], rel=0.02)


def test_centroids_stand_for_every_object_once() -> None:
    x, _ = blobs(2000)
    few = coarse(x, 100, seed=0)
    assert few.weights.sum() == len(x)
    assert len(few.points) <= 100
    assert (np.bincount(few.of) == few.weights).all()
    assert np.allclose(few.points[3], x[few.of == 3].mean(axis=0), atol=1e-5)
    assert np.allclose(few.away, np.linalg.norm(x - few.points[few.of], axis=1), atol=1e-5)


def test_single_linkage_follows_a_ring_that_ward_cuts() -> None:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    truth = np.repeat([0, 1], 200)
    x = np.concatenate([ring, 5 * ring]).astype(np.float32)
    assert pure(cluster("hierarchical", x, options={"clusters": 2, "linkage": "single"}).labels, truth) == 1
    assert pure(cluster("hierarchical", x, options={"clusters": 2}).labels, truth) < 0.9


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"'linkage'.*'ward'"):
        cluster("hierarchical", blobs()[0], options={"linkage": "centroid"})
