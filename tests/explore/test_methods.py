"""Every method keeps the contract of explore/clustering.py; each is right where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from groups import CENTRES, blobs, pure

from estampa import parts
from estampa.errors import InputError, RecipeError
from estampa.explore import clustering as contract
from estampa.explore import distances
from estampa.explore.clustering import Clustering, cluster

METHODS = parts.names(contract.METHODS)


def options(method: str, clusters: int = 4) -> dict[str, Any]:
    return {"smallest": 20} if method == "hdbscan" else {"clusters": clusters}


def found(method: str, n: int = 400, seed: int = 0) -> tuple[Clustering, np.ndarray, np.ndarray]:
    x, truth = blobs(n)
    return cluster(method, x, options=options(method), seed=seed), x, truth


@pytest.mark.parametrize("method", METHODS)
def test_shapes_types_and_ranges(method: str) -> None:
    made, x, _ = found(method)
    assert made.method == method
    assert made.clusters == 4
    assert made.labels.shape == made.strength.shape == (len(x),)
    assert (made.labels.dtype, made.centres.dtype, made.strength.dtype) == (np.int64, np.float32, np.float32)
    assert made.centres.shape == (4, 3)
    assert set(np.unique(made.labels)) <= set(range(-1, 4))
    assert made.strength.min() >= 0
    assert made.strength.max() <= 1
    assert (made.strength[made.labels < 0] == 0).all()
    assert (np.diff(made.sizes) <= 0).all(), "the largest cluster comes first"
    assert made.sizes.sum() == len(x) * (1 - made.noise)


@pytest.mark.parametrize("method", METHODS)
def test_groups_that_lie_apart_are_found(method: str) -> None:
    made, _, truth = found(method)
    assert pure(made.labels, truth) > (0.9 if method == "hdbscan" else 0.99)
    order = [np.linalg.norm(made.centres - c, axis=1).argmin() for c in CENTRES]
    assert sorted(order) == [0, 1, 2, 3]
    assert np.abs(made.centres[order] - CENTRES).max() < 0.8


@pytest.mark.parametrize("method", METHODS)
def test_the_heart_is_stronger_than_the_border(method: str) -> None:
    made, x, _ = found(method)
    inside = made.labels >= 0
    away = np.linalg.norm(x[inside] - made.centres[made.labels[inside]], axis=1)
    assert made.strength[inside][away < 1].mean() >= made.strength[inside][away > 2].mean()
    labels, strength = made.assign(made.centres)
    assert (labels == np.arange(4)).all()
    assert strength.min() > 0.5


@pytest.mark.parametrize("method", METHODS)
def test_new_objects_join_the_group_that_they_come_from(method: str) -> None:
    made, _, _ = found(method)
    new, truth = blobs(seed=7)
    labels, strength = made.assign(new)
    assert labels.shape == strength.shape == (len(new),)
    assert pure(labels, truth) > (0.85 if method == "hdbscan" else 0.99)
    nothing = made.assign(np.zeros((0, 3)))
    assert nothing[0].shape == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_clusters(method: str) -> None:
    first, second = (found(method, seed=3)[0] for _ in range(2))
    assert (first.labels == second.labels).all()
    assert (first.centres == second.centres).all()
    assert (first.strength == second.strength).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_state_comes_back_whole(method: str) -> None:
    import json

    made, x, _ = found(method)
    arrays, record = made.state()
    again = Clustering.from_state(arrays, json.loads(json.dumps(record, allow_nan=False)))
    assert again.options == made.options
    assert set(again.evidence) == set(made.evidence)
    for a, b in zip(made.assign(x + 0.1), again.assign(x + 0.1), strict=True):
        assert (a == b).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_state_that_does_not_fit_is_refused(method: str) -> None:
    made, _, _ = found(method)
    arrays, record = made.state()
    for name in ["labels", "centres", *(f"memory.{n}" for n in parts.load(contract.METHODS, method).MEMORY)]:
        without = {k: v for k, v in arrays.items() if k != name}
        with pytest.raises(InputError, match=name):
            Clustering.from_state(without, record)
        with pytest.raises(InputError, match=name):
            Clustering.from_state({**arrays, name: arrays[name][..., None]}, record)
    with pytest.raises(InputError, match="out of range"):
        Clustering.from_state({**arrays, "labels": arrays["labels"] + 4}, record)
    with pytest.raises(InputError, match="NaN"):
        Clustering.from_state({**arrays, "centres": arrays["centres"] * np.float32("nan")}, record)
    with pytest.raises(InputError, match="unknown name"):
        Clustering.from_state(arrays, {**record, "method": "os"})


# ------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("method", [m for m in METHODS if m != "hdbscan"])
def test_fewer_objects_than_clusters(method: str) -> None:
    with pytest.raises(InputError, match=r"fewer objects than clusters.*at most 5 .*Got: 6") as caught:
        cluster(method, blobs(10)[0][:5], options={"clusters": 6})
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_feature_changes_nothing(method: str) -> None:
    x, truth = blobs()
    plain = cluster(method, x, options=options(method))
    constant = np.hstack([x, np.full((len(x), 1), 3.0, np.float32)])
    made = cluster(method, constant, options=options(method))
    assert np.allclose(made.centres[:, 3], 3.0)
    assert (made.labels == plain.labels).mean() > 0.98
    assert pure(made.labels, truth) > 0.9


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e39])
def test_nan_and_infinite_features_are_refused(method: str, value: float) -> None:
    x = blobs()[0].astype(np.float64)
    made = cluster(method, x, options=options(method))
    x[[7, 9], 1] = value
    with pytest.raises(InputError, match=r"2 of 400 objects have features that are NaN or infinite.*row 7"):
        cluster(method, x, options=options(method))
    with pytest.raises(InputError, match="NaN or infinite"):
        made.assign(x)


@pytest.mark.parametrize("method", METHODS)
def test_other_numbers_of_features_are_refused(method: str) -> None:
    made, x, _ = found(method)
    with pytest.raises(InputError, match=r"another number of features.*Allowed: 3.*Got: 2"):
        made.assign(x[:, :2])
    with pytest.raises(InputError, match="one row of numbers"):
        cluster(method, x[0], options=options(method))
    with pytest.raises(InputError, match="too few objects"):
        cluster(method, x[:1], options=options(method))


@pytest.mark.parametrize("method", METHODS)
def test_unknown_and_impossible_options_are_refused(method: str) -> None:
    x = blobs()[0]
    with pytest.raises(RecipeError, match=rf"options of {method}.*unknown key 'clustres'"):
        cluster(method, x, options={"clustres": 3})
    known = next(iter(options(method)))
    with pytest.raises(RecipeError, match=known):
        cluster(method, x, options={known: 0})


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown name 'kmean'.*kmeans"):
        cluster("kmean", blobs()[0])


# ------------------------------------------------------------------------------------------ distances


def test_distances_are_those_of_plain_arithmetic() -> None:
    rng = np.random.default_rng(0)
    x, centres = rng.normal(1000, 1, (50, 6)).astype(np.float32), rng.normal(1000, 1, (5, 6)).astype(np.float32)
    plain = np.linalg.norm(x[:, None].astype(float) - centres, axis=2)
    assert np.allclose(np.sqrt(distances.squared(x, centres)), plain, atol=1e-3)
    labels, first, second = distances.two_nearest(x, centres)
    assert (labels == plain.argmin(axis=1)).all()
    assert np.allclose(np.stack([first, second], 1), np.sort(plain, axis=1)[:, :2], atol=1e-3)
    own, other = distances.own_and_other(x, centres, labels)
    assert np.allclose(own, first, atol=1e-4)
    assert np.allclose(other, second, atol=1e-4)


def test_kmeans_refuses_copies_of_too_few_objects() -> None:
    with pytest.raises(InputError, match=r"fewer different objects than clusters.*at most 3"):
        cluster("kmeans", np.repeat(CENTRES[:3], 10, axis=0), options={"clusters": 4})


def test_kmeans_of_many_objects_is_as_good_as_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.cluster import KMeans

    from estampa.explore.methods import kmeans

    x, _ = blobs(4000)
    plain = KMeans(4, n_init=10, random_state=0).fit(x)
    monkeypatch.setattr(kmeans, "SAMPLE", 300)
    made = cluster("kmeans", x, options={"clusters": 4})
    assert made.evidence["inertia"] <= plain.inertia_ * 1.0001


def test_means_are_those_of_the_members() -> None:
    rng = np.random.default_rng(0)
    x, labels, weights = rng.normal(5, 1, (90, 4)).astype(np.float32), rng.integers(-1, 3, 90), rng.uniform(1, 3, 90)
    plain = [x[labels == c].mean(axis=0) for c in range(3)]
    assert np.allclose(distances.means_of(x, labels, 4), [*plain, x.mean(axis=0)], atol=1e-6)
    weighted = [np.average(x[labels == c], axis=0, weights=weights[labels == c]) for c in range(3)]
    assert np.allclose(distances.means_of(x, labels, 3, weights), weighted, atol=1e-6)
