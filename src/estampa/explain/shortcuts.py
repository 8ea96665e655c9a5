"""Shortcuts: class by class, which region the answers lean on, and how much of them hangs on a small spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import page
from estampa.bundle.store import Bundle
from estampa.explain import regions, spots
from estampa.explain.filling import stored
from estampa.explain.overlay import lined, overlay
from estampa.explain.pages import PAPERS, grid, how_to_read, made_by, percent
from estampa.explain.result import Explained
from estampa.measure import Interval
from estampa.plain import numbered

KINDS = ("hidden", "random", "alone", "chance")
_FEW = 10  #: answers of a class below which nothing is said of it
_CROPS, _HANGING = 7, 12  #: spots shown of each class; pictures shown whose answers hang on a small spot


@dataclass(frozen=True)
class Leaning:
    """What the answers for one class lean on.

    `places`: their rows among the explained. `shares`: of each region, with intervals. `turned`: share of the answers
    that change when the spot is hidden; `random`: when as much is hidden elsewhere; `alone`: share that stay when
    nothing but the spot is left; `chance`: when nothing but as much elsewhere is left. `concentration`: mean share of
    the importance within the spot.
    """

    name: str
    places: np.ndarray
    shares: list[Interval]
    turned: Interval
    random: Interval
    alone: Interval
    chance: Interval
    concentration: Interval

    def region(self, even: np.ndarray) -> int:
        """The region whose share exceeds an even one by the most."""
        return int(np.argmax([s.value - e for s, e in zip(self.shares, even, strict=True)]))

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """Plain values."""
        return {
            "n": len(self.places),
            "regions": {name: s.to_json() for name, s in zip(names, self.shares, strict=True)},
            "turned_when_hidden": self.turned.to_json(),
            "turned_at_random": self.random.to_json(),
            "kept_when_alone": self.alone.to_json(),
            "kept_at_random": self.chance.to_json(),
            "concentration": self.concentration.to_json(),
        }


def leanings(explained: Explained, size: int) -> list[Leaning]:
    """One record for each class that was answered, in declared order; `size`: regions along a side."""
    shares = regions.shares(explained.maps, size)
    trials = {kind: explained.trials.turned(explained.predicted, kind) for kind in KINDS}
    found = []
    for c, name in enumerate(explained.classes):
        places = np.flatnonzero(explained.predicted == c)
        if not len(places):
            continue
        tied = None if explained.groups is None else explained.groups[places]
        found.append(
            Leaning(
                name, places, regions.means(shares[places], tied),
                regions.share_of(trials["hidden"][places], tied), regions.share_of(trials["random"][places], tied),
                regions.share_of(~trials["alone"][places], tied),
                regions.share_of(~trials["chance"][places], tied),
                regions.means(explained.concentration[places, None], tied)[0],
            )
        )  # fmt: skip
    return found


def to_json(explained: Explained, size: int) -> dict[str, Any]:
    """Class -> what its answers lean on, and the regions' names with the share that each would have by its area."""
    names = regions.names(size)
    even = dict(zip(names, regions.evenly(explained.maps.shape[1:], size).tolist(), strict=True))
    found = {one.name: one.to_json(names) for one in leanings(explained, size)}
    return {"grid": size, "spot": spots.SPOT, "even": even, "classes": found}


def sentence(one: Leaning, even: np.ndarray, size: int) -> str:
    """What is to be said of a class, in plain words."""
    if len(one.places) < _FEW:
        return f"{one.name}: {numbered(len(one.places), 'answer')}, too few to say anything ({_FEW} are needed)."
    top = one.region(even)
    share, fair = one.shares[top], even[top]
    where = regions.names(size)[top]
    spot = percent(spots.SPOT)
    if share.low > fair:
        leans = f"lean on the region {where}: it holds {_words(share)} of the importance, {percent(fair)} of the area"
    else:
        leans = "lean on no region: no share of the importance is surely above that of the area"
    return (
        f"Answers for {one.name} {leans}. Hiding the {spot} of the picture that matter most turns {_words(one.turned)} "
        f"of them, as much at a random place {_words(one.random)}; that spot alone keeps {_words(one.alone)}, "
        f"a random one {_words(one.chance)}."
    )


def lines(explained: Explained, size: int) -> list[str]:
    """For a terminal: a sentence a class."""
    even = regions.evenly(explained.maps.shape[1:], size)
    return [sentence(one, even, size) for one in leanings(explained, size)]


