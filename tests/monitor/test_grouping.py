"""watch(by=COLUMN): groups of the labels' file or of the data, each with its own ranges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.errors import InputError, SourceError
from estampa.evaluate.slices import Column
from estampa.monitor.decide import Facts, decide
from estampa.monitor.grouping import MOST, UNKNOWN, Grouping, grouping_of
from estampa.monitor.line import moment
from estampa.monitor.log import LogWriter, lines_of
from estampa.monitor.policy import Policy
from estampa.monitor.watch import Watch, watch
from made_pairs import dataset as pairs
from made_tables import COLUMNS, dataset, galaxies
from made_tables import make as make_of_table


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_of_table(tmp_path_factory.mktemp("bundle") / "model", n=1500)


def logged(path: Path, bundle: Bundle, raw: np.ndarray) -> Path:
    ids, when = [f"r{i}" for i in range(len(raw))], moment("2026-01-01T10:00:00.000Z")
    LogWriter(path).append(lines_of(bundle, raw, bundle.score(raw), ids, when=when))
    return path


def labels_file(path: Path, labels: np.ndarray, camera: list[str]) -> Path:
    rows = [f"r{i},kind{c},{where}" for i, (c, where) in enumerate(zip(labels, camera, strict=False))]
    path.write_text("\n".join(["id,label,camera", *rows]) + "\n")
    return path


def groups(values: list[object], edges: tuple[float, ...] = ()) -> tuple[list[str], list[int]]:
    ids = [f"i{i}" for i in range(len(values))]
    made = Grouping(ids, Column("x", np.array(values), edges))
    return made.names, made.of(np.array([*ids, "elsewhere"])).tolist()


def test_texts_and_few_whole_numbers_are_groups_by_value() -> None:
    assert groups(["b", "a", "", "b"]) == (["a", "b", UNKNOWN], [1, 0, 2, 1, 2])
    assert groups([10.0, 9.0, np.nan, 10.0]) == (["9", "10", UNKNOWN], [1, 0, 2, 1, 2])


def test_measurements_are_parted_into_stretches() -> None:
    assert groups([1.5, 2.5, 7.0], (2.0, 5.0)) == (["below 2", "2 to 5", "from 5", UNKNOWN], [0, 1, 2, 3])
    names, place = groups(np.linspace(14, 20, 600).tolist())
    assert len(names) == 7
    assert place[0] == 0
    assert place[-2:] == [5, 6], "the last one, and one that is not there"
    assert groups([float(i) for i in range(500)])[0][0].startswith("below "), "many whole numbers are no names"


def test_many_groups_are_bounded_by_joining_the_rare_ones() -> None:
    names, place = groups([f"field {i:03}" for i in range(200)] + ["field 150"] * 3)
    assert len(names) == MOST + 1
    assert names[-2:] == [f"{200 - MOST + 1} others", UNKNOWN]
    assert "field 150" in names
    assert len(set(place)) == len(names)


def test_a_camera_that_went_wrong_is_named(bundle: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(900, seed=6)
    camera = [("north", "south", "west")[i % 3] for i in range(900)]
    raw[np.array(camera) == "south", 1] += 0.4
    log = logged(tmp_path / "log", bundle, raw)
    known = labels_file(tmp_path / "labels.csv", labels[:840], camera)
    found = watch(bundle, log, labels=known, by="camera")
    assert (found.by, found.column) == ("column camera", "camera")
    assert [(p.name, p.n, p.labelled) for p in found.periods] == [
        ("north", 280, 280), ("south", 280, 280), ("west", 280, 280), (UNKNOWN, 60, 0),
    ]  # fmt: skip
    assert {p.name for p in found.periods if any("g-r" in f.name for f in p.alerts)} >= {"south"}
    assert not [p.name for p in found.periods[::2] if p.alerts]
    south = {f.name: f for f in found.periods[1].figures}
    assert south["accuracy"].value < {f.name: f for f in found.periods[0].figures}["accuracy"].value
    assert Watch.from_json(json.loads(found.to_text())).to_text() == found.to_text()
    verdict = decide(found, Policy(), Facts(moment("2026-01-02T10:00:00.000Z")))
    told = [reason for reason in verdict.reasons if reason.text.startswith("camera ")]
    assert [reason.text.partition(",")[0] for reason in told] == ["camera south"]
    assert told[0].effect == "watch"


def test_a_column_of_the_data(bundle: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(400, seed=6, failed=0)
    made = dataset(tmp_path / "d.h5", raw, labels)
    found = watch(bundle, made.path, by="mag_r:15,17")
    assert [p.name for p in found.periods] == ["below 15", "15 to 17", "from 17"]
    assert sum(p.n for p in found.periods) == 400
    assert [p.name for p in watch(bundle, made.path, by="mag_r:15,17", part="test").periods] == [
        "below 15", "15 to 17", "from 17",
    ]  # fmt: skip
    text = [",".join(["objid", *COLUMNS, "camera"])]
    text += [",".join([f"o{i}", *map(str, row), "AB"[i % 2]]) for i, row in enumerate(raw)]
    (tmp_path / "d.csv").write_text("\n".join(text) + "\n")
    by_file = watch(bundle, tmp_path / "d.csv", by="camera")
    assert [(p.name, p.n) for p in by_file.periods] == [("A", 200), ("B", 200)]


def test_a_dataset_is_grouped_by_what_belongs_together(bundle: Bundle, tmp_path: Path) -> None:
    nights = grouping_of("group", bundle, pairs(tmp_path / "p.h5", 80, groups=True), None)
    assert nights.names == [*(f"night {i}" for i in range(10)), UNKNOWN]
    assert nights.of(np.array(["p-0", "p-79", "q-1"])).tolist() == [0, 9, 10]
    raw, labels = galaxies(40, seed=6)
    made = dataset(tmp_path / "d.h5", raw, labels)
    with pytest.raises(InputError, match=r"no column 'mag_rr' to group by.*mag_r.*Did you mean 'mag_r'"):
        grouping_of("mag_rr", bundle, made, None)


def test_a_column_that_is_nowhere_is_told(bundle: Bundle, tmp_path: Path) -> None:
    raw, labels = galaxies(30)
    log = logged(tmp_path / "log", bundle, raw)
    with pytest.raises(InputError, match=r"no column 'camera' to group by.*stands in the file of --labels"):
        watch(bundle, log, by="camera", kind="log")
    with pytest.raises(InputError, match="Did you mean 'day'"):
        watch(bundle, log, by="days", kind="log")
    known = labels_file(tmp_path / "labels.csv", labels, ["n"] * 30)
    with pytest.raises(InputError, match="Did you mean 'camera'"):
        watch(bundle, log, by="camara", labels=known, kind="log")
    with pytest.raises(InputError, match="edges are of numbers"):
        watch(bundle, log, by="camera:1,2", labels=known, kind="log")
    with pytest.raises(InputError, match="the edges must rise"):
        watch(bundle, log, by="camera:2,1", labels=known, kind="log")
    with pytest.raises(InputError, match="an array has no columns"):
        watch(bundle, raw, by="camera")
    text = [",".join(COLUMNS), *(",".join(map(str, row)) for row in raw)]
    (tmp_path / "d.csv").write_text("\n".join(text) + "\n")
    with pytest.raises(SourceError, match="camera"):
        watch(bundle, tmp_path / "d.csv", by="camera", kind="data")
