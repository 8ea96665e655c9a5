"""Source idx: MNIST's files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import idx
from estampa.errors import SourceError

CODES = {"uint8": 8, "int8": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def idx_bytes(values: np.ndarray, dtype: str = "uint8") -> bytes:
    head = struct.pack(">BBBB", 0, 0, CODES[dtype], values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(dtype).tobytes()


def lay(folder: Path, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for part, n in (("train", 12), ("t10k", 5)):
        for kind, values in (
            ("images-idx3", rng.integers(0, 256, (n, 6, 5))),
            ("labels-idx1", np.arange(n) % 3),
        ):
            name, data = f"{part}-{kind}-ubyte", idx_bytes(values)
            (folder / (name + ".gz" * packed)).write_bytes(gzip.compress(data) if packed else data)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_pairs_side_by_side_keep_the_published_split(tmp_path: Path, packed: bool) -> None:
    reading = open_reading([lay(tmp_path, packed)])
    header = reading.header
    assert (header.n, header.shape, header.dtype, header.published_split) == (17, (6, 5, 1), "uint8", True)
    assert np.asarray(reading.split).tolist() == [1] * 12 + [3] * 5
    assert reading.ids[[0, 11, 12]].tolist() == ["train-0", "train-11", "test-0"]
    assert np.asarray(reading.labels).tolist() == [*(i % 3 for i in range(12)), *(i % 3 for i in range(5))]
    rng = np.random.default_rng(0)
    expected = rng.integers(0, 256, (12, 6, 5))
    found = np.concatenate([b.images for b in reading.blocks(size=5)])
    assert (found[:12, ..., 0] == expected).all()
    for start in (9, 14, 3):
        (block,) = reading.blocks(start=start, size=100)
        assert (block.images == found[start:]).all()


def test_one_file_finds_its_labels(tmp_path: Path) -> None:
    lay(tmp_path, packed=True)
    images = tmp_path / "t10k-images-idx3-ubyte.gz"
    for paths in ([images], [images, tmp_path / "t10k-labels-idx1-ubyte.gz"]):
        reading = open_reading(paths)
        assert (reading.header.n, reading.header.classes, reading.split) == (5, ("0", "1", "2"), None)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert open_reading([images]).header.task == "unlabelled"
    with pytest.raises(SourceError, match="labels without images"):
        open_reading([tmp_path / "train-labels-idx1-ubyte.gz"])


def test_any_names_pair_when_two_are_given(tmp_path: Path) -> None:
    (tmp_path / "pictures").write_bytes(idx_bytes(np.zeros((4, 3, 3))))
    (tmp_path / "answers").write_bytes(idx_bytes(np.arange(4)))
    assert len(open_reading([tmp_path / "pictures", tmp_path / "answers"]).header.classes) == 4


@pytest.mark.parametrize(
    ("dtype", "stored"), [("int8", "uint8"), (">i2", "uint16"), (">f4", "float32"), (">f8", "float32")]
)
def test_other_types_follow_the_lossless_rule(tmp_path: Path, dtype: str, stored: str) -> None:
    values = np.arange(27).reshape(3, 3, 3) * (10 if stored == "uint16" else 1) + (300 if stored == "uint16" else 0)
    (tmp_path / "a-images-idx3").write_bytes(idx_bytes(values, dtype))
    reading = open_reading([tmp_path / "a-images-idx3"])
    assert reading.header.dtype == stored
    (block,) = reading.blocks()
    assert (block.images[..., 0] == values).all()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cut", [1, 100, 390])
def test_truncated_files_are_named(tmp_path: Path, packed: bool, cut: int) -> None:
    lay(tmp_path, packed)
    path = tmp_path / ("train-images-idx3-ubyte" + ".gz" * packed)
    path.write_bytes(path.read_bytes()[: -min(cut, path.stat().st_size - 30)])
    with pytest.raises(SourceError, match=r"train-images.*damaged or truncated"):
        idx.read([path], ReadOptions())


def test_too_long_and_wrong_files_are_named(tmp_path: Path) -> None:
    lay(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(SourceError, match="its header promises"):
        idx.read([path], ReadOptions())
    path.write_bytes(b"\x00\x00\x07\x03" + bytes(100))
    with pytest.raises(SourceError, match="not an IDX file"):
        idx.read([path], ReadOptions())
    assert "magic number" in str(idx.is_mine([path], ReadOptions()))


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    data = idx_bytes(np.arange(36).reshape(4, 3, 3))
    (tmp_path / "a-images-idx3.gz").write_bytes(gzip.compress(data[:20]) + gzip.compress(data[20:]))
    (block,) = open_reading([tmp_path / "a-images-idx3.gz"]).blocks()
    assert block.images.ravel().tolist() == list(range(36))


def test_lengths_and_labels_that_do_not_fit(tmp_path: Path) -> None:
    lay(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.zeros(11)))
    with pytest.raises(SourceError, match=r"do not pair.*12 images"):
        open_reading([tmp_path])
    labels.write_bytes(idx_bytes(np.arange(12)))
    with pytest.raises(SourceError, match="out of range"):
        open_reading([tmp_path], ReadOptions(classes=("a", "b", "c")))
    (tmp_path / "none-images-idx3").write_bytes(idx_bytes(np.zeros((0, 3, 3))))
    with pytest.raises(SourceError, match="no rows"):
        open_reading([tmp_path / "none-images-idx3"])


def test_built_with_its_split(tmp_path: Path) -> None:
    dataset = build(lay(tmp_path / "set"), tmp_path / "set.h5")
    assert (dataset.rows("train").size, dataset.rows("test").size) == (12, 5)
    assert dataset.header.published_split


def test_real_fashion_mnist(fashion_files: Path) -> None:
    reading = open_reading([fashion_files])
    assert (reading.header.n, reading.header.shape, reading.header.published_split) == (70_000, (28, 28, 1), True)
    assert np.bincount(np.asarray(reading.labels)).tolist() == [7000] * 10
    (block,) = reading.blocks(start=69_990)
    assert (block.images.shape, block.rejected) == ((10, 28, 28, 1), {})
