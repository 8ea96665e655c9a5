"""Folds for cross-validation: arrays in, a fold number for each object out."""

from __future__ import annotations

import numpy as np

from estampa.data.deal import units
from estampa.errors import InputError


def fold_numbers(
    labels: np.ndarray, folds: int, *, task: str, groups: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """Fold of each object, (n,) int64 in 0..folds-1: stratified by class (or by target), groups kept whole, seeded.

    The group "" means "not known" and ties nothing.

    Raises InputError when there are fewer objects, or groups, than folds.
    """
    rng = np.random.default_rng(seed)
    n = len(labels)
    unit = np.arange(n) if groups is None else np.unique(units(np.asarray(groups), None, n), return_inverse=True)[1]
    count = int(unit.max(initial=-1)) + 1
    if folds < 2 or count < folds:
        what = "objects" if groups is None else "groups"
        raise InputError(f"cannot make {folds} folds", allowed=f"2 to {count} ({what})", got=str(folds))
    if task == "regression":
        order = np.lexsort((rng.random(n), labels))
        layer = np.empty(n, np.int64)
        layer[order] = np.arange(n) * min(10, max(1, n // folds)) // n  # ten layers of equal size by target
    else:
        layer = np.asarray(labels, np.int64)
    held = np.zeros((count, int(layer.max()) + 1))
    np.add.at(held, (unit, layer), 1)
    if groups is None:
        return _dealt(layer, folds, rng)
    return _placed(held, folds, rng)[unit]


def _dealt(layer: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Deal single objects, layer by layer, on from where the last layer ended: sizes differ by one at most."""
    order = np.lexsort((rng.random(len(layer)), layer))
    fold = np.empty(len(layer), np.int64)
    fold[order] = rng.permutation(folds)[np.arange(len(layer)) % folds]
    return fold


def _placed(held: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Place whole groups, largest first, each where class shares stay most even; ties go to the smallest fold."""
    total = np.maximum(held.sum(axis=0), 1)
    shares = np.zeros((folds, held.shape[1]))
    sizes = np.zeros(folds)
    fold = np.empty(len(held), np.int64)
    for group in np.lexsort((rng.random(len(held)), -held.sum(axis=1))):
        part = held[group] / total
        # The change of the sum of squared shares: least where this group's classes are scarce so far.
        cost = ((shares + part) ** 2 - shares**2).sum(axis=1)
        best = np.flatnonzero(np.isclose(cost, cost.min()))
        chosen = int(best[np.argmin(sizes[best])])
        shares[chosen] += part
        sizes[chosen] += held[group].sum()
        fold[group] = chosen
    return fold
