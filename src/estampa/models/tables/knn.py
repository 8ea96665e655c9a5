"""k nearest neighbours: the answer of the objects most alike. The model is the training part itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from estampa.models.tables._space import Choice, Range, Whole
from estampa.recipe import Record

SIMPLICITY = 2
COST = 1.0
#: Objects that it keeps at most: the file, and the time of an answer, grow with them.
MOST_ROWS = 50_000


class Options(Record):
    """The keys of `[model]`."""

    neighbours: Annotated[int, Field(ge=1, le=10_000)] = 15  #: how many are asked
    weights: Literal["uniform", "distance"] = "uniform"  #: each counts alike, or by the inverse of its distance
    power: Literal[1, 2] = 2  #: distance: 1 = sum of the differences, 2 = Euclid's


SPACE: dict[str, Range] = {
    "neighbours": Whole(1, 100, log=True),
    "weights": Choice(("uniform", "distance")),
    "power": Choice((1, 2)),
}


def estimator(options: Options, seed: int, threads: int, classes: np.ndarray[Any, Any] | None = None) -> Any:  # noqa: ARG001 - as the others
    """The unfitted classifier. `classes` (n,) are those to learn from: no more neighbours are asked than there are."""
    from sklearn.neighbors import KNeighborsClassifier

    most = options.neighbours if classes is None else min(options.neighbours, len(classes))
    return KNeighborsClassifier(n_neighbors=most, weights=options.weights, p=options.power, n_jobs=threads)
