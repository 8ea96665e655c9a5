"""The central crop that is taken when pictures are read: recorded, replayed, refused where it means nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from estampa import pixels
from estampa.cli import main
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.record import ReadRecord
from estampa.data.sources._picture import Unreadable, decode
from estampa.errors import SourceError


def write(path: Path, seed: int, size: tuple[int, int], kind: str = "png", mode: str = "RGB") -> np.ndarray:
    """A picture of smooth noise, (height, width, channels) as it is decoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (size[0] // 4 + 1, size[1] // 4 + 1, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((size[1], size[0])).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, kind)
    path.write_bytes(stream.getvalue())
    with Image.open(io.BytesIO(stream.getvalue())) as again:
        decoded = np.asarray(again)
    return decoded[:, :, None] if decoded.ndim == 2 else decoded


def images_of(path: Path, options: ReadOptions) -> np.ndarray:
    return np.concatenate([block.images for block in open_reading([path], options).blocks()])


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_centre_is_cut_out(tmp_path: Path, kind: str, mode: str) -> None:
    whole = [write(tmp_path / f"{i}.{kind}", i, size, kind, mode) for i, size in enumerate([(40, 40), (41, 52)])]
    found = images_of(tmp_path, ReadOptions(crop=17))
    assert found.shape == (2, 17, 17, 1 if mode == "L" else 3)
    for image, picture in zip(found, whole, strict=True):
        assert np.array_equal(image, pixels.crop_centre(picture, (17, 17)))


def test_the_crop_comes_before_the_resize(tmp_path: Path) -> None:
    whole = write(tmp_path / "1.png", 0, (40, 48))
    found = images_of(tmp_path, ReadOptions(crop=32, size=(16, 16)))[0]
    assert np.array_equal(found, pixels.resize(np.ascontiguousarray(pixels.crop_centre(whole, (32, 32))), (16, 16)))


def test_it_is_recorded_and_replayed(tmp_path: Path) -> None:
    for i in range(3):
        write(tmp_path / "a" / f"{i}.png", i, (30, 30))
    whole = write(tmp_path / "b" / "x.png", 7, (50, 44))
    write(tmp_path / "b" / "y.png", 8, (12, 30))
    dataset = build(tmp_path / "a", tmp_path / "a.h5", ReadOptions(crop=20))
    assert (dataset.shape, dataset.header.read.crop, dataset.header.read.size) == ((20, 20, 3), 20, None)
    record = ReadRecord.from_json(json.loads(json.dumps(dataset.header.read.to_json())))
    blocks = list(open_reading([tmp_path / "b"], ReadOptions(record=record)).blocks())
    assert np.array_equal(blocks[0].images[0], pixels.crop_centre(whole, (20, 20)))
    assert blocks[0].rejected == {1: "12x30 is smaller than the crop of 20"}


def test_a_picture_that_is_too_small_is_named(tmp_path: Path) -> None:
    write(tmp_path / "in" / "large.png", 0, (40, 40))
    write(tmp_path / "in" / "small.png", 1, (40, 20))
    with pytest.raises(SourceError, match=r"small\.png: 40x20 is smaller than the crop of 32"):
        build(tmp_path / "in", tmp_path / "set.h5", ReadOptions(crop=32))
    assert build(tmp_path / "in", tmp_path / "set.h5", ReadOptions(crop=32), skip_bad=True).n == 1
    with pytest.raises(SourceError, match=r"every picture is smaller than --crop 41\. Allowed: at most 40"):
        open_reading([tmp_path / "in"], ReadOptions(crop=41))


def test_a_dataset_without_the_key_still_opens(tmp_path: Path) -> None:
    write(tmp_path / "in" / "1.png", 0, (12, 12))
    path = build(tmp_path / "in", tmp_path / "set.h5").path
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs["read"])
        assert record.pop("crop") == 0
        file.attrs["read"] = json.dumps(record)
    assert Dataset.open(path).header.read.crop == 0


@pytest.mark.parametrize("value", [-1, "12", 1.5, True])
def test_a_wrong_value_in_a_record_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="'crop' is not a number of pixels"):
        ReadRecord.from_json({"source": "folder", "crop": value})


