"""What may be wrong with what is watched, other sources than a log, gauges, and the verb."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.errors import InputError, SourceError
from estampa.monitor.estimate import Estimate
from estampa.monitor.gauges import Rolling
from estampa.monitor.line import moment
from estampa.monitor.log import LogWriter, lines_of
from estampa.monitor.ranges import Ranges
from estampa.monitor.watch import watch
from estampa.predict import predict
from made_bundles import make, pictures
from made_tables import galaxies
from made_tables import make as make_of_table


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_of_table(tmp_path_factory.mktemp("bundle") / "model", n=1500)


def logged(path: Path, bundle: Bundle, raw: np.ndarray, at: str = "2026-01-01T10:00:00.000Z", name: str = "r") -> Path:
    lines = lines_of(bundle, raw, bundle.score(raw), [f"{name}{i}" for i in range(len(raw))], when=moment(at))
    LogWriter(path).append(lines)
    return path


def labels_file(path: Path, labels: np.ndarray, name: str = "r") -> Path:
    path.write_text("id,label\n" + "".join(f"{name}{i},kind{c}\n" for i, c in enumerate(labels)))
    return path


def code_of(words: list[str]) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_cut_and_foreign_lines_are_named_and_left_aside(bundle: Bundle, tmp_path: Path) -> None:
    path = logged(tmp_path / "log", bundle, galaxies(30)[0])
    whole = watch(bundle, path)
    texts = path.read_text().splitlines()
    wrong = [texts[0][:200], "nonsense", texts[1].replace("[", "[1.0,", 1), texts[2].replace(bundle.hash, "0" * 12)]
    doubled = texts[3][:-1] + ',"flags":[]}'
    infinite = texts[4].replace("[", "[1e999,", 1)
    path.write_text("\n".join([*wrong, doubled, infinite, *texts]) + "\n")
    found = watch(bundle, path)
    assert (found.n, found.bad, len(found.faults)) == (30, 5, 5)
    assert [fault.partition("row ")[2][0] for fault in found.faults] == ["1", "2", "3", "5", "6"]
    assert "cut in the middle" in found.faults[0]
    assert "describe holds 24 numbers" in found.faults[2] or "numbers, this model's have" in found.faults[2]
    assert any("000000000000" in note for note in found.notes)
    assert [f.value for f in found.figures if f.kind == "output"] == [
        f.value for f in whole.figures if f.kind == "output"
    ]


def test_a_clock_that_goes_back_is_said_and_days_stay_right(bundle: Bundle, tmp_path: Path) -> None:
    for day, name in ((2, "a"), (1, "b"), (2, "c")):
        logged(tmp_path / "log", bundle, galaxies(30, seed=day)[0], f"2026-01-0{day}T10:00:00.000Z", name)
    found = watch(bundle, tmp_path / "log", by="day")
    assert [(p.name, p.n) for p in found.periods] == [("2026-01-01", 30), ("2026-01-02", 60)]
    assert any("clock went back 1 time;" in note for note in found.notes)


def test_nothing_to_watch_is_an_error(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    with pytest.raises(InputError, match="no answer of this model"):
        watch(bundle, tmp_path / "log", kind="log")
    with pytest.raises(InputError, match="no such log"):
        watch(bundle, tmp_path / "none", kind="log")
    with pytest.raises(InputError, match=r"no column 'week' to group by.*batch, day, a number of objects"):
        watch(bundle, tmp_path / "log", by="week", kind="log")
    with pytest.raises(InputError, match="not a granularity"):
        watch(bundle, tmp_path / "log", by=0, kind="log")
    with pytest.raises(InputError, match="not a rate"):
        watch(bundle, tmp_path / "log", rate=0, kind="log")


def test_a_batch_of_one_is_held_against_its_own_wide_range(bundle: Bundle, tmp_path: Path) -> None:
    raw = galaxies(1, seed=3, failed=0)[0]
    found = watch(bundle, logged(tmp_path / "one", bundle, raw))
    assert (found.n, found.alerts) == (1, ())
    raw[:, 3:5] *= 300
    raw[:, :2] += 30
    assert watch(bundle, logged(tmp_path / "wild", bundle, raw)).alarmed


def test_labels_make_performance_and_wrong_ones_alarm(bundle: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(300, seed=8)
    log = logged(tmp_path / "log", bundle, raw)
    found = watch(bundle, log, labels=labels_file(tmp_path / "right.csv", labels))
    assert found.labelled == 300
    assert np.sum(found.confusion) == 300
    right = np.trace(np.array(found.confusion)) / 300
    accuracy, estimated = found.figure("accuracy"), found.figure("accuracy, estimated without labels")
    assert accuracy.value == pytest.approx(right)
    assert accuracy.low < right < accuracy.high
    assert not [f.why for f in found.alerts]
    assert estimated.low < estimated.value < estimated.high
    draw = np.random.default_rng(0)
    flipped = np.where(draw.random(300) < 0.2, 1 - labels, labels)
    worse = watch(bundle, log, labels=labels_file(tmp_path / "flipped.csv", flipped))
    assert worse.figure("accuracy").alert
    assert "the reference reached" in worse.figure("accuracy").why


def answered(n: int, draw: np.random.Generator, sure: float) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, 2) that are too sure of themselves, and labels."""
    second = draw.beta(sure, sure, n)
    labels = (draw.random(n) < 0.1 + 0.8 * second).astype(np.int64)
    return np.stack([1 - second, second], axis=1).astype(np.float32), labels


