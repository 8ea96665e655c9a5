"""Source pickled: the HiTS layout and the navigability layout."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import pickled
from estampa.errors import InputError, SourceError

N = 24
KEYS = ("temp_images", "SNR_images", "sci_images", "diff_images")  # in no useful order, as in the survey's files


def dump(path: Path, value: Any, protocol: int = 2) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def stamps(n: int = N) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {key: random.normal(size=(n, 441)).astype(np.float32) for key in KEYS}


def stacked(arrays: dict[str, np.ndarray]) -> np.ndarray:
    order = ("sci_images", "temp_images", "diff_images", "SNR_images")
    return np.stack([arrays[key].reshape(-1, 21, 21) for key in order], axis=-1)


@pytest.mark.parametrize("protocol", range(6))
def test_four_flattened_arrays_become_stamps(tmp_path: Path, protocol: int) -> None:
    labels, snr = np.arange(N) % 2, np.linspace(3, 30, N)
    path = dump(tmp_path / "chunk_0_5000.pkl", {**stamps(), "labels": labels, "SNRs": snr}, protocol)
    dataset = build(path, tmp_path / "a.h5")
    assert dataset.shape == (21, 21, 4)
    assert dataset.header.channels == ("science", "template", "difference", "snr_difference")
    assert dataset.classes == ("artifact", "real")
    np.testing.assert_array_equal(dataset.labels, labels)
    np.testing.assert_array_equal(dataset.images, stacked(stamps()))
    np.testing.assert_array_equal(dataset.column("SNRs"), snr)


def test_the_unlabelled_test_set(tmp_path: Path) -> None:
    reading = open_reading([dump(tmp_path / "test.pkl", stamps())])
    assert (reading.header.task, reading.labels) == ("unlabelled", None)
    assert reading.header.channels[3] == "snr_difference"
    assert reading.ids.tolist() == [str(i) for i in range(N)], "rows stay in order: someone else scores them by it"


def test_a_model_reads_it_as_its_training_file_was_read(tmp_path: Path) -> None:
    trained = open_reading([dump(tmp_path / "train.pkl", {**stamps(), "labels": np.arange(N) % 2})])
    options = ReadOptions(record=trained.header.read, classes=trained.header.classes)
    scored = open_reading([dump(tmp_path / "test.pkl", stamps())], options)
    assert scored.header.channels == trained.header.channels
    assert np.array_equal(next(scored.blocks()).images, stacked(stamps()))


def test_arrays_without_names_come_in_the_files_order(tmp_path: Path) -> None:
    arrays = stamps()
    labels = np.arange(N) % 2
    for value in ((*arrays.values(), labels), [*arrays.values(), labels.tolist()]):
        reading = open_reading([dump(tmp_path / "a.pkl", value)])
        expected = np.stack([a.reshape(-1, 21, 21) for a in arrays.values()], axis=-1)
        assert np.array_equal(next(reading.blocks()).images, expected)
        assert any("in the file's order, array 0, array 1" in note for note in reading.notes)
        assert reading.header.classes == ("artifact", "real")
        assert reading.labels is not None
        assert reading.labels.tolist() == labels.tolist()


def test_arrays_pickled_one_after_the_other_or_in_files_of_their_own(tmp_path: Path) -> None:
    arrays, labels = stamps(), np.arange(N) % 2
    (tmp_path / "all.pkl").write_bytes(b"".join(pickle.dumps(v, 2) for v in (*arrays.values(), labels)))
    reading = open_reading([tmp_path / "all.pkl"])
    assert (reading.header.shape, reading.header.classes) == ((21, 21, 4), ("artifact", "real"))
    paths = [dump(tmp_path / f"{key}.pkl", value) for key, value in {**arrays, "labels": labels}.items()]
    reading = open_reading(paths)
    assert np.array_equal(next(reading.blocks()).images, stacked(arrays))
    assert reading.labels is not None
    assert reading.labels.tolist() == labels.tolist()


@pytest.mark.parametrize("names", ["one file", "four files"])
def test_the_same_arrays_as_numpy_files(tmp_path: Path, names: str) -> None:
    arrays, labels = stamps(), np.arange(N) % 2
    if names == "one file":
        np.savez(tmp_path / "a.npz", **arrays, labels=labels)
        paths = [tmp_path / "a.npz"]
    else:
        for key, value in {**arrays, "labels": labels}.items():
            np.save(tmp_path / f"{key}.npy", value)
        paths = [tmp_path / f"{key}.npy" for key in (*KEYS, "labels")]
    for shape in ((21, 21, 4), (21, 21, 1)):
        reading = open_reading(paths, ReadOptions(reshape=shape))
        assert reading.header.shape == (21, 21, 4)
        assert np.array_equal(next(reading.blocks()).images[..., 2], arrays["sci_images"].reshape(-1, 21, 21))
    with pytest.raises(SourceError, match=r"Try --reshape 21x21|no array of images"):
        open_reading(paths)


def test_other_labels_keep_their_own_classes(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.pkl", {**stamps(), "labels": np.arange(N) % 3})
    assert open_reading([path]).header.classes == ("0", "1", "2")
    texts = dump(tmp_path / "b.pkl", {**stamps(), "labels": np.array(["bogus", "real"])[np.arange(N) % 2]})
    assert open_reading([texts]).header.classes == ("bogus", "real")
    named = ReadOptions(classes=("bad", "good"))
    path = dump(tmp_path / "c.pkl", {**stamps(), "labels": np.eye(2)[np.arange(N) % 2]})
    assert open_reading([path], named).header.classes == ("bad", "good")


def test_a_gigabyte_is_mapped_and_not_read(tmp_path: Path) -> None:
    """A sparse file with the head of a pickle: opening it must not touch its 1.6 GB."""
    one = np.ones((1, 441), np.float32)
    head, tail = pickle.dumps({"sci_images": one}, 4).split(one.tobytes())
    n = 900_000
    size = n * 441 * 4
    head = head.replace(b"B" + (1764).to_bytes(4, "little"), b"B" + size.to_bytes(4, "little"))
    head = head.replace(b"K\x01M\xb9\x01\x86", b"J" + n.to_bytes(4, "little") + b"M\xb9\x01\x86")
    with (tmp_path / "big.pkl").open("wb") as stream:
        stream.write(head)
        stream.seek(size, os.SEEK_CUR)
        stream.write(tail)
    reading = open_reading([tmp_path / "big.pkl"])
    assert (reading.header.n, reading.header.shape) == (n, (21, 21, 1))
    assert next(reading.blocks(n - 5)).images.shape == (5, 21, 21, 1)


# ------------------------------------------------------------------------------------------------------ records


def terrain(n: int = 849) -> tuple[list[Any], np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    images = random.normal(size=(n, 4, 20, 20))
    targets = np.round(random.uniform(1, 4, n), 2)
    return [[targets[i], "unused", *images[i]] for i in range(n)], images, targets


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_records_are_stacked_where_the_published_reshape_mixes_them(tmp_path: Path, protocol: int) -> None:
    records, images, targets = terrain()
    dataset = build(dump(tmp_path / "navigability", records, max(protocol, 2)), tmp_path / "a.h5")
    assert (dataset.n, dataset.shape, dataset.task) == (849, (20, 20, 4), "regression")
    assert dataset.header.channels == ("heights", "gradient", "elevations", "depressions")
    np.testing.assert_array_equal(dataset.labels, targets)
    for channel in range(4):
        np.testing.assert_array_equal(dataset.images[..., channel], images[:, channel].astype(np.float32))
    published = images.astype(np.float32).reshape(849, 20, 20, 4)  # as the study joined them
    kept = [np.mean(published[..., c] == dataset.images[..., c]) for c in range(4)]
    assert max(kept) < 0.02, "nearly no pixel is where it was"
    heights = published[0, :5, :, 0].ravel()
    np.testing.assert_array_equal(heights, images[0, 0].astype(np.float32).ravel()[::4])
    assert not np.isin(published[0, 5:, :, 0], dataset.images[0, ..., 0]).any(), "the lower rows are other channels"


def test_whole_targets_lists_and_object_arrays(tmp_path: Path) -> None:
    picture = np.arange(16).reshape(4, 4)
    lists = [[i % 4 + 1, None, *[(picture + i).tolist()] * 4] for i in range(8)]
    reading = open_reading([dump(tmp_path / "a.pkl", lists)])
    assert reading.header.task == "regression", "1 to 4 is a scale, also where all answers are whole"
    assert reading.labels is not None
    assert reading.labels.tolist() == [1, 2, 3, 4] * 2
    assert np.array_equal(next(reading.blocks()).images[3, ..., 2], picture + 3)
    objects = np.empty((8, 6), object)
    for i in range(8):
        objects[i] = [float(i), 0, *[picture + i] * 4]
    reading = open_reading([dump(tmp_path / "b.pkl", objects)])
    assert (reading.header.n, reading.header.shape, reading.header.dtype) == (8, (4, 4, 4), "uint8")
    graded = ReadOptions(classes=("1", "2", "3", "4"))
    assert open_reading([tmp_path / "a.pkl"], graded).header.task == "classification"


def test_ragged_records_are_named_and_left_out(tmp_path: Path) -> None:
    records, _, _ = terrain(30)
    records[3] = records[3][:-1]
    records[5][4] = np.zeros((20, 19))
    records[8][0] = "very"
    records[11] = "torn"
    records[13][0] = float("inf")
    records[17][3] = None
    path = dump(tmp_path / "a.pkl", records)
    with pytest.raises(SourceError, match="6 rows could not be read") as caught:
        build(path, tmp_path / "a.h5")
    for told in (
        "row 3: its pictures are 20x20, 20x20, 20x20; most records have 4 of 20x20",
        "row 5: its pictures are 20x20, 20x20, 20x19, 20x20",
        "row 8: no record with a target in front, but a list of 6",
        "row 11: no record with a target in front, but a str",
        "row 13",
        "row 17: item 3 is no picture, but a NoneType",
    ):
        assert told in str(caught.value)
    dataset = build(path, tmp_path / "b.h5", skip_bad=True)
    assert dataset.n == 24
    assert dataset.rejected_rows == [3, 5, 8, 11, 13, 17]


def test_records_that_agree_on_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="not one record has a target and pictures"):
        open_reading([dump(tmp_path / "a.pkl", [[1.0, 2.0, 3.0]] * 4)])
    records, _, _ = terrain(4)
    for option in ({"layout": "NCHW"}, {"reshape": (20, 20, 4)}, {"label": "x"}, {"group": "y"}):
        with pytest.raises(SourceError, match="means nothing for this kind of data"):
            open_reading([dump(tmp_path / "b.pkl", records)], ReadOptions(**option))


# ------------------------------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1}, "neither arrays of pictures nor records"),
        ([], "neither arrays of pictures nor records"),
        ("words", "neither arrays of pictures nor records"),
        ({"sci_images": np.zeros((3, 441)), "diff_images": np.zeros((4, 441))}, "different numbers of rows"),
        ({"sci_images": np.zeros((3, 441)), "diff_images": np.zeros((3, 400))}, "different sizes"),
        ({"sci_images": np.zeros((3, 440))}, "flattened rows of 440 values"),
        ({"sci_images": np.zeros((3, 441)), "labels": np.zeros(4)}, "different numbers of rows"),
        ({"sci_images": np.array([["a"] * 441])}, "holds values of type <U1"),
    ],
)
def test_other_layouts_are_refused(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_reading([dump(tmp_path / "a.pkl", value)])


def test_a_hostile_pickle_is_refused_by_build(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"echo > {tmp_path / 'marker'}",)

    path = dump(tmp_path / "a.pkl", {**stamps(), "labels": Hostile()})
    with pytest.raises(SourceError, match=r"a\.pkl: its pickle asks for posix\.system"):
        build(path, tmp_path / "a.h5")
    assert not (tmp_path / "marker").exists()
    assert not (tmp_path / "a.h5").exists()


def test_a_column_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.pkl", {**stamps(), "labels": np.arange(N) % 2, "night": np.arange(N) // 4})
    reading = open_reading([path], ReadOptions(label="night", group="night"))
    assert len(reading.header.classes) == 6
    with pytest.raises(SourceError, match=r"no array is called 'nights'.*Did you mean 'night'"):
        open_reading([path], ReadOptions(label="nights"))


def test_what_it_claims(tmp_path: Path) -> None:
    options = ReadOptions()
    assert pickled.is_mine([dump(tmp_path / "navigability", [1], 2)], options) is None
    assert pickled.is_mine([dump(tmp_path / "a.PKL", [1], 0)], options) is None
    (tmp_path / "words").write_text("label pixel")
    assert "no pickle" in str(pickled.is_mine([tmp_path / "words"], options))
    assert "no pickle" in str(pickled.is_mine([tmp_path], options))
