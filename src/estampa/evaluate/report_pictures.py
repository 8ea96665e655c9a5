"""The pictures of a report: answers drawn at random, and maps of what right and wrong ones hang on."""

from __future__ import annotations

from typing import Any

import numpy as np

from estampa import page
from estampa.evaluate.evidence import Evidence
from estampa.explain.pages import PAPERS, grid, how_to_read, lead, verdict

_RANDOM = 24  #: pictures
_SEED = 20160318


def answers(evidence: Evidence) -> list[Any]:
    """Pictures of the judged part drawn at random, each with its answer, percentage and truth."""
    data, output = evidence.dataset, np.asarray(evidence.output)
    if data.shape is None or evidence.judgement.task == "regression":
        return []
    drawn = np.random.default_rng(_SEED).permutation(len(evidence.rows))[:_RANDOM]
    names, said = evidence.judgement.classes, evidence.predicted
    ids, truth = np.asarray(data.ids)[evidence.rows[drawn]], evidence.truth
    items = []
    for i, image, name in zip(drawn, data.take(evidence.rows[drawn]), ids, strict=True):
        p = float(output[i, said[i]]) if output.ndim == 2 else None
        label, kind = verdict(names[int(said[i])], p, names[int(truth[i])])
        items.append(page.Picture(image, label, str(name), kind))
    right = sum(item.kind == "good" for item in items)
    caption = (
        f"{len(items)} objects of the {evidence.part} part, drawn at random: the answer, its probability, and where it "
        f"is wrong (✗) the truth; {right} are right (✓)."
    )
    tiles = 1 if data.shape[2] in (1, 3) else data.shape[2]
    return [
        page.Pictures(
            items, caption, columns=None if tiles == 1 else max(1, 6 // tiles), channels=data.header.channels,
            pixel_scale=data.header.pixel_scale,
        )
    ]  # fmt: skip


def maps(evidence: Evidence) -> list[Any]:
    """Occlusion maps of some right and some wrong answers, or the reason why there are none."""
    if evidence.maps is None:
        return []
    found = evidence.maps.explained
    if found is None:
        return [page.Note("note", evidence.maps.why)]
    wrong, right = np.flatnonzero(found.wrong), np.flatnonzero(found.right)
    blocks: list[Any] = [page.Text(lead(found))]
    if len(wrong):
        blocks.append(grid(found, wrong, f"Wrong answers, drawn at random. {evidence.maps.why}".strip()))
    if len(right):
        blocks.append(grid(found, right, "Right answers, drawn at random, and what is answered without the spot."))
    told = [page.Text(how_to_read(found)), page.Text("\n\n".join(f"{p}." for p in PAPERS))]
    more = page.Code(
        "estampa explain RUN DATA --shortcuts -o explain", "More of them, and which regions classes lean on"
    )
    return [*blocks, page.Details("How to read the maps", told), more]
