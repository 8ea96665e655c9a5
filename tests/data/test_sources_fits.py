"""Source `fits`: cut-outs written by astropy come back as they were; damage is a row with a reason."""

from __future__ import annotations

import gzip
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from skyfiles import SIDE, N, encoded, fits, header, plane, wcs

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import fits as source
from estampa.data.sources._fitsfile import axes_of, look, unpacked
from estampa.data.sources._picture import Unreadable
from estampa.errors import SourceError
from estampa.pixels import resize


def images(channels: int = 1, seed: int = 3) -> np.ndarray:
    shape = (N, SIDE, SIDE, channels)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def folder(path: Path, pictures: np.ndarray, suffix: str = ".fits") -> Path:
    for i, picture in enumerate(pictures):
        file = path / "ab"[i % 2] / f"{i}{suffix}"
        file.parent.mkdir(parents=True, exist_ok=True)
        data = plane(picture)
        file.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    return path


ORDER = [0, 2, 4, 1, 3, 5]  # rows of `folder`, sorted by class and name


@pytest.mark.parametrize("suffix", [".fits", ".fit", ".FITS", ".fits.gz", ".fit.gz"])
def test_a_folder_per_class(tmp_path: Path, suffix: str) -> None:
    pixels = images()
    dataset = build(folder(tmp_path / "cut", pixels[..., 0], suffix), tmp_path / "a.h5")
    assert (dataset.classes, dataset.shape, dataset.header.dtype) == (("a", "b"), (SIDE, SIDE, 1), "float32")
    np.testing.assert_array_equal(dataset.images, pixels[ORDER])
    assert dataset.ids.tolist() == [f"{'ab'[i % 2]}/{i}{suffix}" for i in ORDER]
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.header.read.source == "fits"


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_archives(tmp_path: Path, kind: str) -> None:
    pixels = images()
    top = folder(tmp_path / "cut", pixels[..., 0], ".fits.gz")
    path = tmp_path / f"cut.{kind}"
    if kind == "tar":
        with tarfile.open(path, "w") as archive:
            archive.add(top, "cut")
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for file in sorted(top.rglob("*.gz")):
                packed.write(file, file.relative_to(top))
    np.testing.assert_array_equal(build(path, tmp_path / "a.h5").images, pixels[ORDER])


@pytest.mark.parametrize("given", ["table", "folder", "both"])
def test_a_manifest(tmp_path: Path, given: str) -> None:
    pixels = images()
    for i, picture in enumerate(pixels):
        (tmp_path / f"{i}.fits").write_bytes(plane(picture[..., 0], header(ra=i)))
    lines = [f"{i}.fits,{'pq'[i % 2]},f{i // 2},{i / 2}" for i in reversed(range(N))]
    (tmp_path / "labels.csv").write_text("file,label,group,snr\n" + "\n".join(lines))
    paths = {"table": [tmp_path / "labels.csv"], "folder": [tmp_path], "both": [tmp_path, tmp_path / "labels.csv"]}
    dataset = build(paths[given], tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels[::-1])
    assert dataset.classes == ("p", "q")
    assert dataset.groups is not None
    assert dataset.column("snr").tolist() == [2.5, 2, 1.5, 1, 0.5, 0]
    np.testing.assert_allclose(dataset.column("ra"), [5, 4, 3, 2, 1, 0], atol=1e-9)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "uint8", ">i2", "uint16", ">i4"])
def test_every_type_becomes_native_float32(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE)).astype(dtype)
    (tmp_path / "a.fits").write_bytes(plane(values))
    found = build(tmp_path / "a.fits", tmp_path / "a.h5").images
    assert found.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(found[0, ..., 0], values.astype(np.float32))


def test_scaled_whole_numbers_with_blank_ones(tmp_path: Path) -> None:
    values = np.arange(SIDE * SIDE, dtype=np.int16).reshape(SIDE, SIDE)
    hdu = fits.PrimaryHDU(values)
    hdu.header["BLANK"] = 7
    plain = encoded(hdu)
    scaled = fits.PrimaryHDU(values.copy())
    scaled.header["BSCALE"], scaled.header["BZERO"], scaled.header["BLANK"] = 1.0, 0.0, 7
    data = bytearray(plain)
    at = data.index(b"END     ")  # astropy would apply a scale while writing: it is put in by hand
    cards = f"{'BSCALE  =                  0.5':<80}{'BZERO   =                100.0':<80}END     "
    data[at : at + len(cards)] = cards.encode()
    for name, content, wanted in (("a", plain, values), ("b", bytes(data), values * 0.5 + 100)):
        (tmp_path / f"{name}.fits").write_bytes(content)
        found = build(tmp_path / f"{name}.fits", tmp_path / f"{name}.h5").images[0, ..., 0]
        assert np.isnan(found.flat[7])
        found = np.delete(found.ravel(), 7)
        np.testing.assert_allclose(found, np.delete(wanted.ravel(), 7), rtol=1e-6)


