"""The report of a watch: examples from kept inputs and from data, groups, days, regressions; a policy to edit."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.monitor.examples import EACH, FIGURES, SAMPLE, Examples
from estampa.monitor.kept import Kept
from estampa.monitor.line import moment
from estampa.monitor.log import LogWriter, lines_of
from estampa.monitor.policy import Policy, read_policy
from estampa.monitor.watch import Asked, watch_and_show
from made_bundles import make, pictures
from made_tables import galaxies
from made_tables import make as make_of_table

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("pictures") / "model", seen=pictures(300))


@pytest.fixture(scope="module")
def of_table(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_of_table(tmp_path_factory.mktemp("table") / "model", n=1500)


def logged(path: Path, bundle: Bundle, inputs: np.ndarray, at: str = "2026-01-01T10:00:00.000Z") -> Path:
    scores = bundle.score(inputs) if bundle.of_table else bundle.score(inputs, wanted=("output", "embedding"))
    LogWriter(path).append(lines_of(bundle, inputs, scores, [f"r{i}" for i in range(len(inputs))], when=moment(at)))
    return path


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["monitor", *map(str, words)])
    return int(ended.value.code or 0)


def test_kept_inputs_show_what_moved(of_pictures: Bundle, tmp_path: Path) -> None:
    images = pictures(80, seed=4) // 4
    log, kept = logged(tmp_path / "log", of_pictures, images), Kept(tmp_path / "kept")
    for i in range(40):
        kept.put(f"r{i}", images[i], {"model": of_pictures.hash})
    kept.put("r40", images[40], {"model": "0" * 12})
    kept.put("r41", images[41][:3], {"model": of_pictures.hash})
    kept.put("r42", images[42], {"model": of_pictures.hash}, NOW - timedelta(days=31))
    (tmp_path / "kept" / f"r43.{NOW + timedelta(days=3):%Y%m%dT%H%M%SZ}.npz").write_bytes(b"PK damaged")
    examples = Examples(of_pictures, kept)
    found, shown = watch_and_show(of_pictures, log, Asked(), examples)
    assert shown[0].figure in found.alerts
    assert 1 <= len(shown) <= FIGURES
    ids = [one.id for part in shown for one in part.examples]
    assert len(ids) == len(set(ids))
    assert set(ids) <= {f"r{i}" for i in range(40)}
    first = shown[0].examples[0]
    np.testing.assert_array_equal(first.input, images[int(first.id[1:])])
    assert run(of_pictures.folder, "--log", log, "--keep", tmp_path / "kept", "-o", tmp_path / "o") == 3
    page = (tmp_path / "o" / "monitor.html").read_text()
    assert "What it looks like" in page
    assert f"deleted on {NOW + timedelta(days=30):%Y-%m-%d}" in page
    assert (tmp_path / "o" / "monitor.html").stat().st_mode & 0o777 == 0o600


def test_an_example_is_the_farthest_on_the_side_that_moved(of_table: Bundle, tmp_path: Path) -> None:
    raw = galaxies(400, seed=3, failed=0)[0]
    raw[:, 1] += 0.6
    shown = watch_and_show(of_table, raw, Asked(), Examples(of_table))[1]
    colour = next(part for part in shown if part.figure.name == "u-g, typical")
    assert colour.figure.value < colour.figure.expected_low
    told = raw[:, 0] - raw[:, 1]
    assert {int(one.id) for one in colour.examples} <= set(np.argsort(told)[: FIGURES * EACH].tolist())
    assert len(colour.examples) == EACH


def test_the_sample_is_bounded_and_takes_from_everywhere(of_table: Bundle) -> None:
    examples = Examples(of_table)
    raw = galaxies(40_000, seed=3)[0]
    raw[:, 1] += 0.6
    watch_and_show(of_table, raw, Asked(), examples)
    rows = np.array([int(held.id) for held in examples._held])
    assert len(rows) == SAMPLE
    assert abs(rows.mean() / 20_000 - 1) < 0.1


def test_a_log_without_kept_inputs_shows_none(of_pictures: Bundle, tmp_path: Path) -> None:
    log = logged(tmp_path / "log", of_pictures, pictures(80, seed=4) // 4)
    assert run(of_pictures.folder, "--log", log, "-o", tmp_path / "o") == 3
    assert "What it looks like" not in (tmp_path / "o" / "monitor.html").read_text()


def test_tables_show_rows_beside_rows_of_the_bundle(of_table: Bundle, tmp_path: Path) -> None:
    raw = galaxies(300, seed=3)[0]
    raw[:, 1] += 0.6
    names = of_table.table.column_names
    rows = [",".join([f"o{i}", *map(str, row)]) for i, row in enumerate(raw)]
    (tmp_path / "new.csv").write_text("\n".join([",".join(["objid", *names]), *rows]) + "\n")
    assert run(of_table.folder, "--data", tmp_path / "new.csv", "-o", tmp_path / "o") == 3
    page = (tmp_path / "o" / "monitor.html").read_text()
    assert ">validation part<" in page
    assert "Raw rows." in page


def test_rows_kept_by_consent_are_shown(of_table: Bundle, tmp_path: Path) -> None:
    raw = galaxies(200, seed=3)[0]
    raw[:, 1] += 0.6
    log, kept = logged(tmp_path / "log", of_table, raw), Kept(tmp_path / "kept")
    kept.put("r7", raw[7], {"model": of_table.hash})
    assert run(of_table.folder, "--log", log, "--keep", tmp_path / "kept", "-o", tmp_path / "o") == 3
    page = (tmp_path / "o" / "monitor.html").read_text()
    assert ">r7<" in page
    assert "kept by consent" in page


def test_a_report_by_day_and_by_column(of_table: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(120, seed=8)
    logged(tmp_path / "log", of_table, raw)
    logged(tmp_path / "log2", of_table, raw, "2026-01-02T10:00:00.000Z")
    lines = [f"r{i},kind{c},{'ab'[i % 2]}" for i, c in enumerate(labels)]
    (tmp_path / "l.csv").write_text("\n".join(["id,label,camera", *lines]) + "\n")
    words = [of_table.folder, "--log", tmp_path / "log", "--labels", tmp_path / "l.csv", "-o", tmp_path / "o"]
    run(*words, "--log", tmp_path / "log2", "--by", "day")
    page = (tmp_path / "o" / "monitor.html").read_text()
    assert "Over time" in page
    assert "2026-01-02" in page
    run(*words, "--by", "camera")
    page = (tmp_path / "o" / "monitor.html").read_text()
    assert "By camera" in page
    anchors = set(re.findall(r'<tr id="([^"]+)"', page))
    assert set(re.findall(r'<a href="#(figure-[^"]+)"', page)) <= anchors, "every reason leads to its evidence"
    assert 'id="periods"' in page
    assert json.loads((tmp_path / "o" / "monitor.json").read_text())["by"] == "column camera"


def test_a_regression_is_reported(tmp_path: Path) -> None:
    bundle = make(tmp_path / "model", task="regression", classes=(), seen=pictures(200))
    np.save(tmp_path / "new.npy", pictures(80, seed=4) // 4)
    assert run(bundle.folder, "--data", tmp_path / "new.npy", "-o", tmp_path / "o") == 3
    assert "What it looks like" in (tmp_path / "o" / "monitor.html").read_text()


def test_keep_is_for_the_report_of_a_log(of_table: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = logged(tmp_path / "log", of_table, galaxies(30)[0])
    (tmp_path / "kept").mkdir()
    assert run(of_table.folder, "--log", log, "--keep", tmp_path / "kept") == 2
    assert "Give --log FILE and -o" in capsys.readouterr().err
    assert run(of_table.folder, "--data", log, "--keep", tmp_path / "kept", "-o", tmp_path / "o") == 2
    assert run(of_table.folder, "--log", log, "--keep", tmp_path / "none", "-o", tmp_path / "o") == 2
    assert "there is no such folder" in capsys.readouterr().err


def test_a_policy_to_edit_is_written_and_never_over_another(
    of_table: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, policy = logged(tmp_path / "log", of_table, galaxies(200, seed=12)[0]), tmp_path / "policy.toml"
    run(of_table.folder, "--log", log, "--write-policy", policy)
    assert read_policy(policy) == Policy()
    text = policy.read_text()
    assert '# [ranges."g-r, typical"]' in text
    assert "for 200 objects" in text
    policy.write_text(text.replace("days = 365", "days = 30"))
    capsys.readouterr()
    assert run(of_table.folder, "--log", log, "--write-policy", policy) == 2
    assert "is there already" in capsys.readouterr().err
    assert "days = 30" in policy.read_text()
    run(of_table.folder, "--log", log, "--policy", policy, "--write-policy", tmp_path / "next.toml")
    assert read_policy(tmp_path / "next.toml").age.days == 30


def test_a_command_that_fails_keeps_the_alarm(
    of_table: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = galaxies(200, seed=3)[0]
    raw[:, 1] += 0.6
    log = logged(tmp_path / "log", of_table, raw)
    for command, said in (("false", "failed with exit code 1"), ("no-such-command", "cannot be run")):
        assert run(of_table.folder, "--log", log, "--on-alert", command) == 3
        told = capsys.readouterr().err
        assert f"--on-alert: the command {said}" in told
        assert "left their range" in told


def test_the_next_command_is_the_one_that_was_typed(
    of_table: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, labels = galaxies(200, seed=3)
    raw[:, 1] += 0.6
    log, policy = logged(tmp_path / "log", of_table, raw), tmp_path / "p.toml"
    words = ["monitor", str(of_table.folder), "--log", str(log), "--by", "100", "--write-policy", str(policy)]
    monkeypatch.setattr("sys.argv", ["estampa", *words])
    assert run(*words[1:], "--json") == 3
    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert verdict["first"] == "label 100 objects"
    assert verdict["next"] == [shlex.join(["estampa", *words[:-2], "--labels", "FILE"])]
    rows = [f"r{i},kind{c}" for i, c in enumerate(labels)]
    (tmp_path / "l.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    again = shlex.split(verdict["next"][0].replace("FILE", str(tmp_path / "l.csv")))
    assert run(*again[2:]) == 3, "the command that is told runs"
