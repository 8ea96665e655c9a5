"""Gaussian mixture: every cluster is a normal distribution, every object belongs to each with a probability.

Expectation maximisation (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1) by scikit-learn in double precision,
begun at K-means. Above `SAMPLE` objects it runs on a random sample first and goes on from there with all. Strength is
the posterior probability of the own cluster. A new object joins the most probable one, which is the rule of the fit.
"""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estampa import machine
from estampa.errors import InputError
from estampa.explore import distances
from estampa.explore.clustering import Clustering, Evidence, by_size, enough
from estampa.explore.methods.kmeans import centres_of
from estampa.progress import Progress
from estampa.recipe import Count, Record

SAMPLE = 20_000  #: objects on which it converges first
POLISH = 3  #: iterations with all objects after that, at most
ENOUGH = 5  #: objects for each feature that a cluster needs on average for a full covariance
MEMORY = {"means": "f k f", "factors": "f k f g", "shares": "f k"}


class Options(Record):
    """Settings of the Gaussian mixture."""

    clusters: Annotated[int, Field(ge=1, le=10_000)] = 12  #: components
    covariance: Literal["auto", "full", "diag"] = (
        "auto"  #: ellipsoids of any direction, or along the features; "auto" = full where there are objects enough
    )
    floor: Annotated[float, Field(gt=0, le=1)] = 1e-4  #: added to each variance, as a share of the features' mean one
    iterations: Count = 100  #: at most


def fit(x: np.ndarray, options: Options, *, seed: int, progress: Progress) -> Clustering:
    """Cluster `x` (n, f) float32.

    Evidence: "bic" (Schwarz 1978, Ann. Stat. 6, 461; smaller is better) and "log_likelihood" (mean, natural logarithm)
    over all objects, "shares" (k,) of the components, "iterations", "covariance".
    Raises InputError when there are fewer objects than clusters.
    """
    enough(len(x), max(2, options.clusters), "gmm")
    kind = covariance_of(options, *x.shape)
    progress.say(f"gmm: {options.clusters} components with {kind} covariances, {len(x):,} objects.")
    model, notes = mixture(x, options, kind, seed)
    if options.covariance == "auto" and kind == "diag":
        notes.append(
            f"Covariances are diagonal: fewer than {ENOUGH} objects for each feature and cluster carry no full ones."
        )
    means, shares = model.means_, model.weights_
    factors = model.precisions_cholesky_ if kind == "full" else model.precisions_cholesky_[:, :, None]
    labels, strength, likelihood = _posterior(x, means, factors, shares)
    bic = float(-2 * likelihood * len(x) + model._n_parameters() * np.log(len(x)))
    held = np.flatnonzero(np.bincount(labels, minlength=len(means)))
    if len(held) < len(means):
        notes.append(
            f"{len(held)} clusters: {len(means) - len(held)} of {len(means)} components are nobody's most probable one."
        )
        means, factors, shares = means[held], factors[held], shares[held] / shares[held].sum()
        labels, strength, _ = _posterior(x, means, factors, shares)
    labels, order = by_size(labels, len(means))
    means, factors, shares = means[order], factors[order], shares[order]
    evidence: Evidence = {
        "bic": bic, "log_likelihood": likelihood, "shares": shares, "iterations": float(model.n_iter_),
        "covariance": kind,
    }  # fmt: skip
    if notes:
        evidence["note"] = " ".join(notes)
    memory = {"means": means, "factors": factors, "shares": shares}
    told = options.model_dump(mode="json")
    return Clustering("gmm", labels, means.astype(np.float32), strength, evidence, memory, told)


def covariance_of(options: Options, n: int, features: int) -> str:
    """The kind of covariance in force for n objects."""
    if options.covariance != "auto":
        return options.covariance
    return "full" if n >= ENOUGH * features * options.clusters else "diag"


