"""A catalogue without images: read by every format, built, checked and parted; what is wrong with it is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from estampa.cli import main
from estampa.data.check import check
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build, open_any, open_reading
from estampa.data.same import same_objects
from estampa.data.split import split
from estampa.data.ties import ties_of
from estampa.errors import DatasetError, EstampaError, InputError, SourceError
from estampa.recipe import DataRecipe

N = 60
BIG = 1237648720000000001


def written(path: Path, heads: str, rows: list[str], comma: str = ",") -> Path:
    path.write_text("\n".join([heads, *rows]).replace(",", comma) + "\n", encoding="utf-8")
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


def catalogue(path: Path, n: int = N, **changes: str) -> Path:
    """A small catalogue; `changes` are cells by column_row."""
    draw, heads = np.random.default_rng(0), "objid,ra,dec,mag_g,mag_r,redshift,class"
    rows = []
    for i in range(n):
        g, r, z = draw.uniform(15, 20, 3)
        cells = [str(BIG + i), f"{i * 5.5:.5f}", f"{i - 20:.5f}", f"{g:.4f}", f"{r:.4f}", f"{z / 100:.4f}", "ab"[i % 2]]
        for at, name in enumerate(heads.split(",")):
            cells[at] = changes.get(f"{name}_{i}", cells[at])
        rows.append(",".join(cells))
    return written(path, heads, rows)


# ------------------------------------------------------------------------------------------------------ formats


def test_a_csv_is_a_dataset_without_images(tmp_path: Path) -> None:
    dataset = build(catalogue(tmp_path / "a.csv", mag_g_3="", mag_r_4="null", mag_g_5="NaN"), tmp_path / "a.h5")
    header = dataset.header
    assert (dataset.shape, dataset.n, dataset.classes) == (None, N, ("a", "b"))
    assert header.columns == ("ra", "dec", "mag_g", "mag_r", "redshift")
    assert header.roles == ("ignore", "ignore", "feature", "feature", "leak")
    assert dataset.ids[:2].tolist() == [str(BIG), str(BIG + 1)]  # beyond 2^53, digit by digit
    assert np.argwhere(np.isnan(dataset.table_rows())).tolist() == [[3, 2], [4, 3], [5, 2]]
    assert dataset.labels.tolist() == [0, 1] * (N // 2)
    rows = np.array([7, 3, 3, 59])
    np.testing.assert_array_equal(dataset.table_rows(rows), dataset.table[rows])
    assert dataset.table_rows(rows).dtype == np.float64


def test_a_parquet_file_like_its_csv(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    same = build(catalogue(tmp_path / "a.csv"), tmp_path / "a.h5")
    names, classes = same.header.columns, np.array(["a", "b"])[same.labels]
    columns = {"objid": same.ids.astype(np.int64), **dict(zip(names, same.table.T, strict=True)), "class": classes}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=17)
    dataset = build(tmp_path / "a.parquet", tmp_path / "b.h5")
    np.testing.assert_array_equal(dataset.table, same.table)
    assert dataset.ids.tolist() == same.ids.tolist()
    assert (dataset.header.roles, dataset.labels.tolist()) == (same.header.roles, same.labels.tolist())
    reading = open_reading([tmp_path / "a.parquet"])
    reading.held = None  # as of a file that is too large to be kept
    for start, size in ((0, None), (0, 7), (16, 1), (18, 40), (59, 5)):
        blocks = list(reading.table_blocks(start, size))
        np.testing.assert_array_equal(np.concatenate([b[1] for b in blocks]), same.table[start:])
        assert [b[0] for b in blocks] == list(range(start, N, size or N))[: len(blocks)]
    named = next(iter(reading.table_blocks(5, 3, ["mag_r", "ra"])))[1]
    np.testing.assert_array_equal(named, same.table[5:8][:, [3, 0]])


@pytest.mark.parametrize("form", ["vot", "fits", "ecsv"])
def test_astronomers_formats_keep_units(tmp_path: Path, form: str) -> None:
    astropy = pytest.importorskip("astropy.table")
    table = astropy.Table({
        "objid": np.arange(N) + BIG, "mag_g": np.linspace(15, 20, N), "petroR50_g": np.linspace(1, 9, N),
        "class": ["ab"[i % 2] for i in range(N)],
    })  # fmt: skip
    table["mag_g"].unit, table["petroR50_g"].unit = "mag", "arcsec"
    path = tmp_path / f"a.{form}"
    table.write(path, format={"vot": "votable", "fits": "fits", "ecsv": "ascii.ecsv"}[form])
    dataset = build(path, tmp_path / "a.h5")
    assert (dataset.header.columns, dataset.header.column_units) == (("mag_g", "petroR50_g"), ("mag", "arcsec"))
    assert dataset.ids[0] == str(BIG)
    np.testing.assert_allclose(dataset.column("mag_g"), np.linspace(15, 20, N))


def test_a_structured_npy(tmp_path: Path) -> None:
    rows = np.zeros(N, [("u-g", "f8"), ("ecc", "f4"), ("n", "i2"), ("class", "U9")])
    rows["u-g"], rows["class"] = np.arange(N) / 7, np.array(["merger", "spiral"])[np.arange(N) % 2]
    np.save(tmp_path / "a.npy", rows)
    dataset = build(tmp_path / "a.npy", tmp_path / "a.h5")
    assert (dataset.header.columns, dataset.classes) == (("u-g", "ecc", "n"), ("merger", "spiral"))
    assert dataset.header.read.source == "arrays"
    np.testing.assert_array_equal(dataset.column("u-g"), rows["u-g"])


def test_real_tables(shared: Path) -> None:
    votes = open_reading([shared / "sdss_gz1_photometry/galaxies.csv"])
    assert votes.header.classes == ("elliptical", "spiral")
    assert np.bincount(votes.labels + 1).tolist() == [2555, 355, 1090]  # uncertain is unlabelled
    leaks = [n for n, r in zip(votes.header.columns, votes.header.roles, strict=True) if r == "leak"]
    assert leaks == ["redshift", "stellar_mass", "votes", "p_el_debiased", "p_cs_debiased"]
    assert votes.ids[0] == "146.9499900-0.5922023"
    assert any("id is no key: a spreadsheet rounded its ids" in note for note in votes.notes)
    features = open_reading([shared / "galaxy_catalogue_780/galaxy_catalogue.npy"])
    assert (features.header.n, features.header.roles.count("feature")) == (624, 16)
    stars = open_reading([shared / "sdss_star_galaxy_qso/skyserver_10000.csv"])
    assert stars.header.classes == ("GALAXY", "QSO", "STAR")
    kept = [n for n, r in zip(stars.header.columns, stars.header.roles, strict=True) if r == "feature"]
    assert kept == ["u", "g", "r", "i", "z"]


@pytest.mark.parametrize(
    "name",
    [
        "gz2_votes_table5/gz2_table5_debiased.parquet", "gz2_votes_table5/gz2class_derived_counts.csv",
        "sdss_gz1_photometry/sdss_sentinel_photometry_unlabelled.csv",
    ],
)  # fmt: skip
def test_a_table_without_labels_is_one_clear_error(
    shared: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", shared / name, "-o", tmp_path / "run", "--quiet") == 2
    said = capsys.readouterr().err
    assert "has no labels" in said
    assert "--label" in said
    assert "Traceback" not in said


def test_pictures_and_their_tables_are_read_as_before(shared: Path) -> None:
    stamps = open_reading([shared / "ztf_stamps/ztf_stamps_21.npz"])
    assert stamps.header.shape == (21, 21, 3)
    assert open_reading([shared / "galaxies_gz1/labels.csv"]).header.read.source == "folder"


# ------------------------------------------------------------------------------------------------------ labels and ids


def test_one_hot_labels(tmp_path: Path) -> None:
    rows = [f"{i},{i * i % 7},{int(i % 3 == 0)},{int(i % 3 == 1)},{int(i % 3 == 2)}" for i in range(N)]
    reading = open_reading([written(tmp_path / "a.csv", "g,r,spiral,elliptical,uncertain", rows)])
    assert (reading.header.classes, reading.header.columns) == (("elliptical", "spiral"), ("g", "r"))
    assert reading.labels[:6].tolist() == [1, 0, -1, 1, 0, -1]
    asked = open_reading([tmp_path / "a.csv"], ReadOptions(label="r"))
    assert asked.header.classes == tuple(map(str, sorted({i * i % 7 for i in range(N)})))
    given = open_reading([tmp_path / "a.csv"], ReadOptions(label="spiral,elliptical,uncertain"))
    assert given.labels.tolist() == reading.labels.tolist()


def test_a_missing_label_column_and_its_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no column 'clas'.*Did you mean 'class'"):
        open_reading([catalogue(tmp_path / "a.csv")], ReadOptions(label="clas"))


def test_unknown_classes_are_no_labels(tmp_path: Path) -> None:
    reading = open_reading([catalogue(tmp_path / "a.csv", class_0="Unknown", class_1="", class_2="NULL")])
    assert reading.header.classes == ("a", "b")
    assert reading.labels[:4].tolist() == [-1, -1, -1, 1]


def test_rounded_ids_are_no_key_and_positions_serve(tmp_path: Path) -> None:
    changes = {f"objid_{i}": "1.23765E+18" for i in range(N)}
    reading = open_reading([catalogue(tmp_path / "a.csv", **changes, ra_1="0.0", dec_1="-20.0")])
    assert reading.ids[:3].tolist() == ["0.0000000-20.0000000", "0.0000000-20.0000000 #2", "11.0000000-18.0000000"]
    assert any("objid is no key" in note for note in reading.notes)


def test_ids_that_a_spreadsheet_was_told_to_keep(tmp_path: Path) -> None:
    changes = {f"objid_{i}": f'="{BIG + i}"' for i in range(N)}
    assert open_reading([catalogue(tmp_path / "a.csv", **changes)]).ids[1] == str(BIG + 1)


# ------------------------------------------------------------------------------------------------------ bad input


def test_text_among_numbers_rejects_its_row_and_says_which(tmp_path: Path) -> None:
    path = catalogue(tmp_path / "a.csv", mag_g_5="bright", redshift_7="none yet")
    reading = open_reading([path])
    assert "1 cell of mag_g no number (row 6: 'bright'): such rows are left out" in reading.notes
    assert reading.header.columns == ("ra", "dec", "mag_g", "mag_r")  # what nobody learns from costs no row
    with pytest.raises(SourceError, match=rf"1 row could not be read.*{BIG + 5}: mag_g: 'bright' is no number"):
        build(path, tmp_path / "a.h5")
    dataset = build(path, tmp_path / "b.h5", skip_bad=True)
    assert (dataset.n, dataset.rejected_rows) == (N - 1, [5])
    assert str(BIG + 5) not in dataset.ids


def test_formulas_are_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="mag_g: the formula '=1\\+2', not its value"):
        build(catalogue(tmp_path / "a.csv", mag_g_5="=1+2"), tmp_path / "a.h5")
    with pytest.raises(SourceError, match=r"column 'class', row 4: a formula in place of a label"):
        open_reading([catalogue(tmp_path / "b.csv", class_3="=A1")])
    with pytest.raises(SourceError, match=r"row 3, column 'objid': a formula in place of an id"):
        open_reading([catalogue(tmp_path / "c.csv", objid_2="=A1")])


def test_decimal_commas_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;g;class\n1;17,5;a\n2;18,25;b\n")
    with pytest.raises(SourceError, match=r"row 1, column 'g': numbers with a decimal comma.*'17,5'.*decimal points"):
        open_reading([tmp_path / "a.csv"])
    (tmp_path / "b.csv").write_text("id,g,class\n1,17,5,a\n2,18,25,b\n")
    with pytest.raises(SourceError, match=r"do not fit the heading line.*row 1: 4 fields.*decimal commas"):
        open_reading([tmp_path / "b.csv"])


def test_comments_before_the_heading(tmp_path: Path) -> None:
    plain = catalogue(tmp_path / "a.csv")
    text = plain.read_text(encoding="utf-8")
    expected = build(plain, tmp_path / "a.h5")
    for number, head in enumerate(("#Table1\n", "\ufeff#Table1\r\n\r\n# a cone around Coma\n")):
        path = tmp_path / f"b{number}.csv"
        path.write_text(head + text, encoding="utf-8", newline="")
        assert check(path).dataset.n == N
        built = build(path, tmp_path / f"b{number}.h5")
        assert built.header.columns == expected.header.columns
        assert built.content_sha256 == expected.content_sha256
        reading = open_reading([path], ReadOptions(record=expected.header.read))
        assert next(iter(reading.table_blocks()))[1].shape == (N, len(expected.header.columns))
    commented = tmp_path / "c.csv"
    commented.write_text("# " + text, encoding="utf-8")
    assert open_reading([commented]).header.n == N  # a heading that begins with #


def test_classes_that_are_one_and_cells_of_dashes(tmp_path: Path) -> None:
    cells = {f"class_{i}": ("SPIRAL", "Spiral", "--")[i % 3] for i in range(N)}
    path = catalogue(tmp_path / "a.csv", mag_g_3="-", mag_r_4="--", **cells)
    reading = open_reading([path])
    told = "classes that differ by case or blanks alone, and are learned apart: 'SPIRAL', 'Spiral'"
    assert told in reading.notes
    assert any(note.startswith("1 column left out, as it tells the answer") for note in reading.notes)
    result = check(path)
    assert (result.dataset.n, result.dataset.classes) == (N, ("SPIRAL", "Spiral"))
    assert ("warn", told) in {(one.severity, one.message) for one in result.findings}


def test_a_web_page_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    path.write_text("\n<!DOCTYPE html>\n<html><body>Error, 1</body></html>\n".lstrip(), encoding="utf-8")
    with pytest.raises(SourceError, match="a web page, not a table"):
        open_reading([path])


def test_a_row_of_another_length_is_rejected(tmp_path: Path) -> None:
    reading = open_reading([catalogue(tmp_path / "a.csv", mag_g_5="17,5")])
    rejected = {row: why for _, _, bad in reading.table_blocks() for row, why in bad.items()}
    assert rejected == {5: "8 fields, where the heading line names 7"}


def test_a_bom_and_semicolons(tmp_path: Path) -> None:
    text = catalogue(tmp_path / "a.csv").read_text()
    (tmp_path / "b.csv").write_bytes(b"\xef\xbb\xbf" + text.replace(",", ";").replace("\n", "\r\n").encode())
    one, other = open_reading([tmp_path / "a.csv"]), open_reading([tmp_path / "b.csv"])
    assert (one.header.columns, one.ids.tolist()) == (other.header.columns, other.ids.tolist())
    np.testing.assert_array_equal(next(iter(one.table_blocks()))[1], next(iter(other.table_blocks()))[1])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("objid,g,class\n", "no rows"),
        ("", "the table is empty"),
        ("1,2,3\n4,5,6\n", "the first line holds numbers"),
        ("a,b\nx,y\n", "no column of numbers"),
        ("g,g\n1,2\n", "two columns are called 'g'"),
        ('g,class\n1,"a\n', "not a text table"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(SourceError, match=told):
        open_reading([tmp_path / "a.csv"])


def test_half_a_votable(tmp_path: Path) -> None:
    astropy = pytest.importorskip("astropy.table")
    astropy.Table({"g": np.arange(99.0)}).write(tmp_path / "a.vot", format="votable")
    whole = (tmp_path / "a.vot").read_bytes()
    (tmp_path / "a.vot").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read as votable, or truncated"):
        open_reading([tmp_path / "a.vot"])


def test_one_class_cannot_be_parted(tmp_path: Path) -> None:
    dataset = build(catalogue(tmp_path / "a.csv", **{f"class_{i}": "a" for i in range(N)}), tmp_path / "a.h5")
    with pytest.raises((DatasetError, InputError), match="class"):
        split(dataset)


def test_ten_thousand_columns(tmp_path: Path) -> None:
    n = 10_000
    values = np.random.default_rng(0).normal(size=(20, n)).round(3)
    rows = ["ab"[i % 2] + "," + ",".join(map(str, row)) for i, row in enumerate(values.tolist())]
    path = written(tmp_path / "a.csv", "class," + ",".join(f"c{i}" for i in range(n)), rows)
    began = time.monotonic()
    dataset = build(path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.table, values)
    assert [f.kind for f in check(dataset).findings] == ["roles"]
    assert time.monotonic() - began < 60


# ------------------------------------------------------------------------------------------------------ check and split


def test_check_names_roles_leaks_and_failed_measurements(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = {f"mag_r_{i}": "-9999" for i in range(N)}
    path = catalogue(tmp_path / "a.csv", mag_g_0="0", mag_g_1="-9999", mag_g_2="", **changes)
    assert run("check", path, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    found = {one["kind"]: one["message"] for one in said["findings"]}
    assert "mag_g (missing: 1, -9999: 1, 0: 1)" in found["invalid"]
    assert found["empty_column"] == "without one measurement: mag_r"
    assert "redshift" in found["leak_columns"]
    assert said["roles"]["learned from"] == ["mag_g", "mag_r"]
    assert said["roles"]["tells the answer"] == ["redshift"]


def test_check_takes_the_column_of_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = catalogue(tmp_path / "a.csv")
    path.write_text(path.read_text(encoding="utf-8").replace("class", "looks", 1), encoding="utf-8")
    assert run("check", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["classes"] == {}
    assert run("check", path, "--label", "looks", "--json") == 0
    assert json.loads(capsys.readouterr().out)["classes"]
    assert run("check", path, "--label", "look") == 2
    assert "Did you mean 'looks'" in capsys.readouterr().err


def test_rows_of_one_object_with_different_labels(tmp_path: Path) -> None:
    changes = {"ra_1": "0.00001", "dec_1": "-20.0"}  # by position: row 0 is an a, row 1 is a b
    same = {"mag_g_31": "17.125", "mag_r_31": "16.5", "mag_g_40": "17.125", "mag_r_40": "16.5"}
    dataset = build(catalogue(tmp_path / "a.csv", **changes, **same), tmp_path / "a.h5")
    found = same_objects(dataset)
    assert (found.close.tolist(), found.equal.tolist()) == ([[0, 1]], [])  # two equal numbers are no proof
    result = check(dataset)
    conflict = next(f for f in result.findings if f.kind == "label_conflict")
    assert (conflict.severity, conflict.rows.tolist()) == ("warn", [0, 1])
    assert "is 'a'" in conflict.message


def test_rows_with_equal_measurements(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(14, 20, (N, 4)).round(4)
    values[50] = values[3]
    values[10], values[20] = -9999, -9999  # nothing measured: no proof
    rows = [f"s{i},{','.join(map(str, row))},{'ab'[i % 2]}" for i, row in enumerate(values.tolist())]
    dataset = build(written(tmp_path / "a.csv", "id,mag_g,mag_r,mag_i,mag_z,class", rows), tmp_path / "a.h5")
    assert same_objects(dataset).equal.tolist() == [[3, 50]]


def test_rows_without_one_measurement_are_no_copies(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [f"{a:.4f},{b:.4f},{c:.4f},{'ES'[i % 2]}" for i, (a, b, c) in enumerate(draw.uniform(15, 20, (60, 3)))]
    rows += [("-9999,-9999,-9999,E", ",,,E")[i % 2] for i in range(30)] + [rows[0]]
    dataset = build(written(tmp_path / "a.csv", "mag_u,mag_g,mag_r,class", rows), tmp_path / "a.h5")
    found = {one.kind: one for one in check(dataset).findings}
    assert found["unmeasured"].message == "30 objects without one measurement, all of class E"
    assert found["unmeasured"].rows.tolist() == list(range(60, 90))
    assert found["exact"].rows.tolist() == [0, 90]
    ties = ties_of(dataset, None)
    assert (ties.copies, len(np.unique(ties.units[60:90]))) == (2, 30)
    assert ties.units[0] == ties.units[90]


@pytest.mark.parametrize("seed", range(6))
def test_rows_of_one_object_stay_on_one_side(tmp_path: Path, seed: int) -> None:
    changes = {}
    for first, second in ((0, 2), (10, 24), (30, 58), (5, 45)):
        changes |= {f"ra_{second}": f"{first * 5.5 + 0.0001:.5f}", f"dec_{second}": f"{first - 20:.5f}"}
    dataset = build(catalogue(tmp_path / "a.csv", **changes), tmp_path / "a.h5")
    result = split(dataset, test=0.3, validation=0.3, seed=seed)
    parts = Dataset.open(tmp_path / "a.h5").split
    for first, second in ((0, 2), (10, 24), (30, 58), (5, 45)):
        assert parts[first] == parts[second]
    assert result.record["tied"]["near"] == 8


def test_tables_are_joined_and_left_out_from(tmp_path: Path) -> None:
    one = build(catalogue(tmp_path / "a.csv"), tmp_path / "a.h5")
    other = build(
        catalogue(tmp_path / "b.csv", 20, **{f"objid_{i}": f"other{i}" for i in range(20)}), tmp_path / "b.h5"
    )
    (tmp_path / "out.txt").write_text(f"{BIG + 1}\n{one.hashes[2]:016x}\n")
    both = build([one.path, other.path], tmp_path / "c.h5", ReadOptions(exclude=tmp_path / "out.txt"))
    kept = np.r_[0, 3:N]
    np.testing.assert_array_equal(both.table[: len(kept)], one.table[kept])
    np.testing.assert_array_equal(both.table[len(kept) :], other.table[[0, 1, *range(3, 20)]])  # it has the same row 2
    assert both.header.roles == one.header.roles


def test_a_killed_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estampa.data.sources._base.BLOCK_BYTES", 8 * 5 * 10)  # ten rows a block
    path = catalogue(tmp_path / "a.csv")
    reading = type(open_reading([path]))
    blocks = reading.table_blocks

    def cut(self: object, start: int = 0, size: int | None = None, names: object = None) -> object:
        for block in blocks(self, start, size, names):  # type: ignore[arg-type]
            if block[0] >= 30:
                raise KeyboardInterrupt
            yield block

    monkeypatch.setattr(reading, "table_blocks", cut)
    with pytest.raises(EstampaError, match="30 of 60 rows are saved"):
        build(path, tmp_path / "a.h5")
    monkeypatch.setattr(reading, "table_blocks", blocks)
    dataset = build(path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.table, open_any(path).table)


# ------------------------------------------------------------------------------------------------------ prediction


def test_at_prediction_no_label_is_needed_and_every_column_is_read(tmp_path: Path) -> None:
    trained = open_reading([catalogue(tmp_path / "a.csv")]).header
    text = catalogue(tmp_path / "b.csv", redshift_7="none yet", mag_g_9="?!").read_text().splitlines()
    (tmp_path / "c.csv").write_text("\n".join(line.rpartition(",")[0] for line in text) + "\n")
    options = ReadOptions(record=trained.read, classes=trained.classes)
    scored = open_reading([tmp_path / "c.csv"], options)
    assert scored.header.columns == trained.columns
    assert (scored.header.classes, set(scored.labels.tolist())) == (trained.classes, {-1})
    assert sorted(row for _, _, bad in scored.table_blocks() for row in bad) == [7, 9]
    needed = list(scored.table_blocks(0, None, ["mag_r", "mag_g"]))
    assert [row for _, _, bad in needed for row in bad] == [9]  # what the model does not read costs no row


def test_a_parquet_file_with_two_columns_of_one_name(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["g", "g"]), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"two columns are called 'g'.*its own name"):
        open_reading([tmp_path / "a.parquet"])


def test_infinite_values_of_a_feature_tell_no_class(tmp_path: Path) -> None:
    rows = [f"{['inf', '18.5', '19.5'][i % 3]},{'ab'[i % 2]}" for i in range(300)]
    reading = open_reading([written(tmp_path / "a.csv", "mag_g,class", rows)])
    assert reading.header.roles == ("feature",)


_FLAT = """
import resource, sys
from estampa.data.read import open_reading, build
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
reading = open_reading([sys.argv[1]])
before = peak()
rows = sum(len(values) for _, values, _ in reading.table_blocks())
build(sys.argv[1], sys.argv[2])
print(rows, peak() - before)
"""


def test_a_large_table_is_never_held(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    n, k = 200_000, 64  # 102 MB of numbers, more than is held from the first look
    values = np.random.default_rng(0).normal(size=(20_000, k)).astype(np.float32)
    one = pa.table({**{f"c{i}": values[:, i] for i in range(k)}, "class": np.arange(20_000) % 2})
    with pq.ParquetWriter(tmp_path / "a.parquet", one.schema) as writer:
        for _ in range(n // 20_000):
            writer.write_table(one)
    done = subprocess.run(
        [sys.executable, "-c", _FLAT, str(tmp_path / "a.parquet"), str(tmp_path / "a.h5")],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    rows, grown = done.stdout.split()
    assert int(rows) == n
    assert float(grown) < 80, "MB beyond what was there after the first look"
    assert Dataset.open(tmp_path / "a.h5").table_rows(np.array([n - 1])).shape == (1, k)


def test_features_of_a_table_that_was_built(tmp_path: Path) -> None:
    from estampa.data.roles import features_of

    dataset = build(catalogue(tmp_path / "a.csv"), tmp_path / "a.h5")
    assert features_of(dataset.header, DataRecipe()) == ("mag_g", "mag_r")


def test_a_cut_line_does_not_take_the_key_from_the_others(tmp_path: Path) -> None:
    path = tmp_path / "cut.csv"
    path.write_text("objid,ra,dec,g,r\nA1,10.1,2.0,17.1,16.4\nA2,10.2\nA3,10.3,2.2,17.3,16.6\n")
    reading = open_reading([path])
    assert list(reading.ids) == ["A1", "row 1", "A3"]
    ((_, _, rejected),) = reading.table_blocks()
    assert list(rejected) == [1]
