"""The components against scikit-learn's, their order, signs, memory, and what cannot be done."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sklearn.decomposition import PCA, IncrementalPCA

from estampa.errors import DatasetError, InputError
from estampa.reduce.pca import centre, fit_pca


def spectrum(n: int = 500, f: int = 800, seed: int = 0, pedestal: float = 50.0) -> np.ndarray:
    """Values whose variances fall over four decades, on noise and a pedestal."""
    draw = np.random.default_rng(seed)
    strong = (draw.standard_normal((n, 60)) * np.geomspace(100, 1, 60)) @ draw.standard_normal((60, f))
    return (strong + 3 * draw.standard_normal((n, f)) + pedestal).astype(np.float32)


def blocks(values: np.ndarray, size: int = 128) -> Callable[[], Iterator[np.ndarray]]:
    return lambda: (values[i : i + size].copy() for i in range(0, len(values), size))


def test_it_finds_what_the_full_decomposition_finds() -> None:
    x = spectrum()
    ours, full = fit_pca(blocks(x), *x.shape, 20), PCA(20, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(ours.explained_variance, full.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(ours.explained_ratio, full.explained_variance_ratio_, rtol=1e-4)
    np.testing.assert_allclose(ours.mean, full.mean_, rtol=1e-5)
    assert ours.total_variance == pytest.approx(x.astype(np.float64).var(axis=0, ddof=1).sum(), rel=1e-6)
    # The signs are scikit-learn's svd_flip: no component is turned around, so the pictures agree too.
    np.testing.assert_allclose(ours.components, full.components_, atol=2e-3)
    largest = np.abs(ours.components).argmax(axis=1)
    assert (ours.components[np.arange(20), largest] > 0).all()


def test_it_explains_at_least_as_much_as_the_incremental_way() -> None:
    x = spectrum(seed=1)
    ours, theirs = fit_pca(blocks(x), *x.shape, 20), IncrementalPCA(20, batch_size=100).fit(x)

    def held(components: np.ndarray) -> float:
        centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
        return float(np.square(centred @ components.T.astype(np.float64)).sum() / np.square(centred).sum())

    assert held(ours.components) >= held(theirs.components_)
    assert ours.explained == pytest.approx(held(ours.components), rel=1e-5)  # what is reported is what is there


@pytest.mark.parametrize(("n", "f", "k"), [(40, 300, 39), (300, 40, 40), (30, 30, 5)])
def test_every_shape_up_to_all_components(n: int, f: int, k: int) -> None:
    x = np.random.default_rng(n).normal(5, 2, (n, f)).astype(np.float32)
    made = fit_pca(blocks(x, 7), n, f, k)
    full = PCA(k, svd_solver="full").fit(x.astype(np.float64))
    np.testing.assert_allclose(made.components @ made.components.T, np.eye(k), atol=1e-4)
    np.testing.assert_allclose(made.explained_variance, full.explained_variance_, rtol=1e-3)
    if k >= min(n - 1, f):
        np.testing.assert_allclose(made.inverse(made.transform(x.copy())), x, atol=1e-3)


def test_weak_components_beside_a_very_strong_one_keep_their_digits() -> None:
    draw = np.random.default_rng(3)
    basis = np.linalg.qr(draw.standard_normal((400, 4)))[0].T
    x = ((draw.standard_normal((600, 4)) * [1e3, 10, 3, 1]) @ basis).astype(np.float32)
    made = fit_pca(blocks(x), 600, 400, 4)
    exact = np.linalg.svd(x.astype(np.float64) - x.mean(axis=0, dtype=np.float64), compute_uv=False)[:4] ** 2 / 599
    np.testing.assert_allclose(made.explained_variance, exact, rtol=2e-3)


def test_the_same_seed_gives_the_same_bits() -> None:
    x = spectrum(200, 300)
    one, two, other = (fit_pca(blocks(x), *x.shape, 10, seed=s) for s in (5, 5, 6))
    assert np.array_equal(one.components, two.components)
    assert not np.array_equal(one.components, other.components)
    np.testing.assert_allclose(one.explained_variance, other.explained_variance, rtol=1e-3)


def test_memory_does_not_grow_with_the_number_of_objects() -> None:
    def made(n: int) -> Iterator[np.ndarray]:
        draw = np.random.default_rng(0)
        for _ in range(n // 100):
            yield draw.standard_normal((100, 2000), dtype=np.float32)

    peaks = []
    for n in (1000, 4000):
        tracemalloc.start()
        fit_pca(lambda n=n: made(n), n, 2000, 10, passes=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_what_is_not_finite_counts_as_the_mean() -> None:
    x = spectrum(200, 100)
    holes = x.copy()
    holes[3, 7], holes[4, 8], holes[:, 50] = np.nan, np.inf, np.nan
    filled = x.copy()
    for column, row in ((7, 3), (8, 4)):
        filled[row, column] = np.delete(x[:, column], row).mean(dtype=np.float64)
    filled[:, 50] = 0
    one, two = (fit_pca(blocks(v), 200, 100, 5) for v in (holes, filled))
    np.testing.assert_allclose(one.explained_variance, two.explained_variance, rtol=1e-5)
    assert np.isfinite(one.transform(holes.copy())).all()
    values = np.array([[1.0, np.nan], [3.0, 4.0]], np.float32)
    centre(values, np.array([1, 1], np.float32))
    assert values.tolist() == [[0, 0], [2, 3]]


def test_a_constant_feature_takes_no_part() -> None:
    x = spectrum(200, 100)
    x[:, 10] = 7
    made = fit_pca(blocks(x), 200, 100, 8)
    assert np.abs(made.components[:, 10]).max() < 1e-5
    assert made.inverse(made.transform(x.copy()))[:, 10] == pytest.approx(7, abs=1e-3)


def test_more_components_than_objects_allow_are_refused() -> None:
    x = spectrum(20, 100)
    with pytest.raises(InputError, match=r"75 components cannot be found in 20 objects.*1 to 19.*at most 19"):
        fit_pca(blocks(x), 20, 100, 75)
    assert len(fit_pca(blocks(x), 20, 100, None).components) == 19
    with pytest.raises(InputError, match="one object has no variance"):
        fit_pca(blocks(x[:1]), 1, 100, None)


def test_objects_that_vary_in_fewer_directions_are_told_apart_from_noise() -> None:
    draw = np.random.default_rng(0)
    x = (draw.standard_normal((50, 3)) @ draw.standard_normal((3, 200))).astype(np.float32)
    with pytest.raises(DatasetError, match=r"vary in \d+ directions only.*Got: 20"):
        fit_pca(blocks(x), 50, 200, 20)
    assert len(fit_pca(blocks(x), 50, 200, 3).components) == 3
    with pytest.raises(DatasetError, match="all objects are the same"):
        fit_pca(blocks(np.full((10, 20), 3, np.float32)), 10, 20, 2)
