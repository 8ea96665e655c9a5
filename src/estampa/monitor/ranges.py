"""The reference's ranges, for batches of any size, with one rate of false alarms over all tests of a batch.

Each test of a batch against the reference gives a normal score. How large the largest of all scores becomes among
clean batches of this size is learned from the reference itself: batches are drawn from it without replacement and
held against the rest of it, so that correlated features, ties and the uncertainty of the reference count as they are
(the step-down maximum of Westfall and Young 1993, "Resampling-Based Multiple Testing", without the steps). Objects of
a group (an exposure, a person) are drawn together: they are alike, and a new batch is of other groups. The bound that
1 % of the batches pass is the bound of every test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from estampa.bundle.reference import COMPONENTS, flags_of
from estampa.bundle.store import Bundle
from estampa.data import summary
from estampa.data.summary import STATISTICS
from estampa.errors import BundleError, InputError
from estampa.measure import confidence, decide
from estampa.measure.intervals import wilson
from estampa.monitor.against import Learned, Sums, learn, of_shares, to_chi2
from estampa.monitor.columns import Column, Group, fit_group
from estampa.monitor.figures import Figure
from estampa.predict.answers import INVALID, UNREADABLE

RATE = 0.01  #: false alarms per batch
DRAWS = 2000  #: clean batches from which a bound is learned
POOL = 4096  #: objects of the reference from which they are drawn
LEAST = 20  #: objects of a reference below which there is nothing to hold a batch against
MOST_CLASSES = 40  #: whose shares are watched one by one
_TAIL = 0.1  #: share of the largest maxima that show how they go on, where there are too few to count
_TYPICAL = 60  #: tests of a batch
_SEED = 19930107
_CHUNK = 200
_Z = 1.959963984540054
_WIDEST = 80.0  #: of a prepared feature that is put back into its column's units
_WORDS = {"input": "inputs", "embedding": "embedding"}
_JOINT = {"mmd": "all together, MMD", "principal": "all together, principal directions"}


class Ranges:
    """What a bundle's reference says of a clean batch of n objects.

    Attributes
    ----------
    rate : false alarms per batch, over all its tests.
    m : objects of the reference.
    groups : (m,) of each of them; where nothing is known of groups each object is one.
    learned : kind of group -> its tests.
    flags : flag -> which objects of the reference carry it, (m,) bool, of those flags that can be told.
    """

    def __init__(self, bundle: Bundle, rate: float = RATE) -> None:
        """Learn from `reference.safetensors`; BundleError when it is too small, InputError for a rate that is none."""
        if not 0 < rate < 0.5:
            raise InputError("not a rate of false alarms", where="--rate", allowed="above 0, below 0.5", got=rate)
        kept = bundle.tensors("reference")
        self.rate, self.classes, self.decision = rate, bundle.classes, bundle.thresholds.decision
        self.output_width = max(len(self.classes), 1)
        self.m = len(kept["output"])
        if self.m < LEAST:
            raise BundleError("too few objects in its reference to watch against", where=bundle.folder,
                              allowed=f"at least {LEAST}", got=self.m)  # fmt: skip
        names = feature_names(bundle)
        self.groups = _known_groups(kept.get("groups"), self.m)
        self._chosen = whole_groups(np.random.default_rng(_SEED), self.groups, 1)[0, :POOL]
        self._alike = np.unique(self.groups[self._chosen], return_inverse=True)[1]
        self.learned: dict[str, Learned] = {}
        self._pool: dict[str, np.ndarray] = {}
        if kept["describe"].shape[1] != len(names):
            raise BundleError("its reference is of other features than its contract", where=bundle.folder)
        self._turned = bundle.preparation.in_units if bundle.of_table else None
        features = {"input": (names, kept["describe"])}
        if not bundle.of_table:  # of a table they are combinations of the same features
            features["embedding"] = [f"component {i + 1}" for i in range(COMPONENTS)], kept["components"]
        for kind, (labels, values) in features.items():
            self._learn(fit_group(kind, labels, values), values)
        values = self.answers(kept["output"].reshape(self.m, -1))
        self._learn(self._output_group(values), values)
        self.output, self.labels = kept["output"].reshape(self.m, -1), kept["labels"]
        self.flags = _flags(bundle, kept, self.output)
        self._marks = np.stack([self.flags[name][self._chosen] for name in sorted(self.flags)], axis=1)
        self.maxima = lru_cache(maxsize=None)(self._maxima)

    def _learn(self, group: Group, values: np.ndarray) -> None:
        if not group.columns:
            return
        rows = group.apply(values)
        self.learned[group.kind] = learned = learn(group, rows)
        self._pool[group.kind] = (rows[self._chosen] - learned.mean).astype(np.float32)

    def answers(self, output: np.ndarray) -> np.ndarray:
        """What is watched of answers (n, classes) or (n, 1): confidence and a mark for each class, or the value."""
        if not self.classes:
            return output
        predicted = decide(output, self.decision)
        marks = np.zeros((len(output), len(self.classes)))
        marks[np.arange(len(output)), predicted] = 1
        return np.concatenate([confidence(output, predicted)[:, None], marks], axis=1)

    def _output_group(self, values: np.ndarray) -> Group:
        first = "confidence" if self.classes else "value"
        group = fit_group("output", [first], values[:, :1])
        if not self.classes:
            return group
        often = np.argsort(-values[:, 1:].sum(axis=0), kind="stable")[:MOST_CLASSES]
        group.columns += [Column(f"share of {self.classes[c]}", "output", "share", 1 + c, 0.0) for c in sorted(often)]
        pad = np.ones(values.shape[1] - 1)
        group.names = (first, *self.classes)
        group.middle = np.concatenate([group.middle, 0 * pad])
        group.left, group.right = np.concatenate([group.left, pad]), np.concatenate([group.right, pad])
        return group

    # ------------------------------------------------------------------------------------------------ sums of a batch

    def empty(self) -> dict[str, Sums]:
        """Sums of no objects."""
        return {k: Sums(0, np.zeros(g.group.width), np.zeros(g.group.width)) for k, g in self.learned.items()}

    def rows(self, kind: str, values: np.ndarray) -> np.ndarray:
        """The columns of objects, of `describe`, components or output; those that are not finite are left out."""
        good = np.isfinite(values).all(axis=1)
        values = values[good]
        return self.learned[kind].group.apply(self.answers(values) if kind == "output" else values)

    def sample(self, kinds: Sequence[str]) -> np.ndarray:
        """Some objects of the reference: their columns in these groups, without waves."""
        parts = [(self.learned[kind], self._pool[kind]) for kind in kinds]
        return np.concatenate([(pool + one.mean)[:, : one.group.begin] for one, pool in parts], axis=1)

    # -------------------------------------------------------------------------------------------------------- bounds

    def threshold(self, n: int, kinds: Iterable[str]) -> float:
        """The bound of every score of a batch of n objects that is watched in groups `kinds`."""
        kinds = tuple(sorted(kinds))
        tests = sum(self.learned[kind].plain for kind in kinds)
        return quantile(self.maxima(rounded(n), kinds), self.rate) * self.wider(tests, self.rate)

    def _maxima(self, n: int, kinds: tuple[str, ...]) -> np.ndarray:
        """The largest score of each of many clean batches of n objects, falling."""
        pool = len(next(iter(self._pool.values())))
        size = min(n, pool // 2)
        maxima = np.full(pool if size == 1 else DRAWS, -np.inf)
        draw = np.random.default_rng([_SEED, size])
        for start in range(0, len(maxima), _CHUNK):
            many = min(_CHUNK, len(maxima) - start)
            if size == 1:
                chosen = np.arange(start, start + many)[:, None]
            else:
                chosen = whole_groups(draw, self._alike, many, size)
            for kind in kinds:
                largest = self._scores_of(kind, chosen).max(axis=1)
                maxima[start : start + many] = np.maximum(maxima[start : start + many], largest)
            flagged = self._scores_of_flags(chosen).max(axis=1)
            maxima[start : start + many] = np.maximum(maxima[start : start + many], flagged)
        return np.sort(maxima)[::-1]

    def _scores_of_flags(self, chosen: np.ndarray) -> np.ndarray:
        """Scores (b, flags) of more flags among the pool's rows `chosen` (b, size) than among the rest of the pool."""
        size, m = chosen.shape[1], len(self._marks) - chosen.shape[1]
        counts = self._marks[chosen].sum(axis=1)
        found: np.ndarray = np.maximum(of_shares(size, counts / size, m, (self._marks.sum(axis=0) - counts) / m), 0)
        return found

    @property
    def few_groups(self) -> bool:
        """Whether the reference has so few groups that they widen its ranges by a third and more."""
        return self.wider(_TYPICAL, self.rate) > 4 / 3

    def wider(self, tests: int, rate: float) -> float:
        """By how much a bound of `tests` scores is wider as few groups show their spread badly: Student's quantile
        over the normal one (Abramowitz and Stegun 1964, 26.7.5; good from about six groups on, below that still too
        narrow). 1 where each object stands for itself.
        """
        freedom = int(self.groups.max())
        if freedom + 1 == self.m:
            return 1.0
        z = NormalDist().inv_cdf(1 - rate / (2 * max(tests, 1)))
        terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
        return float(1 + sum(term / freedom ** (i + 1) for i, term in enumerate(terms)) / z)

    def _scores_of(self, kind: str, chosen: np.ndarray) -> np.ndarray:
        """Sizes of the scores (b, tests) of batches (b, size) of the pool's rows against the rest of the pool."""
        learned, pool = self.learned[kind], self._pool[kind]
        plain, (many, size) = learned.plain, chosen.shape
        squares = pool[:, :plain] ** 2
        if size <= 16:
            sums, own = pool[chosen].sum(axis=1), squares[chosen].sum(axis=1)
        else:
            weights = np.zeros((many, len(pool)), np.float32)
            np.put_along_axis(weights, chosen, 1, axis=1)
            sums, own = weights @ pool, weights @ squares
        rest, m = (pool.sum(axis=0) - sums) / (len(pool) - size), len(pool) - size
        variance = np.maximum((squares.sum(axis=0) - own) / m - rest[:, :plain] ** 2, 0) * m / max(m - 1, 1)
        if 8 * size > len(pool):  # the rest is smaller only here: with the whole it is as sure as the reference is
            variance = (variance + self.learned[kind].variance) / 2
        shift = learned.mean
        scores = learned.scores(size, sums / size + shift, m, rest + shift, variance.astype(np.float64))
        return sizes(learned, scores)

    # ------------------------------------------------------------------------------------------------------- figures

    def figures(self, sums: Mapping[str, Sums]) -> list[Figure]:
        """The figures of a batch from its sums; groups that its source does not tell of are left out."""
        told = {kind: found for kind, found in sums.items() if found.n and kind in self.learned}
        if not told:
            return []
        bound = self.threshold(max(found.n for found in told.values()), told)
        return [figure for kind, found in told.items() for figure in self._of_group(self.learned[kind], found, bound)]

    def _of_group(self, learned: Learned, sums: Sums, bound: float) -> list[Figure]:
        n, m, plain = sums.n, self.m, learned.plain
        mean = sums.total / n
        scores = learned.scores(n, mean[None], m, learned.mean[None], learned.variance[None])
        reached = sizes(learned, scores)[0] / bound
        variance = np.maximum(sums.squares / n - mean**2, 0)[:plain] * n / max(n - 1, 1)
        own = np.sqrt(variance / n) if n > 1 else np.full(plain, math.nan)
        wide = bound * np.sqrt(learned.variance * (1 / n + 1 / m))
        least, most = (
            share_range(n, m, np.where(learned.shares, learned.mean[:plain], 0.5), bound)
            if learned.shares.any()
            else (wide, wide)
        )
        made = []
        numbers: tuple[float, ...]
        for i, column in enumerate(learned.group.columns):
            if column.way == "share":
                numbers = (float(mean[i]), *wilson(float(mean[i]), n), least[i], most[i])
            else:
                ends = (mean[i], mean[i] - _Z * own[i], mean[i] + _Z * own[i],
                        learned.mean[i] - wide[i], learned.mean[i] + wide[i])  # fmt: skip
                numbers = self._in_units(learned, column, i, [float(end) for end in ends])
            made.append(_figure(column.name, numbers, learned.group.kind, float(reached[i])))
        for name, score in zip(learned.joint, reached[plain:], strict=True):
            expected, freedom = learned.moments(name)
            value = to_chi2(float(score * bound), expected, freedom) / expected
            numbers = (value, math.nan, math.nan, 0.0, to_chi2(bound, expected, freedom) / expected)
            title = f"{_WORDS.get(learned.group.kind, learned.group.kind)}, {_JOINT[name]}"
            made.append(_figure(title, numbers, learned.group.kind, float(score)))
        return made

    def _in_units(self, learned: Learned, column: Column, i: int, ends: Sequence[float]) -> tuple[float, ...]:
        """Ends in score as values: of a typical one in its units, of a spread as a multiple of the reference's."""
        if column.way == "typical":
            found = [learned.group.unbend(end, column.feature) if math.isfinite(end) else end for end in ends]
            if self._turned is not None and learned.group.kind == "input":
                ends = [min(max(end, -_WIDEST), _WIDEST) if math.isfinite(end) else end for end in found]
                found = [self._turned(column.feature, end) if math.isfinite(end) else end for end in ends]
            return tuple(found)
        usual = max(float(learned.mean[i]), 1e-12)
        return tuple((max(end, 0.0) / usual) ** 2 if math.isfinite(end) else end for end in ends)


