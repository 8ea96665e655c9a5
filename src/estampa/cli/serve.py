"""`estampa serve`: a REST API and a web page for one or more models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from estampa.cli.console import Console
from estampa.cli.options import Quiet

_ENV = "ESTAMPA_SERVE_"
_MEBI = 1 << 20


def command(
    runs: Annotated[list[str], typer.Argument(
        help="Run folders or bundles, as RUN or NAME=RUN; or REGISTRY:NAME, which follows the registry.",
        envvar=f"{_ENV}RUNS",
    )],
    host: Annotated[str, typer.Option(help="Address to listen on.", envvar=f"{_ENV}HOST")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 = any that is free.", envvar=f"{_ENV}PORT")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes.", envvar=f"{_ENV}WORKERS")] = 1,
    threads: Annotated[int, typer.Option(
        min=0, max=256, help="Batches scored side by side in a process; 0 = all.", envvar=f"{_ENV}THREADS",
    )] = 0,
    root_path: Annotated[str, typer.Option(help="A proxy's path, as /estampa.", envvar=f"{_ENV}ROOT_PATH")] = "",
    allowed_host: Annotated[list[str] | None, typer.Option(
        help="Name that a proxy passes on as Host; else addresses and localhost alone, where no token is asked for.",
        envvar=f"{_ENV}ALLOWED_HOST",
    )] = None,
    token_file: Annotated[Path | None, typer.Option(
        help="File whose first line every request must carry as its bearer token; or ESTAMPA_SERVE_TOKEN.",
        envvar=f"{_ENV}TOKEN_FILE",
    )] = None,
    log: Annotated[Path | None, typer.Option(
        help="File that gets a line for each answer, without its input; none = no log.", envvar=f"{_ENV}LOG",
    )] = None,
    feedback: Annotated[Path | None, typer.Option(
        help="File that gets the labels which people give to answers in the log; none = none are taken.",
        envvar=f"{_ENV}FEEDBACK",
    )] = None,
    keep: Annotated[Path | None, typer.Option(
        help="Folder for inputs whose senders consent; none = never.", envvar=f"{_ENV}KEEP",
    )] = None,
    retention: Annotated[str, typer.Option(
        help="How long such an input is kept, as 30d.", envvar=f"{_ENV}RETENTION",
    )] = "30d",
    max_body: Annotated[int, typer.Option(min=1, help="MiB of a request.", envvar=f"{_ENV}MAX_BODY")] = 32,
    max_upload: Annotated[int, typer.Option(
        min=1, help="MiB of a file for the batch page.", envvar=f"{_ENV}MAX_UPLOAD",
    )] = 256,
    max_pixels: Annotated[int, typer.Option(
        min=1, help="Pixels of one picture.", envvar=f"{_ENV}MAX_PIXELS",
    )] = 32_000_000,
    max_objects: Annotated[int, typer.Option(
        min=1, help="Objects of one request.", envvar=f"{_ENV}MAX_OBJECTS",
    )] = 10_000,
    body_seconds: Annotated[float, typer.Option(
        min=0.1, help="Seconds for a whole body to arrive.", envvar=f"{_ENV}BODY_SECONDS",
    )] = 30.0,
    drain_seconds: Annotated[int, typer.Option(
        min=0, help="Seconds for open requests after SIGTERM.", envvar=f"{_ENV}DRAIN_SECONDS",
    )] = 30,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Serve a page and an API for any models, on ONNX Runtime alone; nothing of a request is stored.

    Example: estampa serve runs/a stars=runs/b --port 8000
    """
    import os

    from estampa import machine

    machine.require("serve", *machine.EXTRAS["serve"], needed_for="estampa serve")
    from estampa.monitor.kept import retention_of
    from estampa.serve.run import serve
    from estampa.serve.settings import Settings, token_of

    settings = Settings(
        bundles=tuple(runs), host=host, port=port, workers=workers, threads=threads, root_path=_rooted(root_path),
        allowed_hosts=tuple(allowed_host or ()),
        token=token_of(token_file, os.environ.get(f"{_ENV}TOKEN", "")), log=log, feedback=feedback, keep=keep,
        retention=retention_of(retention), max_body=max_body * _MEBI, max_upload=max_upload * _MEBI,
        max_pixels=max_pixels, max_objects=max_objects, body_seconds=body_seconds, drain_seconds=drain_seconds,
        quiet=quiet,
    )  # fmt: skip
    console = Console(quiet=quiet)
    if host not in ("127.0.0.1", "localhost", "::1") and not settings.token:
        console.warn(f"it listens on {host} without a token: whoever reaches it can ask it. Cure: --token-file FILE")
        if keep is not None and feedback is not None:
            console.warn(
                "what was kept by consent is shown on the labelling page to whoever reaches it, without a token"
            )
    if log is None:
        console.say("Drift is not watched: that takes a log of the answers, --log FILE.")
    serve(settings, ready=lambda url: console.say(f"estampa serves {', '.join(runs)} at {url}  (Ctrl-C ends it)"))


def _rooted(path: str) -> str:
    """A proxy's path as "/a/b", "" for none."""
    inner = path.strip("/")
    return f"/{inner}" if inner else ""
