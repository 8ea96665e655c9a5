"""What one answer hangs on: of a picture a map of its parts, of a row what each measurement adds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from estampa.explain.asking import together
from estampa.explain.occlusion import occlude
from estampa.explain.overlay import overlay
from estampa.explain.reasons import Reason, Reasons, reasons
from estampa.serve.exhibits import png
from estampa.serve.pages.words import Words
from estampa.serve.service import Served
from estampa.serve.views import Answer, Viewer

_SHOWN = 8  #: measurements with a bar of their own ...
_LEAST = 0.002  #: ... if they add so much to the probability, either way


@dataclass(frozen=True)
class ReasonShown:
    """A measurement and what it adds; `length`: its effect as a share of the largest one, signed."""

    name: str
    told: str
    effect: float
    length: float
    points: str


def explained(viewer: Viewer, served: Served, answer: Answer) -> Answer:
    """The answer with what it hangs on. Takes seconds: to be called in a thread."""
    if answer.bad or not viewer.can_explain:
        return answer
    way = _by_reasons if viewer.bundle.of_table else _by_map
    return way(viewer, served, answer, served.answers[0])


def _by_map(viewer: Viewer, served: Served, answer: Answer, told: dict[str, Any]) -> Answer:
    bundle, t = viewer.bundle, viewer.words
    image = served.inputs.chunk.images  # type: ignore[union-attr]
    classes = np.array([bundle.classes.index(told["predicted"])]) if bundle.classes else None
    found = occlude(bundle, image, classes)[0]
    scale = float(np.nanmax(np.abs(found), initial=0.0)) or 1.0
    shown = png(overlay(image[0], found, scale, channels=bundle.pictures.channels))
    name = answer.predicted
    return replace(answer, map=shown, map_alt=t("why.map_alt", name=name), map_words=t("why.map", name=name))


def _by_reasons(viewer: Viewer, served: Served, answer: Answer, told: dict[str, Any]) -> Answer:
    bundle, t, presets = viewer.bundle, viewer.words, viewer.exhibits.presets
    assert presets is not None
    assert presets.rows is not None
    typical, columns = presets.rows, bundle.table.column_names
    number = bundle.classes.index(told["predicted"])
    known = (["0"], np.array([number]), np.array([-1]))
    valid = np.where(bundle.preparation.invalid(typical), np.nan, typical)
    found = reasons(
        lambda rows: bundle.score(rows, wanted=("output",)).output, served.inputs.chunk.values,  # type: ignore[union-attr]
        typical, columns, units=together(valid), invalid=bundle.preparation.invalid, known=known,
    )[0]  # fmt: skip
    usual = t.percent(found.usual)
    words = t("why.reasons", name=answer.predicted, all=t.whole(len(typical)), percent=usual)
    return replace(answer, reasons=_listed(found, t), reasons_words=words)


def _listed(found: Reasons, t: Words) -> list[ReasonShown]:
    """The strongest reasons, and the rest as one."""
    strong = [r for r in found.reasons[:_SHOWN] if abs(r.effect) >= _LEAST]
    weak = found.reasons[len(strong) :]
    pairs: list[tuple[str, str, float]] = [(", ".join(r.columns), _told(r, t), r.effect) for r in strong]
    if weak:
        pairs.append((t("why.rest"), "", sum(r.effect for r in weak)))
    longest = max((abs(effect) for *_, effect in pairs), default=0.0) or 1.0
    return [ReasonShown(name, told, effect, effect / longest, t.points(effect)) for name, told, effect in pairs]


def _told(reason: Reason, t: Words) -> str:
    if len(reason.columns) > 1:
        return ""
    if reason.missing[0]:
        return t("why.missing")
    return t("why.typical", value=t.short(reason.values[0]), typical=t.short(reason.typical[0]))
