"""Export of runs and versions to an MLflow server: only when told, and each model once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from estampa.bundle.manifest import MANIFEST
from estampa.bundle.store import Bundle
from estampa.errors import BundleError, InputError
from estampa.monitor.decide import facts_of
from estampa.monitor.mlflow_api import Refused, Server, within
from estampa.monitor.registry import Entry, Registry
from estampa.progress import SILENT, Progress

EXPERIMENT = "estampa"
_TAG = "estampa.bundle"  #: SHA-256 of the bundle: by this tag a model is found again
_SENT = "estampa.files"  #: a run with this tag has the bundle's files
_KEY = re.compile(r"[^A-Za-z0-9_.\- /]")
_LONGEST_KEY, _LONGEST_VALUE, _LONGEST_TAG = 250, 500, 5000
_BATCH = 100  #: params or tags in one call; MLflow takes 1,000 metrics
_MISSING, _THERE = "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS"


@dataclass(frozen=True)
class Exported:
    """One model on the server: its run, its version ("" where no versions were asked for), and whether it was new."""

    model: str
    run_id: str
    version: str
    new: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


def export_runs(
    bundles: Sequence[Bundle | Path | str],
    server: Server,
    *,
    experiment: str = EXPERIMENT,
    files: bool = False,
    progress: Progress = SILENT,
) -> list[Exported]:
    """Let an MLflow server know these models, each as a run.

    The recipe becomes params, figures with their ends metrics, hashes and decisions tags; with `files` the bundle's
    files are sent too. A model that is there already is left as it is, but gets the files that it lacks.
    """
    opened = [bundle if isinstance(bundle, Bundle) else Bundle.open(bundle) for bundle in bundles]
    place = _experiment(server, experiment)
    found = []
    progress.start(f"exporting to {server.url}", len(opened), "models")
    for bundle in opened:
        run, new = _run(server, place, bundle, files)
        found.append(Exported(bundle.hash, run["info"]["run_id"], "", new))
        progress.advance()
    progress.finish()
    return found


def export_registry(
    registry: Registry,
    server: Server,
    model: str,
    *,
    experiment: str = EXPERIMENT,
    files: bool = False,
    progress: Progress = SILENT,
) -> list[Exported]:
    """Let an MLflow server know a registry: every bundle as a run and a version of the registered model `model`, in the
    registry's order; each name, as champion, as the alias of the version that holds it now.

    A version's description says who promoted it, when and why. A bundle that is no longer at its place is said and
    left out. What is there already is left as it is, but aliases follow the registry.
    """
    if not model.strip() or _KEY.search(model):
        raise InputError("not a name for a registered model", where="--model", got=repr(model[:80]))
    entries = registry.history()
    first: dict[str, Entry] = {}
    for entry in entries:
        first.setdefault(entry.hashes["bundle"], entry)
    place = _experiment(server, experiment)
    _registered(server, model)
    found, versions = [], {}
    progress.start(f"exporting to {server.url}", len(first), "models")
    for sha256, entry in first.items():
        try:
            bundle = registry.open(entry)
        except BundleError as error:
            progress.warn(f"version {entry.version} is left out: {error}")
            continue
        run, new = _run(server, place, bundle, files)
        told = [e for e in entries if e.hashes["bundle"] == sha256]
        versions[sha256] = _version(server, model, run, told)
        found.append(Exported(bundle.hash, run["info"]["run_id"], versions[sha256], new))
        progress.advance()
    progress.finish()
    for name, entry in {entry.name: entry for entry in entries}.items():
        if (version := versions.get(entry.hashes["bundle"])) is not None:
            server.post("registered-models/alias", name=model, alias=name, version=version)
    return found


def _experiment(server: Server, name: str) -> str:
    try:
        return str(server.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"])
    except Refused as error:
        if error.code != _MISSING:
            raise
    return str(server.post("experiments/create", name=name)["experiment_id"])


def _registered(server: Server, name: str) -> None:
    try:
        server.post("registered-models/create", name=name)
    except Refused as error:
        if error.code != _THERE:
            raise


def _run(server: Server, experiment: str, bundle: Bundle, files: bool) -> tuple[dict[str, Any], bool]:
    """The bundle's run: found by its tag, or made, filled and finished. One that was cut short is made anew."""
    sha256 = _sha256(bundle)
    wanted = f"tags.`{_TAG}` = '{sha256}' and attributes.status = 'FINISHED'"
    there = server.post("runs/search", experiment_ids=[experiment], filter=wanted, max_results=1).get("runs") or []
    if there:
        known = {tag["key"] for tag in there[0].get("data", {}).get("tags", [])}
        if files and _SENT not in known:  # exported without them before
            _send(server, there[0], bundle)
        return dict(there[0]), False
    began = int((facts_of(bundle).trained or datetime.now(UTC)).timestamp() * 1000)
    tags = [{"key": _TAG, "value": sha256}, {"key": "mlflow.source.name", "value": "estampa"}]
    name = f"{bundle.manifest.name} {bundle.hash}"
    run = server.post("runs/create", experiment_id=experiment, run_name=name, start_time=began, tags=tags)["run"]
    run_id = run["info"]["run_id"]
    metrics = [{"key": k, "value": v, "timestamp": began, "step": 0} for k, v in metrics_of(bundle).items()]
    server.post("runs/log-batch", run_id=run_id, metrics=metrics[:1000])
    for kind, pairs in (("params", params_of(bundle)), ("tags", tags_of(bundle))):
        listed = [{"key": key, "value": value} for key, value in pairs.items()]
        for start in range(0, len(listed), _BATCH):
            server.post("runs/log-batch", run_id=run_id, **{kind: listed[start : start + _BATCH]})
    if files:
        _send(server, run, bundle)
    server.post("runs/update", run_id=run_id, status="FINISHED", end_time=began)
    return dict(run), True


