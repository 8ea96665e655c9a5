"""Champion and challenger: paired figures, slices that got worse, leaks and mismatches refused, the recommendation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from estampa.cli import main
from estampa.data.dataset import DatasetWriter
from estampa.errors import CheckFailed, ContractError, InputError
from estampa.evaluate.judge import Judgement
from estampa.measure import Interval
from estampa.monitor.compare import compare
from estampa.monitor.compare_report import PAGE, RECORD, made_by, write_report
from estampa.monitor.comparison import EITHER, KEEP, LOOK, PROMOTE, SliceChange, advantage, recommend
from estampa.monitor.registry import Registry
from made_pairs import TRUE, dataset, model

HOW = (200, 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a test set and four models: off by much, off by a little, right, and right with turned classes."""
    folder = tmp_path_factory.mktemp("pair")
    dataset(folder / "test.h5")
    model(folder / "poor", 0.45)
    model(folder / "fair", 0.33)
    model(folder / "right", TRUE)
    model(folder / "turned", TRUE, classes=("light", "dark"))
    return folder


def test_a_better_challenger_is_recommended(made: Path) -> None:
    found = compare(made / "poor", made / "right", made / "test.h5", how=HOW)
    assert found.recommendation.kind == PROMOTE
    assert found.n == 400 == found.challenger.judgement.n
    assert found.challenger.judgement.metrics["accuracy"].value == 1.0
    change = found.difference["accuracy"]
    assert change.value == pytest.approx(1 - found.champion.judgement.metrics["accuracy"].value)
    assert 0 < change.low < change.value < change.high
    assert found.parted.only_first == 0 < found.parted.only_second
    assert found.parted.p < 1e-6
    assert found.difference["recall[light]"].value > 0 == found.difference["recall[dark]"].value
    assert found.challenger.cost.single_ms > 0 < found.champion.cost.per_second
    assert found.champion.cost.size > found.champion.cost.model_size > 0


def test_a_worse_one_is_not_and_its_slices_are_named(made: Path) -> None:
    found = compare(made / "right", made / "poor", made / "test.h5", how=HOW)
    assert found.recommendation.kind == KEEP
    worse = {s.name: s for s in found.worse()}
    assert "class light" in worse
    assert "class dark" not in worse
    assert any(name.startswith("mean ") for name in worse), "the brightness at which they part is a slice"
    assert "class light" in " ".join(found.recommendation.reasons)


def test_turning_the_sides_turns_the_differences(made: Path) -> None:
    one = compare(made / "poor", made / "fair", made / "test.h5", how=HOW)
    two = compare(made / "fair", made / "poor", made / "test.h5", how=HOW)
    for name, change in one.difference.items():
        other = two.difference[name]
        assert (other.value, other.low, other.high) == pytest.approx((-change.value, -change.high, -change.low)), name


def test_other_order_of_classes_is_the_same_model(made: Path) -> None:
    straight = compare(made / "poor", made / "right", made / "test.h5", how=HOW)
    turned = compare(made / "poor", made / "turned", made / "test.h5", how=HOW)
    assert turned.difference["accuracy"] == straight.difference["accuracy"]
    assert turned.difference["recall[light]"] == straight.difference["recall[light]"]
    assert turned.difference["log_loss"].value == pytest.approx(straight.difference["log_loss"].value, abs=1e-6)


def test_equal_answers_leave_it_open(made: Path, tmp_path: Path) -> None:
    model(tmp_path / "again", TRUE + 1e-6)
    found = compare(made / "right", tmp_path / "again", made / "test.h5", how=HOW)
    assert found.recommendation.kind == EITHER
    assert found.parted.p == 1.0
    assert not [s for s in found.slices if s.change]
    few = dataset(tmp_path / "few.h5", 30, seed=9)
    unsure = compare(made / "fair", made / "right", few, how=HOW, margin=0.0001)
    assert unsure.recommendation.kind in (KEEP, EITHER)


def test_groups_are_drawn_whole(made: Path, tmp_path: Path) -> None:
    data = dataset(tmp_path / "grouped.h5", groups=True)
    found = compare(made / "poor", made / "right", data, how=HOW)
    assert found.champion.judgement.groups == 50
    assert "independent" in write_report(tmp_path, found, {})[0].read_text()


def test_what_either_learned_from_is_refused(made: Path, tmp_path: Path) -> None:
    seen = dataset(tmp_path / "seen.h5", seed=5, parts=True)
    fresh = made / "test.h5"
    model(tmp_path / "knows", 0.31, seen)
    for champion, challenger in ((made / "poor", tmp_path / "knows"), (tmp_path / "knows", made / "poor")):
        with pytest.raises(CheckFailed, match="learned from 200 of the 400"):
            compare(champion, challenger, seen, part="all", how=HOW)
    assert compare(made / "poor", tmp_path / "knows", fresh, how=HOW).n == 400
    assert compare(made / "poor", tmp_path / "knows", seen, how=HOW).n == 200, "the part that it was judged on"
    assert compare(made / "poor", tmp_path / "knows", seen, part="all", allow_seen=True, how=HOW).n == 400
    assert compare(made / "poor", tmp_path / "knows", seen, part="all", only_unseen=True, how=HOW).n == 200
    with pytest.raises(InputError, match="learned from all of it"):
        compare(made / "poor", tmp_path / "knows", seen, part="train", only_unseen=True, how=HOW)


