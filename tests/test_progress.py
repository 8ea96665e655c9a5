"""The silent Progress keeps the protocol."""

from __future__ import annotations

import inspect

import pytest

from estampa import progress


def test_silence_answers_every_call_of_the_protocol(capsys: pytest.CaptureFixture[str]) -> None:
    calls = [n for n, f in vars(progress.Progress).items() if inspect.isfunction(f) and not n.startswith("_")]
    assert set(calls) == {"say", "warn", "start", "advance", "finish"}
    progress.SILENT.say("x")
    progress.SILENT.warn("x")
    progress.SILENT.start("x", None, "row")
    progress.SILENT.advance(3, "note")
    progress.SILENT.finish("x")
    assert capsys.readouterr() == ("", "")
