"""From a Dataset and a recipe to a trained network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from estampa import parts
from estampa.errors import BundleError, DatasetError, RecipeError
from estampa.models._network import Body, LayerRow, Network, parameter_count
from estampa.prepare import balance
from estampa.prepare.image import ImagePreparation
from estampa.prepare.mirror import exchange
from estampa.progress import SILENT, Progress
from estampa.recipe import Recipe, Record, check_options
from estampa.train import checkpoint, probe, stages
from estampa.train.choose import complete, labelled_rows
from estampa.train.estimators import NetClassifier, NetRegressor
from estampa.train.feed import ArraySet, Feed
from estampa.train.fitted import Fitted, ImageSet
from estampa.train.job import Job
from estampa.train.loop import Loop
from estampa.train.losses import Loss, make_loss

Array = np.ndarray[Any, Any]


def fit_net(
    dataset: ImageSet,
    recipe: Recipe,
    *,
    train_rows: Array,
    validation_rows: Array | None = None,
    folder: Path | None = None,
    progress: Progress = SILENT,
    start: Network | None = None,
    watched_rows: Array | None = None,
) -> Fitted:
    """Train the recipe's net on `train_rows` of the data; rows without a label are left out.

    The validation part only chooses the kept epoch (`train.keep = "best"`), stops early (`train.patience`) and draws
    its curve. With a `folder` an epoch's end is kept there and an interrupted training goes on from it. The same
    recipe, as it is written back in the result, gives the same weights on the same machine.

    Raises DatasetError or RecipeError before any work when data and recipe do not fit, EstampaError when the loss is
    no longer a number, Interrupted on Ctrl-C. `start` gives the net's first weights in place of random ones.
    `watched_rows` are those of the test part where a study draws its curve ("test_..." in the history): nothing is
    chosen by them.
    """
    began = time.perf_counter()
    recipe, decisions = complete(recipe, dataset, train_rows)
    parted = _Parts.of(dataset, recipe, train_rows, validation_rows)
    parted.watch(dataset, watched_rows)
    recipe = _choosable(recipe, parted, decisions)
    for line in decisions:
        progress.say(line)
    own, recipe = _identity(dataset, recipe, parted, folder)
    device = probe.device_of(recipe.train.device)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(recipe.train.seed)
        train = parted.feed(dataset, parted.train, recipe, device)
        validation = parted.feed(dataset, parted.validation, recipe, device) if len(parted.validation) else None
        network, preparation = _made(dataset, recipe, parted, train)
        lessons = time.perf_counter()
        if start is not None:
            network.body.load_state_dict(start.body.state_dict())
        elif recipe.train.pretrain != "none":
            recipe = _pretrained(network, recipe, dataset, decisions, progress)
        spent = time.perf_counter() - lessons
        network.to(device)
        weights = _class_weights(recipe, dataset, parted, device)
        loss = make_loss(recipe.train.loss, recipe.train.label_smoothing, weights)
        recipe, staged = _arranged(network, train, loss, recipe, progress)
        torch.manual_seed(recipe.train.seed)
        watched = parted.feed(dataset, parted.watched, recipe, device) if len(parted.watched) else None
        job = Job(network, recipe, train, validation, loss, parted.truth(dataset), own, watched, spent)
        outcome = Loop(job, folder, progress).run()
    network.to("cpu")
    return Fitted(
        network=network, recipe=recipe, history=outcome.history, kept_epoch=outcome.kept_epoch,
        decisions=[*decisions, *staged, *outcome.told],
        seconds=max(outcome.seconds, time.perf_counter() - began), stopped=outcome.stopped, preparation=preparation,
        parameters=parameter_count(network.body), layers=layers_of(recipe, network.shape, parted.outputs),
        classes=tuple(dataset.classes) if recipe.data.task == "classification" else (),
    )  # fmt: skip


def _made(dataset: ImageSet, recipe: Recipe, parted: _Parts, train: Feed) -> tuple[Network, ImagePreparation]:
    """The network before it learns, and the preparation fitted on the training part."""
    preparation = preparation_of(recipe)
    network = build_network(recipe, dataset, preparation.fit(train.stored()))
    network.target_mean.fill_(parted.mean)
    network.target_deviation.fill_(parted.deviation)
    return network, preparation


def _arranged(
    network: Network, train: Feed, loss: Loss, recipe: Recipe, progress: Progress
) -> tuple[Recipe, list[str]]:
    """The recipe with what the machine does best, and what is said of it and of the stages.

    Raises RecipeError for stages that this net cannot have.
    """
    said = stages.told(stages.plan(recipe.train, network.body), recipe.train, network.body)
    recipe, chosen = probe.choose(network, train, loss, recipe)
    said.append(chosen)
    for line in said:
        progress.say(line)
    return recipe, said


def _choosable(recipe: Recipe, parted: _Parts, decisions: list[str]) -> Recipe:
    """The recipe without a choice of the epoch where there is no validation part to choose by."""
    if (recipe.train.keep == "last" and not recipe.train.patience) or len(parted.validation):
        return recipe
    decisions.append(
        "All epochs are trained and the last one's weights kept: there is no validation part to choose by."
    )
    return recipe.with_values({"train.keep": "last", "train.patience": 0}, recipe.name)


def _pretrained(
    network: Network, recipe: Recipe, dataset: ImageSet, decisions: list[str], progress: Progress
) -> Recipe:
    """Give the network first weights from simulated stamps; the recipe returned says whether there were any."""
    from estampa.train.pretrain import first_weights

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        weights, said = first_weights(recipe, dataset, progress)
    decisions.append(said)
    progress.say(said)
    if weights is None:
        return recipe.with_values({"train.pretrain": "none"}, recipe.name)
    missing, unexpected = network.body.load_state_dict(weights, strict=False)
    if unexpected or any(not name.startswith("output.") for name in missing):
        raise BundleError("the lessons are another net's", got=", ".join([*missing, *unexpected][:5]))
    return recipe


def _identity(dataset: ImageSet, recipe: Recipe, parted: _Parts, folder: Path | None) -> tuple[str, Recipe]:
    """The job's fingerprint, and the recipe with what the machine chose when the job in `folder` was begun."""
    if folder is None:
        return "", recipe
    own = checkpoint.fingerprint(recipe, dataset.content_sha256, parted.train, parted.validation)
    found, _ = checkpoint.read(folder, own)
    if found is not None:
        kept = found.state["recipe"]["train"]
        recipe = recipe.with_values({f"train.{k}": kept[k] for k in ("threads", "dtype", "memory_format")}, "resume")
    return own, recipe