def mixture(x: np.ndarray, options: Options, kind: str, seed: int) -> tuple[Any, list[str]]:
    """scikit-learn's fitted GaussianMixture, and what there is to say of the fit."""
    machine.require("explore", "sklearn", needed_for="the Gaussian mixture")
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    spread = float(x.var(axis=0, dtype=np.float64).mean())
    floor = options.floor * (spread or 1.0)
    begin, _, _ = centres_of(x, options.clusters, 2, 50, seed)
    plan: dict[str, Any] = {"covariance_type": kind, "reg_covar": floor, "random_state": seed}
    notes: list[str] = []

    def run(rows: np.ndarray, **more: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said in the note instead
            return GaussianMixture(options.clusters, **plan, **more).fit(rows.astype(np.float64))

    if len(x) <= SAMPLE:
        model = run(x, **_begun(x, begin, kind, floor), max_iter=options.iterations)
    else:
        drawn = x[np.random.default_rng(seed).choice(len(x), SAMPLE, replace=False)]
        first = run(drawn, **_begun(drawn, begin, kind, floor), max_iter=options.iterations)
        grown = {"weights_init": first.weights_, "means_init": first.means_, "precisions_init": first.precisions_}
        model = run(x, **grown, max_iter=min(POLISH, options.iterations))
        notes.append(f"It converged on {SAMPLE:,} objects drawn at random, then went on with all {len(x):,}.")
        if first.converged_:
            return model, notes
    if not model.converged_:
        notes.append(f"It had not converged after {options.iterations} iterations.")
    return model, notes


def _begun(x: np.ndarray, centres: np.ndarray, kind: str, floor: float) -> dict[str, Any]:
    """Where expectation maximisation begins: shares, means and precisions of the members of K-means centres."""
    labels, _, _ = distances.two_nearest(x, centres)
    count = np.bincount(labels, minlength=len(centres))
    shares = (count + 1) / (count + 1).sum()
    whole = x.var(axis=0, dtype=np.float64) + floor
    precisions = np.empty((len(centres), x.shape[1], x.shape[1]) if kind == "full" else (len(centres), x.shape[1]))
    for k in range(len(centres)):
        away = x[labels == k].astype(np.float64) - centres[k]
        if kind == "diag":
            precisions[k] = 1 / ((away**2).mean(axis=0) + floor if len(away) > 1 else whole)
        else:
            precisions[k] = np.linalg.inv(away.T @ away / max(1, len(away)) + np.diag(np.full(x.shape[1], floor)))
            precisions[k] = (precisions[k] + precisions[k].T) / 2
    return {"weights_init": shares, "means_init": centres.astype(np.float64), "precisions_init": precisions}


def _posterior(
    x: np.ndarray, means: np.ndarray, factors: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Most probable component (n,) int64, its probability (n,) float32, and the mean log-likelihood.

    `factors` (k, f, f) are Cholesky factors of the precisions, or (k, f, 1) the roots of diagonal ones.
    """
    labels, strength = np.empty(len(x), np.int64), np.empty(len(x), np.float32)
    total = 0.0
    full = factors.shape[2] == factors.shape[1] and factors.shape[1] > 1
    diagonals = np.einsum("kii->ki", factors) if full else factors[:, :, 0]
    constant = np.log(np.maximum(shares, 1e-300)) + np.log(diagonals).sum(axis=1) - x.shape[1] / 2 * np.log(2 * np.pi)
    for part in distances.blocks(len(x), 4 * x.shape[1]):
        block = x[part].astype(np.float64)
        logs = np.empty((len(block), len(means)))
        for k in range(len(means)):
            away = (block - means[k]) @ factors[k] if full else (block - means[k]) * factors[k, :, 0]
            logs[:, k] = constant[k] - 0.5 * np.einsum("ij,ij->i", away, away)
        best = logs.argmax(axis=1)
        top = logs[np.arange(len(block)), best]
        rest = np.exp(logs - top[:, None]).sum(axis=1)
        labels[part], strength[part] = best, 1 / rest
        total += float((top + np.log(rest)).sum())
    return labels, strength, total / max(1, len(x))


def assign(clustering: Clustering, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The most probable component, and its posterior probability."""
    memory = clustering.memory
    labels, strength, _ = _posterior(new, memory["means"], memory["factors"], memory["shares"])
    return labels, strength


def check(clustering: Clustering) -> None:
    """Raise InputError when a state's factors are neither full nor diagonal, or its numbers cannot be a mixture's."""
    factors, shares = clustering.memory["factors"], clustering.memory["shares"]
    full = factors.shape[2] == factors.shape[1] and factors.shape[1] > 1
    diagonals = np.einsum("kii->ki", factors) if full else factors[:, :, 0]
    if factors.shape[2] not in (1, factors.shape[1]) or (diagonals <= 0).any() or (shares < 0).any():
        raise InputError("the array 'memory.factors' or 'memory.shares' is not a mixture's", where="state of gmm")
