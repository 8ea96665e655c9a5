"""Source `avro`: packets in the forms of ZTF and LSST, made here, come back; damage is a row with a reason."""

from __future__ import annotations

import io
import json
import resource
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skyfiles import SIDE, STAMPS, ZTF, N, alerts, fastavro, images, stamp, written, ztf

from estampa.data.read import ReadOptions, build, open_reading
from estampa.data.sources._alerts import layout_of
from estampa.data.sources._avrofile import Container
from estampa.data.sources._picture import Unreadable
from estampa.data.sources.avro import _filled
from estampa.errors import SourceError

LSST = {
    "type": "record", "name": "alert", "namespace": "lsst.v7_4",
    "fields": [
        {"name": "alertId", "type": "long"},
        {"name": "diaSource", "type": {"type": "record", "name": "diaSource", "fields": [
            {"name": "diaSourceId", "type": "long"},
            {"name": "diaObjectId", "type": ["null", "long"], "default": None},
            {"name": "psfFlux", "type": ["null", "float"], "default": None},
            {"name": "isDipole", "type": ["null", "boolean"], "default": None},
            {"name": "band", "type": ["null", "string"], "default": None},
        ]}},
        {"name": "cutoutDifference", "type": ["null", "bytes"], "default": None},
        {"name": "cutoutScience", "type": ["null", "bytes"], "default": None},
        {"name": "cutoutTemplate", "type": ["null", "bytes"], "default": None},
    ],
}  # fmt: skip


def lsst(i: int, picture: np.ndarray) -> dict[str, Any]:
    source = {"diaSourceId": 7000 + i, "diaObjectId": 9 if i else None, "psfFlux": 1.5 * i, "isDipole": i % 2 == 1}
    packet: dict[str, Any] = {"alertId": i, "diaSource": source}
    for number, role in enumerate(STAMPS):
        packet[f"cutout{role.title()}"] = stamp(picture[..., number], packed=False)
    return packet


def test_what_a_schema_says() -> None:
    found = layout_of(ZTF)
    assert tuple(found.stamps) == STAMPS
    assert found.stamps["science"] == ("cutoutScience", "stampData")
    assert (found.record, found.columns) == ("candidate", ("magpsf", "rb", "drb", "xpos", "ypos"))
    found = layout_of(LSST)
    assert found.stamps["difference"] == ("cutoutDifference",)
    assert (found.record, found.columns) == ("diaSource", ("psfFlux", "isDipole"))
    assert found.label == ""
    assert layout_of({"type": "record", "name": "a", "fields": []}).stamps == {}