@dataclass
class _Parts:
    """Rows of the two parts (sorted, labelled ones), and how targets are standardised."""

    train: Array
    validation: Array
    outputs: int
    mean: float = 0.0
    deviation: float = 1.0
    regression: bool = False
    watched: Array = field(default_factory=lambda: np.zeros(0, np.int64))  #: of the test part, where it is drawn

    @classmethod
    def of(cls, dataset: ImageSet, recipe: Recipe, train_rows: Array, validation_rows: Array | None) -> _Parts:
        train = labelled_rows(dataset, train_rows)
        validation = labelled_rows(dataset, np.zeros(0, np.int64) if validation_rows is None else validation_rows)
        both = np.intersect1d(train, validation)
        if len(both):
            raise DatasetError(
                f"{len(both)} rows are in the training and in the validation part", got=f"row {both[0]} ..."
            )
        labels = np.asarray(dataset.labels)
        if recipe.data.task == "regression":
            made = cls(train, validation, 1, regression=True)
            if recipe.prepare.scale != "raw":  # a recipe with raw pixels leaves the target raw too
                made.mean = float(labels[train].mean())
                made.deviation = float(labels[train].std()) or 1.0
            return made
        classes = len(dataset.classes)
        high = int(labels[train].max(initial=-1))
        if high >= classes:
            raise DatasetError(f"a label is {high}", where="labels", allowed=f"0..{classes - 1}, or -1 for unlabelled")
        return cls(train, validation, classes)

    def feed(self, dataset: ImageSet, rows: Array, recipe: Recipe, device: str) -> Feed:
        """Images and targets of `rows` as the loss wants them."""
        labels = np.asarray(dataset.labels)[rows]
        targets = (
            ((labels - self.mean) / self.deviation).astype(np.float32) if self.regression else labels.astype(np.int64)
        )
        drawing = copies = None
        if recipe.prepare.balance == "copies" and not self.regression and rows is self.train:
            copies = balance.copies(labels, self.outputs, recipe.prepare.balance_to, seed=recipe.train.seed)
        if recipe.prepare.balance == "sampling" and not self.regression and rows is self.train:
            drawing = balance.drawing_weights(labels, self.outputs)
        return Feed(dataset, rows, targets, drawing=drawing, copies=copies, device=device)

    def watch(self, dataset: ImageSet, rows: Array | None) -> None:
        """Draw the curve of `rows` too, those of them that have a label."""
        if rows is not None:
            self.watched = labelled_rows(dataset, rows)

    def truth(self, dataset: ImageSet) -> dict[str, Array]:
        """Labels as metrics want them."""
        labels = np.asarray(dataset.labels)
        return {"train": labels[self.train], "validation": labels[self.validation], "test": labels[self.watched]}


