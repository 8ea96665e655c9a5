"""Logistic regression, the baseline that other methods have to beat: the answer is a weighted sum of the columns."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estampa.models.tables._space import Choice, Number, Range, class_weights
from estampa.recipe import Record

SIMPLICITY = 0
COST = 1.0


class Options(Record):
    """The keys of `[model]`."""

    strength: Annotated[float, Field(gt=0, le=1e6)] = 1.0  #: C, the inverse of the penalty on squared weights
    degree: Literal[1, 2] = 1  #: 2 = squares and products of every two columns besides
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0  #: power of the class weights: 0 = as they are, 1 = all alike


SPACE: dict[str, Range] = {
    "strength": Number(1e-3, 100, log=True),
    "degree": Choice((1, 2)),
    "balance": Choice((0.0, 0.5, 1.0)),
}
#: With more prepared columns than this the products of every two are too many: only degree 1 is tried.
MOST_COLUMNS = 60


def limited(columns: int) -> dict[str, Any]:
    """Keys that so many prepared columns fix."""
    return {} if columns <= MOST_COLUMNS else {"degree": 1}


def estimator(options: Options, seed: int, threads: int, classes: np.ndarray[Any, Any] | None = None) -> Any:  # noqa: ARG001 - as the others
    """The unfitted classifier; `classes` (n,) are the class numbers to learn from, for their weights."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    weights = class_weights(options.balance, classes)
    strength = options.strength if options.degree == 1 else options.strength * 0.03
    model = LogisticRegression(C=strength, class_weight=weights, max_iter=1000, tol=1e-4, random_state=seed)
    if options.degree == 1:
        return model
    return make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), model)
