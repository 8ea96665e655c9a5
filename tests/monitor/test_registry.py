"""Which bundle holds which name: promoted, rolled back, told apart, and every damage seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from estampa.errors import BundleError, CheckFailed, InputError, StorageError
from estampa.monitor import registry as module
from estampa.monitor.registry import Registry
from made_bundles import make

#: As an estampa of today writes it: every later one must read it.
FORMAT_1 = (
    '{"format": 1, "number": 1, "time": "2026-11-22T17:42:47.243Z", "who": "ana", "action": "promote", '
    '"name": "champion", "version": 1, "path": "run0/model", "hashes": {"bundle": '
    '"723ee3375054a7304bd70887bffa6912954e40cfbab61048c1f4eb7891695bb2", "model": '
    '"ed4d4b2d163c94b51e64be18c6995b07b9ac53b8baa0340ee2481c8c7452b79a", "data": "d", "recipe": "e"}, '
    '"why": "the first", "previous": ""}\n'
)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles, side by side in one folder."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make(folder / f"run{i}" / "model", thresholds={"confidence": 0.5 + i / 10}).folder for i in range(3)]


@pytest.fixture
def three(bundles: list[Path], tmp_path: Path) -> Registry:
    """A registry of three lines."""
    registry = Registry(tmp_path / "registry.jsonl")
    for i, folder in enumerate(bundles):
        registry.promote(folder, why=f"reason {i}", who="ana")
    return registry


# ---------------------------------------------------------------------------------------------- what it says


def test_promoted_and_rolled_back(bundles: list[Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.jsonl")
    first = registry.promote(bundles[0].parent, why="the first", who="ana")
    second = registry.promote(bundles[1], why="better on spirals", who="ben")
    third = registry.promote(bundles[2], why="new release", who="ben")
    assert (first.version, second.version, third.version) == (1, 2, 3)
    assert registry.named("champion") == third
    assert registry.open(third).hash == third.model
    back = registry.rollback(why="misses rings", who="ana")
    assert (back.version, back.path, back.action) == (2, bundles[1].resolve(), "rollback")
    assert registry.rollback(why="still", who="ana").version == 1
    with pytest.raises(InputError, match="nothing to go back to"):
        registry.rollback(why="more")
    assert registry.promote(bundles[2], why="mended").version == 3
    assert registry.rollback(why="no").version == 1
    assert [e.number for e in registry.history()] == list(range(1, 8))
    assert registry.verify(second.sha256) == registry.history()[-1].sha256
    assert json.loads(registry.path.read_text().splitlines()[1])["why"] == "better on spirals"


def test_names_are_held_apart(bundles: list[Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path)  # its folder
    registry.promote(bundles[0], why="a")
    registry.promote(bundles[1], "challenger", why="b")
    registry.promote(bundles[1], why="c")
    assert registry.named("challenger").version == registry.named("champion").version == 2
    assert registry.rollback(why="d").version == 1
    assert registry.named("challenger").version == 2
    with pytest.raises(InputError, match="nothing to go back to"):
        registry.rollback("challenger", why="e")
    with pytest.raises(InputError, match=r"Allowed: challenger, champion\. Did you mean 'champion'"):
        registry.named("champoin")
    assert (tmp_path / "registry.jsonl").is_file()


def test_a_line_says_who_when_why_and_the_hashes(three: Registry, bundles: list[Path]) -> None:
    before = datetime.now(UTC)
    entry = three.promote(bundles[0], why="  so \n it is ")
    assert entry.why == "so it is"
    assert "@" in entry.who
    assert abs((entry.time - before).total_seconds()) < 60
    opened = three.open(entry)
    assert entry.hashes["bundle"].startswith(opened.hash)
    assert entry.hashes["model"] == opened.manifest.hashes.model
    assert entry.hashes["data"] == opened.manifest.hashes.data
    assert entry.hashes["recipe"] == opened.manifest.hashes.recipe
    assert entry.to_json()["model"] == entry.model == opened.hash
    assert json.dumps(entry.to_json())


def test_a_folder_may_be_moved_as_a_whole(tmp_path: Path) -> None:
    home = tmp_path / "models"
    make(home / "a" / "model")
    Registry(home).promote(home / "a", why="first")
    shutil.move(home, tmp_path / "elsewhere")
    moved = Registry(tmp_path / "elsewhere")
    assert moved.named("champion").path == (tmp_path / "elsewhere" / "a" / "model").resolve()
    assert moved.open(moved.named("champion")).hash == moved.named("champion").model


def test_a_link_to_a_registry_stays_one(three: Registry, bundles: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.jsonl"
    link.symlink_to(three.path)
    Registry(link).promote(bundles[0], why="by the link")
    assert link.is_symlink()
    assert three.named("champion").why == "by the link"


def test_a_registry_of_format_1_is_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "registry.jsonl").write_text(FORMAT_1)
    [entry] = Registry(tmp_path).history()
    assert (entry.number, entry.who, entry.action, entry.name, entry.version) == (1, "ana", "promote", "champion", 1)
    assert entry.path == tmp_path.resolve() / "run0" / "model"
    assert entry.model == "723ee3375054"
    assert entry.sha256 == "124b32bbff30065217c4fa9d0f6768eee25c2348b492a93b38f8f6081860784c"


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"why": "  "}, "a reason is needed"),
        ({"why": "x" * 2001}, "not a line of text"),
        ({"why": "red \x1b[31m"}, "not a line of text"),
        ({"why": "a", "who": "\x07"}, "not a line of text"),
        ({"why": "a", "name": ""}, "not a name"),
        ({"why": "a", "name": "../x"}, "not a name"),
        ({"why": "a", "name": "a b"}, "not a name"),
        ({"why": "a", "name": "n" * 65}, "not a name"),
    ],
)
def test_wrong_words(how: dict[str, str], why: str, bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=why):
        Registry(tmp_path / "r").promote(bundles[0], **how)
    assert not (tmp_path / "r").exists()


def test_what_is_not_there_is_told(bundles: list[Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path / "r.jsonl")
    for ask in (
        lambda: registry.named("champion"),
        registry.history,
        registry.verify,
        lambda: registry.rollback(why="a"),
    ):
        with pytest.raises(InputError, match="no such registry"):
            ask()
    with pytest.raises(BundleError, match="no such folder"):
        registry.promote(tmp_path / "run", why="a")
    assert not registry.path.exists()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"no registry: not a regular file\.$"):
        Registry(tmp_path / "pipe").history()
    with pytest.raises(StorageError, match="its folder is a file"):
        Registry(bundles[0] / "bundle.json" / "r.jsonl").promote(bundles[0], why="a")


def test_a_damaged_bundle_is_not_promoted(bundles: list[Path], three: Registry, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(bundles[0], bad)
    (bad / "model.onnx").write_bytes(b"x" * (bad / "model.onnx").stat().st_size)
    before = three.path.read_bytes()
    with pytest.raises(BundleError, match="SHA-256"):
        three.promote(bad, why="a")
    assert three.path.read_bytes() == before


def test_a_bundle_that_was_exchanged_is_not_gone_back_to(bundles: list[Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    shutil.copytree(bundles[0], tmp_path / "a")
    first = registry.promote(tmp_path / "a", why="first")
    registry.promote(bundles[1], why="second")
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(bundles[2], tmp_path / "a")
    with pytest.raises(BundleError, match="not the bundle that was promoted"):
        registry.open(first)
    with pytest.raises(BundleError, match="not the bundle that was promoted"):
        registry.rollback(why="back")
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(BundleError, match=r"version 1, model \w+, is no longer at its place.*promote a copy"):
        registry.rollback(why="back")
    assert registry.named("champion").version == 2


def test_the_name_it_has_is_not_given_again(three: Registry, bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has the name 'champion' already"):
        three.promote(bundles[2], why="again")
    shutil.copytree(bundles[2], tmp_path / "copy")
    moved = three.promote(tmp_path / "copy", why="moved to another disk")
    assert (moved.version, moved.path) == (3, (tmp_path / "copy").resolve())
    assert three.rollback(why="back").version == 2  # not to the same bundle in its old place


# ---------------------------------------------------------------------------------------------- two at once


@pytest.mark.parametrize("slow", ["promote", "rollback"])
@pytest.mark.parametrize("fast", ["promote", "rollback"])
def test_whoever_is_overtaken_is_told(
    slow: str, fast: str, three: Registry, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one audits its bundle, another one is done."""
    audit = module.Bundle.open

    def decide(what: str, who: str) -> object:
        if what == "promote":
            return three.promote(bundles[0], why=f"decided by {who}", who=who)
        return three.rollback(why=f"decided by {who}", who=who)

    def overtaken(path: Path) -> object:
        monkeypatch.setattr(module.Bundle, "open", audit)
        decide(fast, "ben")
        return audit(path)

    monkeypatch.setattr(module.Bundle, "open", overtaken)
    with pytest.raises(
        InputError, match=r"is another model by now; nothing was changed\. Got: .* decided by ben"
    ) as told:
        decide(slow, "ana")
    winner = three.named("champion")
    assert (winner.number, winner.who, winner.action) == (4, "ben", fast)
    assert f"{winner.model}, by ben at " in str(told.value)
    assert len(three.history()) == 4


