"""Killed and stopped trainings go on, to the same weights bit for bit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from made import bars, halves, recipe, weights
from safetensors import safe_open

from estampa.errors import EstampaError, Interrupted, StorageError
from estampa.train import checkpoint, loop
from estampa.train.fit import fit_net


class Teller:
    """A Progress that keeps what it is told, and may raise after an epoch."""

    def __init__(self, stop_after=0, error=KeyboardInterrupt):
        self.lines, self.epochs, self.stop_after, self.error = [], 0, stop_after, error

    def say(self, line):
        self.lines.append(line)

    warn = say

    def start(self, what, total, unit):
        pass

    def advance(self, count=1, note=""):
        self.epochs += count if note else 0
        if note and self.epochs == self.stop_after:
            raise self.error

    def finish(self, note=""):
        pass


RICH = {
    "model": {"name": "picturenet", "widths": 8, "dropout": 0.2}, "train__optimizer": "muon", "train__averaging": 0.9,
    "prepare__symmetry": "d4", "prepare__shift": 1, "prepare__erase": 0.2, "train__epochs": 6,
}  # fmt: skip
PLAIN = {"train__epochs": 6, "model__dropout_dense": 0.2}
BEST = {"train__epochs": 6, "train__keep": "best", "train__patience": 6, "train__rate": 0.03}


def fit(data, made, folder, progress=None):
    train, validation = halves(data)
    return fit_net(
        data, made, train_rows=train, validation_rows=validation, folder=folder, progress=progress or Teller()
    )


@pytest.fixture(autouse=True)
def _write_every_epoch(monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd", "adamw"])
def test_every_optimizer_goes_on_bit_for_bit(optimizer, tmp_path):
    data, made = bars(), recipe(train__optimizer=optimizer)
    whole = fit(data, made, None)
    with pytest.raises(Interrupted):
        fit(data, made, tmp_path, Teller(stop_after=2))
    assert np.array_equal(weights(whole), weights(fit(data, made, tmp_path)))


@pytest.mark.parametrize("changes", [RICH, PLAIN, BEST])
@pytest.mark.parametrize("after", [1, 4])
def test_interrupted_after_any_epoch_the_same_weights_come_out(changes, after, tmp_path):
    data, made = bars(), recipe(**changes)
    whole = fit(data, made, None)
    with pytest.raises(Interrupted, match=rf"stopped after epoch {after} of 6.*same command again") as caught:
        fit(data, made, tmp_path, Teller(stop_after=after))
    assert caught.value.exit_code == 130
    teller = Teller()
    resumed = fit(data, made, tmp_path, teller)
    assert any(f"Going on after epoch {after}" in line for line in teller.lines)
    assert teller.epochs == 6 - after
    assert np.array_equal(weights(whole), weights(resumed))
    assert resumed.kept_epoch == whole.kept_epoch

    def plain(rows):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    assert plain(resumed.history) == plain(whole.history)
    told = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert told == resumed.history


def test_an_interruption_inside_an_epoch_writes_the_last_whole_one(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e9)
    data, made = bars(), recipe()
    whole = fit(data, made, None)
    step = loop.Optimizer.step

    def interrupted(self, rate):
        step(self, rate)
        if self.steps == 20:  # 8 steps an epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop.Optimizer, "step", interrupted)
        with pytest.raises(Interrupted, match="after epoch 2 of 4"):
            fit(data, made, tmp_path)
    assert np.array_equal(weights(whole), weights(fit(data, made, tmp_path)))


def test_an_interruption_before_the_first_epoch_promises_nothing(tmp_path, monkeypatch):
    def interrupted(self, rate):
        raise KeyboardInterrupt

    monkeypatch.setattr(loop.Optimizer, "step", interrupted)
    with pytest.raises(Interrupted, match="after epoch 0 of 4") as caught:
        fit(bars(), recipe(), tmp_path)
    assert not caught.value.cure
    assert not (tmp_path / checkpoint.NAME).exists()


def test_a_finished_training_is_not_done_again(tmp_path):
    data, made = bars(), recipe()
    whole = fit(data, made, tmp_path)
    teller = Teller()
    again = fit(data, made, tmp_path, teller)
    assert teller.epochs == 0
    assert np.array_equal(weights(whole), weights(again))
    assert again.history == whole.history
    checkpoint.remove(tmp_path)
    checkpoint.remove(tmp_path)
    assert not (tmp_path / checkpoint.NAME).exists()


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from made import bars, halves, recipe
from pathlib import Path
from estampa.train import loop
from estampa.train.fit import fit_net
loop.CHECKPOINT_SECONDS = 0.0
step = loop.Optimizer.step
def killed(self, rate):
    step(self, rate)
    if self.steps == 21:
        os.kill(os.getpid(), signal.SIGKILL)
loop.Optimizer.step = killed
data = bars()
fit_net(data, recipe(model__dropout_dense=0.2), train_rows=halves(data)[0], validation_rows=halves(data)[1],
        folder=Path(sys.argv[1]))
"""


