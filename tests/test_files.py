"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from estampa import files
from estampa.errors import StorageError


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a.txt", "ñ")
    files.write_atomic(tmp_path / "a.txt", b"two")
    assert (tmp_path / "a.txt").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_atomic(tmp_path / "a.txt", "old")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"a\.txt: the disk is full.*Free space"):
        files.write_atomic(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"


def test_the_hash_is_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "b").write_bytes(content)
    assert files.sha256_of(tmp_path / "b") == hashlib.sha256(content).hexdigest()


def test_an_output_under_a_file_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="its folder is a file"):
        files.require_writable(tmp_path / "file" / "out.csv")


def test_an_output_whose_folder_cannot_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="its folder cannot be made"):
        files.require_writable(tmp_path / ("x" * 300) / "out.csv")


def test_other_faults_of_the_system_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.storage_errors(tmp_path):
        (tmp_path / "none").read_bytes()


def test_a_lock_makes_another_process_wait_and_goes_with_its_holder(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom estampa.files import locked\n"
        "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "a")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (tmp_path / "a.lock").open() as stream, pytest.raises(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()
    with files.locked(tmp_path / "a"):
        assert (tmp_path / "a.lock").exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'{"a": 1, "a": 2}', "twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ', "Expecting value"),
        (b'"\xff"', "utf-8"),
        (b"", "Expecting value"),
    ],
)
def test_json_from_outside_is_read_strictly(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        files.strict_json(text)


def test_json_that_is_good_is_read() -> None:
    assert files.strict_json('{"a": [1, null, "ñ"]}'.encode()) == {"a": [1, None, "ñ"]}