PROMOTE = """
import sys, time
from pathlib import Path
from estampa.bundle import store
from estampa.errors import InputError
from estampa.monitor.registry import Registry
audit, go = store.Bundle.open, Path(sys.argv[4])
def waiting(path):
    print("auditing", flush=True)
    while not go.exists():
        time.sleep(0.005)
    return audit(path)
store.Bundle.open = waiting
try:
    entry = Registry(sys.argv[1]).promote(sys.argv[2], sys.argv[3], why="of " + sys.argv[2])
    print("won", entry.number)
except InputError as error:
    print("told", error)
"""


def promoting(registry: Registry, jobs: list[tuple[Path, str]], go: Path) -> list[str]:
    """What processes say that all audit their bundles at once, and then write at once."""
    words = [[sys.executable, "-c", PROMOTE, str(registry.path), str(path), name, str(go)] for path, name in jobs]
    processes = [subprocess.Popen(w, stdout=subprocess.PIPE, text=True) for w in words]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "auditing\n"
    go.touch()
    return [process.communicate(timeout=60)[0].strip() for process in processes]


def test_of_two_processes_one_wins_and_the_other_is_told(three: Registry, bundles: list[Path], tmp_path: Path) -> None:
    said = promoting(three, [(bundles[0], "champion"), (bundles[1], "champion")], tmp_path / "go")
    [won] = [text for text in said if text == "won 4"]
    [told] = [text for text in said if text != won]
    winner = three.named("champion")
    assert told.startswith(f"told {three.path}: 'champion' is another model by now; nothing was changed")
    assert winner.why in told
    assert len(three.history()) == 4


