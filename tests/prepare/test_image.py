"""The preparation: exact constants, the NaN rule, the round trip."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from estampa.errors import BundleError, DatasetError, InputError
from estampa.prepare.image import STATE, ImagePreparation, own_scale


def images(dtype, seed=0, n=40):
    raw = np.random.default_rng(seed).gamma(2, 20, (n, 5, 6, 3))
    return raw.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_constants_are_those_of_all_pixels(dtype):
    x = images(dtype)
    made = ImagePreparation().fit([x[:7], x[7:30], x[30:]])
    flat = x.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(made.mean_, flat.mean(0), rtol=1e-9)
    np.testing.assert_allclose(made.deviation_, flat.std(0), rtol=1e-9)
    np.testing.assert_allclose(made.median_, np.median(flat, 0), rtol=1e-9)
    np.testing.assert_array_equal(made.low_, flat.min(0))
    np.testing.assert_array_equal(made.high_, flat.max(0))
    mad = np.median(np.abs(flat - np.median(flat, 0)), 0)
    np.testing.assert_allclose(made.noise_, 1.4826022185056018 * mad, rtol=1e-6)


def test_standard_scale_gives_mean_0_and_deviation_1():
    x = images("float32")
    for stretch in ("linear", "asinh"):
        y = ImagePreparation(stretch=stretch).fit([x]).apply(x).reshape(-1, 3).astype(np.float64)
        np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(y.std(0), 1, rtol=1e-4)


def test_unit_scale_is_by_type_for_8_bits_and_by_range_else():
    small = np.full((2, 2, 2, 1), 51, np.uint8)
    assert ImagePreparation(scale="unit").fit([small]).apply(small).max() == pytest.approx(0.2)
    x = images("uint16")
    y = ImagePreparation(scale="unit").fit([x]).apply(x)
    assert y.min() == 0
    assert y.max() == pytest.approx(1)


def test_raw_scale_changes_nothing():
    x = images("uint8")
    np.testing.assert_array_equal(ImagePreparation(scale="raw").fit([x]).apply(x), x.astype(np.float32))


def test_asinh_is_linear_near_the_median_and_logarithmic_far_above():
    x = images("float32")
    made = ImagePreparation(stretch="asinh", scale="raw").fit([x])
    at = made.median_ + made.noise_ * np.array([[0.0], [0.01], [1e4]])
    y = made.apply(at[:, None, None, :].astype(np.float32))[:, 0, 0, :]
    np.testing.assert_allclose(y[0], 0, atol=1e-6)
    np.testing.assert_allclose(y[1], 0.01, rtol=1e-3)
    np.testing.assert_allclose(y[2], np.log(2e4), rtol=1e-4)


@pytest.mark.parametrize("stretch", ["linear", "asinh"])
def test_pixels_that_are_not_finite_follow_the_rule(stretch):
    x = images("float32")
    x[0, 0, 0] = np.nan
    x[1, 0, 0] = np.inf
    x[2, 0, 0] = -np.inf
    zero = ImagePreparation("zero", stretch).fit([x])
    np.testing.assert_array_equal(zero.apply(x)[:3, 0, 0], 0)
    median = ImagePreparation("median", stretch).fit([x])
    there = median.apply(np.broadcast_to(median.median_.astype(np.float32), (1, 1, 1, 3)))[0, 0, 0]
    for row in range(3):
        np.testing.assert_allclose(median.apply(x)[row, 0, 0], there, atol=1e-6)
    assert np.isfinite(zero.mean_).all()
    with pytest.raises(DatasetError, match="9 training pixels are not finite"):
        ImagePreparation("refuse", stretch).fit([x])


def test_a_constant_channel_does_not_divide_by_zero():
    x = images("float32")
    x[..., 1] = 7
    for scale in ("unit", "standard"):
        for stretch in ("linear", "asinh"):
            y = ImagePreparation(scale=scale, stretch=stretch).fit([x]).apply(x)
            np.testing.assert_array_equal(y[..., 1], 0)


def test_nothing_to_fit_on_is_an_error():
    with pytest.raises(DatasetError, match="no training images"):
        ImagePreparation().fit([])
    x = images("float32")
    x[..., 2] = np.nan
    with pytest.raises(DatasetError, match="no finite pixel"):
        ImagePreparation().fit([x])


def test_unknown_values_name_what_is_allowed():
    with pytest.raises(InputError, match=r"prepare.stretch.*linear, asinh.*'log'"):
        ImagePreparation(stretch="log")


def test_record_and_state_round_trip():
    x = images("uint16")
    made = ImagePreparation("median", "asinh", "unit").fit([x])
    again = ImagePreparation.from_record(made.to_record(), made.state())
    np.testing.assert_array_equal(again.apply(x), made.apply(x))
    assert set(made.state()) == set(STATE)
    state = made.state()
    del state["noise_"]
    with pytest.raises(BundleError, match="noise_"):
        ImagePreparation.from_record(made.to_record(), state)


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.float32, (6, 3, 2, 2), elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(1, 5),
    st.sampled_from(["linear", "asinh"]),
)
def test_any_cut_into_blocks_gives_the_same_rule(x, cut, stretch):
    whole = ImagePreparation(stretch=stretch).fit([x])
    parts = ImagePreparation(stretch=stretch).fit([x[:cut], x[cut:]])
    for name in STATE:
        scale = max(1.0, float(np.abs(x).max()))
        np.testing.assert_allclose(getattr(whole, name), getattr(parts, name), rtol=1e-6, atol=1e-6 * scale)


def test_many_float_pixels_are_sampled_in_flat_memory(monkeypatch):
    monkeypatch.setattr("estampa.prepare.image.SAMPLE", 1000)
    rng = np.random.default_rng(1)
    made = ImagePreparation().fit(rng.normal(5, 2, (10, 16, 16, 1)).astype(np.float32) for _ in range(20))
    assert made.median_[0] == pytest.approx(5, abs=0.2)
    assert made.noise_[0] == pytest.approx(2, abs=0.2)


def test_own_scale_undoes_gain_and_background_and_is_blind_to_a_source():
    random = np.random.default_rng(3)
    x = random.normal(0, 1, (40, 21, 21, 1)).astype(np.float32)
    good = np.ones(x.shape, bool)
    plain = own_scale(x, good)
    np.testing.assert_allclose(own_scale(50 * x + 700, good), plain, atol=2e-3)
    assert 0.6 < (1 / np.sinh(plain).std()) < 0.85  # the noise found, in deviations
    bright = x.copy()
    bright[:, 8:13, 8:13] += 2000
    around = np.ones((21, 21), bool)
    around[8:13, 8:13] = False
    apart = np.abs(own_scale(bright, good)[:, around] - plain[:, around])
    assert np.median(apart) < 0.05
    assert own_scale(bright, good)[:, 10, 10].min() > 7


def test_own_scale_of_constant_and_of_empty_pictures_is_zero():
    x = np.full((2, 9, 9, 1), 7.0, np.float32)
    good = np.ones(x.shape, bool)
    good[1] = False
    assert (own_scale(x, good) == 0).all()
