"""Runs and versions on an MLflow server: a stub of its calls on the loopback."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from estampa.bundle.store import Bundle, write
from estampa.cli import main
from estampa.errors import EstampaError, InputError
from estampa.monitor.mlflow import export_registry, export_runs, metrics_of, params_of, tags_of
from estampa.monitor.mlflow_api import Refused, Server
from estampa.monitor.registry import Registry
from made_bundles import content_of
from made_mlflow import Stub, served
from made_pairs import model


@pytest.fixture
def stub() -> Iterator[Stub]:
    with served() as found:
        yield found


def bundle_with(folder: Path) -> Bundle:
    """One whose recipe and figures hold what MLflow does not take as it is."""
    content = content_of()
    recipe = {"name": "mean", "train": {"rate": 0.001, "long": "x" * 3000, "none": None}, "data": {"by": ["snr"]}}
    figure = {"value": 0.9, "low": 0.8, "high": None}
    metrics = {
        "n": 14, "part": "test", "metrics": {"accuracy": figure},
        "per_class": [{"class": "dark [1]", "n": 7, "recall": figure}],
    }  # fmt: skip
    tree = {**content.manifest, "recipe": recipe, "metrics": metrics, "decisions": ("Made by a test.",)}
    return write(folder, replace(content, manifest=tree))


def test_what_is_told_of_a_bundle(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "b")
    assert metrics_of(bundle) == {
        "accuracy": 0.9, "accuracy.low": 0.8, "recall/dark _1_": 0.9, "recall/dark _1_.low": 0.8, "n": 14.0,
    }  # fmt: skip
    params = params_of(bundle)
    assert params["train.rate"] == "0.001"
    assert params["data.by"] == '["snr"]'
    assert "train.none" not in params
    assert len(params["train.long"]) == 500
    assert params["train.long"].endswith("...")
    assert tags_of(bundle)["estampa.decisions"] == "Made by a test."


def test_runs_are_exported_once(stub: Stub, tmp_path: Path) -> None:
    bundles = [bundle_with(tmp_path / "b"), model(tmp_path / "c", 0.3)]
    first = export_runs(bundles, Server(stub.url))
    again = export_runs(bundles, Server(stub.url))
    assert [one.new for one in first] == [True, True]
    assert [one.new for one in again] == [False, False]
    assert [one.run_id for one in again] == [one.run_id for one in first]
    run = stub.runs[first[0].run_id]
    assert run["metrics"] == metrics_of(bundles[0])
    assert run["params"] == params_of(bundles[0])
    assert run["info"]["status"] == "FINISHED"
    assert run["tags"]["estampa.model"] == bundles[0].hash
    assert stub.experiments == {"estampa": "1"}
    assert stub.files == {}


def test_one_that_was_cut_short_is_made_anew(stub: Stub, tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "b")
    stub.fail = ("runs/log-batch", 500, b"oops")
    with pytest.raises(EstampaError, match="500"):
        export_runs([bundle], Server(stub.url))
    stub.fail = None
    assert export_runs([bundle], Server(stub.url))[0].new
    assert [run["info"]["status"] for run in stub.runs.values()] == ["RUNNING", "FINISHED"]


def test_files_are_sent_to_a_run_that_lacks_them(stub: Stub, tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "b")
    export_runs([bundle], Server(stub.url))
    assert stub.files == {}
    assert not export_runs([bundle], Server(stub.url), files=True)[0].new
    sent = dict(stub.files)
    assert len(sent) == 1 + len(bundle.manifest.files)
    stub.files.clear()
    export_runs([bundle], Server(stub.url), files=True)
    assert stub.files == {}, "once"


def test_files_go_where_the_server_keeps_them(stub: Stub, tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "b")
    export_runs([bundle], Server(stub.url), files=True)
    sent = {name.partition("/model/")[2]: data for name, data in stub.files.items()}
    assert set(sent) == {"bundle.json", *bundle.manifest.files}
    assert all(data == (bundle.folder / name).read_bytes() for name, data in sent.items())
    assert next(iter(stub.files)).startswith("1/r0/artifacts/model/")
    stub.artifacts = "s3://store/1"
    with pytest.raises(InputError, match=r"does not take files.*s3://store"):
        export_runs([model(tmp_path / "c", 0.3)], Server(stub.url), files=True)


def test_a_registry_becomes_versions_and_aliases(stub: Stub, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.jsonl")
    model(tmp_path / "a", 0.4)
    model(tmp_path / "b", 0.3)
    registry.promote(tmp_path / "a", why="the first", who="ana")
    registry.promote(tmp_path / "b", why="better", who="ben")
    registry.promote(tmp_path / "a", "challenger", why="held against it")
    found = export_registry(registry, Server(stub.url), "stamps")
    assert [one.version for one in found] == ["1", "2"]
    assert stub.aliases == {("stamps", "champion"): "2", ("stamps", "challenger"): "1"}
    versions = stub.models["stamps"]
    assert "promote as champion by ana: the first" in versions[0]["description"]
    assert versions[0]["source"] == "mlflow-artifacts:/1/r0/artifacts/model"
    registry.rollback(why="misses faint ones")
    again = export_registry(registry, Server(stub.url), "stamps")
    assert [one.new for one in again] == [False, False]
    assert len(stub.models["stamps"]) == 2
    assert stub.aliases["stamps", "champion"] == "1"


def test_a_bundle_that_is_gone_is_left_out(stub: Stub, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.jsonl")
    model(tmp_path / "a", 0.4)
    model(tmp_path / "b", 0.3)
    for name in ("a", "b"):
        registry.promote(tmp_path / name, why=name)
    (tmp_path / "a").rename(tmp_path / "moved")
    found = export_registry(registry, Server(stub.url), "stamps")
    assert [one.version for one in found] == ["1"]
    assert stub.aliases == {("stamps", "champion"): "1"}


def test_credentials_come_from_mlflows_own_variables(stub: Stub, tmp_path: Path) -> None:
    bundle = model(tmp_path / "b", 0.3)
    export_runs([bundle], Server(stub.url, {"MLFLOW_TRACKING_TOKEN": "t0k"}))
    assert stub.headers["Authorization"] == "Bearer t0k"
    export_runs([bundle], Server(stub.url, {"MLFLOW_TRACKING_USERNAME": "ana", "MLFLOW_TRACKING_PASSWORD": "x"}))
    assert base64.b64decode(stub.headers["Authorization"].removeprefix("Basic ")) == b"ana:x"
    export_runs([bundle], Server(stub.url, {}))
    assert "Authorization" not in stub.headers


def test_bad_servers_are_told(stub: Stub, tmp_path: Path) -> None:
    bundle = model(tmp_path / "b", 0.3)
    for wrong in ("ftp://x", "127.0.0.1:5000", "http://", "http://h/?q=1"):
        with pytest.raises(InputError, match="not an address"):
            Server(wrong)
    with pytest.raises(InputError, match="MLFLOW_TRACKING_TOKEN") as told:
        Server("http://ana:secret@host:5000")
    assert "secret" not in str(told.value)
    with pytest.raises(EstampaError, match="cannot be reached"):
        export_runs([bundle], Server("http://127.0.0.1:9"))
    stub.fail = ("experiments/get-by-name", 200, b"<html>hello</html>")
    with pytest.raises(EstampaError, match="no MLflow server"):
        export_runs([bundle], Server(stub.url))
    stub.fail = ("experiments/get-by-name", 302, b"")
    with pytest.raises(EstampaError, match="302"):
        export_runs([bundle], Server(stub.url, {"MLFLOW_TRACKING_TOKEN": "t0k"}))
    stub.fail = ("experiments/get-by-name", 403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}')
    with pytest.raises(Refused, match="PERMISSION_DENIED: no"):
        export_runs([bundle], Server(stub.url))
    stub.fail = None
    with pytest.raises(InputError, match="registered model"):
        export_registry(Registry(tmp_path / "registry.jsonl"), Server(stub.url), "a'b")


def test_the_commands(stub: Stub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = tmp_path / "registry.jsonl"
    Registry(registry).promote(model(tmp_path / "a", 0.4).folder, why="the first")
    words = ["log", "history", "--registry", str(registry), "--mlflow", stub.url, "--model", "stamps", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["exported"][0]["version"] == "1"
    before = len(stub.calls)
    with pytest.raises(SystemExit):
        main(["log", "history", "--registry", str(registry)])
    assert len(stub.calls) == before, "nothing is exported by itself"
    with pytest.raises(SystemExit) as ended:
        main(["log", "show", "--log", str(registry), "--mlflow", stub.url])
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        main(["runs", str(tmp_path), "--mlflow", stub.url, "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["exported"] == []