def test_its_own_data_in_another_form_are_recognised_by_content(made: Path, tmp_path: Path) -> None:
    """As of retraining with a new class: what reads the file again may order the classes otherwise."""
    seen = dataset(tmp_path / "seen.h5", seed=5, parts=True)
    model(tmp_path / "knows", 0.31, seen)
    header = replace(seen.header, classes=("light", "dark"))
    writer = DatasetWriter(
        tmp_path / "turned.h5", header, ids=seen.ids, labels=1 - np.asarray(seen.labels), fingerprint="turned"
    )
    writer.write(0, seen.take(np.arange(seen.n)), {})
    turned = writer.finish()
    found = compare(made / "poor", tmp_path / "knows", turned, how=HOW)
    assert (found.n, found.part) == (200, "test")
    assert found.ids.tolist() == seen.ids[seen.rows("test")].tolist()
    straight = compare(made / "poor", tmp_path / "knows", seen, how=HOW)
    assert found.difference["accuracy"] == straight.difference["accuracy"]
    with pytest.raises(CheckFailed, match="learned from 200 of the 400"):
        compare(made / "poor", tmp_path / "knows", turned, part="all", how=HOW)


def test_models_of_other_questions_are_refused(made: Path, tmp_path: Path) -> None:
    model(tmp_path / "value", TRUE, classes=(), task="regression")
    with pytest.raises(ContractError, match=r"another task.*classification.*regression"):
        compare(made / "right", tmp_path / "value", made / "test.h5")
    with pytest.raises(InputError, match="the same model"):
        compare(made / "right", made / "right", made / "test.h5")
    with pytest.raises(InputError, match="margin"):
        compare(made / "right", made / "fair", made / "test.h5", margin=2)


def test_another_shape_is_told_by_the_contract(made: Path, tmp_path: Path) -> None:
    model(tmp_path / "wide", TRUE, shape=(6, 6, 1), seen=np.zeros((64, 6, 6, 1), np.uint8), task="classification")
    with pytest.raises(ContractError):
        compare(made / "right", tmp_path / "wide", made / "test.h5")


def judged(**more: float) -> Judgement:
    return Judgement(500, "classification", ("a", "b"), {"accuracy": Interval(0.9, 0.88, 0.92)}, **more)  # type: ignore[arg-type]


def moved(value: float, half: float) -> dict[str, Interval]:
    return {"accuracy": Interval(value, value - half, value + half)}


def test_the_rules() -> None:
    slipped = SliceChange("snr", "below 3", 50, 0.9, 0.7, Interval(-0.2, -0.3, -0.1), "worse")
    assert recommend(judged(), moved(0.03, 0.01), (), 0.01).kind == PROMOTE
    look = recommend(judged(), moved(0.03, 0.01), (slipped,), 0.01)
    assert look.kind == LOOK
    assert "snr below 3" in look.reasons[1]
    assert recommend(judged(), moved(-0.03, 0.01), (), 0.01).kind == KEEP
    assert recommend(judged(), moved(0.0, 0.005), (), 0.01).kind == EITHER
    assert recommend(judged(), moved(0.0, 0.005), (slipped,), 0.01).kind == KEEP
    unsure = recommend(judged(), moved(0.0, 0.05), (), 0.01)
    assert unsure.kind == KEEP
    assert "12,500 objects" in unsure.reasons[1], "the interval narrows with the root of the number"
    worse_loss = {**moved(0.03, 0.01), "log_loss": Interval(0.2, 0.1, 0.3)}
    assert recommend(judged(), worse_loss, (), 0.01).kind == LOOK
    assert advantage("log_loss", Interval(0.2, 0.1, 0.3)) == Interval(-0.2, -0.3, -0.1)


def test_the_page_and_the_record(made: Path, tmp_path: Path) -> None:
    found = compare(made / "poor", made / "right", made / "test.h5", how=HOW)
    page, record = write_report(tmp_path / "report", found, made_by("estampa compare", found, HOW))
    text = page.read_text()
    assert (page.name, record.name) == (PAGE, RECORD)
    assert text.index("Promote the challenger") < text.index("Each figure")
    assert "McNemar" in text
    assert "<script" not in text
    assert "log loss, as a share" in text, "unbounded figures would take the axis of all others"
    told = json.loads(record.read_text())
    assert told["recommendation"]["kind"] == "promote"
    assert told["difference"]["accuracy"]["low"] > 0
    assert "said" not in told


def test_the_command(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = Registry(tmp_path / "registry.jsonl")
    registry.promote(made / "poor", why="the first")
    words = ["compare", f"{tmp_path / 'registry.jsonl'}:champion", str(made / "right"), "--data", str(made / "test.h5")]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--json", "-q", "--resamples", "200", "-o", str(tmp_path / "out"), "--gate"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["recommendation"]["kind"] == "promote"
    assert (tmp_path / "out" / PAGE).is_file()
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(made / "right"), str(made / "poor"), "--data", str(made / "test.h5"), "-q", "--gate"])
    assert ended.value.code == 3
    assert "not to be promoted" in capsys.readouterr().err
