"""What to send to a served model: the body of a request, kept in the bundle, and the lines that send it."""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from estampa.bundle import audit as audits
from estampa.bundle.contract import InputContract
from estampa.bundle.contract_table import TableContract
from estampa.bundle.manifest import REQUEST
from estampa.bundle.presets import Presets

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle

URL = "http://127.0.0.1:8000"  #: where `estampa serve` listens
SHORT = 256 << 10  #: bytes that a body should have at most
_OBJECTS = 2
_INLINE = 1000  #: characters of a body that a command line shows
_JSON = "-H 'Content-Type: application/json'"
#: How one of a request is named when it is asked for by itself.
_ONE = {"images": "image", "pictures": "picture"}
_ABOUT = "Made up from the range of the training values: this bundle holds no objects."
_SHARES = (1 / 3, 2 / 3)  #: where in the range of a column the values that are made up lie
_WIDTHS = (1 / 8, 1 / 5)  #: standard deviation of the spots that are made up, as a share of the side


def request(bundle: Bundle) -> dict[str, Any]:
    """The body for `POST /v1/predict`, as `examples/request.json` has it: one or two objects.

    Keys: `images` (nested lists, height x width x channels, null = NaN), `pictures` (PNG in base64, where lists would
    be long) or `rows` (column -> value, null = NaN); `ids`; `about` where the values are made up. {} where one object
    alone is too large for JSON; send .npy then.
    """
    if REQUEST in bundle.manifest.files:
        data = audits.verified(bundle.folder, bundle.manifest, REQUEST)
        return audits.parse_request(data, bundle.folder / REQUEST, of_table=bundle.of_table)
    return request_of(bundle.contract, bundle.presets())


def classify(bundle: Bundle) -> dict[str, Any]:
    """The body for `POST /classify`: the first object of `request`, as {"image": ...}, {"picture": ...} or
    {column: value}; {} where it is too large for JSON.
    """
    return single(request(bundle))


def curl(bundle: Bundle, url: str = URL, model: str = "") -> list[str]:
    """Command lines that ask the service at `url`; they are run in the bundle's folder, which holds the example.

    `model`: the name under which it is served, "" where it is the only one.
    """
    return curl_lines(request(bundle), url, model)


def request_of(contract: InputContract | TableContract, presets: Presets | None) -> dict[str, Any]:
    """The same for a bundle that is being written. Of presets the first, and the first of another label."""
    about = {}
    if presets is None:
        presets, about = _made_up(contract), {"about": _ABOUT}
    other = np.flatnonzero(presets.labels != presets.labels[0])
    which = [0, *(other[:1].tolist() or range(1, len(presets)))][:_OBJECTS]
    for count, limit in ((len(which), SHORT), (1, SHORT), (1, audits.REQUEST_LIMIT)):
        rows = np.array(which[:count])
        for form in _forms(contract, presets.inputs[rows], limit):
            found = {**about, **form, "ids": presets.ids[rows].tolist()}
            if len(text_of(found)) <= limit:
                return found
    return {}


def text_of(body: dict[str, Any]) -> bytes:
    """A body as JSON."""
    return (json.dumps(body, ensure_ascii=False, allow_nan=False) + "\n").encode()


def curl_lines(body: dict[str, Any], url: str = URL, model: str = "") -> list[str]:
    """Command lines that send `body`, which is the bundle's `examples/request.json`, whole and its first object."""
    asked = f"?model={quote(model, safe='')}" if model else ""
    at = {name: shlex.quote(f"{url.rstrip('/')}{name}{asked}") for name in ("/classify", "/v1/predict", "/v1/model")}
    if not body:
        npy = "-H 'Content-Type: application/x-npy' --data-binary @objects.npy"
        return [f"curl -s {at['/v1/predict']} {npy}", f"curl -s {at['/v1/model']}"]
    one = text_of(single(body)).decode().strip()
    if len(one) <= _INLINE:
        first = f"curl -s {at['/classify']} {_JSON} -d {shlex.quote(one)}"
    else:
        many = next(key for key in audits.INPUTS if key in body)
        picked = f'r["{many}"][0]'
        taken = f'{{"{_ONE[many]}": {picked}}}' if many in _ONE else picked
        code = f'import json; r = json.load(open("{REQUEST}", encoding="utf-8")); print(json.dumps({taken}))'
        first = f"python3 -c {shlex.quote(code)} | curl -s {at['/classify']} {_JSON} --data-binary @-"
    return [
        first,
        f"curl -s {at['/v1/predict']} {_JSON} --data-binary @{REQUEST}",
        f"curl -s {at['/v1/model']}",
    ]


