"""Simulated galaxies: the builder, and what makes their kinds."""

import numpy as np
import pytest

from estampa.data.builders._galaxy_light import KINDS, Frame, draw
from estampa.data.builders.galaxies import simulate_galaxies
from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.errors import InputError


def made(kind, m=16, size=64, width=3.2, seed=0):
    return draw(np.full(m, KINDS.index(kind)), Frame(size, width), np.random.default_rng(seed)).astype(float)


def test_the_builder_writes_what_the_function_makes_and_knows_it_again(tmp_path):
    path = tmp_path / "set.h5"
    dataset = build("galaxies", path, builder_options={"n": "100", "size": "32", "seed": "3"})
    images, labels = simulate_galaxies(100, seed=3, size=32)
    np.testing.assert_array_equal(dataset.take(np.arange(100)), images)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.classes == KINDS
    assert dataset.header.symmetry == "d4"
    assert dataset.header.origin["simulated"] is True
    changed = path.stat().st_mtime_ns
    build("galaxies", path, builder_options={"n": "100", "size": "32", "seed": "3"})
    assert path.stat().st_mtime_ns == changed
    assert isinstance(dataset, Dataset)


def test_the_first_rows_are_the_same_for_every_n_and_seeds_differ():
    few, many = simulate_galaxies(70, size=24)[0], simulate_galaxies(130, size=24)[0]
    np.testing.assert_array_equal(few, many[:70])
    assert (simulate_galaxies(70, size=24, seed=1)[0] != few).any()


@pytest.mark.parametrize(
    "option", [{"n": "0"}, {"n": "x"}, {"size": "8"}, {"width": "99"}, {"seed": "-1"}, {"sizes": "32"}]
)
def test_what_cannot_be_is_told(tmp_path, option):
    with pytest.raises(InputError, match="galaxies"):
        build("galaxies", tmp_path / "set.h5", builder_options=option)
    assert not (tmp_path / "set.h5").exists()


def test_discs_from_the_edge_are_thin_and_ellipticals_round():
    def flatness(images):
        light = np.maximum(images.mean(axis=3) - 15, 0)
        y, x = np.mgrid[: images.shape[1], : images.shape[2]] - (images.shape[1] - 1) / 2
        found = []
        for one in light:
            weights = one / one.sum()
            xx, yy, xy = (weights * x * x).sum(), (weights * y * y).sum(), (weights * x * y).sum()
            low, high = np.linalg.eigvalsh([[xx, xy], [xy, yy]])
            found.append(np.sqrt(low / high))
        return np.median(found)

    assert flatness(made("edge_on", 40)) < flatness(made("elliptical", 40)) - 0.2


def test_old_stars_are_redder_than_young_ones():
    def redness(kind):
        middle = made(kind, 60)[:, 16:48, 16:48]
        return np.median(middle[..., 0].mean((1, 2)) / middle[..., 2].mean((1, 2)))

    assert redness("elliptical") > redness("spiral_clockwise") * 1.1


def test_clockwise_arms_lead_clockwise_outwards():
    """The arms' phase at two radii: followed outwards, the crest moves clockwise (down from the right) as seen."""

    def turn(kind):
        images = made(kind, 150, size=64, seed=5).mean(axis=3)
        y, x = np.mgrid[:64, :64] - 31.5
        radius, azimuth = np.hypot(x, y), np.arctan2(y, x)  # y points down: azimuth grows clockwise
        inner, outer = (radius > 8) & (radius < 10), (radius > 10) & (radius < 12)
        phases = [(images[:, ring] * np.exp(-2j * azimuth[ring])).mean(1) for ring in (inner, outer)]
        moved = np.angle(phases[1] / phases[0])
        return -np.mean(np.sin(moved))

    assert turn("spiral_clockwise") > 0.05
    assert turn("spiral_anticlockwise") < -0.05
