"""The builder `exposures`: cut-outs around catalogued positions, and what is refused, listed or marked."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from estampa.data.builders import exposures
from estampa.data.builders._cutouts import open_plane, whole_inside
from estampa.data.dataset import Dataset
from estampa.data.read import build
from estampa.errors import InputError, SourceError
from estampa.progress import Progress

fits = pytest.importorskip("astropy.io.fits")
SHAPE = (90, 120)  # rows, columns
SOURCES = np.array([[30.0, 20.0], [60.4, 44.6], [101.0, 70.0]])  # x, y
FLUX = np.array([3000.0, 8000.0, 4000.0])


class Listening(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


def header(shift: float = 0.0) -> object:
    """A tangent plane of 0.27 arcsec a pixel."""
    made = fits.Header()
    made["CTYPE1"], made["CTYPE2"] = "RA---TAN", "DEC--TAN"
    made["CRVAL1"], made["CRVAL2"], made["CRPIX1"], made["CRPIX2"] = 150.0, 2.0, 60.5 + shift, 45.5
    made["CDELT1"], made["CDELT2"], made["BUNIT"] = -0.27 / 3600, 0.27 / 3600, "electron"
    return made


def exposure(folder: Path, name: str = "", seed: int = 0) -> dict[str, str]:
    """Science, template and variance images of a sky with three new sources; returns their options."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    new = sum(
        flux * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 1.5**2)) / (2 * np.pi * 1.5**2)
        for (x, y), flux in zip(SOURCES, FLUX, strict=True)
    )
    sky = 400.0 + 50 * np.exp(-((columns - 80) ** 2 + (rows - 20) ** 2) / 50.0)
    images = {
        "template": sky + random.normal(0, 1, SHAPE),
        "science": sky + new + random.normal(0, 20, SHAPE),
        "variance": np.full(SHAPE, 400.0),
    }
    paths = {role: folder / f"{name}{role}.fits" for role in images}
    for role, image in images.items():
        fits.PrimaryHDU(image.astype(np.float32), header=header()).writeto(paths[role], overwrite=True)
    return {role: str(path) for role, path in paths.items()}


def catalogue(path: Path, rows: list[dict[str, object]]) -> str:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def known(folder: Path) -> str:
    """The three sources and two empty places."""
    rows = [
        {"id": f"s{i}", "x": x, "y": y, "label": "real", "flux": f}
        for i, ((x, y), f) in enumerate(zip(SOURCES, FLUX, strict=True))
    ]
    rows += [{"id": f"e{i}", "x": x, "y": 60, "label": "artifact", "flux": ""} for i, x in enumerate((25, 50))]
    return catalogue(folder / "positions.csv", rows)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, str]:
    return {**exposure(tmp_path), "catalogue": known(tmp_path)}


def made_of(tmp_path: Path, options: dict[str, str], said: Listening | None = None) -> Dataset:
    return build("exposures", tmp_path / "set.h5", builder_options=options, progress=said or Listening(), force=True)


def test_known_sources_stand_in_the_middle_of_their_cutouts(tmp_path: Path, options: dict[str, str]) -> None:
    made = made_of(tmp_path, {**options, "classes": "artifact,real"})
    assert made.shape == (21, 21, 4)
    assert made.classes == ("artifact", "real")
    assert made.header.channels == ("science", "template", "difference", "snr_difference")
    assert made.header.pixel_scale == pytest.approx(0.27)
    assert "electron" in made.header.units
    images = made.take(np.arange(made.n))
    science, template, difference, snr = np.moveaxis(images, -1, 0)
    np.testing.assert_array_equal(difference, science - template)
    np.testing.assert_allclose(snr, difference / 20.0, rtol=1e-6)
    real = made.labels == 1
    assert list(made.ids[real]) == ["s0", "s1", "s2"]
    for image in snr[real]:
        assert np.unravel_index(image.argmax(), image.shape) in {(10, 10), (10, 11), (11, 10), (9, 10), (10, 9)}
    assert snr[~real].max() < 6
    flux = difference[real][:, 5:16, 5:16].sum((1, 2))
    np.testing.assert_allclose(flux, FLUX, atol=5 * 20 * 11)
    np.testing.assert_array_equal(made.column("x")[:3], SOURCES[:, 0])
    assert np.isnan(made.column("flux")[3:]).all()
    with fits.open(options["science"]) as files:  # pixel for pixel the numpy slice
        np.testing.assert_array_equal(science[0], files[0].data[10:31, 20:41])


