"""How rows are dealt to parts: arrays in, parts out. `split.py` does it to a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from estampa.data.record import PARTS
from estampa.errors import DatasetError, InputError

NONE, TRAIN, VALIDATION, TEST = range(len(PARTS))
_QUANTILES = 10  # bins of a regression target that are spread evenly over the parts
_ORDER = (TRAIN, TEST, VALIDATION)  # which part gets one first when a class has fewer units than there are parts


def labelled(labels: np.ndarray, task: str) -> np.ndarray:
    """Return (n,) truth values: which rows have a label (class number >= 0, finite target); none when "unlabelled"."""
    if task == "classification":
        return np.asarray(labels >= 0)
    return np.isfinite(labels) if task == "regression" else np.zeros(len(labels), bool)


def units(groups: np.ndarray | None, hashes: np.ndarray | None, n: int, pairs: np.ndarray | None = None) -> np.ndarray:
    """Return (n,) unit numbers: rows that share a number must stay in one part.

    Rows of one group belong together, and so do rows with equal content hashes, and the two rows of each of `pairs`
    (m, 2); all ties are followed to the end, so that two groups which share a picture become one unit. The group ""
    means "not known" and ties nothing.
    """
    own = np.arange(n, dtype=np.int64)
    if groups is not None:
        _, own = np.unique(groups, return_inverse=True)
        alone = np.asarray(groups == "") if groups.dtype.kind in "US" else np.zeros(n, bool)
        own = own.astype(np.int64)
        own[alone] = n + np.flatnonzero(alone)
    ties = [np.zeros((0, 2), np.int64)] if pairs is None else [np.asarray(pairs, np.int64)]
    if hashes is not None:
        order = np.argsort(hashes, kind="stable")
        twins = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        ties.append(np.stack([order[twins], order[twins + 1]], axis=1))
    joined = own[np.concatenate(ties)]
    parent: dict[int, int] = {}

    def root(unit: int) -> int:
        while (above := parent.get(unit, unit)) != unit:
            parent[unit] = parent.get(above, above)
            unit = above
        return unit

    for left, right in joined.tolist():
        first, second = sorted((root(left), root(right)))
        parent[second] = first
    if parent:
        tied = np.fromiter(parent, np.int64)
        tied.sort()
        roots = np.fromiter((root(u) for u in tied.tolist()), np.int64, len(tied))
        place = np.searchsorted(tied, own).clip(max=len(tied) - 1)
        own = np.where(tied[place] == own, roots[place], own)
    return own


def make_split(
    labels: np.ndarray,
    *,
    test: float,
    validation: float,
    groups: np.ndarray | None = None,
    hashes: np.ndarray | None = None,
    seed: int = 0,
    task: str = "classification",
    keep: np.ndarray | None = None,
) -> np.ndarray:
    """Return the part of each row, (n,) uint8, indices of PARTS.

    Every class is in every part, in the shares asked for, as well as its units allow; a regression target is spread by
    ten quantile bins. No unit (see `units`) is torn. Rows without a label are in no part.

    Parameters
    ----------
    labels : array
        (n,) class numbers, -1 = unlabelled; or float targets, NaN = unlabelled.
    test : float
        Share of the labelled objects that becomes the test part; 0 = no test part. Not used when `keep` holds one.
    validation : float
        Share of the labelled objects that are not test which becomes the validation part; likewise.
    groups : array or None
        (n,) names of what must not be torn apart.
    hashes : array or None
        (n,) content hashes; equal ones stay in one part.
    seed : int
        The same seed gives the same parts.
    task : str
        "classification" or "regression".
    keep : array or None
        (n,) parts that stay as they are; 0 = to be dealt. A row tied to a kept one goes where that one is.

    Raises
    ------
    InputError, DatasetError
        Shares out of range; one class only, a class with one object, shares that leave a part empty.
    """
    labels = np.asarray(labels)
    _require_shares(test, validation)
    known = labelled(labels, task)
    strata = strata_of(labels, known, task)
    require_classes(
        labels, [str(c) for c in range(int(labels.max(initial=-1)) + 1)] if task == "classification" else []
    )
    own = units(groups, hashes, len(labels))
    parts = np.zeros(len(labels), np.uint8) if keep is None else np.where(known, keep, NONE).astype(np.uint8)
    free = known & (parts == NONE)
    if (parts > 0).any():
        _follow(parts, own, free)
        free = known & (parts == NONE)
    shares = _shares(test, validation, parts, int(known.sum()), int(free.sum()))
    rows = np.flatnonzero(free)
    if len(rows):
        parts[rows] = deal_units(strata[rows], own[rows], shares, np.random.default_rng(seed))
    _require_filled(parts, test, validation, int(known.sum()), len(np.unique(own[known])))
    return parts


def _require_shares(test: float, validation: float) -> None:
    for name, share in (("test", test), ("validation", validation)):
        if not 0 <= share < 1:
            raise InputError("a share out of range", where=name, allowed="0 <= share < 1", got=str(share))


def require_classes(labels: np.ndarray, classes: Sequence[str]) -> None:
    """Raise DatasetError when classes (by name, in label order) cannot be parted: one class only, or one object in one.

    Classes without any object are let be; no names (regression) means nothing to require.
    """
    if not classes:
        return
    counts = np.bincount(labels[labels >= 0].astype(np.int64), minlength=len(classes))
    present = np.flatnonzero(counts).tolist()
    if len(present) < 2:
        what = f"one class only, {classes[present[0]]!r}" if len(present) else "no labelled object"
        raise DatasetError(
            f"{what}: there is nothing to tell apart", allowed="at least two classes", where="labels",
            cure="Add objects of another class, or use a regression target.",
        )  # fmt: skip
    lonely = [classes[c] for c in present if counts[c] == 1]
    if lonely:
        raise DatasetError(
            f"{'classes' if len(lonely) > 1 else 'class'} with one object: {', '.join(map(repr, lonely[:10]))}",
            where="labels",
            allowed="at least two objects in a class, one to learn from and one to test with",
            cure="Add objects, or leave the class out.",
        )


def strata_of(labels: np.ndarray, known: np.ndarray, task: str) -> np.ndarray:
    """Return (n,) strata: the class of each row, or the quantile bin of its target by rank."""
    if task == "classification":
        return labels.astype(np.int64)
    strata = np.zeros(len(labels), np.int64)
    rows = np.flatnonzero(known)
    bins = max(1, min(_QUANTILES, len(rows) // 10))
    strata[rows[np.argsort(labels[rows], kind="stable")]] = np.arange(len(rows)) * bins // max(len(rows), 1)
    return strata


def _follow(parts: np.ndarray, own: np.ndarray, free: np.ndarray) -> None:
    """Put free rows that are tied to kept rows where most of those are."""
    kept = np.flatnonzero(parts > 0)
    tied = np.flatnonzero(free & np.isin(own, own[kept]))
    if not len(tied):
        return
    names, codes = np.unique(own[kept], return_inverse=True)
    votes = np.zeros((len(names), len(PARTS)), np.int64)
    np.add.at(votes, (codes, parts[kept]), 1)
    parts[tied] = votes.argmax(axis=1)[np.searchsorted(names, own[tied])]


def _shares(test: float, validation: float, parts: np.ndarray, known: int, free: int) -> np.ndarray:
    """(4,) shares of the free rows that each part should get, given what is kept."""
    kept = np.bincount(parts, minlength=len(PARTS))
    wanted = np.zeros(len(PARTS))
    wanted[TEST] = 0.0 if kept[TEST] else test * known
    rest = known - kept[TEST] - wanted[TEST]
    wanted[VALIDATION] = 0.0 if kept[VALIDATION] else validation * rest
    wanted[TRAIN] = max(free - wanted.sum(), 0.0)
    total: float = max(wanted.sum(), 1.0)
    return np.asarray(wanted / total)


def deal_units(strata: np.ndarray, own: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (n,) parts of rows with `strata`, units `own`, wanted `shares` (4,) of the parts. Large units go first."""
    _, strata = np.unique(strata, return_inverse=True)
    _, own, sizes = np.unique(own, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), int(strata.max()) + 1), np.int32)
    np.add.at(counts, (own, strata), 1)
    used = [p for p in _ORDER if shares[p] > 0]
    target = np.outer(shares, counts.sum(axis=0))
    given = np.zeros_like(target)
    where = np.zeros(len(sizes), np.uint8)
    left = (counts > 0).sum(axis=0)  # units that still bring each stratum
    large = np.flatnonzero(sizes > 1)
    large = large[rng.permutation(len(large))]
    large = large[np.argsort(-np.floor(np.log2(sizes[large])), kind="stable")]
    weight = 1.0 / np.maximum(counts.sum(axis=0), 1)
    for unit in large:
        bring = counts[unit]
        where[unit] = part = _choose(bring, given, target, left, weight, used)
        given[part] += bring
        left -= bring > 0
    single = np.flatnonzero(sizes == 1)
    stratum = counts[single].argmax(axis=1)
    carry = np.zeros(len(used))  # what rounding has withheld from each part so far
    for s in range(counts.shape[1]):
        these = single[stratum == s]
        these = these[rng.permutation(len(these))]
        where[these] = np.repeat(used, _quotas(len(these), target[used, s], given[used, s], carry))
    return np.asarray(where[own])


