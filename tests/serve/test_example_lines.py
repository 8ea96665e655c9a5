"""The command lines of a bundle, run against the service itself, give what the bundle answers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import made_tables
from estampa.bundle import example
from estampa.bundle.store import Bundle
from made_bundles import make, pictures

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
OLD = Path(__file__).parents[1] / "bundle" / "formats" / "1"


def bundles(folder: Path) -> dict[str, Bundle]:
    """Name in the service -> a bundle, one of each kind."""
    holed = pictures(40, dtype="float32")
    holed[:, 1, 2] = np.nan
    large = pictures(4, (20, 18, 3)).repeat(10, axis=1).repeat(10, axis=2)
    return {
        "bytes": make(folder / "bytes"),
        "deep": make(folder / "deep", dtype="uint16"),
        "holed": make(folder / "holed", dtype="float32", seen=holed),
        "large": make(folder / "large", shape=(200, 180, 3), seen=large),
        "numbers": make(folder / "numbers", classes=(), task="regression"),
        "empty": make(folder / "empty", presets=False),
        "old": Bundle.open(OLD),
        "sky": made_tables.make(folder / "sky" / "model"),
        "strict": made_tables.make(folder / "strict" / "model", invalid="drop"),
        "names": made_tables.make(folder / "names" / "model", columns=("it's", '"$HOME"', "`id`", "a b;\\", "ñ", "ab")),
    }


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, Bundle]]]:
    """The address of a service of `bundles`."""
    made = bundles(tmp_path_factory.mktemp("served"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    named = [f"{name}={bundle.folder}" for name, bundle in made.items()]
    command = [sys.executable, "-m", "estampa", "serve", *named, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as service:
        end = time.monotonic() + 60
        while subprocess.run(["curl", "-sf", f"{url}/readyz"], capture_output=True, check=False).returncode:
            assert service.poll() is None, "the service ended"
            assert time.monotonic() < end, "the service is not ready"
            time.sleep(0.2)
        yield url, made
        service.terminate()
        service.wait(30)


@pytest.mark.parametrize(
    "name", ["bytes", "deep", "holed", "large", "numbers", "empty", "old", "sky", "strict", "names"]
)
def test_the_lines_give_the_bundles_own_answers(
    served: tuple[str, dict[str, Bundle]], name: str, tmp_path: Path
) -> None:
    url, made = served
    bundle, folder = made[name], made[name].folder
    if name == "old":  # it has no example in its folder: the one that is made for it is laid there
        folder = Path(shutil.copytree(bundle.folder, tmp_path / "old"))
        (folder / "examples").mkdir()
        (folder / "examples" / "request.json").write_bytes(example.text_of(example.request(bundle)))
    said: list[dict[str, Any]] = []
    for line in example.curl(bundle, url, name):
        ended = subprocess.run(["bash", "-ec", line], cwd=folder, capture_output=True, check=True, timeout=30)
        said.append(json.loads(ended.stdout))
    one, many, model = said
    assert model["name"] == name
    ids = example.request(bundle)["ids"]
    assert [answer["id"] for answer in many["answers"]] == ids
    assert [answer["model"] for answer in many["answers"]] == [bundle.hash] * len(ids)
    key = "probabilities" if bundle.classes else "predicted"
    assert one[key] == many["answers"][0][key]
    told = [list(a[key].values()) if bundle.classes else a[key] for a in many["answers"]]
    presets = bundle.presets()
    if presets is None:
        assert np.isfinite(told).all()
        return
    rows = [presets.ids.tolist().index(i) for i in ids]
    np.testing.assert_array_equal(np.array(told, np.float32), bundle.score(presets.inputs).output[rows])