def test_it_is_built_once_and_anew_when_an_image_changes(tmp_path: Path, options: dict[str, str]) -> None:
    made = made_of(tmp_path, options)
    assert exposures.is_built(made, options)
    exposure(tmp_path, seed=1)
    assert not exposures.is_built(made, options)


def test_positions_off_the_edge_are_listed_not_padded(tmp_path: Path, options: dict[str, str]) -> None:
    rows = [
        {"id": "in", "x": 10, "y": 79}, {"id": "left", "x": 9.4, "y": 40}, {"id": "above", "x": 50, "y": 79.6},
        {"id": "far", "x": -500, "y": 1e7}, {"id": "nan", "x": "nan", "y": 40}, {"id": "words", "x": "here", "y": 40},
        {"id": "infinite", "x": "inf", "y": 40},
    ]  # fmt: skip
    said = Listening()
    made = made_of(tmp_path, {**options, "catalogue": catalogue(tmp_path / "c.csv", rows)}, said)
    assert list(made.ids) == ["in"]
    assert any("6 of 7 positions are left out" in text for text in said.said)
    with (tmp_path / "set.off-edge.csv").open() as stream:
        listed = {row["id"]: row["reason"] for row in csv.DictReader(stream)}
    assert list(listed) == ["left", "above", "far", "nan", "words", "infinite"]
    assert listed["nan"] == listed["words"] == "position is not a number"
    assert "not whole inside" in listed["left"]
    made_of(tmp_path, options)
    assert not (tmp_path / "set.off-edge.csv").exists()  # nothing is off now
    with pytest.raises(SourceError, match="no position's cut-out lies whole inside"):
        made_of(tmp_path, {**options, "catalogue": catalogue(tmp_path / "c.csv", rows[1:])})


def test_the_list_of_positions_inside_agrees_with_the_cutouts(tmp_path: Path, options: dict[str, str]) -> None:
    random = np.random.default_rng(0)
    with open_plane(options["science"], "test") as plane:
        for size in (20, 21):
            x, y = random.uniform(-20, 140, 300), random.uniform(-20, 110, 300)
            x[:40], y[:40] = np.arange(40) / 2, 45
            inside = whole_inside(x, y, size, plane.shape)
            for row in range(300):
                try:
                    assert plane.cut((x[row], y[row]), size).shape == (size, size)
                    cut = True
                except SourceError:
                    cut = False
                assert cut == inside[row]


def test_sky_positions_and_ones_counted_from_one_give_the_same_cutouts(tmp_path: Path, options: dict[str, str]) -> None:
    from astropy.wcs import WCS

    first = made_of(tmp_path, options).take(np.arange(3))
    sky = WCS(header()).pixel_to_world(SOURCES[:, 0], SOURCES[:, 1])
    rows = [{"ra": s.ra.deg, "dec": s.dec.deg} for s in sky]
    by_sky = made_of(tmp_path, {**options, "catalogue": catalogue(tmp_path / "sky.csv", rows)})
    np.testing.assert_array_equal(by_sky.take(np.arange(3)), first)
    assert by_sky.task == "unlabelled"
    rows = [{"X": x + 1, "Y": y + 1} for x, y in SOURCES]
    from_one = {**options, "catalogue": catalogue(tmp_path / "one.csv", rows), "first": "1"}
    np.testing.assert_array_equal(made_of(tmp_path, from_one).take(np.arange(3)), first)


