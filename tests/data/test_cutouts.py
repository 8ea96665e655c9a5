"""Cut-outs of the sky are told from other pictures by their pixels, and read as wide as their objects."""

from functools import cache

import numpy as np
import pytest
from PIL import Image

from estampa.data.builders.galaxies import simulate_galaxies
from estampa.data.cutouts import ENOUGH, framing, framing_of
from estampa.data.read import ReadOptions, build
from estampa.data.sizing import sized
from estampa.progress import SILENT


@cache
def galaxies(width=8.0):
    return simulate_galaxies(64, size=96, width=width)[0]


def test_the_square_that_objects_fill_grows_with_them():
    narrow, wide = framing(galaxies()), framing(galaxies(width=5.0))
    assert narrow is not None
    assert wide is not None
    assert 2.4 < narrow.side / 96 * 8 < 3.8  # in radii of nine tenths of the light
    assert wide.side == pytest.approx(narrow.side * 8 / 5, rel=0.2)


def test_other_pictures_are_none():
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (60, 64, 64, 3)).astype(np.uint8)
    assert framing(noise) is None
    bright = 255 - galaxies()
    assert framing(bright) is None  # dark things on a bright ground
    assert framing(galaxies().astype(np.float32)) is None
    assert framing(galaxies()[:, :80]) is None
    aside = np.roll(galaxies(), 30, axis=2)
    assert framing(aside) is None
    flat = np.zeros((60, 64, 64, 1), np.uint8)
    assert framing(flat) is None


def test_pictures_that_have_an_up_and_a_down_are_none():
    """A bright bar, upright in every picture: in the middle of a dark ground, but not round."""
    bars = np.random.default_rng(0).integers(0, 6, (60, 64, 64, 1)).astype(np.uint8)
    bars[:, 12:52, 29:35] += 180
    assert framing(bars) is None


def test_real_drawings_and_garments_are_none(tmp_path):
    dataset = build("drawings", tmp_path / "set.h5", builder_options={"people": "8", "each": "3"})
    assert framing_of(dataset.n, dataset.take) is None


def test_too_few_tell_nothing():
    assert framing_of(ENOUGH - 1, lambda rows: galaxies()[rows]) is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("jpegs")
    images, kinds = simulate_galaxies(40, size=200, width=8.0)
    for row, (image, kind) in enumerate(zip(images, kinds, strict=True)):
        (place / f"{kind}").mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{kind}" / f"{row}.jpg", quality=95)
    return place


def test_wide_cutouts_are_read_around_their_objects(folder):
    said = []

    class Told(type(SILENT)):
        def say(self, line):
            said.append(line)

    options = sized(folder, ReadOptions(), Told())
    assert options.crop % 2 == 0
    assert 75 < options.crop < 140
    assert options.size == ((120, 120) if options.crop > 120 else None)
    assert "objects fill about" in said[0]
    header = build(folder, folder.parent / "set.h5", options).header
    assert header.shape[:2] == (options.size or (options.crop, options.crop))
    assert header.read.crop == options.crop


def test_what_is_told_is_kept(folder):
    told = ReadOptions(size=(32, 32))
    assert sized(folder, told) is told
    told = ReadOptions(crop=200)
    assert sized(folder, told) is told
    assert sized(folder, ReadOptions(), cutouts=False).size == (64, 64)
