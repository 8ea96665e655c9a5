"""What stands around every request: token, other sites, headers, ids, limits; what is logged and kept, only that."""

from __future__ import annotations

import base64
import hmac
import json
import os
import resource
import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import HERE, Client, client, npy_bytes, picture_bytes, problem, until, words_of

import made_tables
from estampa.bundle.store import Bundle
from estampa.monitor.kept import Kept
from estampa.monitor.log import forget, read_log
from estampa.predict import predict
from estampa.serve import papers
from estampa.serve.problems import KINDS, Problem
from made_bundles import make, pictures

TOKEN = "a-token-of-a-test-0123456789"
NPY, PREDICT = "application/x-npy", "/v1/predict"
POLICY = "default-src 'none'"


@pytest.fixture(scope="module")
def grey(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("guarded") / "grey" / "model")


@pytest.fixture(scope="module")
def ask(grey: Bundle) -> Iterator[Client]:
    with client(grey) as one:
        yield one


@pytest.fixture(scope="module")
def locked(grey: Bundle) -> Iterator[Client]:
    with client(grey, token=TOKEN) as one:
        yield one


def sent(one: Client, images: np.ndarray | None = None, **headers: str) -> Any:
    body = npy_bytes(pictures(1) if images is None else images)
    return one.post(PREDICT, content=body, headers={"Content-Type": NPY, **headers})


def basic(password: str, user: str = "anyone") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ---------------------------------------------------------------------- the token


def test_the_token_opens(locked: Client) -> None:
    for header in (f"Bearer {TOKEN}", f"bearer {TOKEN}", basic(TOKEN), basic(TOKEN, ""), f"Bearer   {TOKEN}"):
        assert sent(locked, Authorization=header).status_code == 200, header
        assert locked.get("/v1/model", headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}",
        TOKEN, f"Token {TOKEN}", f"Basic {TOKEN}", basic("wrong"), basic(f"{TOKEN}:"), "Basic ====", "Basic ñ",
        f"Digest {TOKEN}", f"Bearer {TOKEN} {TOKEN}", "Bearer \x01\x02", "Basic " + "A" * 100_000,
    ],
)  # fmt: skip
def test_nothing_else_does(locked: Client, header: str) -> None:
    for path in (PREDICT, "/v1/model", "/v1/models", "/metrics", "/version", "/openapi.json", "/docs", "/nothing"):
        answer = locked.request("POST" if path == PREDICT else "GET", path, headers={b"authorization": header.encode()})
        assert TOKEN not in problem(answer, "token", "Authorization: Bearer")
        assert "Bearer" in answer.headers["www-authenticate"]
        assert "Basic" in answer.headers["www-authenticate"]
    for path in ("/healthz", "/readyz"):
        assert locked.get(path, headers={b"authorization": header.encode()}).status_code == 200


