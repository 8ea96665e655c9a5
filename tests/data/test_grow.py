"""Adding to a Dataset, drawing so many of each class, and saying what changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from making import make, noise
from PIL import Image

from estampa.cli import main
from estampa.data.changes import changes
from estampa.data.check import near_across
from estampa.data.dataset import Dataset, write_split
from estampa.data.deal import TEST, TRAIN, VALIDATION
from estampa.data.grow import extended
from estampa.data.read import ReadOptions, build
from estampa.data.split import split
from estampa.errors import InputError, SourceError
from estampa.progress import Progress


class Heard(Progress):
    """A Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def warn(self, line: str) -> None:
        self.said.append(line)


def scenes(n: int, seed: int) -> np.ndarray:
    """Different pictures, (n, 24, 16) uint8: coarse light with grain."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(128, 50, (n, 6, 4)).repeat(4, axis=1).repeat(4, axis=2)
    return (coarse + rng.normal(0, 8, (n, 24, 16))).clip(0, 255).astype(np.uint8)


def lay(folder: Path, name: str, pictures: np.ndarray, first: int = 0) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures, first):
        Image.fromarray(picture).save(folder / name / f"{i}.png")


@pytest.fixture
def old(tmp_path: Path) -> Dataset:
    """Two classes of 40, parted."""
    for seed, name in enumerate(("miku", "nino")):
        lay(tmp_path / "old", name, scenes(40, seed))
    path = build(tmp_path / "old", tmp_path / "old.h5", ReadOptions(size=(30, 15), fit="pad")).path
    split(path, test=0.25, validation=0.2, seed=1)
    return Dataset.open(path)


def parts_of(dataset: Dataset) -> dict[str, int]:
    return dict(zip(dataset.ids.tolist(), dataset.split.tolist(), strict=True))


def test_old_rows_keep_their_parts_and_old_classes_their_numbers(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "more", "ichika", scenes(40, 7))  # a new class, first in the alphabet
    lay(tmp_path / "more", "nino", scenes(10, 8), first=100)
    heard = Heard()
    new = build([old.path, tmp_path / "more"], tmp_path / "new.h5", progress=heard)
    assert new.classes == ("miku", "nino", "ichika")
    assert new.header.read == old.header.read
    np.testing.assert_array_equal(new.split[: old.n], old.split)
    np.testing.assert_array_equal(new.labels[: old.n], old.labels)
    np.testing.assert_array_equal(new.hashes[: old.n], old.hashes)
    parts = parts_of(new)
    assert {parts[f"nino/{i}.png"] for i in range(100, 110)} == {TRAIN}
    fresh = np.bincount(new.split[new.labels == 2], minlength=4).tolist()
    assert fresh == [0, 24, 6, 10]  # the shares of the old parts
    assert new.split_record["added"] == 50
    assert new.split_record["seed"] == 1
    assert any("50 added to 80" in line for line in heard.said)
    again = build([old.path, tmp_path / "more"], tmp_path / "new.h5", progress=heard)
    assert again.content_sha256 == new.content_sha256
    assert "nothing to do" in heard.said[-1]


def test_new_to_split_deals_the_new_of_old_classes_too(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "more", "nino", scenes(40, 8), first=100)
    new = build([old.path, tmp_path / "more"], tmp_path / "new.h5", new_to="split")
    assert np.bincount(new.split[old.n :], minlength=4).tolist() == [0, 24, 6, 10]
    with pytest.raises(InputError, match="--new-to"):
        build([old.path, tmp_path / "more"], tmp_path / "x.h5", new_to="test")
    with pytest.raises(InputError, match="--new-to is for what is added"):
        build(tmp_path / "more", tmp_path / "x.h5", new_to="split")


def test_copies_are_left_out_and_near_copies_go_where_their_twin_is(old: Dataset, tmp_path: Path) -> None:
    """A folder that holds the old pictures, copies of them under other names, and some saved again brighter."""
    shutil.copytree(tmp_path / "old", tmp_path / "more")
    parts = parts_of(old)
    tests = [name for name, part in parts.items() if part == TEST and name.startswith("nino")]
    for i, name in enumerate(tests[:6]):
        picture = np.asarray(Image.open(tmp_path / "old" / name))
        brighter = (picture * 1.05 + 2).clip(0, 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / "more" / "nino" / f"copy{i}.png")
        Image.fromarray(brighter).save(tmp_path / "more" / "nino" / f"brighter{i}.png")
    picture = np.asarray(Image.open(tmp_path / "old" / tests[0]))
    Image.fromarray(picture).save(tmp_path / "more" / "miku" / "wrong.png")  # the same picture in two classes
    lay(tmp_path / "more", "nino", scenes(5, 9), first=200)
    heard = Heard()
    new = build([old.path, tmp_path / "more"], tmp_path / "new.h5", progress=heard)
    assert new.n == old.n + 6 + 5
    assert any("87 of what is added are in old.h5 already, and are left out" in line for line in heard.said)
    assert any("1 of these is under another label there, which stays: miku/wrong.png" in line for line in heard.said)
    assert any("6 of them belong to old ones" in line for line in heard.said)
    found = parts_of(new)
    assert {found[f"nino/brighter{i}.png"] for i in range(6)} == {TEST}
    assert {found[f"nino/{i}.png"] for i in range(200, 205)} == {TRAIN}
    assert not near_across(new).size


def test_ids_that_are_taken_are_put_behind_the_folder(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "more", "nino", scenes(3, 9))  # nino/0.png and so on, other pictures
    heard = Heard()
    new = build([old.path, tmp_path / "more"], tmp_path / "new.h5", progress=heard)
    assert new.ids[-3:].tolist() == [f"more/nino/{i}.png" for i in range(3)]
    assert any("3 ids were taken" in line for line in heard.said)


def test_folders_of_one_name_are_added_one_after_the_other(old: Dataset, tmp_path: Path) -> None:
    """A folder called new each month, with files that are called alike: no two ids may be."""
    path = old.path
    for month in range(3):
        lay(tmp_path / str(month) / "new", "nino", scenes(2, 20 + month))
        path = build([path, tmp_path / str(month) / "new"], tmp_path / f"v{month}.h5").path
    added = [f"{name}/nino/{i}.png" for name in ("new", "new 2", "new 3") for i in range(2)]
    assert Dataset.open(path).ids[-6:].tolist() == added
    more = [tmp_path / str(month) / "new" for month in range(3)]
    assert build([old.path, *more], tmp_path / "once.h5").ids[-6:].tolist() == added


def test_many_near_copies_added_to_few_pictures_follow_theirs(old: Dataset, tmp_path: Path) -> None:
    """Nine of one test picture, a tenth of all: none is learned from. Of thirty, the doubt is said."""
    name = next(name for name, part in parts_of(old).items() if part == TEST)
    picture = np.asarray(Image.open(tmp_path / "old" / name)).astype(float)
    for folder, count in (("few", 9), ("many", 30)):
        (tmp_path / folder / "nino").mkdir(parents=True)
        for i in range(count):
            brighter = (picture * (1 + 0.002 * i) + 1 + i / 4).clip(0, 255).astype(np.uint8)
            Image.fromarray(brighter).save(tmp_path / folder / "nino" / f"again{i}.png")
    heard = Heard()
    new = build([old.path, tmp_path / "few"], tmp_path / "new.h5", progress=heard)
    assert set(new.split[old.n :].tolist()) == {TEST}
    assert not any("too large to be copies" in line for line in heard.said)
    build([old.path, tmp_path / "many"], tmp_path / "other.h5", progress=heard)
    assert any("too large to be copies" in line for line in heard.said)


def test_nothing_new_and_what_does_not_fit_is_refused(old: Dataset, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"holds nothing that old.h5 lacks.*80 copies"):
        build([old.path, tmp_path / "old"], tmp_path / "new.h5")
    with pytest.raises(InputError, match="read as that was; --size is for new ones"):
        build([old.path, tmp_path / "old"], tmp_path / "new.h5", ReadOptions(size=(8, 8)))
    lay(tmp_path / "more", "nino", scenes(3, 9))
    with pytest.raises(SourceError, match="the old classes keep their numbers"):
        build([old.path, tmp_path / "more"], tmp_path / "new.h5", ReadOptions(classes=("nino", "miku")))
    with pytest.raises(SourceError, match="no such file"):
        build([old.path, tmp_path / "absent"], tmp_path / "new.h5")
    assert not (tmp_path / "new.h5").exists()


def test_without_parts_none_are_made(tmp_path: Path) -> None:
    lay(tmp_path / "old", "a", scenes(3, 0))
    lay(tmp_path / "old", "b", scenes(3, 1))
    lay(tmp_path / "more", "b", scenes(3, 2), first=10)
    bare = build(tmp_path / "old", tmp_path / "old.h5")
    new = build([bare.path, tmp_path / "more"], tmp_path / "new.h5")
    assert (new.n, new.split.any()) == (9, False)


def test_a_dataset_without_parts_is_added_to_one_with(tmp_path: Path) -> None:
    one = make(tmp_path / "1.h5", noise(40), np.arange(40) % 2, groups=[f"g{i // 4}" for i in range(40)])
    split(one.path, test=0.3)
    one = Dataset.open(one.path)
    groups = [*["g0"] * 3, "g1", *[f"h{i}" for i in range(6)]]
    two = make(tmp_path / "2.h5", noise(10, 5), np.arange(10) % 2, groups=groups, ids=[f"b{i}" for i in range(10)])
    new = build([one.path, two.path], tmp_path / "new.h5")
    assert new.split[40:43].tolist() == [one.split[0]] * 3  # of the same group
    assert new.split[43] == one.split[4]
    assert new.split[44:].tolist() == [TRAIN] * 6


def test_an_added_row_without_a_group_joins_none(tmp_path: Path) -> None:
    """An id "3" that is added is not of the old group "3"."""
    one = make(tmp_path / "1.h5", noise(40), np.arange(40) % 2, groups=[str(i // 4) for i in range(40)])
    split(one.path, test=0.2, validation=0.2, seed=0)
    extra = make(tmp_path / "2.h5", noise(10, 5), np.arange(10) % 2, ids=[f"{i}" for i in range(10, 20)])
    more = build([one.path, extra.path], tmp_path / "3.h5")
    assert more.groups is not None
    names, counts = np.unique(more.groups, return_counts=True)
    assert sorted(counts)[-10:] == [4] * 10
    assert len(names) == 20
    for name in names:
        assert len(set(more.split[more.groups == name])) == 1, "no group is torn"


def test_what_resembles_two_parts_is_in_none() -> None:
    given = np.array([TRAIN, TEST, 0, 0, 0], np.uint8)
    own = np.array([7, 7, 7, 8, 8])  # one unit that was torn before, and one of its own
    parts, followed, torn = extended(
        given, np.zeros(5, int), own, np.arange(5) > 1, shares=np.array([0, 0.5, 0, 0.5]), task="classification",
        new_to="train", seed=0,
    )  # fmt: skip
    assert parts.tolist() == [TRAIN, TEST, 0, TRAIN, TRAIN]
    assert (followed, torn) == (0, 1)


def test_a_published_split_stays_published(tmp_path: Path) -> None:
    published = np.where(np.arange(30) < 10, TEST, np.where(np.arange(30) < 15, VALIDATION, TRAIN)).astype(np.uint8)
    make(tmp_path / "1.h5", noise(30), np.arange(30) % 2, split=published, published_split=True)
    make(tmp_path / "2.h5", noise(8, 3), np.arange(8) % 2, ids=[f"b{i}" for i in range(8)])
    new = build([tmp_path / "1.h5", tmp_path / "2.h5"], tmp_path / "new.h5")
    assert new.header.published_split
    assert np.bincount(new.split, minlength=4).tolist() == [0, 23, 5, 10]


# ------------------------------------------------------------------------------------------------ what changed


def test_changes_by_class_and_part(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "more", "ichika", scenes(20, 7))
    lay(tmp_path / "more", "nino", scenes(10, 8), first=100)
    (tmp_path / "out.txt").write_text("miku/0.png\nmiku/1.png\n")
    build([old.path, tmp_path / "more"], tmp_path / "new.h5", ReadOptions(exclude=tmp_path / "out.txt"))
    found = changes(old.path, tmp_path / "new.h5")
    counts = found.counts()
    assert {name: [counts[name][s]["all"] for s in ("old", "added", "removed", "new")] for name in counts} == {
        "miku": [40, 0, 2, 38], "nino": [40, 10, 0, 50], "ichika": [0, 20, 0, 20],
    }  # fmt: skip
    assert counts["nino"]["added"]["train"] == counts["nino"]["added"]["all"]
    assert counts["nino"]["new"]["test"] == counts["nino"]["old"]["test"]
    record = found.to_json()
    assert record["objects"] == {
        "old": 80, "new": 108, "added": 30, "removed": 2, "moved": 0, "relabelled": 0, "altered": 0,
    }  # fmt: skip
    assert record["ids"]["removed"] == ["miku/0.png", "miku/1.png"]
    assert json.loads(json.dumps(record)) == record
    assert found.sentences() == []
    assert [row[0] for row in found.table().rows] == ["miku", "nino", "ichika", "all"]


def test_renamed_moved_relabelled_altered_and_renumbered(tmp_path: Path) -> None:
    images = noise(6)
    make(tmp_path / "1.h5", images, np.array([0, 1, 0, 1, 0, 1]), classes=("a", "b"))
    write_split(tmp_path / "1.h5", np.array([1, 1, 1, 1, 3, 3], np.uint8), {"seed": 0})
    other = images.copy()
    other[1] = 255 - other[1]
    ids = ["renamed", *[f"object {i}" for i in range(1, 6)]]
    make(tmp_path / "2.h5", other, np.array([1, 0, 0, 0, 1, 0]), ids=ids, classes=("b", "a"))
    write_split(tmp_path / "2.h5", np.array([1, 1, 1, 1, 3, 1], np.uint8), {"seed": 0})
    found = changes(tmp_path / "1.h5", tmp_path / "2.h5")
    assert (len(found.added), len(found.removed)) == (0, 0)
    assert found.relabelled.tolist() == [2]
    assert found.altered.tolist() == [1]
    assert found.moved.tolist() == [5]
    assert found.renumbered == ("a", "b")
    assert len(found.sentences()) == 4


def test_the_verbs_say_what_changed(old: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(tmp_path / "more", "nino", scenes(10, 8), first=100)
    new = str(tmp_path / "new.h5")
    with pytest.raises(SystemExit) as end:
        main(["build", str(old.path), str(tmp_path / "more"), "-o", new])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert next(line.split()[:5] for line in told.splitlines() if "nino" in line) == ["nino", "40", "10", "0", "50"]
    assert "(+10)" in told
    with pytest.raises(SystemExit) as end:
        main(["check", new, "--against", str(old.path), "--no-near", "--json"])
    assert end.value.code == 0
    assert json.loads(capsys.readouterr().out)["changes"]["classes"]["nino"]["added"]["train"] == 10


# ------------------------------------------------------------------------------------------------ so many of each class


def test_exactly_n_of_each_class_by_the_seed(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "old", "few", scenes(12, 4))
    one = build(tmp_path / "old", tmp_path / "1.h5", ReadOptions(per_class=12, seed=3))
    assert np.bincount(one.labels).tolist() == [12, 12, 12]
    same = build(tmp_path / "old", tmp_path / "2.h5", ReadOptions(per_class=12, seed=3))
    other = build(tmp_path / "old", tmp_path / "3.h5", ReadOptions(per_class=12, seed=4))
    assert same.content_sha256 == one.content_sha256 != other.content_sha256
    lay(tmp_path / "old", "few", scenes(1, 5), first=50)  # a picture more elsewhere changes nothing here
    later = build(tmp_path / "old", tmp_path / "4.h5", ReadOptions(per_class=12, seed=3))
    assert later.ids[later.labels > 0].tolist() == one.ids[one.labels > 0].tolist()
    from_file = build(old.path, tmp_path / "5.h5", ReadOptions(per_class=10))
    assert np.bincount(from_file.labels).tolist() == [10, 10]
    assert {name: part for name, part in parts_of(old).items() if name in parts_of(from_file)} == parts_of(from_file)


def test_more_than_a_class_has_is_an_error_with_its_count(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "old", "few", scenes(3, 4))
    with pytest.raises(InputError, match=r"20 of each class cannot be drawn: 'few' has 3. .*up to 3"):
        build(tmp_path / "old", tmp_path / "1.h5", ReadOptions(per_class=20))
    with pytest.raises(InputError, match="no classes to draw from"):
        build(tmp_path / "old" / "few", tmp_path / "1.h5", ReadOptions(per_class=2))
    (tmp_path / "out.txt").write_text(f"{int(old.hashes[0]):016x}\n")
    with pytest.raises(InputError, match="Build without --per-class first"):
        build(old.path, tmp_path / "1.h5", ReadOptions(per_class=2, exclude=tmp_path / "out.txt"))


def test_others_are_drawn_for_what_cannot_be_read(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        lay(tmp_path / "set", name, scenes(12, seed))
        for i in range(4):
            (tmp_path / "set" / name / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(SourceError, match="empty file"):
        build(tmp_path / "set", tmp_path / "1.h5", ReadOptions(per_class=12))
    dataset = build(tmp_path / "set", tmp_path / "2.h5", ReadOptions(per_class=12), skip_bad=True)
    assert np.bincount(dataset.labels).tolist() == [12, 12]
    with pytest.raises(InputError, match="'a' has 12"):
        build(tmp_path / "set", tmp_path / "3.h5", ReadOptions(per_class=13), skip_bad=True)


def test_a_split_that_was_kept_for_what_was_added_is_not_dealt_anew_in_silence(old: Dataset, tmp_path: Path) -> None:
    lay(tmp_path / "more", "miku", scenes(6, 9))
    grown = build([old.path, tmp_path / "more"], tmp_path / "grown.h5").path
    heard = Heard()
    split(grown, progress=heard)
    assert any("all are dealt anew" in line and "grown.h5 was added to" in line for line in heard.said)
    again = Heard()
    split(grown, progress=again)  # of these parts nobody has said that they were kept
    assert not any("dealt anew" in line for line in again.said)


def test_a_class_that_is_emptied_stays_and_is_named(old: Dataset, tmp_path: Path) -> None:
    heard = Heard()
    (tmp_path / "out.txt").write_text("\n".join(i for i in old.ids.tolist() if i.startswith("miku")))
    left = build(old.path, tmp_path / "left.h5", ReadOptions(exclude=tmp_path / "out.txt"), progress=heard)
    assert left.classes == ("miku", "nino")
    assert set(left.labels.tolist()) == {1}
    assert any("no object is left of 'miku' (number 0)" in line for line in heard.said)
