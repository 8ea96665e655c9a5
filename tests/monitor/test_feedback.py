"""The file of labels that people gave: written and read with suspicion, held against answers, and forgotten."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.errors import InputError
from estampa.monitor.decide import decide, facts_of
from estampa.monitor.feedback import (
    CHOSEN,
    GIVEN,
    RANDOM,
    Given,
    drawn_of,
    gathered,
    is_feedback,
    lines_of_labels,
    read_feedback,
)  # fmt: skip
from estampa.monitor.labelled import UNKNOWN
from estampa.monitor.line import lines_of, moment
from estampa.monitor.log import Fault, LogWriter, forget
from estampa.monitor.policy import Policy
from estampa.monitor.watch import watch
from made_tables import galaxies
from made_tables import make as make_of_table

CLASSES = ("kind0", "kind1")
#: As an estampa of today writes it: every later one must read it.
FORMAT_1 = (
    '{"format":1,"id":"4f1c.0","label":"kind1","time":"2026-11-22T17:26:06.123Z","model":"0de2d7149222",'
    '"via":"page","drawn":"random"}'
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_of_table(tmp_path_factory.mktemp("bundle") / "model", n=600)


def label(**more: Any) -> str:
    return json.dumps(json.loads(FORMAT_1) | more)


def give(path: Path, labels: dict[str, Any], drawn: str = "given", model: str = "0de2d7149222") -> Path:
    LogWriter(path).append(lines_of_labels(labels, [model] * len(labels), "api", drawn))
    return path


def test_labels_read_back_and_the_last_line_of_an_id_wins(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text(FORMAT_1 + "\n")
    assert list(read_feedback(path)) == [
        Given(1, "4f1c.0", "kind1", moment("2026-11-22T17:26:06.123Z"), "0de2d7149222", "page", "random")
    ]
    give(path, {"a.0": "kind0", "b.0": "kind1", "c.0": None})
    give(path, {"a.0": "kind1", "d.0": "kind0", "b.0": None})
    told = gathered(path, CLASSES)
    assert told.labels == {"4f1c.0": "kind1", "a.0": "kind1", "d.0": "kind0"}
    assert (told.chosen, told.foreign, told.bad, told.notes()) == (0, 0, 0, [])
    assert gathered(path, ()).foreign == 3
    give(values := tmp_path / "values", {"a.0": 2, "b.0": -1.5, "c.0": "two"})
    assert gathered(values, ()).labels == {"a.0": 2.0, "b.0": -1.5}
    told = gathered(values, CLASSES)
    assert (told.foreign, told.unknown) == (2, {"two": 1})
    told = gathered(values, CLASSES, "0" * 12)  # of other models nothing is missed
    assert (told.foreign, told.unknown, told.notes()) == (0, {}, [])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (FORMAT_1[:60], "cut in the middle"),
        ("label", "not JSON"),
        (label(format=2), "written by a newer estampa"),
        (label(why=1), "no label of estampa of format 1: 'why'"),
        (label(format=True), "no format number"),
        (label(via="post"), "via is one of api, page"),
        (label(drawn=None), "are texts"),
        (label(id=""), "not the id of an answer"),
        (label(model="x"), "not a model's hash"),
        (label(label=True), "a class, a number or null"),
        (label(label=[1]), "a class, a number or null"),
        (FORMAT_1.replace('"kind1"', "1e999"), "no finite number"),
        (FORMAT_1.replace('"kind1"', "9" * 400), "no finite number"),
        (FORMAT_1.replace('"kind1"', "NaN"), "NaN is not JSON"),
        (label(time="2026-11-22"), "not a time in UTC"),
        (label(id="x" * 5000), "longer than"),
    ],
)
def test_what_is_no_label_is_named_by_its_row(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text(f"\n{text}\n{label(id='b.0')}\n")
    with pytest.raises(InputError, match="row 2") as raised:
        list(read_feedback(path))
    assert why in str(raised.value)
    faults: list[Fault] = []
    assert [one.id for one in read_feedback(path, faults.append)] == ["b.0"]
    assert [fault.row for fault in faults] == [2]
    assert any("row 2" in note for note in gathered(path, CLASSES).notes())
    path.write_text(text + "\n")
    with pytest.raises(InputError, match="no line is a label"):
        gathered(path, CLASSES)


def test_a_service_s_file_is_told_from_other_files_of_labels(tmp_path: Path) -> None:
    files = {
        "a.jsonl": FORMAT_1, "cut.jsonl": FORMAT_1[:30], "blank.jsonl": " " * 90 + "\n", "empty.jsonl": "",
        "headless.jsonl": FORMAT_1[40:] + "\n" + FORMAT_1 + "\n", "other.jsonl": '{"id":\n' * 50,
        "empty.csv": "", "b.csv": "id,label\na,b\n", "c.jsonl": '{"id": "a", "label": "b"}\n',
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert [name for name in files if is_feedback(tmp_path / name)] == [
        "a.jsonl", "cut.jsonl", "blank.jsonl", "empty.jsonl", "headless.jsonl",
    ]  # fmt: skip
    assert not is_feedback(tmp_path)
    assert not is_feedback(tmp_path / "none")


def logged(path: Path, bundle: Bundle, n: int = 300) -> np.ndarray:
    """A log of n answers r0, r1, ... and their true classes (n,)."""
    raw, labels = galaxies(n, seed=8)
    LogWriter(path).append(lines_of(bundle, raw, bundle.score(raw), [f"r{i}" for i in range(n)]))
    return labels


def test_chosen_answers_measure_nothing(bundle: Bundle, tmp_path: Path) -> None:
    truth, path = logged(tmp_path / "log", bundle), tmp_path / "labels.jsonl"
    (tmp_path / "labels.jsonl").touch()
    none = watch(bundle, tmp_path / "log", labels=path)
    assert none.labelled == 0
    assert any("no label belongs to an answer" in note for note in none.notes)
    give(path, {f"r{i}": CLASSES[truth[i]] for i in range(100)}, "random", bundle.hash)
    right = watch(bundle, tmp_path / "log", labels=path).figure("accuracy")
    wrong = {f"r{i}": CLASSES[1 - truth[i]] for i in range(100, 200)}
    give(path, wrong, CHOSEN, bundle.hash)
    found = watch(bundle, tmp_path / "log", labels=path)
    assert found.labelled == 100
    assert found.figure("accuracy") == right
    assert any("100 more labels are of answers that were chosen" in note for note in found.notes)
    give(path, wrong, GIVEN, bundle.hash)  # whoever says it once more, they were chosen
    assert watch(bundle, tmp_path / "log", labels=path).labelled == 100
    with path.open("a") as stream:
        stream.write(FORMAT_1[:50])
    give(path, {next(f"r{i}" for i in range(260, 300) if drawn_of(f"r{i}") == RANDOM): "triangle"}, GIVEN, bundle.hash)
    notes = watch(bundle, tmp_path / "log", labels=path).notes
    assert any(f"{path}, row 301: cut in the middle" in note for note in notes)
    assert any("1 labels are of classes that this model does not know (triangle 1)" in note for note in notes)
    give(path, {"r251": "square"}, CHOSEN, bundle.hash)
    give(path, {"r252": 7.5}, GIVEN, bundle.hash)
    told = gathered(path, CLASSES)
    assert (told.unknown, told.chosen, told.foreign) == ({"triangle": 1}, 101, 1)


def test_figures_are_fair_however_labels_come(tmp_path: Path) -> None:
    """One in five answers is wrong; the page chose all the wrong ones that it could, and drew others at random."""
    names = [f"r{i}" for i in range(2000)]
    truth = {name: "kind0" if i % 5 else "kind1" for i, name in enumerate(names)}  # the model always says kind0
    halves = {half: [name for name in names if drawn_of(name) == half] for half in (CHOSEN, RANDOM)}
    hard = [name for name in halves[CHOSEN] if truth[name] == "kind1"][:150]
    page = {CHOSEN: hard, RANDOM: halves[RANDOM][:150]}

    def wrong(path: Path) -> float:
        told = list(gathered(path, CLASSES).labels.values())
        return told.count("kind1") / len(told)

    for case, sent in {
        "none": [], "all": names, "some": names[::3], "once_more": [*hard, *page[RANDOM]], "hard": hard,
    }.items():  # fmt: skip
        path = tmp_path / case
        for half, some in page.items():
            give(path, {name: truth[name] for name in some}, half)
        if sent:
            give(path, {name: truth[name] for name in sent})
        assert wrong(path) == pytest.approx(0.2, abs=0.05), case
    told = gathered(tmp_path / "all", CLASSES)
    assert set(told.labels) == set(halves[RANDOM])
    assert (told.chosen, told.aside) == (150, len(halves[CHOSEN]) - 150)
    assert any(f"{told.aside:,} more labels are of the half" in note for note in told.notes())
    give(tmp_path / "all", dict.fromkeys(hard))  # all that was chosen is withdrawn: nothing is missing there any more
    told = gathered(tmp_path / "all", CLASSES)
    assert (told.chosen, told.aside, len(told.labels)) == (0, 0, 1850)
    give(alone := tmp_path / "alone", truth)
    assert len(gathered(alone, CLASSES).labels) == 2000
    assert gathered(tmp_path / "all", CLASSES, "0" * 12).aside == 0


def test_a_class_that_the_model_does_not_know_asks_for_retraining(bundle: Bundle, tmp_path: Path) -> None:
    truth, path = logged(tmp_path / "log", bundle), tmp_path / "labels.jsonl"
    give(path, {f"r{i}": CLASSES[truth[i]] for i in range(150)}, "random", bundle.hash)
    give(path, {"r150": "triangle"}, "random", bundle.hash)
    facts = facts_of(bundle, now=datetime(2026, 11, 22, tzinfo=UTC))
    one = watch(bundle, tmp_path / "log", labels=path)
    assert one.figure(UNKNOWN).value == pytest.approx(1 / 151)
    assert not one.figure(UNKNOWN).alert  # a slip
    give(path, {f"r{150 + i}": "triangle" for i in range(12)}, "random", bundle.hash)
    found = watch(bundle, tmp_path / "log", labels=path)
    assert found.figure(UNKNOWN).alert
    verdict = decide(found, Policy(cooldown={"days": 0}), facts)
    assert verdict.kind == "retrain"
    assert any("12 labels): it answers all of these wrong" in reason.text for reason in verdict.reasons)


def test_labels_are_forgotten_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = give(tmp_path / "labels", {"r1.0": "a", "r1.1": "b", "r2.0": "a"})
    give(path, {"r1.0": "b"})
    size = path.stat().st_size
    found = forget([], ["r1", "r3"], feedback=[path])
    assert (found.lines, found.labels, found.unknown) == (0, 3, ("r3",))
    assert path.stat().st_size == size
    assert gathered(path, ("a", "b")).labels == {"r2.0": "a"}
    with pytest.raises(SystemExit) as ended:
        main(["log", "forget", "r2", "--feedback", str(path), "--json"])
    assert ended.value.code in (0, None)
    assert json.loads(capsys.readouterr().out) == {"lines": 0, "inputs": 0, "labels": 1, "unknown": []}
    assert not list(read_feedback(path))
