"""Inputs kept by consent go when their time has come, and nothing else does."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from estampa.errors import InputError, StorageError
from estampa.monitor import kept as kept_module
from estampa.monitor.kept import Kept, retention_of

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_what_is_kept_reads_back(dtype: str, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", DAY)
    array = np.arange(24, dtype=dtype).reshape(2, 4, 3)
    path = kept.put("r1.0", array, {"model": "0de2d7149222", "name": "ñ"}, now=NOON)
    assert path.name == "r1.0.20261123T120000Z.npz"
    found = kept.read("r1.0")
    np.testing.assert_array_equal(found.array, array)
    assert found.array.dtype == dtype
    assert (found.id, found.expires, found.facts) == ("r1.0", NOON + DAY, {"model": "0de2d7149222", "name": "ñ"})
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert [p.name for p in (tmp_path / "kept").iterdir()] == [path.name]


def test_what_has_expired_goes_and_the_promise_holds(tmp_path: Path) -> None:
    Kept(tmp_path, DAY).put("short", np.zeros(1), {}, now=NOON)
    kept = Kept(tmp_path, 30 * DAY)
    kept.put("long", np.zeros(1), {}, now=NOON)
    assert kept.purge(NOON + DAY - timedelta(seconds=1)) == 0
    assert kept.purge(NOON + DAY) == 1  # as was promised when it was stored
    assert kept.ids() == ["long"]
    assert kept.purge(NOON - 100 * DAY) == 0  # a clock that jumped back
    assert kept.purge(NOON + 31 * DAY) == 1
    assert kept.purge(NOON + 31 * DAY) == 0
    kept.put("now", np.zeros(1), {})
    assert kept.purge() == 0


def test_only_what_was_stored_is_deleted(tmp_path: Path) -> None:
    kept = Kept(tmp_path, DAY)
    kept.put("a", np.zeros(1), {}, now=NOON)
    (tmp_path / "a.20261123T120000Z.npz").rename(tmp_path / "b.20261123T120000Z.npz.part")  # a write that was killed
    others = ["notes.txt", "a.npz", "a.20261123T120000Z.npz.txt", "a.99999999T999999Z.npz", ".a.20261123T120000Z.npz"]
    for name in others:
        (tmp_path / name).touch()
    assert kept.ids() == []
    assert kept.purge(NOON + 2 * DAY) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(others)


def test_a_link_is_deleted_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "precious").write_text("stays")
    (tmp_path / "kept" / "a.20261123T120000Z.npz").symlink_to(tmp_path / "precious")
    assert Kept(tmp_path / "kept", DAY).purge(NOON + 2 * DAY) == 1
    assert (tmp_path / "precious").read_text() == "stays"


def test_forgetting_a_request_or_one_answer(tmp_path: Path) -> None:
    kept = Kept(tmp_path, DAY)
    for name in ("r1.0", "r1.1", "r10.0", "r1", "r1.x"):
        kept.put(name, np.zeros(1), {})
    assert kept.forget("r1.1") == 1
    assert kept.ids() == ["r1", "r1.0", "r1.x", "r10.0"]
    assert kept.forget("r1") == 2
    assert kept.ids() == ["r1.x", "r10.0"]
    assert kept.forget("r1") == kept.forget("../r10.0") == kept.forget("") == 0
    assert Kept(tmp_path / "not yet", DAY).forget("r1") == 0
    assert not (tmp_path / "not yet").exists()


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "ñ", "a\n", "x" * 129, "-rf", "a\x00"])
def test_an_id_that_is_no_name_of_a_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an id that is no name of a file"):
        Kept(tmp_path / "kept", DAY).put(name, np.zeros(1), {})
    assert not (tmp_path / "kept").exists()


def test_only_numbers_are_kept(tmp_path: Path) -> None:
    for array in (np.array([{}], object), np.array(["text"]), np.zeros(1, [("a", "f4")])):
        with pytest.raises(InputError, match="an input holds numbers"):
            Kept(tmp_path, DAY).put("a", array, {})
    with pytest.raises(ValueError):
        Kept(tmp_path, DAY).put("a", np.zeros(1), {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04cut", b"not a zip", b"\x93NUMPY\x01\x00v\x00{}"])
def test_a_damaged_file_is_told(content: bytes, tmp_path: Path) -> None:
    kept = Kept(tmp_path, DAY)
    path = kept.put("a", np.zeros(4), {})
    path.write_bytes(content)
    with pytest.raises(InputError, match="a kept input is damaged"):
        kept.read("a")


def test_a_file_of_another_id_or_cut_is_told(tmp_path: Path) -> None:
    kept = Kept(tmp_path, DAY)
    path = kept.put("a", np.zeros(400), {})
    path.rename(path.with_name(path.name.replace("a.", "b.", 1)))
    with pytest.raises(InputError, match="of another id"):
        kept.read("b")
    with pytest.raises(InputError, match="nothing is kept under this id"):
        kept.read("a")
    path = kept.put("c", np.zeros(400), {})
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match="a kept input is damaged"):
        kept.read("c")
    np.savez(tmp_path / "d.20301123T120000Z.npz", input=np.array([{}], object), record=np.zeros(1))
    with pytest.raises(InputError, match="a kept input is damaged"):
        kept.read("d")


FULL = """
import resource, sys
import numpy as np
from datetime import timedelta
from estampa.errors import StorageError
from estampa.monitor.kept import Kept
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
kept = Kept(sys.argv[1], timedelta(days=1))
kept.put("small", np.zeros(10), {})
try:
    kept.put("large", np.zeros(10_000), {})