def single(body: dict[str, Any]) -> dict[str, Any]:
    """The first object of a body for `POST /v1/predict`, as the body for `POST /classify`."""
    if not body:
        return {}
    many = next(key for key in audits.INPUTS if key in body)
    return {_ONE[many]: body[many][0]} if many in _ONE else dict(body[many][0])


def _forms(contract: InputContract | TableContract, inputs: np.ndarray, limit: int) -> Iterator[dict[str, Any]]:
    """Ways to write images (m, h, w, c) or rows (m, columns) in JSON, the plainest first; none that is surely longer
    than `limit` bytes.
    """
    if isinstance(contract, TableContract):
        yield {"rows": [dict(zip(contract.column_names, row, strict=True)) for row in _listed(inputs)]}
        return
    if inputs.size * 2 <= limit:  # a digit and a comma a value
        yield {"images": _listed(inputs)}
    if _as_picture(contract):
        yield {"pictures": [_png(image) for image in inputs]}


def _listed(values: np.ndarray) -> list[Any]:
    """Numbers as nested lists with the fewest digits that read back as the same number; None where not finite."""
    if values.dtype.kind != "f":
        return list(values.tolist())
    told = np.array([float(text) for text in values.reshape(-1).astype(np.str_)], dtype=object)
    told[~np.isfinite(values.reshape(-1))] = None
    return list(told.reshape(values.shape).tolist())


def _as_picture(contract: InputContract) -> bool:
    """Whether a PNG of the model's own pixels is read as those very pixels: bytes, and no square cut from it first."""
    height, width, channels = contract.shape
    cut = contract.read_record.crop
    return contract.dtype == "uint8" and channels in (1, 3) and (not cut or cut == height == width)


def _png(image: np.ndarray) -> str:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else np.ascontiguousarray(image)).save(stream, "png")
    return base64.b64encode(stream.getvalue()).decode()


def _made_up(contract: InputContract | TableContract) -> Presets:
    """Two objects from the range of the training values: of a table, values at one third and two thirds of a column's
    range; of pictures, a smaller and a larger round spot in the middle of an empty picture.
    """
    ids = np.array([f"made up {i + 1}" for i in range(len(_SHARES))])
    labels = np.zeros(len(_SHARES), np.int64)
    if isinstance(contract, TableContract):
        span = np.array([[c.low, c.high] for c in contract.columns], np.float64)  # None becomes NaN
        rows = np.stack([span[:, 0] + share * (span[:, 1] - span[:, 0]) for share in _SHARES])
        return Presets(labels, ids, rows=_rounded(rows))
    height, width, _ = contract.shape
    y, x = ((np.arange(n) - (n - 1) / 2) / max(n, 8) for n in (height, width))
    square = (y[:, None] ** 2 + x[None, :] ** 2)[:, :, None]
    low, high = (np.resize(side, contract.shape[2]) for side in (contract.range.low, contract.range.high))
    empty = np.clip(0, low, high)
    images = np.stack([empty + (high - empty) * np.exp(-square / (2 * share**2)) for share in _WIDTHS])
    if contract.dtype != "float32":
        return Presets(labels, ids, images=np.rint(images).astype(contract.dtype))
    return Presets(labels, ids, images=_rounded(images).astype(np.float32))


def _rounded(values: np.ndarray) -> np.ndarray:
    """Four significant digits of each value: more would look measured."""
    return np.array([float(f"{v:.4g}") for v in values.reshape(-1)]).reshape(values.shape)
