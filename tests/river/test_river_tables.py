"""Tables in the river: what a run leaves, that it can be repeated, what is left out, and pictures with columns."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from estampa import pipeline
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord
from estampa.data.read import build
from estampa.errors import DatasetError, RecipeError

QUICK = {
    "search.methods": ["logistic", "tree"], "search.trials": 2, "search.folds": 3, "evaluate.resamples": 200,
    "train.threads": 1,
}  # fmt: skip
LEAKS = {"redshift", "p_el_debiased", "p_cs_debiased"}


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sky")
    build("photometry", folder / "sky.h5", builder_options={"n": "500", "file": str(folder / "sky.csv")})
    return folder / "sky.csv"


@pytest.fixture(scope="module")
def data(sky: Path) -> Dataset:
    return Dataset.open(sky.with_suffix(".h5"))


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    return pipeline.train(data, changes=QUICK, output=tmp_path_factory.mktemp("runs") / "run")


def answers(run: pipeline.Run) -> dict[str, dict[str, str]]:
    return {r["id"]: r for r in csv.DictReader((run.folder / "predictions.csv").read_text().splitlines())}


def test_a_run_leaves_everything_that_was_promised(run: pipeline.Run, data: Dataset) -> None:
    for name in ("recipe.toml", "trials.jsonl", "metrics.json", "predictions.csv", "report.html", "model/bundle.json"):
        assert (run.folder / name).stat().st_size > 0, name
    record = json.loads((run.folder / "metrics.json").read_text())
    assert record["n"] == run.judgement.n == len(answers(run))
    assert record["metrics"]["balanced_accuracy"]["value"] > 0.75  # two classes: chance is 0.5
    assert record["recipe"] == "tables"
    assert {b["name"] for b in record["baselines"]} == {"majority", "logistic regression", "random forest"}


def test_what_tells_the_answer_is_not_learned_from(run: pipeline.Run) -> None:
    columns = {column.name for column in Bundle.open(run.folder).contract.columns}
    assert "dered_g" in columns
    assert not columns & (LEAKS | {"ra", "dec", "objid"})


def test_the_predictions_are_the_judged_ones(run: pipeline.Run, data: Dataset) -> None:
    truth = {i: data.classes[c] for i, c in zip(data.ids.tolist(), data.labels.tolist(), strict=True) if c >= 0}
    rows = answers(run)
    right = np.mean([row["predicted"] == truth[i] for i, row in rows.items()])
    assert right == pytest.approx(run.judgement.metrics["accuracy"].value)


def test_uncertain_objects_are_left_out_counted_and_scored(run: pipeline.Run, data: Dataset) -> None:
    found = json.loads((run.folder / "metrics.json").read_text())["table"]["uncertain"]
    assert found["n"] == int((~data.labelled()).sum()) > 50
    assert sum(found["answered"].values()) == pytest.approx(1)
    held = Bundle.open(run.folder)
    unlabelled = set(data.ids[~data.labelled()].tolist())
    assert not any(unlabelled & set(held.held(part)[0].tolist()) for part in ("train", "validation", "test"))


def test_the_written_back_recipe_repeats_the_model_without_a_search(
    run: pipeline.Run, data: Dataset, tmp_path: Path
) -> None:
    again = pipeline.train(data, recipe=str(run.folder / "recipe.toml"), output=tmp_path / "again")
    assert not (tmp_path / "again" / "trials.jsonl").exists()
    one, two = answers(run), answers(again)
    assert {i: r["predicted"] for i, r in one.items()} == {i: r["predicted"] for i, r in two.items()}
    first, second = (Bundle.open(made.folder).manifest.hashes for made in (run, again))
    assert first.model == second.model  # the graph to the last bit, its temperature too
    assert first.recipe == second.recipe


def test_a_run_that_was_stopped_in_its_search_goes_on_to_the_same_model(
    run: pipeline.Run, data: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "unfinished").write_text("begun")
    lines = (run.folder / "trials.jsonl").read_text().splitlines(keepends=True)
    (folder / "trials.jsonl").write_text("".join(lines[:2]) + lines[2][: len(lines[2]) // 2])
    made = pipeline.train(data, changes=QUICK, output=folder)
    assert Bundle.open(made.folder).manifest.hashes.model == Bundle.open(run.folder).manifest.hashes.model


def test_rows_with_failed_measurements_can_be_left_out_of_every_part(data: Dataset, tmp_path: Path) -> None:
    made = pipeline.train(data, changes={**QUICK, "prepare.invalid": "drop"}, output=tmp_path / "run")
    record = json.loads((made.folder / "metrics.json").read_text())
    kept = sum(record["data"]["counts"].values())
    assert kept < int(data.labelled().sum())
    assert not any(row["flags"].startswith("invalid") for row in answers(made).values())
    decisions = Bundle.open(made.folder).manifest.decisions
    assert any(line.startswith("Left out, as a measurement failed") for line in decisions)


def test_a_column_that_was_left_out_can_be_asked_for(data: Dataset, tmp_path: Path) -> None:
    planned = pipeline.plan("auto", data, changes={**QUICK, "data.also": ["redshift"], "data.without": ["mE1_r"]})
    assert {"redshift"} <= set(planned.recipe.data.features)
    assert "mE1_r" not in planned.recipe.data.features
    with pytest.raises(DatasetError, match=r"redshfit.*redshift"):
        pipeline.plan("auto", data, changes={**QUICK, "data.also": ["redshfit"]})


def test_a_threshold_is_chosen_for_an_aim_and_rows_stay_here(run: pipeline.Run, data: Dataset, tmp_path: Path) -> None:
    changes, habits = {**QUICK, "evaluate.aim": "recall=0.9", "data.validation": 0.3}, pipeline.Habits(gallery=False)
    made = pipeline.train(data, changes=changes, output=tmp_path / "run", habits=habits)
    bundle = Bundle.open(made.folder)
    assert bundle.thresholds.decision is not None
    assert bundle.presets() is None
    assert Bundle.open(run.folder).presets() is not None


def test_columns_are_not_asked_of_pictures(tmp_path: Path) -> None:
    digits = build("digits", tmp_path / "digits.h5")
    with pytest.raises(RecipeError, match="columns are learned from by models of tables"):
        pipeline.train(digits, changes={"data.features": ["snr"]}, output=tmp_path / "run")
    with pytest.raises(RecipeError, match="no settings to draw from"):
        pipeline.train(digits, changes={"search.trials": 3}, output=tmp_path / "other")


def with_pictures(path: Path, n: int = 240) -> Dataset:
    """Two classes; a column and the brightness of the pictures each tell half of the answer, and the other half not."""
    draw = np.random.default_rng(0)
    labels = np.arange(n) % 2
    seen = draw.random(n) < 0.5  # whose picture tells
    light = np.where(seen, 90 + 60 * labels, 120) + draw.normal(0, 8, n)
    images = np.clip(draw.normal(light[:, None, None, None], 25, (n, 12, 12, 1)), 0, 255).astype(np.uint8)
    colour = np.where(seen, 0.0, 2.0 * labels - 1) + draw.normal(0, 0.3, n)
    table = np.stack([colour, draw.normal(0, 1, n), np.arange(n)], axis=1)
    header = Header(
        n=n, shape=(12, 12, 1), dtype="uint8", task="classification", classes=("early", "late"),
        columns=("colour", "noise", "run"), roles=("feature", "feature", "ignore"), read=ReadRecord(source="test"),
    )  # fmt: skip
    writer = DatasetWriter(path, header, ids=[f"o{i}" for i in range(n)], labels=labels, fingerprint="both")
    writer.put_table(table)
    writer.write(0, images)
    return writer.finish()


def test_pictures_and_columns_of_the_same_objects_are_judged_together(tmp_path: Path) -> None:
    dataset = with_pictures(tmp_path / "both.h5")
    changes = {"train.epochs": 12, "train.threads": 1, "evaluate.resamples": 200, "data.test": 0.4}
    made = pipeline.train(dataset, recipe="pictures", changes=changes, output=tmp_path / "run")
    record = json.loads((made.folder / "metrics.json").read_text())["table"]["fusion"]
    accuracy = {name: record[name]["metrics"]["accuracy"]["value"] for name in ("net", "table", "fusion")}
    assert accuracy["fusion"] > max(accuracy["net"], accuracy["table"]) + 0.05, accuracy
    lead = record["differences"]["fusion - table"]["accuracy"]
    assert lead["low"] <= lead["value"] <= lead["high"]
    assert accuracy["net"] == pytest.approx(made.judgement.metrics["accuracy"].value)
    assert "Pictures and table together" in (made.folder / "report.html").read_text()


def test_columns_without_anything_to_learn_from_do_not_cost_the_net(tmp_path: Path) -> None:
    whole = with_pictures(tmp_path / "both.h5", 80)
    table = np.full((80, 3), 7.0)  # nothing varies
    writer = DatasetWriter(
        tmp_path / "plain.h5", whole.header, ids=whole.ids.tolist(), labels=whole.labels, fingerprint="plain"
    )
    writer.put_table(table)
    writer.write(0, whole.take(np.arange(80)))
    changes = {"train.epochs": 1, "train.threads": 1, "evaluate.baselines": False}
    made = pipeline.train(writer.finish(), recipe="pictures", changes=changes, output=tmp_path / "run")
    assert json.loads((made.folder / "metrics.json").read_text())["table"] is None
    assert Bundle.open(made.folder).classes == ("early", "late")


def test_it_can_be_left_out(tmp_path: Path) -> None:
    dataset = with_pictures(tmp_path / "both.h5", 80)
    changes = {"train.epochs": 1, "train.threads": 1, "evaluate.table": False, "evaluate.baselines": False}
    made = pipeline.train(dataset, recipe="pictures", changes=changes, output=tmp_path / "run")
    assert json.loads((made.folder / "metrics.json").read_text())["table"] is None


@pytest.mark.parametrize(
    ("path", "classes"),
    [
        ("sdss_gz1_photometry/galaxies.csv", {"spiral", "elliptical"}),
        ("galaxy_catalogue_780/galaxy_catalogue.npy", {"elliptical", "merger", "spiral"}),
        ("sdss_star_galaxy_qso/skyserver_10000.csv", {"GALAXY", "QSO", "STAR"}),
    ],
)
@pytest.mark.timeout(600)
def test_train_works_without_flags_on_every_labelled_table(
    path: str, classes: set[str], shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESTAMPA_TRAIN_TIME_LIMIT", "10")  # not a flag of the recipe: the test stays in minutes
    words = [sys.executable, "-m", "estampa", "train", str(shared / path), "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    record = json.loads(ended.stdout)
    assert set(record["classes"]) == classes
    assert record["metrics"]["balanced_accuracy"]["low"] > 1.2 / len(classes)
    columns = {c.name for c in Bundle.open(Path(record["model"])).contract.columns}
    assert not columns & {"redshift", "stellar_mass", "votes", "p_el_debiased", "p_cs_debiased", "ra", "dec", "plate"}


@pytest.mark.parametrize(
    "path",
    ["sdss_gz1_photometry/sdss_sentinel_photometry_unlabelled.csv", "gz2_votes_table5/gz2class_derived_counts.csv"],
)
def test_a_table_without_labels_is_told_in_one_sentence(path: str, shared: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "estampa", "train", str(shared / path), "-o", str(tmp_path / "run")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr[-3000:]
    assert "Traceback" not in ended.stderr
    assert "label" in ended.stderr
    assert not (tmp_path / "run" / "model").exists()