def test_a_variance_that_is_none_is_marked_and_counted(tmp_path: Path, options: dict[str, str]) -> None:
    variance = np.full(SHAPE, 400.0, np.float32)
    variance[20, 30], variance[21, 30], variance[22, 30], variance[23, 30] = 0, -4, np.nan, np.inf
    fits.PrimaryHDU(variance).writeto(options["variance"], overwrite=True)
    said = Listening()
    made = made_of(tmp_path, options, said)
    missing = np.isnan(made.take(np.arange(made.n)))
    assert missing[..., :3].sum() == 0
    assert missing[0, 10:14, 10, 3].all()
    assert missing[..., 3].sum() == 4
    assert any("2 pixels in 1 cut-outs have a variance that is not above 0" in text for text in said.said)


def test_missing_and_masked_pixels_stay_missing(tmp_path: Path, options: dict[str, str]) -> None:
    with fits.open(options["science"]) as files:
        science = files[0].data.copy()
    science[20, 31], science[20, 32] = np.nan, np.inf
    fits.PrimaryHDU(science).writeto(options["science"], overwrite=True)
    mask = np.zeros(SHAPE, np.uint8)
    mask[20, 33] = 4
    fits.PrimaryHDU(mask).writeto(tmp_path / "mask.fits")
    made = made_of(tmp_path, {**options, "mask": str(tmp_path / "mask.fits")})
    first = np.isnan(made.take(np.array([0]))[0])
    assert first[10, 11:13, [0, 2, 3]].all()
    assert not first[10, 11:13, 1].any()
    assert first[10, 13].all()
    assert first.sum() == 2 * 3 + 4


def test_variances_add_and_a_given_difference_is_used(tmp_path: Path, options: dict[str, str]) -> None:
    fits.PrimaryHDU(np.full(SHAPE, 500.0, np.float32)).writeto(tmp_path / "tv.fits")
    fits.PrimaryHDU(np.full(SHAPE, 60.0, np.float32)).writeto(tmp_path / "d.fits")
    more = {"template_variance": str(tmp_path / "tv.fits"), "difference": str(tmp_path / "d.fits")}
    made = made_of(tmp_path, {**options, **more}).take(np.array([0]))[0]
    assert (made[..., 2] == 60).all()
    np.testing.assert_allclose(made[..., 3], 60 / 30.0)


def test_one_catalogue_covers_many_exposures(tmp_path: Path) -> None:
    names = [exposure(tmp_path, f"night{k}_", seed=k) for k in range(3)]
    rows = [
        {**{role: Path(p).name for role, p in names[k].items()}, "id": f"{k}-{i}", "x": x, "y": y, "night": k}
        for i, (x, y) in enumerate(SOURCES)
        for k in (2, 0, 1)
    ]
    positions = catalogue(tmp_path / "many.csv", rows)
    made = made_of(tmp_path, {"catalogue": positions, "group": "night"})
    assert made.n == 9
    assert sorted(np.unique(made.groups)) == ["0", "1", "2"]
    for k in range(3):
        alone = [{"id": f"{k}-{i}", "x": x, "y": y} for i, (x, y) in enumerate(SOURCES)]
        single = build(
            "exposures", tmp_path / f"one{k}.h5",
            builder_options={**names[k], "catalogue": catalogue(tmp_path / "one.csv", alone)},
        )  # fmt: skip
        mine = np.flatnonzero(made.groups == str(k))
        assert list(made.ids[mine]) == list(single.ids)
        np.testing.assert_array_equal(made.take(mine), single.take(np.arange(3)))
    with pytest.raises(InputError, match="is an option and a column"):
        made_of(tmp_path, {"catalogue": positions, "science": names[0]["science"]})


