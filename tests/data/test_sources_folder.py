"""Source folder: pictures in folders, behind manifests, in tar and zip."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from estampa import machine
from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import folder
from estampa.data.sources._store import open_store
from estampa.errors import SourceError


def picture(
    value: int = 120, size: tuple[int, int] = (12, 10), kind: str = "jpeg", mode: str = "RGB", **given: Any
) -> bytes:
    """A picture of one colour with a gradient along its width; `size` is height, width."""
    row = np.linspace(0, value, size[1]).astype(np.uint8)
    grey = np.repeat(row[None], size[0], 0)
    array = grey if mode == "L" else np.repeat(grey[:, :, None], len(mode), 2)
    stream = io.BytesIO()
    image = Image.fromarray(array) if mode in ("L", "RGB", "RGBA") else Image.fromarray(grey).convert(mode)
    image.save(stream, kind, **given)
    return stream.getvalue()


def lay(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def tar(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def pixels_of(reading: Any) -> np.ndarray:
    return np.concatenate([b.images for b in reading.blocks(size=3)])


def rejected_of(reading: Any) -> dict[str, str]:
    return {str(reading.ids[row]): why for b in reading.blocks(size=3) for row, why in b.rejected.items()}


PETS = {f"{kind}/{i}.jpg": picture(40 * i + 50) for kind in ("perro", "gató") for i in range(3)}


@pytest.mark.parametrize("store", ["folder", "tar", "zip", "tar with a top folder"])
def test_a_folder_per_class(tmp_path: Path, store: str) -> None:
    if store == "folder":
        path = lay(tmp_path / "set", PETS)
    elif store == "tar":
        path = tar(tmp_path / "set.tar", PETS)
    elif store == "zip":
        path = pack(tmp_path / "set.zip", PETS)
    else:
        path = tar(tmp_path / "set.tar", {f"pets/{name}": data for name, data in PETS.items()})
    reading = open_reading([path])
    header = reading.header
    assert (header.n, header.shape, header.dtype) == (6, (12, 10, 3), "uint8")
    assert header.classes == ("gató", "perro")
    assert header.read.size is None
    assert reading.labels is not None
    assert reading.labels.tolist() == [0, 0, 0, 1, 1, 1]
    expected = [np.asarray(Image.open(io.BytesIO(PETS[n]))) for n in sorted(PETS)]
    assert np.abs(pixels_of(reading).astype(int) - np.stack(expected)).max() <= 1
    assert not rejected_of(reading)


def test_published_parts_and_the_union_of_classes(tmp_path: Path) -> None:
    names = ["train/a/1.jpg", "train/b/2.jpg", "train/c/3.jpg", "valid/a/4.jpg", "valid/c/5.jpg", "test/6.jpg"]
    reading = open_reading([lay(tmp_path, {n: picture() for n in names})])
    assert reading.header.published_split
    assert reading.header.classes == ("a", "b", "c")
    assert dict(zip(reading.ids.tolist(), np.asarray(reading.split).tolist(), strict=True)) == {
        **dict.fromkeys(names[:3], 1),
        **dict.fromkeys(names[3:5], 2),
        "test/6.jpg": 3,
    }
    by_id = dict(zip(reading.ids.tolist(), np.asarray(reading.labels).tolist(), strict=True))
    assert (by_id["valid/c/5.jpg"], by_id["test/6.jpg"]) == (2, -1)
    assert any("the validation part has no b" in note for note in reading.notes)
    dataset = build(tmp_path, tmp_path / "out" / "set.h5")
    assert dataset.rows("train").size == 3


def test_parts_beside_other_folders_are_ambiguous(tmp_path: Path) -> None:
    names = ["train/a/1.jpg", "test/a/2.jpg", "extra/a/3.jpg"]
    with pytest.raises(SourceError, match="stand side by side"):
        open_reading([lay(tmp_path, {n: picture() for n in names})])


@pytest.mark.parametrize("name", ["test", "train"])
def test_a_class_may_be_called_like_a_part(tmp_path: Path, name: str) -> None:
    reading = open_reading([lay(tmp_path, {f"{name}/1.jpg": picture(), "other/2.jpg": picture()})])
    assert set(reading.header.classes) == {name, "other"}
    assert not reading.header.published_split


def test_odd_names_of_classes(tmp_path: Path) -> None:
    reading = open_reading([lay(tmp_path, {f"{n}/1.png": picture(kind="png") for n in ("id", "p_x", "日本", "a,b")})])
    assert reading.header.classes == ("a,b", "id", "p_x", "日本")


def test_one_class_only_is_read(tmp_path: Path) -> None:
    reading = open_reading([lay(tmp_path, {"only/1.jpg": picture(), "only/2.jpg": picture(90)})])
    assert reading.header.classes == ("only",)


def test_pictures_without_folders_are_unlabelled(tmp_path: Path) -> None:
    lay(tmp_path, {"a.jpg": picture(), "b.jpg": picture(90)})
    reading = open_reading([tmp_path])
    assert (reading.header.task, reading.labels) == ("unlabelled", None)
    single = open_reading([tmp_path / "b.jpg", tmp_path / "a.jpg"])
    assert single.ids.tolist() == ["b.jpg", "a.jpg"]
    assert np.array_equal(pixels_of(single)[::-1], pixels_of(reading))


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"x"}, {".hidden.jpg": b"x", "a/._1.jpg": b"x"}])
def test_an_empty_folder_is_refused(tmp_path: Path, content: Mapping[str, bytes]) -> None:
    with pytest.raises(SourceError, match="no pictures in the folder"):
        open_reading([lay(tmp_path, content)])
    with pytest.raises(SourceError, match="no pictures"):
        folder.read([tmp_path], ReadOptions())


def test_what_systems_leave_behind_is_ignored(tmp_path: Path) -> None:
    litter = ["a/._1.jpg", "a/.DS_Store", "a/Thumbs.db", "__MACOSX/a/1.jpg", ".git/x.jpg", "a/desktop.ini"]
    files = {"a/1.jpg": picture(), "b/2.jpg": picture()} | dict.fromkeys(litter, b"litter")
    for path in (lay(tmp_path / "set", files), pack(tmp_path / "s.zip", files), tar(tmp_path / "s.tar", files)):
        assert open_reading([path]).ids.tolist() == ["a/1.jpg", "b/2.jpg"]


def test_unreadable_pictures_are_rejected_with_their_reason(tmp_path: Path) -> None:
    good = picture(size=(200, 180), quality=95)
    bad = {
        "a/cut.jpg": good[: len(good) // 2],
        "a/header.jpg": good[:30],
        "a/text.jpg": b"these are words, not pixels",
        "a/empty.jpg": b"",
        "a/cut.png": picture(kind="png", size=(200, 180))[:90],
        "a/deep.png": deep_colour_png(),
    }
    lay(tmp_path, bad | {"a/good.jpg": good, "b/good.jpg": good})
    (tmp_path / "a" / "nowhere.jpg").symlink_to(tmp_path / "absent")
    reading = open_reading([tmp_path])
    reasons = rejected_of(reading)
    assert reasons == {
        "a/cut.jpg": "truncated JPEG",
        "a/header.jpg": "truncated JPEG",
        "a/text.jpg": "not a picture",
        "a/empty.jpg": "empty file",
        "a/cut.png": reasons["a/cut.png"],
        "a/deep.png": "colour or alpha of 16 bits a channel",
        "a/nowhere.jpg": "file not found",
    }
    assert reasons["a/cut.png"] in ("truncated picture", "damaged picture")
    with pytest.raises(
        SourceError, match=r"7 rows could not be read; the other 2 are built.*a/cut.jpg: truncated JPEG"
    ):
        build(tmp_path, tmp_path / "set.h5")
    dataset = build(tmp_path, tmp_path / "set.h5", skip_bad=True)
    assert dataset.ids.tolist() == ["a/good.jpg", "b/good.jpg"]
    assert dict(dataset.rejected)["a/text.jpg"] == "not a picture"


def deep_colour_png() -> bytes:
    """A PNG of 1 x 1 pixel, 16-bit RGB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 7)) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = bytearray(picture(kind="png"))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    wide = picture(size=(100, 100))
    lay(tmp_path, {"a/bomb.png": bytes(bomb), "a/wide.jpg": wide, "b/good.jpg": picture()})
    reading = open_reading([tmp_path], ReadOptions(max_pixels=5000))
    assert reading.header.shape == (12, 10, 3)
    assert rejected_of(reading) == {
        "a/bomb.png": "60000x60000 pixels are more than the limit of 5000",
        "a/wide.jpg": "100x100 pixels are more than the limit of 5000",
    }


