"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# One thread per test process: two OpenMP pools that wait for each other cost more than they give on small pictures.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in the background makes them ignore Ctrl-C, and their children too: undone here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).parents[2] / "shared" / "data"
FASHION = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests' built Datasets and downloads out of the user's cache."""
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real survey data beside the checkout; the test is skipped where it is not at hand."""
    if not SHARED.is_dir():
        pytest.skip("real survey data (../shared/data) are not at hand")
    return SHARED


@pytest.fixture(scope="session")
def fashion_files() -> Path:
    """Folder of the Fashion-MNIST files that Debian installs; the test is skipped where it is not installed."""
    if not FASHION.is_dir():
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    return FASHION
