"""One decision tree (CART; Breiman et al. 1984): questions about single columns that a person can follow."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estampa.models.tables._space import Choice, Number, Range, Whole, class_weights
from estampa.recipe import Record

SIMPLICITY = 1
COST = 1.0


class Options(Record):
    """The keys of `[model]`."""

    depth: Annotated[int, Field(ge=1, le=64)] = 8  #: most questions on the way to an answer
    leaf: Annotated[int, Field(ge=1)] = 5  #: least objects behind an answer
    criterion: Literal["gini", "entropy"] = "gini"  #: what a question must lower most
    prune: Annotated[float, Field(ge=0, le=1)] = 0.0  #: cost of a leaf (ccp_alpha): branches that gain less are cut
    balance: Annotated[float, Field(ge=0, le=1)] = 0.0  #: power of the class weights: 0 = as they are, 1 = all alike


SPACE: dict[str, Range] = {
    "depth": Whole(2, 20),
    "leaf": Whole(1, 100, log=True),
    "criterion": Choice(("gini", "entropy")),
    "prune": Number(1e-5, 3e-2, log=True),
    "balance": Choice((0.0, 0.5, 1.0)),
}


def estimator(options: Options, seed: int, threads: int, classes: np.ndarray[Any, Any] | None = None) -> Any:  # noqa: ARG001 - as the others
    """The unfitted classifier; `classes` (n,) are the class numbers to learn from, for their weights."""
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(
        max_depth=options.depth, min_samples_leaf=options.leaf, criterion=options.criterion, ccp_alpha=options.prune,
        class_weight=class_weights(options.balance, classes), random_state=seed,
    )  # fmt: skip
