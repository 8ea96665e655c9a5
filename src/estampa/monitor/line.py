"""One line of the service's log: what it holds, made from an answer, and read back with suspicion."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from estampa.bundle.reference import COMPONENTS
from estampa.bundle.session import Scores
from estampa.bundle.store import Bundle
from estampa.data import summary
from estampa.errors import BundleError
from estampa.files import strict_json
from estampa.predict.answers import INVALID, UNREADABLE

BEGIN = b'{"format":'  #: of every line that estampa writes
FORMAT = 1  #: raise it when an older estampa would misread a line; go on reading the old ones, with a test of each
KEYS = ("format", "id", "time", "model", "describe", "components", "output", "flags")
LONGEST_ID = 512  #: characters
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_MODEL = re.compile(r"[0-9a-f]{12}", re.ASCII)
_NUMBERS = {float, int, type(None)}
_frames: WeakKeyDictionary[Bundle, np.ndarray] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class LogLine:
    """One answer, as the log has it.

    Attributes
    ----------
    row : number of the line in its file, from 1.
    id : of the answer.
    time : when it was given, UTC.
    model : `Bundle.hash` of the bundle that gave it.
    describe : the statistics of `data.summary.describe`; of a table, the prepared features. NaN where the object could
        not be read.
    components : the 8 components of the embedding; () where the model has none.
    output : probabilities in class order, or the one value of a regression; NaN where there was no answer.
    flags : as in predictions, but of "unreadable" without the reason.
    """

    row: int
    id: str
    time: datetime
    model: str
    describe: tuple[float, ...]
    components: tuple[float, ...]
    output: tuple[float, ...]
    flags: tuple[str, ...]


def stamp(when: datetime) -> str:
    """A moment as the log writes it: UTC, ISO 8601, milliseconds, as "2026-11-22T17:26:06.123Z"."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(text: str) -> datetime:
    """The moment that `stamp` wrote; ValueError for any other text."""
    if not _TIME.fullmatch(text):
        raise ValueError(f"not a time in UTC with milliseconds: {text[:40]!r}")
    return datetime.fromisoformat(text)


def is_model(text: str) -> bool:
    """Whether a text is a bundle's hash as lines have it."""
    return bool(_MODEL.fullmatch(text))


def lines_of(
    bundle: Bundle,
    inputs: np.ndarray,
    scores: Scores,
    ids: Sequence[str],
    flags: Sequence[Sequence[str]] | None = None,
    when: datetime | None = None,
) -> list[dict[str, Any]]:
    """The log lines of n answers, ready for `LogWriter.append`.

    Parameters
    ----------
    bundle : the model that answered.
    inputs : pictures (n, height, width, channels) as they were scored; of a table raw rows (n, columns), in the
        contract's order.
    scores : what the model said of them, with its embedding where it has one (of a table none is needed).
    ids : (n,) of the answers.
    flags : of each answer, a list of texts, as in predictions. Where they say that there is no answer, none is logged;
        of an object that could not be read nothing is, and why it could not stays out, as that may quote what came.
    when : the moment of the answers; now.

    Raises ValueError when the embedding was not asked for, BundleError when the bundle's reference does not fit it.
    """
    told = bundle.preparation.transform(inputs) if bundle.of_table else summary.describe(inputs)
    embedding = told if bundle.of_table else scores.embedding
    if embedding is None and "embedding" in bundle.manifest.outputs:
        raise ValueError("the embedding is logged: score with it wanted")
    parts = np.zeros((len(ids), 0), np.float32) if embedding is None else embedding @ frame(bundle, embedding.shape[1])
    described, components, output = (_rows(a) for a in (told, parts, scores.output.reshape(len(ids), -1)))
    noted = [_flags(flags[i]) if flags is not None else [] for i in range(len(ids))]
    for i, found in enumerate(noted):
        if any(flag.partition(":")[0] in (UNREADABLE, INVALID) for flag in found):
            output[i] = [None] * len(output[i])
        if UNREADABLE in found:
            described[i], components[i] = [None] * len(described[i]), [None] * len(components[i])
    time = stamp(when or datetime.now(UTC))
    return [
        {
            "format": FORMAT, "id": str(ids[i]), "time": time, "model": bundle.hash, "describe": described[i],
            "components": components[i], "output": output[i], "flags": noted[i],
        }
        for i in range(len(ids))
    ]  # fmt: skip


