"""`estampa monitor` on what is damaged, of something else, or not there: one message, exit code 2, no traceback."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.monitor.labelled import Labels
from estampa.monitor.line import moment
from estampa.monitor.log import LogWriter, lines_of
from estampa.monitor.watch import watch
from made_tables import galaxies
from made_tables import make as make_of_table

NOISE = np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_of_table(tmp_path_factory.mktemp("bundle") / "model", n=1500)


@pytest.fixture
def log(bundle: Bundle, tmp_path: Path) -> Path:
    raw = galaxies(60, seed=2)[0]
    ids, when = [f"r{i}" for i in range(60)], moment("2026-01-01T10:00:00.000Z")
    LogWriter(tmp_path / "log").append(lines_of(bundle, raw, bundle.score(raw), ids, when=when))
    return tmp_path / "log"


def monitored(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the verb."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["monitor", *map(str, words)])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return int(ended.value.code or 0), out, err


def test_what_is_no_log(bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "binary").write_bytes(NOISE)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "blank").write_bytes(b"\n \n\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    said = {
        "binary": "lines that are none, the first", "empty": "Got: nothing", "blank": "Got: nothing",
        "folder": "not a regular file", "pipe": "not a regular file", "none": "there is no such log",
    }  # fmt: skip
    for name, words in said.items():
        code, out, err = monitored(capsys, bundle.folder, "--log", tmp_path / name, "--json")
        assert (code, out) == (2, ""), name
        assert words in err, name


def test_a_log_of_another_model_alone(bundle: Bundle, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log.write_text(log.read_text().replace(bundle.hash, "0" * 12))
    code, _, err = monitored(capsys, bundle.folder, "--log", log)
    assert code == 2
    assert "Got: 60 answers of 000000000000" in err


def test_a_cut_line_and_a_vast_one_are_left_aside_in_little_memory(bundle: Bundle, log: Path) -> None:
    texts = log.read_bytes().splitlines(keepends=True)
    with log.open("wb") as stream:
        stream.write(texts[0])
        stream.write(b'{"format":1,"id":"')
        for _ in range(200):
            stream.write(b"x" * (1 << 20))
        stream.write(b'"}\n' + texts[1] + texts[2][:100])
    tracemalloc.start()
    found = watch(bundle, log)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.n, found.bad) == (2, 2)
    assert "row 2: longer than" in found.faults[0]
    assert "row 4: cut in the middle" in found.faults[1]
    assert peak < 64 << 20, "a line is dropped once it has passed 16 MiB"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no column 'id'"),
        (NOISE, "cannot be read as a table"),
        (b"id,label\n", "has no rows"),
        (b"id,label\nr1,kind1\nr2\n", "line 3: a line has another number of cells"),
        (b"name,what\nr1,kind1\n", "has no column 'id'"),
        (b"id,colour\nr1,red\n", "has no column of labels"),
        (b"id,label\nr1,kind1\nr1,kind0\n", "1 ids occur twice"),
        (b"id,label\nr1,kind9\n", "'kind9' is no class"),
    ],
)
def test_damaged_labels(
    bundle: Bundle, log: Path, content: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = log.with_name("labels.csv")
    labels.write_bytes(content)
    code, _, err = monitored(capsys, bundle.folder, "--log", log, "--labels", labels)
    assert code == 2
    assert said in err


def test_labels_that_are_no_file(bundle: Bundle, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(log.with_name("pipe"))
    for path in (log.parent, log.with_name("pipe")):
        code, _, err = monitored(capsys, bundle.folder, "--log", log, "--labels", path)
        assert code == 2
        assert "not a regular file" in err


def test_an_empty_label_is_none(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("id,label\na,x\nb,\nc,y\n")
    labels = Labels.read(tmp_path / "l.csv", ("x", "y"))
    assert labels.n == 2
    np.testing.assert_array_equal(labels.of(np.array(["a", "b", "c"])), [0, np.nan, 1])


def test_labels_of_one_class_raise_no_alarm_about_the_other(bundle: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(300, seed=8)
    ids, when = [f"r{i}" for i in range(300)], moment("2026-01-01T10:00:00.000Z")
    LogWriter(tmp_path / "log").append(lines_of(bundle, raw, bundle.score(raw), ids, when=when))
    rows = "".join(f"r{i},kind1\n" for i in np.flatnonzero(labels == 1))
    (tmp_path / "one.csv").write_text(f"id,label\n{rows}")
    found = watch(bundle, tmp_path / "log", labels=tmp_path / "one.csv")
    for name in ("f1[kind0]", "precision[kind0]", "macro_f1"):
        figure = found.figure(name)
        assert figure.why == "no range: no label is of kind0", name
        assert not figure.alert
    assert np.isfinite(found.figure("recall[kind1]").score)
    assert not [f for f in found.alerts if f.kind == "performance"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[age]\ndais = 3\n", "unknown key 'age.dais'. Did you mean 'age.days'"),
        (b"[age\ndays = 3\n", "not TOML"),
        (b"[ranges.accuracy]\nlow = nan\n", "should be a finite number"),
        (b"[ranges.accuracy]\nlow = inf\n", "should be a finite number"),
        (b"[ranges.acuracy]\nlow = 0.5\n", "no watched figure 'acuracy'"),
        (NOISE, "not TOML"),
    ],
)
def test_a_policy_that_is_none(
    bundle: Bundle, log: Path, text: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.with_name("policy.toml").write_bytes(text)
    code, _, err = monitored(capsys, bundle.folder, "--log", log, "--policy", log.with_name("policy.toml"))
    assert code == 2
    assert said in err


def test_a_batch_of_one_and_objects_without_an_answer(
    bundle: Bundle, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(log.read_text().splitlines()[0] + "\n")
    code, out, _ = monitored(capsys, bundle.folder, "--log", log, "--json")
    assert code == 0
    assert json.loads(out)["n"] == 1
    tree = json.loads(log.read_text())
    for key in ("describe", "components", "output"):
        tree[key] = [None] * len(tree[key])
    tree["flags"] = ["unreadable"]
    log.write_text("".join(json.dumps(tree | {"id": f"r{i}"}, separators=(",", ":")) + "\n" for i in range(60)))
    code, out, _ = monitored(capsys, bundle.folder, "--log", log, "--json", "-o", log.with_name("o"))
    found = json.loads(out)
    assert (code, found["n"]) == (3, 60)
    assert found["alerts"] == ["flagged unreadable"]
