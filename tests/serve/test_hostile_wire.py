"""What goes over a socket: heads and bodies that are slow, cut, false, too long; and many at once."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
from hostile import MEBI
from served import Running, drained, head, npy_bytes, running, statuses, until

from estampa.serve.problems import MEDIA
from made_bundles import make, pictures

BODY = npy_bytes(pictures(1))
NPY = "Content-Type: application/x-npy"
GOOD = head("/v1/predict", NPY, f"Content-Length: {len(BODY)}") + BODY
LAST = GOOD.replace(b"Content-Type", b"Connection: close\r\nContent-Type")
QUICK = "from estampa.serve import wire; wire.HEAD_SECONDS = 1.0"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("wire")
    bundle = make(folder / "model")
    with running(str(bundle.folder), "--body-seconds", "1", "--max-body", "1", setup=QUICK, folder=folder) as one:
        yield one


@pytest.fixture(autouse=True)
def _answers_on(service: Running) -> Iterator[None]:
    """After each test the service answers, and has let go of what the test had opened."""
    before = service.descriptors()
    yield
    assert statuses(service.raw(LAST)) == [200]
    until(lambda: service.descriptors() <= before + 2, 5, "connections stay open")
    assert not [line for line in service.lines() if line["level"] == "error"], service.text()[-2000:]


@pytest.mark.parametrize(
    "sent",
    [
        b"\0" * 100, b"GET\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(80), b"GET / HTTP/9.9\r\n\r\n",
        b"get / http/1.1\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\n\r\n", head("/", "Content-Length: -1"), head("/", "Content-Length: 1, 2"),
        head("/", "Content-Length: 99999999999999999999999"), head("/", "Content-Length: 5", "Content-Length: 6"),
        head("/", "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n", head("/", "Transfer-Encoding: x"),
        head("/v1/predict", NPY, "Transfer-Encoding: chunked") + b"zz\r\n",
        head("/v1/predict", NPY, "Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n", head("/", "X: a\0b"),
        head("/", "X\0: b"), head("http://evil.example/x", method="GET"), head("//evil.example/", method="GET"),
        head("/" + "a" * 9000, method="GET"), head("/%", method="GET"), head("/%ff%fe%00", method="GET"),
        head("/?" + "a=b&" * 9000, method="GET"), head("/?model=%ff", method="GET"), head("/", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", method="GET"),
    ],
    ids=lambda sent: ascii(sent[:40]),
)  # fmt: skip
def test_heads_that_are_none(service: Running, sent: bytes) -> None:
    with service.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        found = drained(connection)
    codes = statuses(found)
    assert all(code < 500 for code in codes), found[:500]
    if codes and codes[0] == 400:
        assert MEDIA.encode() in found
        assert json.loads(found[found.index(b"\r\n\r\n") + 4 :].partition(b"\nHTTP")[0])["detail"].endswith(".")


def test_vast_heads_are_cut_off(service: Running) -> None:
    before = service.peak()
    for one in (
        b"GET /" + b"a" * 40 * MEBI, b"GET / HTTP/1.1\r\nX: " + b"a" * 40 * MEBI,
        b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 6_000_000, b"A" * 40 * MEBI,
        head("/v1/predict", NPY, "Transfer-Encoding: chunked") + b"0\r\n" + b"X: a\r\n" * 6_000_000,
    ):  # fmt: skip
        began = time.monotonic()
        found = service.raw(one)
        assert all(400 <= code < 500 for code in statuses(found)), found[:300]
        assert time.monotonic() - began < 10
    assert service.peak() - before < 64 * MEBI


def test_slow_heads_are_cut_off(service: Running) -> None:
    for pieces in ([b""], [b"GET / HT"], [b"GET / HTTP/1.1\r\n", b"X: a\r\n", b"Y: b\r\n"]):
        with service.connect() as connection:
            began = time.monotonic()
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(0.1)
            assert drained(connection) == b""
            assert time.monotonic() - began < 4


def test_slow_bodies_get_408(service: Running) -> None:
    for announced in (f"Content-Length: {len(BODY)}", "Transfer-Encoding: chunked"):
        with service.connect() as connection:
            connection.sendall(head("/v1/predict", NPY, announced) + b"1\r\nx\r\n")
            began = time.monotonic()
            found = drained(connection)
            assert statuses(found) == [408], found[:300]
            assert b"#too-slow" in found
            assert time.monotonic() - began < 4


def test_sockets_closed_early(service: Running) -> None:
    for at in (1, 20, 60, len(GOOD) - len(BODY), len(GOOD) - 5, len(GOOD)):
        for _ in range(5):
            with service.connect() as connection:
                connection.sendall(GOOD[:at])
                if at % 2:  # with a reset
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_bodies_beyond_the_limit(service: Running) -> None:
    vast = bytes(3 * MEBI)
    before = service.peak()
    assert statuses(service.raw(head("/v1/predict", NPY, f"Content-Length: {len(vast)}") + vast)) == [413]
    piece = b"%x\r\n" % 65_536 + bytes(65_536) + b"\r\n"
    assert statuses(service.raw(head("/v1/predict", NPY, "Transfer-Encoding: chunked") + piece * 40)) == [413]
    assert statuses(service.raw(head("/v1/predict", NPY, f"Content-Length: {100 * MEBI}") + bytes(100 * MEBI))) == [413]
    assert statuses(service.raw(head("/v1/predict", NPY, "Content-Length: 5000000", "Expect: 100-continue"))) == [413]
    assert service.peak() - before < 64 * MEBI


def test_lengths_that_lie(service: Running) -> None:
    short = head("/v1/predict", NPY, f"Content-Length: {len(BODY) + 10}") + BODY
    assert statuses(service.raw(short)) == [408]
    long = head("/v1/predict", NPY, f"Content-Length: {len(BODY) - 10}") + BODY  # what is left is no head
    assert statuses(service.raw(long)) in ([422], [422, 400])
    nothing = head("/v1/predict", NPY, "Connection: close")
    assert statuses(service.raw(nothing)) == [400]


def test_pipelined_requests_are_answered_in_order(service: Running) -> None:
    found = service.raw(GOOD * 30 + head("/nothing", method="GET") + LAST)
    assert statuses(found) == [200] * 30 + [404, 200]


def test_many_connections(service: Running) -> None:
    with contextlib.ExitStack() as stack:
        many = [stack.enter_context(service.connect()) for _ in range(300)]
        for connection in many[:150]:
            connection.sendall(GOOD[:100])
        for connection in many[150:]:
            connection.sendall(LAST)
        assert all(statuses(drained(connection)) == [200] for connection in many[150:])
