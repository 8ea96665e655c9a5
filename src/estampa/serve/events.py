"""The server's own log: JSON lines on stderr, one a request, without addresses, names or contents of anybody."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

_GATHER = 0.05  #: seconds: a write for each request costs more than the line
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class Events:
    """Writes what happens, whole lines at a time. `quiet` leaves the lines of requests out."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream, self.quiet = stream or sys.stderr, quiet
        self._lines: list[str] = []
        self._mutex = threading.Lock()

    def say(self, event: str, **facts: Any) -> None:
        """Something happened."""
        self._write("info", event, facts)

    def warn(self, event: str, **facts: Any) -> None:
        """Something went wrong, and the service goes on."""
        self._write("warning", event, facts)

    def request(self, **facts: Any) -> None:
        """A request was answered. Its line may wait for `_GATHER` seconds, and goes out with those of others.

        To be called in the event loop.
        """
        if self.quiet:
            return
        line = _line("info", "request", facts)
        with self._mutex:
            self._lines.append(line)
            first = len(self._lines) == 1
        if first:
            asyncio.get_running_loop().call_later(_GATHER, self.flush)

    def fault(self, event: str, trace: str, **facts: Any) -> None:
        """A fault of ours, with its traceback: for the server's log alone."""
        self._write("error", event, {**facts, "traceback": trace})

    def flush(self) -> None:
        """Write the lines that wait."""
        self._out("")

    def _write(self, level: str, event: str, facts: dict[str, Any]) -> None:
        self._out(_line(level, event, facts))

    def _out(self, line: str) -> None:
        with self._mutex:
            waiting, self._lines = self._lines, []
        try:
            self._stream.write("".join(waiting) + line)
            self._stream.flush()
        except (OSError, ValueError):  # a full disk, or nobody reads it any more: these lines are lost, no answer is
            return


def _line(level: str, event: str, facts: dict[str, Any]) -> str:
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {k: v for k, v in facts.items() if v not in ("", None)}
    return _encode({"time": time, "level": level, "event": event, **told}) + "\n"


class JsonFormatter(logging.Formatter):
    """The records of other libraries (uvicorn) in the same shape."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        told = {"time": time, "level": record.levelname.lower(), "event": record.getMessage(), "from": record.name}
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


#: For uvicorn: its own lines as JSON on stderr; ours of requests say more than its access log.
LOGGING: dict[str, Any] = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"json": {"()": "estampa.serve.events.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "json"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
        "python_multipart": {"level": "CRITICAL"},  # it would quote each damaged form; the answer says what is wrong
    },
}  # fmt: skip
