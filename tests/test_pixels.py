"""pixels.py: arrays in, arrays out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from estampa import pixels
from estampa.errors import InputError


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_area_resize_is_the_mean_of_what_a_pixel_covers(dtype: str, channels: int) -> None:
    rng = np.random.default_rng(0)
    image = (rng.random((12, 8, channels)) * 200).astype(dtype)
    expected = image.reshape(4, 3, 4, 2, channels).astype(float).mean((1, 3))
    found = pixels.resize(image, (4, 4))
    assert found.dtype == image.dtype
    tolerance = 1e-4 if dtype == "float32" else 1.01
    assert np.abs(found - expected).max() <= tolerance


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 4])),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(pixels.FITS),
    resample=st.sampled_from(pixels.RESAMPLES),
    dtype=st.sampled_from(pixels.DTYPES),
)
def test_resize_always_gives_the_size_asked_and_keeps_a_constant(shape, size, fit, resample, dtype) -> None:
    image = np.full(shape, 117, dtype)
    found = pixels.resize(image, size, fit, resample)
    assert found.shape == (*size, shape[2])
    assert found.dtype == np.dtype(dtype)
    assert np.allclose(found, 117, atol=1e-3)


def test_pad_keeps_the_aspect_and_fills_with_the_border() -> None:
    image = np.full((10, 20, 1), 255, np.uint8)
    image[3:7, 5:15] = 0
    found = pixels.resize(image, (20, 20), "pad")
    assert (found[:5] == 255).all()
    assert (found[15:] == 255).all()
    assert (found[9:11, 6:14] == 0).all()
    assert (pixels.resize(image, (20, 20), "pad", fill=7)[:5] == 7).all()


def test_crop_keeps_the_centre() -> None:
    image = np.arange(40, dtype=np.uint8).reshape(1, 40, 1).repeat(20, 0)
    assert pixels.resize(image, (20, 20), "crop")[0, :, 0].tolist() == list(range(10, 30))
    with pytest.raises(InputError, match="larger than the image"):
        pixels.crop_centre(image, (21, 10))


def test_nan_spreads_only_to_the_pixels_that_cover_it() -> None:
    image = np.ones((8, 8, 1), np.float32)
    image[0, 0] = np.nan
    found = pixels.resize(image, (4, 4))
    assert np.isnan(found[0, 0, 0])
    assert np.isnan(found).sum() == 1


def test_unknown_words_propose_the_nearest() -> None:
    image = np.zeros((4, 4, 1), np.uint8)
    with pytest.raises(InputError, match="Did you mean 'stretch'"):
        pixels.resize(image, (2, 2), "strech")
    with pytest.raises(InputError, match="Did you mean 'bilinear'"):
        pixels.resize(image, (2, 2), "pad", "bilinar")
    with pytest.raises(InputError, match="holds no pixel"):
        pixels.resize(image, (0, 2))


def test_colour_modes_agree_with_pillow() -> None:
    rng = np.random.default_rng(1)
    colour = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    luma = np.asarray(Image.fromarray(colour).convert("L"))
    assert np.abs(pixels.to_channels(colour, "L")[:, :, 0].astype(int) - luma).max() <= 1
    assert pixels.to_channels(luma, "RGB").shape == (9, 7, 3)
    assert pixels.to_channels(colour, "RGB") is colour
    with pytest.raises(InputError, match="not a picture"):
        pixels.to_channels(np.zeros((3, 3, 7), np.uint8), "L")


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535), ("float32", 1.0)])
def test_alpha_is_composited_on_white(dtype: str, top: float) -> None:
    image = np.zeros((1, 3, 4), dtype)
    image[0, :, 3] = [0, top, top / 2]
    found = pixels.on_white(image)[0, :, 0] / top
    assert found == pytest.approx([1, 0, 0.5], abs=0.01)
    assert pixels.to_channels(image[:, :, [0, 3]], "L").shape == (1, 3, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_agrees_with_pillow(orientation: int) -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(image).save(stream, "png", exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(stream.getvalue())))
    assert pixels.orient(image, orientation).tolist() == np.asarray(upright).tolist()


def test_zscale_ignores_a_bright_star_and_follows_the_noise() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(100, 5, (100, 100))
    image[50, 50] = 1e6
    low, high = pixels.limits(image, "zscale")
    assert 60 < low < 100 < high < 150
    assert pixels.limits(np.full((3, 3), np.nan), "zscale") == (0.0, 1.0)
    assert pixels.limits(np.full((3, 3), 4.0), "percentile") == (4.0, 5.0)


@pytest.mark.parametrize("kind", pixels.STRETCHES)
def test_stretches_stay_within_range_grow_and_keep_nan(kind: str) -> None:
    image = np.array([[np.nan, -5.0, 0.0, 1.0, 50.0, 1000.0, np.inf]])
    found = pixels.stretch(image, kind, 0, 100)
    assert found.dtype == np.float32
    assert np.isnan(found[0, 0])
    assert (np.diff(found[0, 1:]) >= 0).all()
    assert (found[0, 1], found[0, 5]) == (0, pytest.approx(1))
    shown = pixels.to_bytes(found, missing=9)
    assert (shown[0, 0], shown[0, 5]) == (9, 255)


def test_stretch_refuses_an_empty_range() -> None:
    with pytest.raises(InputError, match="high above low"):
        pixels.stretch(np.zeros(3), "linear", 1, 1)
    with pytest.raises(InputError, match="softening"):
        pixels.stretch(np.zeros(3), "asinh", 0, 1, softening=0)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255]), "uint8"),
        (np.array([0, 256]), "uint16"),
        (np.array([-1, 4]), "float32"),
        (np.array([True, False]), "uint8"),
        (np.array([0.5], np.float16), "float32"),
        (np.array([0.5, np.nan, np.inf]), "float32"),
        (np.array([-70000, 70000], np.int32), "float32"),
        (np.array([7], ">u2"), "uint16"),
        (np.array([7], ">f4"), "float32"),
    ],
)
def test_lossless_rule(values: np.ndarray, expected: str) -> None:
    found = pixels.lossless(values)
    assert found.dtype == np.dtype(expected)
    assert np.array_equal(found, values, equal_nan=expected == "float32")


def test_lossless_refuses_what_would_change() -> None:
    with pytest.raises(InputError, match="too large to be kept exactly"):
        pixels.lossless(np.array([-1, 1 << 25]))
    with pytest.raises(InputError, match="beyond the range of float32"):
        pixels.lossless(np.array([1e300]))
    with pytest.raises(InputError, match="whole numbers or floating point"):
        pixels.lossless(np.array(["a"]))
    with pytest.raises(InputError, match="whole numbers or floating point"):
        pixels.lossless(np.array([1j]))
