"""Metrics of predicted values (regression), under any weights."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from estampa.errors import InputError
from estampa.measure.ranks import MidRanks


def _check(truth: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, output = np.asarray(truth, np.float64), np.asarray(output, np.float64)
    if output.ndim == 2 and output.shape[1] == 1:
        output = output[:, 0]
    if truth.ndim != 1 or truth.shape != output.shape or not len(truth):
        raise InputError(
            "truth and prediction must be two lists of one length, at least one long",
            got=f"{truth.shape} and {output.shape}",
        )
    for name, values in (("truth", truth), ("prediction", output)):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"the {name} holds NaN or infinity in {len(bad)} rows",
                got=f"row {bad[0]}",
                cure="Leave those rows out, and say so.",
            )
    return truth, output


class Regression:
    """All metrics of one answer at once, for any weights: mse, rmse, mae, r2, spearman.

    Parameters
    ----------
    truth, output : (n,) finite numbers in the target's unit.
    """

    OVERALL: ClassVar[tuple[str, ...]] = ("mse", "rmse", "mae", "r2", "spearman")

    def __init__(self, truth: np.ndarray, output: np.ndarray) -> None:
        self.truth, self.output = _check(truth, output)
        self.n = len(self.truth)
        self.names = self.OVERALL
        self._shift = float(self.truth.mean())  # sums of squares lose digits far from 0
        centred = self.truth - self._shift
        self._constant = bool((self.truth == self.truth[0]).all())
        residual = self.output - self.truth
        self._sums = np.stack([residual**2, np.abs(residual), centred, centred**2])
        self._ranks = MidRanks(self.truth), MidRanks(self.output)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Values in the order of `names` under (n,) whole-number weights; NaN where undefined."""
        total = float(weights.sum())
        square, absolute, first, second = (self._sums @ weights) / total
        spread = second - first**2
        defined = not self._constant and spread > 1e-14 * max(second, 1e-300)
        r2_value = 1 - square / spread if defined else np.nan
        return np.array([square, math.sqrt(square), absolute, r2_value, self._spearman(weights, total)])

    def _spearman(self, weights: np.ndarray, total: float) -> float:
        a, b = (ranks.ranks(weights) - (total + 1) / 2 for ranks in self._ranks)
        spread = float(weights @ a**2) * float(weights @ b**2)
        return float(weights @ (a * b)) / math.sqrt(spread) if spread > 0 else np.nan

    def counts(self, groups: np.ndarray | None) -> np.ndarray:  # noqa: ARG002 - the signature of every Statistic
        """No metric here is a proportion: NaN throughout (see `Classification.counts`)."""
        return np.full(len(self.names), np.nan)


def mse(truth: np.ndarray, output: np.ndarray) -> float:
    """Mean squared error, in the target's unit squared."""
    truth, output = _check(truth, output)
    return float(np.mean((output - truth) ** 2))


def rmse(truth: np.ndarray, output: np.ndarray) -> float:
    """Root of the mean squared error, in the target's unit."""
    return math.sqrt(mse(truth, output))


def mae(truth: np.ndarray, output: np.ndarray) -> float:
    """Mean absolute error, in the target's unit."""
    truth, output = _check(truth, output)
    return float(np.mean(np.abs(output - truth)))


def r2(truth: np.ndarray, output: np.ndarray) -> float:
    """Coefficient of determination, 1 - MSE / variance of the truth; NaN when the truth is constant."""
    truth, output = _check(truth, output)
    if (truth == truth[0]).all():
        return np.nan
    return float(1 - np.mean((output - truth) ** 2) / np.mean((truth - truth.mean()) ** 2))


def spearman(truth: np.ndarray, output: np.ndarray) -> float:
    """Spearman's rank correlation (1904), ties at their mid-rank; NaN when either side is constant."""
    truth, output = _check(truth, output)
    return Regression(truth, output)._spearman(np.ones(len(truth)), float(len(truth)))
