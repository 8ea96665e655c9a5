"""Source arrays: .npy and .npz."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.record import ReadRecord
from estampa.data.sources import arrays
from estampa.data.sources._arrayfiles import ArrayFile
from estampa.errors import SourceError

N = 7


def pixels_of(reading: Any) -> np.ndarray:
    return np.concatenate([b.images for b in reading.blocks(size=3)])


def npz(path: Path, **given: Any) -> Path:
    np.savez_compressed(path, **given)
    return path


@pytest.fixture
def nhwc() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N, 21, 21, 3)).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_way_numpy_stores_gives_the_same_rows(tmp_path: Path, nhwc: np.ndarray, save: Any, order: str) -> None:
    save(tmp_path / "a.npz", images=np.array(nhwc, order=order), label=np.arange(N))
    np.save(tmp_path / "a.npy", np.array(nhwc, order=order))
    for path in (tmp_path / "a.npz", tmp_path / "a.npy"):
        reading = arrays.read([path], ReadOptions())
        assert np.array_equal(pixels_of(reading), nhwc)
        later = list(reading.blocks(start=4, size=2))
        assert [b.start for b in later] == [4, 6]
        assert np.array_equal(later[0].images, nhwc[4:6])


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((N, 3, 21, 21), "NCHW"),
        ((N, 21, 21, 4), "NHWC"),
        ((N, 1, 28, 20), "NCHW"),
        ((N, 10, 12, 3), "NHWC"),
        ((N, 8, 8, 6), "NHWC"),
        ((N, 6, 8, 8), "NCHW"),
    ],
)
def test_layout_is_told_by_the_small_axis(tmp_path: Path, shape: tuple[int, ...], layout: str) -> None:
    images = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    reading = arrays.read([npz(tmp_path / "a.npz", x=images)], ReadOptions())
    assert reading.header.read.layout == layout
    expected = images.transpose(0, 2, 3, 1) if layout == "NCHW" else images
    assert reading.header.shape == expected.shape[1:]
    assert np.array_equal(pixels_of(reading), expected)


@pytest.mark.parametrize("shape", [(N, 21, 21, 21), (N, 30, 20, 25), (N, 3, 20, 3)])
def test_an_ambiguous_layout_is_refused_with_the_cure(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = npz(tmp_path / "a.npz", images=np.zeros(shape, np.uint8))
    with pytest.raises(SourceError, match="--layout NCHW"):
        arrays.read([path], ReadOptions())
    assert arrays.read([path], ReadOptions(layout="NHWC")).header.shape == shape[1:]
    assert arrays.read([path], ReadOptions(layout="NCHW")).header.shape == (shape[2], shape[3], shape[1])
    with pytest.raises(SourceError, match="unknown layout"):
        arrays.read([path], ReadOptions(layout="CHWN"))


def test_four_flattened_arrays_become_four_channels(tmp_path: Path) -> None:
    """The HiTS layout: one (n, 441) array per image kind."""
    kinds = {
        k: np.random.default_rng(i).normal(size=(N, 441)) for i, k in enumerate(("science", "template", "diff", "snr"))
    }
    paths = []
    for kind, values in kinds.items():
        np.save(tmp_path / f"{kind}.npy", values)
        paths.append(tmp_path / f"{kind}.npy")
    np.save(tmp_path / "labels.npy", np.arange(N) % 2)
    paths.append(tmp_path / "labels.npy")
    with pytest.raises(SourceError, match="--reshape 21x21"):
        arrays.read(paths, ReadOptions())
    reading = arrays.read(paths, ReadOptions(reshape=(21, 21, 1)))
    assert reading.header.shape == (21, 21, 4)
    assert reading.header.channels == tuple(kinds)
    assert reading.header.classes == ("0", "1")
    found = pixels_of(reading)
    for channel, values in enumerate(kinds.values()):
        assert np.array_equal(found[..., channel], values.reshape(N, 21, 21).astype(np.float32))
    assert reading.header.read.extra["dtype"] == "float32"
    with pytest.raises(SourceError, match="rows of 441 values"):
        arrays.read(paths, ReadOptions(reshape=(20, 21, 1)))


def test_channels_of_one_npz_by_name(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", red=np.zeros((N, 5, 6)), infrared=np.ones((N, 5, 6)), y=np.zeros(N))
    reading = arrays.read([path], ReadOptions())
    assert reading.header.channels == ("red", "infrared")
    assert reading.header.shape == (5, 6, 2)


def test_keys_of_an_npz(tmp_path: Path, nhwc: np.ndarray) -> None:
    path = npz(
        tmp_path / "a.npz",
        X=nhwc,
        Y=np.array([0, 1, -1, 0, 1, 1, 0]),
        ids=np.array([f"ñandú{i}" for i in range(N)]),
        drawer=np.array(list("aabbccc")),
        classes=np.array(["bogus", "real"]),
        channels=np.array(["g", "r", "i"]),
        units="ADU",
        pixel_scale=0.27,
    )
    reading = arrays.read([path], ReadOptions())
    header = reading.header
    assert (header.n, header.shape, header.dtype, header.task) == (N, (21, 21, 3), "float32", "classification")
    assert (header.classes, header.channels, header.units) == (("bogus", "real"), ("g", "r", "i"), "ADU")
    assert header.pixel_scale == 0.27
    assert reading.labels is not None
    assert reading.labels.tolist() == [0, 1, -1, 0, 1, 1, 0]
    assert reading.ids[0] == "ñandú0"
    assert reading.groups is not None
    assert reading.groups.tolist() == list("aabbccc")


@pytest.mark.parametrize(
    ("labels", "classes", "task", "expected"),
    [
        (np.array(list("baabbba")), ("a", "b"), "classification", [1, 0, 0, 1, 1, 1, 0]),
        (np.array([5, 3, 3, 5, 5, 5, -1]), ("3", "5"), "classification", [1, 0, 0, 1, 1, 1, -1]),
        (np.array([1.0, 0, np.nan, 1, 1, 0, 0]), ("0", "1"), "classification", [1, 0, -1, 1, 1, 0, 0]),
        (np.array([1.5, 0, np.nan, 1, 1, 0, 0]), (), "regression", [1.5, 0, np.nan, 1, 1, 0, 0]),
        (np.eye(3, dtype=int)[[0, 1, 2, 0, 1, 2, 2]], ("0", "1", "2"), "classification", [0, 1, 2, 0, 1, 2, 2]),
        (np.full(N, -1), (), "unlabelled", None),
        (
            np.array(["p_x", "id", "", "?", "id", "p_x", "p_x"]),
            ("id", "p_x"),
            "classification",
            [1, 0, -1, -1, 0, 1, 1],
        ),
        (np.array([True, False] * 3 + [True]), ("0", "1"), "classification", [1, 0, 1, 0, 1, 0, 1]),
    ],
)
def test_labels(tmp_path: Path, nhwc: np.ndarray, labels: Any, classes: Any, task: str, expected: Any) -> None:
    reading = arrays.read([npz(tmp_path / "a.npz", images=nhwc, label=labels)], ReadOptions())
    assert (reading.header.classes, reading.header.task) == (classes, task)
    if expected is None:
        assert reading.labels is None
    else:
        assert np.array_equal(reading.labels, expected, equal_nan=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": np.array([0, 1, 2, 0, 1, 2, 9]), "classes": np.array(["a", "b", "c"])}, "out of range.*9 in row 6"),
        ({"label": np.array([0, 1, -2, 0, 1, 2, 1])}, "out of range.*-2 in row 2"),
        ({"label": np.array(list("abcabcx")), "classes": np.array(list("abc"))}, "unknown class 'x'"),
        ({"label": np.zeros(N - 1)}, "different numbers of rows"),
        ({"label": np.zeros((N, 2))}, "not one a row"),
        ({"label": np.array([0, 1, np.inf, 0, 1, 2, 1])}, "infinite"),
        ({"ids": np.array(list("abcdefa"))}, "'a' stands 2 times or more.*rows 0, 6"),
        ({"ids": np.array(["", *"bcdefg"])}, "an id is empty"),
        ({"drawer": np.array(list("abc"))}, "different numbers of rows"),
        ({"drawer": np.zeros(N)}, "groups are not one text"),
    ],
)
def test_labels_ids_and_groups_that_do_not_fit(tmp_path: Path, nhwc: np.ndarray, given: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        arrays.read([npz(tmp_path / "a.npz", images=nhwc, **given)], ReadOptions())


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    images = np.empty(2, object)
    images[:] = Trap()
    np.save(tmp_path / "a.npy", images, allow_pickle=True)
    with pytest.raises(SourceError, match="Python objects"):
        arrays.read([tmp_path / "a.npy"], ReadOptions())
    np.savez(tmp_path / "a.npz", images=np.zeros((2, 5, 5)), label=images)
    with pytest.raises(SourceError, match="Python objects"):
        arrays.read([tmp_path / "a.npz"], ReadOptions())
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("keep", [0, 40, 100, 400, 2000])
def test_truncated_files_are_named(tmp_path: Path, nhwc: np.ndarray, keep: int) -> None:
    np.save(tmp_path / "a.npy", nhwc)
    np.savez(tmp_path / "a.npz", images=nhwc)
    for name in ("a.npy", "a.npz"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:keep])
        with pytest.raises(SourceError, match=f"{name}.*(truncated|not an)"):
            arrays.read([tmp_path / name], ReadOptions())


def test_a_packed_array_that_is_damaged_inside_is_named(tmp_path: Path, nhwc: np.ndarray) -> None:
    path = npz(tmp_path / "a.npz", images=nhwc)
    raw = bytearray(path.read_bytes())
    raw[3000:3100] = bytes(100)
    path.write_bytes(raw)
    with pytest.raises(SourceError, match="damaged or truncated"):
        pixels_of(arrays.read([path], ReadOptions()))


def test_a_packed_array_shorter_than_its_header_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": (99, 50, 50), "fortran_order": False, "descr": "<f4"})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", stream.getvalue() + bytes(100))
    with pytest.raises(SourceError, match="fewer values than its header says"):
        arrays.read([tmp_path / "a.npz"], ReadOptions())


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((0, 5, 5), "no rows"),
        ((9,), "an array of shape"),
        ((3, 2, 2, 2, 2), "an array of shape"),
        ((), "no rows"),
    ],
)
def test_odd_shapes(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(SourceError, match=message):
        arrays.read([tmp_path / "a.npy"], ReadOptions())


def test_nan_is_kept_and_infinity_is_rejected_by_row(tmp_path: Path, nhwc: np.ndarray) -> None:
    nhwc[2, 3, 4, 0] = np.nan
    nhwc[4, 0, 0, :2] = np.inf
    reading = arrays.read([npz(tmp_path / "a.npz", images=nhwc)], ReadOptions())
    rejected = {row: why for b in reading.blocks(size=3) for row, why in b.rejected.items()}
    assert rejected == {4: "2 infinite pixels"}
    found = pixels_of(reading)
    assert np.isnan(found[2, 3, 4, 0])
    assert (found[4] == 0).all()
    with pytest.raises(SourceError, match="4: 2 infinite pixels"):
        build([tmp_path / "a.npz"], tmp_path / "a.h5")
    assert build([tmp_path / "a.npz"], tmp_path / "a.h5", skip_bad=True).n == N - 1


def test_values_beyond_float32_are_rejected_not_made_infinite(tmp_path: Path) -> None:
    images = np.ones((3, 5, 5))
    images[1, 0, 0] = 1e300
    (block,) = arrays.read([npz(tmp_path / "a.npz", images=images)], ReadOptions()).blocks()
    assert block.rejected == {1: "values beyond the range of float32"}


def test_a_conversion_is_said_and_replayed(tmp_path: Path) -> None:
    trained = arrays.read([npz(tmp_path / "a.npz", images=np.full((3, 5, 5), 1000))], ReadOptions())
    assert trained.header.dtype == "uint16"
    assert "uint16" in trained.notes[0]
    scored = npz(tmp_path / "b.npz", images=np.full((3, 5, 5), 7))
    assert arrays.read([scored], ReadOptions()).header.dtype == "uint8"
    assert arrays.read([scored], ReadOptions(record=trained.header.read)).header.dtype == "uint16"
    beyond = npz(tmp_path / "c.npz", images=np.full((3, 5, 5), 70000))
    assert arrays.read([beyond], ReadOptions(record=trained.header.read)).header.dtype == "float32"


def test_replay_needs_no_labels_and_leaves_strange_ones_out(tmp_path: Path, nhwc: np.ndarray) -> None:
    record = ReadRecord(source="arrays", layout="NHWC")
    options = ReadOptions(record=record, classes=("bogus", "real"))
    assert arrays.read([npz(tmp_path / "a.npz", images=nhwc)], options).header.n == N
    strange = npz(tmp_path / "b.npz", images=nhwc, label=np.array(["real", "moon"] * 3 + ["real"]))
    reading = arrays.read([strange], options)
    assert reading.labels is not None
    assert reading.labels.tolist() == [1, -1, 1, -1, 1, -1, 1]
    assert "3 answers are none of the model's classes" in reading.notes[0]


def test_size_resizes_arrays_too(tmp_path: Path, nhwc: np.ndarray) -> None:
    reading = arrays.read([npz(tmp_path / "a.npz", images=nhwc)], ReadOptions(size=(7, 7)))
    assert reading.header.shape == (7, 7, 3)
    assert pixels_of(reading)[0, 0, 0] == pytest.approx(nhwc[0, :3, :3].mean((0, 1)), abs=1e-5)


def test_a_table_beside_gives_labels_and_groups(tmp_path: Path, nhwc: np.ndarray) -> None:
    np.save(tmp_path / "stamps.npy", nhwc)
    lines = ["objectId,label,mag"] + [f"ZTF{i // 2},{['bogus', 'real'][i % 2]},{i + 0.5}" for i in range(N)]
    (tmp_path / "alerts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    reading = arrays.read([tmp_path / "stamps.npy", tmp_path / "alerts.csv"], ReadOptions())
    assert reading.header.classes == ("bogus", "real")
    assert reading.groups is not None
    assert reading.groups.tolist() == [f"ZTF{i // 2}" for i in range(N)]
    found = arrays.read([tmp_path / "stamps.npy"], ReadOptions(label="mag"))
    assert found.header.task == "regression"
    assert arrays.read([tmp_path / "stamps.npy"], ReadOptions()).header.task == "unlabelled"
    with pytest.raises(SourceError, match="Did you mean 'mag'"):
        arrays.read([tmp_path / "stamps.npy"], ReadOptions(label="mags"))
    (tmp_path / "alerts.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(SourceError, match="different numbers of rows"):
        arrays.read([tmp_path / "stamps.npy", tmp_path / "alerts.csv"], ReadOptions())


def test_sizes_that_differ_cannot_be_stacked(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((N, 5, 5)))
    np.save(tmp_path / "b.npy", np.zeros((N, 6, 6)))
    with pytest.raises(SourceError, match="cannot be stacked"):
        arrays.read([tmp_path / "a.npy", tmp_path / "b.npy"], ReadOptions())


def test_an_array_larger_than_memory_would_be_read_flat(tmp_path: Path) -> None:
    """A sparse 8 GB file opens at once, and a block from its end is read alone."""
    path = tmp_path / "a.npy"
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(
            stream, {"shape": (500_000, 32, 32), "fortran_order": False, "descr": "<f4"}
        )
        stream.truncate(stream.tell() + 500_000 * 4096)
    reading = arrays.read([path], ReadOptions())
    block = next(iter(reading.blocks(start=499_990)))
    assert block.images.shape == (10, 32, 32, 1)


def test_whole_of_a_scalar(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", value=np.float32(2.5))
    assert ArrayFile(path, "value.npy").whole() == 2.5


def test_who_else_might_claim_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert arrays.is_mine([tmp_path / "a.txt"], ReadOptions()) == "no .npy or .npz file"
    assert "neither an array" in str(arrays.is_mine([tmp_path / "a.npy", tmp_path / "a.txt"], ReadOptions()))
    with pytest.raises(SourceError, match="a key named images or x"):
        open_reading([npz(tmp_path / "b.npz", height=np.zeros((4, 5)), scale=1.0)])


def test_real_stamps(shared: Path) -> None:
    """ZTF: float32 NCHW with NaN, labels with -1, alerts of one object tied by the table beside."""
    path = shared / "ztf_stamps" / "ztf_stamps_21.npz"
    reading = open_reading([path], ReadOptions(group="objectId"))
    header = reading.header
    assert (header.n, header.shape, header.dtype) == (1643, (21, 21, 3), "float32")
    assert header.channels == ("science", "template", "difference")
    assert reading.labels is not None
    assert np.bincount(reading.labels + 1).tolist() == [242, 206, 1195]
    assert reading.groups is not None
    assert len(set(reading.groups.tolist())) < 1643
    with np.load(path) as truth:
        stored = truth["images"].transpose(0, 2, 3, 1)
        missing = stored < -1e30  # the survey's fill value
        assert missing.any()
        assert np.array_equal(pixels_of(reading), np.where(missing, np.nan, stored), equal_nan=True)
    for name, shape in (
        ("decam_stamps/decam_stamps_51", (51, 51, 3)),
        ("lsst_format_stamps/lsst_format_stamps_30", (30, 30, 3)),
    ):
        unlabelled = open_reading([shared / f"{name}.npz"])
        assert (unlabelled.header.task, unlabelled.header.shape) == ("unlabelled", shape)


def test_real_drawings(shared: Path) -> None:
    reading = open_reading([shared / "emojis" / "emojis.npz"])
    assert reading.header.classes == ("angry", "happy", "poop", "sad", "surprised")
    assert reading.groups is not None
    assert len(set(reading.groups.tolist())) > 20
    assert reading.ids[0] == "angry/d00_00.jpg"


def with_table(folder: Path, lines: list[str], **arrays_: Any) -> tuple[list[Path], np.ndarray]:
    images = np.random.default_rng(2).normal(size=(len(lines) - 1, 5, 5)).astype(np.float32)
    (folder / "facts.csv").write_text("\n".join(lines) + "\n")
    return [npz(folder / "a.npz", images=images, **arrays_), folder / "facts.csv"], images


def test_columns_of_numbers_beside_arrays_become_the_table(tmp_path: Path) -> None:
    lines = [
        "candid,objectId,label,snr,band,flux,nothing,obj_key",
        "1003321121015010001,A,1,5.5,g,1e20,,1003321121015010001",
        "1003321121015010002,A,0,,r,2,,1003321121015010002",
        "1003321121015010003,B,-1,7,g,nan,,3",
    ]
    paths, images = with_table(tmp_path, lines, depth=np.array([1, 2, 3]), huge=np.array([1, 2, 2**60]))
    reading = open_reading(paths)
    assert reading.header.columns == ("depth", "snr", "flux")
    np.testing.assert_array_equal(reading.table, [[1, 5.5, 1e20], [2, np.nan, 2], [3, 7, np.nan]])
    assert reading.table is not None
    assert reading.table.dtype == np.float64
    assert reading.ids.tolist()[0] == "1003321121015010001", "no digit is lost"
    assert reading.groups is not None
    assert reading.groups.tolist() == ["A", "A", "B"]
    assert reading.labels is not None
    assert reading.labels.tolist() == [1, 0, -1]
    said = " ".join(reading.notes)
    assert "snr, flux" in said
    assert "band, nothing, obj_key" in said
    assert "huge is left out" in said

    dataset = build(paths, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.column("snr"), [5.5, np.nan, 7])
    (tmp_path / "bad.txt").write_text("1003321121015010002\n")
    less = build(tmp_path / "a.h5", tmp_path / "b.h5", ReadOptions(exclude=tmp_path / "bad.txt"))
    np.testing.assert_array_equal(less.table, dataset.table[[0, 2]])
    both = build([tmp_path / "b.h5", less_of(paths, tmp_path)], tmp_path / "c.h5")
    assert both.header.columns == dataset.header.columns
    np.testing.assert_array_equal(both.column("depth"), [1, 3, 2])
    assert set(both.hashes.tolist()) == set(dataset.hashes.tolist())
    assert build(tmp_path / "a.npz", tmp_path / "bare.h5").hashes.tolist() == dataset.hashes.tolist()
    np.testing.assert_array_equal(dataset.images[..., 0], images)


def less_of(paths: list[Path], folder: Path) -> Path:
    (folder / "others.txt").write_text("1003321121015010001\n1003321121015010003\n")
    return build(paths, folder / "d.h5", ReadOptions(exclude=folder / "others.txt")).path


def test_the_answer_is_no_column_whatever_it_is_called(tmp_path: Path) -> None:
    paths, _ = with_table(tmp_path, ["label,kind,y,z", "0,1,2.5,3", "1,0,3.5,4"])
    reading = open_reading(paths, ReadOptions(label="kind"))
    assert reading.header.columns == ("y", "z"), "neither the answer nor the other column of answers"
    assert reading.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("names", "n", "groups", "columns"),
    [
        ("ztf_stamps/ztf_stamps_21.npz ztf_stamps/ztf_alerts.csv", 1643, 1538, 16),
        ("decam_stamps/decam_stamps_51.npz decam_stamps/decam_alerts.csv", 85, 67, 13),
        ("lsst_format_stamps/lsst_format_stamps_30.npz lsst_format_stamps/lsst_format_alerts.csv", 310, 305, 7),
    ],
)
def test_real_alerts_in_one_line(shared: Path, tmp_path: Path, names: str, n: int, groups: int, columns: int) -> None:
    dataset = build([shared / name for name in names.split()], tmp_path / "a.h5")
    assert (dataset.n, dataset.shape[2], len(dataset.header.columns)) == (n, 3, columns)
    assert dataset.header.channels == ("science", "template", "difference")
    assert len(set(dataset.groups.tolist())) == groups
    assert all(name.isdigit() for name in dataset.ids.tolist())
    if dataset.task == "classification":
        assert np.bincount(dataset.labels + 1).tolist() == [242, 206, 1195]


def test_a_folder_of_arrays_and_a_table_stands_for_its_files(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((6, 3, 9, 9)).astype(np.float32)
    np.savez(tmp_path / "stamps.npz", images=images, label=[0, 1] * 3)
    (tmp_path / "alerts.csv").write_text("objectId,mag\n" + "".join(f"o{i // 2},{18 + i}\n" for i in range(6)))
    (tmp_path / "README.md").write_text("what they are")
    reading = open_reading([tmp_path], ReadOptions())
    assert (reading.header.n, reading.header.shape, reading.header.columns) == (6, (9, 9, 3), ("mag",))
    assert reading.groups is not None
    assert reading.groups.tolist() == ["o0", "o0", "o1", "o1", "o2", "o2"]
    (tmp_path / "notes.pdf").write_bytes(b"%PDF")
    with pytest.raises(SourceError, match="no source understands it"):
        open_reading([tmp_path], ReadOptions())
