"""Source `table` on VOTables, FITS tables and ECSV; and which of two sources has a FITS file or a CSV."""

from __future__ import annotations

import gzip
import io
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skyfiles import SIDE, encoded, fits, header, images, plane

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import fits as fits_source
from estampa.data.sources import table as table_source
from estampa.errors import SourceError

tables = pytest.importorskip("astropy.table")

N = 6
FORMS = {"vot": "votable", "xml": "votable", "fits": "fits", "fits.gz": "fits", "ecsv": "ascii.ecsv"}


def written(path: Path, columns: dict[str, Any]) -> Path:
    tables.Table(columns).write(path, format=FORMS[path.name.partition(".")[2]])
    return path


def facts() -> dict[str, Any]:
    return {"id": [f"o{i}" for i in range(N)], "label": list("xyxyxy"), "mag": np.arange(N) / 2}


@pytest.mark.parametrize("form", ["fits", "fits.gz"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
def test_a_picture_in_each_cell(tmp_path: Path, form: str, dtype: str) -> None:
    pixels = np.abs(images() * 20).astype(dtype)
    path = written(tmp_path / f"a.{form}", {**facts(), "stamp": pixels})
    dataset = build(path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels.astype(dataset.header.dtype))
    assert (dataset.classes, dataset.ids.tolist()) == (("x", "y"), [f"o{i}" for i in range(N)])
    assert dataset.column("mag").tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert dataset.header.read.source == "table"


def test_a_picture_in_each_cell_of_a_votable(tmp_path: Path) -> None:
    """VOTable 1.4, section 2.2: the first number of an arraysize varies fastest, so 3x21x21 is (21, 21, 3) here."""
    pixels = images()
    cells = "".join(
        f"<TR><TD>o{i}</TD><TD>{'xy'[i % 2]}</TD><TD>{' '.join(map(repr, p.ravel().tolist()))}</TD></TR>"
        for i, p in enumerate(pixels)
    )
    fields = '<FIELD name="id" datatype="char" arraysize="*"/><FIELD name="label" datatype="char" arraysize="*"/>'
    fields += f'<FIELD name="stamp" datatype="float" arraysize="3x{SIDE}x{SIDE}"/>'
    (tmp_path / "a.vot").write_text(
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        f"{fields}<DATA><TABLEDATA>{cells}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    dataset = build(tmp_path / "a.vot", tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert (dataset.classes, dataset.ids.tolist()) == (("x", "y"), [f"o{i}" for i in range(N)])


def test_several_columns_of_pictures_are_channels(tmp_path: Path) -> None:
    pixels = images()
    columns = {f"flux_{band}": pixels[..., c] for c, band in enumerate("gri")}
    dataset = build(written(tmp_path / "a.fits", {**facts(), **columns}), tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.header.channels == ("flux_g", "flux_r", "flux_i")


def test_flattened_cells_with_a_shape(tmp_path: Path) -> None:
    pixels = images()
    path = written(tmp_path / "a.fits", {**facts(), "stamp": pixels.reshape(N, -1)})
    with pytest.raises(SourceError, match="may be a flattened picture"):
        open_reading([path])
    dataset = build(path, tmp_path / "a.h5", ReadOptions(reshape=(SIDE, SIDE, 3)))
    np.testing.assert_array_equal(dataset.images, pixels)


@pytest.mark.parametrize("form", ["vot", "fits", "ecsv"])
def test_pixels_in_columns(tmp_path: Path, form: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (N, 25))
    columns = {f"pixel{i}": pixels[:, i] for i in range(25)}
    dataset = build(written(tmp_path / f"a.{form}", {**facts(), **columns}), tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images.reshape(N, -1), pixels)
    assert dataset.classes == ("x", "y")
    reading = open_reading([tmp_path / f"a.{form}"])
    np.testing.assert_array_equal(np.concatenate([b.images for b in reading.blocks(2, 3)]), dataset.images[2:])


@pytest.mark.parametrize("form", ["vot", "fits", "ecsv"])
def test_a_manifest(tmp_path: Path, form: str) -> None:
    pixels = images()
    for i, picture in enumerate(pixels):
        np.save(tmp_path / f"{i}.npy", picture)
    path = written(tmp_path / f"a.{form}", {**facts(), "file": [f"{i}.npy" for i in range(N)]})
    dataset = build(path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.ids.tolist() == [f"o{i}" for i in range(N)]


def test_masked_numbers(tmp_path: Path) -> None:
    stamps = np.ma.array(images()[..., 0], mask=False)
    stamps.mask[1, 2, 3] = True
    mag = np.ma.array([1.0, 2, 3, 4, 5, 6], mask=[0, 1, 0, 0, 0, 0])
    path = written(tmp_path / "a.vot", {"id": facts()["id"], "mag": mag, "stamp": stamps})
    dataset = build(path, tmp_path / "a.h5")
    assert np.argwhere(np.isnan(dataset.images)).tolist() == [[1, 2, 3, 0]]
    assert np.isnan(dataset.column("mag")).tolist() == [False, True, False, False, False, False]


@pytest.mark.parametrize("form", ["fits", "fits.gz", "vot", "csv"])
def test_exactly_one_source_has_it(tmp_path: Path, form: str) -> None:
    """A FITS table and a FITS picture, a manifest of FITS files and a table of pixels: told by what they hold."""
    columns = {f"pixel{i}": np.arange(N) for i in range(25)}
    if form == "csv":
        for name in "ab":
            (tmp_path / f"{name}.fits").write_bytes(plane(images()[0, ..., 0]))
        path = tmp_path / "m.csv"
        path.write_text("file,label\na.fits,p\nb.fits,q\n")
    else:
        path = written(tmp_path / f"t.{form}", {**facts(), **columns})
    mine = fits_source if form == "csv" else table_source
    other = table_source if form == "csv" else fits_source
    assert mine.is_mine([path], ReadOptions()) is None
    assert other.is_mine([path], ReadOptions())
    assert open_reading([path]).header.read.source == ("fits" if form == "csv" else "table")
    packed = form.endswith("gz")
    picture = tmp_path / ("p.fits.gz" if packed else "p.fits")
    data = encoded(fits.PrimaryHDU(images()[0, ..., 0], header()), fits.BinTableHDU(tables.Table(columns)))
    picture.write_bytes(gzip.compress(data) if packed else data)
    assert fits_source.is_mine([picture], ReadOptions()) is None
    assert table_source.is_mine([picture], ReadOptions())


def test_damaged_tables(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).normal(size=(400, SIDE, SIDE)).astype("f4")
    whole = io.BytesIO()
    tables.Table({"stamp": pixels}).write(whole, format="fits")
    for name, data in (
        ("cut.fits", whole.getvalue()[:100_000]),
        ("none.fits", encoded(fits.PrimaryHDU())),
        ("huge.fits", whole.getvalue().replace(b"NAXIS2  =                  400", b"NAXIS2  =       99999999999400")),
        ("torn.fits.gz", gzip.compress(whole.getvalue())[:5000]),
        ("bomb.fits.gz", gzip.compress(bytes(300 << 20), 1)),
        ("words.vot", b"<VOTABLE>nothing"),
        ("words.ecsv", b"a,b\n1\n"),
        ("words.fits", b"nothing"),
    ):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SourceError, match=name.replace(".", r"\.")):
            build(tmp_path / name, tmp_path / "a.h5", ReadOptions(as_="table"))


def test_a_large_fits_table_is_not_read_whole(tmp_path: Path) -> None:
    """Its columns stay mapped: what is taken of it are the rows of a block."""
    pixels = np.zeros((2000, SIDE, SIDE), ">f4")
    written(tmp_path / "a.fits", {"id": np.arange(2000), "stamp": pixels})
    reading = open_reading([tmp_path / "a.fits"])
    column = table_source.Cells(tmp_path / "a.fits").picture("stamp").values
    base: Any = column
    while isinstance(base, np.ndarray):
        base = base.base
    assert isinstance(base, mmap.mmap)
    assert sum(len(block.images) for block in reading.blocks(0, 300)) == 2000
