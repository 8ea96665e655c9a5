"""A folder of pictures as people have them: every kind's pixels are right, and new files are read the same way."""

from __future__ import annotations

import io
import os
import struct
import tarfile
import unicodedata
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from estampa.bundle.contract import contract_of, measure_range
from estampa.data.check import check
from estampa.data.dataset import Dataset
from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources import _picture
from estampa.data.sources._heads import Unreadable, head_of_gif, head_of_webp
from estampa.data.sources._picture import decode, head_of
from estampa.data.split import split
from estampa.errors import DatasetError, SourceError
from estampa.predict.source import open_source

BIG = 10**9


def saved(image: Image.Image, kind: str, **given: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **given)
    return stream.getvalue()


def colours(height: int = 24, width: int = 16, seed: int = 0) -> np.ndarray:
    """Smooth colours with an upper left corner that differs from the others, (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(20, 235, (3, 2, 3), dtype=np.uint8))
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def close(found: np.ndarray, wanted: np.ndarray, most: int = 0) -> bool:
    return found.shape == wanted.shape and int(np.abs(found.astype(int) - wanted).max()) <= most


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# ------------------------------------------------------------------------------------------------ colours


def printed(rgb: np.ndarray, black: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inks (h, w, 4) that print `rgb` darkened by `black` (h, w), and the colours that they should come back as."""
    inks = np.dstack([255 - rgb, black])
    seen = np.rint(rgb.astype(float) * (255 - black[..., None].astype(float)) / 255)
    return inks.astype(np.uint8), seen.astype(np.uint8)


def ycck(inks: np.ndarray) -> bytes:
    """An Adobe JPEG whose three colour planes are YCC of the inverted inks, as Photoshop writes."""
    red, green, blue = (inks[..., i].astype(float) for i in range(3))  # inverted twice: once by Adobe, once by YCCK
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    planes = [y, (blue - y) / 1.772 + 128, (red - y) / 1.402 + 128, 255.0 - inks[..., 3]]
    stored = np.stack([np.rint(p).clip(0, 255) for p in planes], axis=-1).astype(np.uint8)
    data = bytearray(saved(Image.fromarray(255 - stored, "CMYK"), "jpeg", quality=100, subsampling=0))
    at = data.index(b"Adobe\0")  # version, two flags, transform: T.872, 6.5.3
    assert data[at + 11] == 0
    data[at + 11] = 2
    return bytes(data)


def test_print_colours_of_a_plain_and_of_an_adobe_jpeg() -> None:
    inks, seen = printed(colours(), np.linspace(0, 120, 24 * 16).reshape(24, 16).astype(np.uint8))
    plain = saved(Image.fromarray(inks, "CMYK"), "jpeg", quality=100, subsampling=0)
    assert close(decode(plain, "RGB", BIG), seen, 4)
    # Of YCCK, libjpeg gives back 255 minus the colour, Adobe stored 255 minus the ink: the colours come out right.
    inverted = inks.copy()
    inverted[..., :3] = 255 - inks[..., :3]
    assert close(decode(ycck(inverted), "RGB", BIG), printed(255 - inverted[..., :3], inks[..., 3])[1], 6)
    tiff = saved(Image.fromarray(inks, "CMYK"), "tiff")
    assert close(decode(tiff, "RGB", BIG), seen, 1)
    luma = decode(plain, "L", BIG)
    assert close(luma[..., 0], np.rint(seen @ np.array([0.299, 0.587, 0.114])).astype(np.uint8), 4)


def test_palettes_with_and_without_transparency() -> None:
    grey = np.tile(np.arange(4, dtype=np.uint8), (6, 2))
    image = Image.fromarray(grey, "P")
    palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9]
    image.putpalette(palette)
    table = np.array(palette, np.uint8).reshape(4, 3)
    assert close(decode(saved(image, "png"), "RGB", BIG), table[grey])
    half = np.array([255, 128, 0, 255])  # alpha of each colour, in a tRNS chunk
    wanted = np.rint(table * half[:, None] / 255 + 255 * (1 - half[:, None] / 255)).astype(np.uint8)
    assert close(decode(saved(image, "png", transparency=bytes(half.tolist())), "RGB", BIG), wanted[grey], 1)


