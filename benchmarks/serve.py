"""The race of services: one stamp a request, ours beside plain FastAPI with eager PyTorch and LitServe, same net."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import request, save
from benchmarks.server import Others, Server, ask, free_port
from benchmarks.sides import HERE, found, lines_of, peers_python

STAMPS, CHECKED = 64, 16
CLIENTS = (1, 8, 64)
TURNS, SECONDS = 3, 2.0
HALF_SECONDS = 15.0
AGREE = 1e-5
TRAIN = {"train.pretrain": "none", "train.epochs": 2, "evaluate.resamples": 100}
KINDS = {"npy": "application/x-npy", "json": "application/json"}
Records = list[dict[str, object]]


@dataclass(frozen=True)
class Side:
    """A service with a name in the table: the command at a port, path by kind of body, what says that it is ready."""

    name: str
    words: Callable[[int], list[object]]
    paths: dict[str, str]
    ready: str
    ours: bool = False


def race(scratch: Path) -> list[str]:
    """Rows of results.md."""
    run = trained(scratch)
    bodies, expected, told = questions(run, scratch)
    made: dict[tuple[str, str, int], Records] = {}
    halves: Records = []
    with contextlib.ExitStack() as stack:
        started = list(start(sides(run), scratch, stack))
        worst = {side.name: agreement(side, server, bodies, expected) for side, server in started}
        for _, server in started:
            server.pause()
        others = Others([server for _, server in started])
        for _ in range(TURNS):
            for side, server in started:
                server.resume()
                for kind, clients in ((k, c) for k in side.paths for c in CLIENTS):
                    made.setdefault((side.name, kind, clients), []).append(
                        drive(scratch, side, server, bodies, kind, "--clients", clients, "--seconds", SECONDS)
                    )
                server.pause()
        side, server = next(pair for pair in started if pair[0].ours)
        server.resume()
        for kind in KINDS:
            rate = 0.5 * max(best(made[side.name, kind, c]) for c in CLIENTS)
            words = ("--clients", 128, "--seconds", HALF_SECONDS, "--rate", rate)
            halves.append(drive(scratch, side, server, bodies, kind, *words) | {"kind": kind})
        busy = others.words()
    return [*rows(told, made, worst), *half_rows(halves), busy, ""]


def trained(scratch: Path) -> Path:
    """A run of the recipe `stamps` on simulated stamps: its net and views; two passes are enough to be measured."""
    learned, run = scratch / "stamps.h5", scratch / "stamps"
    if not run.exists():
        told = [word for key, value in TRAIN.items() for word in ("--set", f"{key}={value}")]
        for words in (
            ["build", "simulate", "-o", learned, "--option", "n=1200", "--option", "seed=1"],
            ["train", learned, "--recipe", "stamps", "-o", run, "--no-baselines", *told],
        ):
            subprocess.run([sys.executable, "-m", "estampa", *map(str, words), "--quiet"], check=True)
    return run


def sides(run: Path) -> list[Side]:
    peers, python = HERE / "peers", peers_python()
    both = {kind: f"/{kind}" for kind in KINDS}
    plain = (python, peers / "serve_fastapi.py", run / "model")
    lit = (python, peers / "serve_litserve.py", run / "model")
    return [
        Side("plain FastAPI + eager PyTorch, in the event loop", lambda p: [*plain, p], both, "/openapi.json"),
        Side("the same, in FastAPI's pool of threads", lambda p: [*plain, p, "--pool"], both, "/openapi.json"),
        Side("LitServe + eager PyTorch", lambda p: [*lit, p, "npy"], {"npy": "/npy"}, "/health"),
        Side("LitServe + eager PyTorch", lambda p: [*lit, p, "json"], {"json": "/json"}, "/health"),
        Side(
            "estampa serve", lambda p: [sys.executable, "-m", "estampa", "serve", run, "--port", p],
            {"npy": "/v1/predict", "json": "/classify"}, "/readyz", ours=True,
        ),
    ]  # fmt: skip


def start(asked: list[Side], scratch: Path, stack: contextlib.ExitStack) -> Iterator[tuple[Side, Server]]:
    """Each side's service, ready."""
    for number, side in enumerate(asked):
        port = free_port()
        server = stack.enter_context(Server(side.words(port), port, scratch / f"service{number}.log"))
        server.wait(side.ready)
        yield side, server


def questions(run: Path, scratch: Path) -> tuple[dict[str, list[bytes]], list[dict[str, float]], str]:
    """Bodies by kind, of stamps without a missing pixel; the bundle's own probabilities; what the net is, in words."""
    import numpy as np

    from estampa.bundle.store import Bundle
    from estampa.data.dataset import Dataset

    bundle, dataset = Bundle.open(run), Dataset.open(scratch / "stamps.h5")
    images = dataset.take(np.arange(4 * STAMPS))
    images = images[np.isfinite(images).all(axis=(1, 2, 3))][:STAMPS]
    assert len(images) == STAMPS
    bodies: dict[str, list[bytes]] = {"npy": [], "json": []}
    for image in images:
        packed = io.BytesIO()
        np.save(packed, image[None])
        bodies["npy"].append(packed.getvalue())
        bodies["json"].append(json.dumps({"image": image.tolist()}).encode())
    output = bundle.score(images[:CHECKED]).output.tolist()
    expected = [dict(zip(bundle.classes, row, strict=True)) for row in output]
    sizes = ", ".join(f"{len(b[0]) / 1e3:.0f} kB as {kind}" for kind, b in bodies.items())
    told = f"{' x '.join(map(str, images.shape[1:]))} float32, {sizes}; {bundle.manifest.model['counted']}"
    return bodies, expected, told


