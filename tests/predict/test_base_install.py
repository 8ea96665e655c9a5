"""The base install scores a bundle, with neither torch nor scikit-learn: shown in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from estampa.data.dataset import DatasetWriter, Header
from estampa.predict import predict, read_predictions
from made_bundles import make, pictures
from made_tables import COLUMNS, galaxies
from made_tables import make as make_of_table

ROOT = Path(__file__).parents[2]
#: What pip says when packages cannot be had: then nothing can be shown here.
OFFLINE = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "Name or service not known",
    "Temporary failure in name resolution",
    "Max retries exceeded",
    "ProxyError",
    "from versions: none",
)
ABSENT = ("torch", "sklearn", "scipy", "matplotlib", "onnx", "onnxscript", "skl2onnx", "cleanlab", "pyarrow", "pandas")
PROBE = f"""
import importlib.util, sys
present = [m for m in {ABSENT!r} if importlib.util.find_spec(m)]
assert not present, present
import estampa
from estampa.data import dataset, read, split
from estampa.monitor import kept, log, registry
from estampa.predict import predict
bundle = estampa.Bundle.open(sys.argv[1])
found = estampa.predict(bundle, sys.argv[2])
print(found.n, found.bad, estampa.__file__)
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of an environment in which `pip install estampa` was run."""
    folder = tmp_path_factory.mktemp("base") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    words = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--retries", "1", str(ROOT)]
    ended = subprocess.run([folder / "bin" / "python", *words], capture_output=True, text=True, check=False)
    if ended.returncode and any(word in ended.stderr for word in OFFLINE):
        pytest.skip("packages cannot be fetched, so that no clean environment can be made")
    assert ended.returncode == 0, ended.stderr
    return folder / "bin"


def run(base: Path, *words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    ended = subprocess.run([str(w) for w in (base / str(words[0]), *words[1:])], capture_output=True, text=True,
                           check=False, env=clean, cwd=base)  # fmt: skip
    assert ended.returncode == code, ended.stderr
    return ended


def test_the_base_install_scores_a_bundle(base: Path, tmp_path: Path) -> None:
    bundle = make(tmp_path / "run" / "model")
    images = pictures(300)
    header = Header(300, images.shape[1:], "uint8", "unlabelled")
    writer = DatasetWriter(tmp_path / "set.h5", header, ids=[f"o{i}" for i in range(300)], labels=None, fingerprint="x")
    writer.write(0, images)
    ours = predict(bundle, writer.finish())
    run(base, "estampa", "predict", tmp_path / "run", tmp_path / "set.h5", "-o", tmp_path / "p.csv")
    theirs = read_predictions(tmp_path / "p.csv")
    np.testing.assert_array_equal(theirs.predicted, ours.predicted)
    assert ours.probabilities is not None
    assert theirs.probabilities is not None
    np.testing.assert_allclose(theirs.probabilities, ours.probabilities, atol=1e-6)
    told = run(base, "python", "-c", PROBE, tmp_path / "run", tmp_path / "set.h5").stdout
    assert told.startswith("300 0 ")
    assert str(ROOT) not in told  # the installed package, not the checkout


def test_the_base_install_scores_a_table(base: Path, tmp_path: Path) -> None:
    bundle = make_of_table(tmp_path / "run" / "model")
    raw, _ = galaxies(200, seed=8)
    with (tmp_path / "t.csv").open("w") as stream:
        stream.write(",".join(reversed(COLUMNS)) + "\n")
        stream.writelines(",".join("" if np.isnan(v) else repr(v) for v in row[::-1]) + "\n" for row in raw.tolist())
    run(base, "estampa", "predict", tmp_path / "run", tmp_path / "t.csv", "-o", tmp_path / "p.csv")
    theirs = read_predictions(tmp_path / "p.csv").probabilities
    assert theirs is not None
    np.testing.assert_allclose(theirs, bundle.score(raw).output, atol=1e-6)


def test_what_is_not_installed_is_named_with_its_extra(base: Path, tmp_path: Path) -> None:
    bundle = make(tmp_path / "model")
    np.save(tmp_path / "x.npy", pictures(3))
    ended = run(base, "estampa", "predict", bundle.folder, tmp_path / "x.npy", "-o", tmp_path / "p.parquet", code=2)
    assert "pip install 'estampa[tables]'" in ended.stderr
    assert "predict --format parquet: lacks pyarrow" in run(base, "estampa", "doctor").stdout
