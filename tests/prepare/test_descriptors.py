"""Descriptors against their definitions, and what turns and brightness change of them."""

import numpy as np
import pytest

from estampa.prepare.descriptors import CELLS, MORPHOLOGY, ORIENTATIONS, descriptors, histograms, morphology


def blob(width, ratio=1.0, angle=0.0, size=65, height=200.0):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (height * np.exp(-0.5 * ((u / width) ** 2 + (v / (width * ratio)) ** 2)))[None, ..., None].astype(np.float32)


def of(name, images):
    return morphology(images)[:, MORPHOLOGY.index(name)]


def test_a_gaussian_has_its_known_concentration_and_axis_ratio():
    """Of a round Gaussian r80 / r20 is the root of ln 5 / ln 1.25 = 2.686: C = 2.145."""
    assert of("concentration", blob(8))[0] == pytest.approx(2.145, abs=0.15)
    assert of("axis_ratio", blob(8, 0.5, 0.6))[0] == pytest.approx(0.5, abs=0.03)
    assert of("axis_ratio", blob(8))[0] == pytest.approx(1, abs=0.01)


def test_gini_is_0_of_a_flat_disc_and_near_1_of_one_pixel():
    y, x = np.mgrid[:41, :41] - 20
    flat = (np.hypot(x, y) < 10).astype(np.float32)[None, ..., None]
    assert of("gini", flat)[0] == pytest.approx(0, abs=1e-6)
    sharp = blob(6).copy()
    sharp[0, 32, 32] = 1e6
    assert of("gini", sharp)[0] > 0.95


def test_asymmetry_is_0_of_what_half_a_turn_keeps():
    assert of("asymmetry", blob(6, 0.4, 0.5))[0] == pytest.approx(0, abs=1e-4)
    aside = blob(6) + np.roll(blob(3), 18, axis=1)
    assert of("asymmetry", aside)[0] > 0.1


def test_turns_change_no_shape_and_brightness_changes_no_gradient():
    image = (blob(9, 0.4, 0.3) + np.roll(blob(3), (9, 4), (1, 2))).astype(np.float32)
    turned = np.rot90(image, axes=(1, 2))
    np.testing.assert_allclose(morphology(turned), morphology(image), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(histograms(image * 3), histograms(image), atol=1e-4)
    assert np.abs(histograms(turned) - histograms(image)).max() > 0.05


def test_a_ramp_has_one_orientation():
    ramp = np.tile(np.arange(48, dtype=np.float32), (48, 1))[None, ..., None]
    found = histograms(ramp).reshape(CELLS, CELLS, ORIENTATIONS)
    strongest = found.sum((0, 1))
    assert strongest[[0, -1]].sum() / strongest.sum() > 0.99  # angle 0 lies between the last bin and the first


@pytest.mark.parametrize("shape", [(3, 5, 5, 1), (2, 21, 21, 4), (4, 30, 20, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_picture_gives_finite_numbers(shape, dtype):
    images = np.random.default_rng(0).uniform(0, 200, shape).astype(dtype)
    images[0] = 0
    if dtype == "float32":
        images[1] = np.nan
    found = descriptors(images)
    assert np.isfinite(found).all()
    assert found.shape[0] == shape[0]
    assert descriptors(images[:1]).shape[1] == found.shape[1]


def test_a_picture_s_numbers_do_not_depend_on_the_pictures_beside_it():
    far = np.zeros((1, 65, 65, 1), np.float32)
    far[0, :9, :9] = 200  # its light lies in a corner: its largest radius is twice that of the others
    together = np.concatenate([blob(8), far, blob(5, 0.5, 0.3)])
    apart = np.concatenate([descriptors(one[None]) for one in together])
    np.testing.assert_allclose(descriptors(together), apart, rtol=1e-5, atol=1e-6)