def test_alpha_of_grey_and_of_colours_is_laid_on_white() -> None:
    rgb, alpha = colours(), np.linspace(0, 255, 24 * 16).reshape(24, 16).astype(np.uint8)
    part = alpha[..., None] / 255
    wanted = np.rint(rgb * part + 255 * (1 - part)).astype(np.uint8)
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    assert close(decode(saved(rgba, "png"), "RGB", BIG), wanted, 1)
    assert close(decode(saved(rgba, "webp", lossless=True, exact=True), "RGB", BIG), wanted, 1)
    la = Image.fromarray(np.dstack([rgb[..., 0], alpha]), "LA")
    assert head_of(saved(la, "png")).grey
    assert close(decode(saved(la, "png"), "L", BIG)[..., 0], wanted[..., 0], 1)
    keyed = Image.fromarray(np.tile(np.arange(16, dtype=np.uint8), (24, 1)), "L")
    found = decode(saved(keyed, "png", transparency=7), "L", BIG)
    assert (found[:, 7] == 255).all()
    assert (found[:, 6, 0] == 6).all()


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_fill_the_range(bits: int) -> None:
    """A grey PNG of 1, 2 or 4 bits a pixel, written by hand: black is 0 and white 255."""
    values = np.arange(1 << bits)
    row = np.packbits(np.array([[v >> b & 1 for b in reversed(range(bits))] for v in values], np.uint8))
    body = zlib.compress((b"\0" + row.tobytes()) * 3)
    data = b"\x89PNG\r\n\x1a\n"
    for kind, chunk in (
        (b"IHDR", struct.pack(">IIBBBBB", len(values), 3, bits, 0, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ):
        data += struct.pack(">I", len(chunk)) + kind + chunk + struct.pack(">I", zlib.crc32(kind + chunk))
    assert head_of(data).grey
    assert decode(data, "L", BIG)[0, :, 0].tolist() == np.rint(values * 255 / values.max()).astype(int).tolist()


def test_sixteen_bits_among_eight_are_named_and_not_cut(tmp_path: Path) -> None:
    wide = (np.arange(24 * 16).reshape(24, 16) * 170).astype(np.uint16)
    files = {
        "a/1.jpg": saved(Image.fromarray(colours()), "jpeg"),
        "a/16.png": saved(Image.fromarray(wide), "png"),
        "b/2.jpg": saved(Image.fromarray(colours(seed=1)), "jpeg"),
        "b/16la.png": deep_png(4, b"\x12\x34\xff\xff"),
        "b/16rgb.png": deep_png(2, b"\x12\x34" * 3),
    }
    dataset = build(lay(tmp_path / "set", files), tmp_path / "1.h5", skip_bad=True)
    assert dict(dataset.rejected) == {
        "a/16.png": "16-bit picture among 8-bit ones",
        "b/16la.png": "colour or alpha of 16 bits a channel",
        "b/16rgb.png": "colour or alpha of 16 bits a channel",
    }


def deep_png(kind: int, pixel: bytes) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for name, chunk in (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" + pixel)),
        (b"IEND", b""),
    ):
        data += struct.pack(">I", len(chunk)) + name + chunk + struct.pack(">I", zlib.crc32(name + chunk))
    return data


# ------------------------------------------------------------------------------------------------ upright, moving


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_of_every_kind(kind: str, orientation: int) -> None:
    upright = colours(40, 24)
    turned = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: np.rot90(upright), 7: np.rot90(upright, 2).swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    given = {"jpeg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(kind, {})
    data = saved(Image.fromarray(np.ascontiguousarray(turned)), kind, exif=exif, **given)
    head = head_of(data)
    assert (head.height, head.width) == (40, 24)
    assert close(decode(data, "RGB", BIG), upright, 4 if kind == "jpeg" else 0)


def moving(kind: str, **given: Any) -> tuple[bytes, np.ndarray]:
    frames = [Image.fromarray(np.full((10, 8, 3), value, np.uint8)) for value in (200, 40, 90)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], **given), np.asarray(frames[0])


@pytest.mark.parametrize(("kind", "given"), [("gif", {}), ("webp", {"lossless": True}), ("png", {}), ("tiff", {})])
def test_of_a_moving_picture_the_first_frame_is_read_and_it_is_said(
    tmp_path: Path, kind: str, given: dict[str, Any]
) -> None:
    data, first = moving(kind, **given)
    still = saved(Image.fromarray(colours(10, 8)), kind, **given)
    assert (head_of(data).moving, head_of(still).moving) == (True, False)
    assert close(decode(data, "RGB", BIG), first)
    reading = open_reading([lay(tmp_path, {f"a/1.{kind}": data, f"b/2.{kind}": still})])
    assert "1 picture of several frames or pages: the first is read" in reading.notes


def test_a_gif_has_its_colours_and_its_transparency() -> None:
    rgb = (np.indices((10, 8)).sum(0) % 2 * 255).astype(np.uint8)
    image = Image.fromarray(np.dstack([rgb, 255 - rgb, rgb]))
    assert close(decode(saved(image, "gif"), "RGB", BIG), np.asarray(image))
    clear = Image.new("P", (8, 10), 1)
    clear.putpalette([0, 0, 0, 255, 0, 0])
    assert (decode(saved(clear, "gif", transparency=1), "RGB", BIG) == 255).all()


def test_a_gif_that_ends_early() -> None:
    data, _ = moving("gif")
    first = data.index(b"\x2c", 13)
    with pytest.raises(Unreadable, match="truncated GIF"):
        head_of_gif(data[: first + 12])
    with pytest.raises(Unreadable, match="truncated GIF"):
        head_of_gif(data[:10])
    for end in range(first + 30, len(data)):
        assert head_of_gif(data[:end]).width == 8


def test_the_head_of_a_webp_agrees_with_its_decoder() -> None:
    rgb = colours(37, 53)
    alpha = np.dstack([rgb, rgb[..., :1]])
    exif = Image.Exif()
    exif[0x0112] = 3
    for image, given in ((rgb, {}), (rgb, {"lossless": True}), (alpha, {}), (rgb, {"exif": exif})):
        data = saved(Image.fromarray(image), "webp", **given)
        head = head_of_webp(data)
        assert (head.height, head.width, head.moving) == (37, 53, False)
        for end in (0, 15, 29):
            with pytest.raises(Unreadable):
                head_of_webp(data[:end])
    with pytest.raises(Unreadable, match="truncated WebP"):  # the orientation stands at the end
        head_of_webp(data[:-20])


# ------------------------------------------------------------------------------------------------ read and replayed


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_a_loose_file_is_read_as_the_dataset_was(tmp_path: Path, fit: str) -> None:
    """Every kind of file at 300 x 150: predicting on the loose file sees the pixels that the Dataset holds."""
    rgb = colours(200, 130)
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = np.dstack([rgb, np.full(rgb.shape[:2], 90, np.uint8)])
    files = {
        "a/wide.jpg": saved(Image.fromarray(colours(80, 240)), "jpeg"),
        "a/turned.jpg": saved(Image.fromarray(rgb), "jpeg", exif=exif),
        "a/print.jpg": saved(Image.fromarray(printed(rgb, rgb[..., 0] // 3)[0], "CMYK"), "jpeg"),
        "a/clear.png": saved(Image.fromarray(clear), "png"),
        "b/grey.png": saved(Image.fromarray(rgb[..., 0]), "png"),
        "b/palette.gif": saved(Image.fromarray(rgb).quantize(16), "gif"),
        "b/small.webp": saved(Image.fromarray(colours(31, 17)), "webp"),
        "b/same.tif": saved(Image.fromarray(colours(300, 150)), "tiff"),
    }
    folder = lay(tmp_path / "set", files)
    dataset = build(folder, tmp_path / "set.h5", ReadOptions(size=(300, 150), fit=fit))
    assert dataset.shape == (300, 150, 3)
    contract = contract_of(dataset.header, measure_range(np.asarray(dataset.images)))
    for row, name in enumerate(dataset.ids.tolist()):
        (chunk,) = open_source(folder / name, contract).chunks(0, 8)
        assert not chunk.rejected
        np.testing.assert_array_equal(chunk.images[0], dataset.images[row])


def test_new_pictures_of_another_mode_are_read_by_the_record(tmp_path: Path) -> None:
    """A grey picture for a colour model, a colour one for a grey model, one of 16 bits for a model of 8."""
    rgb = colours()
    old = {f"{c}/{i}.png": saved(Image.fromarray(colours(seed=i)), "png") for i, c in enumerate("aabb")}
    record = build(lay(tmp_path / "old", old), tmp_path / "c.h5", ReadOptions(size=(24, 16))).header.read
    lay(tmp_path / "new", {
        "grey.png": saved(Image.fromarray(rgb[..., 0]), "png"),
        "deep.png": saved(Image.fromarray(rgb[..., 0].astype(np.uint16) * 257), "png"),
    })  # fmt: skip
    (block,) = open_reading([tmp_path / "new"], ReadOptions(record=record)).blocks()
    assert block.rejected == {0: "16-bit picture among 8-bit ones"}
    assert close(block.images[1], np.repeat(rgb[..., :1], 3, axis=2))
    grey = build(tmp_path / "old", tmp_path / "g.h5", ReadOptions(size=(24, 16), mode="L")).header.read
    lay(tmp_path / "colour", {"1.png": saved(Image.fromarray(rgb), "png")})
    (block,) = open_reading([tmp_path / "colour"], ReadOptions(record=grey)).blocks()
    assert close(block.images[0, ..., 0], np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8), 1)


# ------------------------------------------------------------------------------------------------ folders and classes


def test_an_empty_folder_makes_no_class_and_is_said(tmp_path: Path) -> None:
    png = saved(Image.fromarray(colours()), "png")
    lay(tmp_path, {"a/1.png": png, "b/deep/2.png": png, "c/notes.txt": b"x", "d/3.heic": b"x", "b/4.bmp": b"x"})
    (tmp_path / "e").mkdir()
    (tmp_path / "b" / "nothing").mkdir()
    reading = open_reading([tmp_path])
    assert reading.header.classes == ("a", "b")
    assert "no pictures in c, d, e: no class is made of an empty folder" in reading.notes
    assert "2 files of kinds that are not read (.bmp, .heic) left out" in reading.notes
    told = open_reading([tmp_path], ReadOptions(classes=("a", "b", "e")))
    assert told.header.classes == ("a", "b", "e")
    assert np.asarray(told.labels).tolist() == [0, 1]


def test_a_folder_may_be_called_none_or_in_two_forms(tmp_path: Path) -> None:
    png = saved(Image.fromarray(colours()), "png")
    apart = unicodedata.normalize("NFD", "gató")
    lay(tmp_path, {"train/none/1.png": png, f"train/{apart}/2.png": png, "test/gató/3.png": png, "test/NA/4.png": png})
    reading = open_reading([tmp_path])
    assert reading.header.classes == ("NA", "gató", "none")
    assert sorted(np.asarray(reading.labels).tolist()) == [0, 1, 1, 2]


def test_names_in_every_script_and_of_every_length(tmp_path: Path) -> None:
    names = ["五等分の花嫁", 'with blank, comma; "quote"', "emoji 🎀", "x" * 255, "-rf", "=1+1"]
    lay(tmp_path / "set", {f"{n}/{'y' * 250 if len(n) > 200 else n}.png": saved(Image.fromarray(colours(seed=i)), "png")
                           for i, n in enumerate(names)})  # fmt: skip
    dataset = build(tmp_path / "set", tmp_path / "1.h5")
    assert dataset.classes == tuple(sorted(names))
    assert {name.split("/")[0] for name in dataset.ids.tolist()} == set(names)
    (tmp_path / "bad" / "a").mkdir(parents=True)
    os.fsencode(tmp_path)
    target = os.fsencode(tmp_path / "bad" / "a") + b"/caf\xe9.png"  # Latin-1, no UTF-8
    with open(target, "wb") as stream:  # noqa: PTH123 - a name in bytes
        stream.write(saved(Image.fromarray(colours()), "png"))
    more = {f"{c}/{i}.png": saved(Image.fromarray(colours(seed=i)), "png") for c in "ab" for i in (1, 2)}
    lay(tmp_path / "bad", more)
    why = r"1 row could not be read; the other 4 are built.*a/caf\\xe9.png: its name is not Unicode; rename it"
    with pytest.raises(SourceError, match=why):
        build(tmp_path / "bad", tmp_path / "2.h5")
    assert Dataset.open(tmp_path / "2.h5").rejected == [("a/caf\\xe9.png", "its name is not Unicode; rename it")]
    with pytest.raises(SourceError, match="not one picture can be read"):
        build(Path(os.fsdecode(target)), tmp_path / "3.h5")
    with tarfile.open(tmp_path / "packed.tar", "w") as packed:
        packed.add(tmp_path / "bad", "bad")
    assert len(build(tmp_path / "packed.tar", tmp_path / "4.h5", skip_bad=True).rejected) == 1
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xe9part"))
    (tmp_path / "bad" / "b").rename(odd)
    assert len(build(odd, tmp_path / "5.h5")) == 2  # where the folder lies is nobody's name


def test_links_in_a_loop_are_named(tmp_path: Path) -> None:
    png = saved(Image.fromarray(colours()), "png")
    lay(tmp_path / "set", {"a/1.png": png, "b/2.png": png})
    (tmp_path / "set" / "b" / "self.png").symlink_to("self.png")
    (tmp_path / "set" / "b" / "ping").symlink_to("pong")
    (tmp_path / "set" / "b" / "pong").symlink_to("ping")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "same").symlink_to(tmp_path / "set" / "a")
    dataset = build(tmp_path / "set", tmp_path / "1.h5", skip_bad=True)
    assert dataset.ids.tolist() == ["a/1.png", "b/2.png"]
    assert [name for name, _ in dataset.rejected] == ["b/self.png"]
    assert any("no pictures in same" in note for note in open_reading([tmp_path / "set"]).notes)


def test_a_picture_of_thirty_thousand_squared_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zlib.compressobj(1)
    line = b"\0" + bytes(3750)
    body = b"".join([packed.compress(line * 100) for _ in range(300)]) + packed.flush()
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, chunk in (
        (b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)), (b"IDAT", body), (b"IEND", b""),
    ):  # fmt: skip
        bomb += struct.pack(">I", len(chunk)) + name + chunk + struct.pack(">I", zlib.crc32(name + chunk))
    wide = bytearray(saved(Image.fromarray(colours()), "webp", lossless=True))
    wide[21:25] = struct.pack("<I", 16_382 | 16_382 << 14)  # 16,383 x 16,383
    gif = bytearray(saved(Image.fromarray(colours()), "gif"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    small = saved(Image.fromarray(colours()), "png")
    lay(tmp_path / "set", {"a/1.png": small, "b/2.png": small, "a/bomb.png": bomb, "a/w.webp": bytes(wide),
                           "b/g.gif": bytes(gif), "b/zero.png": b""})  # fmt: skip
    whole = _picture._decode_slowly

    def only_small(data: bytes) -> np.ndarray:
        assert data == small
        return whole(data)

    monkeypatch.setattr(_picture, "_decode_slowly", only_small)
    dataset = build(tmp_path / "set", tmp_path / "1.h5", skip_bad=True)
    assert dataset.n == 2
    assert dict(dataset.rejected) == {
        "a/bomb.png": "30000x30000 pixels are more than the limit of 64000000",
        "a/w.webp": "16383x16383 pixels are more than the limit of 64000000",
        "b/g.gif": "65535x65535 pixels are more than the limit of 64000000",
        "b/zero.png": "empty file",
    }


def test_a_class_of_one_picture_is_named_when_it_is_parted(tmp_path: Path) -> None:
    names = [*[f"a/{i}" for i in range(5)], *[f"b/{i}" for i in range(5)], "lonely/1"]
    lay(tmp_path / "set", {f"{n}.png": saved(Image.fromarray(colours(seed=i)), "png") for i, n in enumerate(names)})
    dataset = build(tmp_path / "set", tmp_path / "1.h5")
    with pytest.raises(DatasetError, match="class with one object: 'lonely'"):
        split(dataset.path, test=0.4)


def test_a_class_missing_in_a_published_validation_part(tmp_path: Path) -> None:
    names = [f"{part}/{c}/{i}" for part in ("train", "valid", "test") for c in "abc" for i in range(3)]
    names = [name for name in names if not name.startswith("valid/b")]
    lay(tmp_path / "set", {f"{n}.png": saved(Image.fromarray(colours(seed=i)), "png") for i, n in enumerate(names)})
    dataset = build(tmp_path / "set", tmp_path / "1.h5")
    assert dataset.classes == ("a", "b", "c")
    told = split(dataset.path)
    assert told.counts[:, 1:].tolist() == [[3, 3, 3], [3, 0, 3], [3, 3, 3]]
    assert any("class 'b' is not in the validation part" in note for note in told.notes)


def test_the_same_picture_in_two_classes_is_told_and_stays_on_one_side(tmp_path: Path) -> None:
    lay(tmp_path / "set", {f"{c}/{i}.png": saved(Image.fromarray(colours(seed=i + 50 * (c == "b"))), "png")
                           for c in "ab" for i in range(20)})  # fmt: skip
    twice = saved(Image.fromarray(colours(seed=99)), "png")
    lay(tmp_path / "set", {"a/twice.png": twice, "b/twice.png": twice})
    dataset = build(tmp_path / "set", tmp_path / "1.h5")
    for seed in range(5):
        split(dataset.path, test=0.3, seed=seed)
        dataset = Dataset.open(dataset.path)
        assert len(set(dataset.split[np.char.endswith(dataset.ids, "twice.png")].tolist())) == 1
    (found,) = [f for f in check(dataset, near=False).findings if f.kind == "label_conflict"]
    assert "a/twice.png" in found.message


def test_real_folders(shared: Path, tmp_path: Path) -> None:
    dataset = build(shared / "hymenoptera", tmp_path / "h.h5", ReadOptions(size=(30, 15), fit="crop", per_class=150))
    assert isinstance(dataset, Dataset)
    assert np.bincount(dataset.labels).tolist() == [150, 150]
    assert dataset.classes == ("ants", "bees")
