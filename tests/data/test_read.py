"""From paths to a Dataset: which source claims what, what is left out, what is kept for the next time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from making import make, noise

from estampa import parts
from estampa.data import read as reading_room
from estampa.data.dataset import Dataset, Header, ReadRecord, write_split
from estampa.data.read import ReadOptions, build, open_any, open_reading
from estampa.data.sources._base import Block, Reading, rows_per_block
from estampa.errors import InputError, Interrupted, SourceError, StorageError


class Heard:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.counted = 0
        self.total: int | None = None
        self.ended = 0

    def say(self, line: str) -> None:
        self.said.append(line)

    def warn(self, line: str) -> None:
        self.warned.append(line)

    def start(self, _what: str, total: int | None, _unit: str) -> None:
        self.total = total

    def advance(self, count: int = 1, _note: str = "") -> None:
        self.counted += count

    def finish(self, _note: str = "") -> None:
        self.ended += 1


@dataclass(kw_only=True)
class Given(Reading):
    """A Reading of an array in memory that may stop in the middle."""

    images: np.ndarray
    bad: dict[int, str]
    stop_at: int = 10**9
    error: BaseException | None = None

    def blocks(self, start: int = 0, size: int | None = None) -> Iterator[Block]:
        step = size or 10
        for first in range(start, len(self.images), step):
            if first >= self.stop_at and self.error is not None:
                raise self.error
            images = self.images[first : first + step].copy()
            bad = {row: why for row, why in self.bad.items() if first <= row < first + step}
            yield Block(first, images, bad)


def source_of(reading: Reading | None, claims: bool = True) -> Any:
    return SimpleNamespace(
        is_mine=lambda *_: None if claims else "it has no such rows",
        read=lambda *_: reading,
    )


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """A source that is the only one, over the path `raw`."""
    (tmp_path / "raw").mkdir()
    images = noise(95)
    reading = Given(
        header=Header(n=95, shape=(12, 12, 1), dtype="uint8", task="classification", classes=("id", "p_x")),
        ids=np.array([f"{i}.png" for i in range(95)]),
        labels=np.arange(95) % 2,
        fingerprint="files",
        notes=["2 classes, from the folders' names"],
        images=images,
        bad={},
    )
    monkeypatch.setattr(parts, "names", lambda folder: ["given"] if folder == "data/sources" else [])
    monkeypatch.setattr(parts, "load", lambda *_: source_of(reading))
    return reading


def test_a_build_streams_and_reports(tmp_path: Path, given: Given) -> None:
    heard = Heard()
    dataset = build(tmp_path / "raw", tmp_path / "a.h5", progress=heard)
    np.testing.assert_array_equal(dataset.images, given.images)
    assert dataset.classes == ("id", "p_x")
    assert (heard.counted, heard.total, heard.ended) == (95, 95, 1)
    assert heard.said == given.notes


def test_a_finished_build_is_opened_not_repeated(tmp_path: Path, given: Given) -> None:
    first = build(tmp_path / "raw", tmp_path / "a.h5")
    stamp = first.path.stat().st_mtime_ns
    heard = Heard()
    again = build(tmp_path / "raw", tmp_path / "a.h5", progress=heard)
    assert again.path.stat().st_mtime_ns == stamp
    assert "nothing to do" in heard.said[-1]


def test_another_build_of_that_name_needs_force(tmp_path: Path, given: Given) -> None:
    build(tmp_path / "raw", tmp_path / "a.h5")
    given.fingerprint = "other files"
    with pytest.raises(InputError, match=r"exists already.*--force"):
        build(tmp_path / "raw", tmp_path / "a.h5")
    given.images = given.images + 1
    assert build(tmp_path / "raw", tmp_path / "a.h5", force=True).images[0, 0, 0, 0] == given.images[0, 0, 0, 0]
    (tmp_path / "a.h5").write_text("something else")
    with pytest.raises(InputError, match="exists already"):
        build(tmp_path / "raw", tmp_path / "a.h5")


def test_unreadable_rows_are_named_and_the_rest_is_built(tmp_path: Path, given: Given) -> None:
    given.bad = dict.fromkeys(range(5, 20), "truncated")
    with pytest.raises(SourceError) as caught:
        build(tmp_path / "raw", tmp_path / "a.h5")
    message = str(caught.value)
    assert "15 rows could not be read; the other 80 are built" in message
    assert "5.png: truncated" in message
    assert "and 5 more" in message
    assert "--skip-bad" in message
    assert caught.value.exit_code == 2
    dataset = Dataset.open(tmp_path / "a.h5")
    assert dataset.n == 80
    assert len(dataset.rejected) == 15
    heard = Heard()
    assert build(tmp_path / "raw", tmp_path / "a.h5", skip_bad=True, progress=heard).n == 80
    assert "15 rows" in heard.warned[0]
    with pytest.raises(SourceError, match="15 rows could not be read"):
        build(tmp_path / "raw", tmp_path / "a.h5")


def test_ctrl_c_keeps_the_work(tmp_path: Path, given: Given) -> None:
    given.stop_at, given.error = 40, KeyboardInterrupt()
    with pytest.raises(Interrupted, match=r"40 of 95 rows are saved.*Run the same command again") as caught:
        build(tmp_path / "raw", tmp_path / "a.h5")
    assert caught.value.exit_code == 130
    assert not (tmp_path / "a.h5").exists()
    given.error = None
    heard = Heard()
    dataset = build(tmp_path / "raw", tmp_path / "a.h5", progress=heard)
    assert any("goes on after 40 of 95 rows" in line for line in heard.said)
    np.testing.assert_array_equal(dataset.images, given.images)


def test_a_fault_of_the_data_leaves_nothing_behind(tmp_path: Path, given: Given) -> None:
    given.stop_at, given.error = 40, SourceError("the archive ends in the middle", where="x.tar")
    with pytest.raises(SourceError, match="ends in the middle"):
        build(tmp_path / "raw", tmp_path / "a.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_a_full_disk_keeps_the_work(tmp_path: Path, given: Given) -> None:
    given.stop_at, given.error = 40, StorageError("the disk is full")
    with pytest.raises(StorageError):
        build(tmp_path / "raw", tmp_path / "a.h5")
    assert (tmp_path / "a.h5.part").exists()


def test_mismatched_columns_leave_nothing_behind(tmp_path: Path, given: Given) -> None:
    given.ids = given.ids[:-1]
    with pytest.raises(SourceError, match="ids do not fit the rows"):
        build(tmp_path / "raw", tmp_path / "a.h5")
    given.header = replace(given.header, n=0)
    with pytest.raises(SourceError, match="holds no rows"):
        build(tmp_path / "raw", tmp_path / "a.h5")
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_open_any_builds_once_into_the_cache(tmp_path: Path, given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    given.bad = {3: "torn"}
    heard = Heard()
    dataset = open_any(tmp_path / "raw", progress=heard)
    assert dataset.path.parent == tmp_path / "cache" / "datasets"
    assert "3.png: torn" in heard.warned[0]
    assert dataset.rejected_rows == [3]
    assert open_any(tmp_path / "raw").path == dataset.path
    assert open_any(dataset.path).path == dataset.path
    assert [p.suffix for p in sorted(dataset.path.parent.iterdir())] == [".h5", ".lock"]


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ESTAMPA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert reading_room.cache_folder() == Path("/x/estampa/datasets")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert reading_room.cache_folder() == Path.home() / ".cache" / "estampa" / "datasets"


# ---------------------------------------------------------------------------------------------- who claims it


def test_nobody_claims_it_shows_every_reason(tmp_path: Path) -> None:
    (tmp_path / "notes.xyz").write_bytes(b"\x00\x01")
    with pytest.raises(SourceError) as caught:
        open_reading([tmp_path / "notes.xyz"])
    for name in parts.names("data/sources"):
        assert f"{name}: " in str(caught.value)


def test_two_claims_are_ambiguous(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "names", lambda _: ["one", "two", "three"])
    monkeypatch.setattr(parts, "load", lambda _, name: source_of(None, claims=name != "three"))
    with pytest.raises(SourceError, match=r"more than one way. Got: one, two. Say which with --as"):
        open_reading([tmp_path])


def test_as_names_the_source(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("hello")
    with pytest.raises(InputError, match=r"unknown name 'datset'.*Did you mean 'dataset'"):
        open_reading([tmp_path / "x.txt"], ReadOptions(as_="datset"))
    with pytest.raises(SourceError, match=r"cannot be read as 'dataset': x.txt is not an HDF5 file"):
        open_reading([tmp_path / "x.txt"], ReadOptions(as_="dataset"))


def test_missing_paths_name_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "stamps.npz").write_text("")
    with pytest.raises(SourceError, match=r"no such file or folder. Did you mean 'stamps.npz'"):
        open_reading([tmp_path / "stmaps.npz"])
    with pytest.raises(SourceError, match="no data were given"):
        open_reading([])


def test_outputs_are_checked_before_the_work(tmp_path: Path, given: Given) -> None:
    (tmp_path / "f.h5").mkdir()
    (tmp_path / "file").write_text("")
    for output, message in (("a.csv", "ends in .h5"), ("f.h5", "is a folder"), ("file/a.h5", "folder")):
        with pytest.raises((InputError, StorageError), match=message):
            build(tmp_path / "raw", tmp_path / output)


def test_only_builders_take_options(tmp_path: Path, given: Given) -> None:
    with pytest.raises(InputError, match="only builders take --option"):
        build(tmp_path / "raw", tmp_path / "a.h5", builder_options={"a": "b"})


def test_a_builder_is_called_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(output: Path, options: dict[str, str], progress: Any) -> Dataset:
        calls.append(options)
        return make(output, noise(5), np.arange(5) % 2)

    monkeypatch.setattr(parts, "names", lambda folder: ["sky"] if folder == "data/builders" else [])
    sky = SimpleNamespace(OPTIONS={"count": "how many"}, build=run, is_built=lambda _set, asked: asked == calls[0])
    monkeypatch.setattr(parts, "load", lambda *_: sky)
    assert build("sky", tmp_path / "a.h5", builder_options={"count": "5"}).n == 5
    assert build("sky", tmp_path / "a.h5", builder_options={"count": "5"}).n == 5  # it is there: opened, not built
    with pytest.raises(InputError, match="exists already"):
        build("sky", tmp_path / "a.h5")
    with pytest.raises(InputError, match=r"unknown option 'cuont'.*Did you mean 'count'"):
        build("sky", tmp_path / "b.h5", builder_options={"cuont": "5"})
    with pytest.raises(
        InputError, match=r"decides how its files are read. Got: --size.*what the builder takes is --option KEY=VALUE: "
    ):
        build("sky", tmp_path / "b.h5", ReadOptions(size=(3, 3)))
    sky.is_built = lambda _set, _asked: True
    assert open_any("sky").path == open_any("sky").path
    assert calls == [{"count": "5"}, {}]


# ---------------------------------------------------------------------------------------------- Datasets as a source


def test_rows_are_added_by_joining_and_left_out_by_exclusion(tmp_path: Path) -> None:
    one = make(tmp_path / "1.h5", noise(30, 1), np.arange(30) % 2, ids=[f"a{i}" for i in range(30)])
    two = make(
        tmp_path / "2.h5", noise(20, 2), np.arange(20) % 2, ids=[f"b{i}" for i in range(20)], classes=("b", "ç"),
        groups=np.repeat(["g", "h"], 10),
    )  # fmt: skip
    (tmp_path / "out.csv").write_text(f"why,id\nblurred,a3\ndouble,{int(two.hashes[4]):016x}\n?,zzz\n")
    heard = Heard()
    options = ReadOptions(exclude=tmp_path / "out.csv")
    joined = build([one.path, two.path], tmp_path / "3.h5", options, progress=heard)
    assert joined.n == 48
    assert joined.classes == ("a", "b", "ç")
    assert joined.ids.tolist() == [i for i in [*one.ids.tolist(), *two.ids.tolist()] if i not in ("a3", "b4")]
    np.testing.assert_array_equal(joined.labels[29:], np.delete(np.arange(20) % 2, 4) + 1)
    assert joined.groups[-1] == "h"
    assert joined.groups[0] == "a0"
    np.testing.assert_array_equal(joined.images[:3], one.images[:3])
    assert heard.warned == ["1 entries of the exclude file match no row: zzz"]
    assert [o["n"] for o in joined.header.origin["joined"]] == [30, 20]


@pytest.mark.parametrize(
    "text", ["object 3\nobject 5\n", "id\nobject 3\nobject 5", "\ufeffname;\nobject 3\n\nobject 5\n"]
)
def test_exclude_files_with_and_without_heading(tmp_path: Path, text: str) -> None:
    dataset = make(tmp_path / "1.h5", noise(9), np.arange(9) % 2)
    (tmp_path / "out.txt").write_text(text.replace(";", ""), encoding="utf-8")
    assert build(dataset.path, tmp_path / "2.h5", ReadOptions(exclude=tmp_path / "out.txt")).n == 7


def test_odd_exclude_files_are_refused(tmp_path: Path) -> None:
    dataset = make(tmp_path / "1.h5", noise(9), np.arange(9) % 2)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("binary", "missing"):
        with pytest.raises(SourceError, match="exclude file cannot be read"):
            build(dataset.path, tmp_path / "2.h5", ReadOptions(exclude=tmp_path / name))
    (tmp_path / "all").write_text("\n".join(dataset.ids.tolist()))
    with pytest.raises(SourceError, match=r"no row is left.*--exclude"):
        build(dataset.path, tmp_path / "2.h5", ReadOptions(exclude=tmp_path / "all"))


def test_a_made_split_survives_an_exclusion(tmp_path: Path) -> None:
    dataset = make(tmp_path / "1.h5", noise(9), np.arange(9) % 2)
    write_split(dataset.path, np.arange(9) % 3 + 1, {"seed": 5})
    (tmp_path / "out.txt").write_text("object 0\n")
    smaller = build(dataset.path, tmp_path / "2.h5", ReadOptions(exclude=tmp_path / "out.txt"))
    np.testing.assert_array_equal(smaller.split, (np.arange(9) % 3 + 1)[1:])
    assert smaller.split_record == {"seed": 5, "carried_over": True}


def test_parts_survive_joining_when_every_file_has_them(tmp_path: Path) -> None:
    one, two, bare = (
        make(tmp_path / f"{k}.h5", noise(9, k), np.arange(9) % 2, ids=[f"{k}.{i}" for i in range(9)]) for k in range(3)
    )
    for dataset in (one, two):
        write_split(dataset.path, np.arange(9) % 3 + 1, {"seed": 5})
    heard = Heard()
    joined = build([one.path, two.path], tmp_path / "joined.h5", progress=heard)
    np.testing.assert_array_equal(joined.split, np.tile(np.arange(9) % 3 + 1, 2))
    assert joined.split_record == {"joined": 2, "published": False, "carried_over": True}
    assert any("parts of the 2 files are kept" in line for line in heard.said + heard.warned)

    mixed = build([bare.path, one.path], tmp_path / "mixed.h5", progress=heard)
    assert not mixed.split.any()
    assert mixed.split_record == {}
    assert any("parts of 0.h5 are dropped, as 2.h5 has none" in line for line in heard.said + heard.warned)


@pytest.mark.parametrize(
    "given",
    [
        {"units": "adu"},
        {"read": ReadRecord(source="folder", fit="pad")},
        {"images": noise(5, 3, side=8)},
        {"images": noise(5, 3).astype(np.uint16)},
        {"ids": [f"object {i}" for i in range(5)]},
    ],
    ids=["units", "read", "shape", "dtype", "ids"],
)
def test_what_does_not_belong_together_is_not_joined(tmp_path: Path, given: dict[str, Any]) -> None:
    one = make(tmp_path / "1.h5", noise(5), np.arange(5) % 2)
    other = {"ids": [f"b{i}" for i in range(5)]} | given
    two = make(tmp_path / "2.h5", other.pop("images", noise(5, 3)), np.arange(5) % 2, **other)
    with pytest.raises(SourceError, match=r"differs|two rows have the id"):
        build([one.path, two.path], tmp_path / "3.h5")


def test_a_dataset_is_taken_as_it_is(tmp_path: Path) -> None:
    one = make(tmp_path / "1.h5", noise(5), np.arange(5) % 2)
    with pytest.raises(SourceError, match="taken as it is; --size"):
        build(one.path, tmp_path / "2.h5", ReadOptions(size=(3, 3)))
    with pytest.raises(InputError, match="read and written at once"):
        build(one.path, one.path, force=True)


def test_blocks_of_a_reading_start_anywhere(tmp_path: Path) -> None:
    sets = [make(tmp_path / f"{k}.h5", noise(23, k), None, ids=[f"{k}.{i}" for i in range(23)]) for k in range(3)]
    reading = open_reading([one.path for one in sets])
    everything = np.concatenate([one.images for one in sets])
    for start in (0, 5, 23, 40, 68):
        blocks = list(reading.blocks(start, size=7))
        assert blocks[0].start == start
        np.testing.assert_array_equal(np.concatenate([b.images for b in blocks]), everything[start:])
    assert rows_per_block(reading.header) * 144 <= 16 << 20
