"""A catalogue beside cut-outs: joined by id, or by position where ids are rounded or absent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skyfiles as avro
from skyfiles import SIDE, header, plane
from typer.testing import CliRunner

from estampa.cli import application
from estampa.data.read import ReadOptions, build, open_reading
from estampa.errors import InputError, SourceError

N = 8
KINDS = ("spiral", "merger")


@pytest.fixture
def cutouts(tmp_path: Path) -> Path:
    """N cut-outs, 0.01 degrees apart, named after 19-digit ids."""
    folder = tmp_path / "cutouts"
    folder.mkdir()
    for i in range(N):
        pixels = np.random.default_rng(i).normal(size=(SIDE, SIDE)).astype("f4")
        (folder / f"{1237650000000000000 + i}.fits").write_bytes(plane(pixels, header(ra=180 + i / 100, dec=1.0)))
    return folder


def rows(shift: float = 0.0) -> list[list[Any]]:
    """Rows of a catalogue in another order, `shift` arcsec off: id, ra, dec, class, u_r."""
    return [
        [1237650000000000000 + i, 180 + i / 100, 1.0 + shift / 3600, KINDS[i % 2], i / 4] for i in reversed(range(N))
    ]


def csv(path: Path, lines: list[list[Any]], heads: str = "objid,ra,dec,class,u_r") -> Path:
    path.write_text("\n".join([heads, *(",".join(map(str, line)) for line in lines)]) + "\n")
    return path


def check(dataset: Any) -> None:
    assert dataset.classes == ("merger", "spiral")
    assert dataset.labels.tolist() == [1, 0] * (N // 2)
    assert dataset.column("u_r").tolist() == [i / 4 for i in range(N)]


def test_by_id(cutouts: Path, tmp_path: Path) -> None:
    catalogue = csv(tmp_path / "cat.csv", rows())
    check(build([cutouts, catalogue], tmp_path / "a.h5", ReadOptions(label="class")))
    check(build([catalogue, cutouts], tmp_path / "b.h5"))


def test_rounded_ids_are_refused_with_the_cure_and_the_cure_works(cutouts: Path, tmp_path: Path) -> None:
    rounded = [["1.24E+18", *row[1:]] for row in rows(shift=0.7)]
    catalogue = csv(tmp_path / "cat.csv", rounded)
    with pytest.raises(SourceError, match=r"rounded to floating point.*1\.24E\+18.*--match-radius 2arcsec"):
        build([cutouts, catalogue], tmp_path / "a.h5")
    dataset = build([cutouts, catalogue], tmp_path / "a.h5", ReadOptions(label="class", match_radius="2arcsec"))
    check(dataset)
    np.testing.assert_allclose(dataset.column("match_arcsec"), 0.7, atol=1e-6)


def test_on_the_command_line(cutouts: Path, tmp_path: Path) -> None:
    catalogue = csv(tmp_path / "cat.csv", rows(shift=1.0))
    out = tmp_path / "set.h5"
    given = ["build", str(cutouts), str(catalogue), "--match-radius", "2arcsec", "--label", "class", "-o", str(out)]
    result = CliRunner().invoke(application("build"), [*given, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["classes"] == {"merger": 4, "spiral": 4}
    wrong = CliRunner().invoke(application("build"), [*given[:3], "--match-radius", "2", "-o", str(tmp_path / "b.h5")])
    assert wrong.exit_code == 2


def test_what_does_not_match_is_counted(cutouts: Path, tmp_path: Path) -> None:
    lines = rows()[2:]
    lines[0][1] += 5 / 3600  # five arcsec off
    lines += [[5, 10.0, 10.0, "merger", 1.0], [6, "", "", "merger", 1.0]]
    options = ReadOptions(label="class", match_radius="2arcsec")
    reading = open_reading([cutouts, csv(tmp_path / "cat.csv", lines)], options)
    assert reading.labels is not None
    assert reading.labels.tolist() == [1, 0, 1, 0, 1, -1, -1, -1]
    assert reading.table is not None
    assert np.isnan(reading.table[5:, reading.header.columns.index("u_r")]).all()
    told = " ".join(reading.notes)
    assert "5 of 8 objects have a row of the catalogue within 2 arcsec" in told
    assert "3 of 8 cut-outs have no row in cat.csv" in told
    assert "3 of 8 rows of cat.csv have no cut-out" in told


@pytest.mark.parametrize("form", ["vot", "fits", "ecsv", "fits.gz"])
def test_catalogues_of_astronomers(cutouts: Path, tmp_path: Path, form: str) -> None:
    table = pytest.importorskip("astropy.table")
    names = ("objid", "ra", "dec", "class", "u_r")
    made = table.Table(rows=rows(), names=names)
    path = tmp_path / f"cat.{form}"
    made.write(path, format={"vot": "votable", "ecsv": "ascii.ecsv"}.get(form, "fits"))
    check(build([cutouts, path], tmp_path / "a.h5", ReadOptions(label="class")))
    check(build([cutouts, path], tmp_path / "b.h5", ReadOptions(label="class", match_radius="1arcsec")))


def test_groups_and_parts_of_the_catalogue(cutouts: Path, tmp_path: Path) -> None:
    lines = [[*row[:4], f"f{row[4] // 1}", "train" if row[4] < 1 else "test"] for row in rows()]
    catalogue = csv(tmp_path / "cat.csv", lines[:-1], "objid,ra,dec,class,field,split")
    dataset = build([cutouts, catalogue], tmp_path / "a.h5", ReadOptions(group="field"))
    assert dataset.groups is not None
    assert dataset.groups.tolist() == ["alone:1237650000000000000", *["f0.0"] * 3, *["f1.0"] * 4]
    assert dataset.split.tolist() == [0, 1, 1, 1, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("change", "radius", "words"),
    [
        ("no id", "", "no column of ids.*--match-radius"),
        ("twice", "", "stands 2 times in column 'objid'"),
        ("others", "", "not one row of the catalogue belongs to a cut-out.*--match-radius"),
        ("others", "2arcsec", "not one row of the catalogue belongs.*wider"),
        ("no position", "2arcsec", "the catalogue has no positions.*ra and dec"),
        (
            "hours",
            "2arcsec",
            r"cat\.csv, column 'ra', row 1: is no right ascension.*hours from 0 to below 24.*25:00:00",
        ),
        ("words", "2arcsec", r"cat\.csv, column 'ra', row 1: is no right ascension.*12:34:56.7.*'noon'.*empty field"),
        ("swapped", "2arcsec", r"cat\.csv, column 'dec', row 1: a declination is beyond 90"),
        ("-99", "2arcsec", r"cat\.csv, column 'dec', row 2: a declination is beyond 90.*Got: -99\..*an empty field"),
        ("empty", "", "the catalogue has no rows"),
    ],
)
def test_catalogues_that_do_not_fit(cutouts: Path, tmp_path: Path, change: str, radius: str, words: str) -> None:
    heads, lines = "objid,ra,dec,class,u_r", rows()
    if change == "no id":
        heads = "thing,ra,dec,class,u_r"
    elif change == "twice":
        lines[1] = [lines[0][0], *lines[1][1:]]
    elif change == "others":
        lines = [[i, 10.0, 10.0, "a", 1] for i in range(3)]
    elif change == "no position":
        heads = "objid,x,y,class,u_r"
    elif change == "hours":
        lines = [[row[0], "25:00:00", *row[2:]] for row in lines]
    elif change == "words":
        lines = [[row[0], "noon", *row[2:]] for row in lines]
    elif change == "-99":
        lines[1][2] = "-99"
    elif change == "swapped":
        heads = "objid,dec,ra,class,u_r"
    else:
        lines = []
    with pytest.raises(SourceError, match=words):
        open_reading([cutouts, csv(tmp_path / "cat.csv", lines, heads)], ReadOptions(match_radius=radius))


def test_a_radius_where_there_is_nothing_to_match(cutouts: Path, tmp_path: Path) -> None:
    options = ReadOptions(match_radius="2arcsec")
    with pytest.raises(SourceError, match="needs a catalogue to match"):
        open_reading([cutouts], options)
    with pytest.raises(InputError, match="is no radius"):
        open_reading([cutouts], ReadOptions(match_radius="2"))
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 5, 5), "uint8"))
    with pytest.raises(SourceError, match="joins cut-outs that know where they lie"):
        open_reading([tmp_path / "a.npz"], options)
    for file in cutouts.iterdir():
        file.write_bytes(plane(np.eye(SIDE, dtype="f4")))
    with pytest.raises(SourceError, match="not one cut-out says where on the sky it lies"):
        open_reading([cutouts, csv(tmp_path / "cat.csv", rows())], options)


def test_answers_for_alerts(tmp_path: Path) -> None:
    """Packets have no answers; a table by candid brings them."""
    folder = avro.alerts(tmp_path / "night", avro.images())
    lines = [[10**18 + i, "real" if i % 2 else "bogus", f"ZTF{i // 3}"] for i in range(avro.N)]
    catalogue = csv(tmp_path / "labels.csv", lines, "candid,label,objectId")
    dataset = build([folder, catalogue], tmp_path / "a.h5")
    assert (dataset.classes, dataset.labels.tolist()) == (("bogus", "real"), [0, 1, 0, 1, 0, 1])
    assert dataset.groups is not None
    assert dataset.groups.tolist() == ["ZTF0"] * 3 + ["ZTF1"] * 3
    csv(catalogue, [[f"{10**18 + i:.3e}", "real", "z"] for i in range(avro.N)], "candid,label,objectId")
    with pytest.raises(SourceError, match="rounded to floating point"):
        open_reading([folder, catalogue])


@pytest.mark.parametrize(
    "inside",
    [
        '<STREAM encoding="base64" href="file:///etc/hostname"/>',
        '<v:Stream\n  HREF = "http://127.0.0.1/x"></v:Stream>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    ],
)
def test_a_votable_may_not_fetch(cutouts: Path, tmp_path: Path, inside: str) -> None:
    pytest.importorskip("astropy")
    path = tmp_path / "cat.vot"
    path.write_text(f"<?xml version='1.0'?><VOTABLE><RESOURCE><TABLE><DATA><BINARY>{inside}</BINARY></DATA></TABLE>")
    with pytest.raises(SourceError, match="refers to what lies outside of it"):
        open_reading([cutouts, path])


@pytest.mark.parametrize("form", ["vot", "ecsv", "parquet"])
def test_damaged_catalogues(cutouts: Path, tmp_path: Path, form: str) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / f"cat.{form}"
    path.write_bytes(b"<VOTABLE><RESOURCE><TABLE>torn")
    with pytest.raises(SourceError, match=r"cat\.(vot|ecsv|parquet)"):
        open_reading([cutouts, path])