def _choose(
    bring: np.ndarray, given: np.ndarray, target: np.ndarray, left: np.ndarray, weight: np.ndarray, used: list[int]
) -> int:
    """Part for a unit: one that would else never see a class, or else the one whose shares it repairs best."""
    mine = np.flatnonzero(bring)
    rarest = mine[np.argmin(left[mine])]
    lacking = [p for p in used if given[p, rarest] == 0]
    choices = lacking if lacking and left[rarest] <= len(lacking) else used
    # Change of the weighted squared distance to the target, sum over strata of ((given + bring - target)^2 - ...)
    change = [float((weight * bring * (2 * (given[p] - target[p]) + bring)).sum()) for p in choices]
    return choices[int(np.argmin(change))]


def _quotas(count: int, target: np.ndarray, given: np.ndarray, carry: np.ndarray) -> np.ndarray:
    """How many of `count` single rows each part gets: what it lacks; none stays without if possible.

    `carry`, changed in place, hands the error of rounding on to the next class, so that the totals come out too.
    """
    need = np.maximum(target - given, 0.0)
    need = need * (count / need.sum()) if need.sum() > 0 else np.full(len(target), count / len(target))
    exact = np.maximum(need + carry, 0.0)
    exact *= count / (exact.sum() or 1.0)
    quota: np.ndarray = np.floor(exact + 1e-9).astype(np.int64)
    for part in np.argsort(quota - exact, kind="stable")[: count - int(quota.sum())]:
        quota[part] += 1
    carry += need - quota
    for part in range(len(quota)):  # in the order of _ORDER: train, test, validation
        richest = int(np.argmax(quota + (given > 0)))
        if quota[part] + given[part] == 0 and quota[richest] + given[richest] > 1 and quota[richest] > 0:
            quota[part] += 1
            quota[richest] -= 1
    return quota


def _require_filled(parts: np.ndarray, test: float, validation: float, known: int, unit_count: int) -> None:
    counts = np.bincount(parts, minlength=len(PARTS))
    for part, share in ((TRAIN, 1.0), (TEST, test), (VALIDATION, validation)):
        if share > 0 and (not counts[part] or share * known < 0.5):
            raise DatasetError(
                f"the {PARTS[part]} part would be empty",
                where="split",
                got=f"test {test:g}, validation {validation:g}, {known:,} labelled objects in {unit_count:,} that may "
                "be parted (groups, duplicates and single objects)",
                cure="Change the shares, or add objects.",
            )