@pytest.mark.parametrize("order", ["NCHW", "NHWC"])
def test_cubes(tmp_path: Path, order: str) -> None:
    pixels = images(3)
    for i, picture in enumerate(pixels):
        cube = np.ascontiguousarray(np.moveaxis(picture, 2, 0)) if order == "NCHW" else picture
        (tmp_path / f"{i}.fits").write_bytes(plane(cube[None] if i == 0 else cube))
    dataset = build(tmp_path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.header.read.layout == order
    assert dataset.header.channels == ("0", "1", "2")


def test_the_rule_of_axes(tmp_path: Path) -> None:
    assert axes_of((3, 21, 21)) == axes_of((16, 21, 30)) == axes_of((40, 40, 40)) == axes_of((20, 18, 19)) == "NCHW"
    assert axes_of((21, 21, 3)) == axes_of((21, 21, 12)) == "NHWC"
    (tmp_path / "a.fits").write_bytes(plane(np.random.default_rng(0).normal(size=(5, 6, 8)).astype("f4")))
    assert open_reading([tmp_path / "a.fits"]).header.shape == (6, 8, 5)
    assert open_reading([tmp_path / "a.fits"], ReadOptions(layout="NHWC")).header.shape == (5, 6, 8)


def extensions(picture: np.ndarray, names: str, swap: bool = False) -> bytes:
    hdus = [fits.ImageHDU(picture[..., i], name=name) for i, name in enumerate(names)]
    hdus.append(fits.ImageHDU(np.zeros((5, 5), "f4"), name="PSF"))
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0, 2.0])])
    return encoded(fits.PrimaryHDU(), *(reversed(hdus[:-1]) if swap else hdus[:-1]), hdus[-1], table)


def test_extensions_are_channels_found_by_name(tmp_path: Path) -> None:
    pixels = images(3)
    for i, picture in enumerate(pixels):
        (tmp_path / f"{i}.fits").write_bytes(extensions(picture, "GRI", swap=i == 2))
    notes = open_reading([tmp_path]).notes
    dataset = build(tmp_path, tmp_path / "out" / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.header.channels == ("g", "r", "i")
    assert "PSF of 5x5 is left out in 6 files" in " ".join(notes)
    record = dataset.header.read
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "x.fits").write_bytes(extensions(pixels[0], "GRI", swap=True))
    again = open_reading([tmp_path / "new"], ReadOptions(record=record))
    np.testing.assert_array_equal(next(iter(again.blocks())).images[0], pixels[0])


def test_missing_and_wrong_shaped_hdus_are_rejected_by_name(tmp_path: Path) -> None:
    pixels = images(3)
    for i, picture in enumerate(pixels):
        (tmp_path / f"{i}.fits").write_bytes(extensions(picture, "GRI"))
    (tmp_path / "1.fits").write_bytes(extensions(pixels[1], "GR"))
    odd = [fits.ImageHDU(pixels[0, :s, :, 0], name=n) for n, s in (("G", 21), ("R", 20), ("I", 21))]
    (tmp_path / "3.fits").write_bytes(encoded(fits.PrimaryHDU(), *odd))
    (tmp_path / "4.fits").write_bytes(encoded(fits.PrimaryHDU()))
    (tmp_path / "5.fits").write_bytes(plane(np.zeros(7, "f4")))
    with pytest.raises(SourceError, match=r"4 rows could not be read; the other 2 are built"):
        build(tmp_path, tmp_path / "a.h5")
    dataset = build(tmp_path, tmp_path / "b.h5", skip_bad=True)
    assert dict(dataset.rejected) == {
        "1.fits": "no HDU I; it has G, R, PSF",
        "3.fits": "HDU R is 1 of 20x21, not 1 of 21x21",
        "4.fits": "no HDU with a picture; it has PrimaryHDU",
        "5.fits": "no HDU with a picture; it has PrimaryHDU",
    }