@pytest.mark.parametrize("form", ["folder", "file", "deflate", "tar", "zip", "files"])
def test_ztf_packets(tmp_path: Path, form: str) -> None:
    pixels = images()
    folder = alerts(tmp_path / "night", pixels)
    paths = [folder]
    if form in ("file", "deflate"):
        paths = [tmp_path / "all.avro"]
        codec = "null" if form == "file" else form
        paths[0].write_bytes(written([ztf(i, p) for i, p in enumerate(pixels)], codec=codec))
    elif form == "tar":
        paths = [tmp_path / "night.tar"]
        with tarfile.open(paths[0], "w") as archive:
            archive.add(folder, "night")
    elif form == "zip":
        paths = [tmp_path / "night.zip"]
        with zipfile.ZipFile(paths[0], "w") as packed:
            for file in sorted(folder.iterdir()):
                packed.write(file, file.name)
    elif form == "files":
        paths = sorted(folder.iterdir())
    dataset = build(paths, tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.header.channels == STAMPS
    assert dataset.ids.tolist() == [str(10**18 + i) for i in range(N)]
    assert dataset.groups is not None
    assert dataset.groups.tolist() == ["ZTF0", "ZTF0", "ZTF1", "ZTF1", "ZTF2", "ZTF2"]
    np.testing.assert_allclose(dataset.column("magpsf"), 18 + np.arange(N) / 4)
    assert np.isnan(dataset.column("drb")).all()
    assert dataset.task == "unlabelled"


def test_blocks_from_any_row(tmp_path: Path) -> None:
    pixels = images()
    (tmp_path / "a.avro").write_bytes(written([ztf(i, p) for i, p in enumerate(pixels)], codec="deflate"))
    stream = io.BytesIO()
    fastavro.writer(stream, ZTF, [ztf(i + N, p) for i, p in enumerate(pixels)], sync_interval=1 << 30)
    (tmp_path / "b.avro").write_bytes(stream.getvalue())
    reading = open_reading([tmp_path])
    for start in (0, 4, 7, 11):
        found = np.concatenate([b.images for b in reading.blocks(start, 3)])
        np.testing.assert_array_equal(found, np.concatenate([pixels, pixels])[start:])


def test_lsst_packets(tmp_path: Path) -> None:
    pixels = images()
    (tmp_path / "a.avro").write_bytes(written([lsst(i, p) for i, p in enumerate(pixels)], LSST))
    dataset = build(tmp_path / "a.avro", tmp_path / "a.h5")
    np.testing.assert_array_equal(dataset.images, pixels)
    assert dataset.ids.tolist() == [str(7000 + i) for i in range(N)]
    assert dataset.groups is not None
    assert dataset.groups.tolist() == ["alone:7000", *["9"] * 5]
    assert (dataset.header.units, dataset.header.pixel_scale) == ("nJy", 0.2)
    assert dataset.column("isDipole").tolist() == [0, 1, 0, 1, 0, 1]


def test_label_and_group_are_fields(tmp_path: Path) -> None:
    folder = alerts(tmp_path / "night", images())
    dataset = build(folder, tmp_path / "a.h5", ReadOptions(label="kind", group="isdiffpos"))
    assert (dataset.classes, dataset.labels.tolist()) == (("a", "b"), [0, 1, 0, 1, 0, 1])
    assert dataset.groups is not None
    assert set(dataset.groups.tolist()) == {"t"}
    with pytest.raises(SourceError, match=r"no field 'kindd' in the packets \(--label\).*Did you mean 'kind'"):
        open_reading([folder], ReadOptions(label="kindd"))


def test_stamps_cut_by_the_border_are_filled_up_with_nan(tmp_path: Path) -> None:
    pixels = images()
    whole = [ztf(i, p) for i, p in enumerate(pixels)]
    whole[2] = ztf(2, pixels[2, :, 6:], xpos=5.0, ypos=900.0)  # x = 4 from 0: six columns before it are missing
    whole[3] = ztf(3, pixels[3, :15], xpos=900.0, ypos=3070.0)
    whole[4] = ztf(4, pixels[4, :, :20])
    (tmp_path / "a.avro").write_bytes(written(whole))
    reading = open_reading([tmp_path / "a.avro"])
    assert "3 stamps are smaller than 21x21 (the border of the exposure): filled up with NaN" in reading.notes
    wanted = pixels.copy()
    wanted[2, :, :6] = wanted[3, 15:] = wanted[4, :, 20:] = np.nan
    np.testing.assert_array_equal(next(iter(reading.blocks())).images, wanted)


def test_filling_up() -> None:
    ones = np.ones((3, 2), np.float32)
    assert np.isnan(_filled(ones, (3, 5), None)[:, 2:]).all()
    assert np.isnan(_filled(ones, (3, 5), (0.0, 50.0))[:, [0, 1, 4]]).all()
    assert np.isnan(_filled(ones, (3, 5), (-4.0, 50.0))[:, :3]).all()


def test_the_record_fills_new_stamps_to_the_training_size(tmp_path: Path) -> None:
    pixels = images()
    record = build(alerts(tmp_path / "old", pixels), tmp_path / "a.h5").header.read
    (tmp_path / "new.avro").write_bytes(written([ztf(0, pixels[0, :, :18])]))
    reading = open_reading([tmp_path / "new.avro"], ReadOptions(record=record))
    assert reading.header.shape == (SIDE, SIDE, 3)


def test_crop_and_size(tmp_path: Path) -> None:
    pixels = images()
    packets = [ztf(i, p) for i, p in enumerate(pixels)]
    large = np.pad(pixels[1], ((4, 4), (4, 4), (0, 0)))
    packets[1] = ztf(1, large)
    (tmp_path / "a.avro").write_bytes(written(packets))
    crop = build(tmp_path / "a.avro", tmp_path / "a.h5", ReadOptions(crop=11))
    np.testing.assert_array_equal(crop.images, pixels[:, 5:16, 5:16])
    assert build(tmp_path / "a.avro", tmp_path / "b.h5", ReadOptions(size=(7, 7))).shape == (7, 7, 3)
    plain = build(tmp_path / "a.avro", tmp_path / "c.h5", skip_bad=True)
    assert plain.rejected == [(str(10**18 + 1), "science: size 29x29, most are 21x21")]
    with pytest.raises(SourceError, match=r"every stamp is smaller than --crop 40.*at most 29"):
        open_reading([tmp_path / "a.avro"], ReadOptions(crop=40))


# --------------------------------------------------------------------------------------------- damage


def test_packets_without_cutouts_are_rejected(tmp_path: Path) -> None:
    pixels = images()
    packets = [ztf(i, p) for i, p in enumerate(pixels)]
    packets[1] = ztf(1, pixels[1], cutoutScience=None, cutoutTemplate=None, cutoutDifference=None)
    packets[2] = ztf(2, pixels[2], cutoutTemplate=None)
    packets[3] = ztf(3, pixels[3], cutoutScience={"fileName": "", "stampData": stamp(pixels[3, ..., 0])[:-90]})
    packets[4] = ztf(4, np.full((SIDE, SIDE, 3), np.nan, np.float32))
    packets[5] = ztf(5, pixels[5], cutoutDifference={"fileName": "", "stampData": b"no FITS"})
    (tmp_path / "a.avro").write_bytes(written(packets))
    dataset = build(tmp_path / "a.avro", tmp_path / "a.h5", skip_bad=True)
    reasons = {int(name) - 10**18: why for name, why in dataset.rejected}
    assert reasons == {
        1: "no cut-out of science, template, difference",
        2: "no cut-out of template",
        3: "science: truncated gzip",
        4: "science: no pixel is finite",
        5: "difference: not a FITS file, or truncated in its header",
    }


def test_a_schema_without_cutouts_is_refused(tmp_path: Path) -> None:
    schema = {**ZTF, "fields": ZTF["fields"][:4]}  # type: ignore[index]
    (tmp_path / "a.avro").write_bytes(written([ztf(0, images()[0])], schema))
    with pytest.raises(SourceError, match=r"not one alert has cut-outs.*no cut-outs in its schema; it has schemavsn"):
        open_reading([tmp_path / "a.avro"])


def test_damaged_files_among_good_ones(tmp_path: Path) -> None:
    pixels = images()
    folder = alerts(tmp_path / "night", pixels)
    good = written([ztf(i + 50, p) for i, p in enumerate(pixels)])
    (folder / "cut.avro").write_bytes(good[: len(good) * 2 // 3])
    (folder / "head.avro").write_bytes(good[:300])
    (folder / "empty.avro").write_bytes(b"")
    (folder / "words.avro").write_bytes(b"Object\x01 of no kind")
    mark = good[-16:]
    at = good.index(mark, good.index(mark) + 16)
    (folder / "mark.avro").write_bytes(good[:at].replace(b"ZTF0", b"ZTF7") + bytes(16) + good[at + 16 :])
    schema = good.index(b"avro.schema")
    (folder / "schema.avro").write_bytes(good[: schema + 30] + b"\xff\x00" * 5 + good[schema + 40 :])
    dataset = build(folder, tmp_path / "a.h5", skip_bad=True)
    reasons = dict(dataset.rejected)
    assert any(name.startswith("cut.avro#") and "missing (after" in why for name, why in reasons.items())
    assert "not an avro file" in reasons["words.avro"]
    assert "mark" in reasons["mark.avro"]
    assert all("damaged head" in reasons[f"{name}.avro"] for name in ("head", "schema"))
    assert "empty.avro" in reasons
    assert 2 * N > dataset.n >= N + 3


def test_alerts_that_are_there_twice(tmp_path: Path) -> None:
    pixels = images()
    (tmp_path / "a.avro").write_bytes(written([ztf(0, pixels[0]), ztf(1, pixels[1])]))
    (tmp_path / "b.avro").write_bytes(written([ztf(1, pixels[1]), ztf(0, pixels[0], candid=0)]))
    dataset = build(tmp_path, tmp_path / "a.h5", skip_bad=True)
    assert dataset.rejected[0] == ("b.avro#1", f"the alert {10**18 + 1} is there twice; the first is row 1")
    assert str(10**18) in dataset.rejected[1][1]


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    head = written([], ZTF, "deflate")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join([*(packer.compress(bytes(1 << 24)) for _ in range(17)), packer.flush()])
    (tmp_path / "a.avro").write_bytes(head + number(1) + number(len(bomb)) + bomb + head[-16:])
    with pytest.raises(SourceError, match="unpacks to more than 64 MiB"):
        open_reading([tmp_path / "a.avro"])
    (tmp_path / "a.avro").write_bytes(head + number(1 << 40) + number(4) + b"\3\0\3\0" + head[-16:])
    with pytest.raises(SourceError, match="1,099,511,627,776 packets in 4 bytes: too small"):
        open_reading([tmp_path / "a.avro"])


def test_another_codec_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(written([], ZTF).replace(b"\x08null", b"\x08lzma"))
    with pytest.raises(SourceError, match="packed by 'lzma'; known are null, deflate"):
        open_reading([tmp_path / "a.avro"])


@pytest.mark.parametrize("seed", range(30))
def test_bytes_changed_at_random_never_crash(tmp_path: Path, seed: int) -> None:
    """What a flipped byte does not reach is read; the rest is rejected or refused by our own error."""
    random = np.random.default_rng(seed)
    data = bytearray(written([ztf(i, p) for i, p in enumerate(images(2))], codec="deflate" if seed % 2 else "null"))
    for at in random.integers(0, len(data), 3):
        data[at] ^= int(random.integers(1, 256))
    (tmp_path / "a.avro").write_bytes(bytes(data))
    try:
        for block in open_reading([tmp_path / "a.avro"]).blocks():
            assert block.images.shape[1:] == (SIDE, SIDE, 3)
    except SourceError as error:
        assert str(tmp_path) in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (["null", "alert"], "'alert' holds itself"),
        ({"type": "array", "items": "null"}, "an array of nothing"),
        ({"type": "array", "items": {"type": "record", "name": "e", "fields": []}}, "an array of nothing"),
        (json.loads('{"type": "array", "items": ' * 60 + '"int"' + "}" * 60), "more than 50 types inside each other"),
    ],
)
def test_a_schema_by_which_few_bytes_become_without_end(field: Any, said: str) -> None:
    schema = json.dumps({"type": "record", "name": "alert", "fields": [{"name": "x", "type": field}]}).encode()
    stream = io.BytesIO(b"Obj\x01\x02\x16avro.schema")
    stream.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(stream, {"type": "bytes"}, schema)
    stream.write(b"\0" + bytes(16))
    stream.seek(0)
    with pytest.raises(Unreadable, match=said):
        Container(stream)


def test_a_type_may_be_named_again() -> None:
    inner = {"type": "record", "name": "s", "namespace": "a.b", "fields": [{"name": "y", "type": "long"}]}
    again = [{"name": "p", "type": inner}, {"name": "q", "type": ["null", {"type": "array", "items": "a.b.s"}]}]
    data = written([{"p": {"y": 1}, "q": [{"y": 2}]}], {"type": "record", "name": "t", "fields": again})
    assert list(next(Container(io.BytesIO(data)).packets())[1]) == [{"p": {"y": 1}}]
    again = [*reversed(again[1:]), {"name": "r", "type": ["null", "a.b.s"]}]  # spelled out only where it is passed over
    again[0] = {"name": "q", "type": {"type": "map", "values": ["null", inner]}}
    data = written([{"q": {"k": {"y": 2}}, "r": {"y": 3}}], {"type": "record", "name": "t", "fields": again})
    assert list(next(Container(io.BytesIO(data)).packets())[1]) == [{"r": {"y": 3}}]


def number(value: int) -> bytes:
    """A zig-zag number as avro writes it."""
    value, out = value << 1, b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "a.avro").write_bytes(b"")
    with pytest.raises(SourceError, match=r"a\.avro: an empty file, of 0 bytes"):
        open_reading([tmp_path / "a.avro"])
    (tmp_path / "a.avro").write_bytes(written([]))
    with pytest.raises(SourceError, match="no packets"):
        open_reading([tmp_path / "a.avro"])


