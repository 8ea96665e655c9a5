"""Tail: the end of a log, whatever becomes of its file."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from estampa.monitor import tail as module
from estampa.monitor.log import LogWriter
from estampa.monitor.tail import Tail

OURS, OTHERS = "0a1b2c3d4e5f", "f" * 12


def made(*numbers: int, model: str = OURS) -> list[dict[str, Any]]:
    """Lines with these ids."""
    return [
        {
            "format": 1, "id": f"r{i}", "time": "2026-01-01T10:00:00.000Z", "model": model,
            "describe": [0.5, None, float(i)], "components": [], "output": [0.25, 0.75], "flags": ["low_confidence"],
        }
        for i in numbers
    ]  # fmt: skip


def ids(lines: list[dict[str, Any]]) -> list[int]:
    return [int(line["id"][1:]) for line in lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    LogWriter(tmp_path / "log").append(made(*range(30)))
    return tmp_path / "log"


def test_each_look_gives_what_came_since(path: Path) -> None:
    tail = Tail(path, 10)
    assert tail.read() == made(*range(20, 30))
    assert tail.read() == []
    log = LogWriter(path)
    log.append(made(30))
    log.append(made(31, 32))
    assert ids(tail.read()) == [30, 31, 32]
    log.append(made(*range(33, 60)))
    assert ids(tail.read()) == list(range(50, 60))
    assert ids(Tail(path, 1000).read()) == list(range(60))


@pytest.mark.parametrize("piece", [1, 7, 64, 1000, 1 << 18])
def test_pieces_of_any_size_make_the_same_lines(path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    monkeypatch.setattr(module, "_PIECE", piece)
    tail = Tail(path, 25)
    assert tail.read() == made(*range(5, 30))
    LogWriter(path).append(made(30, 31))
    assert ids(tail.read()) == [30, 31]


def test_a_line_that_is_being_written_is_given_when_it_is_whole(path: Path) -> None:
    tail = Tail(path, 5)
    text = json.dumps(made(30)[0], separators=(",", ":")).encode()
    with path.open("ab", buffering=0) as stream:
        stream.write(text[:40])
        assert ids(tail.read()) == [25, 26, 27, 28, 29]
        stream.write(text[40:])
        assert tail.read() == []
        stream.write(b"\n" + text[:50])
        assert ids(tail.read()) == [30]
    LogWriter(path).append(made(31))  # what was cut is closed, and passed over
    assert ids(tail.read()) == [31]
    assert tail.passed == 1


def test_what_is_no_line_of_ours_is_passed_over(path: Path) -> None:
    texts = path.read_bytes().splitlines(keepends=True)
    texts[27] = b" " * (len(texts[27]) - 1) + b"\n"  # forgotten
    texts[26] = b'{"format":1,"id":"r26"\n'
    texts[25:25] = [b"\x00\xff\n", b"\n", b"[" * 9000 + b"\n", texts[0].replace(OURS.encode(), OTHERS.encode())]
    path.write_bytes(b"".join(texts))
    every, ours = Tail(path, 6), Tail(path, 6, OURS)
    assert ids(every.read()) == [23, 24, 0, 25, 28, 29]
    assert ids(ours.read()) == [22, 23, 24, 25, 28, 29]
    assert (every.passed, ours.passed, every.fault) == (3, 0, "")


def test_a_model_that_is_named_elsewhere_in_a_line_is_not_its_own(path: Path) -> None:
    strange = made(99, model=OTHERS)[0] | {"flags": [f'"model":"{OURS}"'], "id": f'r"model":"{OURS}"'}
    path.write_text(json.dumps(strange) + "\n" + f'{{"model":"{OURS}"}}\n' + path.read_text())
    assert ids(Tail(path, 100, OURS).read()) == list(range(30))


def test_a_rotated_file_is_read_to_its_end_before_the_new_one(path: Path) -> None:
    tail, log = Tail(path, 6), LogWriter(path)
    tail.read()
    log.append(made(30, 31))
    handles = len(list(Path("/proc/self/fd").iterdir()))
    path.rename(path.with_suffix(".1"))
    assert tail.read() == []
    assert tail.fault == module.MISSING
    log.append(made(32, 33))
    assert ids(tail.read()) == [30, 31, 32, 33]
    assert tail.fault == ""
    log.append(made(*range(34, 40)))
    path.rename(path.with_suffix(".2"))
    log.append(made(40))
    assert ids(tail.read()) == [35, 36, 37, 38, 39, 40]
    assert len(list(Path("/proc/self/fd").iterdir())) == handles


def test_a_truncated_file_is_read_from_its_new_beginning(path: Path) -> None:
    tail = Tail(path, 6)
    tail.read()
    os.truncate(path, 0)
    assert tail.read() == []
    LogWriter(path).append(made(50, 51))
    assert ids(tail.read()) == [50, 51]
    longer = "".join(json.dumps(line, separators=(", ", ":")) + "\n" for line in made(*range(60, 64)))
    with path.open("r+") as stream:  # emptied and grown beyond its old end between two looks
        stream.truncate(0)
        stream.write(longer)
    assert ids(tail.read()) == [60, 61, 62, 63]


def test_what_cannot_be_read_raises_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = path.with_suffix(".pipe")
    os.mkfifo(pipe)
    for strange in (pipe, path.parent, Path("/dev/null")):
        tail = Tail(strange, 5)
        assert tail.read() == []
        assert tail.fault == "not a regular file"
    nowhere = Tail(path.parent / "none" / "log", 5)
    assert nowhere.read() == []
    assert nowhere.fault == module.MISSING
    tail, whole = Tail(path, 5), os.pread

    def failing(handle: int, size: int, at: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(module.os, "pread", failing)
    assert tail.read() == []
    assert tail.fault == "Input/output error"
    monkeypatch.setattr(module.os, "pread", whole)
    assert ids(tail.read()) == [25, 26, 27, 28, 29]
    assert tail.fault == ""


def test_a_look_is_bounded_whatever_the_file_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)  # a hole of a tebibyte without a line break
    monkeypatch.setattr(module, "_MOST", 1 << 20)
    tail = Tail(path, 5)
    begun = time.monotonic()
    assert tail.read() == []
    path.write_bytes(b"x\n" * 400_000)
    assert tail.read() == []
    assert time.monotonic() - begun < 3
    assert tail.passed == 100_000
    log = LogWriter(path)
    log.append(made(1))
    assert ids(tail.read()) == [1]
    one = len(path.read_bytes().splitlines()[-1]) + 1
    log.append(made(*range(2, 200)))
    monkeypatch.setattr(module, "_MOST", 3 * one + 20)
    assert ids(Tail(path, 5).read()) == [197, 198, 199]


def test_looks_at_any_moment_give_each_line_once(path: Path) -> None:
    draw, tail, log = random.Random(4), Tail(path, 1000), LogWriter(path)
    found, last = ids(tail.read()), 30
    for _ in range(200):
        if draw.random() < 0.6:
            many = draw.randrange(1, 9)
            log.append(made(*range(last, last + many)))
            last += many
        if draw.random() < 0.05:
            path.rename(path.with_suffix(f".{last}"))
            log.append(made(last))
            last += 1
            found += ids(tail.read())
        if draw.random() < 0.4:
            found += ids(tail.read())
    assert found + ids(tail.read()) == list(range(last))
