"""Principal components of data that do not fit into memory, by randomised subspace iteration in a few passes.

Halko, Martinsson & Tropp (2011), SIAM Review 53, 217: a random subspace, a little larger than what is wanted
(section 4.2), is multiplied by the covariance matrix (section 4.5, algorithm 4.4) without that matrix ever being
formed: Z = X'(X Q), block by block. After each pass the subspace is turned to its Ritz vectors, so that every direction
keeps its own scale and weak components are not drowned by strong ones in single precision. A last Rayleigh-Ritz step
measures X Q, so the variances that are reported are those of the subspace, not extrapolated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from estampa.errors import DatasetError, InputError
from estampa.progress import SILENT, Progress

#: Passes that improve the subspace, between the one that finds the mean and the one that measures. Chosen on galaxies,
#: see docs/log.md.
PASSES = 4
_OVERSAMPLING = 0.35  #: directions beyond those wanted, as a share of them
_LEAST_OVERSAMPLING = 10
_DEPENDENT = 1e-5  #: squared length left of a unit vector below which it counts as depending on others
_CHUNK = 8192  #: values of a picture whose products are summed in single precision before double takes over

Blocks = Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Pca:
    """Principal components of n objects of f values, ordered by the variance that they explain.

    Attributes
    ----------
    mean : (f,) float32.
    components : (k, f) float32, orthonormal rows; the largest entry of each, by size, is positive.
    explained_variance : (k,) float64, of the scores, with divisor n - 1, in squared units of the values.
    explained_ratio : (k,) float64, shares of `total_variance`.
    total_variance : variance summed over all f values.
    """

    mean: np.ndarray
    components: np.ndarray
    explained_variance: np.ndarray
    explained_ratio: np.ndarray
    total_variance: float

    @property
    def explained(self) -> float:
        """Share of the whole variance that all components hold together, 0..1."""
        return float(self.explained_ratio.sum())

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Scores (m, k) float32 of values (m, f) float32, which are overwritten; not finite ones count as the mean."""
        centre(values, self.mean)
        scores: np.ndarray = values @ self.components.T
        return scores

    def inverse(self, scores: np.ndarray) -> np.ndarray:
        """Values (m, f) float32 whose scores (m, k) these are and that have nothing outside of the components."""
        values: np.ndarray = np.asarray(scores, np.float32) @ self.components
        values += self.mean
        return values