def whole_groups(draw: np.random.Generator, groups: np.ndarray, many: int, size: int = 0) -> np.ndarray:
    """`many` draws (many, size) of rows without replacement, group after group; only the last one is cut. `groups`
    (m,) are numbers from 0; size 0 = all rows, in the order drawn.
    """
    m, count = len(groups), int(groups.max()) + 1 if len(groups) else 0
    order = draw.random((many, m), dtype=np.float32)
    if count < m:
        order = draw.permuted(np.tile(np.arange(count), (many, 1)), axis=1)[:, groups] + order.astype(np.float64)
    if not size:
        return np.argsort(order, axis=1)
    return np.argpartition(order, size, axis=1)[:, :size]


def _flags(bundle: Bundle, kept: Mapping[str, np.ndarray], output: np.ndarray) -> dict[str, np.ndarray]:
    """Which objects of the reference carry each flag, (m,) bool, of those flags that can be told from what it holds."""
    answered = np.isfinite(output).all(axis=1)
    marks = {UNREADABLE: np.zeros(len(output), bool), INVALID: ~answered}
    least = bundle.thresholds.confidence
    if bundle.classes and least is not None and answered.any():
        sure = confidence(output[answered], decide(output[answered], bundle.thresholds.decision))
        marks["low_confidence"] = np.zeros(len(output), bool)
        marks["low_confidence"][answered] = sure < least
    if not bundle.of_table:
        missing = kept["describe"][:, STATISTICS.index("missing") :: len(STATISTICS)]
        marks["not_finite"] = (missing > 0).any(axis=1)
    return marks | flags_of(kept)


