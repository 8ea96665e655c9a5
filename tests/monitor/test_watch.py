"""watch(): a log held against the reference of its bundle."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa.bundle.store import Bundle
from estampa.errors import InputError
from estampa.monitor.line import moment
from estampa.monitor.log import LogWriter, lines_of
from estampa.monitor.watch import Watch, watch
from made_tables import galaxies
from made_tables import make as make_of_table


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_of_table(tmp_path_factory.mktemp("bundle") / "model", n=1500)


def logged(path: Path, bundle: Bundle, raw: np.ndarray, day: int = 1) -> Path:
    """A log of the answers to `raw`, all on one day of January."""
    ids, when = [f"d{day}.{i}" for i in range(len(raw))], moment(f"2026-01-{day:02}T10:00:00.000Z")
    LogWriter(path).append(lines_of(bundle, raw, bundle.score(raw), ids, when=when))
    return path


def test_clean_days_are_quiet_and_a_shifted_one_is_seen(bundle: Bundle, tmp_path: Path) -> None:
    for day in (1, 2, 3):
        raw, _ = galaxies(200, seed=40 + day)
        raw[:, 1] += 0.3 * (day == 3)
        logged(tmp_path / "log", bundle, raw, day)
    found = watch(bundle, tmp_path / "log", by="day")
    assert [(p.name, p.n) for p in found.periods] == [("2026-01-01", 200), ("2026-01-02", 200), ("2026-01-03", 200)]
    assert [bool(p.alerts) for p in found.periods] == [False, False, True]
    shifted = {f.name: f for f in found.periods[2].figures}["g-r, typical"]
    assert shifted.alert
    assert shifted.value > shifted.expected_high
    assert "g-r, typical is" in shifted.why
    assert found.alarmed
    assert found.model == bundle.hash


def test_a_watch_reads_back(bundle: Bundle, tmp_path: Path) -> None:
    found = watch(bundle, logged(tmp_path / "log", bundle, galaxies(50, seed=9)[0]), by=20)
    assert [p.n for p in found.periods] == [20, 20, 10]
    text = found.to_text()
    again = Watch.from_json(json.loads(text))
    assert again.to_text() == text
    assert again.figure("g-r, typical") == found.figure("g-r, typical")
    with pytest.raises(InputError, match="format 9"):
        Watch.from_json(json.loads(text) | {"format": 9})
    with pytest.raises(InputError, match="not a figure"):
        Watch.from_json(json.loads(text) | {"figures": [{"kind": "output"}]})


def test_a_log_of_another_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    path = logged(tmp_path / "log", bundle, galaxies(5)[0])
    path.write_text(path.read_text().replace(bundle.hash, "0" * 12))
    with pytest.raises(InputError, match="no answer of this model") as raised:
        watch(bundle, path)
    assert "0" * 12 in str(raised.value.got)