def render(explained: Explained, bundle: Bundle, size: int) -> str:
    """The whole page."""
    found = leanings(explained, size)
    even = regions.evenly(explained.maps.shape[1:], size)
    sections = [
        page.Section("classes", "Class by class", _classes(explained, found, even, size)),
        page.Section("spots", "What is in the spots", _spots(explained, found)),
        page.Section("hanging", "Answers that hang on a small spot", _hanging(explained)),
        page.Section("sizes", "Hidden, and left alone", _sizes(explained)),
        page.Section("reading", "How to read this", [page.Text(_advice(explained, size)), *_papers()]),
    ]
    kept = [s for s in sections if s.blocks]
    return page.render(
        f"Shortcuts of {bundle.manifest.name}", _lead(found, even, size), kept, made_by=made_by(explained, bundle)
    )


def _words(found: Interval) -> str:
    if np.isnan(found.value):
        return "an unknown share"
    text = percent(found.value)
    return text if np.isnan(found.low) else f"{text} [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def _lead(found: Sequence[Leaning], even: np.ndarray, size: int) -> str:
    """The class whose answers hang most on a small spot, or, where none surely does, on a region."""
    enough = [one for one in found if len(one.places) >= _FEW]
    if not enough:
        return f"Too few answers were explained to say anything of a class (fewer than {_FEW} of each)."

    def hangs(one: Leaning) -> tuple[float, float]:
        """What its spot turns beyond chance, if that is surely more; and how surely it leans on a region."""
        top = one.region(even)
        beyond = one.turned.value - one.random.value if one.turned.low > one.random.value else 0.0
        return beyond, one.shares[top].low - float(even[top])

    return sentence(max(enough, key=hangs), even, size)


def _classes(explained: Explained, found: Sequence[Leaning], even: np.ndarray, size: int) -> list[Any]:
    names = regions.names(size)
    rows = [
        [
            one.name, len(one.places), names[one.region(even)], _percents(one.shares[one.region(even)]),
            _percents(one.turned), _percents(one.random), _percents(one.alone), _percents(one.chance),
        ]
        for one in found
    ]  # fmt: skip
    columns = [
        "answer",
        "pictures",
        "region",
        "its share, %",
        "turned, %",
        "at random, %",
        "kept by it, %",
        "by a random one, %",
    ]
    areas = " to ".join(dict.fromkeys(percent(float(area)) for area in (even.min(), even.max())))
    table = page.Table(
        columns, rows, decimals=0,
        caption=f"Share of the importance in the region that has most beyond its area ({areas}); answers that turn "
        f"when the most important {percent(spots.SPOT)} of the picture are hidden, and when as much is hidden at a "
        "random place; answers that stay when nothing but that spot is left, and when nothing but a random one is. "
        "95 % intervals over pictures.",
    )  # fmt: skip
    said = page.Text("\n\n".join(sentence(one, even, size) for one in found))
    return [table, said, _mean_maps(explained, found, size), _regions(found, even, size)]


def _percents(found: Interval) -> Interval:
    return Interval(100 * found.value, 100 * found.low, 100 * found.high)


def _mean_maps(explained: Explained, found: Sequence[Leaning], size: int) -> page.Pictures:
    weights = regions.weights(explained.maps)
    down, across = (regions.borders(side, size) for side in explained.maps.shape[1:])
    items = []
    for one in found:
        good = one.places[np.isfinite(weights[one.places]).all(axis=(1, 2))]
        if not len(good):
            continue
        mean = weights[good].mean(axis=0)
        images = explained.images[good].astype(np.float32)
        finite = np.isfinite(images)
        total = np.where(finite, images, 0).sum(axis=0) / np.maximum(finite.sum(axis=0), 1)
        picture = stored(total, explained.images.dtype)
        shown = overlay(picture, mean, float(mean.max()), channels=explained.channels)
        shown = lined(shown, down, across, explained.maps.shape[1:])
        items.append(page.Picture(picture, one.name, f"{len(good)} answers", beside=[("mean map", shown)]))
    caption = (
        "Mean picture and mean map of each answer: orange is where the importance lies, full colour its largest mean. "
        "They tell something only where pictures are aligned, as faces and centred cut-outs are."
    )
    return page.Pictures(items, caption, channels=explained.channels, pixel_scale=explained.pixel_scale)


