"""Ctrl-C and kill -9 while a real process builds; memory while a large file is built and streamed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from estampa.data.dataset import Dataset
from estampa.data.view import BLOCK_BYTES
from estampa.errors import DatasetError

#: The command line itself, with a pause after each small block so that a signal finds it in the middle.
SLOW = """
import sys, time
from estampa.data import writer
from estampa.data.sources import _base
_base.BLOCK_BYTES = 28 * 28 * 100
write = writer.DatasetWriter.write
def slowly(self, *given):
    write(self, *given)
    time.sleep(0.02)
writer.DatasetWriter.write = slowly
from estampa.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (6000, 28, 28, 1), dtype=np.uint8)
    np.savez(tmp_path / "stamps.npz", images=images, labels=np.arange(6000) % 3)
    return tmp_path / "stamps.npz"


def begin(stamps: Path, output: Path, *flags: str) -> subprocess.Popen[str]:
    """Start a slow build and wait until some blocks are finished."""
    words = [sys.executable, "-c", SLOW, "build", str(stamps), "-o", str(output), *flags]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = output.with_name(output.name + ".journal")
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if journal.exists() and len(journal.read_text().splitlines()) > 5:
            return process
        time.sleep(0.01)
    raise AssertionError(process.communicate())


def again(stamps: Path, output: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "estampa", "build", str(stamps), "-o", str(output), "--json"]
    return subprocess.run(words, capture_output=True, text=True, check=True)


@pytest.mark.parametrize("times", [1, 3])
def test_kill_9_and_on(stamps: Path, tmp_path: Path, times: int) -> None:
    output = tmp_path / "a.h5"
    for _ in range(times):
        process = begin(stamps, output)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert not output.exists()
        with pytest.raises(DatasetError):
            Dataset.open(tmp_path / "a.h5.part")
    ended = again(stamps, output)
    assert "goes on after" in ended.stderr
    assert json.loads(ended.stdout)["n"] == 6000
    with np.load(stamps) as source:
        np.testing.assert_array_equal(Dataset.open(output).images, source["images"])
    untouched = again(stamps, tmp_path / "b.h5")
    assert json.loads(untouched.stdout)["content_sha256"] == json.loads(ended.stdout)["content_sha256"]
    assert {p.name for p in tmp_path.iterdir()} == {"stamps.npz", "a.h5", "b.h5"}


def test_ctrl_c_and_on(stamps: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.h5"
    process = begin(stamps, output, "--json")
    process.send_signal(signal.SIGINT)
    said, warned = process.communicate()
    assert process.returncode == 130
    assert said == ""
    assert "of 6,000 rows are saved. Run the same command again to go on from there." in warned
    assert "Traceback" not in warned
    assert not output.exists()
    assert "goes on after" in again(stamps, output).stderr
    assert Dataset.open(output).n == 6000


def test_changed_data_start_clean(stamps: Path, tmp_path: Path) -> None:
    output = tmp_path / "a.h5"
    process = begin(stamps, output)
    process.kill()
    process.communicate()
    images = np.full((500, 28, 28, 1), 7, np.uint8)
    np.savez(stamps, images=images, labels=np.arange(500) % 2)
    ended = again(stamps, output)
    assert "goes on after" not in ended.stderr
    np.testing.assert_array_equal(Dataset.open(output).images, images)


#: Builds 400 MB, streams them in order and scattered; prints the growth of its resident memory in bytes at each step.
MEMORY = """
import sys, numpy as np
from pathlib import Path
from estampa.data.dataset import Dataset, DatasetWriter, Header
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
n, side, step = 4000, 316, 100
block = np.random.default_rng(0).integers(0, 256, (step, side, side, 1), dtype=np.uint8)
header = Header(n=n, shape=(side, side, 1), dtype="uint8", task="unlabelled")
def write(path, n):
    writer = DatasetWriter(path, header.__class__(**{**header.__dict__, "n": n}), ids=map(str, range(n)), labels=None,
                           fingerprint="")
    for start in range(0, n, step):
        writer.write(start, block, {start: "bad"})
    return writer.finish()
write(Path(sys.argv[1] + ".small.h5"), 2 * step).take(np.arange(step))
before, growth = resident(), []
dataset = write(Path(sys.argv[1]), n)
growth.append(resident() - before)
for rows in (None, np.random.default_rng(1).permutation(dataset.n)):
    most = 0
    for _, images in dataset.blocks(rows):
        most = max(most, resident() - before)
    growth.append(most)
print(*growth)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
def test_memory_stays_flat(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] not in (-1, resource.RLIM_INFINITY):
        pytest.skip("files of 400 MB are not allowed here")
    words = [sys.executable, "-c", MEMORY, str(tmp_path / "a.h5")]
    ended = subprocess.run(words, capture_output=True, text=True, check=True)
    written, in_order, scattered = map(int, ended.stdout.split())
    assert (tmp_path / "a.h5").stat().st_size > 390e6
    for growth in (written, in_order, scattered):
        assert growth < 4 * BLOCK_BYTES, ended.stdout
