"""The few calls of MLflow's REST API that an export needs, by the standard library alone. Nothing calls by itself."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from estampa.errors import EstampaError, InputError

_API = "/api/2.0/mlflow/"
_FILES = "/api/2.0/mlflow-artifacts/artifacts/"
_SCHEME = "mlflow-artifacts"
_SECONDS = 30
_MOST = 16 << 20  #: bytes of an answer
_SHOWN = 300


class Refused(EstampaError):  # noqa: N818 - an answer, not a fault of ours
    """The server said no: `code` is MLflow's own word for why, as RESOURCE_DOES_NOT_EXIST."""

    def __init__(self, code: str, message: str, *, where: str) -> None:
        super().__init__("the MLflow server refused", where=where, got=f"{code}: {message}")
        self.code = code


class _NoRedirect(HTTPRedirectHandler):
    """A redirect would carry the credentials elsewhere: it is an error."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        return None


class Server:
    """An MLflow tracking server.

    Parameters
    ----------
    url : as http://127.0.0.1:5000, or with the path that it is served under.
    environment : where credentials are looked for: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and _PASSWORD.

    Raises InputError for what is no such address, EstampaError when it cannot be reached, `Refused` when it says no.
    """

    def __init__(self, url: str, environment: Mapping[str, str] = os.environ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
            raise InputError(
                "not an address of an MLflow server", where="--mlflow", allowed="http://HOST:PORT or https://HOST/PATH",
                got=url if not parts.username else "an address with a password in it",
                cure="Credentials are read from MLFLOW_TRACKING_TOKEN, or _USERNAME and _PASSWORD."
                if parts.username else "",
            )  # fmt: skip
        self.url = url.rstrip("/")
        self._headers = {"User-Agent": "estampa"} | _credentials(environment)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        proxies = [ProxyHandler({})] if local else []
        self._opener: OpenerDirector = build_opener(_NoRedirect, *proxies)

    def get(self, call: str, **query: str) -> dict[str, Any]:
        """GET a call, as "experiments/get-by-name"."""
        return self._asked(Request(f"{self.url}{_API}{call}?{urlencode(query)}", headers=self._headers))

    def post(self, call: str, **body: Any) -> dict[str, Any]:
        """POST a call with a JSON body."""
        data = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        headers = self._headers | {"Content-Type": "application/json"}
        return self._asked(Request(f"{self.url}{_API}{call}", data, headers, method="POST"))

    def put_file(self, place: str, path: Path) -> None:
        """Send a file to its place below the server's own store of artifacts, as "1/RUN/artifacts/model/x"."""
        headers = self._headers | {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
        }
        with path.open("rb") as stream:
            self._asked(Request(f"{self.url}{_FILES}{quote(place)}", stream, headers, method="PUT"))

    def _asked(self, request: Request) -> dict[str, Any]:
        where = f"{request.get_method()} {request.full_url.partition('?')[0]}"
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                text = answer.read(_MOST + 1)
        except HTTPError as error:
            with error:
                raise _refused(error, where) from None
        except (URLError, OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise EstampaError("the MLflow server cannot be reached", where=where, got=str(reason)) from error
        try:
            found = json.loads(text or b"{}") if len(text) <= _MOST else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise EstampaError("this is no MLflow server", where=where, got=repr(text[:60]))
        return found


def within(artifact_uri: str) -> str:
    """Where a run's artifacts lie below the server's own store; InputError where the server does not keep them."""
    parts = urlsplit(artifact_uri)
    if parts.scheme != _SCHEME:
        raise InputError(
            "this server does not take files: its artifacts lie elsewhere", where="--files", allowed=f"{_SCHEME}:/...",
            got=artifact_uri, cure="Start it with --serve-artifacts, or export without --files.",
        )  # fmt: skip
    return parts.path.strip("/")


def _credentials(environment: Mapping[str, str]) -> dict[str, str]:
    token = environment.get("MLFLOW_TRACKING_TOKEN")
    if token:
        return {"Authorization": f"Bearer {token}"}
    name, word = (environment.get(f"MLFLOW_TRACKING_{key}", "") for key in ("USERNAME", "PASSWORD"))
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{word}".encode()).decode()} if name else {}


def _refused(error: HTTPError, where: str) -> EstampaError:
    """What the server said, in MLflow's words where it has some."""
    try:
        told = json.loads(error.read(_MOST))
        return Refused(str(told["error_code"]), str(told.get("message", ""))[:_SHOWN], where=where)
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        return EstampaError("the MLflow server refused", where=where, got=f"{error.code} {error.reason}")