def _flags(flags: Sequence[str]) -> list[str]:
    return [UNREADABLE if flag.startswith(f"{UNREADABLE}:") else flag for flag in flags]


def frame(bundle: Bundle, width: int) -> np.ndarray:
    """The bundle's own projection (width, 8), read and checked once for each open bundle."""
    if bundle not in _frames:
        kept = bundle.tensors("reference")
        if "projection" not in kept or kept["projection"].shape != (width, COMPONENTS):
            raise BundleError("its reference has no projection that fits the embedding", where=bundle.folder)
        _frames[bundle] = np.array(kept["projection"])  # a copy: a view would hold the whole file in memory
    return _frames[bundle]


def _rows(values: np.ndarray) -> list[list[float | None]]:
    """(n, k) numbers as lists with the fewest digits that read back as the same float32; None = not finite."""
    flat = [float(text) for text in values.astype(np.float32).reshape(-1).astype(np.str_).tolist()]
    width = values.shape[1]
    kept: list[float | None] = [v if math.isfinite(v) else None for v in flat]
    return [kept[i * width : (i + 1) * width] for i in range(len(values))]


def parse(text: bytes, row: int) -> LogLine:
    """A line's bytes as a LogLine; ValueError says why it is none."""
    tree, (describe, components, output), time = _checked(text)
    return LogLine(row, tree["id"], time, tree["model"], describe, components, output, tuple(tree["flags"]))


def tree_of(text: bytes) -> dict[str, Any]:
    """A line's bytes as `lines_of` made it; ValueError says why it is none."""
    return _checked(text)[0]


def tree_with(text: bytes, keys: Sequence[str], known: int, what: str) -> dict[str, Any]:
    """A line's JSON tree, with these keys and no others, of format `known`; ValueError says why it is no `what`."""
    try:
        tree = strict_json(text)
    except ValueError as error:
        cut = text.startswith(BEGIN) and not text.rstrip().endswith(b"}")
        raise ValueError("cut in the middle" if cut else f"not JSON: {error}") from error
    if type(tree) is not dict or type(tree.get("format")) is not int:
        raise ValueError(f"no {what}: it has no format number")
    if tree["format"] > known:
        raise ValueError(f"written by a newer estampa: format {tree['format']}, known is {known}")
    if tree["format"] != known or set(tree) != set(keys):
        strange = sorted(set(tree) ^ set(keys)) or ["format"]
        raise ValueError(f"no {what} of format {known}: {', '.join(map(repr, strange[:5]))}")
    return tree


def _checked(text: bytes) -> tuple[dict[str, Any], list[tuple[float, ...]], datetime]:
    """A line as JSON tree, its three lists as numbers, and its moment; ValueError for anything that is no line."""
    tree = tree_with(text, KEYS, FORMAT, "line of an estampa log")
    if not (_text(tree["id"]) and 0 < len(tree["id"]) <= LONGEST_ID and _text(tree["time"]) and _text(tree["model"])):
        raise ValueError("id, time and model are texts")
    if not is_model(tree["model"]):
        raise ValueError(f"not a model's hash: {tree['model'][:40]!r}")
    if not (isinstance(tree["flags"], list) and all(map(_text, tree["flags"]))):
        raise ValueError("flags are a list of texts")
    return tree, [_numbers(tree[key], key) for key in ("describe", "components", "output")], moment(tree["time"])


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _numbers(values: Any, key: str) -> tuple[float, ...]:
    """A list of numbers and nulls as floats and NaN."""
    if type(values) is not list:
        raise ValueError(f"{key} is not a list")
    if not set(map(type, values)) <= _NUMBERS:
        raise ValueError(f"{key} holds what is no number")
    try:
        found = tuple([math.nan if value is None else float(value) for value in values])
    except OverflowError:
        found = (math.inf,)
    if math.inf in found or -math.inf in found:  # 1e999 is JSON, and no number that estampa writes
        raise ValueError(f"{key} holds what is no number")
    return found
