"""A service whose thread is still at work when it is told to stop."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import made_tables

#: A service in which reading a file, or giving the reasons of an answer, takes a minute.
STUCK = """
import sys, time
from pathlib import Path
from estampa.serve import why
from estampa.serve.inputs import Reader
from estampa.serve.run import serve
from estampa.serve.settings import Settings

def stuck(*_):
    Path(sys.argv[2]).touch()
    time.sleep(60)

Reader.file = why.explained = stuck
serve(Settings(bundles=(sys.argv[1],), port=0, drain_seconds=1), ready=lambda url: print(url, flush=True))
"""


@pytest.mark.parametrize("path", ["v1/predict", "models/sky?preset=0&why"])
def test_it_ends_all_the_same(tmp_path: Path, path: str) -> None:
    made_tables.make(tmp_path / "sky")
    begun = tmp_path / "begun"
    words = [sys.executable, "-c", STUCK, str(tmp_path / "sky"), str(begun)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.match(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
            assert url

            def ask() -> None:
                data = b"a,b\n1,2\n" if path == "v1/predict" else None
                asked = urllib.request.Request(url[0] + path, data, {"Content-Type": "text/csv"})
                with pytest.raises((urllib.error.URLError, ConnectionError)):
                    urllib.request.urlopen(asked, timeout=60)

            client = threading.Thread(target=ask)
            client.start()
            deadline = time.monotonic() + 30
            while not begun.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            assert begun.exists()
            process.send_signal(signal.SIGTERM)
            assert process.wait(8) == 0
            client.join(20)
            assert not client.is_alive()
        finally:
            process.kill()
