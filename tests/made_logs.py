"""Log lines for the tests, and processes that write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from estampa.monitor.log import read_log

#: As an estampa of today writes it: every later one must read it.
FORMAT_1 = (
    '{"format":1,"id":"4f1c.0","time":"2026-11-22T17:26:06.123Z","model":"0de2d7149222","describe":[100.4,null],'
    '"components":[0.5,0,0,0,0,0,0,-1e-07],"output":[0.25,0.75],"flags":["low_confidence"]}'
)
MANY = """
import sys, time
from estampa.monitor.log import LogWriter
writer = LogWriter(sys.argv[1])
line = {line}
print("ready", flush=True)
for i in range(int(sys.argv[3])):
    writer.append([line | {{"id": f"{{sys.argv[2]}}-{{i}}"}}])
    time.sleep(float(sys.argv[4]))
"""


def line(name: str = "a", **more: Any) -> dict[str, Any]:
    return json.loads(FORMAT_1) | {"id": name} | more


def ids(path: Path) -> list[str]:
    return [found.id for found in read_log(path)]


def appending(path: Path, name: str, count: int, pause: float = 0) -> subprocess.Popen[str]:
    """A process that appends `count` lines NAME-0, NAME-1, ... one by one, and is about to begin."""
    program = MANY.format(line=repr(line()))
    words = [sys.executable, "-c", program, str(path), name, str(count), str(pause)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
    return process
