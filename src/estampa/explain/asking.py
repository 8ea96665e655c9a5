"""What the explanations of tables share: the function they ask, and which columns say the same.

A scoring function takes raw values (m, columns) float64, as a file holds them, and gives (m, k) probabilities: that of
a bundle, or of a model that was just fitted. A column that the model derives from others (a colour) is not replaced
itself: it follows the columns that it is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]
Invalid = Callable[[np.ndarray], np.ndarray]  #: raw values (m, columns) -> (m, columns) bool: not a measurement
Units = tuple[tuple[int, ...], ...]  #: numbers of the columns that are replaced together

CORRELATED = 0.8  #: rank correlation, of either sign, from which on two columns count as saying the same
MOST_COLUMNS = 64  #: that are looked at one by one
_BLOCK = 1 << 14  #: rows of one question
_RANKED = 2000  #: rows that correlations are taken of


def ask(score: Score, values: np.ndarray) -> np.ndarray:
    """(m, k) float64 probabilities, asked by blocks."""
    answers = [np.asarray(score(values[i : i + _BLOCK]), np.float64) for i in range(0, len(values), _BLOCK)]
    return np.concatenate(answers)


def ranks(values: np.ndarray) -> np.ndarray:
    """(n, columns) mean ranks of each column, float64; what is not finite has the middle rank."""
    found = np.empty(values.shape)
    for c in range(values.shape[1]):
        column = values[:, c]
        good = np.isfinite(column)
        _, place, count = np.unique(column[good], return_inverse=True, return_counts=True)
        upper = np.cumsum(count)
        found[good, c] = (upper - (count - 1) / 2)[place]
        found[~good, c] = (good.sum() + 1) / 2
    return found


def together(values: np.ndarray, at_least: float = CORRELATED) -> Units:
    """Groups of two and more columns of which every two correlate by ranks (Spearman) with |rho| >= `at_least`.

    Groups grow from the closest pair on (complete linkage), so that a chain of neighbours does not tie all. At most
    2,000 rows, evenly taken, are looked at. `values` (n, columns): invalid values should be NaN.
    """
    some = (
        values[np.linspace(0, len(values) - 1, min(len(values), _RANKED)).astype(np.int64)] if len(values) else values
    )
    columns = values.shape[1]
    if len(some) < 3 or columns < 2:
        return ()
    placed = ranks(some)
    placed -= placed.mean(axis=0)
    size = np.sqrt((placed**2).sum(axis=0))
    placed /= np.where(size > 0, size, np.inf)
    close = np.abs(placed.T @ placed)
    np.fill_diagonal(close, 0)
    groups: dict[int, list[int]] = {c: [c] for c in range(columns)}
    while True:
        a, b = (int(i) for i in np.unravel_index(int(close.argmax()), close.shape))
        if close[a, b] < at_least:
            break
        groups[a] += groups.pop(b)
        close[a] = close[:, a] = np.minimum(close[a], close[b])
        close[b] = close[:, b] = 0
        close[a, a] = 0
    return tuple(sorted(tuple(sorted(g)) for g in groups.values() if len(g) > 1))


def telling(values: np.ndarray, truth: np.ndarray, most: int = MOST_COLUMNS) -> np.ndarray:
    """Numbers of the at most `most` columns that tell the classes apart best one by one, ascending.

    By the share of the variance of ranks that lies between classes (that of Kruskal & Wallis 1952, J. Am. Stat. Assoc.
    47, 583). `values` (n, columns), `truth` (n,) class numbers.
    """
    columns = values.shape[1]
    if columns <= most:
        return np.arange(columns)
    between = np.empty(columns)
    for start in range(0, columns, 256):  # of ten thousand columns the ranks are not kept
        placed = ranks(values[:, start : start + 256])
        middle = placed.mean(axis=0)
        parts = [(truth == c).sum() * (placed[truth == c].mean(axis=0) - middle) ** 2 for c in np.unique(truth)]
        whole = ((placed - middle) ** 2).sum(axis=0)
        between[start : start + 256] = np.sum(parts, axis=0) / np.where(whole > 0, whole, np.inf)
    return np.sort(np.argsort(-between, kind="stable")[:most])


def named(unit: Sequence[int], columns: Sequence[str]) -> str:
    """What a unit is called: its column, or its columns after one another."""
    return ", ".join(columns[c] for c in unit)
