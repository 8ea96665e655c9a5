"""Parts: stratified, grouped, exact duplicates on one side, seeded, stored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from making import make, noise
from PIL import Image

from estampa.cli import main
from estampa.data.check import near_across
from estampa.data.dataset import Dataset
from estampa.data.deal import TEST, TRAIN, VALIDATION, units
from estampa.data.read import ReadOptions, build
from estampa.data.split import make_split, split
from estampa.errors import DatasetError, InputError


def test_shares_are_kept_in_every_class() -> None:
    labels = np.repeat([0, 1, 2], [1000, 500, 100])
    parts = make_split(labels, test=0.2, validation=0.1)
    for number, count in enumerate((1000, 500, 100)):
        mine = parts[labels == number]
        assert (mine == TEST).sum() == count * 0.2
        assert (mine == VALIDATION).sum() == count * 0.8 * 0.1


def test_ten_positives_in_a_hundred_thousand_reach_every_part() -> None:
    labels = np.zeros(100_000, np.int64)
    labels[np.random.default_rng(0).choice(100_000, 10, replace=False)] = 1
    for seed in range(3):
        parts = make_split(labels, test=0.2, validation=0.1, seed=seed)
        found = np.bincount(parts[labels == 1], minlength=4).tolist()
        assert found[0] == 0
        assert found[1] >= 6
        assert min(found[2:]) >= 1


def test_a_class_without_objects_cannot_be_parted(tmp_path: Path) -> None:
    """A set of candidates of which not one was labelled real."""
    images = noise(40)
    np.savez(tmp_path / "a.npz", images=images, label=np.zeros(40, int))
    for classes in ((), ("bogus", "real")):
        dataset = build(tmp_path / "a.npz", tmp_path / "a.h5", ReadOptions(classes=classes), force=True)
        with pytest.raises(DatasetError, match=r"one class only, '(0|bogus)': there is nothing to tell apart"):
            split(dataset)


def test_the_seed_rules() -> None:
    labels = np.repeat([0, 1], 200)
    one = make_split(labels, test=0.2, validation=0.1, seed=3)
    assert (one == make_split(labels, test=0.2, validation=0.1, seed=3)).all()
    assert (one != make_split(labels, test=0.2, validation=0.1, seed=4)).any()


def test_unlabelled_rows_are_in_no_part() -> None:
    labels = np.repeat([0, 1, -1], 30)
    parts = make_split(labels, test=0.2, validation=0.1)
    assert (parts[labels < 0] == 0).all()
    assert (parts[labels >= 0] > 0).all()


def test_three_objects_of_a_class_reach_three_parts() -> None:
    labels = np.array([0] * 60 + [1] * 3 + [2] * 2)
    parts = make_split(labels, test=0.2, validation=0.1)
    assert set(parts[labels == 1]) == {TRAIN, VALIDATION, TEST}
    assert set(parts[labels == 2]) == {TRAIN, TEST}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_group_and_no_duplicate_is_torn(data: st.DataObject) -> None:
    n = data.draw(st.integers(40, 150))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    labels = draw.integers(-1, 3, n)
    labels[:6] = [0, 0, 1, 1, 2, 2]
    groups = draw.integers(0, data.draw(st.integers(20, 60)), n).astype(str)
    hashes = draw.integers(0, 5 * n, n).astype(np.uint64)
    try:
        parts = make_split(labels, test=0.25, validation=0.2, groups=groups, hashes=hashes, seed=1)
    except DatasetError as error:
        assert "part would be empty" in str(error)  # noqa: PT017 - duplicates may chain all groups together
        return
    dealt = parts > 0
    assert (dealt == (labels >= 0)).all()
    for keys in (groups, hashes):
        for key in set(keys[dealt].tolist()):
            assert len(set(parts[dealt & (keys == key)].tolist())) == 1
    assert {TRAIN, VALIDATION, TEST} <= set(parts.tolist())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(3, 60), min_size=2, max_size=6),
    st.sampled_from([0.1, 0.2, 0.34, 0.5]),
    st.sampled_from([0.0, 0.1, 0.3]),
)
def test_every_class_is_in_every_part(sizes: list[int], test: float, validation: float) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    try:
        parts = make_split(labels, test=test, validation=validation)
    except DatasetError:
        assert sum(sizes) * min(test, validation or 1) < 1
        return
    used = {TRAIN, TEST} | ({VALIDATION} if validation else set())
    for number, size in enumerate(sizes):
        mine = parts[labels == number]
        assert set(mine.tolist()) == used
        assert abs((mine == TEST).sum() - test * size) < 2


def test_groups_are_stratified_as_well_as_they_allow() -> None:
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 10)
    labels = (draw.random(1000) < np.repeat(np.where(np.arange(100) < 20, 0.9, 0.05), 10)).astype(int)
    parts = make_split(labels, test=0.2, validation=0.1, groups=groups.astype(str))
    shares = [labels[parts == p].mean() for p in (TRAIN, VALIDATION, TEST)]
    assert np.ptp(shares) < 0.03
    assert abs((parts == TEST).mean() - 0.2) < 0.02


def test_units_follow_both_ties_and_the_empty_group_ties_nothing() -> None:
    groups = np.array(["a", "a", "b", "b", "c", "", ""])
    hashes = np.array([1, 2, 2, 3, 4, 5, 6], np.uint64)
    own = units(groups, hashes, 7)
    assert own[0] == own[1] == own[2] == own[3]
    assert len({own[0], own[4], own[5], own[6]}) == 4


def test_a_target_is_spread_by_quantiles() -> None:
    target = np.random.default_rng(0).lognormal(size=1000)
    target[:10] = np.nan
    parts = make_split(target, test=0.2, validation=0.1, task="regression")
    assert (parts[:10] == 0).all()
    medians = [np.median(target[parts == p]) for p in (TRAIN, VALIDATION, TEST)]
    assert np.ptp(medians) < 0.15


def test_kept_parts_stay_and_draw_their_duplicates() -> None:
    labels = np.repeat([0, 1], 50)
    keep = np.zeros(100, np.uint8)
    keep[:20] = keep[50:70] = TEST
    hashes = np.arange(100, dtype=np.uint64)
    hashes[99] = hashes[0]
    parts = make_split(labels, test=0.5, validation=0.1, hashes=hashes, keep=keep)
    assert (parts[keep > 0] == keep[keep > 0]).all()
    assert parts[99] == TEST
    assert (parts == TEST).sum() == 41
    assert (parts == VALIDATION).sum() == 6


@pytest.mark.parametrize(
    ("labels", "shares", "groups", "words"),
    [
        ([0] * 20, (0.2, 0.1), None, "one class only"),
        ([0] * 20 + [1], (0.2, 0.1), None, "with one object"),
        ([0] * 3 + [1] * 3, (0.01, 0.0), None, "test part would be empty"),
        ([0, 1] * 10, (0.2, 0.1), ["x", "y"] * 10, "part would be empty"),
    ],
)
def test_what_cannot_be_parted_is_refused(
    labels: list[int], shares: tuple[float, float], groups: list[str] | None, words: str
) -> None:
    with pytest.raises(DatasetError, match=words):
        make_split(
            np.array(labels), test=shares[0], validation=shares[1], groups=None if groups is None else np.array(groups)
        )


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5, float("nan")])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(InputError, match="share out of range"):
        make_split(np.array([0, 1] * 5), test=share, validation=0.1)


def test_split_is_stored_in_the_file(tmp_path: Path) -> None:
    labels = np.repeat([0, 1], 50)
    make(tmp_path / "set.h5", noise(100), labels)
    result = split(tmp_path / "set.h5", seed=5)
    again = Dataset.open(tmp_path / "set.h5")
    assert result.totals == {"none": 0, "train": 72, "validation": 8, "test": 20}
    assert len(again.rows("test")) == 20
    assert again.split_record["seed"] == 5
    assert json.loads(json.dumps(result.to_json()))["classes"]["a"]["test"] == 10


def test_a_published_split_is_kept_unless_forced(tmp_path: Path) -> None:
    labels = np.array([0, 1] * 50)
    parts = np.repeat([TRAIN, TEST], 50).astype(np.uint8)
    make(tmp_path / "set.h5", noise(100), labels, split=parts, published_split=True)
    for seed in (0, 1):  # the validation part that we took is dealt anew, the published test part is not
        result = split(tmp_path / "set.h5", seed=seed)
        stored = Dataset.open(tmp_path / "set.h5").split
        assert (stored[50:] == TEST).all()
        assert result.totals == {"none": 0, "train": 45, "validation": 5, "test": 50}
        assert result.record["published"]
    result = split(tmp_path / "set.h5", force=True)
    assert result.totals["test"] == 20
    assert not result.record["published"]


def test_group_names_what_the_file_keeps(tmp_path: Path) -> None:
    labels = np.array([0, 1] * 30)
    make(tmp_path / "set.h5", noise(60), labels, groups=[f"g{i // 6}" for i in range(60)])
    result = split(tmp_path / "set.h5", group="groups")
    dataset = Dataset.open(tmp_path / "set.h5")
    assert result.record["grouped"]
    assert all(len(set(dataset.split[dataset.groups == g])) == 1 for g in np.unique(dataset.groups))
    with pytest.raises(DatasetError, match="no groups called 'drawer'"):
        split(tmp_path / "set.h5", group="drawer")


def test_a_column_and_the_name_that_was_built_with_are_kept_whole_too(tmp_path: Path) -> None:
    lines = [f"{i % 2},{i // 6},{i // 4},n{i}\n" for i in range(60)]
    (tmp_path / "labels.csv").write_text("label,night,field,name\n" + "".join(lines))
    np.save(tmp_path / "a.npy", noise(60))
    for asked, columns in (("", ("night", "field")), ("night", ("field",))):
        built = build(
            [tmp_path / "a.npy", tmp_path / "labels.csv"], tmp_path / f"s{asked}.h5", ReadOptions(group=asked)
        )
        assert built.header.columns == columns
        split(built.path, group="night")
        split(built.path, group="field")
        parts = Dataset.open(built.path).split
        assert all(len(set(parts[np.arange(60) // 4 == f])) == 1 for f in range(15))
        if asked:  # both: what shares a field and a night ties them all the way
            assert all(len(set(parts[np.arange(60) // 6 == f])) == 1 for f in range(10))
    with pytest.raises(DatasetError, match=r"no groups called 'drawer'. Got: it keeps 'night'; its columns are field"):
        split(tmp_path / "snight.h5", group="drawer")


def test_the_verb_prints_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(tmp_path / "set.h5", noise(40), np.array([0, 1] * 20))
    with pytest.raises(SystemExit) as end:
        main(["split", str(tmp_path / "set.h5"), "--test", "0.25", "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["parts"]["test"] == 10
    with pytest.raises(SystemExit) as end:
        main(["split", str(tmp_path / "set.h5"), "--test", "2"])
    assert end.value.code == 2
    assert "share" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ copies


def scenes(n: int, seed: int = 0) -> np.ndarray:
    """Different smooth pictures with grain, (n, 24, 24, 1) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, 50, (n, 6, 6)).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + rng.normal(0, 8, (n, 24, 24))).clip(0, 255).astype(np.uint8)[..., None]


