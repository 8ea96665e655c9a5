"""Source table: pixels in columns, and manifests of arrays and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import table
from estampa.data.sources._wide import pixel_columns
from estampa.errors import SourceError

N, SIDE = 9, 5
COUNTS = np.random.default_rng(0).integers(0, 256, (N, SIDE, SIDE))


def wide(path: Path, heads: list[str], rows: list[list[Any]], mark: str = ",") -> Path:
    path.write_text("\n".join(mark.join(map(str, row)) for row in [heads, *rows]) + "\n")
    return path


def kaggle(path: Path, values: np.ndarray = COUNTS, mark: str = ",") -> Path:
    heads = ["id", "kind", *(f"pixel{i}" for i in range(SIDE * SIDE)), "snr", "objectId", "split"]
    rows = [
        [f"s{i}", i % 3, *values[i].ravel().tolist(), i / 2, f"o{i // 2}", "test" if i > 6 else "train"]
        for i in range(len(values))
    ]
    return wide(path, heads, rows, mark)


@pytest.mark.parametrize(("suffix", "mark"), [(".csv", ","), (".csv", ";"), (".tsv", "\t")])
@pytest.mark.parametrize("kind", [np.int64, np.float64])
def test_pixels_in_columns(tmp_path: Path, suffix: str, mark: str, kind: type) -> None:
    values = COUNTS.astype(kind) / (1 if kind is np.int64 else 7)
    path = kaggle(tmp_path / f"a{suffix}", values, mark)
    dataset = build(path, tmp_path / "a.h5", ReadOptions(label="kind"))
    assert dataset.header.dtype == ("uint8" if kind is np.int64 else "float32")
    np.testing.assert_array_equal(dataset.images[..., 0], values.astype(dataset.header.dtype))
    assert dataset.ids.tolist()[3] == "s3"
    assert dataset.groups.tolist()[3] == "o1"
    assert dataset.labels.tolist() == [i % 3 for i in range(N)]
    assert dataset.header.columns == ("snr",)
    assert dataset.header.published_split
    assert dataset.rows("test").tolist() == [7, 8]


def test_several_words_are_channels_and_numbers_may_be_grids(tmp_path: Path) -> None:
    grid = [(r, c) for r in range(SIDE) for c in range(SIDE)]
    heads = [f"{word}_{r}_{c}" for word in ("science", "template") for r, c in grid]
    both = np.stack([COUNTS, 255 - COUNTS], 1)
    order = np.random.default_rng(1).permutation(len(heads))
    rows = [[row[i] for i in order] for row in both.reshape(N, -1).tolist()]
    reading = open_reading([wide(tmp_path / "a.csv", [heads[i] for i in order], rows)])
    assert sorted(reading.header.channels) == ["science", "template"]
    images = next(reading.blocks()).images
    for channel, name in enumerate(reading.header.channels):
        assert np.array_equal(images[..., channel], both[:, ["science", "template"].index(name)])


@pytest.mark.parametrize(
    ("names", "asked", "shape"),
    [
        ([f"pixel{i}" for i in range(784)], None, (28, 28, 1)),
        ([f"Pixel_{i}" for i in range(1, 26)], None, (5, 5, 1)),
        ([f"{r}x{c}" for r in range(1, 5) for c in range(1, 7)], None, (4, 6, 1)),
        ([f"px_{r}_{c}_{k}" for r in range(3) for c in range(4) for k in range(2)], None, (3, 4, 2)),
        ([f"pixel{i}" for i in range(24)], (4, 6, 1), (4, 6, 1)),
        ([f"pixel{i}" for i in range(48)], (4, 4, 3), (4, 4, 3)),
        ([f"{w}{i}" for w in ("sci", "tmp") for i in range(24)], (4, 6, 1), (4, 6, 2)),
        ([f"{w}{i}" for w in ("sci", "tmp") for i in range(24)], (4, 6, 2), (4, 6, 2)),
        ([f"f{i}" for i in range(25)], (5, 5, 1), (5, 5, 1)),
        ([f"f{i}" for i in range(25)], None, None),
        (["label", "x1", "x2", "flux_7"], None, None),
    ],
)
def test_which_columns_are_pixels(names: list[str], asked: Any, shape: Any) -> None:
    found = pixel_columns(["id", *names, "snr"], asked)
    assert (found.shape if found else None) == shape


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        ([f"pixel{i}" for i in range(26) if i != 7], None, "gaps in their numbers"),
        ([f"pixel{i}" for i in range(5, 30)], None, "gaps in their numbers"),
        ([f"pixel{i}" for i in range(24)], None, "24 pixels in columns are no square.*--reshape"),
        ([f"pixel{i}" for i in range(24)], (5, 5, 1), "24 pixels in columns.*5x5x1 = 25"),
        ([f"px{i}" for i in range(25)] + [f"img{i}" for i in range(36)], None, "different numbers"),
    ],
)
def test_odd_pixel_columns_are_refused(names: list[str], asked: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        pixel_columns(names, asked)


def test_bad_rows_are_rejected_by_number(tmp_path: Path) -> None:
    path = kaggle(tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    lines[3] = lines[3].replace(lines[3].split(",")[5], "much", 1)
    lines[5] = ",".join(lines[5].split(",")[:-2])
    lines[7] = lines[7].replace(",", ",,", 1)
    path.write_text("\n".join(lines))
    with pytest.raises(SourceError, match="3 rows could not be read") as caught:
        build(path, tmp_path / "a.h5", ReadOptions(label="kind"))
    assert "s2: pixels that are no numbers; row 4: 28 fields, where 30 are named" in str(caught.value)
    dataset = build(path, tmp_path / "b.h5", ReadOptions(label="kind"), skip_bad=True)
    assert dataset.rejected_rows == [2, 4, 6]
    np.testing.assert_array_equal(dataset.images[..., 0], np.delete(COUNTS, [2, 4, 6], 0))


@pytest.mark.parametrize("row", ["1 2,{},", ",{}", "{}, 1 2"])
def test_a_row_whose_blanks_hide_a_wrong_number_of_fields_is_rejected(tmp_path: Path, row: str) -> None:
    """As many numbers as there are columns are not enough: they must stand one in a field."""
    numbers = ",".join(map(str, range(15 if " " in row else 16)))
    heads = ",".join(f"px_{i // 4}_{i % 4}" for i in range(16))
    path = tmp_path / "a.csv"
    path.write_text(f"{heads}\n{','.join(map(str, range(16)))}\n{row.format(numbers)}\n")
    (block,) = open_reading([path]).blocks()
    assert list(block.rejected) == [1]
    assert block.images[0].ravel().tolist() == list(range(16))


def test_rows_of_any_stretch_over_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("estampa.data.sources._digits.CHUNK", 300)
    reading = open_reading([kaggle(tmp_path / "a.csv")])
    for start, size in ((0, 2), (4, 3), (8, 1), (2, 100)):
        images = np.concatenate([b.images for b in reading.blocks(start, size)])
        assert np.array_equal(images[..., 0], COUNTS[start:])


# ------------------------------------------------------------------------------------------------------ Parquet


def parquet(path: Path, columns: dict[str, Any], **given: Any) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pyarrow.table(columns), path, **given)
    return path


def test_pixels_in_the_columns_of_a_parquet_file(tmp_path: Path) -> None:
    n = 5000
    pixels = np.random.default_rng(2).normal(size=(n, 36)).astype(np.float32)
    columns: dict[str, Any] = {f"pixel{i}": pixels[:, i] for i in range(36)}
    columns |= {"label": np.arange(n) % 2, "candid": 10**18 + np.arange(n), "snr": [None, *range(n - 1)]}
    path = parquet(tmp_path / "a.parquet", columns, row_group_size=1500)
    dataset = build(path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images.reshape(n, 36), pixels)
    assert dataset.ids[1] == "1000000000000000001"
    assert dataset.header.columns == ("snr",)
    assert np.isnan(dataset.column("snr")[0])
    reading = open_reading([path])
    for start, size in ((0, 700), (3333, 1), (10, 5000), (4999, 2)):
        images = np.concatenate([b.images for b in reading.blocks(start, size)])
        assert np.array_equal(images.reshape(-1, 36), pixels[start:])


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SourceError, match="not a Parquet file, or truncated"):
        open_reading([tmp_path / "a.parquet"])
    path = parquet(tmp_path / "b.parquet", {"label": [1, 0], "snr": [1.0, 2.0]})
    assert open_reading([path]).header.shape is None  # a catalogue


# ------------------------------------------------------------------------------------------------------ manifests


def stamps(folder: Path) -> np.ndarray:
    images = np.random.default_rng(3).normal(size=(N, 3, 21, 21)).astype(np.float32)
    (folder / "stamps").mkdir()
    for i, image in enumerate(images):
        np.save(folder / "stamps" / f"{i}.npy", image)
    return images


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_a_manifest_of_arrays(tmp_path: Path, suffix: str) -> None:
    images = stamps(tmp_path)
    columns: dict[str, Any] = {
        "path": [f"stamps/{i}.npy" for i in range(N)],
        "label": ["real" if i % 2 else "bogus" for i in range(N)],
        "snr": [i / 2 for i in range(N)],
    }
    if suffix == ".parquet":
        path = parquet(tmp_path / "list.parquet", columns)
    else:
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        path = wide(tmp_path / f"list{suffix}", list(columns), rows, "\t" if suffix == ".tsv" else ",")
    dataset = build(path, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, images.transpose(0, 2, 3, 1))
    assert dataset.ids.tolist() == columns["path"]
    assert dataset.classes == ("bogus", "real")
    np.testing.assert_array_equal(dataset.column("snr"), columns["snr"])


def test_arrays_that_do_not_fit_are_rejected(tmp_path: Path) -> None:
    stamps(tmp_path)
    np.save(tmp_path / "stamps" / "1.npy", np.zeros((3, 20, 21), np.float32))
    (tmp_path / "stamps" / "4.npy").write_bytes(b"torn")
    (tmp_path / "stamps" / "6.npy").unlink()
    np.save(tmp_path / "stamps" / "7.npy", np.array([{}], object), allow_pickle=True)
    path = wide(tmp_path / "list.csv", ["file", "label"], [[f"stamps/{i}.npy", i % 2] for i in range(N)])
    dataset = build(path, tmp_path / "a.h5", skip_bad=True)
    assert dataset.rejected_rows == [1, 4, 6, 7]
    reasons = " ".join(reason for _, reason in dataset.rejected)
    for told in ("an array of shape (3, 20, 21), most are (3, 21, 21)", "damaged", "file not found", "Python objects"):
        assert told in reasons


@pytest.mark.parametrize("name", ["../a.npy", "/etc/a.npy", "C:/a.npy", "stamps/../../a.npy"])
def test_a_manifest_may_not_name_what_lies_outside(tmp_path: Path, name: str) -> None:
    path = wide(tmp_path / "list.csv", ["file", "label"], [["a.npy", 1], [name, 0]])
    with pytest.raises(SourceError, match="row 1 names a file outside of the folder"):
        open_reading([path])


@pytest.mark.parametrize("suffix", [".tsv", ".parquet"])
def test_a_manifest_of_pictures_that_is_no_csv(tmp_path: Path, suffix: str) -> None:
    for i in range(4):
        Image.new("L", (6, 6), 40 * i).save(tmp_path / f"{i}.png")
    columns: dict[str, Any] = {
        "filename": [f"{i}.png" for i in range(4)],
        "label": list("abab"),
        "mag": [20, 21, 22, 23],
    }
    if suffix == ".parquet":
        path = parquet(tmp_path / "list.parquet", columns)
    else:
        path = wide(tmp_path / "list.tsv", list(columns), [list(r) for r in zip(*columns.values(), strict=True)], "\t")
    dataset = build(path, tmp_path / "out" / "a.h5")
    assert dataset.images[:, 0, 0, 0].tolist() == [0, 40, 80, 120]
    assert dataset.classes == ("a", "b")
    assert dataset.column("mag").tolist() == [20, 21, 22, 23]


def test_what_it_leaves_to_others(tmp_path: Path) -> None:
    options = ReadOptions()
    mnist = wide(tmp_path / "a.csv", ["label", *(f"pixel{i}" for i in range(25))], [[1, *range(25)]])
    assert "text reads it" in str(table.is_mine([mnist], options))
    assert open_reading([mnist]).header.shape == (5, 5, 1)
    pictures = wide(tmp_path / "b.csv", ["file", "label"], [["a.png", 1]])
    assert "folder reads it" in str(table.is_mine([pictures], options))
    features = wide(tmp_path / "c.csv", ["id", "u_g", "g_r", "label"], [["a", 1.5, 2.5, "x"]])
    assert open_reading([features]).header.columns == ("u_g", "g_r")  # a catalogue
