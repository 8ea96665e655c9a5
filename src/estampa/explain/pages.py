"""The page of `estampa explain`: pictures beside their maps, wrong and right answers apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from estampa import machine, page
from estampa.bundle.store import Bundle
from estampa.explain import spots
from estampa.explain.filling import AROUND, MEDIAN
from estampa.explain.overlay import overlay
from estampa.explain.result import Explained

_EACH = 24  #: pictures of a kind that the page shows
#: A map whose strongest place moves the answer by less than this is shown faint, not blown up to full colour.
_FLOOR = {"logit": 0.5, "probability": 0.05}
PAPERS = (
    "Zeiler, M. D., Fergus, R. 2014, Visualizing and Understanding Convolutional Networks, ECCV, LNCS 8689, 818",
    "Petsiuk, V., Das, A., Saenko, K. 2018, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC",
)


def percent(share: float) -> str:
    """A share as text: "12 %"; not "0 %" or "100 %" where it is neither."""
    text = f"{100 * share:.0f}"
    if text in ("0", "100") and share not in (0.0, 1.0):
        text = "< 1" if share < 0.5 else "> 99"
    return f"{text} %"


def verdict(name: str, p: float | None, truth: str) -> tuple[str, str]:
    """An answer beside the truth ("" = not known): the line that says it, with a sign, and the frame's kind."""
    said = f"{name} {percent(p)}" if p is not None else name
    if not truth:
        return said, ""
    return (f"✓ {said}", "good") if truth == name else (f"✗ {said}, is {truth}", "bad")


def scale_of(explained: Explained, maps: np.ndarray) -> np.ndarray:
    """(n,) what gets the full colour in each map: its largest absolute value, but no less than the floor."""
    most = np.abs(np.nan_to_num(maps)).max(axis=(1, 2))
    floor = _FLOOR.get(explained.settings["of"], 0.1 * float(most.max(initial=0.0)))
    scale: np.ndarray = np.maximum(most, floor or 1.0)
    return scale


def grid(explained: Explained, places: np.ndarray, caption: str) -> page.Pictures:
    """Some pictures, each with its map beside it, as a block."""
    masks, scales = spots.spots(explained.maps), scale_of(explained, explained.maps)
    apart = {name: scale_of(explained, maps) for name, maps in explained.by_channel.items()}
    items = []
    for i in places:
        image, answer = explained.images[i], explained.name(explained.predicted[i])
        beside = [("map", overlay(image, explained.maps[i], scales[i], channels=explained.channels, spot=masks[i]))]
        for name, maps in explained.by_channel.items():
            channel = overlay(image, maps[i], max(scales[i], apart[name][i]), channels=explained.channels)
            beside.append((f"map of {name}", channel))
        truth = explained.name(explained.truth[i]) if explained.truth is not None else ""
        if explained.classes:
            label, kind = verdict(answer, float(explained.p[i]), truth)
            other, p = explained.hidden(i)
            then = f"{answer} {percent(p)}" if other == answer else f"{other}, {answer} {percent(p)}"
            note = f"{explained.ids[i]}; spot hidden: {then}"
        else:
            label, kind = (f"{answer} for {truth}" if truth else answer), ""
            note = f"{explained.ids[i]}; spot hidden: {explained.hidden(i)[0]}"
        items.append(page.Picture(image, label, note, kind, beside))
    return page.Pictures(items, caption, channels=explained.channels, pixel_scale=explained.pixel_scale)


def turned(explained: Explained) -> tuple[int, int]:
    """How many answers change when the spot is hidden, and when as much is hidden at a random place."""
    both = (explained.trials.turned(explained.predicted, kind) for kind in ("hidden", "random"))
    hidden, random = (int(t.sum()) for t in both)
    return hidden, random


def lead(explained: Explained) -> str:
    """The answer in a sentence."""
    share = percent(spots.SPOT)
    if explained.classes:
        hidden, random = turned(explained)
        return (
            f"Hiding the {share} of a picture that its answer hangs on most turns {hidden} of {explained.n} answers; "
            f"hiding as much at a random place turns {random}."
        )
    at = spots.SHARES.index(spots.SPOT)
    moved = [float(np.abs(t.p[:, at] - explained.p).mean()) for t in (explained.trials.hidden, explained.trials.random)]
    return (
        f"Hiding the {share} of a picture that its value hangs on most changes the value by {moved[0]:.3g} on average; "
        f"hiding as much at a random place, by {moved[1]:.3g}."
    )


def how_to_read(explained: Explained) -> str:
    """What the colours mean and what they do not."""
    told = {
        "logit": "the logarithmic odds of the answer, ln(p / (1 - p))",
        "probability": "the probability of the answer", "value": "the value",
    }[explained.settings["of"]]  # fmt: skip
    fill = {
        AROUND: "a smooth surface through the pixels around it",
        MEDIAN: "the median of each channel over the validation part",
    }.get(explained.settings["fill"], f"the value {explained.settings['fill']}")
    lost = "raises the value" if not explained.classes else "speaks for the answer"
    gained = "lowers it" if not explained.classes else "speaks against it"
    return (
        f"A window of {explained.settings['window']} pixels is moved over the picture in steps of "
        f"{explained.settings['stride']}; what it hides is replaced by {fill}, and the model is asked again. A pixel's "
        f"colour is the mean change of {told} over the windows that hold it. Orange: what {lost}; blue: what {gained}; "
        f"full colour: the strongest place of that picture. The outlined spot is the most important "
        f"{percent(spots.SPOT)} of the picture.\n\n"
        "A map says what this model uses, not what is true of the object. Where two places each suffice, hiding one "
        "changes nothing, and neither shows. What is larger than the window shows at its edges at most."
    )


def made_by(explained: Explained, bundle: Bundle) -> dict[str, Any]:
    """How it was made, for the end of a page."""
    versions = machine.describe()["versions"]
    assert isinstance(versions, dict)
    used = ", ".join(f"{k} {versions[k]}" for k in ("estampa", "onnxruntime") if versions.get(k))
    model = f"{bundle.manifest.name}, {bundle.hash}"
    settings = ", ".join(f"{k} {v}" for k, v in explained.settings.items())
    return {"Model": model, **explained.facts, "Settings": settings, "Versions": used}


def render(explained: Explained, bundle: Bundle, shortcuts: str = "") -> str:
    """The whole page. `shortcuts`: name of the page on shortcuts beside it, "" = there is none."""
    known = explained.right | explained.wrong
    kinds = {
        "wrong": ("Wrong answers", np.flatnonzero(explained.wrong)),
        "right": ("Right answers", np.flatnonzero(explained.right)),
        "answers": ("Answers" if not known.any() else "Answers to pictures without a label", np.flatnonzero(~known)),
    }
    sections = []
    for name, (title, places) in kinds.items():
        if len(places):
            shown = places[:_EACH]
            more = f" {len(shown)} of {len(places)}; the maps of all are in the file." if len(places) > _EACH else ""
            caption = (
                "Each picture with its map: the answer and, below, what is answered when the outlined spot is hidden."
            )
            sections.append(page.Section(name, title, [grid(explained, shown, caption + more)]))
    if shortcuts:
        where = f"Which regions the answers of each class lean on is told in {shortcuts}, beside this file."
        sections.append(page.Section("regions", "Class by class", [page.Text(where)]))
    papers = page.Text("\n\n".join(f"{p}." for p in PAPERS))
    sections.append(page.Section("reading", "How to read the maps", [page.Text(how_to_read(explained)), papers]))
    title = f"What the answers of {bundle.manifest.name} hang on"
    return page.render(title, lead(explained), sections, made_by=made_by(explained, bundle))