def agreement(side: Side, server: Server, bodies: dict[str, list[bytes]], expected: list[dict[str, float]]) -> float:
    """The largest difference of a probability from the bundle's own; RuntimeError beyond `AGREE`."""
    worst = 0.0
    for kind, path in side.paths.items():
        for body, wanted in zip(bodies[kind], expected, strict=False):
            status, text = ask(server.port, "POST", path, body, KINDS[kind])
            said = json.loads(text) if status == 200 else {}
            said = said.get("answers", [said])[0]
            if status != 200 or said["predicted"] != max(wanted, key=wanted.__getitem__):
                raise RuntimeError(f"{side.name} answers {status} {text[:300]!r} in place of {wanted}")
            worst = max(worst, *(abs(said["probabilities"][name] - p) for name, p in wanted.items()))
    if worst > AGREE:
        raise RuntimeError(f"{side.name} differs from the bundle by {worst:g}")
    return worst


def drive(
    scratch: Path, side: Side, server: Server, bodies: dict[str, list[bytes]], kind: str, *words: object
) -> dict[str, object]:
    """One run of the load generator, with the service's processor milliseconds a good answer."""
    target = scratch / "requests.npz"
    save(target, [request("POST", side.paths[kind], body, KINDS[kind]) for body in bodies[kind]])
    before = server.facts().cpu
    made = lines_of(sys.executable, "-m", "benchmarks.load", server.port, target, *words, "--expect", '"predicted"')[0]
    if made["failures"]:
        raise RuntimeError(f"{side.name}: {made['failures']}")
    return made | {"cpu_ms": 1e3 * (server.facts().cpu - before) / found([made], "requests")}


def best(records: Records) -> float:
    return max(found([record], "per_second") for record in records)


def fastest(records: Records) -> dict[str, object]:
    """The turn with the most answers a second: what else the machine does can only lower it."""
    return max(records, key=lambda record: found([record], "per_second"))


def rows(told: str, made: dict[tuple[str, str, int], Records], worst: dict[str, float]) -> list[str]:
    """The table, and how often ours is as fast as the faster of the plain ways."""
    lines = [
        "## Services: one stamp a request, answers a second", "",
        f"Stamps of {told}, recipe `stamps`, eight views.",
        "All sides: one thread a net, one process (LitServe: two and its manager), all processors of the machine, which they share with",
        f"the load generator; closed loop over kept connections to 127.0.0.1. The best of {TURNS} turns of {SECONDS:.0f} s each, sides in turn;",
        f"quantiles of that turn. Idle sides are stopped. Answers agree with the bundle's to {max(worst.values()):.0e}, which is checked first.", "",
        "| body | way | clients | answers a second | ratio | p50, ms | p95, ms | p99, ms | processor ms an answer |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    names = list(dict.fromkeys(name for name, _, _ in made))
    for kind in KINDS:
        for name in names:
            for clients in CLIENTS:
                turn = fastest(made[name, kind, clients])
                base = max(best(made[n, kind, clients]) for n in names[:2])
                values = " | ".join(f"{found([turn], key):.1f}" for key in ("p50", "p95", "p99", "cpu_ms"))
                rate = found([turn], "per_second")
                lines.append(f"| {kind} | {name} | {clients} | {rate:,.0f} | {rate / base:.2f} | {values} |")
    return [*lines, "", *ratios(made, names), ""]


def ratios(made: dict[tuple[str, str, int], Records], names: list[str]) -> list[str]:
    lines = []
    for kind, goal in (("npy", 3), ("json", 2)):
        most = {name: max(best(made[name, kind, c]) for c in CLIENTS) for name in names}
        spent = {name: min(found([r], "cpu_ms") for c in CLIENTS for r in made[name, kind, c]) for name in names}
        ours = most[names[-1]]
        lines.append(
            f"{kind}: at its best number of clients ours gives {ours / most[names[0]]:.1f} times the answers of the plain endpoint in the"
            f" event loop, {ours / max(most[n] for n in names[:2]):.1f} times those of the faster plain one, {ours / most[names[2]]:.1f} times those of"
            f" LitServe; by processor time {min(spent[n] for n in names[:2]) / spent[names[-1]]:.1f} times the cheaper plain one."
            f" Goal: at least {goal} times the plain one."
        )
    return lines


def half_rows(halves: Records) -> list[str]:
    lines = [
        "## Services: latency at half of our own maximum", "",
        f"Requests fall due at random with a fixed mean rate, answered or not, {HALF_SECONDS:.0f} s; a latency counts from when the request was due.",
        "", "| body | asked a second | answered a second | p50, ms | p95, ms | p99, ms | longest, ms |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for half in halves:
        values = " | ".join(f"{found([half], key):.1f}" for key in ("p50", "p95", "p99", "most"))
        rates = f"{found([half], 'rate'):,.0f} | {found([half], 'per_second'):,.0f}"
        lines.append(f"| {half['kind']} | {rates} | {values} |")
    return [*lines, "", "Goal: p99 under 50 ms.", ""]
