"""`estampa predict` as people and scripts see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from estampa.bundle.store import Bundle
from estampa.cli import application
from made_bundles import make, pictures


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make(tmp_path / "run" / "model")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "new.npy", pictures(40))
    return tmp_path / "new.npy"


def run(*words: object) -> Result:
    return CliRunner().invoke(application("predict"), ["predict", *map(str, words)])


def test_a_run_folder_scores_arrays(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    ended = run(tmp_path / "run", images, "-o", tmp_path / "p.csv")
    assert ended.exit_code == 0, ended.stderr
    assert ended.stdout.startswith("40 rows in ")
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 41
    assert bundle.hash in ended.stderr


def test_without_a_file_the_table_is_the_result(bundle: Bundle, images: Path) -> None:
    ended = run(bundle.folder, images, "-q")
    assert ended.stdout.splitlines()[0] == "id,predicted,p_dark,p_light,flags,model"
    assert len(ended.stdout.splitlines()) == 41
    assert ended.stderr == ""
    labels = run(bundle.folder, images, "--labels-only").stdout.split()
    assert set(labels) == {"dark", "light"}
    assert len(labels) == 40


def test_parquet_needs_a_file(bundle: Bundle, images: Path) -> None:
    ended = run(bundle.folder, images, "--format", "parquet")
    assert ended.exit_code == 2
    assert ended.stdout == ""
    assert "Name the file with -o" in ended.stderr


def test_json_is_one_object_and_nothing_else(bundle: Bundle, images: Path, tmp_path: Path) -> None:
    told = json.loads(run(bundle.folder, images, "-o", tmp_path / "p.jsonl", "--json").stdout)
    assert told["n"] == 40
    assert told["bad"] == 0
    assert told["model"] == bundle.hash
    assert told["classes"] == ["dark", "light"]


@pytest.mark.parametrize(
    "data", [np.zeros((3, 6, 5, 3), "u1"), np.zeros((3, 9, 9, 1), "u1"), np.zeros((3, 6, 5, 1), "f4")]
)
def test_wrong_data_exit_with_2_and_one_message(bundle: Bundle, tmp_path: Path, data: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", data)
    ended = run(bundle.folder, tmp_path / "x.npy", "-o", tmp_path / "p.csv")
    assert ended.exit_code == 2
    assert "6 x 5 x 1 uint8" in ended.stderr
    assert ended.stdout == ""
    assert not list(tmp_path.glob("p.csv*"))


def test_a_missing_run_exits_with_2(tmp_path: Path, images: Path) -> None:
    ended = run(tmp_path / "nowhere", images)
    assert ended.exit_code == 2
    assert "no such folder" in ended.stderr


SLOW = """
import sys, time
from estampa.predict import source
genuine = source.ReadingRows.chunks
def slowly(self, start, size):
    for i, chunk in enumerate(genuine(self, start, size)):
        if i == 1 and size > 512:
            print("under way", file=sys.stderr, flush=True)
            time.sleep(20)
        yield chunk
source.ReadingRows.chunks = slowly
from estampa.cli import main
main()
"""


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "many.npy", pictures(9000))
    words = ["predict", str(bundle.folder), str(tmp_path / "many.npy"), "-q", "-o", str(tmp_path / "p.csv")]
    process = subprocess.Popen([sys.executable, "-c", SLOW, *words], stderr=subprocess.PIPE, text=True, env=os.environ)
    assert process.stderr is not None
    assert process.stderr.readline() == "under way\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to go on from there" in said
    assert "Traceback" not in said
    assert run(*words[1:]).exit_code == 0
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 9001