def _known_groups(groups: np.ndarray | None, m: int) -> np.ndarray:
    """(m,) numbers from 0; each object its own where nothing is known, or where all are of one group."""
    if groups is None or len(groups) != m or len(np.unique(groups)) < 2:
        return np.arange(m)
    return np.unique(groups, return_inverse=True)[1]


def feature_names(bundle: Bundle) -> list[str]:
    """Names of what `describe` says: of a table, its prepared features."""
    if bundle.of_table:
        return list(bundle.preparation.names)
    contract = bundle.pictures
    return summary.names(contract.channels or contract.shape[2])


def sizes(learned: Learned, scores: np.ndarray) -> np.ndarray:
    """How far out each score is: of tests of one column either way, of tests over all only upwards."""
    return np.concatenate([np.abs(scores[:, : learned.plain]), scores[:, learned.plain :]], axis=1)


def quantile(maxima: np.ndarray, rate: float) -> float:
    """What a further one passes at the rate: the rank that is exact for exchangeable values; where there are too few
    of them, an exponential tail beyond the largest tenth.
    """
    ordered = np.sort(maxima)[::-1]
    rank = rate * (len(ordered) + 1)
    if rank >= 1:
        return float(np.interp(rank, np.arange(1, len(ordered) + 1), ordered))
    top = max(2, int(_TAIL * len(ordered)))
    return float(ordered[0] + (ordered[:top] - ordered[top]).mean() * math.log(1 / rank))


