"""A bare pretrained backbone as a bundle: features of pictures for who has trained nothing yet, on ONNX Runtime.

The bundle's `embedding` is the backbone's pooled features. It is made once for a Dataset and a backbone, and kept in
the cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from estampa import machine
from estampa.bundle.store import Bundle
from estampa.data.dataset import Dataset
from estampa.data.read import cache_folder
from estampa.errors import BundleError, DatasetError
from estampa.files import locked
from estampa.progress import SILENT, Progress
from estampa.recipe import Recipe

#: Of what is made and kept in the cache: raised whenever the same recipe and pictures would give another bundle.
VERSION = 2
_USE = "Features only, for `estampa explore`: its one output is that of an untrained layer and says nothing."


def is_backbone(name: str) -> bool:
    """Whether timm is installed and has a backbone of this name ("architecture" or "architecture.tag")."""
    if machine.version_of("timm") is None or machine.version_of("torchvision") is None:
        return False
    from estampa.models._backbones import known

    return name.partition(".")[0] in known()


def backbone_bundle(name: str, dataset: Dataset, rows: np.ndarray, progress: Progress = SILENT) -> Path:
    """Folder of a bundle whose `embedding` is what the backbone `name` gives for pictures as the Dataset has them.

    Pixels that are not bytes are brought to 0..1 by the range of `rows`. Raises RecipeError for a name that there is
    not, WeightsError where its weights are not at hand, DatasetError where there are no pictures.
    """
    from estampa.models.pretrained import SCALE, Options, settle

    if dataset.shape is None:
        raise DatasetError("holds no images", where=dataset.path, cure="Ask for the features 'table'.")
    own = Options(backbone=name, hidden=0, dropout=0.0)
    changes, said = settle(own, dataset.shape)
    recipe = Recipe(name=f"backbone {changes['backbone']}").with_values({
        "model": {"name": "pretrained", **own.model_dump(), **changes}, "data.task": "regression",
        "prepare.scale": SCALE, "prepare.symmetry": "none",
    })  # fmt: skip
    for line in said:
        progress.say(line)
    facts = [
        VERSION,
        recipe.model_dump(mode="json"),
        dataset.content_sha256,
        hashlib.sha256(rows.tobytes()).hexdigest(),
    ]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    folder = cache_folder().parent / "backbones" / key
    with locked(folder):
        try:
            Bundle.open(folder)
        except BundleError:  # never made, or not to its end
            shutil.rmtree(folder, ignore_errors=True)
            progress.say(f"{name} is exported to ONNX for these pictures, once")
            _write(folder, recipe, dataset, rows)
    return folder


def _write(folder: Path, recipe: Recipe, dataset: Dataset, rows: np.ndarray) -> None:
    from estampa.bundle.export import bundle_from
    from estampa.train.fit import build_network, preparation_of
    from estampa.train.fitted import Fitted

    preparation = preparation_of(recipe).fit(block for _, block in dataset.blocks(rows))
    network = build_network(recipe, dataset, preparation)
    fitted = Fitted(
        network=network, recipe=recipe, history=[], kept_epoch=0, decisions=[], seconds=0.0, stopped="",
        preparation=preparation, parameters=sum(p.numel() for p in network.body.parameters()),
    )  # fmt: skip
    answers = {"card": {"intended_use": _USE}}
    bundle_from(fitted, dataset, {"train": rows}, {}, folder, gallery=False, extra=answers)