def test_compressed_images(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 1000, (SIDE, SIDE)).astype(np.int16)
    (tmp_path / "a.fits.fz").write_bytes(encoded(fits.PrimaryHDU(), fits.CompImageHDU(values)))
    np.testing.assert_array_equal(build(tmp_path / "a.fits.fz", tmp_path / "a.h5").images[0, ..., 0], values)


# --------------------------------------------------------------------------------------------- files as channels


def bands(path: Path, pixels: np.ndarray, names: str = "gri", joint: str = "_") -> Path:
    for i, picture in enumerate(pixels):
        for c, band in enumerate(names):
            file = path / "xy"[i % 2] / f"obj{i}{joint}{band}.fits"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(plane(picture[..., c]))
    return path


def test_several_files_are_channels(tmp_path: Path) -> None:
    pixels = images(3)
    dataset = build(bands(tmp_path / "cut", pixels), tmp_path / "a.h5")
    assert dataset.header.channels == ("g", "r", "i")  # by wavelength, not by the alphabet
    np.testing.assert_array_equal(dataset.images, pixels[ORDER])
    assert dataset.ids.tolist() == [f"{'xy'[i % 2]}/obj{i}" for i in ORDER]
    assert dataset.classes == ("x", "y")


def test_training_order_is_kept_and_other_files_are_left_out(tmp_path: Path) -> None:
    pixels = images(3)
    record = build(bands(tmp_path / "cut", pixels), tmp_path / "a.h5").header.read
    other = bands(tmp_path / "new", np.concatenate([pixels[..., ::-1], pixels], 3), "irgzyu")
    reading = open_reading([other], ReadOptions(record=record))
    np.testing.assert_array_equal(next(iter(reading.blocks())).images, pixels[ORDER])
    with pytest.raises(SourceError, match=r"fed several files for each object.*Allowed: NAME_g, NAME_r, NAME_i"):
        open_reading([folder(tmp_path / "single", pixels[..., 0])], ReadOptions(record=record))


def test_a_band_that_is_missing_is_a_rejected_row(tmp_path: Path) -> None:
    path = bands(tmp_path / "cut", images(3))
    (path / "y" / "obj3_r.fits").unlink()
    dataset = build(path, tmp_path / "a.h5", skip_bad=True)
    assert dataset.rejected == [("y/obj3", "no file for r")]


@pytest.mark.parametrize("names", [["stamp_1", "stamp_2", "stamp_3"], ["a_x", "b_y"], ["m31", "m33"], ["a_x", "a_y"]])
def test_names_that_are_no_bands(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / f"{name}.fits").write_bytes(plane(images()[0, ..., 0]))
    assert open_reading([tmp_path]).header.n == len(names)


def test_bands_of_a_manifest(tmp_path: Path) -> None:
    pixels = images(3)
    bands(tmp_path, pixels)
    lines = [f"{'xy'[i % 2]}/obj{i}.fits,{'pq'[i % 2]}" for i in range(N)]
    lines = [line.replace(".fits", "") for line in lines]
    (tmp_path / "labels.csv").write_text("file,label\n" + "\n".join(lines))
    dataset = build([tmp_path, tmp_path / "labels.csv"], tmp_path / "a.h5", ReadOptions(as_="fits"))
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.classes == ("p", "q")


# --------------------------------------------------------------------------------------------- sky, units, sizes


def test_where_it_lies_is_kept(tmp_path: Path) -> None:
    turns = [0, 30, 120, 200, 300, 350]
    for i, turn in enumerate(turns):
        head = header(ra=359.9 + i / 10, dec=-60 + 28 * i, turn=turn)
        head["BUNIT"] = "nJy"
        (tmp_path / f"{i}.fits").write_bytes(plane(images()[i, ..., 0], head))
    dataset = build(tmp_path, tmp_path / "a.h5")
    assert (dataset.header.units, dataset.header.pixel_scale) == ("nJy", 0.2)
    np.testing.assert_allclose(dataset.column("ra"), (359.9 + np.arange(N) / 10) % 360, atol=1e-9)
    np.testing.assert_allclose(dataset.column("dec"), -60 + 28 * np.arange(N), atol=1e-9)
    np.testing.assert_allclose(dataset.column("position_angle"), turns, atol=1e-4)