def share_range(n: int, m: int, rest: np.ndarray, bound: float) -> tuple[np.ndarray, np.ndarray]:
    """The shares (k,) between which the scores of a batch of n stay within the bound; halved intervals find them."""

    def end(far: float) -> np.ndarray:
        inside, outside = rest.copy(), np.full(len(rest), far)
        whole = np.abs(of_shares(n, outside, m, rest)) <= bound
        for _ in range(30):
            middle = (inside + outside) / 2
            within = np.abs(of_shares(n, middle, m, rest)) <= bound
            inside, outside = np.where(within, middle, inside), np.where(within, outside, middle)
        return np.where(whole, far, inside)

    return end(0.0), end(1.0)


def _figure(name: str, numbers: Sequence[float], kind: str, score: float) -> Figure:
    value, low, high, least, most = (float(number) for number in numbers)
    alert, why = bool(score > 1), ""
    if alert:
        side = "above" if value > most else "below"
        why = f"{name} is {value:.4g}, {side} its range {least:.4g} to {most:.4g}"
    return Figure(name, value, low, high, least, most, kind, alert, why, score)  # type: ignore[arg-type]


def rounded(n: int) -> int:
    """The size for which a bound is learned: n up to 8, above that the nearest of a series by the root of 2."""
    if n <= 8:
        return max(n, 1)
    return round(2 ** (round(2 * math.log2(n)) / 2))