except StorageError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL, str(tmp_path)]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "the disk is full" in ended.stdout
    assert [p.name.partition(".")[0] for p in tmp_path.iterdir()] == ["small"]


@pytest.mark.parametrize(
    ("text", "length"),
    [("30d", 30 * DAY), (" 12 h ", DAY / 2), ("90min", DAY / 16), ("45s", timedelta(seconds=45)), ("2w", 14 * DAY)],
)
def test_a_retention_is_a_number_and_a_unit(text: str, length: timedelta) -> None:
    assert retention_of(text) == length


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5d", "30 days", "4000d", "1e3s", "٣d", "99999999w", "999999999d"]
)
def test_any_other_retention_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a retention time"):
        retention_of(text)


def test_a_store_needs_a_folder_and_a_retention(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="is a file"):
        Kept(tmp_path / "file", DAY)
    for retention in (timedelta(), -DAY, 4000 * DAY):
        with pytest.raises(InputError, match="not a retention time"):
            Kept(tmp_path, retention)


def test_nobody_else_may_read_what_is_kept_whatever_the_folder_allows(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        path = Kept(tmp_path).put("a", np.zeros(3), {})
        left = path.with_name(path.name + ".part")
        left.touch(0o666)  # of a write that was killed
        Kept(tmp_path).put("a", np.zeros(3), {})
    finally:
        os.umask(before)
    assert {oct(found.stat().st_mode & 0o777) for found in tmp_path.iterdir()} == {"0o600"}


def test_one_is_read_of_a_folder_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page to label looks one up at each view: the names of others are not even taken apart."""
    kept = Kept(tmp_path, DAY)
    for name in ("a.1", "a.10", "a.1.0", "b.1"):
        kept.put(name, np.full(2, len(name)), {}, now=NOON)
    kept.put("a.1", np.full(2, 7.0), {}, now=NOON + DAY)
    for i in range(2000):
        (tmp_path / f"c{i}.0.20261123T120000Z.npz").touch()
    looked = []
    real = kept_module._FILE
    monkeypatch.setattr(
        kept_module, "_FILE", SimpleNamespace(fullmatch=lambda n: looked.append(n) or real.fullmatch(n))
    )
    found = kept.read("a.1")
    assert (found.array.tolist(), found.expires) == ([7, 7], NOON + 2 * DAY), "the last one to go"
    assert len(looked) == 3, "a.1 twice, and a.1.0"
    with pytest.raises(InputError, match="nothing is kept under this id"):
        kept.read("a")
    assert kept.forget("a.1") == 3
    assert len(kept.ids(NOON + DAY / 2)) == 2002
    assert kept.ids(NOON + 2 * DAY) == []
    assert len(kept.ids()) == 2002
