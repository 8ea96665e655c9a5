"""The Dataset file: round trips, resumption, full disks, hostile files, the split in place."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import make, noise

from estampa.data import layout, splitfile
from estampa.data.columns import Columns
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord, row_digests, short_hashes, write_split
from estampa.errors import DatasetError, InputError, SourceError, StorageError


def header_for(images: np.ndarray, **given: Any) -> Header:
    facts = {"task": "classification", "classes": ("a", "b")} | given
    return Header(n=len(images), shape=images.shape[1:], dtype=str(images.dtype), **facts)


def writer_for(path: Path, images: np.ndarray, fingerprint: str = "f", **given: Any) -> DatasetWriter:
    ids = given.pop("ids", [f"row {i}" for i in range(len(images))])
    labels = given.pop("labels", np.arange(len(images)) % 2)
    header = given.pop("header", None) or header_for(images)
    return DatasetWriter(path, header, ids=ids, labels=labels, fingerprint=fingerprint, **given)


# ---------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (7, 5, 3, 2), (300, 21, 17, 3)])
def test_what_is_written_is_read(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    images = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    groups = np.array([f"drawer {i // 2}" for i in range(len(images))])
    split = np.arange(len(images)) % 4
    given = header_for(
        images, classes=("p_x", "ñandú 🐦"), display={"es": ("uno", "dos")}, units="adu", pixel_scale=0.25,
        channels=tuple(f"c{i}" for i in range(shape[3])), origin={"path": "here", "n": 3}, release="DR1", licence="CC0",
        read=ReadRecord(source="folder", mode="L", size=(21, 17), fit="pad", extra={"k": "v"}), published_split=True,
    )  # fmt: skip
    writer = writer_for(tmp_path / "a.h5", images, header=given, groups=groups, split=split)
    half = len(images) // 2
    if half:
        writer.write(0, images[:half])
    writer.write(half, images[half:])
    with writer.finish() as dataset:
        assert dataset.header == given
        assert dataset.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(dataset.images, images)
        np.testing.assert_array_equal(dataset.labels, np.arange(len(images)) % 2)
        np.testing.assert_array_equal(dataset.groups, groups)
        np.testing.assert_array_equal(dataset.split, split)
        assert dataset.ids.tolist() == [f"row {i}" for i in range(len(images))]
        np.testing.assert_array_equal(dataset.hashes, short_hashes(row_digests(images)))
        np.testing.assert_array_equal(np.concatenate([b for _, b in dataset.blocks(size=4)]), images)
        assert dataset.rows("test").tolist() == np.flatnonzero(split == 3).tolist()
        assert dataset.labelled().all()
        assert dataset.summary()["split"] == "published"
        assert "a.h5" in repr(dataset)
        assert "ñandú" in dataset._repr_html_()
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_any_hdf5_tool_reads_it(tmp_path: Path) -> None:
    images = noise(50)
    make(tmp_path / "a.h5", images, np.arange(50) % 3, groups=np.repeat(["g", "ü"], 25))
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["images"][...], images)
        assert file["ids"].asstr()[3] == "object 3"
        assert file["groups"].asstr()[49] == "ü"
        assert json.loads(file.attrs["classes"]) == ["a", "b", "c"]
        assert file.attrs["format"] == 1
        assert file["images"].id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS


def test_pixels_of_all_but_tiny_files_are_aligned(tmp_path: Path) -> None:
    make(tmp_path / "a.h5", noise(1000), None)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["images"].id.get_offset() == layout.IMAGES_AT


def test_a_table_alone_and_beside_images(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(9, 4))
    names = ("u", "g", "r", "i")
    alone = Header(n=9, shape=None, dtype="", task="regression", columns=names)
    writer = DatasetWriter(
        tmp_path / "t.h5", alone, ids=map(str, range(9)), labels=np.linspace(0, 1, 9), fingerprint=""
    )
    writer.put_table(table)
    writer.exclude(np.arange(9) == 2)
    dataset = writer.finish()
    np.testing.assert_array_equal(dataset.table, np.delete(table, 2, 0))
    assert dataset.images is None
    assert dataset.shape is None
    assert dataset.labels.dtype == np.float64
    with pytest.raises(DatasetError, match="no images"):
        next(dataset.blocks())

    images = noise(9)
    writer = writer_for(tmp_path / "both.h5", images, header=header_for(images, columns=names))
    writer.put_table(table.astype(np.float32))
    writer.write(0, images, {4: "torn"})
    dataset = writer.finish()
    np.testing.assert_array_equal(dataset.table, np.delete(table, 4, 0).astype(np.float32))
    np.testing.assert_array_equal(dataset.hashes, np.delete(short_hashes(row_digests(images)), 4))


def test_a_stamp_is_the_same_object_with_and_without_its_columns(tmp_path: Path) -> None:
    images, table = noise(9), np.arange(18.0).reshape(9, 2)
    bare = make(tmp_path / "bare.h5", images, np.arange(9) % 2)
    sets = []
    for name, values in (("one", table), ("same", table), ("other", table + 1)):
        writer = writer_for(tmp_path / f"{name}.h5", images, header=header_for(images, columns=("snr", "mag")))
        writer.put_table(values)
        writer.write(0, images)
        sets.append(writer.finish())
    assert all((s.hashes == bare.hashes).all() for s in sets)
    assert sets[0].content_sha256 == sets[1].content_sha256
    assert len({s.content_sha256 for s in [bare, *sets]}) == 3, "what a Dataset contains includes its table"
    writer = writer_for(tmp_path / "less.h5", images, header=header_for(images, columns=("snr", "mag")))
    writer.put_table(table)
    writer.exclude(np.zeros(9, bool), bare.hashes[[2, 5]].tolist())
    writer.write(0, images)
    np.testing.assert_array_equal(writer.finish().table, np.delete(table, [2, 5], 0))


def test_a_column_by_its_name(tmp_path: Path) -> None:
    table = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    header = Header(n=5, shape=None, dtype="", task="unlabelled", columns=("snr", "magnitude"))
    writer = DatasetWriter(tmp_path / "t.h5", header, ids=map(str, range(5)), labels=None, fingerprint="t")
    writer.put_table(table)
    dataset = writer.finish()
    assert dataset.column("magnitude").dtype == np.float64
    np.testing.assert_array_equal(dataset.column("magnitude"), table[:, 1])
    with pytest.raises(DatasetError, match=r"no column 'snrr'.*snr, magnitude.*Did you mean 'snr'"):
        dataset.column("snrr")


def test_rejected_rows_are_left_out_and_named(tmp_path: Path) -> None:
    images = noise(400, side=28)
    writer = writer_for(tmp_path / "a.h5", images)
    writer.write(0, images[:150], {3: "truncated", 149: "not a picture"})
    writer.write(150, images[150:], {})
    dataset = writer.finish()
    keep = np.delete(np.arange(400), [3, 149])
    assert dataset.rejected == [("row 3", "truncated"), ("row 149", "not a picture")]
    assert dataset.rejected_rows == [3, 149]
    np.testing.assert_array_equal(dataset.images, images[keep])
    np.testing.assert_array_equal(dataset.labels, keep % 2)
    clean = writer_for(tmp_path / "b.h5", images[keep], ids=[f"row {i}" for i in keep], labels=keep % 2)
    clean.write(0, images[keep])
    assert clean.finish().content_sha256 == dataset.content_sha256


def test_excluded_by_row_and_by_content(tmp_path: Path) -> None:
    images = noise(60)
    writer = writer_for(tmp_path / "a.h5", images)
    writer.exclude(np.arange(60) == 7, short_hashes(row_digests(images[[9, 11]])).tolist())
    writer.write(0, images)
    dataset = writer.finish()
    assert dataset.n == 57
    assert dataset.rejected == []
    assert not {"row 7", "row 9", "row 11"} & set(dataset.ids.tolist())


def test_content_hash_sees_pixels_labels_and_ids_but_not_the_split(tmp_path: Path) -> None:
    images, labels = noise(20), np.arange(20) % 2
    first = make(tmp_path / "a.h5", images, labels)
    before = first.content_sha256
    write_split(first.path, np.ones(20, int), {"seed": 1})
    assert Dataset.open(first.path).content_sha256 == before
    other = images.copy()
    other[7, 0, 0, 0] ^= 1
    assert make(tmp_path / "b.h5", other, labels).content_sha256 != before
    assert make(tmp_path / "c.h5", images, 1 - labels).content_sha256 != before
    assert make(tmp_path / "d.h5", images, labels, ids=[f"x{i}" for i in range(20)]).content_sha256 != before
    assert make(tmp_path / "e.h5", images, labels).content_sha256 == before


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40))
def test_equal_rows_have_equal_hashes(kinds: list[int]) -> None:
    images = noise(3)[kinds]
    hashes = short_hashes(row_digests(images))
    assert [[a == b for b in kinds] for a in kinds] == [[bool(a == b) for b in hashes] for a in hashes]


@given(
    st.builds(
        ReadRecord,
        source=st.text(),
        mode=st.sampled_from(["", "L", "RGB"]),
        size=st.none() | st.tuples(st.integers(1, 999), st.integers(1, 999)),
        exif=st.booleans(),
        reshape=st.none() | st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
        extra=st.dictionaries(st.text(), st.text(), max_size=3),
    )
)
def test_read_record_survives_json(record: ReadRecord) -> None:
    assert ReadRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize(
    "odd", [{"size": "12"}, {"size": [1]}, {"size": [1, True]}, {"exif": 1}, {"extra": {"a": 1}}, {"what": 1}, []]
)
def test_odd_read_records_are_refused(odd: Any) -> None:
    with pytest.raises(ValueError):
        ReadRecord.from_json({"source": "x", **odd} if isinstance(odd, dict) else odd)


# ---------------------------------------------------------------------------------------------- columns refused


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ids": ["a", "b", "a"]}, "two rows have the id 'a'. Got: rows 0 and 2"),
        ({"ids": ["a", "", "c"]}, "an id is empty"),
        ({"ids": ["a", "b\0", "c"]}, "cannot be stored"),
        ({"ids": ["a", "b\udcff", "c"]}, "not valid Unicode"),
        ({"ids": ["a", "b"]}, "ids do not fit the rows. Allowed: 3. Got: 2"),
        ({"labels": [0, 1]}, "labels do not fit the rows"),
        ({"labels": [0, 2, 1]}, "label is out of range. Allowed: 0 to 1 for 2 classes, -1 for unlabelled. Got: 2"),
        ({"labels": [0, -2, 1]}, "label is out of range"),
        ({"labels": [0.5, 1, 1]}, "not whole numbers"),
        ({"labels": [np.nan, 1, 1]}, "not whole numbers"),
        ({"groups": ["a"]}, "groups do not fit the rows"),
        ({"split": [0, 1, 4]}, "a split is 3 numbers"),
        ({"header": Header(n=0, shape=(2, 2, 1), dtype="uint8", task="unlabelled")}, "holds no rows"),
        ({"header": Header(n=3, shape=(2, 2, 1), dtype="int32", task="unlabelled")}, "pixels of type 'int32'"),
        ({"header": Header(n=3, shape=None, dtype="", task="unlabelled")}, "neither images nor a table"),
        ({"header": Header(n=3, shape=(2, 2, 1), dtype="uint8", task="classification")}, "no classes"),
        (
            {"header": Header(n=3, shape=(2, 2, 1), dtype="uint8", task="classification", classes=("a", "a"))},
            "two classes have the same name",
        ),
        (
            {"header": Header(n=3, shape=(2, 2, 1), dtype="uint8", task="regression"), "labels": [1, 2, np.inf]},
            "the label is infinite",
        ),
        ({"header": Header(n=3, shape=(2, 2, 1), dtype="uint8", task="unlabelled", channels=("r", "g"))}, "2 channel"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    for name in ("labels", "groups", "split"):
        if name in given:
            given[name] = np.array(given[name])
    with pytest.raises(SourceError) as caught:
        writer_for(tmp_path / "a.h5", noise(3), **given)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    images = noise(4)
    writer = writer_for(tmp_path / "a.h5", images)
    with pytest.raises(SourceError, match="not what their header says"):
        writer.write(0, images[:, :3])
    with pytest.raises(SourceError, match="not what their header says"):
        writer.write(0, images.astype(np.uint16))
    with pytest.raises(ValueError, match="where row 0 of 4 is due"):
        writer.write(1, images[1:])
    writer.write(0, images[:2])
    with pytest.raises(SourceError, match="only 2 of 4 announced rows came"):
        writer.finish()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_all_rows_rejected_leaves_no_file(tmp_path: Path) -> None:
    writer = writer_for(tmp_path / "a.h5", noise(2))
    writer.write(0, noise(2), {0: "torn", 1: "empty"})
    with pytest.raises(SourceError, match=r"no row is left.*row 0: torn; row 1: empty"):
        writer.finish()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- resume


def test_an_unfinished_file_is_continued_and_never_looks_whole(tmp_path: Path) -> None:
    images = noise(500)
    writer = writer_for(tmp_path / "a.h5", images)
    writer.write(0, images[:100], {5: "bad"})
    writer.write(100, images[100:300])
    writer.pause()
    assert not (tmp_path / "a.h5").exists()
    with pytest.raises(DatasetError):
        Dataset.open(tmp_path / "a.h5.part")
    again = writer_for(tmp_path / "a.h5", images)
    assert again.done == 300
    assert again.kept == 299
    again.write(300, images[300:])
    dataset = again.finish()
    np.testing.assert_array_equal(dataset.images, np.delete(images, 5, 0))
    assert dataset.rejected == [("row 5", "bad")]
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def start_of(tmp_path: Path) -> np.ndarray:
    images = noise(300, side=24)
    writer = writer_for(tmp_path / "a.h5", images)
    for start in (0, 100, 200):
        writer.write(start, images[start : start + 100])
    writer.pause()
    return images


def test_another_fingerprint_starts_clean(tmp_path: Path) -> None:
    images = start_of(tmp_path)
    writer = writer_for(tmp_path / "a.h5", images, fingerprint="other")
    assert writer.done == 0
    writer.abort()


def test_pixels_that_do_not_match_the_journal_are_written_again(tmp_path: Path) -> None:
    images = start_of(tmp_path)
    with (tmp_path / "a.h5.part").open("r+b") as stream:
        stream.seek(layout.IMAGES_AT + 150 * 576)
        stream.write(b"\xff\x00\xff")
    writer = writer_for(tmp_path / "a.h5", images)
    assert writer.done == 100
    writer.write(100, images[100:])
    np.testing.assert_array_equal(writer.finish().images, images)


@pytest.mark.parametrize("tail", ['{"start": 300, "ro', "garbage", '{"start": 300}', "[]", '"x"', "\udcff"])
def test_a_torn_journal_is_believed_up_to_the_tear(tmp_path: Path, tail: str) -> None:
    images = start_of(tmp_path)
    with (tmp_path / "a.h5.journal").open("a", errors="surrogateescape") as stream:
        stream.write(tail)
    writer = writer_for(tmp_path / "a.h5", images)
    assert writer.done == 300
    np.testing.assert_array_equal(writer.finish().images, images)


def test_a_part_file_cut_short_is_believed_up_to_the_cut(tmp_path: Path) -> None:
    images = start_of(tmp_path)
    os.truncate(tmp_path / "a.h5.part", layout.IMAGES_AT + 250 * 576)
    writer = writer_for(tmp_path / "a.h5", images)
    assert writer.done == 200
    writer.abort()


def test_a_kill_while_the_file_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = start_of(tmp_path)
    writer = writer_for(tmp_path / "a.h5", images)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            writer.finish()
    writer.pause()
    assert not (tmp_path / "a.h5").exists()
    again = writer_for(tmp_path / "a.h5", images)
    assert again.done == 300
    np.testing.assert_array_equal(again.finish().images, images)
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_two_writers_of_one_file_are_refused(tmp_path: Path) -> None:
    writer = writer_for(tmp_path / "a.h5", noise(3))
    with pytest.raises(InputError, match="being written by another process"):
        writer_for(tmp_path / "a.h5", noise(3))
    writer.write(0, noise(3))
    writer.finish()


# ---------------------------------------------------------------------------------------------- full disks


def test_a_full_disk_is_an_error_and_the_work_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(300)
    writer = writer_for(tmp_path / "a.h5", images)
    writer.write(0, images[:100])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="the disk is full"):
            writer.write(100, images[100:])
    writer.pause()
    again = writer_for(tmp_path / "a.h5", images)
    assert again.done == 100
    again.write(100, images[100:])
    np.testing.assert_array_equal(again.finish().images, images)


def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, pwrite = noise(300), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:1000], at))
    writer = writer_for(tmp_path / "a.h5", images)
    writer.write(0, images)
    np.testing.assert_array_equal(writer.finish().images, images)


def test_a_disk_too_small_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(100, 90, 10))
    with pytest.raises(StorageError, match=r"too small.*0\.4 MB are needed.*0\.0 MB are free"):
        writer_for(tmp_path / "a.h5", noise(3000))


def test_a_file_size_limit_ends_in_an_error_not_a_crash(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\nfrom making import make, noise\nfrom estampa.errors import StorageError\n"
        "try:\n    make(Path(sys.argv[1]), noise(3000), None)\n"
        "except StorageError as error:\n    print(error)\n"
    )
    limit = (1 << 17, 1 << 17)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "a.h5"), str(Path(__file__).parent)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "the disk is full" in ended.stdout
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            writer_for(tmp_path / "a.h5", noise(3))
    finally:
        tmp_path.chmod(0o700)


# ---------------------------------------------------------------------------------------------- opening


def test_twenty_gigabytes_open_in_milliseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 26_000_000
    given = Header(n=n, shape=(28, 28, 1), dtype="uint8", task="unlabelled")
    stretched = {
        "ids": np.array([b"x"]), "labels": np.array([-1]), "split": np.zeros(1, np.uint8), "hashes": np.zeros(1, "<u8")
    }  # fmt: skip
    columns = {name: np.broadcast_to(one, n) for name, one in stretched.items()}
    create = h5py.File.create_dataset
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)

    def sparse(file: h5py.File, name: str, data: np.ndarray) -> Any:
        if name == "split_record":
            return create(file, name, data=data)
        space = h5py.h5s.create_simple((n,))
        return h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(data.dtype), space, plan)

    monkeypatch.setattr(h5py.File, "create_dataset", sparse)
    monkeypatch.setattr(layout, "_text_column", sparse)
    hashes = columns.pop("hashes")
    layout.write_skeleton(
        tmp_path / "big.h5", given, Columns(**columns), hashes=hashes, table=None, facts={"content_sha256": "0" * 64}
    )
    assert (tmp_path / "big.h5").stat().st_size > 20e9
    began = time.perf_counter()
    dataset = Dataset.open(tmp_path / "big.h5")
    images = dataset.images
    seconds = time.perf_counter() - began
    assert images is not None
    assert images.shape == (n, 28, 28, 1)
    assert int(images[n - 1].sum()) == 0
    assert seconds < 0.1


def test_scattered_rows_and_backward_rows(tmp_path: Path) -> None:
    images = noise(200)
    dataset = make(tmp_path / "a.h5", images, None)
    rows = np.random.default_rng(0).permutation(200)
    np.testing.assert_array_equal(np.concatenate([b for _, b in dataset.blocks(rows, size=30)]), images[rows])
    np.testing.assert_array_equal(dataset.take(np.array([5, 4, 3])), images[[5, 4, 3]])
    assert dataset.take(np.array([], int)).shape == (0, 12, 12, 1)
    with pytest.raises(IndexError):
        dataset.take(np.array([199, 200]))
    with pytest.raises(DatasetError, match="no part 'tset'"):
        dataset.rows("tset")


# ---------------------------------------------------------------------------------------------- hostile files


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make(tmp_path / "good.h5", noise(100, side=28), np.arange(100) % 2, groups=np.arange(100)).path


def edit(path: Path, change: Any) -> None:
    with h5py.File(path, "r+") as file:
        change(file)


def replace_with(name: str, **given: Any) -> Any:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **given)

    return change


def external_link(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft_link(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = h5py.SoftLink("/hashes")


def external_storage(file: h5py.File) -> None:
    del file["images"]
    file.create_dataset("images", (100, 28, 28, 1), "u1", external=[("/etc/passwd", 0, 78400)])


def virtual(file: h5py.File) -> None:
    del file["images"]
    plan = h5py.VirtualLayout((100, 28, 28, 1), "u1")
    plan[:] = h5py.VirtualSource("other.h5", "x", (100, 28, 28, 1))
    file.create_virtual_dataset("images", plan)


HOSTILE = {
    "external link": (external_link, "points to another place"),
    "soft link": (soft_link, "points to another place"),
    "external storage": (external_storage, "not stored contiguously in this file"),
    "virtual": (virtual, "not stored contiguously in this file"),
    "chunked": (replace_with("images", data=noise(100, side=28), chunks=(10, 28, 28, 1)), "not stored contiguously"),
    "wrong dtype": (replace_with("images", data=noise(100, side=28).astype("f8")), "not what its header says"),
    "big-endian": (replace_with("labels", data=np.zeros(100, ">i8")), "not what its header says"),
    "wrong shape": (replace_with("images", data=noise(99, side=28)), "not what its header says"),
    "object dtype": (
        replace_with("ids", data=[f"x{i}" for i in range(100)], dtype=h5py.string_dtype()),
        "not what its header says",
    ),
    "never allocated": (replace_with("images", shape=(100, 28, 28, 1), dtype="u1"), "truncated"),
    "a group": (lambda f: (f.pop("images"), f.create_group("images")), "not an array"),
    "missing": (lambda f: f.pop("images"), "lacks 'images'"),
    "newer": (lambda f: f.attrs.modify("format", 99), "newer estampa. Allowed: format 1. Got: 99"),
    "format text": (lambda f: f.attrs.create("format", "one"), "damaged"),
    "format array": (lambda f: f.attrs.create("format", np.zeros(1000)), "damaged"),
    "no task": (lambda f: f.attrs.pop("task"), "not a Dataset of estampa"),
    "task unknown": (lambda f: f.attrs.create("task", "magic"), "contradicts itself"),
    "classes not JSON": (lambda f: f.attrs.create("classes", "{"), "damaged"),
    "classes a number": (lambda f: f.attrs.create("classes", "7"), "damaged"),
    "huge count": (lambda f: f.attrs.modify("n", 2**62), "not what its header says"),
    "negative shape": (lambda f: f.attrs.create("shape", "[-1, 28, 1]"), "contradicts itself"),
    "odd read record": (lambda f: f.attrs.create("read", '{"run": "rm"}'), "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(good: Path, name: str) -> None:
    change, message = HOSTILE[name]
    edit(good, change)
    with pytest.raises(DatasetError) as caught:
        Dataset.open(good)
    assert message in str(caught.value)
    assert str(good) in str(caught.value)


def test_truncated_files_are_refused(good: Path) -> None:
    whole = good.stat().st_size
    for size in (whole - 1, whole // 2, 100_000, 3000, 100, 8, 0):
        os.truncate(good, size)
        with pytest.raises(DatasetError, match=r"truncated|not a readable HDF5"):
            Dataset.open(good)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("hello")
    with pytest.raises(DatasetError, match="not a readable HDF5 file"):
        Dataset.open(tmp_path / "text.h5")
    with pytest.raises(DatasetError, match="no such file"):
        Dataset.open(tmp_path / "nothing.h5")
    with pytest.raises(DatasetError, match="is not a file"):
        Dataset.open(tmp_path)
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(DatasetError, match="not a Dataset of estampa"):
        Dataset.open(tmp_path / "foreign.h5")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=8))
def test_damaged_structures_never_crash(tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("d") / "a.h5"
    content = bytearray(make(path, noise(20), np.arange(20) % 2).path.read_bytes())
    content[at : at + len(junk)] = junk
    path.write_bytes(content)
    with contextlib.suppress(DatasetError):
        assert Dataset.open(path).n == 20


def test_a_file_that_shrinks_under_us_is_an_error(good: Path) -> None:
    dataset = Dataset.open(good)
    os.truncate(good, 70_000)
    with pytest.raises(DatasetError, match="shorter than when it was opened"):
        list(dataset.blocks())
    os.truncate(good, 10)
    with pytest.raises(DatasetError, match="shorter than when it was opened"):
        _ = dataset.labels


# ---------------------------------------------------------------------------------------------- the split


def test_the_split_is_stored_in_place(good: Path) -> None:
    split = np.arange(100) % 4
    before = good.stat()
    write_split(good, split, {"seed": 3, "test": 0.2})
    dataset = Dataset.open(good)
    np.testing.assert_array_equal(dataset.split, split)
    assert dataset.split_record == {"seed": 3, "test": 0.2}
    assert dataset.summary()["split"] == "made"
    assert good.stat().st_ino == before.st_ino
    assert good.stat().st_size == before.st_size
    write_split(good, np.zeros(100, np.uint8), {"seed": 4})
    assert Dataset.open(good).split_record == {"seed": 4}
    assert [p.name for p in good.parent.iterdir()] == ["good.h5"]


@pytest.mark.parametrize("split", [np.zeros(99, int), np.full(100, 4), np.full(100, -1), np.zeros(100)])
def test_odd_splits_are_refused(good: Path, split: np.ndarray) -> None:
    with pytest.raises(DatasetError, match="the split does not fit"):
        write_split(good, split, {})


def test_a_published_split_is_ours_once_we_change_it(tmp_path: Path) -> None:
    dataset = make(tmp_path / "a.h5", noise(4), np.arange(4) % 2, split=np.arange(4), published_split=True)
    assert dataset.header.published_split
    write_split(dataset.path, np.ones(4, int), {"seed": 0})
    assert not Dataset.open(dataset.path).header.published_split


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_kill_while_the_split_is_stored(good: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the wish is written down, a crash at any point leaves the new split readable."""
    old, new = np.arange(100) % 2 + 1, np.arange(100) % 3 + 1
    write_split(good, old, {"seed": 1})
    calls, pwrite = [0], os.pwrite

    def dying(file: int, data: bytes, at: int) -> int:
        calls[0] += 1
        if calls[0] > step:
            raise KeyboardInterrupt
        return pwrite(file, data, at)

    with monkeypatch.context() as patch:
        patch.setattr(splitfile.os, "pwrite", dying)
        patch.setattr(splitfile.os, "fsync", lambda _: None)
        if step < 2:
            with pytest.raises(KeyboardInterrupt):
                write_split(good, new, {"seed": 2})
        else:
            write_split(good, new, {"seed": 2})
    dataset = Dataset.open(good)
    np.testing.assert_array_equal(dataset.split, new)
    assert dataset.split_record["seed"] == 2
    if step == 1:  # moved away without its companion: the tear is seen
        (good.parent / "good.h5.split").unlink()
        with pytest.raises(DatasetError, match="interrupted while it was stored"):
            _ = Dataset.open(good).split
        write_split(good, new, {"seed": 2})
        np.testing.assert_array_equal(Dataset.open(good).split, new)
