"""What every race needs: the peers' environment, a script run as a process of its own, its JSON lines read."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
PEERS = HERE / ".peers"
median = statistics.median


def peers_python() -> Path:
    """The interpreter of the peers' environment, made and filled on first use."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        venv.create(PEERS, with_pip=True)
    wanted = (HERE / "peers" / "requirements.txt").read_text()
    stamp = PEERS / "installed.txt"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "-r", HERE / "peers" / "requirements.txt"], check=True
        )
        stamp.write_text(wanted)
    return python


def lines_of(*words: object) -> list[dict[str, object]]:
    """Run a script; its JSON lines, gathered. Its own words go to our stderr."""
    print("  $", " ".join(str(w) for w in words[1:]), file=sys.stderr, flush=True)
    ended = subprocess.run([str(w) for w in words], stdout=subprocess.PIPE, text=True, check=True, cwd=HERE.parent)
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def found(records: list[dict[str, object]], key: str, **where: object) -> float:
    """The value of `key` in the first record that has it and agrees with `where`."""
    for record in records:
        if key in record and all(record.get(k) == v for k, v in where.items()):
            return float(record[key])  # type: ignore[arg-type]
    raise KeyError(key)
