"""Source text: rows of `label pixel pixel ...`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import text
from estampa.data.sources.text import _Form, _parse
from estampa.errors import SourceError


def write(path: Path, rows: np.ndarray, separator: str = " ", heading: str = "", end: str = "\n") -> Path:
    lines = ([heading] if heading else []) + [separator.join(map(str, row)) for row in rows.tolist()]
    path.write_text("\n".join(lines) + end, encoding="ascii")
    return path


@pytest.fixture
def rows() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.column_stack([rng.integers(1, 6, 40), rng.integers(0, 256, (40, 25))])


@pytest.mark.parametrize(
    ("name", "separator", "heading", "end"),
    [
        ("a.txt", " ", "", "\n"),
        ("a.txt", "  ", "", ""),
        ("a.tsv", "\t", "", "\n"),
        ("a.csv", ",", "", "\n"),
        ("a.csv", ", ", "", "\n\n"),
        ("a.csv", ",", "label," + ",".join(f"pixel{i}" for i in range(25)), "\n"),
        ("a.csv", ",", "label,1x1,1x2", "\n"),
    ],
)
def test_rows_of_numbers(tmp_path: Path, rows: np.ndarray, name: str, separator: str, heading: str, end: str) -> None:
    reading = open_reading([write(tmp_path / name, rows, separator, heading, end)])
    header = reading.header
    assert (header.n, header.shape, header.dtype) == (40, (5, 5, 1), "uint8")
    assert header.classes == ("1", "2", "3", "4", "5")
    assert reading.labels is not None
    assert (reading.labels + 1 == rows[:, 0]).all()
    found = np.concatenate([b.images for b in reading.blocks(size=7)])
    assert (found.reshape(40, 25) == rows[:, 1:]).all()
    (later,) = reading.blocks(start=38)
    assert (later.start, len(later.images)) == (38, 2)


def test_chunks_end_at_rows(tmp_path: Path, rows: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estampa.data.sources._digits.CHUNK", 333)
    reading = text.read([write(tmp_path / "a.txt", rows)], ReadOptions())
    found = np.concatenate([b.images for b in reading.blocks(start=3, size=5)])
    assert (found.reshape(37, 25) == rows[3:, 1:]).all()


def test_given_classes_name_the_codes(tmp_path: Path, rows: np.ndarray) -> None:
    rows[:, 0] -= 1
    path = write(tmp_path / "a.txt", rows)
    assert text.read([path], ReadOptions(classes=tuple("abcde"))).header.classes == tuple("abcde")
    with pytest.raises(SourceError, match="out of range"):
        text.read([path], ReadOptions(classes=tuple("abc")))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([0, 255], "uint8"), ([0, 256], "uint16"), ([-1, 3], "float32"), ([0.25, 3], "float32"), ([0, 99999], "float32")],
)
def test_stored_type_follows_the_values(tmp_path: Path, values: list[float], dtype: str) -> None:
    rows = np.array([[1, *values, *([0] * 14)], [2, *([1] * 16)]], object)
    path = tmp_path / "a.txt"
    path.write_text("\n".join(" ".join(map(str, row)) for row in rows) + "\n")
    reading = text.read([path], ReadOptions())
    assert reading.header.dtype == dtype
    (block,) = reading.blocks()
    assert block.images[0].ravel()[:2].tolist() == values


def test_regression_targets(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("0.5 " + "1 " * 16 + "\n1.75 " + "2 " * 16 + "\n")
    reading = text.read([path], ReadOptions())
    assert (reading.header.task, np.asarray(reading.labels).tolist()) == ("regression", [0.5, 1.75])


def test_a_bad_row_is_named_by_its_number(tmp_path: Path, rows: np.ndarray) -> None:
    path = write(tmp_path / "a.txt", rows)
    lines = path.read_text().splitlines()
    lines[3] += " 7"
    lines[5] = lines[5].replace(" ", " x", 1)
    path.write_text("\n".join(lines) + "\n")
    reading = text.read([path], ReadOptions())
    rejected = {row: why for b in reading.blocks(size=4) for row, why in b.rejected.items()}
    assert rejected == {3: "row 3: 27 numbers, the first row has 26", 5: "row 5: not all numbers"}
    assert np.asarray(reading.labels)[[3, 5]].tolist() == [-1, -1]
    found = np.concatenate([b.images for b in reading.blocks()]).reshape(40, 25)
    good = [i for i in range(40) if i not in (3, 5)]
    assert (found[good] == rows[good, 1:]).all()
    with pytest.raises(SourceError, match="row 3: 27 numbers"):
        build(path, tmp_path / "a.h5")
    assert build(path, tmp_path / "a.h5", skip_bad=True).n == 38


def test_shapes_that_are_not_square(tmp_path: Path, rows: np.ndarray) -> None:
    path = write(tmp_path / "a.txt", rows[:, :25])  # a label and 24 pixels
    with pytest.raises(SourceError, match="--reshape HxW"):
        open_reading([path])
    assert text.read([path], ReadOptions(reshape=(4, 6, 1))).header.shape == (4, 6, 1)
    assert text.read([path], ReadOptions(reshape=(4, 2, 3))).header.shape == (4, 2, 3)
    unlabelled = text.read([path], ReadOptions(reshape=(5, 5, 1)))
    assert (unlabelled.header.task, unlabelled.header.shape) == ("unlabelled", (5, 5, 1))
    with pytest.raises(SourceError, match="rows of 25 numbers"):
        text.read([path], ReadOptions(reshape=(7, 7, 1)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a label and a square picture"),
        ("words words\n", "not all numbers"),
        ("id,ra,dec\n1,2,3\n", "not all numbers"),
        ("1 2 3\n", "not a label and a square picture"),
    ],
)
def test_other_tables_are_not_claimed(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    assert message in str(text.is_mine([tmp_path / "a.csv"], ReadOptions()))


def test_infinite_pixels_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1 " + "nan " * 16 + "\n2 inf " + "1.5 " * 15 + "\n")
    (block,) = text.read([tmp_path / "a.txt"], ReadOptions()).blocks()
    assert np.isnan(block.images[0]).all()
    assert block.rejected == {1: "1 infinite pixel"}


@settings(max_examples=100, deadline=None)
@given(
    numbers=st.lists(st.lists(st.integers(0, 99999), min_size=3, max_size=3), min_size=1, max_size=8),
    comma=st.booleans(),
    spaces=st.integers(1, 3),
    last=st.booleans(),
)
def test_the_fast_parser_agrees_with_python(numbers: list[list[int]], comma: bool, spaces: int, last: bool) -> None:
    separator = "," if comma else " " * spaces
    content = "\n".join(separator.join(map(str, row)) for row in numbers) + ("\n" if last else "")
    form = _Form(comma, False, 3, (1, 2, 1), True)
    values, bad = _parse(content.encode(), form)
    assert not bad
    assert values.tolist() == numbers


def test_real_emojis(shared: Path) -> None:
    reading = open_reading([shared / "emojis" / "emojis.txt"])
    with np.load(shared / "emojis" / "emojis.npz") as truth:
        assert (np.concatenate([b.images for b in reading.blocks()])[..., 0] == truth["x"]).all()
        assert (reading.labels == truth["y"]).all()
    assert np.bincount(np.asarray(reading.labels)).tolist() == [485, 505, 503, 457, 504]