def _send(server: Server, run: Mapping[str, Any], bundle: Bundle) -> None:
    """Send the bundle's files, then note that they are there."""
    below = within(run["info"]["artifact_uri"])
    for file in (MANIFEST, *bundle.manifest.files):
        server.put_file(f"{below}/model/{file}", bundle.folder / file)
    server.post("runs/log-batch", run_id=run["info"]["run_id"], tags=[{"key": _SENT, "value": "all"}])


def _version(server: Server, model: str, run: Mapping[str, Any], told: Sequence[Entry]) -> str:
    """The number of the version that MLflow gives this run's model."""
    run_id = run["info"]["run_id"]
    found = server.get("model-versions/search", filter=f"name='{model}'").get("model_versions") or []
    same = [one for one in found if one.get("run_id") == run_id]
    if same:
        return str(same[0]["version"])
    said = "\n".join(f"{e.time:%Y-%m-%d %H:%M} {e.action} as {e.name} by {e.who}: {e.why}" for e in told)
    tags = [{"key": "estampa.version", "value": str(told[0].version)}, {"key": "estampa.model", "value": told[0].model}]
    source = f"{run['info']['artifact_uri'].rstrip('/')}/model"
    made = server.post(
        "model-versions/create", name=model, source=source, run_id=run_id, description=said[:_LONGEST_TAG], tags=tags
    )
    return str(made["model_version"]["version"])


def metrics_of(bundle: Bundle) -> dict[str, float]:
    """The figures made after training, by MLflow's keys: "accuracy", its ends "accuracy.low" and ".high", and those of
    each class as "recall/NAME". What is undefined is left out.
    """
    record = bundle.manifest.metrics
    named = [(name, found) for name, found in record.get("metrics", {}).items()]
    for row in record.get("per_class", []):
        named += [(f"{kind}/{row['class']}", found) for kind, found in row.items() if isinstance(found, dict)]
    found = {}
    for name, figure in named:
        for end in ("value", "low", "high"):
            if figure.get(end) is not None:
                found[_key(name if end == "value" else f"{name}.{end}")] = float(figure[end])
    return found | ({"n": float(record["n"])} if "n" in record else {})


def params_of(bundle: Bundle) -> dict[str, str]:
    """The complete recipe as dotted keys, values as JSON; a long one is cut, and ends in "..."."""
    found: dict[str, str] = {}

    def walk(tree: Mapping[str, Any], before: str) -> None:
        for key, value in tree.items():
            if isinstance(value, Mapping) and value:
                walk(value, f"{before}{key}.")
            elif value is not None:
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                cut = text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
                found[_key(f"{before}{key}")] = cut

    walk(bundle.manifest.recipe, "")
    return found


def tags_of(bundle: Bundle) -> dict[str, str]:
    """What the bundle is and what it learned from."""
    manifest = bundle.manifest
    tags = {
        "estampa.model": bundle.hash, "estampa.task": manifest.task, "estampa.classes": ", ".join(manifest.classes),
        "estampa.input": bundle.contract.words(), "estampa.hash.data": manifest.hashes.data,
        "estampa.hash.recipe": manifest.hashes.recipe, "estampa.hash.onnx": manifest.hashes.model,
        "estampa.release": str(manifest.data.get("release") or ""),
        "estampa.part": str(manifest.metrics.get("part") or ""), "estampa.decisions": "\n".join(manifest.decisions),
    }  # fmt: skip
    return {key: value[:_LONGEST_TAG] for key, value in tags.items() if value}


def _key(name: str) -> str:
    """A name as MLflow allows it."""
    return _KEY.sub("_", name)[:_LONGEST_KEY]


def _sha256(bundle: Bundle) -> str:
    from estampa.files import sha256_of

    return sha256_of(bundle.folder / MANIFEST)