@pytest.mark.parametrize("kind", ["packets", "list", "large"])
def test_millions_of_tiny_records_do_not_fill_the_memory(tmp_path: Path, kind: str) -> None:
    """A block of tiny packets, one packet with a list of tiny records, and a block beyond the limit."""
    tiny: dict[str, Any] = {"type": "record", "name": "tiny", "fields": [{"name": "i", "type": "int"}]}
    count, data, said = 20_000_000, bytes(20_000_000), "20,000,000 packets in 20,000,000 bytes: too small to hold cut"
    schema = tiny
    if kind == "list":
        schema = {"type": "record", "name": "t", "fields": [{"name": "l", "type": {"type": "array", "items": tiny}}]}
        count, data, said = 1, number(3_000_000) + bytes(3_000_001), "no cut-outs in its schema"
    elif kind == "large":
        count, data, said = 1, bytes(1 << 27), "in 134,217,728 bytes, the limit is 64 MiB"
    head = written([], schema)
    path = tmp_path / "a.avro"
    path.write_bytes(head + number(count) + number(len(data)) + data + head[-16:])
    del data
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=said):
        open_reading([path])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10  # KiB; as objects 0.5 and 4 GB


def test_a_stamp_without_one_finite_pixel_is_named(tmp_path: Path) -> None:
    pixels = images()
    pixels[1, ..., 0] = np.nan
    pixels[3, ..., 1] = np.nan
    pixels[4, :5] = np.nan
    dataset = build(alerts(tmp_path / "night", pixels), tmp_path / "a.h5", skip_bad=True)
    assert [reason for _, reason in dataset.rejected] == ["science: no pixel is finite", "template: no pixel is finite"]
    assert dataset.n == 4
