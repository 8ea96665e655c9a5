"""Random forest (Breiman 2001) and extremely randomised trees (Geurts et al. 2006): the mean of many trees."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estampa.models.tables._space import Choice, Number, Range, Whole, class_weights
from estampa.recipe import Record

SIMPLICITY = 3
COST = 10.0


class Options(Record):
    """The keys of `[model]`."""

    trees: Annotated[int, Field(ge=1, le=10_000)] = 150  #: how many
    kind: Literal["random", "extra"] = "extra"  #: random forest, or thresholds drawn at random and no resampling
    columns: Annotated[float, Field(gt=0, le=1)] = 0.5  #: share of the columns that each question may choose from
    leaf: Annotated[int, Field(ge=1)] = 1  #: least objects behind an answer of one tree
    criterion: Literal["gini", "entropy"] = "gini"  #: what a question must lower most
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0  #: power of the class weights: 0 = as they are, 1 = all alike


SPACE: dict[str, Range] = {
    "trees": Choice((150,)),
    "kind": Choice(("random", "extra")),
    "columns": Number(0.1, 1.0, log=True),
    "leaf": Whole(1, 10, log=True),
    "criterion": Choice(("gini", "entropy")),
    "balance": Choice((0.0, 0.5, 1.0)),
}


def estimator(options: Options, seed: int, threads: int, classes: np.ndarray[Any, Any] | None = None) -> Any:
    """The unfitted classifier; `classes` (n,) are the class numbers to learn from, for their weights."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

    kind = RandomForestClassifier if options.kind == "random" else ExtraTreesClassifier
    return kind(
        n_estimators=options.trees, max_features=options.columns, min_samples_leaf=options.leaf,
        criterion=options.criterion, class_weight=class_weights(options.balance, classes), n_jobs=threads,
        random_state=seed,
    )  # fmt: skip
