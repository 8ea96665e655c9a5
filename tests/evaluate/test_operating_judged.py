"""Judging two classes at a threshold, and any answers by a column: from arrays, files and runs to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa import pipeline
from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.errors import CheckFailed, DatasetError, InputError, RecipeError
from estampa.evaluate import plots_operating
from estampa.evaluate.evaluation import evaluate
from estampa.evaluate.evidence import Evidence
from estampa.evaluate.judge import Judgement, judge
from estampa.evaluate.operating import Terms, choose_decision
from estampa.evaluate.outside import Files
from estampa.evaluate.outside_pair import judge_pair
from estampa.evaluate.report import write_report
from estampa.evaluate.report_operating import operating
from estampa.evaluate.require import parse, require
from estampa.evaluate.slices import Column, nice_edges, read_by
from estampa.evaluate.terms import Asked
from estampa.measure.aims import read_aim
from estampa.page import Kept

CLASSES = ("artifact", "real")


def some(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, (n, 2) probabilities, and a signal-to-noise below which they are worth little."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    snr = rng.uniform(3, 30, n)
    real = 1 / (1 + np.exp(-(rng.normal(size=n) + (2 * truth - 1) * snr / 6)))
    return truth, np.stack([1 - real, real], axis=1), snr


def judged(terms: Terms, n: int = 600) -> Judgement:
    truth, output, _ = some(n)
    return judge(truth, output, task="classification", classes=CLASSES, terms=terms, resamples=200)


def test_labels_follow_the_threshold_and_probabilities_do_not() -> None:
    truth, output, _ = some()
    plain, strict = judged(Terms()), judged(Terms(decision=0.9, aim="fpr=0.01", prior=0.001))
    assert strict.metrics["accuracy"].value == pytest.approx(((output[:, 1] >= 0.9) == truth).mean())
    assert strict.confusion is not None
    assert strict.confusion[0, 1] == ((output[:, 1] >= 0.9) & (truth == 0)).sum()
    for name in ("ece", "brier", "log_loss", "roc_auc"):
        assert strict.metrics[name] == plain.metrics[name]
    assert "at threshold 0.9 (chosen for fpr=0.01)" in strict.headline()
    assert "threshold" not in plain.headline()


def test_the_record_is_whole_and_read_back() -> None:
    _, _, snr = some()
    found = judged(Terms(decision=0.7, aim="f1", prior=1 / 1001, by=[Column("snr", snr, (5, 10)), Column("x", snr)]))
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert Judgement.from_json(record).to_json() == found.to_json()
    assert (record["positive"], record["threshold"], record["aim"]) == ("real", 0.7, "f1")
    assert [p["fpr"] for p in record["operating"]] == [0.01, 0.001, 0.0001]
    assert record["operating"][0]["negatives"] == int((some()[0] == 0).sum())
    assert record["operating"][2]["fnr"] == {"value": None, "low": None, "high": None}
    assert "at least 10,000" in record["operating"][2]["note"]
    assert set(record["prior"]) == {"share", "purity", "completeness"}
    assert [s["label"] for s in record["slices"][0]["slices"]] == ["below 5", "5 to 10", "from 10"]
    told = "\n".join(found.lines())
    assert "FNR at FPR 0.001" in told
    assert "at a prior of 1:1000" in told
    assert "undefined" in told
    html = found._repr_html_()
    assert "below 5" in html


def test_more_classes_and_regressions_have_none_of_it() -> None:
    truth = np.arange(90) % 3
    output = np.full((90, 3), 1 / 3)
    plain = judge(truth, output, task="classification", classes=("a", "b", "c"), resamples=100)
    assert not {"operating", "threshold", "slices", "prior"} & set(plain.to_json())
    with pytest.raises(InputError, match=r"of two classes.*3 classes"):
        judge(truth, output, task="classification", classes=("a", "b", "c"), terms=Terms(decision=0.5))
    with pytest.raises(InputError, match=r"of two classes.*regression"):
        judge(truth.astype(float), truth + 0.5, task="regression", terms=Terms(prior=0.1))
    with pytest.raises(InputError, match="Did you mean 'real'"):
        judged(Terms(positive="rea"))


def test_slices_are_what_the_objects_alone_come_to() -> None:
    truth, output, snr = some()
    found = judged(Terms(by=[Column("snr", snr, (5, 10, 20))])).slices[0]
    for label, mine in (("below 5", snr < 5), ("10 to 20", (snr >= 10) & (snr < 20))):
        alone = judge(truth[mine], output[mine], task="classification", classes=CLASSES, resamples=1000)
        here = next(s for s in found.slices if s.label == label)
        assert here.n == mine.sum()
        assert alone.working is not None
        for name, own in {"accuracy": alone.metrics["accuracy"], **alone.working.rates}.items():
            if name in here.metrics:
                assert here.metrics[name].value == pytest.approx(own.value)
                assert here.metrics[name].high == pytest.approx(own.high, abs=0.03)
    assert "beyond chance (95 % over all 4 slices, Bonferroni)" in found.sentence(
        judged(Terms()).metrics["accuracy"], "accuracy"
    )
    assert found.worst[0] == "below 5"
    assert "from 20" not in found.worst


def test_no_slice_of_chance_is_called_worse() -> None:
    """Ten slices of coins: without a correction for the many looks a fifth of the sets would name one, or more."""
    named = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, 2000)
        answers = np.where(rng.random(2000) < 0.8, truth, 1 - truth)
        by = Column("field", np.array([f"f{i % 10}" for i in range(2000)]))
        named += bool(
            judge(truth, answers, task="classification", classes=CLASSES, resamples=200, terms=Terms(by=[by]))
            .slices[0]
            .worst
        )
    assert named <= 4  # 0.05 x 40, half of it on the worse side


def test_slices_of_texts_of_unknown_numbers_and_of_a_regression() -> None:
    _, _, snr = some()
    bands = np.array(["g", "r", ""])[np.arange(600) % 3]
    holed = np.where(np.arange(600) < 50, np.nan, snr)
    found = judged(Terms(by=[Column("band", bands), Column("snr", holed)])).slices
    assert {s.label for s in found[0].slices} == {"g", "r", "not known"}
    assert found[1].slices[-1].label == "not known"
    assert found[1].slices[-1].n == 50
    values = judge(snr, snr + np.where(snr > 20, snr / 4, 0.1), task="regression", terms=Terms(by=[Column("snr", snr)]))
    assert values.slices[0].leading == "rmse"
    assert values.slices[0].worst[0].startswith("from")
    with pytest.raises(InputError, match="edges are of numbers"):
        judged(Terms(by=[Column("band", bands, (1.0,))]))
    many = judged(Terms(by=[Column("field", np.array([f"f{i % 40}" for i in range(600)]))])).slices[0]
    assert many.slices[-1].label == "28 others"


def test_edges_are_round_and_part_evenly() -> None:
    rng = np.random.default_rng(0)
    for values in (
        rng.normal(18, 1.2, 2000),
        rng.lognormal(2, 1, 2000),
        rng.normal(0, 1e-6, 500),
        rng.integers(0, 3, 99),
    ):
        edges = nice_edges(values.astype(float))
        assert list(edges) == sorted(set(edges))
        shares = np.bincount(np.searchsorted(edges, values, "right")) / len(values)
        assert len(values) == 99 or (shares.min() > 0.08 and shares.max() < 0.3)
        assert all(len(f"{e:g}") <= 8 for e in edges)
    assert nice_edges(np.full(5, 2.0)) == ()
    assert nice_edges(np.full(5, np.nan)) == ()


@pytest.mark.parametrize("text", ["", ":3", "snr:", "snr:a,b", "snr:5,3", "snr:3,3", "snr:nan"])
def test_columns_that_cannot_be_read(text: str) -> None:
    with pytest.raises(InputError, match="by "):
        read_by(text)


def test_the_threshold_of_either_class_is_told_of_the_second() -> None:
    truth, output, _ = some(2000)
    decision, found = choose_decision(truth, output, read_aim("fpr=0.05"), 1, "there")
    assert decision == found.threshold
    decision, found = choose_decision(truth, output, read_aim("recall=0.9"), 0, "there")
    said = output[:, 1] >= decision
    assert (~said[truth == 0]).mean() == pytest.approx(found.reached)
    assert found.reached >= 0.9


def test_gates_reach_every_figure() -> None:
    found = judged(Terms(decision=0.5, prior=0.01))
    held = require(found, [parse("fnr_at_fpr_0.01.high<=0.9"), parse("purity>0.01"), parse("completeness.low >= 0.5")])
    assert len(held) == 3
    with pytest.raises(CheckFailed, match="undefined"):
        require(found, [parse("fnr_at_fpr_0.0001<=1")])
    with pytest.raises(InputError, match="as --prior 1:1000"):
        require(judged(Terms()), [parse("purity>=0.1")])
    with pytest.raises(InputError, match=r"Did you mean 'fnr_at_fpr_0\.01'"):
        parse("fnr_at_fpr_0.1<=0.5")


def called(*told: str) -> int:
    """The exit code of the command line."""
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *told])
    return int(stopped.value.code or 0)


def table(path: Path, seed: int = 0, n: int = 400, start: int = 0) -> Path:
    truth, output, snr = some(n, seed)
    other = np.clip(output[:, 1] + np.random.default_rng(9).normal(size=n) * 0.2, 0, 1)
    lines = [
        f"o{start + i},{CLASSES[t]},{s:.3f},{p},{q}"
        for i, (t, s, p, q) in enumerate(zip(truth, snr, output[:, 1], other, strict=True))
    ]
    path.write_text("\n".join(["id,label,snr,p_a,p_b", *lines]) + "\n")
    return path


def test_a_table_of_scores_against_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(table(tmp_path / "scores.csv"))
    told = ["--predictions", path, "--score", "p_a", "--against-score", "p_b", "--by", "snr:5,10"]
    assert called(*told, "--prior", "1:100", "--threshold", "0.6", "--resamples", "200", "--json") == 0
    record = json.loads(capsys.readouterr().out)
    truth, output, _ = some(400)
    assert record["metrics"]["accuracy"]["value"] == pytest.approx(((output[:, 1] >= 0.6) == truth).mean())
    assert record["slices"][0]["edges"] == [5, 10]
    difference = record["against"]["difference"]
    assert difference["accuracy"]["value"] == pytest.approx(
        record["metrics"]["accuracy"]["value"] - record["against"]["metrics"]["accuracy"]["value"]
    )
    assert difference["fnr_at_fpr_0.01"]["low"] <= difference["fnr_at_fpr_0.01"]["value"]
    assert difference["log_loss"]["high"] < 0


def test_an_aim_is_never_chosen_on_what_is_judged(tmp_path: Path) -> None:
    files, apart = Files(table(tmp_path / "test.csv"), score="p_a"), table(tmp_path / "val.csv", 1, 900, 1000)
    asked = Asked(aim="fpr=0.05")
    found, _ = judge_pair(files, None, asked, apart, (100, 0))
    truth, output, _ = some(900, 1)
    assert found.working is not None
    assert found.working.threshold == choose_decision(truth, output, read_aim("fpr=0.05"), 1, "")[0]
    with pytest.raises(InputError, match="never chosen on those that are judged"):
        judge_pair(files, None, asked)
    with pytest.raises(InputError, match="holds objects that are judged"):
        judge_pair(files, None, asked, table(tmp_path / "same.csv", 1))
    bare = [tmp_path / name for name in ("bare.csv", "copy.csv", "other.csv")]
    for path, seed in zip(bare, (0, 0, 1), strict=True):  # no ids: rows are told apart by what they hold
        lines = table(path, seed).read_text().splitlines()
        path.write_text("\n".join(line.partition(",")[2] for line in lines) + "\n")
    with pytest.raises(InputError, match="holds objects that are judged"):
        judge_pair(Files(bare[0], score="p_a"), None, asked, bare[1])
    assert judge_pair(Files(bare[0], score="p_a"), None, asked, bare[2])[0].working is not None
    with pytest.raises(InputError, match="exclude each other"):
        Asked(aim="f1", threshold=0.5)


def test_the_answers_of_a_file_count_where_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("id,predicted,p_a,p_b\n1,b,.7,.3\n2,a,.9,.1\n3,b,.2,.8\n")
    (tmp_path / "l.csv").write_text("id,label\n1,b\n2,a\n3,b\n")
    files = Files(tmp_path / "p.csv", tmp_path / "l.csv")
    assert judge_pair(files, None, Asked(), how=(100, 0))[0].metrics["accuracy"].value == 1
    at = judge_pair(files, None, Asked(threshold=0.5), how=(100, 0))[0]
    assert at.metrics["accuracy"].value == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--score", "p_c"], "has no column 'p_c'"),
        (["--score", "snr"], "scores are probabilities of 'real'"),
        (["--score", "p_a", "--by", "snrr"], "Did you mean 'snr'"),
        (["--score", "p_a", "--prior", "often"], "not a prior"),
        (["--score", "p_a", "--positive", "bogus"], "no class 'bogus'"),
        ([], "needs --labels"),
    ],
)
def test_files_that_do_not_fit(
    change: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called("--predictions", str(table(tmp_path / "s.csv")), *change) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("way", "left"),
    [
        (["run", "--classes", "a,b"], "--classes"),
        (["run", "--task", "regression"], "--task"),
        (["run", "--group", "g"], "--group"),
        (["run", "--labels", "l.csv"], "--labels"),
        (["run", "--layout", "NCHW"], "--layout"),
        (["set.h5", "--onnx", "m.onnx", "--against-score", "p"], "--against-score"),
        (["--predictions", "p.csv", "--allow-seen"], "--allow-seen"),
    ],
)
def test_what_would_be_left_aside_is_refused(way: list[str], left: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called(*way) == 2
    assert f"cannot be combined with {left}" in capsys.readouterr().err


@pytest.fixture(scope="module")
def stamps(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """700 pictures of 8 x 8, "real" with a spot in the middle as bright as their SNR; 300 train, 200 validation."""
    rng = np.random.default_rng(0)
    truth, snr = rng.integers(0, 2, 700), rng.uniform(0.5, 6, 700)
    images = rng.normal(size=(700, 8, 8, 1))
    images[:, 3:5, 3:5, 0] += (truth * snr / 2)[:, None, None]
    header = Header(
        n=700, shape=(8, 8, 1), dtype="float32", task="classification", classes=CLASSES, columns=("snr", "magnitude"),
        read=ReadRecord(source="arrays"),
    )  # fmt: skip
    writer = DatasetWriter(
        tmp_path_factory.mktemp("stamps") / "stamps.h5", header, ids=[f"s{i}" for i in range(700)], labels=truth,
        split=np.repeat([1, 2, 3], [300, 200, 200]).astype(np.uint8), fingerprint="stamps",
    )  # fmt: skip
    writer.put_table(np.stack([snr, 25 - snr], axis=1))
    writer.write(0, images.astype(np.float32), {})
    return writer.finish()


QUICK: dict[str, Any] = {
    "train.epochs": 3, "evaluate.baselines": False, "evaluate.resamples": 200, "train.threads": 1,
    "train.dtype": "float32", "train.memory_format": "channels_first",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(stamps: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    changes = QUICK | {"evaluate.aim": "fpr=0.05", "evaluate.prior": "1:100"}
    return pipeline.train(stamps, changes=changes, output=tmp_path_factory.mktemp("aimed") / "run")


def test_a_run_is_shipped_and_judged_at_its_threshold(run: pipeline.Run, stamps: Dataset) -> None:
    bundle, working = Bundle.open(run.folder), run.judgement.working
    decision = bundle.thresholds.decision
    assert working is not None
    assert decision is not None
    assert (working.threshold, working.aim) == (decision, "fpr=0.05")
    reference = bundle.tensors("reference")
    false = reference["output"][reference["labels"] == 0, 1] >= decision - 1e-6
    assert 0.03 <= false.mean() <= 0.06
    rows = [line.split(",") for line in (run.folder / "predictions.csv").read_text().splitlines()[1:]]
    truth = dict(zip(stamps.ids.tolist(), stamps.labels.tolist(), strict=True))
    right = np.mean([row[1] == CLASSES[truth[row[0]]] for row in rows])
    assert right == pytest.approx(run.judgement.metrics["accuracy"].value)
    assert [part.by for part in run.judgement.slices] == ["snr", "magnitude"]
    page = (run.folder / "report.html").read_text()
    assert "At work: misses and false alarms" in page
    assert "chosen for fpr=0.05 on the validation part" in page
    for name in ("operating", "prior", "slices_1", "slices_2"):
        assert (run.folder / "figures" / f"{name}.svg").stat().st_size > 0
    for name in ("operating", "rates", "slices_1", "slices_2"):
        assert (run.folder / "tables" / f"{name}.csv").stat().st_size > 0


def test_a_run_judged_again_keeps_or_changes_its_threshold(run: pipeline.Run, stamps: Dataset, tmp_path: Path) -> None:
    again = evaluate(run.folder, stamps, resamples=100)
    assert again.metrics["accuracy"].value == pytest.approx(run.judgement.metrics["accuracy"].value)
    assert again.working is not None
    assert again.working.aim == "fpr=0.05"
    found = evaluate(run.folder, stamps, resamples=100, aim="recall=0.99", by=["snr:2,4"], prior="1:10")
    assert found.working is not None
    assert found.working.threshold is not None
    assert found.working.threshold < (again.working.threshold or 0)
    assert found.slices[0].edges == (2, 4)
    with pytest.raises(InputError, match="which is to be judged"):
        evaluate(run.folder, stamps, part="validation", aim="f1")
    part = tmp_path / "validation.npz"  # the same objects from another file
    held = np.isin(stamps.ids, Bundle.open(run.folder).held("validation")[0])
    np.savez(part, images=stamps.images[held], label=stamps.labels[held], classes=np.array(CLASSES))
    with pytest.raises(InputError, match=f"Got: {held.sum()} of {held.sum()} rows"):
        evaluate(run.folder, part, aim="f1")
    with pytest.raises(InputError, match="aim, prior can only be had from data"):
        evaluate(run.folder, aim="f1", prior=0.1)
    with pytest.raises(DatasetError, match="Did you mean 'snr'"):
        evaluate(run.folder, stamps, by=["snrr"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"evaluate.aim": "fpr=0.001"}, InputError, "too few negatives"),
        ({"evaluate.aim": "fpr:0.1"}, RecipeError, "evaluate.aim.*no aim"),
        ({"evaluate.prior": "never"}, RecipeError, "evaluate.prior.*not a prior"),
        ({"evaluate.positive": "bogus"}, InputError, "no class 'bogus'"),
        ({"evaluate.by": ["seeing"]}, DatasetError, "no column 'seeing'"),
    ],
)
def test_what_a_run_cannot_keep_is_refused_before_it_trains(
    change: dict[str, Any], error: type[Exception], message: str, stamps: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        pipeline.train(stamps, changes=QUICK | change, output=tmp_path / "run")


def test_the_report_of_one_side_alone_is_whole(tmp_path: Path, stamps: Dataset) -> None:
    rows = np.flatnonzero(stamps.labels == 0)[:60]
    output = np.tile([0.8, 0.2], (60, 1))
    found = judge(stamps.labels[rows], output, task="classification", classes=CLASSES, terms=Terms(prior=0.01))
    write_report(tmp_path, Evidence("alone", stamps, rows, output, found, {"test": 60}))
    assert "At work" in (tmp_path / "report.html").read_text()


def test_the_threshold_is_drawn_where_the_positive_class_is_answered(
    stamps: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(300)
    real = np.clip(stamps.labels[rows] * 0.3 + np.random.default_rng(0).uniform(0.1, 0.6, 300), 0, 1)
    output, lines = np.stack([1 - real, real], axis=1), []
    draw = plots_operating.at_prior
    monkeypatch.setattr(plots_operating, "at_prior", lambda *given: lines.append(given[4]) or draw(*given))
    for positive in CLASSES:
        terms = Terms(decision=0.8, positive=positive, prior=0.1)
        found = judge(stamps.labels[rows], output, task="classification", classes=CLASSES, terms=terms, resamples=100)
        operating(Evidence("drawn", stamps, rows, output, found, {"test": 300}), Kept())
    assert lines == pytest.approx([0.2, 0.8])


def test_the_scores_of_the_hits_survey(shared: Path) -> None:
    """The published figures of all 100,000 lie in the intervals of the 80,000 at hand; the net beats the forest."""
    pytest.importorskip("pyarrow")
    path = shared / "hits_scores" / "hits_test_scores.parquet"
    if not path.is_file():
        pytest.skip("the scores of the hits survey are not at hand")
    files = Files(path, score="p_cnn")
    net, against = judge_pair(files, Files(path, score="p_rf"), Asked(by=(), prior="1:1000"), how=(100, 0))
    assert against is not None
    mine, other = net.numbers(), against.judgement.numbers()
    published = {
        "fnr_at_fpr_0.01": (0.0021, 0.0106),
        "fnr_at_fpr_0.001": (0.0770, 0.146),
        "accuracy": (0.99469, 0.98961),
    }
    for name, (cnn, forest) in published.items():
        assert mine[name].low <= cnn <= mine[name].high
        assert other[name].low <= forest <= other[name].high
        assert (against.difference[name].high < 0) == (name != "accuracy")
    assert mine["fnr_at_fpr_0.0001"].low <= 0.331 <= mine["fnr_at_fpr_0.0001"].high
    assert other["fnr_at_fpr_0.0001"].value == 1  # 13 artifacts have the forest's largest score
