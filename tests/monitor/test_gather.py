"""gather(): kept inputs and the labels that people gave to them, as a Dataset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.cli import main
from estampa.data.dataset import PARTS, Dataset
from estampa.errors import InputError
from estampa.monitor.candidates import drawn_of
from estampa.monitor.feedback import CHOSEN, lines_of_labels
from estampa.monitor.gather import Gathered
from estampa.monitor.gather import gather as gather_now
from estampa.monitor.kept import Kept
from estampa.monitor.log import LogWriter
from made_bundles import make, pictures
from made_tables import make as make_of_table

WHEN = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("bundle") / "model", channels=("g",), units="count")


def told(path: Path, labels: dict[str, object], model: str, drawn: str = "random") -> Path:
    LogWriter(path).append(lines_of_labels(labels, [model] * len(labels), "page", drawn))  # type: ignore[arg-type]
    return path


def kept(folder: Path, arrays: dict[str, np.ndarray], since: datetime = WHEN) -> Kept:
    store = Kept(folder)
    for i, (name, array) in enumerate(arrays.items()):
        store.put(name, array, {}, now=since.replace(hour=i % 24))
    return store


def gather(bundle: Bundle, keep: Path, feedback: Path, output: Path) -> Gathered:
    """What was gathered a day after all of it was kept."""
    return gather_now(bundle, keep, feedback, output, now=WHEN + timedelta(days=1))


def test_what_is_kept_and_labelled_becomes_a_dataset(bundle: Bundle, tmp_path: Path) -> None:
    images = pictures(4)
    kept(tmp_path / "kept", {f"r{i // 2}.{i % 2}": image for i, image in enumerate(images)})
    path = told(tmp_path / "labels.jsonl", {"r0.0": "dark", "r0.1": "light"}, bundle.hash)
    told(path, {"r1.0": "dark", "gone.0": "dark"}, bundle.hash, "chosen")
    told(path, {"r0.0": "light"}, bundle.hash)  # changed his mind: the last one counts
    told(path, {"r1.1": "dark"}, "0123456789ab")
    told(path, {"r0.1": None}, bundle.hash)
    found = gather(bundle, tmp_path / "kept", path, tmp_path / "new.h5")
    dataset = Dataset.open(tmp_path / "new.h5")
    assert dataset.ids.tolist() == ["r0.0", "r1.0"]
    assert [dataset.classes[i] for i in dataset.labels] == ["light", "dark"]
    assert dataset.images is not None
    np.testing.assert_array_equal(dataset.images[:], images[[0, 2]])
    header = dataset.header
    assert (header.channels, header.units, header.shape) == (("g",), "count", bundle.pictures.shape)
    assert found.left == {
        "without a kept input": 1, "of model 0123456789ab": 1, "withdrawn": 1,
    }  # fmt: skip
    assert found.expires == (datetime(2026, 3, 31, 0, tzinfo=UTC), datetime(2026, 3, 31, 2, tzinfo=UTC))


def test_objects_of_one_request_are_one_group(bundle: Bundle, tmp_path: Path) -> None:
    kept(tmp_path / "kept", dict(zip(["a.0", "a.1", "b.0"], pictures(3), strict=True)))
    path = told(tmp_path / "labels", {"a.0": "dark", "a.1": "light", "b.0": "dark"}, bundle.hash)
    groups = gather(bundle, tmp_path / "kept", path, tmp_path / "new.h5").dataset.groups
    assert groups is not None
    assert groups.tolist() == ["a", "a", "b"]


def test_chosen_ones_are_learned_from_and_nothing_else(bundle: Bundle, tmp_path: Path) -> None:
    images = pictures(400, seed=3)
    names = [f"r{i // 4}.{i % 4}" for i in range(400)]  # of each request three are fair draws, but of the last twenty
    hard = [name for i, name in enumerate(names) if i % 4 == 0 or i >= 320]
    kept(tmp_path / "kept", dict(zip(names, images, strict=True)))
    labels = {name: ("dark" if image.mean() < 70 else "light") for name, image in zip(names, images, strict=True)}
    path = told(tmp_path / "l", {name: labels[name] for name in names if name not in hard}, bundle.hash)
    told(path, {name: labels[name] for name in hard}, bundle.hash, "chosen")
    told(path, {name: labels[name] for name in hard[:30]}, bundle.hash, "given")  # once more, from elsewhere
    found = gather(bundle, tmp_path / "kept", path, tmp_path / "new.h5")
    data = Dataset.open(tmp_path / "new.h5")
    ids, chosen = data.ids, np.isin(data.ids, hard)
    assert set(data.split[chosen].tolist()) == {PARTS.index("none"), PARTS.index("train")}
    assert not (data.split[~chosen] == 0).any(), "a fair draw is in a part"
    assert data.groups is not None
    for name in np.unique(data.groups):
        parts = set(data.split[data.groups == name].tolist()) - {0}
        assert len(parts) <= 1, "no request is torn"
        assert len(parts) == 1, "in no part only beside what is judged with"
    fair = np.bincount(data.split[~chosen], minlength=4) / int((~chosen).sum())
    np.testing.assert_allclose(fair, [0, 0.72, 0.08, 0.2], atol=0.03)
    alone = np.isin(ids, names[320:])
    assert (data.split[alone] == PARTS.index("train")).all(), "requests of chosen ones alone are all learned from"
    unused = int((data.split[chosen] == 0).sum())
    assert found.unfair == {"train": int(chosen.sum()) - unused, "none": unused}
    assert 10 < unused < 35
    assert data.split_record["gathered"] == found.unfair


def test_what_is_sent_of_the_half_that_is_chosen_from_is_no_fair_draw(bundle: Bundle, tmp_path: Path) -> None:
    names = [f"r{i}.0" for i in range(80)]
    kept(tmp_path / "kept", dict(zip(names, pictures(80, seed=5), strict=True)))
    labels = {name: bundle.classes[i % 2] for i, name in enumerate(names)}
    path = told(tmp_path / "l", labels, bundle.hash, "given")
    train = PARTS.index("train")
    whole = gather(bundle, tmp_path / "kept", path, tmp_path / "whole.h5")
    assert whole.unfair == {"train": 0, "none": 0}, "all answers are a fair draw of themselves"
    first = next(name for name in names if drawn_of(name) == CHOSEN)
    told(path, {first: labels[first]}, bundle.hash, CHOSEN)
    found = gather(bundle, tmp_path / "kept", path, tmp_path / "new.h5")
    half = np.array([drawn_of(name) == CHOSEN for name in found.dataset.ids])
    assert (found.dataset.split[half] == train).all()
    assert 0 < (found.dataset.split[~half] == train).sum() < (~half).sum()
    assert found.unfair == {"train": int(half.sum()), "none": 0}


def test_what_the_model_was_tested_on_is_tested_on_again(tmp_path: Path) -> None:
    bundle = make_of_table(tmp_path / "model", n=200)
    old = Dataset.open(tmp_path / "galaxies.h5")
    rows, more = old.table_rows(old.rows("test")[:20]), old.table_rows(old.rows("train")[:40]) + 0.01
    names = [f"t{i}.0" for i in range(20)] + [f"n{i}.0" for i in range(40)]
    kept(tmp_path / "kept", dict(zip(names, np.vstack([rows, more]), strict=True)))
    labels = {name: bundle.classes[i % 2] for i, name in enumerate(names)}
    path = told(tmp_path / "l", labels, bundle.hash)
    told(path, {name: labels[name] for name in names[:5]}, bundle.hash, "chosen")
    found = gather(bundle, tmp_path / "kept", path, tmp_path / "new.h5").dataset
    part = dict(zip(found.ids.tolist(), found.split.tolist(), strict=True))
    assert {part[name] for name in names[:5]} == {0}
    assert {part[name] for name in names[5:20]} == {PARTS.index("test")}


def test_what_is_over_is_not_copied_and_nobody_else_reads_the_copy(bundle: Bundle, tmp_path: Path) -> None:
    kept(tmp_path / "kept", {"old.0": pictures(1)[0]}, WHEN - timedelta(days=30))
    kept(tmp_path / "kept", {"new.0": pictures(2)[1]})
    path = told(tmp_path / "l", {"old.0": "dark", "new.0": "dark"}, bundle.hash)
    (tmp_path / "new.h5.part").touch(0o644)  # of a run that was killed
    found = gather(bundle, tmp_path / "kept", path, tmp_path / "new.h5")
    assert found.dataset.ids.tolist() == ["new.0"]
    assert found.left == {"expired": 1}
    assert found.expires[0] == WHEN + timedelta(days=30)
    assert (tmp_path / "new.h5").stat().st_mode & 0o777 == 0o600


def test_a_known_class_spelled_otherwise_is_no_new_one(bundle: Bundle, tmp_path: Path) -> None:
    kept(tmp_path / "kept", {f"r.{i}": image for i, image in enumerate(pictures(4))})
    labels = {"r.0": "DARK", "r.1": "dark", "r.2": "d ark", "r.3": "nova"}
    found = gather(bundle, tmp_path / "kept", told(tmp_path / "l", labels, bundle.hash), tmp_path / "new.h5")
    assert found.dataset.classes == ("dark", "light", "nova")
    assert found.left == {"spelled 'DARK' in place of 'dark'": 1, "spelled 'd ark' in place of 'dark'": 1}


def test_rows_of_a_table(tmp_path: Path) -> None:
    bundle = make_of_table(tmp_path / "model", n=200)
    width, name = len(bundle.table.columns), bundle.classes[1]
    row = np.arange(width, dtype=np.float64) / 3
    kept(tmp_path / "kept", {"a.0": row})
    found = gather(bundle, tmp_path / "kept", told(tmp_path / "l", {"a.0": name}, bundle.hash), tmp_path / "new.h5")
    assert found.dataset.header.columns == tuple(c.name for c in bundle.table.columns)
    np.testing.assert_array_equal(found.dataset.table_rows()[0], row)
    assert found.dataset.classes[found.dataset.labels[0]] == name


def test_classes_that_the_model_does_not_know_come_last(bundle: Bundle, tmp_path: Path) -> None:
    kept(tmp_path / "kept", {f"r.{i}": image for i, image in enumerate(pictures(4))})
    labels = {"r.0": "nova", "r.1": bundle.classes[0], "r.2": "comet", "r.3": 2.5}
    found = gather(bundle, tmp_path / "kept", told(tmp_path / "l", labels, bundle.hash), tmp_path / "new.h5")
    assert found.dataset.classes == (*bundle.classes, "comet", "nova")
    assert [found.dataset.classes[i] for i in found.dataset.labels] == ["nova", bundle.classes[0], "comet"]
    assert found.left == {"no label of such a model": 1}


def test_nothing_labelled_or_of_another_shape_is_said(bundle: Bundle, tmp_path: Path) -> None:
    kept(tmp_path / "kept", {"a.0": np.zeros((3, 3, 1), np.uint8)})
    with pytest.raises(InputError, match="no labelled input is kept") as raised:
        gather(bundle, tmp_path / "kept", told(tmp_path / "l", {"b.0": "dark"}, bundle.hash), tmp_path / "new.h5")
    assert "1 without a kept input" in str(raised.value)
    with pytest.raises(InputError, match=r"a\.0: a kept input is not what the model was fed"):
        gather(bundle, tmp_path / "kept", told(tmp_path / "m", {"a.0": "dark"}, bundle.hash), tmp_path / "new.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kept", "l", "m"]


def test_the_command_says_until_when_it_may_be_kept(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    today = datetime.now(UTC)
    end = (today.replace(hour=0) + timedelta(days=30)).strftime("%Y-%m-%d %H:%M UTC")
    kept(tmp_path / "kept", {"a.0": pictures(1)[0]}, today)
    path = told(tmp_path / "labels.jsonl", {"a.0": "light"}, bundle.hash)
    words = ["log", "gather", str(bundle.folder), "--keep", str(tmp_path / "kept"), "--feedback", str(path)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "-o", str(tmp_path / "new.h5")])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    assert "1 labelled inputs" in out
    assert f"to be deleted by {end}" in out
    assert "parts: 1 train (0 of them no fair draw: chosen, or of the half that is chosen from), 0 validation" in out
    assert "the validation and test part holds nothing" in " ".join(err.split())
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "Give the run, --keep, one --feedback and -o" in capsys.readouterr().err
