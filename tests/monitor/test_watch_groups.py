"""Objects that were taken together are alike: a clean batch of other groups is no drift."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.reference import group_codes
from estampa.bundle.store import Bundle, write
from estampa.monitor.flags import flag_figures
from estampa.monitor.ranges import Ranges, whole_groups
from estampa.monitor.watch import watch
from made_bundles import SHAPE, content_of, make

SIZE = 20  #: objects of an exposure


def exposures(many: int, seed: int) -> np.ndarray:
    """Pictures of exposures, each with its own sky."""
    draw = np.random.default_rng(seed)
    sky = np.repeat(draw.uniform(60, 120, many), SIZE)
    return np.clip(sky[:, None, None, None] + draw.normal(0, 6, (many * SIZE, *SHAPE)), 0, 255).astype(np.uint8)


def moved(bundle: Bundle, batch: np.ndarray) -> bool:
    """Whether an input left its range; answers and embeddings of a made bundle's reference are made up."""
    return any(figure.kind == "input" for figure in watch(bundle, batch).alerts)


def test_a_clean_batch_of_other_groups_is_no_drift(tmp_path: Path) -> None:
    seen, groups = exposures(30, 0), np.repeat([f"e{i}" for i in range(30)], SIZE)
    knows = make(tmp_path / "knows", seen=seen, groups=groups)
    naive = make(tmp_path / "naive", seen=seen)
    assert "groups" not in naive.tensors("reference")
    alarms = {"knows": 0, "naive": 0}
    for seed in range(1, 16):
        batch = exposures(3, seed)
        alarms["knows"] += moved(knows, batch)
        alarms["naive"] += moved(naive, batch)
    assert alarms["naive"] >= 12  # what is not known of groups is taken for drift
    assert alarms["knows"] <= 1
    assert moved(knows, np.clip(exposures(3, 99) + 90.0, 0, 255).astype(np.uint8))


def test_codes_hold_no_names_and_stand_only_where_objects_share_a_group() -> None:
    assert group_codes(None) == {}
    assert group_codes(np.array(["a", "b", "c"])) == {}
    assert group_codes(np.array(["n7", "n2", "n7"]))["groups"].tolist() == [1, 0, 1]


def test_draws_are_of_whole_groups() -> None:
    groups = np.repeat(np.arange(10), 7)
    for rows in whole_groups(np.random.default_rng(0), groups, 50, 24):
        sizes = np.bincount(groups[rows], minlength=10)
        assert sorted(sizes[sizes > 0].tolist()) == [3, 7, 7, 7]
    assert sorted(whole_groups(np.random.default_rng(0), groups, 1)[0].tolist()) == list(range(70))


def test_few_groups_widen_the_bound_and_none_do_not(tmp_path: Path) -> None:
    seen = exposures(8, 0)
    few = Ranges(make(tmp_path / "few", seen=seen, groups=np.repeat(np.arange(8), SIZE)))
    none = Ranges(make(tmp_path / "none", seen=seen))
    one = Ranges(make(tmp_path / "one", seen=seen, groups=np.zeros(len(seen))))
    assert none.wider(30, 0.01) == one.wider(30, 0.01) == 1
    assert few.few_groups
    assert not none.few_groups
    assert few.wider(1, 0.01) == pytest.approx(3.499 / 2.576, rel=0.02)  # Student's 0.995 quantile, 7 degrees
    assert few.threshold(40, ["input"]) > 2 * none.threshold(40, ["input"])
    assert any("8 groups alone" in note for note in watch(tmp_path / "few", exposures(1, 1)).notes)
    assert watch(tmp_path / "none", exposures(1, 1)).notes == ()
    assert one.threshold(40, ["input"]) == none.threshold(40, ["input"])


def test_flags_that_come_by_groups_are_no_alarm(tmp_path: Path) -> None:
    """In one exposure of ten every object carries a flag: a clean batch of six exposures has none, or many."""
    draw, codes = np.random.default_rng(3), np.repeat(np.arange(40), SIZE)
    seen = np.clip(draw.normal(90, 20, (len(codes), *SHAPE)), 0, 255).astype(np.uint8)
    content = content_of(seen=seen, groups=codes)
    content.reference["flag_out_of_range"] = np.isin(codes, [3, 17, 22, 35]).astype(np.uint8)
    ranges = Ranges(write(tmp_path / "model", content))
    kinds, alarms = ["input", "embedding", "output"], 0
    for _ in range(300):
        marked = int((draw.random(6) < 0.1).sum()) * SIZE
        figures = flag_figures({"out_of_range": marked}, 6 * SIZE, ranges, ranges.threshold(6 * SIZE, kinds))
        alarms += any(figure.alert for figure in figures)
    assert alarms <= 12  # 1 % stated
    all_of_them = flag_figures({"out_of_range": 6 * SIZE}, 6 * SIZE, ranges, ranges.threshold(6 * SIZE, kinds))
    assert any(figure.alert for figure in all_of_them)
