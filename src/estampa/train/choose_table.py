"""What a recipe for a table leaves open is inferred from the data, and each decision is said with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from estampa import parts
from estampa.data.deal import labelled
from estampa.data.roles import features_of
from estampa.errors import DatasetError, RecipeError, nearest
from estampa.prepare import balance
from estampa.recipe import Recipe, check_options, read
from estampa.train.fitted_table import TableSet
from estampa.train.randomised import FOLDER

Array = np.ndarray[Any, Any]
#: The recipe of who names none.
TABLES = "tables"
#: Objects of which a search takes no more: what ranks settings is known well enough from these.
MOST_ROWS = 10_000
#: Settings of each method at most, and at least, when nobody says how many.
MOST_SETTINGS, LEAST_SETTINGS = 16, 4
#: Seconds of work, on one core of a laptop, that a method's settings may take together when nobody says how many.
BUDGET = 30.0
#: Seconds that a fit of one fold takes by method, for `rows` x `columns` in units of 10,000 values, rough; the share
#: that does not depend on the data first. Boosting's and logistic regression's go with the number of classes besides.
SECONDS = {
    "logistic": (0.02, 0.05), "tree": (0.005, 0.012), "knn": (0.02, 0.006), "forest": (0.15, 0.12),
    "boosting": (0.25, 0.035),
}  # fmt: skip


@dataclass(frozen=True)
class TablePlan:
    """What is to be done: the recipe without "auto", the columns, and how many settings of each method."""

    recipe: Recipe
    columns: tuple[str, ...]
    units: tuple[str, ...]
    counts: dict[str, int]
    folds: int
    metric: str
    decisions: list[str]

    @property
    def searches(self) -> bool:
        """Whether a setting is yet to be found."""
        return sum(self.counts.values()) > 1 or self.recipe.model.name == "auto"


def complete_table(recipe: Recipe, dataset: TableSet, train_rows: Array | None = None) -> TablePlan:
    """Fill in every "auto" of a recipe for a table; nothing is learned yet.

    Raises RecipeError for a recipe that was made for pictures, or another task; DatasetError when there is nothing to
    learn from: no label, one class, no column.
    """
    said: list[str] = []
    recipe = _model(recipe, said)
    _require_classes(recipe, dataset)
    rows = known_rows(dataset, train_rows)
    columns = features_of(dataset.header, recipe.data)
    known = list(dataset.header.columns)
    every_unit = tuple(getattr(dataset.header, "column_units", ()))
    units = tuple(every_unit[known.index(name)] for name in columns) if every_unit else ()
    labels = np.asarray(dataset.labels)[rows].astype(np.int64)
    present = np.unique(labels)
    if len(present) < 2:
        raise DatasetError(
            f"{len(present)} class among the {len(rows)} objects to learn from", where="table",
            allowed="at least two classes", cure="Add objects of another class, or check the labels and the split.",
        )  # fmt: skip
    said.append(f"{len(columns)} columns to learn from: {_listed(columns)}.")
    changes: dict[str, Any] = {"data.task": "classification", "data.features": columns, "data.also": ()}
    changes |= {"data.without": (), "prepare.balance": "none"}
    uneven = balance.imbalance(labels, len(dataset.classes)) >= balance.IMBALANCE
    metric = recipe.train.monitor
    if metric == "auto":
        metric = "macro_f1" if uneven else "accuracy"
        why = "the classes are unequal" if uneven else "no class is three times another"
        said.append(f"Settings are ranked by {metric.replace('_', ' ')}: {why}.")
    changes["train.monitor"] = metric
    methods = recipe.search.methods or (recipe.model.name,)
    folds = _folds(recipe.search.folds, labels, said)
    counts = _counts(recipe, methods, min(len(rows), MOST_ROWS), len(columns), len(present), folds)
    return TablePlan(recipe.with_values(changes, recipe.name), columns, units, counts, folds, metric, said)


def known_rows(dataset: TableSet, rows: Array | None = None) -> Array:
    """Those of `rows` (None = all) that have a class, sorted, int64."""
    chosen = np.arange(dataset.n) if rows is None else np.sort(np.asarray(rows, np.int64))
    return np.asarray(chosen[labelled(np.asarray(dataset.labels)[chosen], "classification")])


def _model(recipe: Recipe, said: list[str]) -> Recipe:
    """A recipe without a model takes the default recipe's methods, and keeps what it sets itself."""
    known = parts.names(FOLDER)
    for name in (*recipe.search.methods, *(() if recipe.model.name == "auto" else (recipe.model.name,))):
        if name not in known:
            raise RecipeError(
                f"no model {name!r} for a table", where="model.name", allowed=", ".join(known),
                cure=nearest(name, known) or "The nets learn from pictures.",
            )  # fmt: skip
    if recipe.model.name != "auto" or (recipe.search.methods and recipe.name != "auto"):
        return recipe
    default = read(TABLES)
    own: dict[str, Any] = {}
    for stage in ("data", "prepare", "train", "evaluate", "search"):
        part = getattr(recipe, stage)
        own |= {f"{stage}.{key}": getattr(part, key) for key in part.model_fields_set}
    said.append(f"Recipe '{TABLES}': the default for a table.")
    return default.with_values(own, recipe.name)


def _require_classes(recipe: Recipe, dataset: TableSet) -> None:
    if dataset.task == "unlabelled":
        raise DatasetError(
            "has no labels", where="table", cure="Name the column of the answer with --label."
        )  # fmt: skip
    if dataset.task == "regression":
        raise DatasetError(
            "regression on a table is not offered", where="table", allowed="classes", got="a label column of numbers",
            cure="Name a column of classes with --label; values of pictures can be learned by a net.",
        )  # fmt: skip
    if recipe.data.task == "regression":
        raise RecipeError(
            "the recipe's task is not that of the data", where=f"{recipe.name}: data.task", allowed="classification",
            got="regression",
        )  # fmt: skip
    if recipe.data.shape is not None:
        raise RecipeError("the recipe was made for pictures", where=recipe.name, cure=f"Use the recipe {TABLES!r}.")
    if recipe.model.name != "auto" and not recipe.search.methods:
        module = parts.load(FOLDER, recipe.model.name)
        check_options(module.Options, recipe.model.options, f"model {recipe.model.name!r}")


def _folds(asked: int, labels: Array, said: list[str]) -> int:
    """As many folds as asked, or as the smallest class has objects, at least two."""
    least = int(np.unique(labels, return_counts=True)[1].min())
    folds = max(2, min(asked, least))
    if folds < asked:
        said.append(f"{folds} folds in place of {asked}: the smallest class has {least} objects to learn from.")
    return folds


def _counts(recipe: Recipe, methods: tuple[str, ...], n: int, columns: int, classes: int, folds: int) -> dict[str, int]:
    """Settings of each method: as asked, or as many as a laptop tries in a minute or so, from the size of the data."""
    if not recipe.search.methods:
        return dict.fromkeys(methods, recipe.search.trials or 1)
    if recipe.search.trials is not None:
        return dict.fromkeys(methods, recipe.search.trials)
    size = n * columns * 2 / 10_000  # as many derived columns again
    counts = {}
    for method in methods:
        fixed, growing = SECONDS[method]
        times = max(1, classes - 1) if method in ("boosting", "logistic") else 1
        seconds = folds * times * (fixed + growing * size)
        counts[method] = int(np.clip(BUDGET / seconds, LEAST_SETTINGS, MOST_SETTINGS))
    return counts


def _listed(names: tuple[str, ...], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
