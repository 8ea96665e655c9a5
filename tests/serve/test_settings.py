"""What `estampa serve` is told: flags, variables, names of models, the token."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import made_bundles
from estampa.cli import application
from estampa.errors import InputError
from estampa.monitor.registry import Registry
from estampa.serve import run
from estampa.serve.models import Models, placed
from estampa.serve.problems import Problem
from estampa.serve.settings import Settings, token_of

TOKEN = "a-token-of-enough-letters"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings with which the verb would have served."""
    found: list[Settings] = []
    monkeypatch.setattr(run, "serve", lambda settings, **_: found.append(settings))
    return found


def call(*words: str) -> None:
    application("serve")(["serve", *words], prog_name="estampa", standalone_mode=False)


def test_defaults_keep_to_this_machine_and_store_nothing(told: list[Settings]) -> None:
    call("run")
    settings = told[0]
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert (settings.log, settings.keep, settings.token, settings.root_path) == (None, None, "", "")


def test_a_variable_is_heard_and_a_flag_is_stronger(
    told: list[Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = {
        "RUNS": "a b=c", "HOST": "127.0.0.2", "PORT": "81", "WORKERS": "2", "THREADS": "3", "ROOT_PATH": "x/y/",
        "ALLOWED_HOST": "a.org b.org",
        "TOKEN": TOKEN, "LOG": str(tmp_path / "log"), "KEEP": str(tmp_path / "kept"), "RETENTION": "12h",
        "MAX_BODY": "3", "MAX_UPLOAD": "4", "MAX_PIXELS": "5", "MAX_OBJECTS": "6", "BODY_SECONDS": "7.5",
        "DRAIN_SECONDS": "8",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(f"ESTAMPA_SERVE_{name}", value)
    call("--port", "82")
    expected = Settings(
        bundles=("a", "b=c"), host="127.0.0.2", port=82, workers=2, threads=3, root_path="/x/y", token=TOKEN,
        allowed_hosts=("a.org", "b.org"),
        log=tmp_path / "log", keep=tmp_path / "kept", retention=timedelta(hours=12), max_body=3 << 20,
        max_upload=4 << 20, max_pixels=5, max_objects=6, body_seconds=7.5, drain_seconds=8,
    )  # fmt: skip
    assert told == [expected]


def test_listening_elsewhere_without_a_token_is_warned_of(
    told: list[Settings], capfd: pytest.CaptureFixture[str]
) -> None:
    call("run", "--host", "0.0.0.0")
    assert "without a token" in capfd.readouterr().err
    assert told[0].host == "0.0.0.0"


def test_that_kept_pictures_are_shown_to_everybody_is_warned_of(
    told: list[Settings], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ("--log", str(tmp_path / "log"), "--feedback", str(tmp_path / "labels"))
    keep, open_to_all = ("--keep", str(tmp_path / "kept")), ("--host", "0.0.0.0")
    warned = "shown on the labelling page to whoever reaches it"
    call("run", *labels, *keep, *open_to_all)
    assert warned in " ".join(capfd.readouterr().err.split())
    for words in ((*labels, *keep), (*labels, *open_to_all), (*keep, *open_to_all)):
        call("run", *words)
        assert warned not in " ".join(capfd.readouterr().err.split())
    monkeypatch.setenv("ESTAMPA_SERVE_TOKEN", TOKEN)
    call("run", *labels, *keep, *open_to_all)
    assert warned not in " ".join(capfd.readouterr().err.split())
    assert len(told) == 5


def test_that_drift_takes_a_log_is_said_at_the_start(
    told: list[Settings], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call("run")
    assert "Drift is not watched" in capsys.readouterr().err
    call("run", "--log", str(tmp_path / "log"))
    assert "Drift" not in capsys.readouterr().err


def test_a_token_comes_from_a_file_and_must_be_long(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nnot this\n")
    assert token_of(file, "") == TOKEN
    assert token_of(None, TOKEN) == TOKEN
    assert token_of(None, "") == ""
    for text in ("short", "with a blank in its middle", "ñandú-ñandú-ñandú-ñandú"):
        with pytest.raises(InputError, match="a token is long and plain"):
            token_of(None, text)
    file.write_text("")
    with pytest.raises(InputError, match="empty"):
        token_of(file, "")
    with pytest.raises(InputError, match="cannot be read"):
        token_of(tmp_path / "none", "")


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(Settings(bundles=("a",), token=TOKEN))


def test_names_of_models(tmp_path: Path) -> None:
    made_bundles.make(tmp_path / "night 1" / "model")
    made_bundles.make(tmp_path / "plain")
    registry = tmp_path / "registry.jsonl"
    Registry(registry).promote(tmp_path / "plain", "champion", why="first", who="me")
    models = Models([f"{tmp_path / 'night 1'}", f"other={tmp_path / 'plain'}", f"{registry}:champion"])
    assert models.names() == ["night-1", "other", "champion"]
    assert placed(f"{tmp_path}:champion")[1].path == registry  # its folder will do
    assert models.pick("champion").version.number == "1"
    assert models.pick("other").bundle.hash == models.pick("night-1").bundle.hash
    with pytest.raises(Problem) as which:
        models.pick()
    assert (which.value.kind, which.value.status) == ("which-model", 400)
    with pytest.raises(Problem, match="Did you mean 'other'") as none:
        models.pick("othr")
    assert none.value.status == 404


def test_two_models_of_one_name_are_refused(tmp_path: Path) -> None:
    made_bundles.make(tmp_path / "a" / "model")
    made_bundles.make(tmp_path / "b" / "a" / "model")
    with pytest.raises(InputError, match="two models are called 'a'"):
        Models([str(tmp_path / "a"), str(tmp_path / "b" / "a")])
    with pytest.raises(InputError, match="no model to serve"):
        Models([])
