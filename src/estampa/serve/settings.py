"""What `estampa serve` is told, as one record that its workers share."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field

from estampa.errors import InputError
from estampa.recipe import Record

MEBI = 1 << 20


class Settings(Record):
    """All that rules a service. Sizes are bytes, times are seconds."""

    bundles: tuple[str, ...]  #: RUN, NAME=RUN or REGISTRY:NAME, as on the command line
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000  #: 0 = any that is free
    workers: Annotated[int, Field(ge=1, le=64)] = 1  #: processes
    threads: Annotated[int, Field(ge=0, le=256)] = 0  #: batches scored side by side in a process; 0 = by the processors
    allowed_hosts: tuple[str, ...] = ()  #: names by which it may be asked for, besides addresses and localhost
    root_path: str = ""  #: where a proxy serves it, as /estampa
    token: Annotated[str, Field(repr=False)] = ""  #: that every request must carry; "" = none
    log: Path | None = None  #: file of log lines; None = nothing of an answer is kept
    feedback: Path | None = None  #: file of labels that are given to answers of the log; None = none are taken
    keep: Path | None = None  #: folder of inputs kept by consent; None = none is ever kept
    retention: timedelta = timedelta(days=30)  #: how long an input is kept
    max_body: Annotated[int, Field(ge=1024)] = 32 * MEBI  #: of a request
    max_upload: Annotated[int, Field(ge=1024)] = 256 * MEBI  #: of a file for the batch page
    max_pixels: Annotated[int, Field(ge=1)] = 32_000_000  #: of one picture
    max_objects: Annotated[int, Field(ge=1)] = 10_000  #: of one request
    max_waiting: Annotated[int, Field(ge=1)] = 256  #: requests that wait to be scored, then 503
    body_seconds: Annotated[float, Field(gt=0)] = 30.0  #: for a whole body to arrive
    drain_seconds: Annotated[int, Field(ge=0)] = 30  #: for what has begun to be answered, after SIGTERM
    poll_seconds: Annotated[float, Field(gt=0)] = 1.0  #: between looks at a registry
    quiet: bool = False  #: no line for each request
    scratch: Path = Path()  #: a private folder that the workers share, made and cleared by `run`


def token_of(path: Path | None, value: str) -> str:
    """The token: of a file (its first line), or `value`; "" where neither is given."""
    if path is None:
        text = value
    else:
        try:
            text = (path.read_text(encoding="utf-8").splitlines() or [""])[0].strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError("the file of the token cannot be read", where=path, got=error) from error
        if not text:
            raise InputError("the file of the token is empty", where=path, cure="Write the token on its first line.")
    if text and (len(text) < 16 or not text.isascii() or not text.isprintable() or " " in text):
        raise InputError(
            "a token is long and plain", where="--token-file or ESTAMPA_SERVE_TOKEN",
            allowed="16 or more printable ASCII characters without blanks", got=f"{len(text)} characters",
            cure='Make one: python -c "import secrets; print(secrets.token_urlsafe())"',
        )  # fmt: skip
    return text
