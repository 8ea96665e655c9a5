"""A service under measurement: its processes started, watched through /proc, paused, stopped; single questions to it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import HOST

TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Facts:
    """Of all processes of a service: resident bytes (sum), open descriptors, processor seconds, threads, processes."""

    resident: int
    descriptors: int
    cpu: float
    threads: int
    processes: int


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def ask(port: int, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    try:
        connection.request(method, path, body or None, {"Content-Type": kind} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Others:
    """What else the machine does: processor seconds that are neither this process's, its children's nor a service's."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self._servers = servers
        self._began, self._before = time.perf_counter(), self._seconds()

    def _seconds(self) -> float:
        user, nice, system = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:4]
        own = os.times()
        ours = sum(own[:4]) + sum(server.facts().cpu for server in self._servers)
        return (int(user) + int(nice) + int(system)) / TICK - ours

    def words(self) -> str:
        """How many processors were taken since this was made, as a sentence."""
        share = (self._seconds() - self._before) / (time.perf_counter() - self._began)
        return f"Other work took {max(share, 0):.1f} of the machine's {os.cpu_count()} processors meanwhile."


class Server:
    """A service in a session of its own; what it says goes to `log`. Use as a context.

    OMP_NUM_THREADS is taken out of its environment: each side rules its threads itself.
    """

    def __init__(self, words: Sequence[object], port: int, log: Path) -> None:
        self.port, self.log = port, log
        env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        self.began = time.perf_counter()
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                [str(word) for word in words], stdout=stream, stderr=stream, stdin=subprocess.DEVNULL,
                start_new_session=True, env=env,
            )  # fmt: skip

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self, path: str, seconds: float = 60.0) -> float:
        """Until GET `path` is answered by 200; returns the seconds since the start."""
        while time.perf_counter() - self.began < seconds:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                if ask(self.port, "GET", path)[0] == 200:
                    return time.perf_counter() - self.began
            time.sleep(0.02)
        raise RuntimeError(f"the service did not become ready:\n{self.log.read_text(errors='replace')[-2000:]}")

    def pids(self) -> list[int]:
        """The processes of its session, the first one first."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) == self.process.pid and fields[0] != "Z":
                        found.append(int(entry.name))
        return sorted(found, key=lambda pid: (pid != self.process.pid, pid))

    def facts(self) -> Facts:
        resident = descriptors = threads = processes = 0
        cpu = 0.0
        for pid in self.pids():
            with contextlib.suppress(OSError):  # a process may end meanwhile
                proc = Path(f"/proc/{pid}")
                fields = (proc / "stat").read_text().rpartition(")")[2].split()
                resident += int((proc / "statm").read_text().split()[1]) * PAGE
                descriptors += len(list((proc / "fd").iterdir()))
                cpu += (int(fields[11]) + int(fields[12])) / TICK
                threads += int(fields[17])
                processes += 1
        return Facts(resident, descriptors, cpu, threads, processes)

    def pause(self) -> None:
        """Stop all its processes where they are, so that they take no time from another side."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, ten seconds, then what is left is killed; the exit code."""
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()
