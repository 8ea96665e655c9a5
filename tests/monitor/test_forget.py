"""Answers are forgotten in place, in every form in which a log may hold them, while others write."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from estampa.errors import InputError, StorageError
from estampa.monitor import log
from estampa.monitor.epoch import NAME, epoch_of
from estampa.monitor.kept import Kept
from estampa.monitor.log import Fault, LogWriter, forget, read_log
from estampa.monitor.tail import Tail
from made_logs import appending, ids, line


def test_forgotten_lines_are_blank_and_all_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "log"
    LogWriter(path).append([line(name) for name in ("r1.0", "r1.1", "r10.0", "r2", "r1.x", "r1")])
    before, text = path.stat(), path.read_bytes()
    found = forget([path], ["r1", "nobody"])
    assert (found.lines, found.inputs, found.unknown) == (3, 0, ("nobody",))
    assert [(one.row, one.id) for one in read_log(path)] == [(3, "r10.0"), (4, "r2"), (5, "r1.x")]
    assert (path.stat().st_size, path.stat().st_ino) == (before.st_size, before.st_ino)
    after = path.read_bytes()
    assert [a == b for a, b in zip(after.split(b"\n"), text.split(b"\n"), strict=True)] == [False] * 2 + [True] * 3 + [
        False, True,
    ]  # fmt: skip
    assert b'"r1"' not in after
    assert b'"r1.0"' not in after


def test_a_single_answer_is_forgotten_without_its_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "log"
    LogWriter(path).append([line(f"r.{i}") for i in range(12)])
    assert forget([path], ["r.1"]).lines == 1
    assert ids(path) == [f"r.{i}" for i in range(12) if i != 1]


def test_twice_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    LogWriter(path).append([line("a")])
    assert forget([path], ["a"]).unknown == ()
    assert forget([path], ["a"]).unknown == ("a",)
    assert ids(path) == []


def test_rotated_logs_and_kept_inputs_are_forgotten_together(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "kept", timedelta(days=1))
    for name in ("a.0", "a.1", "b.0"):
        kept.put(name, np.zeros(3), {})
    for name in ("log", "log.1"):
        LogWriter(tmp_path / name).append([line("a.0"), line("b.0")])
    found = forget([tmp_path / "log", tmp_path / "log.1"], ["a"], tmp_path / "kept")
    assert (found.lines, found.inputs, found.unknown) == (2, 2, ())
    assert kept.ids() == ["b.0"]


def test_damaged_lines_of_the_answer_go_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    whole, other = json.dumps(line("a")), json.dumps(line("b"))
    path.write_text("\n".join([whole[:90], other[:90], whole[:70] + other, "no JSON", other, ""]))
    found = forget([path], ["a"])
    assert found.lines == 2
    faults: list[Fault] = []
    assert [one.row for one in read_log(path, faults.append)] == [5]
    assert [fault.row for fault in faults] == [2, 4]
    assert b'"a"' not in path.read_bytes()


def test_a_tail_without_line_break_is_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(json.dumps(line("b")) + "\n" + json.dumps(line("a")))
    assert forget([path], ["a"]).lines == 1
    LogWriter(path).append([line("c")])
    assert ids(path) == ["b", "c"]


@pytest.mark.parametrize("content", [b"", b"   \n\n", b"\n"])
def test_a_log_without_lines_has_nothing_to_forget(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    assert forget([tmp_path / "log"], ["a"]).unknown == ("a",)
    assert (tmp_path / "log").read_bytes() == content


def test_no_log_is_changed_when_one_cannot_be(tmp_path: Path) -> None:
    LogWriter(tmp_path / "log").append([line("a")])
    with gzip.open(tmp_path / "log.2.gz", "wb") as stream:
        stream.write(json.dumps(line("a")).encode())
    (tmp_path / "log.2.gz").rename(tmp_path / "log.2")
    for other, why in (
        (tmp_path / "log.2", "compressed"),
        (tmp_path / "no", "no such log"),
        (tmp_path, "regular file"),
    ):
        with pytest.raises(InputError, match=why):
            forget([tmp_path / "log", other], ["a"])
    assert ids(tmp_path / "log") == ["a"]
    with pytest.raises(InputError, match="no id"):
        forget([tmp_path / "log"], [""])


def test_what_was_rotated_away_meanwhile_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log"
    LogWriter(path).append([line("a"), line("b")])
    found_in = log._asked_in

    def slow(text: bytes, asked: set[str]) -> set[str]:
        found = found_in(text, asked)
        if found:
            path.write_bytes(b"other\n")  # copytruncate, between the look and the write
        return found

    monkeypatch.setattr(log, "_asked_in", slow)
    assert forget([path], ["a"]).unknown == ("a",)
    assert path.read_bytes() == b"other\n"


def test_forgetting_while_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "log"
    process = appending(path, "w", 1_000_000, pause=0.0002)
    gone: set[str] = set()
    while len(gone) < 16 and process.poll() is None:
        newest = [one.id for one in read_log(path, list)][-2:]
        if newest and not gone & set(newest):
            assert forget([path], newest).unknown == ()
            gone |= set(newest)
    assert process.poll() is None  # it wrote all the time
    process.kill()
    process.wait(60)
    found = ids(path)  # not one fault
    last = int(found[-1].partition("-")[2])
    assert found == [f"w-{i}" for i in range(last + 1) if f"w-{i}" not in gone]


def test_who_remembers_answers_is_told_that_some_were_forgotten(tmp_path: Path) -> None:
    logs, labels = tmp_path / "logs", tmp_path / "labels"
    for folder in (logs, labels):
        folder.mkdir()
        LogWriter(folder / "log").append([line(f"{folder.name}-{i}") for i in range(3)])
    (tmp_path / "linked").symlink_to(logs / "log")
    tail, other = Tail(tmp_path / "linked", 10), Tail(labels / "log", 10)
    assert len(tail.read()) == len(other.read()) == 3
    (logs / "log").rename(logs / "log.1")
    LogWriter(logs / "log").append([line("new")])
    assert len(tail.read()) == 1
    assert not tail.stale()
    forget([logs / "log.1"], ["logs-0"])
    assert tail.stale()
    assert not other.stale()
    tail.close()
    assert not tail.stale()
    assert [one["id"] for one in tail.read()] == ["new"]
    before = epoch_of(labels / "log")
    assert forget([logs / "log", logs / "log.1"], ["nobody"], feedback=[labels / "log"]).unknown == ("nobody",)
    assert tail.stale(), "one that was interrupted is told by the next"
    assert other.stale()
    assert before != epoch_of(labels / "log") != epoch_of(logs / "log")
    assert (logs / NAME).read_bytes() == b".."


def test_where_nobody_can_be_told_it_says_so(tmp_path: Path) -> None:
    LogWriter(tmp_path / "log").append([line("a"), line("b")])
    (tmp_path / NAME).mkdir()
    with pytest.raises(StorageError, match="could not be told"):
        forget([tmp_path / "log"], ["a"])
    assert ids(tmp_path / "log") == ["b"]
