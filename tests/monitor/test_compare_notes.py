"""What compare and retrain say of the data that they were given: seen rows, groups, classes without an object."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from estampa import pipeline
from estampa.errors import CheckFailed, ContractError, InputError
from estampa.evaluate.slices import Column
from estampa.monitor.compare import compare
from estampa.monitor.compare_slices import changes
from estampa.monitor.decide import Facts, decide
from estampa.monitor.figures import Watch
from estampa.monitor.policy import read_policy
from made_pairs import TRUE, dataset, model
from made_tables import dataset as table
from made_tables import galaxies

HOW = (100, 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notes")
    model(folder / "fair", 0.33)
    model(folder / "knows", TRUE, dataset(folder / "seen.h5", seed=5, parts=True))
    return folder


def test_seen_rows_of_a_file_name_the_file_the_side_and_the_cure(made: Path, tmp_path: Path) -> None:
    seen = dataset(tmp_path / "seen.h5", seed=5, parts=True)
    np.savez(tmp_path / "seen.npz", images=seen.take(np.arange(seen.n)), labels=np.asarray(seen.labels))
    with pytest.raises(CheckFailed, match="the challenger learned from 200 of the 400") as raised:
        compare(made / "fair", made / "knows", tmp_path / "seen.npz", part="all", how=HOW)
    assert str(raised.value).startswith(f"{tmp_path / 'seen.npz'}: ")
    assert "--only-unseen" in raised.value.cure
    with pytest.raises(CheckFailed, match="the champion learned from"):
        compare(made / "knows", made / "fair", tmp_path / "seen.npz", part="all", how=HOW)


def test_groups_and_classes_without_an_object_are_said(made: Path, tmp_path: Path) -> None:
    loose = compare(made / "fair", made / "knows", dataset(tmp_path / "loose.h5", seed=9), how=HOW)
    assert ["independent" in note for note in loose.notes()] == [True]
    assert any("independent" in line for line in loose.lines())
    assert loose.to_json()["notes"] == loose.notes()
    tied = dataset(tmp_path / "tied.h5", seed=9, groups=True)
    assert compare(made / "fair", made / "knows", tied, how=HOW).notes() == []
    light = np.flatnonzero(np.asarray(tied.labels) == 1)
    np.savez(tmp_path / "light.npz", images=tied.take(light), labels=np.array(["light"] * len(light)))
    one = compare(made / "fair", made / "knows", tmp_path / "light.npz", how=HOW)
    assert any(note.startswith("No object is of dark: ") for note in one.notes())


def test_a_few_whole_numbers_are_slices_by_value() -> None:
    draw = np.random.default_rng(0)
    truth, said = draw.integers(0, 2, 400), draw.integers(0, 2, (2, 400))
    camera = np.where(np.arange(400) < 30, np.nan, draw.integers(1, 4, 400))
    by = (Column("camcol", camera), Column("camcol", camera, (2.0,)))
    found = changes(by, truth, *said, classes=2, groups=None, how=HOW)
    assert sorted(s.name for s in found[:4]) == ["camcol 1", "camcol 2", "camcol 3", "camcol not known"]
    assert {s.name for s in found[4:]} == {"camcol below 2", "camcol from 2", "camcol not known"}


def test_a_retraining_that_cannot_begin_leaves_nothing(made: Path, tmp_path: Path) -> None:
    table(tmp_path / "rows.h5", *galaxies(60))
    with pytest.raises(ContractError, match="not what the model was fed: no images"):
        pipeline.retrain(made / "knows", tmp_path / "rows.h5", output=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age = 3\n", "'age': should be a table of keys, as [age], got 3"),
        ("[ranges.accuracy]\n", "'ranges.accuracy': a range needs low, high or effect"),
        ("[ranges.acuracy]\nlow = 0.5\n", "no watched figure 'acuracy'"),
    ],
)
def test_a_wrong_policy_is_named_in_plain_words(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError) as raised:
        decide(Watch("0" * 12, 100, (), (), 0.01), read_policy(tmp_path / "p.toml"), Facts(datetime.now(UTC)))
    assert str(raised.value).startswith(str(tmp_path / "p.toml"))
    assert said in str(raised.value)
    assert "value error" not in str(raised.value)
