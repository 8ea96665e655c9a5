"""Which bundle holds which name: promoted, rolled back, told apart, and every damage seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estampa.errors import InputError
from estampa.monitor.registry import Registry
from made_bundles import make


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles, side by side in one folder."""
    folder = tmp_path_factory.mktemp("bundles")
    return [make(folder / f"run{i}" / "model", thresholds={"confidence": 0.5 + i / 10}).folder for i in range(3)]


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