def fit_pca(
    blocks: Blocks,
    n: int,
    f: int,
    components: int | None,
    *,
    passes: int = PASSES,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Pca:
    """Find the principal components of n objects of f values in `passes` + 2 passes over them.

    Parameters
    ----------
    blocks : gives a new iterator over all objects, (m, f) float32 at a time; blocks are overwritten. Values that are
        not finite count as the mean of the others of their column.
    components : how many, at most min(n - 1, f); None = 75, or as many as there are.
    passes : passes that improve the subspace; each costs 4 n f l operations, l a third more than `components`.
    seed : of the random subspace that it starts from.

    Memory: one block, and three times l x f x 4 bytes. The same seed gives the same bits on the same machine with the
    same number of threads. Raises InputError for more components than there can be, DatasetError where the objects do
    not vary in as many directions as were asked for.
    """
    wanted = check_components(components, n, f)
    progress.start(f"{wanted} principal components", n * (passes + 2), "rows")
    mean = _mean(blocks, n, f, progress)
    width = min(wanted + max(_LEAST_OVERSAMPLING, round(_OVERSAMPLING * wanted)), n - 1, f)
    basis = np.random.default_rng(seed).standard_normal((width, f), dtype=np.float32)
    basis = _orthonormal(basis)
    for _ in range(passes):
        small, total, product = _measure(blocks, mean, basis, progress, product=True)
        _check_varies(total, n)
        basis = _orthonormal(_ritz(small)[1] @ product)
    small, total, _ = _measure(blocks, mean, basis, progress, product=False)
    _check_varies(total, n)
    progress.finish()
    values, turn = _ritz(small)
    rank = int((values > 1e-12 * values[0]).sum())
    if rank < wanted and components is not None:
        raise DatasetError(
            f"the objects vary in {rank} directions only", where=f"{n:,} objects", allowed=f"at most {rank} components",
            got=wanted, cure=f"Ask for fewer: --components {rank}.",
        )  # fmt: skip
    wanted = min(rank, wanted)
    vectors = turn[:wanted] @ basis
    vectors *= np.sign(vectors[np.arange(wanted), np.abs(vectors).argmax(axis=1)])[:, None]
    variance = values[:wanted] / (n - 1)
    return Pca(mean, vectors, variance, variance / (total / (n - 1)), total / (n - 1))


def check_components(components: int | None, n: int, f: int) -> int:
    """How many components to look for; InputError when n objects of f values cannot have as many."""
    most = min(n - 1, f)
    if most < 1:
        raise InputError("one object has no variance", where="components", allowed="at least 2 objects", got=n)
    if components is None:
        return min(75, most)
    if not 1 <= components <= most:
        raise InputError(
            f"{components} components cannot be found in {n:,} objects of {f:,} values", where="components",
            allowed=f"1 to {most:,} (one fewer than there are objects)" if most < f else f"1 to {most:,}",
            got=components, cure=f"Ask for at most {most}, or bring more objects.",
        )  # fmt: skip
    return components


def centre(values: np.ndarray, mean: np.ndarray) -> None:
    """Subtract the mean (f,) from values (m, f) in place; what is not finite becomes 0."""
    with np.errstate(invalid="ignore", over="ignore"):
        values -= mean
        # A sum is finite only if every part is: a tenth of the cost of a look at each value.
        if not np.isfinite(values.sum()):
            values[~np.isfinite(values)] = 0


def _mean(blocks: Blocks, n: int, f: int, progress: Progress) -> np.ndarray:
    """Mean of the finite values of each column, (f,) float32; 0 where there is none."""
    sums, counts, rows = np.zeros(f), np.zeros(f), 0
    for block in blocks():
        ones = np.ones(len(block), np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            found = ones @ block
        if np.isfinite(found).all():
            counts += len(block)
        else:
            good = np.isfinite(block)
            counts += good.sum(axis=0)
            block[~good] = 0
            found = ones @ block
        sums += found
        rows += len(block)
        progress.advance(len(block))
    if rows != n:
        raise ValueError(f"blocks held {rows} objects where {n} were announced")
    return (sums / np.maximum(counts, 1)).astype(np.float32)


def _measure(
    blocks: Blocks, mean: np.ndarray, basis: np.ndarray, progress: Progress, *, product: bool
) -> tuple[np.ndarray, float, np.ndarray]:
    """One pass over the centred objects X: Q X'X Q' (l, l) float64, the sum of X squared, and, if asked, Q X'X (l, f).

    Q is `basis`, (l, f) with orthonormal rows.
    """
    small, total = np.zeros((len(basis), len(basis))), 0.0
    image = np.zeros_like(basis) if product else np.zeros((0, 0), np.float32)
    for block in blocks():
        centre(block, mean)
        total += float(sum(float(row @ row) for row in block))
        scores = block @ basis.T
        if product:
            image += scores.T @ block
        exact = scores.astype(np.float64)
        small += exact.T @ exact
        progress.advance(len(block))
    return small, total, image


def _ritz(small: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, largest first, and eigenvectors as float32 rows, of a symmetric (l, l)."""
    values, vectors = np.linalg.eigh(small)
    return np.maximum(values[::-1], 0), np.ascontiguousarray(vectors[:, ::-1].T).astype(np.float32)


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    """Orthonormal rows (r, f) that span those of (l, f), each as near to its own as can be (Löwdin 1950).

    Rows that depend on others are left out: r <= l. Rows are scaled to one length first, so that the small ones keep
    their digits. Twice, since once leaves the rounding of single precision.
    """
    for _ in range(2):
        lengths = np.sqrt(np.einsum("lf,lf->l", rows, rows, dtype=np.float64))
        rows = rows[lengths > 0] / lengths[lengths > 0, None].astype(np.float32)
        gram = np.zeros((len(rows), len(rows)))
        for start in range(0, rows.shape[1], _CHUNK):
            some = rows[:, start : start + _CHUNK]
            gram += some @ some.T
        values, vectors = np.linalg.eigh(gram)
        kept = values > _DEPENDENT
        turn = (vectors[:, kept] / np.sqrt(values[kept])).T
        if kept.all():
            turn = vectors @ turn
        rows = turn.astype(np.float32) @ rows
    return rows


def _check_varies(total: float, n: int) -> None:
    if not total > 0:
        raise DatasetError("all objects are the same: there is no variance to explain", where=f"{n:,} objects")
