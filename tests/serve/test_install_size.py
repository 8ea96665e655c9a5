"""The steps of docker/Dockerfile in a clean virtual environment: how large it is, and how soon it answers."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from made_bundles import make

ROOT = Path(__file__).parents[2]
LARGEST, SLOWEST = 350e6, 2.0  # bytes of the install; seconds from the start of the process to ready


def python312() -> str:
    """A Python of the image's version; the test is skipped where there is none."""
    here = [sys.executable, shutil.which("python3.12") or ""]
    pyenv = sorted(map(str, Path("~/.pyenv/versions").expanduser().glob("3.12.*/bin/python3.12")))
    for name in filter(None, [*here, *pyenv]):
        told = subprocess.run(
            [name, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True, check=False
        )
        if told.stdout.strip() == "(3, 12)":
            return name
    pytest.skip("no Python 3.12, the image's, is installed")


def run(*words: str | Path) -> None:
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-3000:]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The virtual environment of the image's build."""
    room = tmp_path_factory.mktemp("image")
    environment, tools = room / "estampa", room / "tools"
    run(python312(), "-m", "venv", "--without-pip", environment)
    run(python312(), "-m", "venv", tools)
    pip = [tools / "bin" / "python", "-m", "pip"]
    locked = ["--no-cache-dir", "--require-hashes", "--no-deps", "--only-binary=:all:", "--requirement"]
    into = ["--python", str(environment / "bin" / "python")]
    run(*pip, *into, "install", *locked, "docker/requirements.txt")
    run(*pip, "install", *locked, "docker/build-requirements.txt")
    run(*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", room / "dist", ".")
    run(*pip, *into, "install", "--no-index", "--no-deps", *(room / "dist").glob("*.whl"))
    return environment


def disk(folder: Path) -> int:
    """Bytes that its files take on the disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def seconds_to_ready(words: list[str | Path], environment: dict[str, str]) -> float:
    """From the start of the process to the first 200 of /readyz, asked every 10 ms; the service is then ended."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    began = time.perf_counter()
    with subprocess.Popen([*words, "--port", str(port)], env=environment, stderr=subprocess.PIPE, text=True) as service:
        try:
            while time.perf_counter() < began + 60:
                assert service.poll() is None, service.stderr and service.stderr.read()
                asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                try:
                    asked.request("GET", "/readyz")
                    if asked.getresponse().status == 200:
                        return time.perf_counter() - began
                except ConnectionError:
                    time.sleep(0.01)
                finally:
                    asked.close()
        finally:
            service.send_signal(signal.SIGTERM)
            service.communicate(timeout=40)
    pytest.fail("not ready within a minute")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_serve_install_is_small_and_starts_at_once(installed: Path, tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    size = disk(installed)
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ESTAMPA_", "COV"))}
    plain["PYTHONDONTWRITEBYTECODE"] = "1"
    times = [
        seconds_to_ready([installed / "bin" / "estampa", "serve", tmp_path / "bundle", "--quiet"], plain)
        for _ in range(5)
    ]
    print(f"\ninstall {size / 1e6:.0f} MB; start to ready {', '.join(f'{t:.2f}' for t in times)} s")
    assert size < LARGEST
    assert min(times) < SLOWEST  # the others say how busy the machine was