def reference(output: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> Ranges:
    """What an estimate needs of a reference."""
    known = np.arange(len(labels)) if groups is None else groups
    return cast(Ranges, SimpleNamespace(
        classes=("a", "b"), decision=None, output=output, labels=labels, m=len(labels), groups=known,
        wider=lambda *_: 1.0,
    ))  # fmt: skip


def test_few_distinct_confidences_do_not_make_a_class_rare() -> None:
    """A tree answers with a few values, whose bins are as small as they come."""
    sure = np.repeat([0.6, 0.7, 0.8, 0.9], [10, 10, 10, 70])
    output = np.concatenate([np.stack([sure, 1 - sure], axis=1), np.stack([1 - sure, sure], axis=1)])
    labels = np.repeat([0, 1], 100)
    estimate = Estimate(reference(output, labels))
    few = estimate.figure(estimate.counts(output[[0, 5, 12, 25]]), [])
    assert few is not None
    assert few.why == ""
    rare = Estimate(reference(output[:120], labels[:120]))
    told = rare.figure(rare.counts(output[100:]), [])
    assert told is not None
    assert "classes that the reference hardly has" in told.why


def test_the_estimate_holds_the_accuracy_of_clean_and_mildly_shifted_batches() -> None:
    draw, held, naive = np.random.default_rng(0), [], []
    for _ in range(150):
        output, labels = answered(400, draw, 0.5)
        estimate = Estimate(reference(output, labels))
        for sure in (0.5, 0.7):  # as the reference, and less sure
            output, labels = answered(100, draw, sure)
            found = estimate.figure(estimate.counts(output), [])
            assert found is not None
            reached = (output.argmax(axis=1) == labels).mean()
            held.append(found.low <= reached <= found.high)
            naive.append(output.max(axis=1).mean() - reached)
    assert 0.9 <= np.mean(held) <= 0.99
    assert np.mean(naive) > 0.05  # the mean confidence itself would be wrong


def test_the_estimate_says_when_it_is_not_to_be_relied_on(bundle: Bundle) -> None:
    raw = galaxies(100, seed=1)[0]
    assert watch(bundle, raw).figure("accuracy, estimated without labels").why == ""
    raw[:, 1] += 1
    assert "not to be relied on" in watch(bundle, raw).figure("accuracy, estimated without labels").why


def test_the_interval_of_an_estimate_holds_its_value(bundle: Bundle) -> None:
    raw = galaxies(6, seed=1)[0]
    for row in raw:
        found = watch(bundle, row[None]).figure("accuracy, estimated without labels")
        assert found.low <= found.value <= found.high


def test_figures_of_a_table_are_in_the_units_of_its_columns(bundle: Bundle) -> None:
    raw = galaxies(400, seed=1, failed=0)[0]
    red = watch(bundle, raw).figure("mag_r, typical")
    assert red.value == pytest.approx(np.median(raw[:, 2]), abs=0.2)
    assert red.expected_low < np.median(raw[:, 2]) < red.expected_high
    far = watch(bundle, raw[:1] * 1e30).figure("mag_r, typical")
    assert math.isfinite(far.value)
    assert far.alert


def test_labels_of_unknown_ids_classes_and_of_one_class(bundle: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(60, seed=8)
    log = logged(tmp_path / "log", bundle, raw)
    strange = watch(bundle, log, labels=labels_file(tmp_path / "s.csv", labels, "zz"))
    assert strange.labelled == 0
    assert any("60 of 60 labels are of ids that were not met" in note for note in strange.notes)
    assert any("performance is not known" in note for note in strange.notes)
    text = "id,label\n" + "".join(f"r{i},kind1\n" for i in np.flatnonzero(labels == 1))
    (tmp_path / "one.csv").write_text(text)
    one = watch(bundle, log, labels=tmp_path / "one.csv")
    assert any("one class" in note for note in one.notes)
    assert np.isnan(one.figure("roc_auc").value)
    (tmp_path / "bad.csv").write_text("id,label\nr1,kind9\n")
    with pytest.raises(InputError, match="is no class"):
        watch(bundle, log, labels=tmp_path / "bad.csv")
    with pytest.raises(InputError, match="no such file of labels"):
        watch(bundle, log, labels=tmp_path / "none.csv")


def test_predictions_and_data_say_the_same_as_the_log(bundle: Bundle, tmp_path: Path) -> None:
    raw = galaxies(200, seed=12)[0]
    of_log = watch(bundle, logged(tmp_path / "log", bundle, raw))
    for name in ("p.csv", "p.jsonl"):
        predict(bundle, raw, tmp_path / name)
        of_file = watch(bundle, tmp_path / name)
        assert {f.kind for f in of_file.figures} == {"output", "flags", "estimate"}
        assert of_file.figure("share of kind0").value == of_log.figure("share of kind0").value
    text = (tmp_path / "p.csv").read_text().splitlines()
    (tmp_path / "cut.csv").write_text("\n".join([*text[:50], text[50][:9]]) + "\n")
    assert (watch(bundle, tmp_path / "cut.csv").n, watch(bundle, tmp_path / "cut.csv").bad) == (49, 1)
    (tmp_path / "other.csv").write_text("id,predicted,p_a,p_b,flags,model\n")
    with pytest.raises(InputError, match="other classes"):
        watch(bundle, tmp_path / "other.csv")
    (tmp_path / "no.jsonl").write_text('{"id": 3\n')
    with pytest.raises(SourceError):
        watch(bundle, tmp_path / "no.jsonl", kind="predictions")
    of_data = watch(bundle, raw)
    shared = {f.name for f in of_data.figures if f.kind != "flags"} & {
        f.name for f in of_log.figures
    }  # written without
    for name in sorted(shared - {"told from the reference, AUC"}):
        assert of_data.figure(name).value == pytest.approx(of_log.figure(name).value, rel=1e-4, abs=1e-6), name


def test_pictures_and_regressions_are_watched(tmp_path: Path) -> None:
    for task, classes in (("classification", ("dark", "light")), ("regression", ())):
        made = make(tmp_path / task, task=task, classes=classes, seen=pictures(200))
        found = watch(made, pictures(80, seed=4))
        assert "mean, typical" in {f.name for f in found.figures}
        bright = watch(made, pictures(80, seed=4) // 4)
        assert bright.figure("mean, typical").alert


def test_gauges_say_what_a_watch_of_the_same_answers_says(bundle: Bundle, tmp_path: Path) -> None:
    raw = galaxies(90, seed=21)[0]
    raw[:, 1] += 0.5
    lines = lines_of(bundle, raw, bundle.score(raw), [f"r{i}" for i in range(90)], [["low_confidence"]] * 90)
    rolling = Rolling(bundle, size=60)
    assert (rolling.state().n, rolling.state().figures) == (0, ())
    for start in range(0, 90, 7):
        rolling.feed(lines[start : start + 7])
    LogWriter(tmp_path / "log").append(lines[30:])
    found = watch(bundle, tmp_path / "log")
    state = rolling.state()
    assert state.n == 60
    for figure in state.figures:
        assert figure.score == pytest.approx(found.figure(figure.name).score, abs=1e-5), figure.name
    assert {f.name for f in state.alerts} == {f.name for f in found.alerts}
    assert "g-r, typical" in {f.name for f in state.alerts}


def test_the_verb_exits_3_and_runs_the_command(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = galaxies(150, seed=31)[0]
    logged(tmp_path / "clean", bundle, raw)
    assert code_of(["monitor", str(bundle.folder), "--log", str(tmp_path / "clean"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["alarmed"] is False
    raw[:, 1] += 0.5
    logged(tmp_path / "drifted", bundle, raw)
    told = tmp_path / "told.json"
    program = f"import sys; open({str(told)!r}, 'w').write(sys.stdin.read())"
    words = ["monitor", str(bundle.folder), "--log", str(tmp_path / "drifted"), "--by", "50", "-o", str(tmp_path / "o")]
    assert code_of([*words, "--on-alert", f'{sys.executable} -c "{program}"']) == 3
    assert json.loads(told.read_text())["alarmed"] is True
    out = capsys.readouterr().out
    assert "verdict" in out
    page = (tmp_path / "o" / "monitor.html").read_text()
    assert "What moved most" in page
    assert 'id="figure-g-r-typical"' in page
    assert json.loads((tmp_path / "o" / "monitor.json").read_text())["verdict"]["kind"] in ("watch", "retrain")
    assert code_of(["monitor", str(bundle.folder)]) == 2


def nights(many: int, each: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, labels and nights; of some nights everything is harder, which confidence does not know."""
    hard = np.repeat(draw.normal(0, 0.7, many), each)
    second = draw.beta(0.5, 0.5, many * each)
    right = draw.random(many * each) < 1 / (1 + np.exp(-(2 + hard)))
    labels = np.where(right, second > 0.5, second <= 0.5).astype(np.int64)
    return np.stack([1 - second, second], axis=1), labels, np.repeat(np.arange(many), each)


def test_the_estimate_knows_that_nights_differ() -> None:
    draw, held, naive = np.random.default_rng(1), [], []
    for _ in range(60):
        output, labels, groups = nights(20, 40, draw)
        knows, not_knows = Estimate(reference(output, labels, groups)), Estimate(reference(output, labels))
        for _ in range(3):
            output, labels, _ = nights(5, 40, draw)
            reached = (output.argmax(axis=1) == labels).mean()
            for estimate, found in ((knows, held), (not_knows, naive)):
                told = estimate.figure(estimate.counts(output), [])
                assert told is not None
                found.append(told.low <= reached <= told.high)
    assert np.mean(naive) < 0.85
    assert np.mean(held) >= 0.89
