"""Flags of answers against those of the reference, which keeps its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.reference import flags_of
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.monitor.observed import from_data
from estampa.monitor.ranges import Ranges
from estampa.monitor.watch import watch
from estampa.predict.run import opened
from made_tables import galaxies, make


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flags")
    make(folder / "model", n=1500)
    return folder


@pytest.mark.parametrize("invalid", ["impute", "drop"])
def test_the_reference_keeps_the_flags_that_its_objects_get(tmp_path: Path, invalid: str) -> None:
    bundle = make(tmp_path / "model", invalid=invalid)
    data = Dataset.open(tmp_path / "galaxies.h5")
    found = [flags for block in from_data(bundle, opened(bundle, data, "validation")) for flags in block.flags]
    kept = flags_of(bundle.tensors("reference"))
    assert set(kept) == {"invalid", "out_of_range"} | ({"imputed"} if invalid == "impute" else set())
    for name, marked in kept.items():
        assert marked.tolist() == [name in flags for flags in found]
    assert kept["imputed" if invalid == "impute" else "invalid"].mean() > 0.05


def test_a_usual_share_of_failed_measurements_is_quiet_and_a_larger_one_is_seen(folder: Path) -> None:
    bundle = Bundle.open(folder / "model")
    usual = watch(bundle, galaxies(400, seed=5)[0]).figure("flagged imputed")
    assert usual.expected_low < usual.value < usual.expected_high
    assert not usual.alert
    worse = watch(bundle, galaxies(400, seed=6, failed=0.08)[0]).figure("flagged imputed")
    assert worse.alert
    assert worse.score > 1
    assert "above its range" in worse.why


def test_values_beyond_what_training_had_are_seen(folder: Path) -> None:
    bundle, (raw, _) = Bundle.open(folder / "model"), galaxies(300, seed=7)
    raw[:60, 3] = 4000.0
    found = watch(bundle, raw).figure("flagged out_of_range")
    assert found.value == pytest.approx(0.2, abs=0.01)
    assert found.alert


def test_a_bundle_from_before_flags_were_kept_is_watched_without_their_ranges(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.open(folder / "model")
    kept = bundle.tensors("reference")
    older = {name: values for name, values in kept.items() if not name.startswith("flag_")}
    monkeypatch.setattr(bundle, "tensors", lambda name: older if name == "reference" else Bundle.tensors(bundle, name))
    assert set(Ranges(bundle).flags) == {"unreadable", "invalid"}
    found = watch(bundle, galaxies(100, seed=8)[0]).figure("flagged imputed")
    assert not found.alert
    assert np.isnan(found.expected_high)
    assert "does not keep this flag" in found.why
