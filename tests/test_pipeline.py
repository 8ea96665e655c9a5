"""The whole river, on small data: what a run leaves, that it can be repeated, continued, and refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from estampa import pipeline
from estampa.bundle.store import Bundle
from estampa.data.builders import drawings
from estampa.data.dataset import Dataset, DatasetWriter, Header, ReadRecord, write_split
from estampa.data.read import ReadOptions, build
from estampa.errors import CheckFailed, DatasetError, InputError, RecipeError, SourceError

QUICK = {"train.epochs": 2, "evaluate.baselines": False, "evaluate.resamples": 200, "train.threads": 1}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    return drawings.build(folder / "drawings.h5", {"people": "10", "each": "6"})


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Run:
    return pipeline.train(data, changes={**QUICK, "train.epochs": 4}, output=tmp_path_factory.mktemp("runs") / "run")


def test_a_run_leaves_everything_that_was_promised(run: pipeline.Run, data: Dataset) -> None:
    for name in ("recipe.toml", "history.jsonl", "metrics.json", "predictions.csv", "report.html", "model/bundle.json"):
        assert (run.folder / name).stat().st_size > 0, name
    record = json.loads((run.folder / "metrics.json").read_text())
    assert record["n"] == run.judgement.n == len((run.folder / "predictions.csv").read_text().splitlines()) - 1
    accuracy = record["metrics"]["accuracy"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert accuracy["value"] > 0.4  # five classes: chance is 0.2
    assert record["data"]["sha256"] == data.content_sha256


def test_whole_people_are_held_out(run: pipeline.Run, data: Dataset) -> None:
    bundle = Bundle.open(run.folder)
    people = {part: {i[:4] for i in bundle.held(part)[0].tolist()} for part in ("train", "validation", "test")}
    assert not people["train"] & people["test"]
    assert not people["train"] & people["validation"]
    assert people["test"]


def test_the_predictions_are_the_judged_ones(run: pipeline.Run, data: Dataset) -> None:
    rows = {r["id"]: r for r in csv.DictReader((run.folder / "predictions.csv").read_text().splitlines())}
    truth = {i: data.classes[c] for i, c in zip(data.ids.tolist(), data.labels.tolist(), strict=True)}
    right = np.mean([r["predicted"] == truth[i] for i, r in rows.items()])
    assert right == pytest.approx(run.judgement.metrics["accuracy"].value, abs=1e-9)


def test_the_written_recipe_repeats_the_run_bit_for_bit(run: pipeline.Run, data: Dataset, tmp_path: Path) -> None:
    again = pipeline.train(data, recipe=str(run.folder / "recipe.toml"), output=tmp_path / "again")
    first, second = (r.folder / "model" / "weights.safetensors" for r in (run, again))
    assert first.read_bytes() == second.read_bytes()
    assert (run.folder / "predictions.csv").read_text().replace(Bundle.open(run.folder).hash, "") == (
        again.folder / "predictions.csv"
    ).read_text().replace(Bundle.open(again.folder).hash, "")


def test_a_run_shows_itself_in_a_notebook(run: pipeline.Run) -> None:
    html = run._repr_html_()
    assert "accuracy" in html
    assert "report.html" in html


def test_a_finished_run_is_not_overwritten(run: pipeline.Run, data: Dataset) -> None:
    with pytest.raises(InputError, match=r"holds a finished run.*-o"):
        pipeline.train(data, changes=QUICK, output=run.folder)


def test_a_folder_that_is_no_run_is_left_alone(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="is not empty and not a run"):
        pipeline.train(data, changes=QUICK, output=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


def test_a_recipe_and_a_model_folder_of_someone_else_are_left_alone(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[train]\nepochs = 1\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "precious").write_text("x")
    with pytest.raises(InputError, match="is not empty and not a run"):
        pipeline.train(data, changes=QUICK, output=tmp_path)
    assert (tmp_path / "model" / "precious").read_text() == "x"


def test_a_plan_is_of_what_would_be_trained(data: Dataset, tmp_path: Path) -> None:
    planned = pipeline.plan("auto", data, changes={"model.dropout_dense": 0.1})
    assert planned.recipe.model.name == "convnet"  # few objects
    assert planned.recipe.model.options["dropout_dense"] == 0.1
    with pytest.raises(RecipeError, match="Did you mean 'dropout"):
        pipeline.plan("auto", data, changes={"model.dropuot_dense": 1})


def test_tiny_pictures_work_with_the_default_recipe(tmp_path: Path) -> None:
    digits = build("digits", tmp_path / "digits.h5")
    again = build("digits", tmp_path / "digits.h5")  # a second build of the same is opened, not refused
    assert again.content_sha256 == digits.content_sha256
    made = pipeline.train(digits, changes={**QUICK, "train.epochs": 5}, output=tmp_path / "run")
    assert made.judgement.metrics["accuracy"].low > 0.8


def test_a_size_on_a_dataset_file_is_refused(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--size applies to raw files"):
        pipeline.train(data.path, changes=QUICK, reading=ReadOptions(size=(8, 8)), output=tmp_path / "run")


def test_a_killed_training_goes_on_and_ends_as_if_nothing_had_happened(data: Dataset, tmp_path: Path) -> None:
    changes = {**QUICK, "train.epochs": 6, "train.dtype": "float32", "train.memory_format": "channels_first"}
    words = [sys.executable, "-m", "estampa", "train", str(data.path), "-o", str(tmp_path / "cut"), "--quiet"]
    words += [w for k, v in changes.items() for w in ("--set", f"{k}={json.dumps(v).strip(chr(34))}")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    victim = subprocess.Popen(words, env=environment)
    history = tmp_path / "cut" / "history.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and (not history.exists() or len(history.read_text().splitlines()) < 2):
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    assert not (tmp_path / "cut" / "metrics.json").exists()
    assert not (tmp_path / "cut" / "model" / "bundle.json").exists()
    subprocess.run(words, env=environment, check=True)
    whole = [w.replace(str(tmp_path / "cut"), str(tmp_path / "whole")) for w in words]
    subprocess.run(whole, env=environment, check=True)
    first, second = (tmp_path / n / "model" / "weights.safetensors" for n in ("cut", "whole"))
    assert first.read_bytes() == second.read_bytes()


def small(path: Path, images: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> Dataset:
    header = Header(
        n=len(images), shape=images.shape[1:], dtype=str(images.dtype), task="classification", classes=("a", "b"),
        read=ReadRecord(source="arrays"),
    )  # fmt: skip
    ids = np.array([f"i{k}" for k in range(len(images))])
    writer = DatasetWriter(path, header, ids=ids, labels=labels, groups=groups, fingerprint="small")
    writer.write(0, images)
    return writer.finish()


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 9, 9, 1), np.uint8)


def test_a_leak_between_parts_that_we_made_is_refused_with_exit_3(tmp_path: Path) -> None:
    images = noise(40)
    images[39] = images[0]
    dataset = small(tmp_path / "leak.h5", images, np.arange(40) % 2)
    split = np.ones(40, np.uint8)
    split[20:30], split[30:] = 2, 3
    write_split(dataset.path, split, {"by": "hand"})
    with pytest.raises(CheckFailed, match=r"leak\.h5") as caught:
        pipeline.train(dataset.path, changes=QUICK, output=tmp_path / "run")
    assert caught.value.exit_code == 3
    assert "i0" in str(caught.value) or "i39" in str(caught.value) or "row" in str(caught.value)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    dataset = small(tmp_path / "one.h5", noise(20), np.zeros(20, np.int64))
    with pytest.raises(InputError, match="class"):
        pipeline.train(dataset, changes=QUICK, output=tmp_path / "run")


def test_unlabelled_data_are_refused(tmp_path: Path) -> None:
    header = Header(n=8, shape=(9, 9, 1), dtype="uint8", task="unlabelled", read=ReadRecord(source="arrays"))
    writer = DatasetWriter(tmp_path / "u.h5", header, ids=[f"i{k}" for k in range(8)], labels=None, fingerprint="u")
    writer.write(0, noise(8))
    with pytest.raises(DatasetError, match="no labels"):
        pipeline.train(writer.finish(), changes=QUICK, output=tmp_path / "run")


def test_a_recipe_made_for_other_data_names_both_sides(data: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"28 x 28 x 1.*32 x 32 x 1"):
        pipeline.train(data, recipe="fashion", changes=QUICK, output=tmp_path / "run")


def test_large_pictures_are_read_smaller_unless_a_size_is_given(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(12):
            pixels = np.random.default_rng(k).integers(0, 256, (120, 200), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "set" / name / f"{k}.png")
    made = pipeline.train(tmp_path / "set", changes={**QUICK, "train.epochs": 1}, output=tmp_path / "one")
    assert Bundle.open(made.folder).contract.shape == (38, 64, 1)
    told = pipeline.train(
        tmp_path / "set", changes={**QUICK, "train.epochs": 1}, output=tmp_path / "two",
        reading=ReadOptions(size=(24, 40)),
    )  # fmt: skip
    assert Bundle.open(told.folder).contract.shape == (24, 40, 1)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises((SourceError, InputError), match="nowhere"):
        pipeline.train(tmp_path / "nowhere", changes=QUICK, output=tmp_path / "run")


def test_a_plan_needs_no_data_when_the_recipe_states_its_input() -> None:
    planned = pipeline.plan("fashion").to_json()
    assert planned["model"]["parameters"] == 93_322
    assert sum(r["parameters"] for r in planned["model"]["layers"]) == 93_322
    with pytest.raises(RecipeError, match="does not state its input"):
        pipeline.plan("pictures")


def test_folds_and_search_are_part_of_a_run(data: Dataset, tmp_path: Path) -> None:
    changes = {
        **QUICK, "train.epochs": 1, "evaluate.folds": 2, "search": {"values": {"train.rate": [0.001, 0.002]}},
    }  # fmt: skip
    made = pipeline.train(data, recipe="emojis", changes=changes, output=tmp_path / "run")
    record = json.loads((made.folder / "metrics.json").read_text())
    assert record["crossval"]["folds"] == 2
    assert record["crossval"]["n"] == data.n
    trials = [json.loads(line) for line in (made.folder / "search" / "trials.jsonl").read_text().splitlines()]
    assert len(trials) == 2


@pytest.mark.parametrize(
    "path",
    ["emojis/emojis.npz", "emojis/emojis.txt", "emojis/drawings", "quintuplets-heads", "hymenoptera", "galaxies_gz1",
     "galaxies_kaggle_gz2", "ztf_stamps/ztf_stamps_21.npz"],
)  # fmt: skip
@pytest.mark.timeout(900)
def test_train_works_without_flags_on_every_labelled_image_set(
    path: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Not a flag of the recipe: only so many seconds of training, so that the whole test stays in minutes.
    monkeypatch.setenv("ESTAMPA_TRAIN_TIME_LIMIT", "5")
    monkeypatch.setenv("ESTAMPA_EVALUATE_BASELINES", "false")
    words = [sys.executable, "-m", "estampa", "train", str(shared / path), "--json"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    record = json.loads(ended.stdout)
    assert 0 <= record["metrics"]["accuracy"]["low"] <= record["metrics"]["accuracy"]["high"] <= 1
    assert Path(record["report"]).is_file()


def test_a_train_part_of_one_class_is_refused(tmp_path: Path) -> None:
    """Zero positives to learn from: said before the training, not by a model that calls everything bogus."""
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 1), dtype=np.uint8)
    (tmp_path / "a.csv").write_text(
        "label,split\n" + "".join(f"{int(i > 50)},{'test' if i > 40 else 'train'}\n" for i in range(60))
    )
    np.save(tmp_path / "a.npy", images)
    dataset = build([tmp_path / "a.npy", tmp_path / "a.csv"], tmp_path / "a.h5", ReadOptions(classes=("bogus", "real")))
    with pytest.raises(DatasetError, match="its train part holds one class only, 'bogus'"):
        pipeline.train(dataset, changes=QUICK, output=tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