def _regions(found: Sequence[Leaning], even: np.ndarray, size: int) -> page.Details:
    names = regions.names(size)
    rows: list[list[Any]] = [
        [name, 100 * float(e), *(_percents(one.shares[r]) for one in found)]
        for r, (name, e) in enumerate(zip(names, even, strict=True))
    ]
    table = page.Table(
        ["region", "area, %", *(one.name for one in found)], rows, decimals=1,
        caption="Per cent of the importance of each answer, region by region, with 95 % intervals over pictures.",
    )  # fmt: skip
    return page.Details("Every region of every class", [table])


def _spots(explained: Explained, found: Sequence[Leaning]) -> list[Any]:
    side = min(*explained.maps.shape[1:], max(4, 2 * int(explained.settings["window"])))
    places, blocks = spots.peaks(explained.maps), []
    turned = explained.trials.turned(explained.predicted, "hidden")
    held = np.nan_to_num(explained.concentration, nan=-1.0)
    for one in found:
        items = []
        for i in one.places[np.lexsort((-held[one.places], ~turned[one.places]))][:_CROPS]:
            ends = zip(places[i], explained.maps.shape[1:], strict=True)
            y, x = (int(np.clip(at - side // 2, 0, length - side)) for at, length in ends)
            answer, p = explained.hidden(int(i))
            note = f"hidden: {answer}" if answer != one.name else f"hidden: {percent(p)}"
            items.append(page.Picture(explained.images[i, y : y + side, x : x + side], one.name, note))
        blocks.append(page.Pictures(items, columns=_CROPS, channels=explained.channels))
    text = page.Text(
        f"The {side} x {side} pixels around the strongest place of some pictures of each answer: first those whose "
        "answer turns when the spot is hidden, the most concentrated first; below, what is answered then. When these "
        "show the same small thing, and not what the class is about, it is a shortcut."
    )
    return [text, *blocks]


def _hanging(explained: Explained) -> list[Any]:
    turned = np.flatnonzero(explained.trials.turned(explained.predicted, "hidden"))
    stays = explained.trials.turned(explained.predicted, "alone")
    some = turned[np.lexsort((-np.nan_to_num(explained.concentration[turned]), stays[turned]))][:_HANGING]
    if not len(some):
        return [page.Note("good", f"No answer turns when {percent(spots.SPOT)} of its picture are hidden.")]
    both = int((~stays[turned]).sum())
    text = (
        f"{len(turned)} of {explained.n} answers turn when their spot is hidden; {both} of these also stay when "
        "nothing but the spot is left, so that the spot alone makes the answer."
    )
    caption = "Those that the spot alone makes come first, then by how much of the importance the spot holds."
    return [page.Text(text), grid(explained, some, caption)]


def _sizes(explained: Explained) -> list[Any]:
    rows: list[list[Any]] = []
    for share in spots.SHARES:
        some = {kind: explained.trials.turned(explained.predicted, kind, share) for kind in KINDS}
        tied = explained.groups
        told = (some["hidden"], some["random"], ~some["alone"], ~some["chance"])
        rows.append([100 * share, *(_percents(regions.share_of(t, tied)) for t in told)])
    caption = (
        "Over all explained pictures: the most important share of the picture hidden (deletion), as much hidden at a "
        "random place; nothing but it left, on the colour that hides (insertion), and nothing but as "
        "much at a random place."
    )
    columns = ["share of the picture, %", "turned, %", "at random, %", "kept by it, %", "by a random one, %"]
    return [page.Table(columns, rows, caption, decimals={columns[0]: 0} | dict.fromkeys(columns[1:], 0))]


def _advice(explained: Explained, size: int) -> str:
    return (
        "Maps are of the answer that was given, right or wrong; importance is the positive part of a map, brought to "
        f"a sum of 1 in each picture; regions are {size} x {size} equal parts. The spot is chosen for each picture by "
        "the model itself, so that hiding it must turn more answers than hiding a random one; how many more is what "
        "counts.\n\n"
        "A region or spot is a shortcut only if it is not what makes the class: a nose may rightly decide on a face, "
        "a watermark may not. Look at the spots, then try pictures that lack the thing. "
        f"{how_to_read(explained)}"
    )


def _papers() -> list[Any]:
    return [page.Text("\n\n".join(f"{p}." for p in PAPERS))]