def test_the_token_is_compared_in_constant_time(locked: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    true = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: seen.append((a, b)) or true(a, b))
    for given in ("", "wrong", TOKEN):
        locked.get("/version", headers={"Authorization": f"Bearer {given}"})
    assert seen == [(b"", TOKEN.encode()), (b"wrong", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]


def test_the_token_is_nowhere_to_be_read(locked: Client) -> None:
    good = {"Authorization": f"Bearer {TOKEN}"}
    for path in ("/openapi.json", "/metrics", "/v1/model", "/docs", "/version"):
        assert TOKEN not in locked.get(path, headers=good).text
    assert TOKEN not in repr(locked.service.settings)


# ---------------------------------------------------------------------- other sites, the proxy's path


def test_pages_of_other_sites_are_refused(ask: Client) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:81", "http://[", "file://", "//127.0.0.1x", "ñ"):
        problem(ask.post(PREDICT, content=b"", headers={b"origin": origin.encode()}), "cross-site")
    assert sent(ask, Origin=HERE).status_code == 200
    assert sent(ask).status_code == 200
    assert ask.get("/v1/model", headers={"Origin": "http://evil.example"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "::1.evil"],
)
def test_another_name_that_leads_here_is_not_served(ask: Client, grey: Bundle, host: str) -> None:
    """DNS rebinding: a page of another site makes its own name an address of this machine."""
    problem(ask.get("/v1/models", headers={"Host": host}), "host")
    problem(ask.post(PREDICT, headers={"Host": host, "Origin": f"http://{host}"}), "host")


def test_addresses_and_allowed_names_are_served(ask: Client, grey: Bundle) -> None:
    for host in ("127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "localhost", "LOCALHOST:81", "a.localhost", "10.1.2.3"):
        assert ask.get("/v1/models", headers={"Host": host}).status_code == 200
    with client(grey, allowed_hosts=("stars.example",)) as one:
        assert one.get("/version", headers={"Host": "stars.example"}).status_code == 200
        problem(one.get("/version", headers={"Host": "other.example"}), "host")
    with client(grey, host="0.0.0.0") as one:  # to be reached by any name: it was told to be
        assert one.get("/version", headers={"Host": "other.example"}).status_code == 200
    with client(grey, token=TOKEN) as one:  # which no other page has
        one.headers["Authorization"] = f"Bearer {TOKEN}"
        assert one.get("/version", headers={"Host": "other.example"}).status_code == 200


def test_no_page_of_another_site_may_read(ask: Client) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (ask.options(PREDICT, headers=asked), ask.get("/v1/model", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_behind_a_proxy(grey: Bundle) -> None:
    with client(grey, root_path="/stars", token=TOKEN) as one:
        good = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/healthz", "/stars/healthz", "/stars/readyz"):  # whether the proxy cuts its part off or not
            assert one.get(path).status_code == 200, path
        for path in (PREDICT, f"/stars{PREDICT}"):
            answer = one.post(path, content=npy_bytes(pictures(1)), headers={"Content-Type": NPY, **good})
            assert answer.status_code == 200, path
        for answer in (one.get("/stars/version"), one.get("/stars/nothing", headers=good)):
            assert problem(answer)
            assert answer.json()["type"].startswith("/stars/docs#")
        tree = one.get("/stars/openapi.json", headers=good).json()
        assert tree["servers"] == [{"url": "/stars"}]


# ---------------------------------------------------------------------- headers, ids, faults


def every(one: Client) -> list[Any]:
    """Answers of every sort."""
    return [
        one.get("/healthz"), one.get("/readyz"), one.get("/version"), one.get("/metrics"), one.get("/v1/model"),
        one.get("/v1/models"), one.get("/openapi.json"), one.get("/docs"), one.get("/nothing"), one.get(PREDICT),
        one.post("/healthz"), one.options("/classify"), one.head("/version"), one.put(PREDICT), sent(one),
        one.post("/classify", json={}), one.post(PREDICT, content=b"x", headers={"Content-Type": "text/x"}),
        one.post(PREDICT, content=b"x", headers={"Origin": "http://evil"}), one.get("/v1/model?model=x"),
        one.post(PREDICT, content=b"x", headers={"Content-Length": str(1 << 40)}), one.get("/%00/../../etc/passwd"),
    ]  # fmt: skip


def test_every_answer_has_the_headers(ask: Client, grey: Bundle) -> None:
    for answer in every(ask):
        told = answer.headers
        assert told["x-content-type-options"] == "nosniff"
        assert told["x-frame-options"] == "DENY"
        assert told["referrer-policy"] == "same-origin"
        assert told["content-security-policy"].startswith(POLICY)
        assert "frame-ancestors 'none'" in told["content-security-policy"]
        assert told["cross-origin-opener-policy"] == told["cross-origin-resource-policy"] == "same-origin"
        assert "cache-control" in told
        assert "server" not in told
        assert len(told.get_list("x-request-id")) == 1
        for hidden in (str(grey.folder.parent), "/tmp/", "Traceback", "site-packages", os.sep + "root"):
            assert hidden not in answer.text, (answer.url, hidden)
        if answer.status_code >= 400 and answer.request.method != "HEAD":
            problem(answer)


def test_request_ids_are_echoed_when_they_are_plain(ask: Client) -> None:
    for given in ("abcdefgh", "2026.11-22_x", "A" * 64):
        answer = sent(ask, **{"X-Request-ID": given})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == given
        assert answer.json()["answers"][0]["request_id"] == given
    made = set()
    for given in (
        "",
        "short",
        "A" * 65,
        "with blank",
        "../../../etc/x",
        ".hidden.id",
        "ñññññññññ",
        "a\tbcdefgh",
        "-------x",
    ):
        found = ask.get("/healthz", headers={b"x-request-id": given.encode()}).headers["x-request-id"]
        assert len(found) == 32
        made.add(found)
    assert len(made) == 9


def test_a_fault_of_ours_tells_the_client_nothing(
    grey: Bundle, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"a secret of {grey.folder}")

    with client(grey, quiet=False) as one:
        monkeypatch.setattr(one.service, "answer", broken)
        monkeypatch.setattr(type(one.service.metrics), "text", broken)
        for answer in (sent(one), one.get("/metrics")):
            detail = problem(answer, "internal", "log")
            assert "secret" not in detail
        monkeypatch.undo()
        assert sent(one).status_code == 200
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    faults = [line for line in lines if line["level"] == "error"]
    assert len(faults) == 2
    assert all("a secret of" in line["traceback"] and line["request_id"] for line in faults)


def test_papers_are_those_of_the_model_that_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder may be moved or spoilt meanwhile; the description is made once for each version."""
    bundle = make(tmp_path / "model")
    with client(bundle) as one:
        asked: list[str] = []
        real = papers.answered
        monkeypatch.setattr(papers, "answered", lambda *words: asked.append("") or real(*words))
        before = one.get("/v1/model").json()
        assert len(before["card"]) > 100
        assert before["example"]
        bundle.folder.rename(tmp_path / "moved")
        assert one.get("/v1/model").json() == before
        described = [one.get("/openapi.json") for _ in range(3)]
        assert [answer.status_code for answer in described] == [200] * 3
        assert described[0].content == described[2].content
        assert len(asked) == 2  # for each of the two ways to ask
        assert one.get(f"/models/{one.service.models.names()[0]}").status_code == 200
        assert sent(one).status_code == 200


def test_a_model_that_fails_is_our_fault(grey: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from estampa.errors import BundleError
    from estampa.serve import queue

    def broken(*_: Any, **__: Any) -> None:
        raise BundleError("the model failed", where=grey.folder)

    monkeypatch.setattr(queue, "scored", broken)
    with client(grey) as one:
        assert str(grey.folder) not in problem(sent(one), "internal", "log")
        monkeypatch.undo()
        assert sent(one).status_code == 200


def test_every_kind_of_problem_was_seen(grey: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for each kind in KINDS; a kind that nothing can cause should not be told."""
    seen: dict[str, int] = {}

    def note(answer: Any) -> None:
        problem(answer)
        seen[answer.json()["type"].rpartition("#")[2]] = answer.status_code

    table = made_tables.make(tmp_path / "table" / "model", n=200, invalid="drop")
    png = picture_bytes(pictures(1)[0])
    with client(grey, log=tmp_path / "log", feedback=Path("/dev/full")) as one:
        note(one.get("/version", headers={"Host": "evil.example"}))
        note(one.post("/v1/feedback", json={"id": "request-1.0", "label": "nothing"}))
        note(one.post("/v1/feedback", json={"id": "request-1.0", "label": grey.classes[0]}))
    with client(models=words_of(a=grey, t=table), token=TOKEN, max_body=4096, body_seconds=0.2) as one:
        note(one.get("/version"))
        one.headers["Authorization"] = f"Bearer {TOKEN}"
        note(one.post("/v1/predict?model=a", content=b"{"))
        note(one.post("/v1/predict?model=a", content=b"{", headers={"Content-Type": "application/json"}))
        note(sent(one))
        note(sent(one, Origin="http://evil"))
        note(one.get("/v1/model?model=x"))
        note(one.put(PREDICT))
        note(one.post(PREDICT, content=b"x" * 5000))
        note(one.post("/v1/predict?model=t", content=png, headers={"Content-Type": "image/png"}))
        note(one.post("/v1/predict?model=a", content=png[:50], headers={"Content-Type": "image/png"}))
        note(one.post("/v1/predict?model=t", json={"rows": [dict.fromkeys(made_tables.COLUMNS)]}))

        async def full(*_: Any, **__: Any) -> None:
            raise Problem("busy", "Too many wait.", {"Retry-After": "1"})

        monkeypatch.setattr(one.service.queue, "answer", full)
        busy = one.post("/v1/predict?model=a", content=npy_bytes(pictures(1)), headers={"Content-Type": NPY})
        assert busy.headers["retry-after"] == "1"
        note(busy)
        monkeypatch.setattr(one.service.queue, "answer", lambda *_: 1 / 0)
        note(one.post("/v1/predict?model=a", content=npy_bytes(pictures(1)), headers={"Content-Type": NPY}))
    assert set(KINDS) - set(seen) == {"too-slow"}  # told over a socket, in test_hostile_wire.py
    assert all(KINDS[kind].status == status for kind, status in seen.items())


def test_too_many_waiting_are_told_so(grey: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    with client(grey, max_waiting=1, threads=1) as one:
        monkeypatch.setattr(one.service.queue, "_waiting", [None])
        answer = sent(one)
        problem(answer, "busy", "try again")
        assert answer.headers["retry-after"] == "1"


def test_limits_of_size_and_number(grey: Bundle) -> None:
    with client(grey, max_body=2048, max_objects=8, max_pixels=1000) as one:
        problem(one.post(PREDICT, content=b"0" * 2049), "too-large", "2,048", "--max-body")
        for length in ("2049", "9" * 30, "9" * 5000):
            problem(one.post(PREDICT, content=b"", headers={"Content-Length": length}), "too-large")
        for length in ("-1", "1e3", "0x10", "ñ", "1,1"):
            headers = {b"content-length": length.encode(), b"content-type": b"application/json"}
            problem(one.post(PREDICT, content=b"", headers=headers), "not-understood", "Content-Length")
        problem(one.post(PREDICT, content=iter([b"0" * 1500] * 2)), "too-large")  # chunked: nobody announced it
        problem(sent(one, pictures(9)), "too-large", "9", "8")
        assert sent(one, pictures(8)).status_code == 200
        problem(one.post(PREDICT, json={"images": pictures(9).tolist()}), "too-large")
        form = one.post(PREDICT, files=[("f", (f"{i}.png", b"x")) for i in range(9)])
        problem(form)
    coloured = make(grey.folder.parent / "sized" / "model", shape=(40, 40, 1))
    with client(coloured, max_pixels=1599) as one:
        png = picture_bytes(pictures(1, (40, 40, 1))[0])
        problem(one.post(PREDICT, content=png, headers={"Content-Type": "image/png"}), "unreadable", "pixels")


# ---------------------------------------------------------------------- what is logged, what is kept


def test_the_log_gets_a_line_for_each_answer_and_nothing_else(tmp_path: Path, grey: Bundle) -> None:
    log = tmp_path / "answers.jsonl"
    images = pictures(5, seed=4)
    with client(grey, log=log) as one:
        told = one.post(
            PREDICT, json={"images": images.tolist(), "ids": ["secret name"] * 5}, headers={"X-Request-ID": "request-1"}
        )
        assert told.status_code == 200
        assert "kept" not in told.json()
    raw = [json.loads(line) for line in log.read_text().splitlines()]
    assert all(
        list(line) == ["format", "id", "time", "model", "describe", "components", "output", "flags"] for line in raw
    )
    assert "secret name" not in log.read_text()
    lines = list(read_log(log))
    assert [line.id for line in lines] == [f"request-1.{i}" for i in range(5)]
    expected = predict(grey, images).probabilities
    assert np.array_equal(np.array([line.output for line in lines], np.float32), expected)
    assert {line.model for line in lines} == {grey.hash}
    assert log.stat().st_mode & 0o077 == 0
    found = forget([log], ["request-1"])
    assert found.lines == 5
    assert list(read_log(log)) == []


def test_without_a_log_nothing_is_written(tmp_path: Path, grey: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with client(grey) as one:
        assert sent(one, **{"X-Estampa-Consent": "true"}).json()["kept"] is False
        one.post(PREDICT, files=[("f", ("a.npy", npy_bytes(pictures(1))))])
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_kept_by_consent_alone(tmp_path: Path, grey: Bundle) -> None:
    keep = tmp_path / "kept"
    images = pictures(2, seed=4)
    listed = images.tolist()
    with client(grey, keep=keep, retention=timedelta(days=3)) as one:
        assert "kept" not in sent(one, images).json()
        for refused in ("false", "0", "", "maybe", "TRUEISH"):
            assert "kept" not in sent(one, images, **{"X-Estampa-Consent": refused}).json()
        assert "kept" not in one.post(PREDICT, json={"images": listed, "consent": False}).json()
        assert not keep.exists() or not list(keep.iterdir())
        told = sent(one, images, **{"X-Estampa-Consent": "true", "X-Request-ID": "by-header"}).json()
        assert told["kept"] is True
        for name, made in (
            ("by-json.1", lambda h: one.post(PREDICT, json={"images": listed, "consent": True}, headers=h)),
            ("classify.1", lambda h: one.post("/classify", json={"image": listed[0], "consent": True}, headers=h)),
            ("by-form.1", lambda h: one.post(PREDICT, files={"f": ("a.npy", npy_bytes(images))},
                                             data={"consent": "true"}, headers=h)),
        ):  # fmt: skip
            assert made({"X-Request-ID": name}).json()["kept"] is True, name
    store = Kept(keep)
    expected = "by-header.0 by-header.1 by-json.1.0 by-json.1.1 classify.1.0 by-form.1.0 by-form.1.1"
    assert set(store.ids()) == set(expected.split())
    one_input = store.read("by-header.1")
    assert np.array_equal(one_input.array, images[1])
    assert one_input.facts == {"model": grey.hash}
    assert timedelta(days=2.9) < one_input.expires - datetime.now().astimezone() < timedelta(days=3)
    assert store.forget("by-header") == 2


def test_kept_inputs_go_when_their_time_has_come(tmp_path: Path, grey: Bundle) -> None:
    keep = tmp_path / "kept"
    with client(grey, keep=keep, retention=timedelta(seconds=1)) as one:
        assert sent(one, **{"X-Estampa-Consent": "1"}).json()["kept"] is True
        assert list(keep.iterdir())
        until(lambda: not list(keep.iterdir()), 5, "kept inputs are still there")


def test_a_full_disk_loses_log_lines_and_no_answer(
    tmp_path: Path, grey: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    log, keep = tmp_path / "answers.jsonl", tmp_path / "kept"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with client(grey, log=log, keep=keep, quiet=True) as one:
        assert sent(one, pictures(1)).status_code == 200
        size = log.stat().st_size
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, limits[1]))
            for _ in range(3):
                answer = sent(one, pictures(3), **{"X-Estampa-Consent": "true"})
                assert answer.status_code == 200
                assert answer.json()["kept"] is False
            assert one.service.log is not None
            assert one.service.log.lost == 9
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert "estampa_log_lost_total 9.0" in one.get("/metrics").text
        assert sent(one, pictures(2)).status_code == 200
    assert len(list(read_log(log))) == 3
    assert not keep.exists() or not list(keep.iterdir())
    warned = [line for line in capsys.readouterr().err.splitlines() if "the log cannot be written" in line]
    assert len(warned) == 1  # said once, not for every request


def test_the_line_of_a_request_tells_nothing_of_its_sender(grey: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    with client(grey, quiet=False) as one:
        one.post(
            PREDICT, files={"f": ("secret-name.npy", npy_bytes(pictures(1)))}, headers={"User-Agent": "secret-agent"}
        )
        one.get("/v1/model?model=secret-model")
        one.get("/secret-path")
        one.get("/healthz")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["route"] for line in requests] == [PREDICT, "/v1/model", "other"]
    for line in requests:
        assert set(line) <= {"time", "level", "event", "request_id", "method", "route", "status", "ms", "bytes"}
    assert "secret" not in json.dumps(lines)