def _class_weights(recipe: Recipe, dataset: ImageSet, parted: _Parts, device: str) -> torch.Tensor | None:
    rule = recipe.prepare
    if rule.balance != "weights" or parted.regression:
        return None
    weights = balance.class_weights(np.asarray(dataset.labels)[parted.train], parted.outputs, rule.balance_power)
    return torch.from_numpy(weights).to(device)


def preparation_of(recipe: Recipe) -> ImagePreparation:
    """The recipe's preparation, not fitted."""
    rule = recipe.prepare
    if isinstance(rule.crop, str) or isinstance(rule.side, str):
        raise RecipeError(
            "is not complete: 'auto' is for choose.complete to decide", where="prepare.crop, prepare.side"
        )
    return ImagePreparation(
        rule.nan, rule.stretch, rule.scale, local=rule.local, mask=rule.mask, crop=rule.crop, side=rule.side
    )


def exchange_of(recipe: Recipe, classes: Sequence[str]) -> list[int] | None:
    """For each class the one that it becomes in the mirror; None where the recipe mirrors nothing."""
    pairs = recipe.prepare.mirrored
    if recipe.data.task != "classification" or isinstance(pairs, str) or recipe.prepare.symmetry == "none":
        return None
    return [int(number) for number in exchange(classes, pairs)]


def fed(recipe: Recipe, shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Height, width and channels that the net is fed for pictures of `shape`."""
    return preparation_of(recipe).shape(shape)


def build_body(recipe: Recipe, shape: tuple[int, int, int], outputs: int) -> Body:
    """The recipe's net, with its first weights, for pictures of `shape` (height, width, channels)."""
    module = parts.load("models", recipe.model.name)
    body: Body = module.build(options_of(recipe), fed(recipe, shape), outputs)
    return body


def options_of(recipe: Recipe) -> Record:
    """The model's own keys, checked; raises RecipeError for an unknown one, with the nearest real one."""
    module = parts.load("models", recipe.model.name)
    options: Record = check_options(module.Options, recipe.model.options, f"model {recipe.model.name!r}")
    return options


def layers_of(recipe: Recipe, shape: tuple[int, int, int], outputs: int) -> list[LayerRow]:
    """The net's summary for pictures of `shape`, a row a layer, without building it."""
    module = parts.load("models", recipe.model.name)
    rows: list[LayerRow] = module.summary(options_of(recipe), fed(recipe, shape), outputs)
    return rows


def build_network(recipe: Recipe, dataset: ImageSet, preparation: ImagePreparation) -> Network:
    """The untrained network for this data: preparation and body in one."""
    assert dataset.shape is not None
    outputs = len(dataset.classes) if recipe.data.task == "classification" else 1
    return Network(
        build_body(recipe, dataset.shape, outputs),
        shape=dataset.shape,
        dtype=str(dataset.dtype),
        task=recipe.data.task,
        rule=preparation.to_record(),
        constants=preparation.constants(),
        views=recipe.prepare.symmetry if recipe.prepare.views == "symmetry" else "none",
        exchange=exchange_of(recipe, dataset.classes),
    )


__all__ = ["ArraySet", "Fitted", "NetClassifier", "NetRegressor", "build_body", "build_network", "fit_net", "layers_of"]
