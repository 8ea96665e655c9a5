"""Bundles of models whose reasons are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from estampa.bundle.store import Bundle
from made_bundles import make
from planted import exported, planted, trained


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Two classes told by the mean brightness."""
    return make(tmp_path / "run" / "model")


@pytest.fixture(scope="session")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A net that learned the patch: nothing else was to be learned."""
    images, labels, _ = planted(1500, 1)
    return exported(trained(images, labels), tmp_path_factory.mktemp("patched") / "model", images)
