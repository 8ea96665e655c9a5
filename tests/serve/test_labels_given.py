"""POST /v1/feedback: labels are checked whole, stored once, and known to every worker."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import page_sets
import pytest
from served import Client, client, npy_bytes, problem, running, words_of

import made_tables
from estampa.bundle.store import Bundle
from estampa.errors import InputError
from estampa.monitor import log
from estampa.monitor.feedback import gathered, read_feedback
from estampa.monitor.log import forget
from estampa.serve import feedback
from made_bundles import make, pictures

NPY = "application/x-npy"
ID = "request-1.0"


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("grey") / "model")


@pytest.fixture
def ask(grey: Bundle, tmp_path: Path) -> Iterator[Client]:
    with client(grey, log=tmp_path / "log", feedback=tmp_path / "labels", max_objects=100) as one:
        yield one


def answered(one: Client, n: int = 1, name: str = "request-1", query: str = "") -> list[str]:
    """Ids of n answers."""
    told = one.post(
        f"/v1/predict{query}", content=npy_bytes(pictures(n)), headers={"Content-Type": NPY, "X-Request-Id": name}
    )
    assert told.status_code == 200
    return [f"{name}.{i}" for i in range(n)]


def give(one: Client, body: Any, query: str = "") -> Any:
    return one.post(f"/v1/feedback{query}", json=body)


def test_labels_are_stored_and_can_be_withdrawn(ask: Client, grey: Bundle, tmp_path: Path) -> None:
    first, second = answered(ask, 2)
    yes, no = grey.classes[:2]
    told = give(
        ask, {"labels": [{"id": first, "label": yes}, {"id": second, "label": no}, {"id": ID[:-1] + "7", "label": no}]}
    )
    assert told.json() == {"stored": 3, "unknown": ["request-1.7"]}
    lines = list(read_feedback(tmp_path / "labels"))
    assert {(one.model, one.via, one.drawn) for one in lines} == {(grey.hash, "api", "given")}
    assert give(ask, {"id": first, "label": None}).json() == {"stored": 1, "unknown": []}
    assert gathered(tmp_path / "labels", grey.classes).labels == {second: no, "request-1.7": no}
    assert (tmp_path / "labels").stat().st_mode & 0o777 == 0o600


WRONG = [
    (b"{", "not-understood", "no JSON"),
    (b"[]", "not-understood", "Send"),
    (b"{}", "not-understood", "Send"),
    (b'{"labels": []}', "not-understood", "at least one"),
    (b'{"labels": {}}', "not-understood", "list"),
    (b'{"labels": [1]}', "not-understood", "labels[0]"),
    (b'{"labels": [], "why": 1}', "not-understood", "'why'"),
    (b'{"id": "request-1.0", "label": "a", "drawn": "random"}', "not-understood", "beside them only"),
    (b'{"id": "request-1.0", "label": "a", "new": 1}', "not-understood", "beside them only"),
    (b'{"id": "request-1.0", "label": " ", "new": true}', "label", "no name of a class"),
    (b'{"id": "request-1.0", "label": "a\\u0007", "new": true}', "label", "no name of a class"),
    (b'{"id": "request-1.0", "label": 7, "new": true}', "label", "no name of a class"),
    (b'{"id": "request-1.0", "label": "' + b"x" * 65 + b'", "new": true}', "label", "up to 64"),
    (b'{"id": "request-1.0"}', "not-understood", "keys id and label"),
    (b'{"id": "request-1", "label": "CLASS"}', "label", "'request-1' is no id"),
    (b'{"id": 7, "label": "CLASS"}', "label", "7 is no id"),
    (b'{"id": "../../etc.0", "label": "CLASS"}', "label", "is no id"),
    (b'{"id": "request-1.0", "label": "CLASSx"}', "label", "Did you mean 'CLASS'?"),
    (b'{"id": "request-1.0", "label": 1}', "label", "1 is no class"),
    (b'{"id": "request-1.0", "label": ["CLASS"]}', "label", "no class"),
    (b'{"id": "request-1.0", "label": NaN}', "not-understood", "no JSON"),
    (b'{"labels": [{"id": "request-1.0", "label": "CLASS"}, {"id": "request-1.1", "label": ""}]}', "label", "[1]"),
    (b'{"labels": [{"id": "request-1.0", "label": "CLASS"}, {"id": "request-1.0", "label": null}]}', "label", "twice"),
    (b"[" * 100_000, "not-understood", "no JSON"),
    (b'{"id": "request-1.0", "label": "' + b"x" * 3_000_000 + b'"}', "label", "no class"),
    (b'{"labels": [' + b",".join([b"0"] * 101) + b"]}", "too-large", "101 labels are more than 100"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "kind", "says"), WRONG, ids=[f"{i}" for i in range(len(WRONG))])
def test_what_cannot_be_is_refused_whole(
    body: bytes, kind: str, says: str, ask: Client, grey: Bundle, tmp_path: Path
) -> None:
    name = grey.classes[0]
    headers = {"Content-Type": "application/json"}
    told = ask.post("/v1/feedback", content=body.replace(b"CLASS", name.encode()), headers=headers)
    problem(told, kind, says.replace("CLASS", name))
    assert (tmp_path / "labels").read_bytes() == b""


def test_a_class_that_the_model_does_not_know_must_be_meant(ask: Client, grey: Bundle, tmp_path: Path) -> None:
    first, second = answered(ask, 2)
    problem(give(ask, {"id": first, "label": "comet"}), "label", '"new": true')
    assert give(ask, {"id": first, "label": " comet  tail ", "new": True}).json()["stored"] == 1
    assert give(ask, {"id": second, "label": grey.classes[0], "new": True}).json()["stored"] == 1
    told = gathered(tmp_path / "labels", grey.classes)
    assert (told.unknown, told.labels) == ({"comet tail": 1}, {second: grey.classes[0]})


def test_other_media_methods_and_models(ask: Client) -> None:
    assert ask.post("/v1/feedback", content=b"a,b", headers={"Content-Type": "text/csv"}).status_code == 415
    assert ask.get("/v1/feedback").status_code == 405
    problem(give(ask, {"id": ID, "label": "a"}, "?model=x"), "not-found")
    assert give(ask, {"id": ID, "label": "a"}, "?model=x").status_code == 404
    told = ask.post("/v1/feedback", json={"id": ID, "label": "a"}, headers={"Origin": "http://evil.example"})
    problem(told, "cross-site")


def test_without_the_option_it_says_how_to_turn_it_on(grey: Bundle, tmp_path: Path) -> None:
    with client(grey) as one:
        problem(give(one, {"id": ID, "label": "a"}), "not-found", "--log FILE --feedback FILE")
    with pytest.raises(InputError, match="answers in the log"), client(grey, feedback=tmp_path / "labels"):
        pass
    (tmp_path / "log").touch()
    (tmp_path / "linked").symlink_to(tmp_path / "log")
    (tmp_path / "hard").hardlink_to(tmp_path / "log")
    for name in ("linked", "hard", "../" + tmp_path.name + "/log"):
        with pytest.raises(InputError, match="two files"), client(grey, log=tmp_path / "log", feedback=tmp_path / name):
            pass
    with pytest.raises(InputError, match="two files"), client(grey, log=tmp_path / "a", feedback=tmp_path / "a"):
        pass


def test_values_and_rows_take_labels_of_their_own(tmp_path: Path) -> None:
    values, table = page_sets.values(tmp_path / "values"), made_tables.make(tmp_path / "table" / "model", n=200)
    files = {"log": tmp_path / "log", "feedback": tmp_path / "labels"}
    with client(models=words_of(values=values, table=table), **files) as one:
        problem(give(one, {"id": _of_row(one, table), "label": 1.5}, "?model=values"), "label", "?model=table")
        for value in (2, -1.5, None):
            assert give(one, {"id": "request-9.0", "label": value}, "?model=values").json()["stored"] == 1
        for value in ("2", True, [], 10**400):
            problem(give(one, {"id": "request-9.0", "label": value}, "?model=values"))
        assert give(one, {"id": "request-8.0", "label": "kind1"}, "?model=table").status_code == 200
        problem(give(one, {"id": "request-8.0", "label": "kind1"}), "which-model")
    assert [line.label for line in read_feedback(tmp_path / "labels")] == [2.0, -1.5, None, "kind1"]


def _of_row(one: Client, table: Bundle) -> str:
    row = made_tables.galaxies(1)[0][0].tolist()
    told = one.post("/classify?model=table", json=dict(zip(table.table.column_names, row, strict=True)))
    return f"{told.json()['request_id']}.0"


def test_a_full_disk_is_told_every_time_and_costs_no_answer(grey: Bundle, tmp_path: Path) -> None:
    with client(grey, log=tmp_path / "log", feedback=Path("/dev/full")) as one:
        answered(one)
        for _ in range(3):
            assert problem(give(one, {"id": ID, "label": grey.classes[0]}), "storage").startswith("No label was stored")
        assert answered(one, name="request-2")


def test_what_others_wrote_is_known(grey: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"log": tmp_path / "log", "feedback": tmp_path / "labels"}
    monkeypatch.setattr(feedback, "RECENT", 3)
    yes, no = grey.classes[:2]
    with client(grey, **files) as one, client(grey, **files) as two:
        names = answered(one, 5)
        assert give(two, {"labels": [{"id": n, "label": yes} for n in names]}).json()["unknown"] == names[:2]
        desk, version = one.service.desk, one.service.models.pick().version
        assert desk is not None

        def known() -> dict[str, Any]:
            desk.refresh()
            return {name: desk.label(name)[0] for name in names if desk.label(name)}

        assert known() == dict.fromkeys(names, yes)
        assert desk.standing(version).ids == set(names[2:]), "of the answers that are remembered"
        assert desk.standing(version).counts.given == desk.standing(version).fair == 5
        give(two, {"id": names[0], "label": None})
        give(two, {"id": names[1], "label": no})
        assert known() == dict.fromkeys(names[2:], yes) | {names[1]: no}
        assert desk.standing(version).fair == 4
        (tmp_path / "labels").rename(tmp_path / "labels.1")
        assert known() == {}
        give(two, {"id": names[4], "label": no})
        with (tmp_path / "labels").open("a") as stream:
            stream.write('{"format":1,"id":"cut')
        assert known() == {names[4]: no}
        give(two, {"id": names[3], "label": no})
        assert known() == {names[4]: no, names[3]: no}
        (tmp_path / "labels").write_bytes((tmp_path / "labels.1").read_bytes() * 3)  # cut down, and grown since
        assert known() == dict.fromkeys(names[2:], yes) | {names[1]: no}


def test_what_is_forgotten_is_dropped(grey: Bundle, tmp_path: Path) -> None:
    files = {"log": tmp_path / "log", "feedback": tmp_path / "labels"}
    with client(grey, **files) as one:
        names = [*answered(one, 2), *answered(one, 1, "request-2")]
        give(one, {"labels": [{"id": name, "label": grey.classes[0]} for name in names]})
        desk, version = one.service.desk, one.service.models.pick().version
        assert desk is not None
        desk.refresh()
        assert desk.standing(version).fair == len(desk.answers) == 3
        forget([tmp_path / "log"], ["request-1"])
        desk.refresh()
        assert list(desk.answers) == names[2:], "of answers, while their labels stay"
        assert desk.standing(version).fair == 3
        forget([], ["request-1"], feedback=[tmp_path / "labels"])
        desk.refresh()
        assert [desk.label(name) is None for name in names] == [True, True, False]
        assert desk.standing(version).fair == 1
        assert give(one, {"id": names[0], "label": None}).json()["unknown"] == [names[0]]


def test_a_label_is_on_the_disk_before_it_is_called_stored(
    ask: Client, grey: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    answered(ask)
    monkeypatch.setattr(log.os, "fsync", failing)
    problem(give(ask, {"id": ID, "label": grey.classes[0]}), "storage")
    monkeypatch.undo()
    assert (tmp_path / "labels").read_bytes() == b""
    assert give(ask, {"id": ID, "label": grey.classes[0]}).json()["stored"] == 1


def test_a_known_class_spelled_in_another_way_is_no_new_one(ask: Client, grey: Bundle, tmp_path: Path) -> None:
    (first,) = answered(ask)
    name = grey.classes[0]
    for wrong in (name.upper(), f"{name[:1]} {name[1:]}"):
        problem(give(ask, {"id": first, "label": wrong, "new": True}), "label", f"send {name!r}")
    assert (tmp_path / "labels").read_bytes() == b""
    assert give(ask, {"id": first, "label": f" {name} ", "new": True}).json()["stored"] == 1
    assert gathered(tmp_path / "labels", grey.classes).labels == {first: name}


def test_answers_of_a_version_that_was_swapped_out_stay_its_models(grey: Bundle, tmp_path: Path) -> None:
    values = page_sets.values(tmp_path / "values")
    files = {"log": tmp_path / "log", "feedback": tmp_path / "labels"}
    with client(models=words_of(grey=grey, values=values), **files) as one:
        (name,) = answered(one, query="?model=grey")
        model, other = one.service.models.pick("grey"), one.service.models.pick("values")
        model.version = replace(other.version)
        problem(give(one, {"id": name, "label": 1.5}, "?model=values"), "label", "?model=grey")
        assert model.hashes == {grey.hash}


def test_a_long_file_of_labels_holds_no_other_request_up(
    ask: Client, grey: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (name,) = answered(ask)
    begun, go_on, waited = threading.Event(), threading.Event(), []
    whole = feedback.Desk._read_labels

    def slow(desk: feedback.Desk) -> None:
        begun.set()
        waited.append(go_on.wait(10))
        whole(desk)

    monkeypatch.setattr(feedback.Desk, "_read_labels", slow)
    page = f"/models/{ask.service.models.names()[0]}/label"
    words = {"files": {"id": (None, name), "label": (None, grey.classes[0])}, "headers": {"Accept": "text/html"}}
    asking = [
        threading.Thread(target=ask.get, args=(page,), kwargs={"headers": {"Accept": "text/html"}}),
        threading.Thread(target=ask.post, args=(page,), kwargs=words),
        threading.Thread(target=give, args=(ask, {"id": name, "label": grey.classes[0]})),
    ]
    for thread in asking:
        thread.start()
    assert begun.wait(10)
    for _ in range(5):
        assert ask.get("/healthz").status_code == 200
        time.sleep(0.02)
    assert not waited
    go_on.set()
    for thread in asking:
        thread.join(30)
    assert all(waited)


def test_two_workers_and_a_token(grey: Bundle, tmp_path: Path) -> None:
    files = ("--log", str(tmp_path / "log"), "--feedback", str(tmp_path / "labels"), "--workers", "2")
    token = "a-token-of-sixteen-and-more"
    env = {"ESTAMPA_SERVE_TOKEN": token}
    with running(str(grey.folder), *files, folder=tmp_path, env=env) as one:
        bearer = {"Authorization": f"Bearer {token}"}
        body = json.dumps({"id": ID, "label": grey.classes[0]}).encode()
        assert one.ask("POST", "/v1/feedback", body, "application/json")[0] == 401
        status, _ = one.ask("POST", "/v1/predict", npy_bytes(pictures(1)), NPY, X_Request_Id="request-1", **bearer)
        assert status == 200
        for _ in range(8):
            status, told = one.ask("POST", "/v1/feedback", body, "application/json", **bearer)
            assert (status, json.loads(told)) == (200, {"stored": 1, "unknown": []})
    assert len(list(read_feedback(tmp_path / "labels"))) == 8