def test_the_middle_off_the_reference_by_astropys_own_account(tmp_path: Path) -> None:
    head = header(ra=10.0, dec=70.0, scale=30.0, turn=40.0)
    head["CRPIX1"], head["CRPIX2"] = -300.0, 55.0
    (tmp_path / "a.fits").write_bytes(plane(images()[0, ..., 0], head))
    dataset = build(tmp_path / "a.fits", tmp_path / "a.h5")
    middle = wcs.WCS(head).pixel_to_world(10, 10)
    up = wcs.WCS(head).pixel_to_world(10, 11)
    assert dataset.column("ra")[0] == pytest.approx(middle.ra.deg, abs=1e-9)
    assert dataset.column("dec")[0] == pytest.approx(middle.dec.deg, abs=1e-9)
    assert dataset.column("position_angle")[0] == pytest.approx(middle.position_angle(up).deg, abs=0.02)


def test_galactic_coordinates_are_turned_to_ra_and_dec(tmp_path: Path) -> None:
    head = header(ra=0.0, dec=0.0)  # the galactic centre
    head["CTYPE1"], head["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    head.remove("RADESYS", ignore_missing=True)
    (tmp_path / "a.fits").write_bytes(plane(images()[0, ..., 0], head))
    dataset = build(tmp_path / "a.fits", tmp_path / "a.h5")
    assert dataset.column("ra")[0] == pytest.approx(266.405, abs=1e-3)
    assert dataset.column("dec")[0] == pytest.approx(-28.936, abs=1e-3)


def test_what_differs_between_files_is_said(tmp_path: Path) -> None:
    for i in range(3):
        head = header(scale=0.2 + 0.1 * i, mirrored=i == 2)
        head["BUNIT"] = "Jy" if i else "adu"
        (tmp_path / f"{i}.fits").write_bytes(plane(images()[i, ..., 0], head))
    (tmp_path / "3.fits").write_bytes(plane(images()[3, ..., 0]))
    reading = open_reading([tmp_path])
    assert (reading.header.units, reading.header.pixel_scale) == ("", None)
    assert reading.header.columns == ("ra", "dec", "position_angle", "pixel_scale")
    assert reading.table is not None
    assert np.isnan(reading.table[3]).all()
    told = " ".join(reading.notes)
    for part in ("1 of 4 cut-outs have no celestial WCS", "1 cut-outs are mirrored", "0.2 to 0.4 arcsec", "Jy 2"):
        assert part in told


def test_sizes_that_differ(tmp_path: Path) -> None:
    pixels = images()
    for i, picture in enumerate(pixels[..., 0]):
        cut = picture[:, : 15 if i == 1 else SIDE]
        (tmp_path / f"{i}.fits").write_bytes(plane(cut, header()))
    dataset = build(tmp_path, tmp_path / "a.h5", skip_bad=True)
    assert dataset.rejected == [("1.fits", "size 21x15, most are 21x21")]
    (tmp_path / "1.fits").unlink()
    small = build(tmp_path, tmp_path / "b.h5", ReadOptions(size=(7, 7)))
    np.testing.assert_array_equal(small.images[0], resize(pixels[0], (7, 7)))
    assert small.header.pixel_scale == 0.6
    crop = build(tmp_path, tmp_path / "c.h5", ReadOptions(crop=9))
    np.testing.assert_array_equal(crop.images[0], pixels[0, 6:15, 6:15])
    assert crop.header.pixel_scale == 0.2
    with pytest.raises(SourceError, match=r"every cut-out is smaller than --crop 30.*at most 21"):
        open_reading([tmp_path], ReadOptions(crop=30))


# --------------------------------------------------------------------------------------------- damage


def damaged(name: str) -> tuple[bytes, str, str]:
    """Bytes of a file with a fault, its suffix, and words of the reason."""
    good = plane(images()[0, ..., 0])
    huge = good.replace(b"NAXIS1  =                   21", b"NAXIS1  =           2147483647")
    bomb = gzip.compress(good[:2880] + bytes(300 << 20), 1)
    return {
        "truncated": (good[:3500], ".fits", "bytes of its pixels are missing"),
        "header": (good[:1000], ".fits", "truncated in its header"),
        "empty": (b"", ".fits", "empty file"),
        "words": (b"not a picture " * 300, ".fits", "not a FITS file"),
        "gzip": (gzip.compress(good)[:-200], ".fits.gz", "truncated gzip"),
        "torn gzip": (b"\x1f\x8b\x08\0" + b"\xff" * 400, ".fits.gz", "damaged gzip"),
        "bomb": (bomb, ".fits.gz", "unpacks to more than 256 MiB"),
        "huge": (huge, ".fits", "the limit is 64,000,000"),
        "nan": (plane(np.full((SIDE, SIDE), np.nan, "f4")), ".fits", "no pixel is finite"),
        "infinite": (plane(np.where(np.eye(SIDE), np.inf, 1).astype("f4")), ".fits", "21 infinite pixels"),
        "large": (plane(np.full((SIDE, SIDE), 1 << 28, "i4")), ".fits", "beyond 2^24"),
        "axes": (plane(np.zeros((2, 3, 4, 5), "f4")), ".fits", "4 axes: 2 x 3 x 4 x 5"),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        *("truncated", "header", "empty", "words", "gzip", "torn gzip", "bomb", "huge", "nan", "infinite", "large"),
        "axes",
    ],
)
def test_damage_is_a_row_with_a_reason(tmp_path: Path, name: str) -> None:
    data, suffix, words = damaged(name)
    path = folder(tmp_path / "cut", images()[..., 0])
    (path / "a" / f"9{suffix}").write_bytes(data)
    dataset = build(path, tmp_path / "a.h5", skip_bad=True)
    assert dataset.n == N
    assert [row for row, _ in dataset.rejected] == [f"a/9{suffix}"]
    assert words in dataset.rejected[0][1]


