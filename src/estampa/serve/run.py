"""Run the service: bind, open the models, serve, drain, in one process or in several."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from estampa.errors import EstampaError, InputError
from estampa.files import write_atomic
from estampa.serve.events import LOGGING
from estampa.serve.feedback import desk_of
from estampa.serve.metrics import SHARED, Metrics
from estampa.serve.models import Models
from estampa.serve.service import POOLS
from estampa.serve.settings import Settings
from estampa.serve.wire import Wire

_LAST = 3.0  #: seconds that threads have to end
SETTINGS = "ESTAMPA_SERVE_AS"  #: names a file of the settings, which hold the token, for workers that are started


def serve(settings: Settings, ready: Callable[[str], object] = str) -> None:
    """Serve until SIGTERM or Ctrl-C; what has begun to be answered is answered first.

    `ready(url)` is called once the address is bound and the models are open. Raises InputError for an address that
    cannot be bound, and what opening the bundles raises.
    """
    with tempfile.TemporaryDirectory(prefix="estampa-serve-") as scratch:
        settings = settings.model_copy(update={"scratch": Path(scratch)})
        listening = _bound(settings)
        url = f"http://{_shown(settings.host)}:{listening.getsockname()[1]}{settings.root_path}/"
        try:
            if settings.workers == 1:
                app = _app(settings)
                ready(url)
                _alone(settings, app, listening)
            else:
                # What cannot be opened is said once, before any worker starts.
                Models(settings.bundles, logged=settings.log is not None)
                desk = desk_of(settings)
                if desk is not None:
                    desk.close()
                ready(url)
                _several(settings, listening)
        finally:
            listening.close()


def _app(settings: Settings) -> Any:
    from estampa.serve.app import create_app

    return create_app(settings)


def _alone(settings: Settings, app: Any, listening: socket.socket) -> None:
    # uvicorn raises the signal again when it has drained; then there is nothing left to end.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    timers: list[threading.Timer] = []
    app.service.closers.insert(0, lambda: timers.append(_end_soon(settings.scratch)))
    try:
        uvicorn.Server(_config(settings, app)).run([listening])
    finally:
        signal.signal(signal.SIGTERM, before)
    if not any(thread.name.startswith(POOLS) for thread in threading.enumerate()):
        for timer in timers:
            timer.cancel()


def _several(settings: Settings, listening: socket.socket) -> None:
    counting = settings.scratch / "counters"
    counting.mkdir()
    os.environ[SHARED] = str(counting)
    told = settings.scratch / "settings.json"
    write_atomic(told, settings.model_dump_json(), private=True)
    os.environ[SETTINGS] = str(told)
    config = _config(settings, "estampa.serve.run:worker_app", factory=True, workers=settings.workers)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        group = Multiprocess(config, sockets=[listening])
        group.run()
        if any(process.exitcode == STARTUP_FAILURE for process in group.processes):
            raise EstampaError("a worker could not start", where="serve", cure="Its reason stands in the lines above.")
    finally:
        signal.signal(signal.SIGTERM, before)
        del os.environ[SHARED], os.environ[SETTINGS]


def worker_app() -> Any:
    """The app of one worker, by the settings that its parent left in a file."""
    Metrics.forget_dead(Path(os.environ[SHARED]))
    app = _app(Settings.model_validate_json(Path(os.environ[SETTINGS]).read_bytes()))
    app.service.closers.insert(0, _end_soon)
    return app


def _end_soon(scratch: Path | None = None) -> threading.Timer:
    """End the process in a moment, also where a thread is still at work on what a client had sent: the event loop and
    Python would wait for it however long it takes, and nobody awaits its answer any more. `scratch` goes with it.
    """

    def end() -> None:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
        os._exit(0)

    timer = threading.Timer(_LAST, end)
    timer.daemon = True
    timer.start()
    return timer


def _config(settings: Settings, app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app, http=Wire, ws="none", log_config=LOGGING, access_log=False, server_header=False, date_header=True,
        proxy_headers=False, timeout_keep_alive=15, timeout_graceful_shutdown=settings.drain_seconds,
        lifespan="on", **more,
    )  # fmt: skip


def _bound(settings: Settings) -> socket.socket:
    """The listening socket; InputError where the address is taken or not one of this machine."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise InputError(
            "cannot listen there", where=f"{settings.host}:{settings.port}", got=error.strerror or str(error),
            cure="Choose another --port (0 = any that is free) or --host.",
        ) from error  # fmt: skip
    listening.listen(2048)
    listening.set_inheritable(True)
    return listening


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
