"""How many clusters: three measures over a range of numbers, on samples, and a number with the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from estampa import machine
from estampa.errors import InputError
from estampa.explore import distances, quality
from estampa.explore.clustering import checked
from estampa.explore.methods import gmm
from estampa.explore.methods.kmeans import centres_of
from estampa.explore.threads import fit_for
from estampa.progress import SILENT, Progress

SAMPLE = 3_000  #: objects that are looked at
PAIRS = 4  #: of subsamples, for stability
WEAK = (
    0.25  #: silhouettes below it show no substantial structure (Kaufman & Rousseeuw 1990, Finding Groups in Data, 88)
)
EVEN = 0.02  #: a difference in stability that is none
RULES = ("auto", "silhouette", "stability", "bic")


@dataclass(frozen=True)
class Choice:
    """A number of clusters and the evidence.

    Attributes
    ----------
    number : the number taken.
    numbers : those that were tried, ascending.
    series : "silhouette" of K-means (larger is better), "stability" of K-means (mean adjusted Rand index of clusterings
        of two subsamples; larger), "bic" of a Gaussian mixture per object (smaller); each has a value for each number.
    reason : why this one, in words.
    """

    number: int
    numbers: Sequence[int]
    series: Mapping[str, Sequence[float]]
    reason: str

    def table(self) -> list[dict[str, float]]:
        """One row a number: "clusters" and the three measures."""
        return [
            {"clusters": k, **{name: values[i] for name, values in self.series.items()}}
            for i, k in enumerate(self.numbers)
        ]


def choose(
    x: np.ndarray,
    numbers: Sequence[int] = tuple(range(2, 21)),
    *,
    rule: str = "auto",
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Choice:
    """Choose the number of clusters of x (n, f) among `numbers`, on at most `sample` objects.

    Parameters
    ----------
    rule : "silhouette" or "bic" takes the best number by that measure, "stability" the largest of the best; "auto"
        takes, among the numbers whose silhouette is within one standard error of the best one, the most stable.

    The three: mean silhouette of K-means (Rousseeuw 1987); adjusted Rand index of K-means on pairs of subsamples of
    80 % (Ben-Hur, Elisseeff & Guyon 2002); Bayesian information criterion of a Gaussian mixture (Schwarz 1978; Fraley &
    Raftery 2002, J. Am. Stat. Assoc. 97, 611) with the same kind of covariance throughout.
    Raises InputError for an unknown rule, or fewer objects than the smallest number needs.
    """
    machine.require("explore", "sklearn", needed_for="choosing the number of clusters")
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r}", where="number of clusters", allowed=", ".join(RULES))
    x = checked(x)
    if len(x) > sample:
        x = x[np.sort(np.random.default_rng(seed).choice(len(x), sample, replace=False))]
    tried = sorted({k for k in numbers if 2 <= k <= len(x) // 2})
    if not tried:
        raise InputError(
            "too few objects to choose a number of clusters", where="number of clusters",
            allowed=f"at least two objects for each of {min(numbers, default=2)} clusters", got=f"{len(x)} objects",
        )  # fmt: skip
    with fit_for(0):  # many small fits
        means, errors, stable, bic = _measured(x, tried, seed, progress)
    chosen = _chosen(rule, means, errors, stable, bic)
    series = {"silhouette": means.tolist(), "stability": stable.tolist(), "bic": bic.tolist()}
    return Choice(tried[chosen], tried, series, _reason(rule, tried, chosen, series))


def _measured(x: np.ndarray, tried: Sequence[int], seed: int, progress: Progress) -> tuple[np.ndarray, ...]:
    """Silhouettes, their standard errors, stabilities and BIC per object, each (len(tried),)."""
    kind = gmm.covariance_of(gmm.Options(clusters=tried[-1]), *x.shape)
    means, errors, stable, bic = (np.empty(len(tried)) for _ in range(4))
    progress.start("trying numbers of clusters", len(tried), "numbers")
    for i, k in enumerate(tried):
        labels = distances.two_nearest(x, centres_of(x, k, 2, 100, seed)[0])[0]
        values = quality.silhouettes(x, labels, SAMPLE, seed)
        means[i], errors[i] = values.mean(), values.std(ddof=1) / len(values) ** 0.5
        wanted = {"clusters": k, "starts": 2}
        stable[i] = (
            quality.stability(x, "kmeans", options=wanted, pairs=PAIRS, seed=seed).value if k < 0.8 * len(x) else 0
        )
        settings = gmm.Options(clusters=k, covariance="full" if kind == "full" else "diag", iterations=50)
        bic[i] = gmm.mixture(x, settings, kind, seed)[0].bic(x.astype(np.float64)) / len(x)
        progress.advance(note=f"{k}: silhouette {means[i]:.3f}")
    progress.finish()
    return means, errors, stable, bic


def _chosen(rule: str, means: np.ndarray, errors: np.ndarray, stable: np.ndarray, bic: np.ndarray) -> int:
    if rule == "silhouette":
        return int(means.argmax())
    if rule == "stability":
        return int(np.flatnonzero(stable >= stable.max() - EVEN)[-1])  # few clusters are stable easily: the largest
    if rule == "bic":
        return int(bic.argmin())
    best = int(means.argmax())
    near = np.flatnonzero(means >= means[best] - errors[best])
    return int(near[stable[near].argmax()])


def _reason(rule: str, tried: Sequence[int], chosen: int, series: Mapping[str, Sequence[float]]) -> str:
    k, silhouette, stable = tried[chosen], series["silhouette"], series["stability"]
    best, bic = tried[int(np.argmax(silhouette))], tried[int(np.argmin(series["bic"]))]
    if rule == "stability":
        said = f"{k} clusters: the largest of the most stable numbers, adjusted Rand index {stable[chosen]:.2f}."
    elif rule == "bic":
        said = f"{k} clusters: the mixture's BIC is lowest there."
    elif k == best:
        said = f"{k} clusters: the best silhouette, {silhouette[chosen]:.3f}; stability {stable[chosen]:.2f}."
    else:
        said = (
            f"{k} clusters: a silhouette of {silhouette[chosen]:.3f}, within the noise of the best "
            f"({max(silhouette):.3f} at {best}), and the most stable of those ({stable[chosen]:.2f})."
        )
    if rule != "bic":
        said += f" The mixture's BIC is lowest at {bic}."
    if bic in (tried[0], tried[-1]) and len(tried) > 1:
        said += f" That is the {'smallest' if bic == tried[0] else 'largest'} number tried."
    if max(silhouette) < WEAK:
        said += (
            f" No number makes a silhouette of {WEAK} or more: the objects form a continuum rather than clusters, and "
            "any number parts it more or less arbitrarily."
        )
    return said
