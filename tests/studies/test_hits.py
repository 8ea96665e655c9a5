"""Study hits: the parts it deals, real alerts beside it, what it says of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa import recipe, studies
from estampa.data.builders.simulate import simulate
from estampa.data.dataset import PARTS, Dataset
from estampa.data.read import build
from estampa.errors import InputError
from estampa.progress import SILENT
from estampa.studies import _ways, hits
from estampa.studies._table import Ledger


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every recipe for one epoch, on one thread."""
    read = recipe.read
    few = {
        "train.epochs": 1, "train.threads": 1, "train.dtype": "float32", "train.memory_format": "channels_last",
        "evaluate.resamples": 100, "train.pretrain_stamps": 200, "train.pretrain_epochs": 1,
    }  # fmt: skip
    monkeypatch.setattr(_ways.recipe, "read", lambda name: read(name).with_values(few))
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ESTAMPA_DATA", raising=False)
    monkeypatch.setattr(hits, "N", 240)
    monkeypatch.setattr(hits, "HELD", 80)
    monkeypatch.setattr(hits, "LESSONS", 300)


def alerts(folder: Path, n: int = 60) -> Path:
    """A folder in the layout of the ZTF stamps: arrays and a table, some labels unknown, some beside asteroids."""
    made = simulate(n, seed=9, camera="ztf")
    label = made.labels.copy()
    label[:6] = -1
    folder.mkdir()
    np.savez(
        folder / "stamps.npz", images=made.images.transpose(0, 3, 1, 2), label=label,
        channels=["science", "template", "difference"],
    )  # fmt: skip
    lines = [f"o{k // 2},{0.5 if k % 3 == 0 else -999},{0.1 + 0.8 * label[k] * (k % 4 > 0)}" for k in range(n)]
    (folder / "alerts.csv").write_text("objectId,ssdistnr,drb\n" + "\n".join(lines) + "\n")
    return folder


@pytest.mark.usefixtures("quick")
def test_simulated_stamps_and_real_alerts_beside_them(tmp_path: Path) -> None:
    made = studies.reproduce("hits", data=alerts(tmp_path / "ztf"), output=tmp_path / "out")
    hows = [r.how for r in made.rows]
    assert sum("ZTF alerts" in how for how in hows) == 5
    assert {r.way for r in made.rows} == set(studies.WAYS)
    assert not made.rows[0].comparable
    published = made.rows[1].metrics["accuracy"]
    assert published.value == 0.9857
    lines = "\n".join(made.lines())
    for words in (
        "SIMULATED",
        "of SNR below 7",
        "20 alerts within 2 arcsec",
        "the gap is what the simulator lacks",
        "of which it was sure",
        "ROC AUC",
        "balanced accuracy",
    ):
        assert words in lines
    record = json.loads((tmp_path / "out" / "table.json").read_text())
    ztf = next(r for r in record["rows"] if "recipe stamps" in r["how"] and "ZTF" in r["how"])
    assert ztf["n"] == 54  # the labelled ones
    assert {"roc_auc", "balanced_accuracy"} <= set(ztf["metrics"])
    answers = np.load(tmp_path / "out" / "ztf-stamps.npy")
    assert answers.shape == (60, 2)
    np.testing.assert_allclose(answers.sum(1), 1, atol=1e-5)


@pytest.fixture
def survey(tmp_path: Path) -> Dataset:
    return build("simulate", tmp_path / "s.h5", builder_options={"n": "600"})


def test_a_third_is_dealt_at_random_or_by_whole_exposures(survey: Dataset) -> None:
    tests = []
    for by_group in (False, True):
        dealt = hits._dealt(survey, by_group=by_group)
        assert len(dealt.rows("test")) == pytest.approx(200, abs=41)
        assert len(dealt.rows("train")) + len(dealt.rows("test")) == 600
        shared = set(survey.groups[dealt.rows("train")]) & set(survey.groups[dealt.rows("test")])
        assert bool(shared) is not by_group
        tests.append(set(dealt.rows("test").tolist()))
    assert tests[0] != tests[1]
    held = hits._validation(dealt)
    assert set(held) <= set(dealt.rows("train"))
    assert not set(survey.groups[held]) & set(survey.groups[np.setdiff1d(dealt.rows("train"), held)])
    assert dealt.split[dealt.rows("test")].tolist() == [PARTS.index("test")] * len(dealt.rows("test"))


def test_other_data_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((8, 21, 21, 2)), y=np.arange(8) % 2)
    with pytest.raises(InputError, match="is not a set of stamps with two classes"):
        hits._opened(tmp_path / "x.npz", Ledger(tmp_path / "out", SILENT))


def test_the_alerts_at_hand_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESTAMPA_CACHE", str(tmp_path / "cache"))
    ledger = Ledger(tmp_path / "out", SILENT)
    monkeypatch.delenv("ESTAMPA_DATA", raising=False)
    assert hits._at_hand(ledger) is None
    monkeypatch.setenv("ESTAMPA_DATA", str(tmp_path))
    assert hits._at_hand(ledger) is None
    alerts(tmp_path / "ztf_stamps")
    found = hits._at_hand(ledger)
    assert found is not None
    assert (found.n, found.shape) == (60, (21, 21, 3))
