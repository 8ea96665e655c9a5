"""The report: whole, self-contained, and true to what was measured."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from estampa import recipe as recipes
from estampa.evaluate import baselines as baselines_room
from estampa.evaluate.baselines import baselines
from estampa.evaluate.confidence import Abstention
from estampa.evaluate.crossval import crossval
from estampa.evaluate.evidence import Evidence, consistency, views, worst_mistakes
from estampa.evaluate.judge import judge
from estampa.evaluate.methods import methods
from estampa.evaluate.report import lead, write_report
from estampa.evaluate.runs import list_runs


def thirds(images: np.ndarray) -> np.ndarray:
    """A stand-in model: probabilities from the brightness of the three thirds."""
    sums = images.astype(float).reshape(len(images), 3, -1).mean(axis=2) / 8
    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.fixture
def evidence(blobs: Any, monkeypatch: pytest.MonkeyPatch) -> Evidence:
    monkeypatch.setattr(baselines_room, "_TREES", 10)
    rows = blobs.rows("test")
    output = thirds(blobs.take(rows))
    judgement = judge(blobs.labels[rows], output, task="classification", classes=blobs.classes, resamples=200)
    twins = np.zeros(len(rows), bool)
    twins[:5] = True

    class Stand:
        def predict(self, dataset: Any, rows: np.ndarray) -> np.ndarray:
            return thirds(dataset.take(rows))

    quick = recipes.Recipe().with_values({"evaluate.resamples": 100})
    return Evidence(
        "emojis",
        blobs,
        rows,
        output,
        judgement,
        {"train": 120, "validation": 30, "test": 90},
        baselines=baselines(blobs, blobs.rows("train"), rows, resamples=200),
        history=[
            {"epoch": e, "train_loss": 1 / e, "validation_loss": 1.2 / e, "train_accuracy": 0.5 + e / 20}
            for e in range(1, 6)
        ],
        kept_epoch=4,
        monitor="accuracy",
        decisions=["batch 32, as published"],
        warnings=["two classes are rare"],
        layers=[SimpleNamespace(name="dense", kind="Dense", shape=(3,), parameters=111)],
        parameters=111,
        recipe=recipes.read("emojis").to_toml(),
        consistency=consistency(thirds, blobs, rows, "hflip"),
        crossval=crossval(blobs, quick, 3, fit=lambda *_, **__: Stand()),
        twins=twins,
        seconds={"training": 1.5, "judging": 0.5},
        peak_memory=123 << 20,
        machine={"processor": {"model": "a processor", "features": ["avx2"]}, "threads": 2, "versions": {"numpy": "2"}},
        command="estampa train set.h5 --recipe emojis",
        hashes={"model": "abc123"},
        citations=["Doe, J. 2026, A Survey of Thirds"],
        date="2026-11-22T01:00:00+00:00",
    )


def test_report_is_one_whole_file(evidence: Evidence, tmp_path: Path) -> None:
    path = write_report(tmp_path, evidence)
    page = path.read_text(encoding="utf-8")
    for word in ("result", "data", "training", "confusion", "classes", "calibration", "mistakes", "twins", "symmetry",
                 "folds", "model", "methods", "tables", "made"):  # fmt: skip
        assert f'id="{word}"' in page, word
    assert not re.search(r'(src|href)="(?!data:|#)', page), "nothing is fetched from outside the file"
    assert "<script" not in page
    for text in ("estampa train set.h5 --recipe emojis", "abc123", "A Survey of Thirds", "two classes are rare",
                 "random forest", "logistic regression", "majority", "123 MiB", "a processor"):  # fmt: skip
        assert text in page, text
    for figure in ("training", "confusion", "roc", "reliability", "folds"):
        assert (tmp_path / "figures" / f"{figure}.svg").read_text().startswith("<?xml")
        assert (tmp_path / "figures" / f"{figure}.png").read_bytes().startswith(b"\x89PNG")


def test_tables_are_beside_it_and_inside_it(evidence: Evidence, tmp_path: Path) -> None:
    page = write_report(tmp_path, evidence).read_text(encoding="utf-8")
    for name in ("metrics", "baselines", "classes", "confusion", "near_twins", "folds", "layers"):
        assert f'download="{name}.csv"' in page
        assert r"\toprule" in (tmp_path / "tables" / f"{name}.tex").read_text()
    with (tmp_path / "tables" / "metrics.csv").open() as stream:
        rows = {row["metric"]: row for row in csv.DictReader(stream)}
    found = evidence.judgement.metrics["accuracy"]
    assert float(rows["accuracy"]["value"]) == found.value
    assert float(rows["accuracy"]["value_low"]) == found.low


def test_lead_names_the_interval_and_every_baseline(evidence: Evidence) -> None:
    found = evidence.judgement.metrics["accuracy"]
    text = lead(evidence)
    assert f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]" in text
    assert "90 test objects not seen in training" in text
    for name in ("majority", "logistic regression", "random forest"):
        assert name in text


def test_leads_are_paired(evidence: Evidence) -> None:
    leads = evidence.leads()
    own = evidence.judgement.metrics["accuracy"].value
    for other in evidence.baselines:
        assert leads[other.name].value == pytest.approx(own - other.judgement.metrics["accuracy"].value)
    assert leads["majority"].low > 0


def test_near_twins_are_taken_out(evidence: Evidence) -> None:
    apart = evidence.apart()
    assert apart is not None
    assert apart.n == 85
    right = evidence.output.argmax(axis=1) == evidence.truth
    assert apart.metrics["accuracy"].value == pytest.approx(right[5:].mean())
    evidence.twins = np.zeros(90, bool)
    assert evidence.apart() is None


def test_metrics_json_and_runs(evidence: Evidence, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    write_report(folder, evidence)
    record = json.loads((folder / "metrics.json").read_text())
    assert record["metrics"] == evidence.judgement.to_json()["metrics"]
    assert record["without_near_twins"]["n"] == 85
    assert record["crossval"]["folds"] == 3
    (half := tmp_path / "runs" / "half").mkdir()
    (half / "recipe.toml").write_text('name = "fashion"\n')
    (broken := tmp_path / "runs" / "broken" / "model").mkdir(parents=True)
    (broken / "bundle.json").write_text("{}")
    (broken.parent / "metrics.json").write_text('{"n": ')
    (tmp_path / "runs" / "unrelated").mkdir()
    before = {row.name: row for row in list_runs(tmp_path / "runs").rows}
    assert not before["one"].complete
    assert "bundle.json" in before["one"].state
    (folder / "model").mkdir()
    (folder / "model" / "bundle.json").write_text("{}")
    found = list_runs(tmp_path / "runs")
    rows = {row.name: row for row in found.rows}
    assert set(rows) == {"one", "half", "broken"}
    assert rows["one"].complete
    assert rows["one"].value == evidence.judgement.metrics["accuracy"]
    assert rows["one"].seconds == 2.0
    assert rows["half"].recipe == "fashion"
    assert "no metrics.json" in rows["half"].state
    assert "cannot be read" in rows["broken"].state
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["runs"][0]["name"] == "one"
    assert "incomplete" in found._repr_html_()


def test_methods_cite_what_was_used(evidence: Evidence) -> None:
    text, papers = methods(evidence)
    assert "Adam" in text
    assert any(p.startswith("Kingma") for p in papers)
    assert any(p.startswith("Wilson") for p in papers)
    assert papers[-1] == "Doe, J. 2026, A Survey of Thirds"
    assert not any(p.startswith("Jordan") for p in papers)
    numbers = {int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(",")}
    assert numbers == set(range(1, len(papers)))  # all cited in the text but the one that was added


def test_methods_tell_every_change_of_training_images(evidence: Evidence) -> None:
    values = {
        "prepare.symmetry": "hflip", "prepare.shift": 2, "prepare.rotate": 15.0, "prepare.zoom": 0.1,
        "prepare.aspect": 0.2, "prepare.shear": 0.3, "prepare.elastic": 1.5, "prepare.erase": 0.4,
        "model.dropout_dense": 0.5, "model.dropout_pool": 0.25,
    }  # fmt: skip
    evidence.recipe = recipes.read("emojis").with_values(values).to_toml()
    text, papers = methods(evidence)
    for words in ("mirrored left to right", "2 pixels along", "15 degrees", "|u| at most 0.1", "|u| at most 0.2",
                  "sheared by at most 0.3", "1.5 pixels", "at most 0.4 of the image", "0.25 after each pooling",
                  "0.5 after each dense layer"):  # fmt: skip
        assert words in text, words
    for author in ("Simard", "Zhong", "Srivastava"):
        assert any(p.startswith(author) for p in papers), author
    evidence.recipe = "[prepare]\n[train]\n[model]\n"
    text, papers = methods(evidence)
    assert "changed at random" not in text
    assert "Dropout" not in text
    assert not any(p.startswith("Simard") for p in papers)


def test_what_was_chosen_on_the_judged_rows_is_said(evidence: Evidence, tmp_path: Path) -> None:
    assert "trials of a search" not in methods(evidence)[0]
    evidence.trials = [{}, {}]
    assert "2 trials of a search chose on the validation part were used in every fold" in methods(evidence)[0]
    evidence.part, evidence.twins = "validation", np.zeros(90, bool)
    evidence.recipe = recipes.Recipe().with_values({"train.keep": "best"}).to_toml()
    said = "90 validation objects not learned from, but they chose the search's values and the kept epoch"
    assert said in lead(evidence)
    assert "not used in training" not in methods(evidence)[0]
    evidence.trials = ()
    assert "looks nearly the same" not in write_report(tmp_path, evidence).read_text(encoding="utf-8")
    evidence.recipe = recipes.Recipe().to_toml()
    assert "90 validation objects not seen in training" in lead(evidence)
    evidence.abstention = Abstention(0.9, 0.7, 90, 0.95, None, None, np.zeros((4, 1)))
    assert "90 validation objects not learned from, but they chose the confidence to answer from" in lead(evidence)


def test_worst_mistakes_are_the_surest_wrong_answers(evidence: Evidence) -> None:
    places = worst_mistakes(evidence, 4)
    truth = evidence.truth.astype(int)
    assert (evidence.output[places].argmax(axis=1) != truth[places]).all()
    own = evidence.output[places, truth[places]]
    assert (np.diff(own) >= 0).all()


@pytest.mark.parametrize(("symmetry", "count"), [("none", 0), ("hflip", 1), ("d4", 7)])
def test_views_are_distinct(symmetry: str, count: int) -> None:
    image = np.arange(2 * 4 * 4).reshape(2, 4, 4, 1)
    found = [v.tobytes() for v, _ in views(image, symmetry)]
    assert len(found) == len({image.tobytes(), *found}) - 1 == count
    assert len(views(np.zeros((1, 3, 5, 1)), "d4")) == 3


def test_consistency(blobs: Any) -> None:
    rows = blobs.rows("test")
    steady = consistency(thirds, blobs, rows, "hflip")  # the thirds lie across: a mirror changes nothing
    assert steady is not None
    assert steady.same.value == 1
    assert steady.same.low < 1
    assert steady.shift.value == 0
    turned = consistency(thirds, blobs, rows, "d4")
    assert turned is not None
    assert turned.views == 7
    assert turned.same.value < 0.5
    assert turned.shift.low > 0
    assert consistency(thirds, blobs, rows, "none") is None


def test_regression_report(make_dataset: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.random((80, 5, 5, 2)).astype(np.float32)
    data = make_dataset(images, images.mean(axis=(1, 2, 3)).astype(np.float64), channels=("science", "template"))
    rows = np.arange(40, 80)
    output = np.asarray(data.labels)[rows] + rng.normal(size=40) * 0.01
    judgement = judge(data.labels[rows], output, task="regression", resamples=100)
    steady = consistency(lambda x: x.mean(axis=(1, 2, 3)), data, rows, "d4")
    found = Evidence("values", data, rows, output, judgement, {"train": 40, "test": 40}, consistency=steady)
    page = write_report(tmp_path, found).read_text(encoding="utf-8")
    assert 'id="errors"' in page
    assert 'id="confusion"' not in page
    assert "science" in page
    assert (tmp_path / "figures" / "regression.svg").is_file()
    assert "Mean squared error" in page
    json.loads((tmp_path / "metrics.json").read_text())


def test_report_without_mistakes_and_with_few_facts(make_dataset: Any, tmp_path: Path) -> None:
    images = np.zeros((10, 3, 3, 1), np.uint8)
    images[5:] = 200
    data = make_dataset(images, np.repeat([0, 1], 5), classes=("<a>", "b & c"))
    output = np.eye(2)[np.repeat([0, 1], 5)]
    judgement = judge(data.labels, output, task="classification", classes=data.classes, resamples=100)
    page = write_report(tmp_path, Evidence("few", data, np.arange(10), output, judgement, {"test": 10})).read_text()
    assert "No mistake among 10 objects" in page
    assert "&lt;a&gt;" in page
    assert "<a>" not in page