def test_not_one_readable_picture(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"not one picture can be read.*a/1.jpg: not a picture"):
        open_reading([lay(tmp_path, {"a/1.jpg": b"words"})])


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "C:evil.jpg", "..\\evil.jpg"])
def test_archives_that_reach_outside_are_refused(tmp_path: Path, name: str) -> None:
    for path in (
        tar(tmp_path / "t.tar", {"a/1.jpg": picture(), name: picture()}),
        pack(tmp_path / "z.zip", {"a/1.jpg": picture(), name: picture()}),
    ):
        with pytest.raises(SourceError, match="points outside"):
            open_store(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.tar", "z.zip"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a/link.jpg")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(SourceError, match="a link, a device or sparse"):
        open_store(tar(tmp_path / "t.tar", {"a/1.jpg": picture()}, info))


def test_links_and_twins_in_a_zip_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        entry = zipfile.ZipInfo("a/link.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(SourceError, match="a link or a device"):
        open_store(tmp_path / "z.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("a/1.jpg", b"x")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/1.jpg", b"y")
    with pytest.raises(SourceError, match="stands twice"):
        open_store(tmp_path / "y.zip")


@pytest.mark.parametrize("name", ["t.tar", "z.zip"])
def test_damaged_archives(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(SourceError, match=r"not a (tar|zip) file, or truncated"):
        open_store(tmp_path / name)


def test_a_member_cut_off_or_damaged_is_rejected(tmp_path: Path) -> None:
    big = picture(size=(400, 400), quality=100)
    path = tar(tmp_path / "t.tar", {"a/1.jpg": picture(size=(400, 400)), "b/2.jpg": big})
    os.truncate(path, path.stat().st_size // 10 * 4)
    reasons = rejected_of(folder.read([path], ReadOptions(size=(8, 8)))) if _opens(path) else {"b/2.jpg": "truncated"}
    assert "truncated" in reasons["b/2.jpg"]
    zipped = pack(tmp_path / "z.zip", {"a/1.jpg": picture(), "b/2.jpg": big})
    raw = bytearray(zipped.read_bytes())
    at = raw.index(b"b/2.jpg") + 200
    raw[at : at + 50] = bytes(50)
    zipped.write_bytes(raw)
    assert rejected_of(folder.read([zipped], ReadOptions()))["b/2.jpg"]


def _opens(path: Path) -> bool:
    try:
        open_store(path).close()
    except SourceError:
        return False
    return True


def test_links_that_go_round_are_followed_once(tmp_path: Path) -> None:
    lay(tmp_path, {"a/1.jpg": picture(), "b/2.jpg": picture()})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert open_reading([tmp_path]).ids.tolist() == ["a/1.jpg", "b/2.jpg"]
    (tmp_path / "b" / "self.jpg").symlink_to(tmp_path / "b" / "self.jpg")
    assert rejected_of(folder.read([tmp_path], ReadOptions())) == {"b/self.jpg": "Too many levels of symbolic links"}


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    lay(tmp_path, {"a/1.jpg": picture(), "b/2.jpg": picture()})
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    assert rejected_of(open_reading([tmp_path])) == {"a/pipe.jpg": "not a regular file"}


def manifest(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("store", ["beside", "images folder", "tar", "zip"])
def test_a_manifest(tmp_path: Path, store: str) -> None:
    files = {"x/1.jpg": picture(), "x/2.jpg": picture(90), "y/3.jpg": picture(200), "y/4.jpg": picture(220)}
    if store == "tar":
        tar(tmp_path / "images.tar", files)
    elif store == "zip":
        pack(tmp_path / "pictures.zip", {f"top/{n}": d for n, d in files.items()})
    else:
        lay(tmp_path / ("images" if store == "images folder" else ""), files)
    csv = manifest(
        tmp_path / "labels.csv",
        "id,file,label,object,split",
        "g1,y/3.jpg,spiral,o1,train",
        "g2,x/1.jpg,elliptical,o1,val",
        "g3,x/2,spiral,o2,test",
        "g4,y/absent.jpg,spiral,o3,",
    )
    for path in (csv, tmp_path):
        reading = open_reading([path], ReadOptions(group="object"))
        assert reading.header.classes == ("elliptical", "spiral")
        assert reading.ids.tolist() == ["g1", "g2", "g3", "g4"]
        assert np.asarray(reading.groups).tolist() == ["o1", "o1", "o2", "o3"]
        assert np.asarray(reading.split).tolist() == [1, 2, 3, 0]
        assert reading.header.published_split
        assert rejected_of(reading) == {"g4": "file not found"}
        assert any("1 picture not named" in note for note in reading.notes)


def test_regression_and_the_asked_column(tmp_path: Path) -> None:
    lay(tmp_path, {f"{i}.png": picture(kind="png", mode="L") for i in range(3)})
    manifest(tmp_path / "m.csv", "filename;redshift;kind", "0.png;0.5;a", "1.png;;b", "2.png;1.25;a")
    reading = open_reading([tmp_path], ReadOptions(label="redshift"))
    assert reading.header.task == "regression"
    assert np.array_equal(np.asarray(reading.labels), [0.5, np.nan, 1.25], equal_nan=True)
    assert open_reading([tmp_path], ReadOptions(label="kind")).header.classes == ("a", "b")
    assert open_reading([tmp_path]).header.task == "unlabelled"
    with pytest.raises(SourceError, match="Did you mean 'redshift'"):
        open_reading([tmp_path], ReadOptions(label="redshit"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "../1.jpg,a"], "row 0 names a file outside"),
        (["file,label", "/1.jpg,a"], "row 0 names a file outside"),
        (["file,label", "1.jpg,a", "1.jpg,b"], "'1.jpg' stands 2 times"),
        (["file,label", "9.jpg,a"], "none of the named files is there"),
        (["file,label"], "no rows"),
        (["file,label", "1.jpg"], "row 1 has 1 fields"),
        (["file,label,split", "1.jpg,a,exam"], "unknown part 'exam'"),
        (["file,file", "1.jpg,a"], "two columns are called 'file'"),
    ],
)
def test_manifests_that_do_not_fit(tmp_path: Path, lines: list[str], message: str) -> None:
    lay(tmp_path, {"1.jpg": picture(), "2.jpg": picture()})
    with pytest.raises(SourceError, match=message):
        folder.read([manifest(tmp_path / "labels.csv", *lines)], ReadOptions())


def test_two_manifests_are_ambiguous(tmp_path: Path) -> None:
    lay(tmp_path, {"1.jpg": picture()})
    for name in ("one.csv", "two.csv"):
        manifest(tmp_path / name, "file,label", "1.jpg,a")
    with pytest.raises(SourceError, match="more than one table"):
        folder.read([tmp_path], ReadOptions())
    assert folder.read([tmp_path / "two.csv"], ReadOptions()).header.n == 1


def test_columns_asked_of_folders_are_refused(tmp_path: Path) -> None:
    lay(tmp_path, PETS)
    with pytest.raises(SourceError, match="Write a manifest"):
        open_reading([tmp_path], ReadOptions(group="drawer"))
    with pytest.raises(SourceError, match="--layout means nothing"):
        open_reading([tmp_path], ReadOptions(layout="NCHW"))


@pytest.mark.parametrize("kind", ["png", "tiff", "webp", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_formats_and_modes(tmp_path: Path, kind: str, mode: str) -> None:
    data = picture(kind=kind, mode=mode, **({"lossless": True} if kind == "webp" else {}))
    reading = open_reading([lay(tmp_path, {f"a/1.{kind}": data, f"b/2.{kind}": data})])
    seen = "RGB" if kind == "webp" else mode  # WebP has no grey
    assert (reading.header.read.mode, reading.header.shape) == (seen, (12, 10, 1 if seen == "L" else 3))
    expected = np.asarray(Image.open(io.BytesIO(data)).convert(seen)).reshape(12, 10, -1)
    assert np.abs(pixels_of(reading)[0].astype(int) - expected).max() <= 1
    other = open_reading([tmp_path], ReadOptions(mode="RGB" if seen == "L" else "L"))
    assert other.header.shape == (12, 10, 3 if seen == "L" else 1)


def test_mode_is_colour_when_one_picture_is(tmp_path: Path) -> None:
    lay(tmp_path, {"a/1.jpg": picture(mode="L"), "b/2.jpg": picture()})
    assert open_reading([tmp_path]).header.read.mode == "RGB"
    with pytest.raises(Exception, match="unknown colour mode 'CMYK'"):
        open_reading([tmp_path], ReadOptions(mode="CMYK"))


def test_palette_alpha_and_print_colours(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (10, 12), (0, 0, 0, 0))
    palette = Image.new("P", (10, 12), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    keyed = Image.new("P", (10, 12), 1)
    keyed.putpalette([0, 0, 0, 255, 0, 0])
    print_red = Image.new("CMYK", (10, 12), (0, 255, 255, 0))
    files = {}
    for name, image, kind, given in (
        ("clear.png", clear, "png", {}),
        ("palette.png", palette, "png", {}),
        ("keyed.png", keyed, "png", {"transparency": 1}),
        ("print.jpg", print_red, "jpeg", {"quality": 100}),
        ("bits.tif", Image.new("1", (10, 12), 1), "tiff", {}),
    ):
        stream = io.BytesIO()
        image.save(stream, kind, **given)
        files[f"a/{name}"] = stream.getvalue()
    reading = open_reading([lay(tmp_path, files)])
    assert not rejected_of(reading)
    found = {str(i): p[5, 5].tolist() for i, p in zip(reading.ids, pixels_of(reading), strict=True)}
    assert found["a/clear.png"] == found["a/keyed.png"] == found["a/bits.tif"] == [255, 255, 255]
    assert found["a/palette.png"] == [255, 0, 0]
    assert found["a/print.jpg"][0] > 230
    assert max(found["a/print.jpg"][1:]) < 60


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_exif_orientation_is_applied(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = picture(255, size=(12, 40), kind=kind, mode="L", exif=exif)
    (block,) = open_reading([lay(tmp_path, {f"a/1.{kind}": data})]).blocks()
    image = block.images[0, :, :, 0]
    assert image.shape == (40, 12)
    assert image[0].mean() < 20
    assert image[-1].mean() > 235


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    values = (np.arange(120).reshape(12, 10) * 500).astype(np.uint16)
    for name in ("a/1.png", "b/2.tif"):
        (tmp_path / name).parent.mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / name)
    reading = open_reading([tmp_path])
    assert (reading.header.dtype, reading.header.read.extra["dtype"]) == ("uint16", "uint16")
    assert np.array_equal(pixels_of(reading)[0, :, :, 0], values)
    lay(tmp_path, {"a/shallow.png": picture(kind="png", mode="L")})
    mixed = open_reading([tmp_path])
    assert mixed.header.dtype == "uint8"
    assert rejected_of(mixed) == dict.fromkeys(("a/1.png", "b/2.tif"), "16-bit picture among 8-bit ones")


def test_mixed_sizes_without_a_word_take_the_commonest_or_the_median(tmp_path: Path) -> None:
    few = lay(tmp_path / "few", {f"a/{i}.jpg": picture(size=(20, 30) if i else (50, 60)) for i in range(4)})
    reading = open_reading([few])
    assert reading.header.read.size == (20, 30)
    assert "the size of most" in reading.notes[-1]
    assert "--size HxW" in reading.notes[-1]
    many = lay(tmp_path / "many", {f"a/{i}.jpg": picture(size=(20 + i, 30 + 2 * i)) for i in range(5)})
    assert open_reading([many]).header.read.size == (22, 34)
    huge = lay(tmp_path / "huge", {f"a/{i}.jpg": picture(size=(600 + i, 300)) for i in range(3)})
    assert open_reading([huge]).header.read.size == (256, 128)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_size_as_told_is_recorded_and_replayed(tmp_path: Path, fit: str) -> None:
    lay(tmp_path / "train", {"a/1.jpg": picture(size=(20, 30)), "b/2.jpg": picture(size=(40, 30))})
    reading = open_reading([tmp_path / "train"], ReadOptions(size=(16, 16), fit=fit))
    record = reading.header.read
    assert (record.size, record.fit, record.resample, record.mode) == ((16, 16), fit, "area", "RGB")
    lay(tmp_path / "new", {"strange/1.jpg": picture(size=(20, 30)), "x.png": picture(kind="png", mode="L")})
    scored = open_reading([tmp_path / "new"], ReadOptions(record=record, classes=("a", "b")))
    assert scored.header.shape == (16, 16, 3)
    assert np.array_equal(pixels_of(scored)[0], pixels_of(reading)[0])
    assert np.asarray(scored.labels).tolist() == [-1, -1]


def test_a_native_size_is_not_stretched_at_prediction(tmp_path: Path) -> None:
    record = open_reading([lay(tmp_path / "a", PETS)]).header.read
    new = lay(tmp_path / "b", {"1.jpg": picture(), "2.jpg": picture(), "3.jpg": picture(size=(99, 10))})
    scored = open_reading([new], ReadOptions(record=record))
    assert rejected_of(scored) == {"3.jpg": "size 99x10, the others are 12x10"}


def test_threads_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    files = {f"a/{i:03}.jpg": picture(int(rng.integers(1, 255)), size=(20 + i % 3, 24)) for i in range(60)}
    lay(tmp_path, files | {"a/bad.jpg": b"words"})
    one = open_reading([tmp_path])
    alone = pixels_of(one)
    monkeypatch.setattr(machine, "threads", lambda: 3)
    assert np.array_equal(pixels_of(one), alone)
    assert rejected_of(one) == {"a/bad.jpg": "not a picture"}
    assert [b.start for b in one.blocks(start=5, size=20)] == [5, 25, 45]
    first = next(iter(one.blocks(size=7)))  # a reader that stops early leaves no thread behind
    assert first.images.shape[0] == 7


def test_the_scan_notices_changes(tmp_path: Path) -> None:
    lay(tmp_path, PETS)
    before = open_reading([tmp_path]).fingerprint
    assert open_reading([tmp_path]).fingerprint == before
    lay(tmp_path, {"perro/1.jpg": picture(7, size=(12, 11))})
    assert open_reading([tmp_path]).fingerprint != before


def test_real_folders(shared: Path) -> None:
    for name, n, classes in (("quintuplets-heads", 2224, 5), ("hymenoptera", 317, 2), ("emojis/drawings", 2454, 5)):
        header = open_reading([shared / name]).header
        assert (header.n, len(header.classes), header.read.mode) == (n, classes, "RGB")
        assert header.read.size is not None


def test_real_archives(shared: Path) -> None:
    for name, n, classes, side in (("galaxies_gz1", 2815, 6, 423), ("galaxies_kaggle_gz2", 1600, 2, 424)):
        reading = open_reading([shared / name])
        assert (reading.header.n, len(reading.header.classes)) == (n, classes)
        assert reading.header.shape == (side, side, 3)
        block = next(iter(reading.blocks(start=n - 5)))
        assert (len(block.images), block.rejected) == (5, {})


def test_numbers_of_a_manifest_become_the_table(tmp_path: Path) -> None:
    for i in range(3):
        Image.new("L", (6, 6), 20 * i).save(tmp_path / f"{i}.png")
    (tmp_path / "labels.csv").write_text("file,label,snr,band\n0.png,1,4.5,g\n1.png,0,,r\n2.png,1,6,g\n")
    dataset = build(tmp_path, tmp_path / "out" / "a.h5")
    assert dataset.header.columns == ("snr",)
    np.testing.assert_array_equal(dataset.column("snr"), [4.5, np.nan, 6])
    assert dataset.classes == ("0", "1")


def test_damage_in_a_stored_member_of_a_zip_is_told(tmp_path: Path) -> None:
    data = picture(90)
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_STORED) as archive:
        for name in ("a/1.jpg", "a/2.jpg"):
            archive.writestr(name, data)
    whole = (tmp_path / "set.zip").read_bytes()
    at = whole.index(data) + len(data) - 20
    (tmp_path / "set.zip").write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert rejected_of(open_reading([tmp_path / "set.zip"])) == {"a/1.jpg": "damaged member of the archive"}


def test_names_of_rows_and_codes_of_the_answer_are_no_columns(tmp_path: Path) -> None:
    lay(tmp_path, {f"{i}.png": picture(kind="png", mode="L") for i in range(12)})
    heads = "file,label,galaxy_id,plateId,class_code,filter_id,n_stars,x,y"
    kinds = ["spiral", "merger", "disc"]
    rows = [f"{i}.png,{kinds[i % 3]},{100 + i},{7 * i},{i % 3 + 4},{i % 2},{i % 4},{i},{2 * i}" for i in range(12)]
    reading = open_reading([manifest(tmp_path / "labels.csv", heads, *rows)])
    assert reading.header.columns == ("filter_id", "n_stars", "x", "y")
    assert "labels.csv: kept 4 columns of numbers: filter_id, n_stars, x, y" in reading.notes
    assert "labels.csv: left out, as names of rows: galaxy_id, plateId" in reading.notes
    assert "labels.csv: left out, as 'label' in other words: class_code" in reading.notes
    one = open_reading(
        [manifest(tmp_path / "labels.csv", "file,label,snr", *(f"{i}.png,{i % 2},{i}.5" for i in range(12)))]
    )
    assert "labels.csv: kept 1 column of numbers: snr" in one.notes


def test_a_position_is_no_answer(tmp_path: Path) -> None:
    lay(tmp_path, {f"{i}.png": picture(kind="png", mode="L") for i in range(3)})
    path = manifest(tmp_path / "labels.csv", "file,x,y", "0.png,1,5.5", "1.png,2,6.5", "2.png,3,7.5")
    assert (open_reading([path]).header.task, open_reading([path]).header.columns) == ("unlabelled", ("x", "y"))
    assert open_reading([path], ReadOptions(label="y")).header.task == "regression"


def test_folders_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 230)
    deep.mkdir(parents=True)
    with pytest.raises(SourceError, match="nested too deeply"):
        open_store(tmp_path)