def test_extensions_gzip_compressed_and_scaled_images_give_the_same_cutouts(
    tmp_path: Path, options: dict[str, str]
) -> None:
    first = made_of(tmp_path, options).take(np.arange(3))
    with fits.open(options["science"]) as files:
        pixels, head = files[0].data.copy(), files[0].header.copy()
    empty, other = fits.PrimaryHDU(), fits.ImageHDU(np.zeros(SHAPE, np.float32), name="OTHER")
    fits.HDUList([empty, other, fits.ImageHDU(pixels, head, name="SCI")]).writeto(tmp_path / "mef.fits")
    (tmp_path / "sci.fits.gz").write_bytes(gzip.compress(Path(options["science"]).read_bytes()))
    lossless = fits.CompImageHDU(pixels, head, compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([empty, lossless]).writeto(tmp_path / "sci.fits.fz")
    for name in ("mef.fits[2]", "mef.fits[sci]", "sci.fits.gz", "sci.fits.fz"):
        made = made_of(tmp_path, {**options, "science": str(tmp_path / name)})
        np.testing.assert_array_equal(made.take(np.arange(3)), first)
    counts = fits.PrimaryHDU(np.round(pixels).astype(np.uint16), head)  # stored as int16 with BZERO
    counts.writeto(tmp_path / "counts.fits")
    made = made_of(tmp_path, {**options, "science": str(tmp_path / "counts.fits")})
    np.testing.assert_array_equal(made.take(np.arange(3))[..., 0], np.round(first[..., 0]))


@pytest.mark.parametrize("kind", ["votable", "fits", "ascii.ecsv"])
def test_catalogues_of_other_kinds_are_read(tmp_path: Path, options: dict[str, str], kind: str) -> None:
    from astropy.table import Table

    first = made_of(tmp_path, options)
    ending = {"votable": ".vot", "fits": ".fits", "ascii.ecsv": ".ecsv"}[kind]
    table = Table({"id": ["s0", "s1"], "x": SOURCES[:2, 0], "y": SOURCES[:2, 1], "label": ["real", "artifact"]})
    table.write(tmp_path / f"c{ending}", format=kind)
    made = made_of(tmp_path, {**options, "catalogue": str(tmp_path / f"c{ending}")})
    np.testing.assert_array_equal(made.take(np.arange(2)), first.take(np.arange(2)))
    assert list(made.labels) == [1, 0]


def test_long_names_of_digits_are_no_measurements(tmp_path: Path, options: dict[str, str]) -> None:
    rows: list[dict[str, object]] = [{"x": 30 + i, "y": 30, "alert": 10**18 + i, "flux": i} for i in range(2)]
    said = Listening()
    made = made_of(tmp_path, {**options, "catalogue": catalogue(tmp_path / "c.csv", rows)}, said)
    assert made.header.columns == ("x", "y", "flux")  # float64 would make both alerts one
    assert any("left out" in text and "alert" in text for text in said.said)


def written(tmp_path: Path, image: np.ndarray, head: object = None) -> str:
    fits.PrimaryHDU(image, head).writeto(tmp_path / "other.fits", overwrite=True)
    return str(tmp_path / "other.fits")


def test_images_that_do_not_fit_together_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    smaller = written(tmp_path, np.zeros((50, 50), np.float32))
    with pytest.raises(SourceError, match=r"other\.fits: has another shape.*90 x 120.*50 x 50.*Resample"):
        made_of(tmp_path, {**options, "template": smaller})
    shifted = written(tmp_path, np.zeros(SHAPE, np.float32), header(shift=3.0))
    with pytest.raises(SourceError, match=r"another grid of the sky.*3\.00 pixels away"):
        made_of(tmp_path, {**options, "template": shifted})
    cube = written(tmp_path, np.zeros((2, *SHAPE), np.float32))
    with pytest.raises(SourceError, match="not one plane"):
        made_of(tmp_path, {**options, "variance": cube})
    bare = written(tmp_path, np.zeros(SHAPE, np.float32))
    rows = [{"ra": 150.0, "dec": 2.0}]
    with pytest.raises(SourceError, match="has no WCS"):
        made_of(tmp_path, {**options, "science": bare, "catalogue": catalogue(tmp_path / "sky.csv", rows)})


def hostile(path: Path, source: str, key: str, value: int) -> str:
    raw = Path(source).read_bytes()
    at = raw.index(f"{key:<8}=".encode())
    path.write_bytes(raw[: at + 10] + f"{value:>20}".encode() + raw[at + 30 :])
    return str(path)


def test_damaged_and_hostile_files_are_refused_with_one_message(tmp_path: Path, options: dict[str, str]) -> None:
    def refused(message: str, **more: str) -> None:
        with pytest.raises(SourceError, match=message):
            made_of(tmp_path, {**options, **more})
        assert not (tmp_path / "set.h5").exists()

    bad = tmp_path / "bad.fits"
    whole = Path(options["science"]).read_bytes()
    bad.write_bytes(whole[:20_000])
    refused("bad.fits: truncated", science=str(bad))
    bad.write_bytes(b"not FITS at all" * 300)
    refused("not a FITS file, or damaged", science=str(bad))
    bad.write_bytes(b"")
    refused("not a FITS file, or damaged", science=str(bad))
    bad.write_bytes(gzip.compress(whole)[:-4000])
    refused("damaged", science=str(bad))
    for key, value in (("NAXIS1", 99_999_999_999), ("NAXIS2", 2_000_000_000), ("NAXIS1", -120), ("NAXIS", 999)):
        refused("damaged|too many pixels|truncated|not one plane", science=hostile(bad, options["science"], key, value))
    refused("no such file", template=str(tmp_path / "none.fits"))
    refused(r"has no image \[3\]", science=options["science"] + "[3]")
    refused(r"has no image \[WEIGHT\]", science=options["science"] + "[WEIGHT]")
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    refused("holds no image", science=str(tmp_path / "empty.fits"))


def test_catalogues_that_say_nothing_are_refused(tmp_path: Path, options: dict[str, str]) -> None:
    def refused(message: str, rows: list[dict[str, object]], **more: str) -> None:
        with pytest.raises(InputError, match=message):
            made_of(tmp_path, {**options, "catalogue": catalogue(tmp_path / "c.csv", rows), **more})

    refused("no positions.*x and y", [{"mag": 1.0, "name": "a"}])
    refused("no positions", [{"x": 1.0, "label": "real"}])
    refused("stands 2 times", [{"id": "a", "x": 30, "y": 30}, {"id": "a", "x": 40, "y": 30}])
    refused("no column 'answer'", [{"x": 30, "y": 30}], label="answer")
    refused("unknown class 'planet'", [{"x": 30, "y": 30, "label": "planet"}], classes="artifact,real")
    refused("no column of answers", [{"x": 30, "y": 30}], classes="artifact,real")
    (tmp_path / "c.vot").write_text("<VOTABLE><broken")
    with pytest.raises(SourceError, match="cannot be read as votable"):
        made_of(tmp_path, {**options, "catalogue": str(tmp_path / "c.vot")})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"size": "0"}, "'size' is out of range"),
        ({"size": "21x21"}, "'size' is out of range"),
        ({"first": "2"}, "'first'"),
        ({"catalogue": "none.csv"}, "no such catalogue"),
        ({"flat": "x"}, "unknown option"),
    ],
)
def test_options_out_of_range_are_refused(
    tmp_path: Path, options: dict[str, str], more: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        made_of(tmp_path, {**options, **more})


def test_what_is_missing_is_named(tmp_path: Path, options: dict[str, str]) -> None:
    for role in ("science", "template", "variance", "catalogue"):
        with pytest.raises(InputError, match=f"no {role}.*--option {role}="):
            made_of(tmp_path, {k: v for k, v in options.items() if k != role})


def test_without_astropy_the_extra_is_named(
    tmp_path: Path, options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from estampa import machine

    find = machine.importlib.util.find_spec
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None if name == "astropy" else find(name))
    with pytest.raises(InputError, match=r"pip install 'estampa\[astro\]'"):
        made_of(tmp_path, options)
