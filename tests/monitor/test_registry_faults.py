"""The registry when things go wrong, by the command: killed, full, forbidden, gone, in odd places."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from estampa.cli import main
from estampa.monitor.registry import Registry
from made_bundles import make


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles in a folder with blanks and letters beyond ASCII in its name."""
    folder = tmp_path_factory.mktemp("los modelos del año")
    return [make(folder / f"run {i} ñ" / "model", thresholds={"confidence": 0.5 + i / 10}).folder for i in range(3)]


@pytest.fixture
def registry(bundles: list[Path], tmp_path: Path) -> Registry:
    """A registry of two lines, in a folder of that kind too."""
    made = Registry(tmp_path / "el registro — 登録" / "registry.jsonl")
    made.promote(bundles[0], why="the first", who="ana")
    made.promote(bundles[1], why="better", who="ana")
    return made


def estampa(*words: object, before: str = "", denied: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command; `before` is Python that runs in its process first; `denied`: rights hold for root too."""
    script = f"import sys\n{before}\nfrom estampa.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", script, *map(str, words)]
    if denied and os.geteuid() == 0:
        if not (setpriv := shutil.which("setpriv")):
            pytest.skip("as root without setpriv nothing is forbidden")
        command = [setpriv, "--bounding-set=-dac_override,-dac_read_search", *command]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """The exit code of the command in this process, and all that it says."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    found = capsys.readouterr()
    return int(ended.value.code or 0), found.out + found.err


def history(registry: Registry) -> list[str]:
    return [f"{e.action} {e.version}" for e in registry.history()]


KILLED = """
import os, random, signal, sys, time
from estampa.monitor.registry import Registry
from estampa.files import sha256_of
registry, first, second = Registry(sys.argv[1]), sys.argv[2], sys.argv[3]
random.seed(1)
lines, done = len(registry.history()), 0
for turn in range(25):
    child = os.fork()
    if not child:
        for step in range(10_000):
            registry.promote((first, second)[(lines + step) % 2], why="again and again")
    time.sleep(random.uniform(0.001, 0.15))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = registry.history()  # whole, or this raises
    assert len(found) >= lines, "a line that was there is gone"
    done += len(found) > lines
    lines = len(found)
registry.rollback(why="the lock is free")
print(done, lines)
"""


def test_killed_at_any_moment_the_registry_is_whole(registry: Registry, bundles: list[Path]) -> None:
    words = [sys.executable, "-c", KILLED, str(registry.path), str(bundles[0]), str(bundles[1])]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    promoted, lines = map(int, ended.stdout.split())
    assert promoted > 3, "some were killed between lines, some within"
    assert len(registry.history()) == lines + 1


def test_a_full_disk_by_the_command(registry: Registry, bundles: list[Path]) -> None:
    before = registry.path.read_bytes()
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 10}, -1))"
    for words in (("promote", bundles[2]), ("rollback",)):
        ended = estampa(*words, "--registry", registry.path, "--why", "no room", before=limit)
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"estampa: {registry.path}: the disk is full")
        assert registry.path.read_bytes() == before
        assert not list(registry.path.parent.glob("*.part"))
    assert estampa("promote", bundles[2], "--registry", registry.path, "--why", "room").returncode == 0
    assert history(registry) == ["promote 1", "promote 2", "promote 3"]


@pytest.mark.parametrize(
    ("forbidden", "words", "code", "why"),
    [
        ("folder 500", ("promote",), 1, "cannot be written. Choose another place, or get the right"),
        ("folder 000", ("log", "history"), 2, "permission denied"),
        ("lock 444", ("promote",), 0, ""),
        ("bundle 000", ("promote",), 2, "permission denied"),
    ],
)
def test_what_is_forbidden_is_told(
    forbidden: str, words: tuple[str, ...], code: int, why: str, registry: Registry, tmp_path: Path
) -> None:
    bundle = make(tmp_path / "new").folder
    what, rights = forbidden.split()
    lock = registry.path.with_name(registry.path.name + ".lock")
    place = {"folder": registry.path.parent, "file": registry.path, "lock": lock, "bundle": bundle}[what]
    asked = [*words, *([bundle] if words == ("promote",) else []), "--registry", registry.path]
    asked += ["--why", "a"] if words[0] != "log" else []
    rights_before = place.stat().st_mode
    place.chmod(int(rights, 8))
    try:
        ended = estampa(*asked, denied=True)
    finally:
        place.chmod(rights_before)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert why in ended.stderr
    assert len(registry.history()) == 2 + (code == 0 and words == ("promote",))


def test_a_champion_that_is_gone_is_told_with_the_cure(
    bundles: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(tmp_path)
    for i in range(2):
        shutil.copytree(bundles[i], tmp_path / f"run{i}" / "model")
        registry.promote(tmp_path / f"run{i}", why="a")
    shutil.move(tmp_path / "run1", tmp_path / "elsewhere")
    gone = f"{tmp_path / 'run1' / 'model'}: version 2, model {registry.named('champion').model}, is no longer"
    code, said = told(capsys, "compare", f"{tmp_path}:champion", bundles[0], "--data", tmp_path / "none.h5")
    assert (code, gone in said) == (2, True)
    code, said = told(capsys, "promote", tmp_path / "elsewhere", "--registry", tmp_path, "--why", "moved")
    assert (code, "champion is version 2" in said) == (0, True), "the same bundle keeps its number"


def test_the_challenger_of_a_registry_is_promoted_by_its_name(
    registry: Registry, bundles: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    registry.promote(bundles[2], "challenger", why="to be held against it")
    words = ("promote", f"{registry.path}:challenger", "--registry", registry.path, "--why", "2 points better")
    assert told(capsys, *words, "--instead-of", registry.named("champion").model)[0] == 0
    assert registry.named("champion").version == registry.named("challenger").version == 3
    code, said = told(capsys, "promote", f"{registry.path}:chalenger", "--registry", registry.path, "--why", "a")
    assert (code, "Did you mean 'challenger'?" in said) == (2, True)


def test_a_short_registry_is_told_against_its_head_by_the_command(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    head = registry.verify()
    registry.path.write_text(registry.path.read_text().splitlines(keepends=True)[0])
    assert told(capsys, "log", "history", "--registry", registry.path)[0] == 0
    code, said = told(capsys, "log", "history", "--registry", registry.path, "--head", head[:20])
    assert (code, "Got: 1 line, the last" in said) == (3, True)
    registry.path.write_bytes(np.random.default_rng(0).bytes(3000))
    code, said = told(capsys, "log", "history", "--registry", registry.path)
    assert (code, "damaged" in said) == (2, True)
