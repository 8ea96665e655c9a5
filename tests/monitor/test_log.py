"""Log lines made from answers, written, read back and forgotten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estampa.data.summary import describe
from estampa.errors import InputError, StorageError
from estampa.monitor.log import Fault, LogWriter, forget, lines_of, read_log
from made_bundles import make, pictures


def written(path: Path, bundle_at: Path, n: int = 5) -> list[dict[str, object]]:
    bundle = make(bundle_at)
    images = pictures(n)
    lines = lines_of(bundle, images, bundle.score(images), [f"r{i}.0" for i in range(n)])
    assert LogWriter(path).append(lines) == n
    return lines


def test_what_is_logged_reads_back(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    images = pictures(7)
    scores = bundle.score(images)
    flags = [["out_of_range"] if i == 3 else [] for i in range(7)]
    LogWriter(tmp_path / "log").append(lines_of(bundle, images, scores, [f"r.{i}" for i in range(7)], flags))
    found = list(read_log(tmp_path / "log"))
    assert [line.id for line in found] == [f"r.{i}" for i in range(7)]
    assert {line.model for line in found} == {bundle.hash}
    assert scores.embedding is not None
    frame = bundle.tensors("reference")["projection"]
    np.testing.assert_array_equal(np.array([f.describe for f in found], np.float32), describe(images))
    np.testing.assert_array_equal(np.array([f.output for f in found], np.float32), scores.output)
    np.testing.assert_array_equal(np.array([f.components for f in found], np.float32), scores.embedding @ frame)
    assert found[3].flags == ("out_of_range",)
    assert found[2].flags == ()


def test_forgotten_lines_are_blank(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, tmp_path / "model")
    before = path.stat()
    found = forget([path], ["r2", "r4.0", "nobody"])
    assert (found.lines, found.inputs, found.unknown) == (2, 0, ("nobody",))
    assert [line.id for line in read_log(path)] == ["r0.0", "r1.0", "r3.0"]
    assert [line.row for line in read_log(path)] == [1, 2, 4]
    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)
    assert b"r2" not in path.read_bytes()


def test_a_cut_tail_does_not_spoil_the_next_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = written(path, tmp_path / "model", 3)
    path.write_bytes(path.read_bytes()[:-40])
    LogWriter(path).append(lines[:1])
    with pytest.raises(InputError, match="row 3: cut in the middle"):
        list(read_log(path))
    faults: list[Fault] = []
    assert [line.row for line in read_log(path, faults.append)] == [1, 2, 4]
    assert [(fault.row, fault.why) for fault in faults] == [(3, "cut in the middle")]


def test_a_full_disk_is_said_once(tmp_path: Path) -> None:
    writer = LogWriter("/dev/full")
    line = {"format": 1}
    with pytest.raises(StorageError, match="the disk is full"):
        writer.append([line])
    assert writer.append([line, line]) == 0
    assert (writer.lost, writer.failing) == (3, True)
