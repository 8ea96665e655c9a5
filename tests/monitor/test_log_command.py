"""The verbs promote, rollback and log: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from estampa.cli import main
from estampa.monitor.kept import Kept
from estampa.monitor.log import LogWriter
from made_bundles import make
from made_logs import line


def run(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert (ended.value.code or 0) == code, err
    return out, err


def test_a_name_is_given_and_given_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = make(tmp_path / "a" / "model"), make(tmp_path / "b" / "model", thresholds={"confidence": 0.6})
    where = ("--registry", tmp_path)
    out, _ = run(capsys, "promote", tmp_path / "a", *where, "--why", "first", "--who", "ana")
    assert f"champion is version 1, model {one.hash}, in {(tmp_path / 'a' / 'model').resolve()}" in out
    out, _ = run(capsys, "promote", tmp_path / "b", *where, "--why", "better", "--instead-of", one.hash, "--json")
    told = json.loads(out)
    assert (told["version"], told["model"], told["action"]) == (2, two.hash, "promote")
    _, err = run(capsys, "promote", tmp_path / "b", *where, "--why", "late", "--instead-of", one.hash, code=2)
    assert "is another model by now" in err
    run(capsys, "promote", tmp_path / "b", *where, "--why", "", code=2)
    out, _ = run(capsys, "rollback", *where, "--why", "misses rings", "--json")
    back = json.loads(out)
    assert (back["version"], back["action"]) == (1, "rollback")
    out, _ = run(capsys, "log", "history", *where, "--head", told["sha256"])
    lines = out.splitlines()
    assert [text.split()[3] for text in lines[1:4]] == ["promote", "promote", "rollback"]
    assert lines[-1] == f"head {back['sha256']}"
    assert "ana" in lines[1]
    out, _ = run(capsys, "log", "history", *where, "--json")
    assert [entry["why"] for entry in json.loads(out)["entries"]] == ["first", "better", "misses rings"]
    _, err = run(capsys, "log", "history", *where, "--head", "0" * 64, code=3)
    assert "no line has the head that was kept" in err


def test_a_log_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    other = line("c", model="a" * 12, time="2026-11-23T00:00:00.000Z", flags=["invalid:u|g", "out_of_range"])
    LogWriter(path).append([line("a"), line("b", time="2026-11-22T18:00:00.000Z"), other])
    with path.open("a") as stream:
        stream.write("foreign\n" * 25)
    out, err = run(capsys, "log", "show", "--log", path)
    assert err.count("warning:") == 21
    assert "log, row 4: not JSON" in err
    assert "and 5 more lines that are none" in err
    assert [text.split()[:3] for text in out.splitlines()[1:]] == [["a" * 12, "1", "1"], ["0de2d7149222", "2", "0"]]
    out, _ = run(capsys, "log", "show", "--log", path, "--log", path, "--json")
    told = json.loads(out)
    assert told["bad"] == 50
    assert told["models"]["0de2d7149222"] == {
        "lines": 4, "unanswered": 0, "first": "2026-11-22T17:26:06.123Z", "last": "2026-11-22T18:00:00.000Z",
        "flags": {"low_confidence": 4},
    }  # fmt: skip
    (tmp_path / "empty").touch()
    assert run(capsys, "log", "show", "--log", tmp_path / "empty")[0] == "no lines\n"


def test_answers_are_forgotten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log"
    LogWriter(path).append([line("r.0"), line("r.1"), line("s.0")])
    Kept(tmp_path / "kept").put("r.1", np.zeros(3), {})
    out, _ = run(capsys, "log", "forget", "r", "--log", path, "--keep", tmp_path / "kept")
    assert out == "forgotten: 2 log lines, 1 kept inputs, 0 labels\n"
    out, err = run(capsys, "log", "forget", "s", "typo", "--log", path, "--json", code=2)
    assert json.loads(out) == {"lines": 1, "inputs": 0, "labels": 0, "unknown": ["typo"]}
    assert "of 1 of 2 ids there was nothing. Got: typo" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["shwo"], "Did you mean 'show'?"),
        (["show"], "Give --log"),
        (["history"], "Give --registry"),
        (["forget", "a"], "Give --log, --keep, --feedback"),
        (["forget", "--log", "log"], "no id"),
        (["show", "a", "--log", "log"], "takes no ids"),
        (["show", "--log", "nothing"], "no such log"),
        (["history", "--registry", "nothing"], "no such registry"),
    ],
)
def test_wrong_use_ends_with_2_and_a_cure(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = run(capsys, "log", *words, code=2)
    assert out == ""
    assert told in err
    assert "Traceback" not in err


def test_the_room_needs_the_base_install_only() -> None:
    heavy = ("torch", "sklearn", "scipy", "matplotlib", "onnx", "fastapi", "uvicorn", "prometheus_client", "pyarrow")
    program = (
        "import sys\n"
        "from estampa.monitor import kept, log, registry, summary\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