def test_processes_that_give_other_names_all_win(three: Registry, bundles: list[Path], tmp_path: Path) -> None:
    said = promoting(three, [(bundles[i], f"name{i}") for i in range(3)], tmp_path / "go")
    assert sorted(said) == ["won 4", "won 5", "won 6"]
    assert len(three.history()) == 6


def test_a_decision_may_rest_on_the_model_that_was_compared(three: Registry, bundles: list[Path]) -> None:
    champion = three.named("champion")
    made = three.promote(bundles[0], why="2 points better", instead_of=champion.model)
    with pytest.raises(InputError, match=f"'champion' is another model by now; nothing was changed. Got: {made.model}"):
        three.promote(bundles[1], why="compared with the old one", instead_of=champion.model)
    with pytest.raises(InputError, match="Got: nothing"):
        three.promote(bundles[1], "challenger", why="a", instead_of=champion.model)
    assert three.named("champion") == made


# ---------------------------------------------------------------------------------------------- damage


def edited(number: int, old: str, new: str) -> Callable[[list[str]], list[str]]:
    def edit(lines: list[str]) -> list[str]:
        assert old in lines[number]
        return [line.replace(old, new, 1) if i == number else line for i, line in enumerate(lines)]

    return edit


@pytest.mark.parametrize(
    ("damage", "line", "why"),
    [
        (edited(0, "reason 0", "reason X"), 2, "does not follow"),
        (edited(1, '"version": 2', '"version": 1'), 3, "does not follow"),
        (lambda lines: lines[1:], 1, "does not follow"),
        (lambda lines: [lines[0], lines[2]], 2, "does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1]], 2, "does not follow"),
        (lambda lines: [*lines, lines[2]], 4, "does not follow"),
        (lambda lines: [lines[0], "\n", *lines[1:]], 2, "Expecting value"),
        (lambda lines: ["\n", *lines], 1, "Expecting value"),
        (lambda lines: [*lines[:2], lines[2][:-30]], 3, "last line was cut"),
        (lambda lines: [*lines[:2], lines[2][:-1]], 3, "last line was cut"),
        (lambda lines: [*lines[:2], lines[2][:-30] + "\n"], 3, "damaged or no registry"),
        (edited(2, '"format": 1', '"format": 2'), 3, "newer estampa, format 2"),
        (edited(2, '"format": 1', '"format": 0'), 3, "not the keys of format 1"),
        (edited(2, '"format": 1', '"format": true'), 3, "no format number"),
        (edited(2, '"why"', '"wherefore"'), 3, "not the keys"),
        (edited(2, '"why": "reason 2"', '"why": "a", "why": "b"'), 3, "twice"),
        (edited(2, '"why": "reason 2"', '"why": "\\u001b[2J"'), 3, "value of another kind"),
        (edited(2, '"why": "reason 2"', '"why": NaN'), 3, "NaN is not JSON"),
        (edited(2, '"action": "promote"', '"action": "delete"'), 3, "value of another kind"),
        (edited(2, '"number": 3', '"number": 3.0'), 3, "value of another kind"),
        (edited(2, '"name": "champion"', '"name": "a/b"'), 3, "value of another kind"),
        (edited(2, '"time": "2', '"time": "x'), 3, "not a time"),
        (edited(2, '"bundle": "', '"bundle": "z'), 3, "value of another kind"),
        (lambda _: ["id,predicted,flags\n", "a,b,c\n"], 1, "Expecting value"),
        (lambda _: ["[" * 100_000 + "\n"], 1, "nested too deeply"),
        (lambda _: ["\x00" * 100 + "\n"], 1, "Expecting value"),
    ],
)  # fmt: skip
def test_damage_is_told_by_its_line(
    damage: Callable[[list[str]], list[str]], line: int, why: str, three: Registry, bundles: list[Path]
) -> None:
    three.path.write_text("".join(damage(three.path.read_text().splitlines(keepends=True))))
    before = three.path.read_bytes()
    for ask in (
        lambda: three.named("champion"), three.history, three.verify,
        lambda: three.promote(bundles[0], why="a"), lambda: three.rollback(why="a"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"line {line}: ") as told:
            ask()
        assert why in str(told.value)
    assert three.path.read_bytes() == before


def test_an_empty_registry_is_damage(three: Registry) -> None:
    three.path.write_bytes(b"")
    with pytest.raises(InputError, match="it is empty"):
        three.named("champion")


def test_a_missing_end_is_noticed_against_a_head_kept_elsewhere(three: Registry) -> None:
    heads = [entry.sha256 for entry in three.history()]
    assert three.verify() == heads[-1]
    assert three.verify(heads[0][:12].upper()) == heads[-1]  # an old head: lines were added since
    three.path.write_text("".join(three.path.read_text().splitlines(keepends=True)[:2]))
    assert three.verify() == three.verify(heads[1]) == heads[1]  # nothing in the file itself tells
    with pytest.raises(CheckFailed, match="lines are missing at its end") as told:
        three.verify(heads[2])
    assert told.value.exit_code == 3
    for head in ("abc", "x" * 64, heads[0] + "0"):
        with pytest.raises(InputError, match="not a head"):
            three.verify(head)


FULL = """
import resource, sys
from estampa.errors import StorageError
from estampa.monitor.registry import Registry
from pathlib import Path
size = Path(sys.argv[1]).stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
try:
    Registry(sys.argv[1]).promote(sys.argv[2], why="no room")
except StorageError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_registry_as_it_was(three: Registry, bundles: list[Path]) -> None:
    before = three.path.read_bytes()
    words = [sys.executable, "-c", FULL, str(three.path), str(bundles[0])]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(f"{three.path}: the disk is full")
    assert three.path.read_bytes() == before
    assert three.promote(bundles[0], why="room again").number == 4
