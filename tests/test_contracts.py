"""One contract over every source: each is held to the same promises."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image

from estampa import parts
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.record import DTYPES, TASKS, faults
from estampa.errors import SourceError

N = 12
SIDE = 6


def _images(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (N, SIDE, SIDE, channels), dtype=np.uint8)


def _arrays(folder: Path) -> Path:
    np.savez_compressed(folder / "a.npz", images=_images(3), label=np.arange(N) % 3)
    return folder / "a.npz"


def _folder(folder: Path) -> Path:
    for i, image in enumerate(_images(3)):
        path = folder / "pictures" / "xyz"[i % 3] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return folder / "pictures"


def _avro(folder: Path) -> Path:
    fastavro, fits = pytest.importorskip("fastavro"), pytest.importorskip("astropy.io.fits")
    stamps = [{"name": f"cutout{role}", "type": "bytes"} for role in ("Science", "Template", "Difference")]
    facts = [{"name": "diaSourceId", "type": "long"}, {"name": "label", "type": "string"}]
    packets = []
    for i, image in enumerate(_images(3)):
        packets.append({"diaSourceId": i + 1, "label": "xyz"[i % 3]})
        for channel, stamp in enumerate(stamps):
            stream = io.BytesIO()
            fits.PrimaryHDU(image[..., channel].astype(">f4")).writeto(stream)
            packets[-1][stamp["name"]] = stream.getvalue()
    with (folder / "a.avro").open("wb") as file:
        fastavro.writer(file, {"type": "record", "name": "alert", "fields": [*facts, *stamps]}, packets)
    return folder / "a.avro"


def _fits(folder: Path) -> Path:
    fits = pytest.importorskip("astropy.io.fits")
    for i, image in enumerate(_images(3)):
        path = folder / "cutouts" / "xyz"[i % 3] / f"{i}.fits"
        path.parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(np.moveaxis(image, 2, 0).astype(">f4")).writeto(path)
    return folder / "cutouts"


def _text(folder: Path) -> Path:
    rows = np.column_stack([np.arange(N) % 3, _images().reshape(N, -1)])
    np.savetxt(folder / "a.txt", rows, fmt="%d")
    return folder / "a.txt"


def _idx(folder: Path) -> Path:
    (folder / "set").mkdir()
    for name, values in (("images-idx3", _images()[..., 0]), ("labels-idx1", (np.arange(N) % 3).astype(np.uint8))):
        head = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
        (folder / "set" / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return folder / "set"


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / "a.hdf5", "w") as file:
        file.create_dataset("stamps/images", data=_images(3), chunks=(5, SIDE, SIDE, 3), compression="gzip")
        file["stamps/labels"] = np.arange(N) % 3
    return folder / "a.hdf5"


def _table(folder: Path) -> Path:
    heads = ["id", "label", "snr", *(f"px_{r}_{c}" for r in range(SIDE) for c in range(SIDE))]
    rows = [[f"s{i}", "abc"[i % 3], i / 2, *image.ravel().tolist()] for i, image in enumerate(_images())]
    (folder / "a.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in [heads, *rows]))
    return folder / "a.csv"


def _pickled(folder: Path) -> Path:
    images = {f"{name}_images": _images()[..., 0].reshape(N, -1) for name in ("sci", "temp", "diff", "SNR")}
    (folder / "a.pkl").write_bytes(pickle.dumps({**images, "labels": np.arange(N) % 3}, protocol=2))
    return folder / "a.pkl"


def _dataset(folder: Path) -> Path:
    return build(_arrays(folder), folder / "a.h5").path


#: A well-formed example of every source: n = 12 rows, three classes. A new source adds its own.
EXAMPLES: dict[str, Callable[[Path], Path]] = {
    "arrays": _arrays,
    "avro": _avro,
    "dataset": _dataset,
    "fits": _fits,
    "folder": _folder,
    "hdf5": _hdf5,
    "idx": _idx,
    "pickled": _pickled,
    "table": _table,
    "text": _text,
}
SOURCES = parts.names("data/sources")


def pixels_of(reading: Any, start: int = 0, size: int | None = None) -> np.ndarray:
    return np.concatenate([block.images for block in reading.blocks(start, size)])


def test_every_source_has_an_example() -> None:
    assert sorted(EXAMPLES) == SOURCES


@pytest.fixture(params=SOURCES)
def example(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, EXAMPLES[request.param](tmp_path)


def test_it_alone_claims_its_data(example: tuple[str, Path]) -> None:
    name, path = example
    for other in SOURCES:
        reason = parts.load("data/sources", other).is_mine([path], ReadOptions())
        assert (reason is None) == (other == name), f"{other}: {reason}"
        assert reason is None or (isinstance(reason, str) and reason)


def test_what_it_says_agrees_with_itself(example: tuple[str, Path]) -> None:
    name, path = example
    reading = parts.load("data/sources", name).read([path], ReadOptions())
    header = reading.header
    assert not faults(header)
    assert (header.n, header.task, len(header.classes)) == (N, "classification", 3)
    assert header.dtype in DTYPES
    assert header.task in TASKS
    assert header.read.source
    assert len(reading.ids) == N == len(set(reading.ids.tolist()))
    assert reading.ids.dtype.kind in "UO"
    assert reading.labels is not None
    assert (len(reading.labels), reading.labels.dtype.kind) == (N, "i")
    assert np.bincount(reading.labels).tolist() == [4, 4, 4]
    for column in (reading.groups, reading.split):
        assert column is None or len(column) == N
    assert all(isinstance(note, str) for note in reading.notes)


def test_blocks_hold_every_row_once_from_any_start(example: tuple[str, Path]) -> None:
    name, path = example
    reading = parts.load("data/sources", name).read([path], ReadOptions())
    whole = pixels_of(reading)
    assert whole.shape == (N, *reading.header.shape)
    assert whole.dtype == np.dtype(reading.header.dtype)
    for start, size in ((0, 1), (0, 5), (7, 3), (N - 1, None), (2, 1000)):
        blocks = list(reading.blocks(start, size))
        assert [b.start for b in blocks] == list(range(start, N, size or N))[: len(blocks)]
        assert np.array_equal(np.concatenate([b.images for b in blocks]), whole[start:])
    assert list(reading.blocks(N)) == []


def test_reading_twice_gives_the_same_and_changes_nothing(example: tuple[str, Path]) -> None:
    name, path = example
    source = parts.load("data/sources", name)
    before = _tree(path.parent)
    first, second = source.read([path], ReadOptions()), source.read([path], ReadOptions())
    assert first.fingerprint
    assert first.fingerprint == second.fingerprint
    assert np.array_equal(pixels_of(first), pixels_of(second))
    assert first.ids.tolist() == second.ids.tolist()
    assert _tree(path.parent) == before


def _tree(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file())


def test_the_fingerprint_follows_the_files(example: tuple[str, Path]) -> None:
    name, path = example
    if name == "dataset":
        pytest.skip("a Dataset's fingerprint is its content hash, which does not follow the clock")
    source = parts.load("data/sources", name)
    before = source.read([path], ReadOptions()).fingerprint
    for file in [path] if path.is_file() else path.rglob("*"):
        os.utime(file, ns=(1, 1))
    assert source.read([path], ReadOptions()).fingerprint != before


def test_the_read_record_replays_the_same_pixels(example: tuple[str, Path]) -> None:
    """What a bundle keeps is enough to read new files as the training files were read."""
    name, path = example
    source = parts.load("data/sources", name)
    trained = source.read([path], ReadOptions())
    record = type(trained.header.read).from_json(trained.header.read.to_json())
    scored = source.read([path], ReadOptions(record=record, classes=trained.header.classes))
    assert np.array_equal(pixels_of(scored), pixels_of(trained))
    assert scored.header.classes == trained.header.classes
    assert np.array_equal(scored.labels, trained.labels)


def test_it_builds_into_a_dataset(example: tuple[str, Path], tmp_path: Path) -> None:
    _, path = example
    reading = open_reading([path])
    dataset = build([path], tmp_path / "built" / "set.h5")
    assert isinstance(dataset, Dataset)
    assert (dataset.n, dataset.classes, dataset.rejected) == (N, reading.header.classes, [])
    assert np.array_equal(np.asarray(dataset.images), pixels_of(reading))
    assert np.array_equal(dataset.labels, reading.labels)
    assert dataset.ids.tolist() == reading.ids.tolist()


def test_emptied_files_are_an_error_of_ours(example: tuple[str, Path]) -> None:
    """Files cut to nothing: refused or rejected with a reason, by no other exception."""
    name, path = example
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        file.write_bytes(b"")
    with pytest.raises(SourceError):
        open_reading([path], ReadOptions(as_=name))


# ------------------------------------------------------------------------------------------------ tables alone


def _catalogue() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(7)
    return {
        "objid": np.arange(N) + 1237648720000000001, "ra": draw.uniform(0, 360, N), "mag_g": draw.uniform(14, 20, N),
        "n": np.arange(N) % 5, "class": np.array(["x", "y", "z"])[np.arange(N) % 3],
    }  # fmt: skip


def _csv(folder: Path) -> Path:
    columns = _catalogue()
    rows = [",".join(map(str, row)) for row in zip(*(values.tolist() for values in columns.values()), strict=True)]
    (folder / "t.csv").write_text("\n".join([",".join(columns), *rows]) + "\n")
    return folder / "t.csv"


def _parquet(folder: Path) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(_catalogue()), folder / "t.parquet", row_group_size=5)
    return folder / "t.parquet"


def _astropy(ending: str, form: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        pytest.importorskip("astropy.table").Table(_catalogue()).write(folder / f"t.{ending}", format=form)
        return folder / f"t.{ending}"

    return write


def _records(folder: Path) -> Path:
    columns = _catalogue()
    rows = np.zeros(N, [(name, values.dtype) for name, values in columns.items()])
    for name, values in columns.items():
        rows[name] = values
    np.save(folder / "t.npy", rows)
    return folder / "t.npy"


def _table_dataset(folder: Path) -> Path:
    return build(_csv(folder), folder / "t.h5").path


#: The same catalogue in every format that is a Dataset without images, and the source that reads it.
CATALOGUES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "csv": ("table", _csv),
    "parquet": ("table", _parquet),
    "votable": ("table", _astropy("vot", "votable")),
    "fits": ("table", _astropy("fits", "fits")),
    "ecsv": ("table", _astropy("ecsv", "ascii.ecsv")),
    "npy": ("arrays", _records),
    "dataset": ("dataset", _table_dataset),
}


@pytest.fixture(params=CATALOGUES)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    source, write = CATALOGUES[request.param]
    return source, write(tmp_path)


def numbers_of(reading: Any, start: int = 0, size: int | None = None) -> np.ndarray:
    return np.concatenate([values for _, values, _ in reading.table_blocks(start, size)])


def test_one_source_claims_a_table(table: tuple[str, Path]) -> None:
    mine, path = table
    for name in SOURCES:
        reason = parts.load("data/sources", name).is_mine([path], ReadOptions())
        assert (reason is None) == (name == mine), f"{name}: {reason}"


def test_a_table_is_the_same_in_every_format(table: tuple[str, Path]) -> None:
    name, path = table
    reading, truth = parts.load("data/sources", name).read([path], ReadOptions()), _catalogue()
    header = reading.header
    assert not faults(header)
    assert (header.n, header.shape, header.task, header.classes) == (N, None, "classification", ("x", "y", "z"))
    assert (header.columns, header.roles) == (("ra", "mag_g", "n"), ("ignore", "feature", "feature"))
    assert header.read.source
    assert reading.ids.tolist() == [str(i) for i in truth["objid"].tolist()]
    assert reading.labels.tolist() == [i % 3 for i in range(N)]
    assert np.array_equal(numbers_of(reading), np.stack([truth[c] for c in header.columns], 1).astype(np.float64))
    assert list(reading.blocks()) == []


def test_table_blocks_hold_every_row_once_from_any_start(table: tuple[str, Path]) -> None:
    name, path = table
    reading = parts.load("data/sources", name).read([path], ReadOptions())
    whole = numbers_of(reading)
    for start, size in ((0, 1), (0, 5), (7, 3), (N - 1, None), (2, 1000)):
        blocks = list(reading.table_blocks(start, size))
        assert [first for first, _, _ in blocks] == list(range(start, N, size or N))[: len(blocks)]
        assert np.array_equal(np.concatenate([values for _, values, _ in blocks]), whole[start:])
        assert not any(rejected for _, _, rejected in blocks)
    assert list(reading.table_blocks(N)) == []
    assert np.array_equal(np.concatenate([v for _, v, _ in reading.table_blocks(0, 5, ["n", "ra"])]), whole[:, [2, 0]])


def test_a_table_builds_into_a_dataset(table: tuple[str, Path], tmp_path: Path) -> None:
    name, path = table
    before = _tree(path.parent)
    reading = parts.load("data/sources", name).read([path], ReadOptions())
    assert _tree(path.parent) == before
    dataset = build([path], tmp_path / "built" / "set.h5")
    assert (dataset.n, dataset.shape, dataset.header.roles) == (N, None, reading.header.roles)
    assert np.array_equal(dataset.table_rows(), numbers_of(reading))
    assert dataset.ids.tolist() == reading.ids.tolist()


def test_a_table_needs_no_label_when_it_is_scored(table: tuple[str, Path]) -> None:
    name, path = table
    source = parts.load("data/sources", name)
    trained = source.read([path], ReadOptions())
    record = type(trained.header.read).from_json(trained.header.read.to_json())
    scored = source.read([path], ReadOptions(record=record, classes=trained.header.classes))
    assert np.array_equal(numbers_of(scored), numbers_of(trained))
    assert scored.header.classes == trained.header.classes


def test_an_emptied_table_is_an_error_of_ours(table: tuple[str, Path]) -> None:
    name, path = table
    path.write_bytes(b"")
    with pytest.raises(SourceError):
        open_reading([path], ReadOptions(as_=name))
