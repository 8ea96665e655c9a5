"""Histogram gradient boosting (Friedman 2001; Ke et al. 2017): small trees, each mending errors of the last ones."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from estampa.models.tables._space import Choice, Number, Range, Whole, class_weights
from estampa.recipe import Record

SIMPLICITY = 4
COST = 10.0


class Options(Record):
    """The keys of `[model]`."""

    rounds: Annotated[int, Field(ge=1, le=10_000)] = 150  #: trees (of each class, where there are more than two)
    rate: Annotated[float, Field(gt=0, le=1)] = 0.1  #: how much of what each mends is taken
    leaves: Annotated[int, Field(ge=2, le=1024)] = 15  #: most answers of a tree
    leaf: Annotated[int, Field(ge=1)] = 20  #: least objects behind one
    ridge: Annotated[float, Field(ge=0)] = 0.0  #: penalty on the squares of what a leaf adds
    columns: Annotated[float, Field(gt=0, le=1)] = 1.0  #: share of the columns that each question may choose from
    bins: Annotated[int, Field(ge=2, le=255)] = 64  #: thresholds of a column that are tried
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0  #: power of the class weights: 0 = as they are, 1 = all alike


SPACE: dict[str, Range] = {
    "rounds": Whole(50, 300, log=True),
    "rate": Number(0.02, 0.3, log=True),
    "leaves": Whole(3, 31, log=True),
    "leaf": Whole(3, 60, log=True),
    "ridge": Number(1e-3, 30, log=True),
    "columns": Number(0.1, 1.0),
    "bins": Choice((32, 64, 128)),
    "balance": Choice((0.0, 0.5, 1.0)),
}


def estimator(options: Options, seed: int, threads: int, classes: np.ndarray[Any, Any] | None = None) -> Any:  # noqa: ARG001 - scikit-learn reads OMP_NUM_THREADS
    """The unfitted classifier; `classes` (n,) are the class numbers to learn from, for their weights."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=options.rounds, learning_rate=options.rate, max_leaf_nodes=options.leaves,
        min_samples_leaf=options.leaf, l2_regularization=options.ridge, max_features=options.columns,
        max_bins=options.bins, early_stopping=False,
        class_weight=class_weights(options.balance, classes), random_state=seed,
    )  # fmt: skip