def test_classes_filled_with_copies_of_files_do_not_leak(tmp_path: Path) -> None:
    """As in the study: classes brought to one size by copying files, some saved again a little brighter."""
    for c, (name, count) in enumerate({"ichika": 24, "miku": 18}.items()):
        (tmp_path / "set" / name).mkdir(parents=True)
        pictures = scenes(count, seed=c)[..., 0]
        for i in range(40):
            picture = pictures[i % count]
            if i >= count and i % 2:
                picture = (picture * 1.04 + 3).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "set" / name / f"{i}.png")
    dataset = build(tmp_path / "set", tmp_path / "set.h5")
    told = split(dataset.path, test=0.2, validation=0.2, seed=3)
    dataset = Dataset.open(dataset.path)
    source = [f"{name.split('/')[0]}:{int(name.split('/')[1][:-4]) % count}"
              for name in dataset.ids.tolist() for count in [24 if name.startswith("ichika") else 18]]  # fmt: skip
    sides: dict[str, set[int]] = {}
    for name, part in zip(source, dataset.split.tolist(), strict=True):
        sides.setdefault(name, set()).add(part)
    assert all(len(parts) == 1 for parts in sides.values())
    assert told.record["tied"]["copies"] > 0
    assert told.record["tied"]["near"] > 0
    assert "copies kept on one side" in told.sentence()
    assert not near_across(dataset).size
    for row in told.counts[:2]:  # stratified all the same
        assert np.abs(row[1:] / 40 - np.array([0.64, 0.16, 0.2])).max() <= 0.06
    loose = split(dataset.path, test=0.2, validation=0.2, seed=3, near=False)
    assert loose.record["tied"]["near"] == 0
    assert near_across(Dataset.open(dataset.path)).size


