"""The model card: what a bundle is, for people. What nobody filled in is shown as missing, never left out.

Sections after Mitchell et al. 2019, "Model Cards for Model Reporting", FAT* '19, 220-229.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from estampa.bundle.example import curl_lines, request_of
from estampa.bundle.manifest import Int8, contract_from
from estampa.bundle.presets import Presets
from estampa.plain import numbered

MISSING = "[More information needed]"
_MOST = 100  #: columns of a table that the card shows
#: What only people know, as key -> question; handed in by name or left as `MISSING`.
ASKED = {
    "authors": "Who made it, and whom to ask",
    "intended_use": "What it is for",
    "out_of_scope": "What it must not be used for",
    "limits": "Where it is known to fail",
    "selection": "How the training objects were chosen, and who labelled them",
    "licence": "Licence of the model",
}

#: Part that was judged -> what it was to the model.
_SEEN = {
    "test": " that the model has not seen",
    "validation": ", not learned from but not unseen: this part is there to choose the kept epoch or a search's values",
    "train": " that the model learned from",
}


def card(manifest: Mapping[str, Any], answers: Mapping[str, str] | None = None, presets: Presets | None = None) -> str:
    """The card as Markdown, from the manifest's fields, the answers to `ASKED` and the objects in the bundle."""
    answers = answers or {}
    contract, data, model = manifest["contract"], manifest.get("data", {}), manifest.get("model", {})
    parts = manifest.get("parts", {})
    counts = "; ".join(f"{_word(n)} {_word(count)}" for n, count in parts.items()) or MISSING
    lines = [
        f"# {_word(manifest['name'])}",
        "",
        f"A {manifest['task']} model of {_kind(contract)}.",
        "Made by estampa; it is scored with `estampa predict`; see docs/predict.md of estampa.",
        "",
        *_section("Use", answers, "authors", "intended_use", "out_of_scope", "limits", "licence"),
        "## Input",
        "",
        *(_columns(contract) if contract.get("kind") == "table" else _facts(_pixels(contract))),
        "## Output",
        "",
        *_output(manifest),
        "## Data",
        "",
        *_facts(
            {
                "Objects": counts,
                "Release": data.get("release") or MISSING,
                "Licence of the data": data.get("licence") or MISSING,
                "Content hash": f"`{manifest['hashes']['data']}`",
                "Part that new data are compared with": manifest.get("reference_part") or MISSING,
                "Objects in this folder, to try it on": _held(manifest, presets),
                ASKED["selection"]: answers.get("selection") or MISSING,
            }
        ),
        "## Ask it as a service",
        "",
        "`estampa serve .` in this folder starts a page and an interface. Then, in the same folder:",
        "(where several models are served, with `?model=NAME` after each address)",
        "",
        "```sh",
        *curl_lines(request_of(contract_from(contract), presets)),
        "```",
        "",
        "## Results",
        "",
        *_results(manifest.get("metrics", {})),
        "## How it was made",
        "",
        *_facts(
            {
                "Estimator"
                if contract.get("kind") == "table"
                else "Net": f"{model.get('name') or MISSING}, {_size(model)}",
                "Recipe": f"`{manifest['name']}`, complete in bundle.json",
                **({"Rounding": Int8.model_validate(manifest["int8"]).sentence()} if manifest.get("int8") else {}),
                "Versions": ", ".join(f"{k} {v}" for k, v in sorted(manifest.get("versions", {}).items())) or MISSING,
            }
        ),
        "This card may be filled in by hand; the other files of the bundle may not be changed.",
        "",
    ]
    return "\n".join(lines)


def _section(title: str, answers: Mapping[str, str], *keys: str) -> list[str]:
    return [f"## {title}", "", *_facts({ASKED[k]: answers.get(k) or MISSING for k in keys})]


def _facts(facts: Mapping[str, Any]) -> list[str]:
    return [*(f"- **{name}:** {_word(value)}" for name, value in facts.items()), ""]


def _held(manifest: Mapping[str, Any], presets: Presets | None) -> str:
    if presets is None:
        return "none"
    part = manifest.get("reference_part") or "training"
    return f"{numbered(len(presets), 'object')} of the {part} part with their labels, in presets.safetensors"


def _kind(contract: Mapping[str, Any]) -> str:
    if contract.get("kind") == "table":
        return f"rows of a table, {len(contract['columns'])} column(s)"
    height, width, channels = contract["shape"]
    return f"pictures of {height} x {width} pixels in {channels} channel(s)"


def _pixels(contract: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Pixels": f"{contract['dtype']}, height x width x channels; the model does all scaling itself",
        "Channels, in order": ", ".join(contract.get("channels") or ()) or MISSING,
        "Unit": contract.get("units") or MISSING,
        "Pixel scale": contract.get("pixel_scale") or MISSING,
        "Pixels that are not finite": contract["nan"],
    }


def _columns(contract: Mapping[str, Any]) -> list[str]:
    """The columns that the model needs, with the range that training had: the first `_MOST` of them."""
    columns, rule = contract["columns"], contract.get("invalid", "impute")
    failed = "its median takes its place" if rule == "impute" else "the row gets no answer"
    rows = [[c["name"], c["unit"] or "not stated", *(_short(c[k]) for k in ("minimum", "maximum"))] for c in columns]
    more = [f"... and {len(rows) - _MOST:,} more, in bundle.json.", ""] if len(rows) > _MOST else []
    return [
        f"Columns by name, in any order; others are left aside. Of a failed measurement, {failed}.",
        "",
        *_table(["column", "unit", "least", "greatest"], rows[:_MOST]),
        *more,
    ]


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, int | float) else "no valid value"


def _output(manifest: Mapping[str, Any]) -> list[str]:
    if manifest["task"] == "regression":
        return ["One number per picture, in the unit of the labels.", ""]
    shown = manifest.get("display", {})
    head = ["class", *shown]
    rows = [[name, *(names[i] for names in shown.values())] for i, name in enumerate(manifest["classes"])]
    return ["One probability per class, in this order:", "", *_table(head, rows)]


def _results(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics with their intervals, one row each; other entries of the record have their place in the report."""
    known = metrics.get("metrics", metrics)
    rows = []
    for name, value in known.items() if isinstance(known, Mapping) else ():
        if isinstance(value, Mapping) and isinstance(value.get("value"), int | float):
            rows.append([name, *(_number(value.get(k)) for k in ("value", "low", "high"))])
    if not rows:
        return [MISSING, ""]
    part = str(metrics.get("part") or "test")
    on = f" on {metrics['n']} objects" if isinstance(metrics.get("n"), int) else ""
    seen = _SEEN.get(part, "")
    head = f"Of the {_word(part)} part{on}{seen}"
    if not any(low or high for *_, low, high in rows):  # of a single object, say
        return [f"{head}, without intervals:", "", *_table(["metric", "value"], [row[:2] for row in rows])]
    return [f"{head}, with 95 % intervals:", "", *_table(["metric", "value", "low", "high"], rows)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(_word(cell) for cell in line) + " |" for line in lines), ""]


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, int | float) else ""


def _size(model: Mapping[str, Any]) -> str:
    return str(model.get("counted") or f"{model.get('parameters') or MISSING} trainable parameters")


def _word(value: Any) -> str:
    """A value within a line of Markdown: names come from data, so no line break, no bar and no HTML of theirs."""
    text = " ".join(str(value).split())
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
