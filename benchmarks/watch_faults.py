"""Faults as they happen to instruments, pipelines and people, put into objects that were clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from benchmarks.watch_sets import Case

_SEED = 8


@dataclass
class Fault:
    """One fault.

    Attributes
    ----------
    name : in words.
    raw : the inputs with it.
    labels : class numbers, -1 = a class that the model does not know; as the labellers give them.
    labelled : whether the labels are given to the watch.
    lacking : whether the model without one class is watched.
    place : (n,) which of the case's objects each one is.
    mild : whether the estimated accuracy should still hold.
    """

    name: str
    raw: np.ndarray
    labels: np.ndarray
    labelled: bool = False
    lacking: bool = False
    mild: bool = False
    place: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not len(self.place):
            self.place = np.arange(len(self.raw))


@dataclass
class _Maker:
    case: Case
    made: list[Fault] = field(default_factory=list)

    def add(self, name: str, change: Callable[[np.ndarray], np.ndarray], *, mild: bool = False) -> None:
        """A fault of the inputs alone."""
        raw = self.case.raw
        changed = change(raw.astype(np.float64))
        if raw.dtype.kind == "u":
            changed = np.clip(np.rint(changed), 0, np.iinfo(raw.dtype).max)
        else:
            changed = np.clip(changed, np.finfo(raw.dtype).min, np.finfo(raw.dtype).max)
        self.made.append(Fault(name, changed.astype(raw.dtype), self.case.labels, mild=mild))


def faults(case: Case) -> list[Fault]:
    """All faults of a case, the clean objects not among them."""
    maker, table = _Maker(case), case.bundle.of_table
    (_of_table if table else _of_pictures)(maker)
    _of_classes(maker)
    return maker.made


def _of_pictures(maker: _Maker) -> None:
    raw, draw = maker.case.raw.astype(np.float64), np.random.default_rng(_SEED)
    whole = raw.dtype.kind == "u" or maker.case.raw.dtype.kind == "u"
    middle = np.nanmedian(raw, axis=(1, 2), keepdims=True)
    sky = (
        np.full_like(middle, 10.0) if whole else 1.4826 * np.nanmedian(np.abs(raw - middle), axis=(1, 2), keepdims=True)
    )
    told = "10 counts" if whole else "its own sky noise"
    maker.add("brightness x 1.03 (mild)", lambda x: 1.03 * x, mild=True)
    maker.add("brightness x 1.1", lambda x: 1.1 * x)
    maker.add("brightness x 1.3", lambda x: 1.3 * x)
    maker.add(f"offset of {told}", lambda x: x + sky)
    maker.add(f"noise, sigma = {told}", lambda x: x + sky * draw.standard_normal(x.shape))
    maker.add("PSF blur, sigma 0.5 pixel", lambda x: blurred(x, 0.5))
    maker.add("PSF blur, sigma 1 pixel", lambda x: blurred(x, 1.0))
    last = raw.shape[3] - 1
    if last:
        maker.add("one channel dead (0)", lambda x: np.where(np.arange(last + 1) == last, 0, x))
        maker.add("two channels swapped", lambda x: x[..., [1, 0, *range(2, last + 1)]])
    bad = 255.0 if whole else np.nan
    for share in (0.05, 0.2):
        hit = draw.random(len(raw)) < share
        said = f"two rows of {'saturated pixels' if whole else 'NaN'} in {share:.0%} of the pictures"
        maker.add(said, lambda x, hit=hit: _rows_hit(x, hit, bad))


def _rows_hit(images: np.ndarray, hit: np.ndarray, value: float) -> np.ndarray:
    images = images.copy()
    images[hit, 4:6] = value
    return images


def blurred(images: np.ndarray, sigma: float) -> np.ndarray:
    """Pictures (n, h, w, c) under a wider Gaussian PSF; NaN counts as 0 under it and stays NaN."""
    away = np.arange(-4, 5)
    kernel = np.exp(-(away**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    made = np.nan_to_num(images)
    for axis in (1, 2):
        padded = np.pad(made, [(4, 4) if a == axis else (0, 0) for a in range(4)], mode="edge")
        length = made.shape[axis]
        made = sum(w * np.take(padded, np.arange(i, i + length), axis=axis) for i, w in enumerate(kernel))
    return np.where(np.isnan(images), np.nan, made)


def _of_table(maker: _Maker) -> None:
    names, draw = maker.case.bundle.table.column_names, np.random.default_rng(_SEED)
    g, r = names.index("g"), names.index("r")
    one = np.arange(len(names)) == g
    maker.add("0.02 mag in g (mild)", lambda x: x - 0.02 * one, mild=True)
    maker.add("brightness x 1.1 (all bands)", lambda x: x - 2.5 * np.log10(1.1))
    maker.add("brightness x 1.3 (all bands)", lambda x: x - 2.5 * np.log10(1.3))
    maker.add("zero point of g off by 0.1 mag", lambda x: x - 0.1 * one)
    maker.add("noise, sigma = 0.1 mag", lambda x: x + 0.1 * draw.standard_normal(x.shape))
    maker.add("one column dead (0)", lambda x: np.where(one, 0, x))
    maker.add("two columns swapped (g, r)", lambda x: _swapped(x, g, r))
    maker.add("one column in other units (nanomaggies)", lambda x: np.where(one, 10 ** (0.4 * (22.5 - x)), x))
    for value, told in ((np.nan, "empty"), (-9999.0, "-9999")):
        for share in (0.05, 0.2):
            hit = (draw.random(len(maker.case.raw)) < share)[:, None] & one
            maker.add(f"g {told} in {share:.0%} of the rows", lambda x, hit=hit, value=value: np.where(hit, value, x))


def _swapped(rows: np.ndarray, one: int, other: int) -> np.ndarray:
    rows = rows.copy()
    rows[:, [one, other]] = rows[:, [other, one]]
    return rows


def _of_classes(maker: _Maker) -> None:
    """The mix of classes, wrong labels, classes that the model does not know."""
    case, draw = maker.case, np.random.default_rng(_SEED)
    counts = np.bincount(case.labels)
    rare = int(counts.argmin())
    for times, mild in ((1.5, True), (3.0, False)):
        kept = (case.labels == rare) | (draw.random(len(case.labels)) < 1 / times)
        name = f"one class {times:g} times as common against the others" + " (mild)" * mild
        maker.made.append(Fault(name, case.raw[kept], case.labels[kept], mild=mild, place=np.flatnonzero(kept)))
    for share in (0.05, 0.1, 0.2):
        wrong = draw.random(len(case.labels)) < share
        other = (case.labels + draw.integers(1, len(counts), len(case.labels))) % len(counts)
        labels = np.where(wrong, other, case.labels)
        maker.made.append(Fault(f"labels wrong in {share:.0%} (labels given)", case.raw, labels, labelled=True))
    if case.lacking is not None:
        place = {name: i for i, name in enumerate(case.lacking.classes)}
        labels = np.array([place.get(name, -1) for name in case.bundle.classes])[case.labels]
        share = float((labels < 0).mean())
        name = f"a class never seen ({case.lacked}, {share:.0%} of the objects)"
        maker.made.append(Fault(name, case.raw, labels, lacking=True))
    if case.strangers is not None:
        few = draw.permutation(len(case.raw))[: 9 * len(case.strangers)]
        for share in (0.1, 0.5):
            many = min(round(len(few) * share / (1 - share)), len(case.strangers))
            kept = few[: round(many * (1 - share) / share)]
            raw = np.concatenate([case.raw[kept], case.strangers[:many].astype(case.raw.dtype)])
            labels = np.concatenate([case.labels[kept], np.full(many, -1)])
            maker.made.append(Fault(f"stamps of another survey, {share:.0%}", raw, labels))