def test_many_pictures_that_are_alike_can_be_parted(tmp_path: Path) -> None:
    base = scenes(1, seed=1)
    brighter = [(base[0] * (0.8 + i / 100)).clip(0, 255).astype(np.uint8) for i in range(30)]
    images = np.concatenate([np.stack(brighter), scenes(30)])
    told = split(make(tmp_path / "a.h5", images, np.arange(60) % 2).path, test=0.2)
    assert told.record["tied"]["ignored"] > 20
    assert any("look alike" in note for note in told.notes)
    assert told.totals["test"] == 12


def test_a_published_part_draws_no_near_copies(tmp_path: Path) -> None:
    images = scenes(40)
    images[39] = (images[0] * 1.05).clip(0, 255).astype(np.uint8)
    published = np.where(np.arange(40) < 10, TEST, TRAIN).astype(np.uint8)
    dataset = make(tmp_path / "a.h5", images, np.arange(40) % 2, split=published, published_split=True)
    told = split(dataset.path, validation=0.2)
    assert told.totals["test"] == 10
    assert "published" in told.sentence()


def test_the_verb_can_leave_near_copies_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = make(tmp_path / "a.h5", scenes(40), np.arange(40) % 2)
    with pytest.raises(SystemExit) as end:
        main(["split", str(dataset.path), "--no-near", "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["record"]["tied"] == {"copies": 0, "near": 0, "ignored": 0}