def test_after_kill_9_the_same_weights_come_out(tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    data, made = bars(), recipe(model__dropout_dense=0.2)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
    teller = Teller()
    resumed = fit(data, made, tmp_path, teller)
    assert teller.epochs == 2
    assert np.array_equal(weights(fit(data, made, None)), weights(resumed))


def test_ctrl_c_saves_and_exits_130(tmp_path):
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from made import bars, halves, recipe\nfrom pathlib import Path\nfrom estampa.train.fit import fit_net\n"
        "from estampa.errors import Interrupted\ndata = bars()\n"
        "try:\n    fit_net(data, recipe(train__epochs=100000), train_rows=halves(data)[0], folder=Path(sys.argv[1]))\n"
        "except Interrupted as error:\n    print(error); sys.exit(error.exit_code)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    began = time.monotonic()
    while not (tmp_path / "history.jsonl").exists() and time.monotonic() - began < 60:
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGINT)
    output, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "Give the same command again" in output
    with safe_open(tmp_path / checkpoint.NAME, framework="pt") as stream:
        state = json.loads(stream.metadata()["state"])
    assert len(state["history"]) == len((tmp_path / "history.jsonl").read_text().splitlines())


def test_another_recipe_or_other_data_start_anew_and_say_so(tmp_path):
    data = bars()
    fit(data, recipe(), tmp_path)
    for other_data, other in ((data, recipe(train__rate=0.01)), (bars(seed=1), recipe())):
        teller = Teller()
        fitted = fit(other_data, other, tmp_path, teller)
        assert any("belongs to another recipe or other data: training starts anew" in line for line in teller.lines)
        assert teller.epochs == 4
        assert np.array_equal(weights(fitted), weights(fit(other_data, other, None)))


def test_a_damaged_checkpoint_is_told_and_passed_over(tmp_path):
    fit(bars(), recipe(), tmp_path)
    path = tmp_path / checkpoint.NAME
    path.write_bytes(path.read_bytes()[:300])
    teller = Teller()
    fit(bars(), recipe(), tmp_path, teller)
    assert any("is damaged" in line for line in teller.lines)
    assert teller.epochs == 4


def test_a_full_disk_is_an_error_not_a_crash(tmp_path, monkeypatch):
    def full(path, content):
        raise StorageError("the disk is full", where=path)

    monkeypatch.setattr("estampa.files.write_atomic", full)
    with pytest.raises(EstampaError, match="the disk is full"):
        fit(bars(), recipe(), tmp_path)


def test_machine_choices_of_the_first_run_are_kept(tmp_path):
    data, made = bars(), recipe(train__threads="auto", train__dtype="auto", train__memory_format="auto")
    with pytest.raises(Interrupted):
        fit(data, made.with_values({"train.memory_format": "channels_first"}), tmp_path, Teller(stop_after=1))
    assert fit(data, made, tmp_path).recipe.train.memory_format == "channels_first"
