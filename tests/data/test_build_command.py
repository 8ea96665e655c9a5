"""`estampa build`: every option, its message when it is wrong, what it prints."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from estampa.cli import main
from estampa.data.dataset import Dataset


@pytest.fixture
def stamps(tmp_path: Path) -> Path:
    images = np.random.default_rng(0).integers(0, 256, (40, 9), dtype=np.uint8)
    np.savez(tmp_path / "flat.npz", images=images, labels=np.arange(40) % 2, groups=np.arange(40) // 4)
    return tmp_path / "flat.npz"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_result_on_stdout_facts_on_stderr(stamps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("build", stamps, "-o", tmp_path / "a.h5", "--reshape", "3x3x1", "--as", "arrays")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert out.startswith("40 objects, 3 x 3 x 1 uint8, classification, from arrays")
    assert f"estampa check {tmp_path / 'a.h5'}" in out
    code, out, err = run(capsys, *words, "--json")
    assert code == 0
    record = json.loads(out)
    assert record["n"] == 40
    assert record["classes"] == {"0": 20, "1": 20}
    assert record["content_sha256"] == Dataset.open(tmp_path / "a.h5").content_sha256
    assert "nothing to do" in err


def test_exclude_writes_a_new_file(stamps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "build", stamps, "-o", tmp_path / "a.h5", "--reshape", "3x3x1")
    ids = Dataset.open(tmp_path / "a.h5").ids
    (tmp_path / "out.txt").write_text(f"{ids[0]}\n{ids[7]}\n")
    words = ("build", tmp_path / "a.h5", "-o", tmp_path / "b.h5", "--exclude", tmp_path / "out.txt", "--json")
    code, out, _ = run(capsys, *words)
    assert code == 0
    assert json.loads(out)["n"] == 38
    assert Dataset.open(tmp_path / "a.h5").n == 40


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size", "12"], "--size: not understood. Allowed: HxW"),
        (["--size", "0x3"], "--size: not understood"),
        (["--reshape", "3"], "--reshape: not understood. Allowed: HxWxC"),
        (["--layout", "CHW"], "--layout: not understood. Allowed: NCHW, NHWC"),
        (["--fit", "crpo"], "--fit: not understood. Allowed: stretch, pad, crop. Got: 'crpo'. Did you mean 'crop'?"),
        (["--mode", "CMYK"], "--mode: not understood"),
        (["--option", "count"], "--option: not understood. Allowed: KEY=VALUE"),
        (
            ["--option", "n=3", "--option", "n = 4"],
            "--option n: is given twice. Got: '3' and '4'. Keep the one that is",
        ),
        (["--option", "count=3"], "only builders take --option"),
        (["--as", "array"], "Did you mean 'arrays'?"),
        (["--exclude", "nowhere.txt"], "exclude file cannot be read"),
    ],
)
def test_wrong_use_is_one_message_and_exit_2(
    stamps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    words = [*flags] if "--reshape" in flags else ["--reshape", "3x3x1", *flags]
    code, out, err = run(capsys, "build", stamps, "-o", tmp_path / "a.h5", *words)
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "a.h5").exists()


def test_another_file_of_that_name_stays(stamps: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.h5").write_text("mine")
    words = ("build", stamps, "-o", tmp_path / "a.h5", "--reshape", "3x3x1")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "--force" in err
    assert (tmp_path / "a.h5").read_text() == "mine"
    assert run(capsys, *words, "--force")[0] == 0
    assert Dataset.open(tmp_path / "a.h5").n == 40


def test_unreadable_pictures_end_in_exit_2_with_the_rest_built(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(4):
            picture = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "pets" / name / f"{i}.png")
    (tmp_path / "pets" / "cats" / "2.png").write_text("this is no picture")
    words = ("build", tmp_path / "pets", "-o", tmp_path / "a.h5")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert "1 row could not be read; the other 7 are built" in err
    assert "2.png" in err
    code, out, _ = run(capsys, *words, "--skip-bad", "--json")
    assert code == 0
    assert json.loads(out)["rejected"] == 1
