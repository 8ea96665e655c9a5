"""What /metrics and the model's page say of drift: from the log's last answers, whoever gave them."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import page_sets
import pytest
from served import Client, Running, client, npy_bytes, running, until, words_of

from estampa.bundle import reference
from estampa.bundle.store import Bundle, write
from estampa.monitor import gauges
from estampa.monitor.log import forget, read_log
from estampa.monitor.registry import Registry
from estampa.serve import watched, watcher
from made_bundles import content_of, make, pictures

NPY, PREDICT = "application/x-npy", "/v1/predict"
KINDS = ("input", "embedding", "output", "flags")
OURS = re.compile(r"^estampa_(drift_score|alert_active|watched_objects)\{(.*)\} (\S+)$", re.MULTILINE)


def knowing(folder: Path, seen: np.ndarray) -> Bundle:
    """A bundle whose reference holds what it answers to these pictures."""
    content = content_of(seen=seen)
    scores = write(folder / "draft", content).session.score(seen, wanted=("output", "embedding"))
    told = reference.reference(seen, scores.output, np.arange(len(seen)) % 2, scores.embedding)
    return write(folder / "model", replace(content, reference=told))


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return knowing(tmp_path_factory.mktemp("watched") / "day", pictures(300))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model that knows dark pictures."""
    return knowing(tmp_path_factory.mktemp("watched") / "night", pictures(300, seed=1) // 4)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every question have a look of its own."""
    monkeypatch.setattr(watcher, "_EVERY", 0.0)
    monkeypatch.setattr(watcher, "_SHARE", 0)
    monkeypatch.setattr(watcher, "_WAIT", 30.0)


def send(one: Client | Running, images: np.ndarray, model: str = "") -> None:
    path, body = PREDICT + (f"?model={model}" if model else ""), npy_bytes(images)
    if isinstance(one, Running):
        assert one.ask("POST", path, body, NPY)[0] == 200
    else:
        assert one.post(path, content=body, headers={"Content-Type": NPY}).status_code == 200


def told(one: Client | Running) -> dict[str, float]:
    """The gauges by name and labels, as "alert_active day input"."""
    text = one.get("/metrics")[1].decode() if isinstance(one, Running) else one.get("/metrics").text
    found = {}
    for name, labels, value in OURS.findall(text):
        of = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found[" ".join([name, *(of[key] for key in ("model", "kind") if key in of)])] = float(value)
    return found


def alerts(found: dict[str, float]) -> set[str]:
    return {name.partition(" ")[2] for name, value in found.items() if name.startswith("alert_active") and value}


def test_a_drift_is_an_alert_until_a_model_that_knows_it_is_promoted(
    day: Bundle, night: Bundle, tmp_path: Path
) -> None:
    path, log = tmp_path / "registry.jsonl", tmp_path / "log.jsonl"
    Registry(path).promote(day.folder, why="the first")
    with client(models=[f"{path}:champion"], log=log) as one:
        begun = told(one)
        assert begun == {
            "watched_objects champion": 0,
            **{f"alert_active champion {kind}": 0 for kind in KINDS},
        }
        send(one, pictures(120, seed=4))
        clean = told(one)
        assert clean["watched_objects champion"] == 120
        assert alerts(clean) == set()
        assert all(0 <= value < 1 for name, value in clean.items() if name.startswith("drift_score"))
        assert clean.keys() - begun.keys() == {f"drift_score champion {kind}" for kind in KINDS}
        send(one, pictures(120, seed=5) // 4)
        drifted = told(one)
        assert alerts(drifted) >= {"champion input"}
        assert drifted["drift_score champion input"] > 1
        Registry(path).promote(night.folder, why="it knows the night")
        until(lambda: one.get("/readyz").json()["models"] == {"champion": night.hash}, 10, "it was not swapped")
        assert told(one) == begun
        send(one, pictures(120, seed=6) // 4)
        known = told(one)
        assert known["watched_objects champion"] == 120
        assert alerts(known) == set()
        Registry(path).rollback(why="to see")
        until(lambda: one.get("/readyz").json()["models"] == {"champion": day.hash}, 10, "it was not swapped back")
        assert told(one) == drifted
    with client(models=[f"{path}:champion"], log=log) as again:
        assert told(again) == drifted


def test_each_model_has_its_own_answers(day: Bundle, night: Bundle, tmp_path: Path) -> None:
    with client(models=words_of(day=day, night=night), log=tmp_path / "log") as one:
        for model, seed in (("day", 4), ("night", 5), ("day", 6)):
            send(one, pictures(60, seed=seed) // (1 if model == "day" else 4), model)
        found = told(one)
        assert (found["watched_objects day"], found["watched_objects night"]) == (120, 60)
        assert alerts(found) == set()
        send(one, pictures(60, seed=7), "night")
        assert {label.partition(" ")[0] for label in alerts(told(one))} == {"night"}


def test_too_few_answers_say_nothing(day: Bundle, tmp_path: Path) -> None:
    with client(models=words_of(m=day), log=tmp_path / "log") as one:
        send(one, pictures(gauges.LEAST - 1) // 4)
        found = told(one)
        assert found["watched_objects m"] == gauges.LEAST - 1
        assert alerts(found) == set()
        assert not [name for name in found if name.startswith("drift_score")]
        page = one.get("/models/m/about").text
        assert "Watched now" in page
        assert f"{gauges.LEAST - 1} answers of this model are in the log, too few" in page


def test_the_last_answers_survive_a_rotation_and_old_ones_go_out(
    day: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "SIZE", 100)
    log = tmp_path / "log"
    with client(models=words_of(m=day), log=log) as one:
        send(one, pictures(100, seed=4) // 4)
        drifted = told(one)
        log.rename(tmp_path / "log.1")
        assert told(one) == drifted
        send(one, pictures(30, seed=5))
        assert told(one)["watched_objects m"] == 100
        assert alerts(told(one))
        send(one, pictures(70, seed=6))
        assert told(one)["watched_objects m"] == 100
        assert alerts(told(one)) == set()
        assert "log" not in one.get("/metrics").text.replace("estampa_log_lost", "").replace("of the log", "")


def test_without_a_log_there_are_none(day: Bundle) -> None:
    with client(models=words_of(m=day)) as one:
        send(one, pictures(60) // 4)
        assert told(one) == {}
        assert "Watched now" not in one.get("/models/m/about").text


def test_a_table_has_no_embedding_to_drift(tmp_path: Path) -> None:
    bundle = page_sets.table(tmp_path / "sky" / "model")
    with client(models=words_of(m=bundle), log=tmp_path / "log") as one:
        assert {name.rpartition(" ")[2] for name in told(one)} == {"m", "input", "output", "flags"}


@pytest.mark.parametrize(("language", "out"), [("en", "out of its range"), ("es", "fuera de su intervalo")])
def test_the_page_names_the_figures_that_left_their_range(
    day: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str, out: str
) -> None:
    monkeypatch.setattr(watched, "_MOST", 3)
    with client(models=words_of(m=day), log=tmp_path / "log") as one:
        address, out = f"/models/m/about?lang={language}", f'<strong class="left-range">{out}</strong>'
        send(one, pictures(120, seed=4))
        assert out not in one.get(address).text
        send(one, pictures(300, seed=5) // 4)
        page = one.get(address).text
        state = one.service.watcher._states["m"][1]
        assert page.count(out) == len({figure.kind for figure in state.alerts})
        assert len(state.alerts) > 4
        shown = [f'<th scope="row" lang="en">{figure.name}</th>' in page for figure in state.alerts]
        assert shown == [True] * 3 + [False] * (len(shown) - 3)
        assert f" {len(shown) - 3} " in page
        assert str(day.folder) not in page


def test_a_model_that_cannot_be_watched_answers_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], day: Bundle
) -> None:
    small = make(tmp_path / "small", seen=pictures(10))
    with client(models=words_of(small=small, day=day), log=tmp_path / "log") as one:
        for _ in range(3):
            send(one, pictures(3), "small")
            assert {name.split(" ")[1] for name in told(one)} == {"day"}
        assert one.get("/models/small/about").status_code == 200
    assert capsys.readouterr().err.count("too few objects in its reference") == 1


def test_what_is_forgotten_counts_no_more(day: Bundle, tmp_path: Path) -> None:
    with client(models=words_of(m=day), log=tmp_path / "log") as one:
        send(one, pictures(60))
        send(one, pictures(60) // 4)
        assert told(one)["watched_objects m"] == 120
        assert "m input" in alerts(told(one))
        forget([tmp_path / "log"], [line.id for line in list(read_log(tmp_path / "log"))[60:]])
        assert told(one)["watched_objects m"] == 60
        assert "m input" not in alerts(told(one))
        send(one, pictures(10))
        assert told(one)["watched_objects m"] == 70


def test_a_slow_look_holds_nobody_up(day: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "_WAIT", 0.02)
    whole, looks, go_on = gauges.Rolling.state, [], threading.Event()

    def slow(rolling: Any) -> Any:
        looks.append(rolling)
        assert go_on.wait(60)
        return whole(rolling)

    with client(models=words_of(m=day), log=tmp_path / "log") as one:
        told(one)
        monkeypatch.setattr(gauges.Rolling, "state", slow)
        send(one, pictures(5))
        assert all(told(one)["watched_objects m"] == 0 for _ in range(3)), "what stands is told while a look goes on"
        assert len(looks) == 1, "one look at a time"
        go_on.set()
        until(lambda: told(one)["watched_objects m"] == 5, 20, "the look does not end")


def test_what_fails_in_a_look_is_told_once_and_the_counters_are_given(
    day: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = gauges.Rolling.state

    def broken(_: Any) -> Any:
        raise MemoryError("no room")

    with client(models=words_of(m=day), log=tmp_path / "log") as one:
        monkeypatch.setattr(gauges.Rolling, "state", broken)
        for _ in range(3):
            send(one, pictures(20))
            assert told(one) == {}
            assert "estampa_requests_total" in one.get("/metrics").text
        monkeypatch.setattr(gauges.Rolling, "state", whole)
        assert told(one)["watched_objects m"] == 60
    assert capsys.readouterr().err.count("no room") == 1


def test_whoever_shares_the_log_says_the_same_of_all_answers(day: Bundle, tmp_path: Path) -> None:
    with (
        client(models=words_of(m=day), log=tmp_path / "log") as one,
        client(models=words_of(m=day), log=tmp_path / "log") as other,
    ):
        told(one)  # which follows from the beginning, and the other from the end
        for seed in range(8):
            send(one if seed % 3 else other, pictures(10, seed=seed) // 4)
            told(one)
        assert told(other) == told(one)
        assert told(one)["watched_objects m"] == 80
        assert "m input" in alerts(told(other))


@pytest.mark.long
def test_two_workers_say_the_same_through_a_restart_and_a_promotion(day: Bundle, night: Bundle, tmp_path: Path) -> None:
    registry = tmp_path / "registry.jsonl"
    Registry(registry).promote(day.folder, why="the first")
    words = (f"{registry}:champion", "--workers", "2", "--log", str(tmp_path / "log"))

    def settled(service: Running, n: int) -> dict[str, float]:
        """What ten connections, which reach both workers, agree upon."""

        def agreed() -> dict[str, float] | None:
            found = [told(service) for _ in range(10)]
            same = all(one == found[0] for one in found)
            return found[0] if same and found[0].get("watched_objects champion") == n else None

        found: dict[str, float] = until(agreed, 20, "the workers do not agree", service.text)
        return found

    with running(*words, folder=tmp_path) as service:
        for i in range(12):
            send(service, pictures(10, seed=40 + i))
        assert alerts(settled(service, 120)) == set()
        for i in range(12):
            send(service, pictures(10, seed=60 + i) // 4)
        drifted = settled(service, 240)
        assert "champion input" in alerts(drifted)
    with running(*words, folder=tmp_path) as service:
        assert settled(service, 240) == drifted
        Registry(registry).promote(night.folder, why="it knows the night")
        assert alerts(settled(service, 0)) == set()
        for i in range(12):
            send(service, pictures(10, seed=80 + i) // 4)
        assert alerts(settled(service, 120)) == set()
