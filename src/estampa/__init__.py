"""estampa: from small labelled scientific images to a classifier that one can defend, serve and watch.

The verbs of the command line are functions of the same names::

    import estampa
    data = estampa.build("drawings/", "drawings.h5")
    run = estampa.train(data)
    run                     # in a notebook: headline, figures, where things are
    estampa.predict(run.folder, "new_drawings/")

Nothing heavy is imported until a name is used.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.data.check import check
    from estampa.data.dataset import Dataset
    from estampa.data.read import ReadOptions, build
    from estampa.data.split import split
    from estampa.evaluate.evaluation import evaluate
    from estampa.evaluate.runs import list_runs as runs
    from estampa.explain import explain
    from estampa.explore.run import explore
    from estampa.monitor.compare import compare
    from estampa.pipeline import plan, retrain, train
    from estampa.predict import predict
    from estampa.recipe import Recipe
    from estampa.reduce.run import reduce
    from estampa.studies import reproduce

#: Public name -> (module, name in it).
_HOMES = {
    "Bundle": ("estampa.bundle.store", "Bundle"),
    "Dataset": ("estampa.data.dataset", "Dataset"),
    "ReadOptions": ("estampa.data.read", "ReadOptions"),
    "Recipe": ("estampa.recipe", "Recipe"),
    "build": ("estampa.data.read", "build"),
    "check": ("estampa.data.check", "check"),
    "compare": ("estampa.monitor.compare", "compare"),
    "evaluate": ("estampa.evaluate.evaluation", "evaluate"),
    "explain": ("estampa.explain", "explain"),
    "explore": ("estampa.explore.run", "explore"),
    "plan": ("estampa.pipeline", "plan"),
    "predict": ("estampa.predict", "predict"),
    "reduce": ("estampa.reduce.run", "reduce"),
    "reproduce": ("estampa.studies", "reproduce"),
    "retrain": ("estampa.pipeline", "retrain"),
    "runs": ("estampa.evaluate.runs", "list_runs"),
    "split": ("estampa.data.split", "split"),
    "train": ("estampa.pipeline", "train"),
}
__all__ = [
    "Bundle", "Dataset", "ReadOptions", "Recipe", "build", "check", "compare", "evaluate", "explain", "explore", "plan",
    "predict", "reduce", "reproduce", "retrain", "runs", "split", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'estampa' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps the verbs callable: importing the room `estampa.train` must not hide the function `estampa.train`."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