def test_damage_that_only_the_pixels_show(tmp_path: Path) -> None:
    """A tile-compressed file whose tiles are torn is found out when its pixels are read."""
    good = bytearray(encoded(fits.PrimaryHDU(), fits.CompImageHDU(np.arange(64 * 64, dtype=np.int16).reshape(64, 64))))
    good[-2880:] = b"\xff" * 2880
    path = folder(tmp_path / "cut", np.zeros((N, 64, 64), "f4"))
    (path / "a" / "9.fits.fz").write_bytes(bytes(good))
    dataset = build(path, tmp_path / "a.h5", skip_bad=True)
    assert dataset.rejected == [("a/9.fits.fz", "damaged pixels")]
    assert dataset.n == N


def test_a_sentinel_is_missing(tmp_path: Path) -> None:
    for dtype, low in (("f4", np.finfo("f4").min), ("f8", -1.7e308)):
        values = np.ones((SIDE, SIDE), dtype)
        values[3, 4] = low
        (tmp_path / f"{dtype}.fits").write_bytes(plane(values))
    found = build(tmp_path, tmp_path / "a.h5").images
    assert np.isnan(found[:, 3, 4]).all()
    assert np.isnan(found).sum() == 2


def test_nothing_readable_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(b"SIMPLE")
    (tmp_path / "b.fits").write_bytes(b"")
    with pytest.raises(SourceError, match=r"not one cut-out can be read.*a\.fits: not a FITS file"):
        open_reading([tmp_path])
    with pytest.raises(SourceError, match="means nothing"):
        open_reading([folder(tmp_path / "c", images()[..., 0])], ReadOptions(reshape=(21, 21, 1)))


def test_a_gzip_of_several_members() -> None:
    good = plane(images()[0, ..., 0])
    joined = gzip.compress(good[:2880]) + gzip.compress(good[2880:])
    assert unpacked(joined) == good
    assert look(joined, "", 1 << 20).pieces[0].width == SIDE
    with pytest.raises(Unreadable, match="no HDU with a picture"):
        look(encoded(fits.PrimaryHDU()), "", 1 << 20)


def test_a_table_is_not_a_picture(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("x", "E", array=[1.0, 2.0])])
    (tmp_path / "t.fits").write_bytes(encoded(fits.PrimaryHDU(), table))
    assert source.is_mine([tmp_path / "t.fits"], ReadOptions()) == "t.fits holds no picture"


def test_a_hostile_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("../evil.fits", plane(images()[0, ..., 0]))
    with pytest.raises(SourceError, match="points outside of the archive"):
        open_reading([tmp_path / "a.zip"])


@pytest.mark.parametrize("card", ["A_ORDER", "WCSAXES"])
def test_a_wcs_without_end_is_no_wcs(card: str) -> None:
    """Astropy would make a table of its square."""
    head = header()
    head["CTYPE1"], head["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    head[card] = 1_000_000
    began = time.monotonic()
    found = look(plane(images(1)[0, ..., 0], head), "", 10**6)
    assert time.monotonic() - began < 20
    assert found.sky is None
    assert found.pieces[0].count == 1


def test_a_card_that_cannot_be_read_is_damage() -> None:
    head = header()
    head["BUNIT"] = "abcdef"
    data = plane(images(1)[0, ..., 0], head).replace(b"'abcdef  '", b"abc'd'ef  ")
    with pytest.raises(Unreadable, match="damaged FITS file: Unparsable card"):
        look(data, "", 10**6)
