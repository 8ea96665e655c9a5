"""How the service bears long work and faults: 200,000 requests, then what goes wrong while requests come in.

Each fault runs under a steady load at a given rate, which counts every request that fails and when; the service has two
workers, a log, and follows a registry. Nothing but 127.0.0.1 is asked.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import HOST, request, save
from benchmarks.serve import KINDS, questions, trained
from benchmarks.server import Facts, Server, ask, free_port
from benchmarks.sides import HERE

REQUESTS, CLIENTS = 200_000, 32
FLAT = 50e6  #: bytes that the memory may grow by
RATE, STEADY = 150.0, 12.0  #: requests a second, and seconds, of the load under which a fault happens
FAULT_AT = 3.0
SLOW, CLOSED = 40, 600  #: connections whose bodies trickle; connections that are closed early
BODY_SECONDS = 3.0
PATHS = {"npy": "/v1/predict", "json": "/classify"}


@dataclass
class Scene:
    """What every fault needs."""

    scratch: Path
    server: Server
    bodies: dict[str, list[bytes]]
    registry: Path
    log: Path
    notes: list[str] = field(default_factory=list)


def trial(scratch: Path, requests: int = REQUESTS) -> list[str]:
    """Rows of results.md."""
    run, other = trained(scratch), second(scratch)
    bodies, _, told = questions(run, scratch)
    both = [request("POST", PATHS[kind], body, KINDS[kind]) for kind in KINDS for body in bodies[kind]]
    save(scratch / "both.npz", both)
    lines = [
        "## The service under faults", "",
        f"Stamps of {told}. `estampa serve REGISTRY:champion --workers 2 --log FILE`; meanwhile {RATE:.0f} requests a second for {STEADY:.0f} s,",
        ".npy and JSON in turn, over 32 connections; the fault comes in the fourth second.", "",
        "| fault | requests | failed | p99, ms | what else was seen |", "| --- | ---: | --- | ---: | --- |",
    ]  # fmt: skip
    registry = scratch / "registry.jsonl"
    promote(run, registry, "first")
    faults: dict[str, Callable[[Scene], Iterator[None]]] = {
        "a worker is killed": killed,
        "another model is promoted, and rolled back": lambda scene: swapped(scene, other),
        "the log's disk is full, then has room again": full_log,
        f"{SLOW} bodies come at a byte a second": slow_bodies,
        f"{CLOSED} connections are closed early": closed_early,
    }
    for number, (name, fault) in enumerate(faults.items()):
        folder = scratch / f"fault{number}"
        folder.mkdir(exist_ok=True)
        with service(folder, registry, 2) as server:
            scene = Scene(folder, server, bodies, registry, folder / "answers.jsonl")
            lines.append(under_load(name, scene, fault, scratch / "both.npz"))
    return [*lines, "", *long_run(scratch, registry, requests)]


def second(scratch: Path) -> Path:
    """Another model of the same stamps, to swap to."""
    run = scratch / "other"
    if not run.exists():
        words = ["train", scratch / "stamps.h5", "--recipe", "stamps-fast", "-o", run, "--no-baselines", "--quiet"]
        estampa(*words, "--set", "evaluate.resamples=100")
    return run


def estampa(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "estampa", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def promote(run: Path, registry: Path, why: str) -> None:
    estampa("promote", run, "--registry", registry, "--why", why)


@contextlib.contextmanager
def service(folder: Path, registry: Path, workers: int) -> Iterator[Server]:
    port = free_port()
    words = [
        sys.executable, "-m", "estampa", "serve", f"{registry}:champion", "--port", port, "--workers", workers,
        "--log", folder / "answers.jsonl", "--body-seconds", BODY_SECONDS,
    ]  # fmt: skip
    with Server(words, port, folder / "server.log") as server:
        server.wait("/readyz")
        while ready_lines(server) < workers:
            time.sleep(0.05)
        yield server


def ready_lines(server: Server) -> int:
    """How often a worker has said that a model is ready."""
    return len(re.findall(r'"event": ?"ready"', server.log.read_text(errors="replace")))


def under_load(name: str, scene: Scene, fault: Callable[[Scene], Iterator[None]], requests: Path) -> str:
    """One row: the steady load, with the fault in it; a generator yields once, when it wants the load to end first."""
    print(f"  {name}", file=sys.stderr, flush=True)
    before = scene.server.facts()
    load = started(scene.server.port, requests, "--clients", 32, "--seconds", STEADY, "--rate", RATE)
    time.sleep(FAULT_AT)
    going = fault(scene)
    next(going)
    made = ended(load)
    next(going, None)
    bad = made["failures"]
    assert isinstance(bad, dict)
    failed = ", ".join(f"{count} {what}" for what, count in bad.items()) or "0"
    time.sleep(1)
    scene.notes += [handles(before, scene.server.facts()), readable(scene.log)]
    return f"| {name} | {made['requests']:,} | {failed} | {made['p99']:.0f} | {'; '.join(scene.notes)} |"


def started(port: int, requests: Path, *words: object) -> subprocess.Popen[str]:
    told = [sys.executable, "-m", "benchmarks.load", port, requests, *words, "--expect", '"predicted"']
    return subprocess.Popen([str(word) for word in told], stdout=subprocess.PIPE, text=True, cwd=HERE.parent)


def ended(load: subprocess.Popen[str]) -> dict[str, object]:
    text = load.communicate(timeout=3600)[0]
    if load.returncode:
        raise RuntimeError(f"the load generator ended with {load.returncode}")
    found: dict[str, object] = json.loads(text)
    return found


def readable(log: Path) -> str:
    """How many lines the log has, and how many of them are none."""
    from estampa.monitor.log import read_log

    faults: list[object] = []
    count = sum(1 for _ in read_log(log, faults.append))
    return f"{count:,} lines in the log, {len(faults)} damaged"


def killed(scene: Scene) -> Iterator[None]:
    """SIGKILL for one of the workers; how long until a new one is ready."""
    server = scene.server
    before = ready_lines(server)
    cpu = {pid: _cpu(pid) for pid in server.pids()[1:]}
    began = time.perf_counter()
    os.kill(max(cpu, key=cpu.__getitem__), signal.SIGKILL)
    while ready_lines(server) == before and time.perf_counter() - began < 30:
        time.sleep(0.01)
    scene.notes.append(f"a new one was ready after {time.perf_counter() - began:.1f} s")
    yield


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def swapped(scene: Scene, other: Path) -> Iterator[None]:
    """Promote another bundle by the registry, see it answer, roll back."""
    first = answering(scene)
    promote(other, scene.registry, "second")
    took = [until(lambda: len(answering(scene)) == 1 and answering(scene) != first)]
    estampa("rollback", "--registry", scene.registry, "--why", "back")
    took.append(until(lambda: answering(scene) == first))
    scene.notes.append(f"the new model answered after {took[0]:.1f} s, the old one again after {took[1]:.1f} s")
    yield


def answering(scene: Scene) -> set[str]:
    """Hashes of the models that answer, of several connections, so that both workers are likely asked."""
    said = [ask(scene.server.port, "POST", "/v1/predict", scene.bodies["npy"][0], KINDS["npy"]) for _ in range(12)]
    return {json.loads(text)["model"] for _, text in said}


def until(true: Callable[[], bool], seconds: float = 20.0) -> float:
    began = time.perf_counter()
    while not true():
        if time.perf_counter() - began > seconds:
            raise RuntimeError("it did not come about in time")
        time.sleep(0.05)
    return time.perf_counter() - began


def full_log(scene: Scene) -> Iterator[None]:
    """No file may grow for a while (RLIMIT_FSIZE of each process, as no disk may be filled here); then it may again."""
    pids, size = scene.server.pids(), scene.log.stat().st_size
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    time.sleep(3)
    held = scene.log.stat().st_size
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    yield
    text = ask(scene.server.port, "GET", "/metrics")[1].decode()
    lost = sum(float(v) for v in re.findall(r"^estampa_log_lost_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE))
    grown = scene.log.stat().st_size - held
    scene.notes.append(f"{lost:,.0f} log lines lost and counted; afterwards {grown / 1e3:,.0f} kB more were written")


def slow_bodies(scene: Scene) -> Iterator[None]:
    """Connections that send a body of 1,000 bytes at a byte a second; what they are told."""
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {KINDS['npy']}\r\nContent-Length: 1000\r\n\r\n"
    sockets = [socket.create_connection((HOST, scene.server.port), timeout=5) for _ in range(SLOW)]
    for one in sockets:
        one.sendall(head.encode())
    answers: dict[int, bytes] = {}
    began = time.perf_counter()
    while time.perf_counter() - began < BODY_SECONDS + 2:
        for number, one in enumerate(sockets):
            if number not in answers:
                with contextlib.suppress(TimeoutError, OSError):
                    one.sendall(b"\x93")
                    one.settimeout(0.001)
                    answers[number] = one.recv(4096)[9:12]
        time.sleep(0.5)
    for one in sockets:
        one.close()
    yield
    told = {code.decode() or "closed": list(answers.values()).count(code) for code in set(answers.values())}
    listed = ", ".join(f"{count} got {code}" for code, count in sorted(told.items())) or "none was answered"
    scene.notes.append(f"{listed} within {BODY_SECONDS + 2:.0f} s")


def closed_early(scene: Scene) -> Iterator[None]:
    """Connections that are reset: before anything, within the head, within the body, before the answer."""
    whole = request("POST", PATHS["npy"], scene.bodies["npy"][0], KINDS["npy"])
    for number in range(CLOSED):
        with socket.create_connection((HOST, scene.server.port), timeout=5) as one:
            one.sendall(whole[: (0, 30, len(whole) // 2, len(whole))[number % 4]])
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", number % 2, 0))
        time.sleep(0.005)
    yield


def handles(before: Facts, after: Facts) -> str:
    return f"{before.descriptors} open descriptors before the load, {after.descriptors} after it"


def long_run(scratch: Path, registry: Path, requests: int) -> list[str]:
    """Many requests to one process in a closed loop, with the memory and the descriptors of the service over time."""
    folder = scratch / "long"
    folder.mkdir(exist_ok=True)
    seen: list[Facts] = []
    with service(folder, registry, 1) as server:
        load = started(server.port, scratch / "both.npz", "--clients", CLIENTS, "--total", requests)
        while load.poll() is None:
            seen.append(server.facts())
            time.sleep(1)
        made = ended(load)
        after = server.facts()
        log = readable(folder / "answers.jsonl")
        code = server.stop()
    warm = seen[min(len(seen) - 1, 5) :]
    least, most = min(f.resident for f in warm), max(f.resident for f in warm)
    bad = made["failures"]
    assert isinstance(bad, dict)
    kept = "kept" if most - least <= FLAT and not bad else "not kept"
    failed = ", ".join(f"{count} {what}" for what, count in bad.items()) or "none"
    return [
        f"## The service over {requests:,} requests", "",
        f"One process, {CLIENTS} clients in a closed loop, .npy and JSON in turn, with a log; facts of the process once a second.", "",
        "| requests | failed | answers a second | p99, ms | resident after 5 s, MB | least to most after that, MB | at the end, MB | descriptors: first, most, last | log | exit code |",
        "| ---: | --- | ---: | ---: | ---: | --- | ---: | --- | --- | ---: |",
        (f"| {made['requests']:,} | {failed} | {made['per_second']:,.0f} | {made['p99']:.0f} | {warm[0].resident / 1e6:.0f} |"
         f" {least / 1e6:.0f} to {most / 1e6:.0f} | {after.resident / 1e6:.0f} |"
         f" {seen[0].descriptors}, {max(f.descriptors for f in seen)}, {after.descriptors} | {log} | {code} |"),
        "", f"Goal: memory flat within {FLAT / 1e6:.0f} MB and no failed request: {kept}.", "",
    ]  # fmt: skip
