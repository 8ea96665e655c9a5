"""What the log's last answers say of each model while it serves: read when somebody asks, off the requests' way.

Every worker reads the same file, so each of them tells of the answers of all, and a restart forgets nothing. What
`estampa log forget` takes away is dropped at the next look.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from estampa.errors import EstampaError
from estampa.monitor.tail import MISSING, Tail
from estampa.serve.models import Models, Version

if TYPE_CHECKING:  # imported where the first look begins: a service starts without it
    from estampa.monitor.gauges import Rolling, State

_EVERY = 2.0  #: seconds between looks, at least
_SHARE = 20  #: times as long as the last look took, at least
_WAIT = 2.0  #: seconds that who asks waits for a look; then what stands is told


@dataclass
class _Followed:
    """A model as it is followed: the version, its lines, and what they add up to; None where it cannot be watched."""

    version: Version
    tail: Tail
    rolling: Rolling | None
    fault: str = ""


class Watcher:
    """The last answers of every served model, from the log at `path`. `warn` is told of what cannot be watched."""

    def __init__(self, path: Path, models: Models, warn: Callable[..., object]) -> None:
        self._path, self._models, self._warn = path, models, warn
        self._followed: dict[str, _Followed] = {}
        self._states: dict[str, tuple[Version, State]] = {}
        self._thread = ThreadPoolExecutor(1, "watch")
        self._look: asyncio.Future[None] | None = None
        self._next = 0.0

    async def states(self) -> dict[str, State]:
        """Name of a model -> what its last answers say, a few seconds old at most; models that cannot be watched, or
        of which nothing is known yet, are left out.
        """
        if (self._look is None or self._look.done()) and time.monotonic() >= self._next:
            self._look = asyncio.get_running_loop().run_in_executor(self._thread, self._read)
        if self._look is not None:
            await asyncio.wait([self._look], timeout=_WAIT)
        now = {model.name: model.version for model in self._models.all()}
        return {name: state for name, (version, state) in self._states.items() if now[name] is version}

    def close(self) -> None:
        """Let the log go, once a look that is going on has ended."""
        for known in list(self._followed.values()):
            self._thread.submit(known.tail.close)
        self._thread.shutdown(wait=False)

    def _read(self) -> None:
        """Look at what has come."""
        begun = time.monotonic()
        for model in self._models.all():
            version, known = model.version, self._followed.get(model.name)
            if known is None or known.version is not version or (known.rolling is not None and known.tail.stale()):
                if known is not None:  # another version, or something was forgotten: what was added up is dropped
                    known.tail.close()
                    self._states.pop(model.name, None)
                known = self._followed[model.name] = self._follow(model.name, version)
            if known.rolling is not None:
                self._bring(model.name, known, known.rolling)
        ended = time.monotonic()
        self._next = ended + max(_EVERY, _SHARE * (ended - begun))

    def _follow(self, name: str, version: Version) -> _Followed:
        """Begin to follow a version: the lines of others are passed over."""
        from estampa.monitor import gauges

        known = _Followed(version, Tail(self._path, gauges.SIZE, version.hash), None)
        try:
            known.rolling = gauges.Rolling(version.bundle, gauges.SIZE)
        except Exception as error:  # noqa: BLE001 - a damaged bundle, no memory: told, and requests are answered on
            self._tell(name, known, _why(error))
        return known

    def _bring(self, name: str, known: _Followed, rolling: Rolling) -> None:
        """Bring a model's state up to date. What fails here costs the gauges alone, and is told once."""
        try:
            rolling.feed(known.tail.read())
            self._states[name] = known.version, rolling.state()
            fault = "" if known.tail.fault == MISSING else known.tail.fault
        except Exception as error:  # noqa: BLE001 - as above
            fault = _why(error)
        self._tell(name, known, fault)

    def _tell(self, name: str, known: _Followed, fault: str) -> None:
        if fault and fault != known.fault:
            self._warn("the last answers cannot be watched", model=name, why=fault)
        known.fault = fault


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, EstampaError) else repr(error)


class Drift(Collector):
    """The states as Prometheus reads them. Kinds are few and fixed; which figure it is, the model's page says."""

    def __init__(self, states: dict[str, State]) -> None:
        self._states = states

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The three gauges."""
        score = GaugeMetricFamily(
            "estampa_drift_score",
            "How far the last answers are from the model's reference: the largest of the kind; 1 = the edge.",
            labels=["model", "kind"],
        )
        alert = GaugeMetricFamily(
            "estampa_alert_active", "1 while a figure of this kind is out of its range.", labels=["model", "kind"]
        )
        count = GaugeMetricFamily(
            "estampa_watched_objects", "How many answers of the log these rest on.", labels=["model"]
        )
        for name, state in self._states.items():
            farthest = state.farthest
            out = {figure.kind for figure in state.alerts}
            count.add_metric([name], state.n)
            for kind in state.kinds:
                alert.add_metric([name, kind], float(kind in out))
                if kind in farthest:
                    score.add_metric([name, kind], farthest[kind].score)
        yield from (score, alert, count)
