"""The frame of the command line: exit codes, streams, lazy verbs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from estampa.cli import VERBS, _guarded, main
from estampa.cli.console import Console
from estampa.errors import CheckFailed, Interrupted, SourceError, StorageError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "estampa", *words], capture_output=True, text=True, check=False)


def test_help_names_every_verb_and_is_instant() -> None:
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        ended = run("--help")
        seconds.append(time.monotonic() - began)
        assert ended.returncode == 0
        assert all(f"  {verb} " in ended.stdout for verb in VERBS)
    print(f"help took {min(seconds):.2f} s at best")  # speed is reported, never asserted


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str) -> None:
    ended = run(verb, "--help")
    assert ended.returncode == 0, ended.stderr
    assert "--help" in ended.stdout
    assert len(ended.stdout.splitlines()) > 5


def test_an_unknown_verb_is_refused_with_the_nearest() -> None:
    ended = run("tain", "x")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "estampa: no verb 'tain'. Did you mean 'train'?\n"


def test_an_unknown_flag_exits_with_2() -> None:
    ended = run("doctor", "--jsn")
    assert ended.returncode == 2
    assert "--jsn" in ended.stderr


def test_doctor_speaks_json() -> None:
    record = json.loads(run("doctor", "--json").stdout)
    assert record["versions"]["numpy"]
    assert record["threads"] >= 1
    lacking = {extra for extras in record["missing"].values() for extra in extras}
    assert lacking <= {"pretrained"}  # a large extra, which a checkout may do without


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("bad", where="x.csv"), 2), (StorageError("full"), 1), (CheckFailed("leak"), 3),
        (Interrupted("stopped"), 130), (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_errors_are_one_message_and_a_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise error

    with pytest.raises(Exception) as caught:
        _guarded(command)()
    assert caught.value.exit_code == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("estampa: ")
    assert len(err.splitlines()) == 1


def test_our_own_faults_keep_their_traceback() -> None:
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _guarded(command)()


def test_main_ends_with_the_exit_code() -> None:
    with pytest.raises(SystemExit) as end:
        main(["doctor", "--json"])
    assert not end.value.code


def test_results_go_to_stdout_and_the_rest_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json=True)
    console.say("a fact")
    console.warn("a doubt")
    console.start("reading", 2, "files")
    console.advance()
    console.finish("read")
    console.result({"n": 1}, ["people read this"])
    out, err = capsys.readouterr()
    assert json.loads(out) == {"n": 1}
    assert "a fact" in err
    assert "warning: a doubt" in err


def test_quiet_keeps_warnings_and_results(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(quiet=True)
    console.say("a fact")
    console.start("training", 2, "epoch")
    console.advance(note="loss 1")
    console.warn("a doubt")
    console.result({}, ["the result"])
    out, err = capsys.readouterr()
    assert out == "the result\n"
    assert err == "warning: a doubt\n"


def test_epochs_get_a_line_each_with_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.start("training 12 epochs", 12, "epoch")
    console.advance(note="loss 0.5  accuracy 0.9 *")
    err = capsys.readouterr().err
    assert "epoch  1/12  loss 0.5  accuracy 0.9 *  left " in err


def test_an_interruption_while_a_library_is_made_ends_with_130_too(tmp_path: Path) -> None:
    """Python ends itself by the signal when a KeyboardInterrupt came through exec(text), even if it was caught."""
    (tmp_path / "stopped.py").write_text(
        "import typer\n"
        "from estampa import cli\n"
        "def stopped(): exec('raise KeyboardInterrupt')\n"
        "try: cli._guarded(stopped)()\n"
        "except typer.Exit as end: raise SystemExit(end.exit_code)\n"
    )
    words = [sys.executable, "-m", "stopped"]  # as a module: only so does Python look at what it remembers
    ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr == "estampa: interrupted\n"
