"""The part of a watch's report that shows objects: what the figures that moved most look like."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from estampa import page
from estampa.bundle.store import Bundle
from estampa.measure import confidence, decide
from estampa.monitor.examples import EACH, Example, Shown
from estampa.page import Picture, Section, Table
from estampa.page.table import short

_MOST_COLUMNS = 12
_READ = (
    "A fair sample of the objects that can be shown was held back, and of it, for each figure that moved, those that "
    "lie farthest on the side to which it moved. An object is shown once."
)
_STRETCHED = (
    " Each picture is stretched by itself, so that one is brighter or fainter than another cannot be seen here."
)
_KNOWN = "validation part"


def examples_section(bundle: Bundle, shown: Sequence[Shown], unshown: int = 0) -> Section:
    """Objects of each figure under those of the bundle's own validation part; a section without blocks for none.

    `unshown`: kept inputs that could not be shown.
    """
    if not shown:
        return Section("examples", "What it looks like", [])
    blocks: list[object] = [page.Text(_READ if bundle.of_table else _READ + _STRETCHED)]
    ends = [one.expires for part in shown for one in part.examples if one.expires is not None]
    if ends:
        text = (
            f"These inputs were kept by consent, and the first of them is deleted on {min(ends):%Y-%m-%d}. This page "
            "is a copy that neither the service nor `estampa log forget` reaches: delete it by then, and give it to "
            "nobody."
        )
        blocks.append(page.Note("warn", text))
    if unshown:
        blocks.append(
            page.Note("note", f"{unshown:,} kept inputs could not be shown: damaged, gone or not this model's.")
        )
    blocks += [_table(bundle, shown)] if bundle.of_table else _pictures(bundle, shown)
    return Section("examples", "What it looks like", blocks)


def _pictures(bundle: Bundle, shown: Sequence[Shown]) -> list[object]:
    blocks: list[object] = []
    known = bundle.presets()
    if known is not None and known.images is not None:
        some = np.linspace(0, len(known) - 1, min(EACH, len(known))).astype(int)
        items = [Picture(known.images[i], _truth(bundle, known.labels[i]), str(known.ids[i])[:40]) for i in some]
        blocks.append(_grid(bundle, items, "For comparison: the model's validation part, with its labels"))
    for part in shown:
        items = [Picture(one.input, *_said(bundle, one)) for one in part.examples]
        blocks.append(_grid(bundle, items, part.figure.why))
    return blocks


def _grid(bundle: Bundle, items: Sequence[Picture], head: str) -> page.Pictures:
    channels, scale = bundle.pictures.channels, bundle.pictures.pixel_scale
    return page.Pictures(items, columns=EACH, channels=channels, pixel_scale=scale, heads=[head])


def _said(bundle: Bundle, one: Example) -> tuple[str, str]:
    """The answer and its probability; the id."""
    if not np.isfinite(one.output).all():
        return "no answer", one.id[:40]
    if not bundle.classes:
        return short(float(one.output[0])), one.id[:40]
    row = one.output[None]
    chosen = decide(row, bundle.thresholds.decision)
    return f"{bundle.classes[int(chosen[0])]}, {float(confidence(row, chosen)[0]):.2f}", one.id[:40]


def _truth(bundle: Bundle, label: float) -> str:
    return bundle.classes[int(label)] if bundle.classes else short(float(label))


def _table(bundle: Bundle, shown: Sequence[Shown]) -> Table:
    names = bundle.table.column_names
    first = [name for part in shown for name in names if name in part.figure.name.partition(",")[0].split("-")]
    order = list(dict.fromkeys([*first, *names]))[:_MOST_COLUMNS]
    places = [names.index(name) for name in order]
    rows: list[list[object]] = []
    known = bundle.presets()
    if known is not None and known.rows is not None:
        some = np.linspace(0, len(known) - 1, min(EACH, len(known))).astype(int).tolist()
        told = [(str(known.ids[i]), _truth(bundle, known.labels[i]), known.rows[i]) for i in some]
        rows += [[_KNOWN, name[:40], truth, *_cells(row[places])] for name, truth, row in told]
    for part in shown:
        answers = [(*_said(bundle, one), one.input) for one in part.examples]
        rows += [[part.figure.name, name, said, *_cells(row[places])] for said, name, row in answers]
    caption = (
        "Raw rows. Above, for comparison, objects of the model's validation part with their labels; below, for each "
        "figure that moved, objects that show it, with the answer and its probability."
    )
    if len(names) > len(order):
        caption += f" {len(order)} of {len(names)} columns are shown."
    sides = dict.fromkeys(order, "right")
    return Table(["shows", "id", "label or answer", *order], rows, caption=caption, align=sides)  # type: ignore[arg-type]


def _cells(values: np.ndarray) -> list[str | None]:
    return [short(float(value)) if math.isfinite(value) else None for value in values.tolist()]