def test_other_data_refuse_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(SourceError, match="--crop cuts pictures, which these data are not"):
        open_reading([tmp_path / "a.npy"], ReadOptions(crop=4))
    write(tmp_path / "in" / "1.png", 0, (12, 12))
    path = build(tmp_path / "in", tmp_path / "set.h5", ReadOptions(crop=8)).path
    with pytest.raises(SourceError, match="a Dataset is taken as it is; --crop applies to raw files"):
        open_reading([path], ReadOptions(crop=8))


def test_the_flag_of_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in" / "1.png", 0, (30, 30))
    with pytest.raises(SystemExit) as ended:
        main(["build", str(tmp_path / "in"), "-o", str(tmp_path / "set.h5"), "--crop", "24", "--json"])
    assert not ended.value.code
    assert json.loads(capsys.readouterr().out)["shape"] == [24, 24, 3]


# ---------------------------------------------------------------------------------------------- JPEG, as far as needed


def jpeg(seed: int, size: tuple[int, int], mode: str = "RGB", **how: object) -> bytes:
    """A JPEG of smooth noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (size[0] // 6 + 1, size[1] // 6 + 1, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((size[1], size[0])).convert(mode).save(stream, "jpeg", **how)
    return stream.getvalue()


@pytest.mark.parametrize("size", [(424, 424), (423, 423), (300, 500), (112, 96), (49, 48)])
@pytest.mark.parametrize(
    "how",
    [{}, {"subsampling": 0}, {"subsampling": 1}, {"mode": "L"}, {"progressive": True}, {"restart_marker_blocks": 3}],
    ids=str,
)
def test_pixels_are_those_of_the_accurate_decoder(size: tuple[int, int], how: dict[str, object]) -> None:
    data = jpeg(3, size, **how)
    mode = str(how.get("mode", "RGB"))
    with Image.open(io.BytesIO(data)) as picture:
        whole = np.asarray(picture)
    whole = whole if whole.ndim == 3 else whole[:, :, None]
    for crop in (47, min(size) // 2, min(size)):
        for sound in (False, True):
            found = decode(data, mode, 10**6, crop=crop, sound=sound)
            assert np.array_equal(found, pixels.crop_centre(whole, (crop, crop)))


def test_a_turned_jpeg_is_cut_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(1, (60, 80), exif=exif)
    assert np.array_equal(decode(data, "RGB", 10**6, crop=31), pixels.crop_centre(decode(data, "RGB", 10**6), (31, 31)))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_truncated_jpeg_is_told_even_below_the_crop(share: float) -> None:
    data = jpeg(2, (200, 200))
    for sound in (False, True):
        with pytest.raises(Unreadable, match="truncated JPEG"):
            decode(data[: int(len(data) * share)], "RGB", 10**6, crop=64, sound=sound)


def test_damage_is_told_as_of_the_whole_picture() -> None:
    """Without a checksum a crop tells what decoding the whole would; only with one it stops below the square."""
    random, told = np.random.default_rng(0), 0
    for seed in range(60):
        data = bytearray(jpeg(seed % 7, (96, 96)))
        for at in random.integers(700, len(data) - 2, 3):
            data[at] = random.integers(256)
        said = []
        for crop in (0, 32):
            try:
                decode(bytes(data), "RGB", 10**6, crop=crop)
                said.append("")
            except Unreadable as error:
                said.append(str(error))
        assert said[0] == said[1]
        told += said[0] != ""
    assert told > 20


def test_the_fast_dct_is_recorded_and_near(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(jpeg(4, (96, 96)))
    accurate = images_of(tmp_path, ReadOptions(crop=64))
    reading = open_reading([tmp_path], ReadOptions(crop=64, fast_dct=True))
    fast = np.concatenate([block.images for block in reading.blocks()])
    assert reading.header.read.extra["dct"] == "fast"
    assert 0 < np.abs(fast.astype(int) - accurate).max() <= 8
    replayed = images_of(tmp_path, ReadOptions(record=reading.header.read))
    assert np.array_equal(replayed, fast)
