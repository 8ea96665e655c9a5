"""The self-organising map and the Gaussian mixture, against their libraries and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from groups import blobs

from estampa.errors import InputError
from estampa.explore.clustering import Clustering, cluster
from estampa.explore.methods import gmm, som


def test_the_map_fits_at_least_as_well_as_minisom() -> None:
    from minisom import MiniSom

    rng = np.random.default_rng(0)
    x = (rng.normal(0, 1, (12, 20))[rng.integers(0, 12, 1500)] + rng.normal(0, 1, (1500, 20))).astype(np.float32)
    plain = MiniSom(3, 4, 20, sigma=1.0, random_seed=0)
    plain.train(x, 5 * len(x))
    made = cluster("som", x, options={"grid": (3, 4)})
    assert made.evidence["quantisation_error"] <= plain.quantization_error(x)


def test_neighbours_on_the_map_are_neighbours_in_the_data() -> None:
    x = np.random.default_rng(0).uniform(0, [8, 2], (3000, 2)).astype(np.float32)
    made = cluster("som", x, options={"clusters": 16, "grid": (2, 8)})
    assert made.evidence["topographic_error"] < 0.12
    nodes = made.evidence["nodes"]
    steps = np.diff(nodes[:, :, 0], axis=1)
    assert (steps > 0).all() or (steps < 0).all(), "the long side of the grid follows the long side of the data"
    assert made.evidence["hits"].sum() == len(x)


@pytest.mark.parametrize(
    ("clusters", "grid"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (7, (2, 4)), (12, (3, 4)), (13, (3, 5))]
)
def test_the_grid_is_as_square_as_the_clusters_allow(clusters: int, grid: tuple[int, int]) -> None:
    assert som.grid_for(clusters) == grid


def test_a_larger_grid_is_merged_into_the_clusters_asked_for() -> None:
    x, truth = blobs()
    made = cluster("som", x, options={"clusters": 4, "grid": (6, 6)})
    assert made.clusters == 4
    assert "merged into 4 clusters by Ward's rule" in made.evidence["note"]
    assert made.evidence["u_matrix"].shape == made.evidence["node_clusters"].shape == (6, 6)
    assert max((truth[made.labels == c] == g).mean() for c in range(4) for g in range(4)) > 0.99


def test_nodes_without_objects_join_the_nearest_cluster() -> None:
    x = np.repeat(np.array([[0, 0], [1, 0], [0, 9]], np.float32), 5, axis=0)
    made = cluster("som", x, options={"clusters": 12})
    assert made.clusters <= 3
    assert "hold no objects" in made.evidence["note"]
    assert made.evidence["node_clusters"].min() >= 0
    assert (made.sizes > 0).all()


def test_the_u_matrix_is_the_mean_distance_to_neighbours() -> None:
    nodes = np.array([[[0.0], [1.0]], [[5.0], [7.0]]])
    assert np.allclose(som.u_matrix(nodes), [[3, 3.5], [3.5, 4]])


def test_a_grid_with_too_few_nodes_is_refused() -> None:
    with pytest.raises(InputError, match=r"fewer nodes than clusters.*12 or more.*3 x 3"):
        cluster("som", blobs()[0], options={"grid": (3, 3)})


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_the_mixture_is_as_good_as_scikit_learns(kind: str) -> None:
    from sklearn.mixture import GaussianMixture

    x, _ = blobs(1000)
    plain = GaussianMixture(4, covariance_type=kind, n_init=3, random_state=0).fit(x.astype(float))
    made = cluster("gmm", x, options={"clusters": 4, "covariance": kind})
    assert made.evidence["bic"] == pytest.approx(plain.bic(x.astype(float)), rel=1e-3)
    assert made.evidence["log_likelihood"] == pytest.approx(plain.score(x.astype(float)), rel=1e-3)
    nearest = np.linalg.norm(made.centres[:, None] - plain.means_, axis=2).argmin(axis=1)
    theirs = plain.predict_proba(x.astype(float))[:, nearest]
    assert (theirs.argmax(axis=1) == made.labels).mean() > 0.995
    assert np.allclose(theirs.max(axis=1), made.strength, atol=0.02)


def test_many_objects_converge_on_a_sample_first(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = blobs(4000)
    whole = cluster("gmm", x, options={"clusters": 4})
    monkeypatch.setattr(gmm, "SAMPLE", 500)
    made = cluster("gmm", x, options={"clusters": 4})
    assert "converged on 500 objects drawn at random" in made.evidence["note"]
    assert made.evidence["bic"] == pytest.approx(whole.evidence["bic"], rel=1e-4)


def test_few_objects_get_diagonal_covariances_and_it_is_said() -> None:
    x = np.random.default_rng(0).normal(size=(200, 30)).astype(np.float32)
    made = cluster("gmm", x, options={"clusters": 3})
    assert made.evidence["covariance"] == "diag"
    assert "Covariances are diagonal" in made.evidence["note"]
    assert made.memory["factors"].shape[2] == 1


def test_features_that_depend_on_each_other_do_not_break_the_mixture() -> None:
    x, _ = blobs(2000)
    made = cluster("gmm", np.hstack([x, x, x * 0]), options={"clusters": 4, "covariance": "full"})
    assert np.isfinite(made.strength).all()
    assert made.clusters == 4


def test_a_state_that_is_no_mixture_is_refused() -> None:
    arrays, record = cluster("gmm", blobs()[0], options={"clusters": 4}).state()
    with pytest.raises(InputError, match="not a mixture"):
        Clustering.from_state({**arrays, "memory.factors": arrays["memory.factors"][:, :, :2]}, record)
    with pytest.raises(InputError, match="not a mixture"):
        Clustering.from_state({**arrays, "memory.shares": -arrays["memory.shares"]}, record)
