"""The builder `mars`: patches of an elevation model, their channels, areas and derived score."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from estampa.data.builders import _elevation, mars
from estampa.data.builders import _navigability as navigability
from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.data.split import split
from estampa.errors import InputError, SourceError
from estampa.progress import SILENT

SMALL = {"side": "180", "seed": "3"}


def slanted(degrees: float, side: int = 20, pixel: float = 10.0) -> np.ndarray:
    """A plane that climbs along the columns."""
    return np.tile(np.arange(side) * pixel * np.tan(np.radians(degrees)), (side, 1))


# ------------------------------------------------------------------------------------------------ the rules


def test_a_level_smooth_patch_has_the_highest_score() -> None:
    assert navigability.score(np.zeros((1, 20, 20)), 10.0)[0] == pytest.approx(4.0)


def test_the_score_of_a_slope_is_that_of_the_formula() -> None:
    degrees = 6.0
    rise, lost = np.radians(degrees), (degrees / navigability.STEEPEST) ** 2
    straight_up = (navigability.ROLLING * np.cos(rise) + np.sin(rise)) / (1 - lost) / np.cos(rise)
    expected = 1 + 3 * navigability.ROLLING / straight_up
    assert navigability.score(slanted(degrees)[None], 10.0)[0] == pytest.approx(expected, rel=1e-6)


def test_a_wall_across_makes_a_patch_impassable_and_a_gap_in_it_helps() -> None:
    wall = np.zeros((20, 20))
    wall[9:11] = 30.0
    gap = wall.copy()
    gap[:, 13:] = 0.0
    maze = wall * 0
    maze[4:6, :13], maze[13:15, 7:] = 30.0, 30.0
    closed, opened, wound = navigability.score(np.stack([wall, gap, maze]), 10.0)
    assert closed == 1.0
    assert opened == pytest.approx(4.0)  # straight through the gap
    assert 2.0 < wound < 3.9  # there is a way, with detours


def test_steeper_and_rougher_is_worse() -> None:
    slopes = navigability.score(np.stack([slanted(d) for d in (0, 2, 5, 9, 13, 16)]), 10.0)
    assert (np.diff(slopes) < 0).all()
    assert slopes[-1] == 1.0
    noise = np.random.default_rng(0).normal(size=(20, 20))
    rough = navigability.score(np.stack([s * noise for s in (0.0, 0.1, 0.3, 0.6)]), 10.0)
    assert (np.diff(rough) < 0).all()


def test_the_score_and_the_channels_do_not_depend_on_the_side_they_are_seen_from() -> None:
    ground = _elevation.simulate_elevation(60, 1).height
    views = [np.rot90(ground, k) for k in range(4)] + [ground[::-1], ground[:, ::-1]]
    scores = navigability.score(np.stack([v[:20, :20] for v in [ground]] + [np.rot90(ground[:20, :20])]), 10.0)
    assert scores[0] == pytest.approx(scores[1])
    first = navigability.channels(ground, 10.0)
    for k, view in enumerate(views[:4]):
        np.testing.assert_allclose(navigability.channels(view, 10.0), np.rot90(first, k), atol=1e-4)


def test_channels_are_what_they_are_named() -> None:
    ground = np.zeros((30, 30))
    ground[10, 10], ground[20, 20] = 5.0, -4.0  # a boulder and a hole
    heights, _, elevations, depressions = np.moveaxis(navigability.channels(ground, 10.0), -1, 0)
    assert (heights == ground).all()
    assert elevations[10, 10] == 5.0
    assert elevations.sum() == 5.0
    assert depressions[20, 20] == 4.0
    assert depressions.sum() == 4.0
    gradient = navigability.channels(slanted(7.0), 10.0)[..., 1]
    np.testing.assert_allclose(gradient, 7.0, rtol=1e-5)


def test_roughness_is_the_departure_from_the_best_plane() -> None:
    random = np.random.default_rng(2)
    patch = random.normal(size=(3, 3))
    rows, columns = np.mgrid[-1:2, -1:2]
    design = np.stack([np.ones(9), rows.ravel(), columns.ravel()], 1)
    rest = patch.ravel() - design @ np.linalg.lstsq(design, patch.ravel(), rcond=None)[0]
    assert navigability.roughness(patch[None])[0, 1, 1] == pytest.approx(np.sqrt((rest**2).mean()))
    assert navigability.roughness(slanted(9.0)[None])[0, 1:-1, 1:-1].max() < 1e-6


# ------------------------------------------------------------------------------------------------ the builder


def test_a_simulated_ground_makes_a_regression_set_and_says_that_it_is_simulated(tmp_path: Path) -> None:
    made = build("mars", tmp_path / "m.h5", builder_options=SMALL)
    assert made.shape == (20, 20, 4)
    assert made.task == "regression"
    assert made.header.channels == ("heights", "gradient", "elevations", "depressions")
    assert made.header.symmetry == "d4"
    assert made.header.origin["simulated"] is True
    assert "DERIVED" in made.header.origin["target"]
    assert ((made.labels >= 1) & (made.labels <= 4)).all()
    assert made.labels.std() > 0.1
    images = made.take(np.arange(made.n))
    assert (images[..., 0].min((1, 2)) == 0).all()
    assert np.isfinite(images).all()
    again = build("mars", tmp_path / "again.h5", builder_options=SMALL)
    assert again.content_sha256 == made.content_sha256
    other = build("mars", tmp_path / "other.h5", builder_options={**SMALL, "seed": "4"})
    assert other.content_sha256 != made.content_sha256


def test_the_score_is_no_function_of_one_channels_mean(tmp_path: Path) -> None:
    made = build("mars", tmp_path / "m.h5", builder_options={"side": "300"})
    means = made.take(np.arange(made.n)).mean((1, 2))
    for channel in range(4):
        assert np.corrcoef(means[:, channel], made.labels)[0, 1] ** 2 < 0.65


def test_no_cell_enters_the_channels_of_two_areas(tmp_path: Path) -> None:
    made = build("mars", tmp_path / "m.h5", builder_options=SMALL)
    owner = np.full((180, 180), "", dtype=object)
    reach = navigability.CONTEXT
    rows, columns = (made.column(k).astype(int) for k in ("row", "column"))
    for row, column, area in zip(rows, columns, made.groups, strict=True):
        seen = owner[max(0, row - reach) : row + 20 + reach, max(0, column - reach) : column + 20 + reach]
        assert set(seen.ravel()) <= {"", area}
        seen[:] = area
    split(made, test=0.3, validation=0.1)
    parts = Dataset.open(made.path).split
    assert set(parts) == {1, 2, 3}
    for area in np.unique(made.groups):
        assert len(set(parts[made.groups == area])) == 1


def a_model(tmp_path: Path, height: np.ndarray, **more: object) -> dict[str, str]:
    np.savez(tmp_path / "dem.npz", height_m=height.astype(np.float32), **more)
    return {"dem": str(tmp_path / "dem.npz")}


def test_nodata_is_skipped_and_counted(tmp_path: Path) -> None:
    height = np.random.default_rng(0).normal(0, 1, (180, 180))
    height[:90] = -1
    made = build("mars", tmp_path / "m.h5", builder_options=a_model(tmp_path, height, pixel_m=10.0, nodata=-1.0))
    reached = made.column("row")
    assert reached.min() >= 90 + navigability.CONTEXT
    assert made.header.origin["left_out"] > 0
    whole = build("mars", tmp_path / "w.h5", builder_options=a_model(tmp_path, np.abs(height), pixel_m=10.0))
    assert whole.n == made.n + made.header.origin["left_out"]
    assert whole.header.origin["simulated"] is False
    assert whole.header.pixel_scale == 10.0


def test_a_changed_model_is_not_taken_for_the_one_that_was_built(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    options = a_model(tmp_path, random.normal(size=(60, 60)), pixel_m=10.0)
    made = build("mars", tmp_path / "m.h5", builder_options=options)
    assert mars.is_built(made, options)
    a_model(tmp_path, random.normal(size=(70, 70)), pixel_m=10.0)
    assert not mars.is_built(made, options)


def test_other_forms_of_elevation_models_are_read(tmp_path: Path) -> None:
    height = np.random.default_rng(0).normal(size=(60, 60)).astype(np.float32)
    np.save(tmp_path / "dem.npy", height)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33550], tags.tagtype[33550] = (5.0, 5.0, 0.0), 12
    tags[34735], tags.tagtype[34735] = (1, 1, 0, 1, 1024, 0, 1, 1), 3
    tags[42113], tags.tagtype[42113] = "-9999", 2
    holed = height.copy()
    holed[0, 0] = -9999
    Image.fromarray(holed).save(tmp_path / "dem.tif", tiffinfo=tags)
    plain = _elevation.read_elevation(tmp_path / "dem.npy", pixel=10.0)
    tiff = _elevation.read_elevation(tmp_path / "dem.tif")
    assert plain.pixel == 10.0
    assert tiff.pixel == 5.0
    assert np.isnan(tiff.height[0, 0])
    np.testing.assert_array_equal(plain.height.ravel()[1:], tiff.height.ravel()[1:])
    fits = pytest.importorskip("astropy.io.fits")
    fits.PrimaryHDU(height).writeto(tmp_path / "dem.fits")
    np.testing.assert_array_equal(_elevation.read_elevation(tmp_path / "dem.fits", 10.0).height, plain.height)
    for name in ("dem.npy", "dem.tif", "dem.fits"):
        assert _elevation.looks_like_elevation(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "3"}, "'size' is out of range"),
        ({"size": "twenty"}, "'size' is out of range"),
        ({"area": "10"}, "an area is smaller than a patch"),
        ({"gap": "5"}, "so near that patches"),
        ({"pixel": "-1"}, "no length"),
        ({"pixel": "wide"}, "no number"),
        ({"nodata": "0"}, "means nothing for a simulated ground"),
        ({"colour": "red"}, "unknown option"),
        ({"dem": "none.npz"}, "no such file"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build("mars", tmp_path / "m.h5", builder_options=options)
    assert not (tmp_path / "m.h5").exists()


def test_bad_elevation_models_are_refused(tmp_path: Path) -> None:
    def refused(message: str, **options: str) -> None:
        with pytest.raises(SourceError, match=message):
            mars.build(tmp_path / "m.h5", options, SILENT)

    refused("does not say how wide", **a_model(tmp_path, np.zeros((60, 60))))
    refused("no measured height", **a_model(tmp_path, np.zeros((60, 60)), pixel_m=10.0, nodata=0.0))
    refused("leaves no patch", **a_model(tmp_path, np.zeros((10, 10)), pixel_m=10.0))
    refused("no length", **a_model(tmp_path, np.zeros((60, 60)), pixel_m=0.0))
    refused("not one plane", **a_model(tmp_path, np.zeros((6, 60, 60)), pixel_m=10.0))
    np.savez(tmp_path / "other.npz", albedo=np.zeros((60, 60)))
    refused("no array of heights", dem=str(tmp_path / "other.npz"))
    (tmp_path / "dem.asc").write_text("1 2 3")
    refused("is no elevation model", dem=str(tmp_path / "dem.asc"))
    (tmp_path / "dem.tif").write_bytes(b"II*\0junk")
    refused("cannot be read as TIFF", dem=str(tmp_path / "dem.tif"))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "dem.npz").read_bytes()[:300])
    refused("truncated", dem=str(tmp_path / "cut.npz"))


def test_the_hirise_model_at_hand_gives_patches(shared: Path, tmp_path: Path) -> None:
    made = build("mars", tmp_path / "m.h5", builder_options={"dem": str(shared / "mars_dem" / "hirise_dtm_10m.npz")})
    assert made.n > 300
    assert made.header.pixel_scale == 10.0
    assert made.take(np.arange(made.n))[..., 1].max() < 60  # no walls where heights were averaged with nothing
