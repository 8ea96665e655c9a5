"""What the machine offers is read from the system, not guessed."""

from __future__ import annotations

import os

import pytest

from estampa import machine
from estampa.errors import MissingExtra


def test_threads_never_exceed_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert 1 <= machine.threads() <= len(os.sched_getaffinity(0))


def test_a_quota_of_the_cgroup_cuts_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    monkeypatch.setattr(machine, "_cgroup_cpus", lambda: 3)
    assert machine.threads() == 3


def test_the_user_has_the_last_word_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert machine.threads() == 5
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert machine.threads() >= 1


def test_memory_is_plausible() -> None:
    assert 2**20 < machine.peak_memory() < machine.memory_total()


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(MissingExtra, match=r"estampa train: needs the package 'no_such_thing'.*estampa\[train\]"):
        machine.require("train", "numpy", "no_such_thing", needed_for="estampa train")


def test_the_record_holds_versions_of_what_is_installed_only() -> None:
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    assert versions["numpy"]
    assert "no_such_thing" not in versions
    assert machine.version_of("no_such_thing") is None


def test_waiting_threads_turn_a_little_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    machine.patient_threads()
    assert os.environ["GOMP_SPINCOUNT"] == machine.SPINS
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    machine.patient_threads()
    assert os.environ["GOMP_SPINCOUNT"] == "7"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    machine.patient_threads()
    assert "GOMP_SPINCOUNT" not in os.environ
