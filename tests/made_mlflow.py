"""A stub of the MLflow calls that an export makes, on 127.0.0.1: it checks what it is sent as a server would."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

_KEY = re.compile(r"[\w.\- /]{1,250}", re.ASCII)


class Stub:
    """What the server holds, and every call that it had as (method, call, body)."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.models: dict[str, list[dict[str, Any]]] = {}
        self.aliases: dict[tuple[str, str], str] = {}
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, str] = {}
        self.artifacts = "mlflow-artifacts:/1"
        self.fail: tuple[str, int, bytes] | None = None  #: call, status and body to answer with
        self.url = ""

    def answer(self, method: str, call: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        missing = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "No such thing"}
        if (method, call) == ("GET", "experiments/get-by-name"):
            name = body["experiment_name"]
            found = self.experiments.get(name)
            return (200, {"experiment": {"experiment_id": found, "name": name}}) if found else missing
        if call == "experiments/create":
            self.experiments[body["name"]] = str(len(self.experiments) + 1)
            return 200, {"experiment_id": self.experiments[body["name"]]}
        if call == "runs/search":
            wanted = re.fullmatch(r"tags\.`([\w.]+)` = '(\w+)' and attributes\.status = 'FINISHED'", body["filter"])
            assert wanted is not None
            found = [
                {"info": run["info"], "data": {"tags": [{"key": k, "value": v} for k, v in run["tags"].items()]}}
                for run in self.runs.values()
                if run["tags"].get(wanted[1]) == wanted[2] and run["info"]["status"] == "FINISHED"
                and run["info"]["experiment_id"] in body["experiment_ids"]
            ]  # fmt: skip
            return 200, {"runs": found} if found else {}
        if call == "runs/create":
            run_id = f"r{len(self.runs)}"
            info = {
                "run_id": run_id, "experiment_id": body["experiment_id"], "status": "RUNNING",
                "artifact_uri": f"{self.artifacts}/{run_id}/artifacts", "start_time": body["start_time"],
            }  # fmt: skip
            tags = {tag["key"]: tag["value"] for tag in body["tags"]}
            self.runs[run_id] = {"info": info, "tags": tags, "params": {}, "metrics": {}, "name": body["run_name"]}
            return 200, {"run": {"info": info}}
        if call == "runs/log-batch":
            return self._log(body)
        if call == "runs/update":
            self.runs[body["run_id"]]["info"]["status"] = body["status"]
            return 200, {"run_info": self.runs[body["run_id"]]["info"]}
        return self._registry(call, body)

    def _log(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        run = self.runs[body["run_id"]]
        for kind, most in (("metrics", 1000), ("params", 100), ("tags", 100)):
            rows = body.get(kind, [])
            if len(rows) > most or not all(_KEY.fullmatch(row["key"]) for row in rows):
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": f"{kind}: too many, or a wrong key"}
            for row in rows:
                if kind == "metrics" and not isinstance(row["value"], float):
                    return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": str(row)}
                run[kind][row["key"]] = row["value"]
        return 200, {}

    def _registry(self, call: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if call == "registered-models/create":
            if body["name"] in self.models:
                return 400, {"error_code": "RESOURCE_ALREADY_EXISTS", "message": "It is there"}
            self.models[body["name"]] = []
            return 200, {"registered_model": {"name": body["name"]}}
        if call == "model-versions/search":
            name = body["filter"].removeprefix("name='").removesuffix("'")
            return 200, {"model_versions": self.models[name]}
        if call == "model-versions/create":
            if urlsplit(body["source"]).scheme in ("", "file"):
                return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Invalid model version source"}
            versions = self.models[body["name"]]
            versions.append({**body, "version": str(len(versions) + 1)})
            return 200, {"model_version": versions[-1]}
        if call == "registered-models/alias":
            self.aliases[body["name"], body["alias"]] = body["version"]
            return 200, {}
        return 404, {"error_code": "ENDPOINT_NOT_FOUND", "message": call}


@contextmanager
def served() -> Iterator[Stub]:
    """The stub, listening; `url` says where."""
    stub = Stub()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self, status: int, data: bytes) -> None:
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _any(self) -> None:
            parts = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            stub.headers = dict(self.headers.items())
            if self.command == "PUT":
                stub.files[unquote(parts.path).partition("/mlflow-artifacts/artifacts/")[2]] = data
                self._reply(200, b"{}")
                return
            call = parts.path.partition("/api/2.0/mlflow/")[2]
            body = json.loads(data) if data else {k: v[0] for k, v in parse_qs(parts.query).items()}
            stub.calls.append((self.command, call, body))
            if stub.fail and stub.fail[0] == call:
                self._reply(*stub.fail[1:])
                return
            status, found = stub.answer(self.command, call, body)
            self._reply(status, json.dumps(found).encode())

        do_GET = do_POST = do_PUT = _any  # noqa: N815 - as the base class calls them

        def log_message(self, *_args: Any) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
