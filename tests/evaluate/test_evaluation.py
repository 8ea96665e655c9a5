"""A run judged again: the right rows, never those it learned from; and the verb."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.bundle import reference
from estampa.bundle.store import Bundle, write
from estampa.cli import main
from estampa.data.dataset import Dataset
from estampa.errors import CheckFailed, ContractError, InputError
from estampa.evaluate.evaluation import evaluate, judge_run
from estampa.evaluate.judge import judge
from made_bundles import content_of, pictures

CLASSES = ("dark", "light")


@pytest.fixture
def lamps(make_dataset: Any) -> Dataset:
    """60 pictures, light when their mean is above the middle: train 30, validation 10, test 20."""
    images = pictures(60, seed=3)
    labels = (images.mean(axis=(1, 2, 3)) > 60).astype(int)
    split = np.repeat([1, 2, 3], [30, 10, 20]).astype(np.uint8)
    return make_dataset(images, labels, classes=CLASSES, split=split)


@pytest.fixture
def bundle(tmp_path: Path, lamps: Dataset) -> Bundle:
    """A bundle that was made from `lamps`."""
    content = content_of()
    held = {
        p: (np.asarray(lamps.ids)[lamps.rows(p)], lamps.hashes[lamps.rows(p)]) for p in ("train", "validation", "test")
    }
    own = judge(np.array([0, 1, 1]), np.array([0, 1, 0]), task="classification", classes=CLASSES, resamples=100)
    tree = {
        **content.manifest,
        "hashes": {**content.manifest["hashes"], "data": lamps.content_sha256},
        "metrics": own.to_json(),
    }
    return write(tmp_path / "model", replace(content, manifest=tree, held=reference.held(held)))


def test_the_test_part_is_judged_as_the_bundle_scores_it(bundle: Bundle, lamps: Dataset) -> None:
    rows = lamps.rows("test")
    expected = judge(lamps.labels[rows], bundle.score(lamps.take(rows)).output, task="classification", classes=CLASSES)
    found = evaluate(bundle, lamps)
    assert found.n == 20
    assert found.to_json() == expected.to_json()
    assert evaluate(bundle.folder, lamps.path, part="validation").n == 10
    assert evaluate(bundle, lamps, part="train").n == 30


def test_rows_that_were_learned_from_are_refused(bundle: Bundle, lamps: Dataset, make_dataset: Any) -> None:
    with pytest.raises(CheckFailed, match=r"learned from 30 of the 60 rows.*row 0") as caught:
        evaluate(bundle, lamps, part="all")
    assert caught.value.exit_code == 3
    assert evaluate(bundle, lamps, part="all", allow_seen=True).n == 60
    # The same pictures in another file under other ids are recognised by their content.
    rows = np.append(lamps.rows("test"), 4)
    names = np.array([f"other {i}" for i in rows])
    other = make_dataset(lamps.take(rows), lamps.labels[rows], classes=CLASSES, ids=names, name="other")
    with pytest.raises(CheckFailed, match=r"learned from 1 of the 21 rows.*other 4"):
        evaluate(bundle, other)


def test_the_parts_are_those_that_the_bundle_remembers(bundle: Bundle, lamps: Dataset, make_dataset: Any) -> None:
    """The same data without its split, as when a source is read again, still has the test part of the training."""
    again = make_dataset(lamps.take(np.arange(60)), np.asarray(lamps.labels), classes=CLASSES, name="again")
    assert again.content_sha256 == lamps.content_sha256
    assert evaluate(bundle, again).to_json() == evaluate(bundle, lamps).to_json()


def test_classes_are_matched_by_name(bundle: Bundle, make_dataset: Any) -> None:
    images = pictures(40, seed=9)
    labels = (images.mean(axis=(1, 2, 3)) > 60).astype(int)
    straight = make_dataset(images, labels, classes=CLASSES, name="straight")
    turned = make_dataset(images, 1 - labels, classes=("light", "dark"), name="turned")
    assert evaluate(bundle, straight).to_json() == evaluate(bundle, turned).to_json()
    alien = make_dataset(images, labels, classes=("dark", "grey"), name="alien")
    with pytest.raises(ContractError, match="does not know: grey"):
        evaluate(bundle, alien)
    values = make_dataset(images, labels.astype(float), name="values")
    with pytest.raises(ContractError, match="another task"):
        evaluate(bundle, values)


def test_gates_and_what_is_kept(bundle: Bundle, lamps: Dataset) -> None:
    assert evaluate(bundle).metrics["accuracy"].value == pytest.approx(2 / 3)
    assert judge_run(bundle, None)[1] == "test"
    with pytest.raises(CheckFailed, match=r"accuracy>0.9 \(it is 0.6667\)"):
        evaluate(bundle, require=["accuracy>0.9"])
    with pytest.raises(InputError, match="not a gate"):
        evaluate(bundle, lamps, require=["accuracy"])
    with pytest.raises(InputError, match="can only be taken from data"):
        evaluate(bundle, part="train")
    with pytest.raises(InputError, match="there is no part 'tset'"):
        evaluate(bundle, lamps, part="tset")


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(w) for w in words])
    return int(caught.value.code or 0)


def test_verb(bundle: Bundle, lamps: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", bundle.folder, lamps.path, "--json", "--require", "accuracy>=0") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n"] == 20
    assert record["part"] == "test"
    assert set(record["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert run("evaluate", bundle.folder, lamps.path, "--json", "--require", "accuracy.low>=1.5") == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out)["n"] == 20  # the judgement is told also when a gate fails
    assert "accuracy.low>=1.5 (it is" in shown.err
    assert run("evaluate", bundle.folder, lamps.path, "--part", "all") == 3
    assert run("evaluate", bundle.folder, lamps.path, "--require", "acuracy>1") == 2
    assert "Did you mean 'accuracy'" in capsys.readouterr().err
    assert run("evaluate") == 2


def test_verb_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.csv").write_text("id,predicted\na,x\nb,y\n")
    (tmp_path / "y.csv").write_text("id,label\na,x\nb,x\n")
    assert run("evaluate", "--predictions", tmp_path / "p.csv", "--labels", tmp_path / "y.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"]["value"] == 0.5
    assert run("evaluate", "--predictions", tmp_path / "p.csv") == 2
    both = ("evaluate", "--predictions", tmp_path / "p.csv", "--labels", tmp_path / "y.csv")
    for extra in (("--part", "test"), ("--onnx", tmp_path / "m.onnx"), (tmp_path,)):
        capsys.readouterr()
        assert run(*both, *extra) == 2
        assert "cannot be combined with" in capsys.readouterr().err
    assert run("evaluate", tmp_path, tmp_path, "--onnx", tmp_path / "m.onnx") == 2
    assert "--onnx cannot be combined with RUN" in capsys.readouterr().err


def test_what_is_left_out_is_told() -> None:
    from types import SimpleNamespace

    from estampa.evaluate.evaluation import _left_out

    dataset = SimpleNamespace(n=10, labelled=lambda: np.arange(10) < 7)
    assert _left_out(dataset, np.arange(3)) == "3 without a label, 4 of other parts"  # type: ignore[arg-type]
    assert _left_out(dataset, np.arange(7)) == "3 without a label"  # type: ignore[arg-type]
    whole = SimpleNamespace(n=4, labelled=lambda: np.ones(4, bool))
    assert _left_out(whole, np.arange(4)) == ""  # type: ignore[arg-type]
