"""Performance where labels came in: every figure with its interval, held against what the reference reached."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from estampa.errors import InputError
from estampa.evaluate.outside import class_number, labels_of
from estampa.measure import Classification, Regression
from estampa.measure.intervals import bootstrap, wilson
from estampa.monitor.figures import Figure
from estampa.monitor.ranges import Ranges, quantile, rounded

DRAWS = 600  #: pairs of a clean batch and a reference from which the ranges come
FAILURES = 0.5  #: of each class among clean objects, beyond those of the reference (Jeffreys 1946)
RESAMPLES = 400  #: of an interval
MOST = 4000  #: objects of the reference that are drawn from
UNKNOWN = "share of labels of classes that the model does not know"
FEW = 50  #: objects of a class in the reference, below which the range of its figures is wide
SLIPS = 0.01  #: share of labels that people are taken to give by mistake
_SEED = 20110825
_EXPECTED = 9  #: labels of a class that are to be expected, where none is no chance (once in 8,000)
_UNTOLD = "pr_auc"  #: it falls with the share of the class, so that it moves without a fault of the model
_GOOD_LOW = {"log_loss", "brier", "ece", "mse", "rmse", "mae"}


class Labels:
    """Labels by id, in 16 bytes each.

    Attributes
    ----------
    n : how many there are.
    seen : which of them were met.
    """

    def __init__(self, labels: Mapping[str, Any], classes: Sequence[str], where: Path) -> None:
        """Take labels by id; InputError for a class that the model does not know, or what is no number."""
        place = {name: i for i, name in enumerate(classes)}
        values = []
        for name, value in labels.items():
            try:
                values.append(float(class_number(value, place, where, name) if classes else value))
            except (TypeError, ValueError) as error:
                raise InputError("a label that is no number", where=f"{where}, id {name}", got=repr(value)) from error
        keys = keys_of(list(labels))
        order = np.argsort(keys)
        self._keys, self._values = keys[order], np.array(values, np.float64)[order]
        self.n, self.seen = len(keys), np.zeros(len(keys), bool)

    @classmethod
    def read(cls, path: Path, classes: Sequence[str]) -> Labels:
        """Read a file of labels, columns id and label (or class, truth, target, y), or a Dataset; an empty cell is
        no label.
        """
        if not path.is_file():
            what = "not a regular file" if path.exists() else "there is no such file of labels"
            raise InputError(what, where=path)
        told = {name: label for name, label in labels_of(path, "")[0].items() if label not in ("", None)}
        return cls(told, classes, path)

    def of(self, ids: np.ndarray) -> np.ndarray:
        """The label of each id (n,), NaN where there is none, or where the id was met before: an answer given twice
        to one object is evidence once.
        """
        keys = keys_of(ids.tolist())
        at = np.minimum(np.searchsorted(self._keys, keys), max(self.n - 1, 0))
        found = self._keys[at] == keys if self.n else np.zeros(len(keys), bool)
        first = np.zeros(len(keys), bool)
        first[np.unique(keys, return_index=True)[1]] = True
        new = found & first
        if self.n:
            new &= ~self.seen[at]
        self.seen[at[found]] = True
        return np.where(new, self._values[at] if self.n else np.nan, np.nan)


def keys_of(ids: Sequence[str]) -> np.ndarray:
    """(n,) uint64: ids as 8 bytes each of their BLAKE2."""
    digests = b"".join([blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids])
    return np.frombuffer(digests, np.uint64)


class Performance:
    """Ranges of performance, learned from the reference's own answers and labels.

    `rate` is that of false alarms per batch, over all figures of performance together.
    """

    def __init__(self, ranges: Ranges, rate: float, resamples: int = RESAMPLES) -> None:
        self.classes, self.decision, self.rate, self.resamples = ranges.classes, ranges.decision, rate, resamples
        self._wider = ranges.wider
        good = np.isfinite(ranges.output).all(axis=1)
        good &= ranges.labels >= 0 if self.classes else np.isfinite(ranges.labels)
        chosen = np.random.default_rng(_SEED).permutation(np.flatnonzero(good))
        self.m = len(chosen)
        self.known = self.m >= 2
        if self.known:
            self._whole = self._statistic(ranges.labels[chosen], ranges.output[chosen], areas=True)
            few = chosen[:MOST]
            labels, output = self._with_failures(ranges.labels[few], ranges.output[few])
            alike = np.unique(ranges.groups[few], return_inverse=True)[1]
            count, more = int(alike.max()) + 1, len(labels) - len(few)
            self._alike = np.concatenate([alike, count + np.arange(more)])
            self._shares = np.concatenate([np.ones(count), np.full(more, FAILURES)]) / (count + more * FAILURES)
            self._drawn = self._statistic(labels, output, areas=True)
            self._reached = dict(zip(self._whole.names, self._whole(np.ones(self._whole.n)).tolist(), strict=True))
        self._usual = ranges.labels[chosen]
        self._cache: dict[int, tuple[dict[str, tuple[float, float]], float]] = {}

    def _lacking(self, labels: np.ndarray) -> list[str]:
        """Classes that no label (n,) is of, though the reference has so many of them that this is no chance: such
        labels were chosen by class, and figures of a class without objects say nothing of the model.
        """
        if not self.classes or not self.known:
            return []
        known = set(labels.astype(int).tolist())
        return [
            name
            for c, name in enumerate(self.classes)
            if c not in known and (self._usual == c).mean() * len(labels) >= _EXPECTED
        ]

    def _statistic(self, labels: np.ndarray, output: np.ndarray, *, areas: bool) -> Classification | Regression:
        if not self.classes:
            return Regression(labels, output[:, 0])
        from estampa.measure import decide

        output = output / np.maximum(output.sum(axis=1, keepdims=True), 1e-12)
        return Classification(labels, output, areas=areas, predicted=decide(output, self.decision))

    def _with_failures(self, labels: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The objects (m,), and beyond them one failure of each class, as surely wrong as the surest answer of another
        class was. (Of values: the largest error once more.) That a reference has no such failure does not show that
        there is none: without them its figures near 1 looked surer than they are (rule of succession).
        """
        if not self.classes:
            worst = np.abs(output[:, 0] - labels).argmax()
            return np.append(labels, labels[worst]), np.concatenate([output, output[worst : worst + 1]])
        seen = np.unique(labels)
        wrong = [int(np.where(labels == c, np.inf, output[:, c]).argmin()) for c in seen.tolist()]
        return np.concatenate([labels, seen]), np.concatenate([output, output[wrong]])

    def _some(self, draw: np.random.Generator, n: int) -> np.ndarray:
        """How often each object is in a batch of about n of them, drawn with replacement, group by group."""
        many = max(1, round(n * len(self._shares) / len(self._alike)))
        times: np.ndarray = draw.multinomial(many, self._shares)[self._alike].astype(np.float64)
        return times

    def _ranges(self, n: int) -> tuple[dict[str, tuple[float, float]], float]:
        """Figure -> (mean, deviation) of how much farther from perfect a clean batch of n is, in roots (`_faults`),
        and how many deviations are allowed.
        """
        if n not in self._cache:
            drawn, draw, size = self._drawn, np.random.default_rng([_SEED, rounded(n)]), rounded(n)
            with np.errstate(all="ignore"):
                batches, references = (
                    np.stack([drawn(self._some(draw, many)) for _ in range(DRAWS)]) for many in (size, self.m)
                )
                away = _faults(drawn.names, batches) - _faults(drawn.names, references)
                mean, deviation = np.nanmean(away, axis=0), np.nanstd(away, axis=0)
                watched = np.array([not name.startswith(_UNTOLD) for name in drawn.names])
                defined = watched & (np.isfinite(away).mean(axis=0) > 0.5) & (deviation > 0)
                scores = np.where(defined & np.isfinite(away), (away - mean) / deviation, -np.inf)
            bound = quantile(scores.max(axis=1), self.rate) * self._wider(int(defined.sum()), self.rate)
            deviation *= math.sqrt((1 / n + 1 / self.m) / (1 / size + 1 / self.m))
            told = {name: (float(mean[i]), float(deviation[i])) for i, name in enumerate(drawn.names) if defined[i]}
            self._cache[n] = told, bound
        return self._cache[n]

    def figures(self, labels: np.ndarray, output: np.ndarray) -> tuple[list[Figure], tuple[tuple[int, ...], ...]]:
        """Figures of performance on labelled objects, and their confusion; of answers that are not finite none."""
        good = np.isfinite(output).all(axis=1)
        labels, output = labels[good], output[good]
        if not len(labels):
            return [], ()
        statistic = self._statistic(labels, output, areas=True)
        with np.errstate(all="ignore"):
            found = bootstrap(statistic, None, self.resamples)
        ranges, bound = self._ranges(len(labels)) if self.known else ({}, math.nan)
        lacking = self._lacking(labels)
        made = []
        for name, value in found.items():
            if name.startswith(_UNTOLD):
                continue
            title, low, high, alert, score = self.title(name), math.nan, math.nan, False, math.nan
            misled = lacking and (name == "macro_f1" or title.partition("[")[2].removesuffix("]") in lacking)
            if name in ranges and math.isfinite(self._reached[name]) and math.isfinite(value.value) and not misled:
                mean, deviation = ranges[name]
                usual, found_ = (float(_faults([name], np.array([v]))[0]) for v in (self._reached[name], value.value))
                score = (found_ - usual - mean) / (bound * deviation)
                alert, most = score > 1, max(usual + mean + bound * deviation, 0.0) ** 2
                low, high = (0.0, most) if name in _GOOD_LOW else (1 - most, 1.0)
                if name not in ("r2", "spearman"):
                    low = max(low, 0.0)
            side = f"above {high:.4g}" if name in _GOOD_LOW else f"below {low:.4g}"
            why = (
                f"{title} is {value.value:.4g}, {side}: the reference reached {self._reached[name]:.4g}"
                if alert
                else f"no range: no label is of {lacking[0]}"
                if misled
                else self._rests_on(title)
            )
            made.append(Figure(title, value.value, value.low, value.high, low, high, "performance", alert, why, score))
        made = self._with_classes(made)
        matrix: tuple[tuple[int, ...], ...] = ()
        if isinstance(statistic, Classification):
            k = len(self.classes)
            cells = np.bincount(statistic.truth * k + statistic.predicted, minlength=k * k).reshape(k, k)
            matrix = tuple(tuple(row) for row in cells.tolist())
        return made, matrix

    def _of_class(self, title: str) -> tuple[str, int]:
        """The class that a figure is of, and how many objects of it the reference has; ("", 0) of all classes."""
        name = title.partition("[")[2].removesuffix("]")
        return name, int((self._usual == self.classes.index(name)).sum()) if name in self.classes else 0

    def _rests_on(self, title: str) -> str:
        """What must be known of the range of one class's figure where the reference has few objects of it."""
        name, count = self._of_class(title)
        if not name or count >= FEW or not self.known:
            return ""
        return f"its range rests on {count:,} {name} of the reference: only a large loss is seen"

    def _with_classes(self, made: list[Figure]) -> list[Figure]:
        """An alarm over all classes names the class that lost most, as its own figure may be blind to it."""
        reached = {self.title(name): value for name, value in self._reached.items()} if self.known else {}
        lost = [(reached[f.name] - f.value, f) for f in made if f.name.startswith("recall[") and f.name in reached]
        known = [(loss, f) for loss, f in lost if loss > 0 and not f.why.startswith("no range")]
        if not known:
            return made
        worst = max(known, key=lambda pair: pair[0])[1]
        count = self._of_class(worst.name)[1]
        said = (
            f"; most was lost in {worst.name}, {worst.value:.3g}: the reference reached {reached[worst.name]:.3g} on "
            f"{count:,} of them"
        )
        return [replace(f, why=f.why + said) if f.alert and "[" not in f.name else f for f in made]

    def title(self, name: str) -> str:
        """A metric's name with the class's name in place of its number: "recall[spiral]"."""
        kind, cut, number = name.partition("[")
        return f"{kind}[{self.classes[int(number[:-1])]}]" if cut else name


def of_unknown(unknown: int, known: int) -> list[Figure]:
    """The share of fair labels that are of classes that the model does not know; [] where none is.

    One label in a hundred is taken for a slip: beyond that, for sure, there is a class that it cannot answer.
    """
    if not unknown:
        return []
    share, (low, high) = unknown / (unknown + known), wilson(unknown / (unknown + known), unknown + known)
    why = f"{UNKNOWN} is {share:.3g} ({unknown:,} labels): it answers all of these wrong" if low > SLIPS else ""
    return [Figure(UNKNOWN, share, low, high, 0.0, SLIPS, "performance", low > SLIPS, why, low / SLIPS)]


def _faults(names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """The root of how far each figure (..., k) is from perfect. What a figure near perfect lacks comes from few
    objects, as counts do whose spread grows with them; that of their root does not (Bartlett 1936, J. R. Stat. Soc.
    Suppl. 3, 68), so a reference that had a few more or fewer tells the same.
    """
    from_below = np.array([name not in _GOOD_LOW for name in names])
    found: np.ndarray = np.sqrt(np.maximum(np.where(from_below, 1 - values, values), 0))
    return found
