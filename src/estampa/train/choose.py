"""What a recipe leaves open is inferred from the data, and each decision is said with its reason."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from estampa import machine, measure, parts
from estampa.data.cutouts import LOOKED_AT, MARGIN, NET_SIDE, Framing, framing_of
from estampa.errors import DatasetError, RecipeError, nearest
from estampa.models.stampnet import LEAST_SIDE
from estampa.prepare import balance, mirror
from estampa.prepare.image import ImagePreparation
from estampa.recipe import Recipe, check_options, read, shipped
from estampa.train.fitted import ImageSet

#: The recipes of who names none: for pictures, for stamps of measured pixels, for a value of measured pixels, and for
#: colour pictures of the sky.
PICTURES, STAMPS, TERRAIN, GALAXIES = "pictures", "stamps", "terrain", "galaxies"
#: That of colour pictures with a longer side of so many pixels and more, where a pretrained net is at hand.
PRETRAINED, PHOTOGRAPH = "pictures-pretrained", 96
#: Pixels that the longer side of such pictures is brought to when files are read: what the nets were trained on.
PHOTOGRAPH_SIDE = 224
#: Channels of difference imaging: stamps of the sky, which have neither up nor down.
SKY = frozenset({"science", "template", "difference", "snr_difference"})
LEAST_EPOCHS, MOST_EPOCHS = 8, 200


def complete(
    recipe: Recipe, dataset: ImageSet, train_rows: np.ndarray[Any, Any] | None = None
) -> tuple[Recipe, list[str]]:
    """Fill in every "auto" of `recipe` that the loop reads, but threads, dtype and memory format (see probe.choose).

    `train_rows` are the objects to learn from; None = all labelled ones. Returns the whole recipe and the decisions,
    a sentence each. Raises RecipeError when the recipe was made for other data, DatasetError when there is nothing to
    learn.
    """
    said: list[str] = []
    recipe = _model(recipe, dataset, said)
    recipe = _task(recipe, dataset, said)
    require_fit(recipe, dataset)
    rows = labelled_rows(dataset, train_rows)
    if len(rows) == 0:
        raise DatasetError("no labelled object to learn from", cure="Give labels, or check the split.")
    recipe = _few(recipe, dataset, len(rows), said)
    changes: dict[str, Any] = {}
    classes = len(dataset.classes)
    framed = _framing(dataset, rows)
    _cropped(recipe, dataset, framed, changes, said)
    _symmetry(recipe, dataset, framed, changes, said)
    _mirrored(recipe, dataset, changes, said)
    _length(recipe, len(rows), changes, said)
    if recipe.data.task == "classification":
        ratio = balance.imbalance(dataset.labels[rows], classes)
        present = int((balance.counts(dataset.labels[rows], classes) > 0).sum())
        if present < 2:
            raise DatasetError(
                f"{present} class among the {len(rows)} objects to learn from",
                allowed="at least two classes",
                cure="Add objects of another class, or check the labels and the split.",
            )
        if recipe.prepare.balance == "auto":
            uneven = ratio >= balance.IMBALANCE
            changes["prepare.balance"] = "weights" if uneven else "none"
            if uneven:
                said.append(
                    f"Class weights in the loss: the largest class has {ratio:.1f} times the smallest's objects."
                )
        if recipe.train.monitor == "auto":
            uneven = ratio >= balance.IMBALANCE
            changes["train.monitor"] = "balanced_accuracy" if uneven else "accuracy"
    elif recipe.train.monitor == "auto":
        changes["train.monitor"] = "mse"
    if recipe.train.loss == "auto":
        changes["train.loss"] = _loss(recipe)
    done = _settled(recipe.with_values(changes, recipe.name), dataset, said)
    _require_metric(done)
    return done, said


def labelled_rows(dataset: ImageSet, rows: np.ndarray[Any, Any] | None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Those of `rows` (None = all) that have a label (class >= 0, or a finite value), sorted."""
    chosen = np.arange(dataset.n) if rows is None else np.sort(np.asarray(rows, dtype=np.int64))
    labels = np.asarray(dataset.labels)[chosen]
    known = labels >= 0 if dataset.task == "classification" else np.isfinite(labels)
    return chosen[known]


def require_fit(recipe: Recipe, dataset: ImageSet) -> None:
    """Raise RecipeError, naming both sides, when a published recipe was made for another shape or number of classes."""
    if dataset.shape is None:
        raise DatasetError("holds no images", cure="Nets learn from images; give pictures or arrays.")
    wanted, outputs = recipe.data.shape, len(dataset.classes) if recipe.data.task == "classification" else 1
    if wanted is not None and tuple(wanted) != tuple(dataset.shape):
        raise RecipeError(
            "the recipe was made for pictures of another shape (height, width, channels)",
            where=recipe.name,
            allowed=" x ".join(map(str, wanted)),
            got=" x ".join(map(str, dataset.shape)),
            cure="Build with --size, set data.shape to these pictures' shape, or use the recipe 'pictures'.",
        )
    if recipe.data.outputs is not None and recipe.data.outputs != outputs:
        raise RecipeError(
            "the recipe was made for another number of outputs",
            where=recipe.name,
            allowed=recipe.data.outputs,
            got=outputs,
            cure=f"Set data.outputs = {outputs}, or use the recipe 'pictures'.",
        )


def _model(recipe: Recipe, dataset: ImageSet, said: list[str]) -> Recipe:
    """A recipe without a model takes the default recipe's, and keeps what it sets itself."""
    if recipe.model.name != "auto":
        known = parts.names("models")
        if recipe.model.name not in known:
            raise RecipeError(
                f"no model {recipe.model.name!r}", where="model.name", allowed=", ".join(known),
                cure=nearest(recipe.model.name, known),
            )  # fmt: skip
        return recipe
    name, why = default_for(dataset)
    assert dataset.shape is not None
    height, width, channels = dataset.shape
    if name == PICTURES and PRETRAINED in shipped() and _photographs(dataset):
        said.append(_without_pretrained())
    default = read(name)
    own: dict[str, Any] = {}
    for stage in ("data", "prepare", "train", "evaluate", "search", "few"):
        part = getattr(recipe, stage)
        own |= {f"{stage}.{key}": getattr(part, key) for key in part.model_fields_set}
    own |= {f"model.{key}": value for key, value in recipe.model.options.items()}
    own = {"data.task": "auto", "prepare.symmetry": "auto"} | own  # said below, with their reasons
    tuned = name not in (GALAXIES, PRETRAINED) and max(height, width) > 96
    large = "; larger than the 96 pixels that it was tuned up to" if tuned else ""
    said.append(f"Recipe '{name}': the default for {why}, here {height} x {width} x {channels}{large}.")
    return default.with_values(own, recipe.name)


def default_for(dataset: ImageSet) -> tuple[str, str]:
    """The default recipe for the data, and what they are taken for.

    Measured pixels are float32 that are no picture's values: named as channels of difference imaging, or with missing,
    negative or fractional values that reach beyond 0..1.
    """
    if dataset.shape is None:
        raise DatasetError("holds no images", cure="Nets learn from images; give pictures or arrays.")
    if str(dataset.dtype) != "float32" and dataset.task == "classification" and _framing(dataset, None):
        return GALAXIES, "cut-outs of the sky (one object in the middle of a dark ground, any way round)"
    if _photographs(dataset) and not lacking_for_pretrained():
        return PRETRAINED, f"colour pictures of {PHOTOGRAPH} pixels and more, as its weights are at hand"
    if min(dataset.shape[:2]) < LEAST_SIDE or str(dataset.dtype) != "float32" or not _measured(dataset):
        return PICTURES, "pictures"
    if dataset.task == "regression":
        return TERRAIN, "a value of measured pixels"
    return STAMPS, "stamps of measured pixels"


def _photographs(dataset: ImageSet) -> bool:
    """Whether these are colour pictures large enough for a net that has learned on photographs."""
    shape = dataset.shape
    large = shape is not None and shape[2] == 3 and max(shape[:2]) >= PHOTOGRAPH
    return large and str(dataset.dtype) == "uint8" and dataset.task == "classification"


def lacking_for_pretrained() -> str:
    """What a pretrained net lacks here, in words; "" when it can be had without network."""
    if PRETRAINED not in shipped():
        return f"the recipe {PRETRAINED!r}"
    if machine.version_of("timm") is None or machine.version_of("torchvision") is None:
        return "timm"
    from estampa.models._weights import at_hand

    return "" if at_hand() else "weights"


def _without_pretrained() -> str:
    return (
        f"No pretrained net: not at hand is {lacking_for_pretrained()}. One that has learned on photographs needs far "
        "fewer pictures of one's own and would be the default for these: pip install 'estampa[pretrained]'"
    )


def _settled(recipe: Recipe, dataset: ImageSet, said: list[str]) -> Recipe:
    """What the model itself leaves open, as the weights that a pretrained net begins with."""
    module = parts.load("models", recipe.model.name)
    settle = getattr(module, "settle", None)
    if settle is None:
        return recipe
    rule = recipe.prepare
    if "scale" in rule.model_fields_set and rule.scale != module.SCALE:
        raise RecipeError(
            f"the model {recipe.model.name!r} standardises pixels itself, by its weights' own statistics",
            where="prepare.scale", allowed=module.SCALE, got=rule.scale, cure="Leave prepare.scale out.",
        )  # fmt: skip
    assert dataset.shape is not None
    assert not isinstance(rule.crop, str)
    assert not isinstance(rule.side, str)
    shape = ImagePreparation(local=rule.local, mask=rule.mask, crop=rule.crop, side=rule.side).shape(dataset.shape)
    options = check_options(module.Options, recipe.model.options, f"model {recipe.model.name!r}")
    changes, lines = settle(options, shape)
    said += lines
    own = {f"model.{key}": value for key, value in changes.items()}
    return recipe.with_values({"prepare.scale": module.SCALE, **own}, recipe.name)


def _framing(dataset: ImageSet, rows: np.ndarray[Any, Any] | None) -> Framing | None:
    """How objects fill the pictures, where those are cut-outs of the sky: seen on `rows` (None = on all)."""
    chosen = np.arange(dataset.n) if rows is None else rows
    if str(dataset.dtype) == "float32":
        return None
    return framing_of(len(chosen), lambda places: next(iter(dataset.blocks(chosen[places], LOOKED_AT)))[1])


def _cropped(
    recipe: Recipe, dataset: ImageSet, framed: Framing | None, changes: dict[str, Any], said: list[str]
) -> None:
    """The square that the objects fill, with room around it in what is stored: no turned copy lacks a corner."""
    assert dataset.shape is not None
    stored = min(dataset.shape[:2])
    told = recipe.prepare.crop
    if isinstance(told, str):
        crop = _square(framed.side, int(stored / MARGIN)) if framed else stored
        crop -= (stored - crop) % 2  # the same margin on both sides: turned by a quarter it is the same square
        crop = crop if crop < stored else 0
        changes["prepare.crop"] = crop
        if crop:
            said.append(
                f"The net sees the central {crop} x {crop} of {stored} x {stored} pixels, which the objects fill; the "
                "margin serves turned copies."
            )
    else:
        crop = told
    if recipe.prepare.side == "auto":
        square = crop > 0 or dataset.shape[0] == dataset.shape[1]
        changes["prepare.side"] = NET_SIDE if square and (crop or stored) >= 1.25 * NET_SIDE else 0
        if changes["prepare.side"]:
            said.append(f"It sees them at {NET_SIDE} x {NET_SIDE} (prepare.side).")


def _square(filled: int, most: int) -> int:
    """A crop of about `filled` pixels, in steps, so that folds of one set agree: `most` from three quarters of it on.

    A margin that was kept for turned copies says better what the objects fill than what is left of the sky around them.
    """
    return most if filled >= 0.75 * most else max(16, 16 * round(filled / 16))


def _measured(dataset: ImageSet) -> bool:
    if SKY & set(_channels(dataset)):
        return True
    _, images = next(iter(dataset.blocks(np.arange(min(dataset.n, LOOKED_AT)))))
    finite = images[np.isfinite(images)]
    fractions = bool((finite != np.round(finite)).any())
    return finite.size < images.size or bool(finite.size and (finite.min() < 0 or (finite.max() > 1 and fractions)))


def _channels(dataset: ImageSet) -> tuple[str, ...]:
    return tuple(getattr(getattr(dataset, "header", None), "channels", ()))


def _task(recipe: Recipe, dataset: ImageSet, said: list[str]) -> Recipe:
    if recipe.data.task == "auto":
        if dataset.task == "unlabelled":
            raise DatasetError(
                "has no labels", cure="Name the column of the answer with --label, or give a folder per class."
            )
        said.append(
            f"Classification into {len(dataset.classes)} classes: the labels are class names."
            if dataset.task == "classification"
            else "Regression: the labels are numbers."
        )
        return recipe.with_values({"data.task": dataset.task}, recipe.name)
    if recipe.data.task != dataset.task:
        raise RecipeError(
            "the recipe's task is not that of the data", where=f"{recipe.name}: data.task", allowed=recipe.data.task,
            got=dataset.task, cure="Use another recipe, or build the data with other labels.",
        )  # fmt: skip
    return recipe


def _few(recipe: Recipe, dataset: ImageSet, n: int, said: list[str]) -> Recipe:
    """Apply what a recipe changes for few objects, once: the recipe that is written back holds the outcome."""
    few = recipe.few
    if not few.below:
        return recipe
    if n >= few.below:
        return recipe.with_values({"few": {}}, recipe.name)
    values = dict(few.values)
    if "model.name" in values and not _fits(values, dataset):
        said.append(f"Pictures too small for the net for few objects and its warps: {recipe.model.name} is kept.")
        values = {key: value for key, value in values.items() if key.startswith("train.")}
    if "model.name" in values:  # the keys of another model go with its name
        recipe = recipe.with_values({"model": {"name": values["model.name"]}}, recipe.name)
    said.append(f"{n:,} objects to learn from are few (below {few.below:,}): the recipe's settings for few are taken.")
    return recipe.with_values({**values, "few": {}}, recipe.name)


def _fits(values: dict[str, Any], dataset: ImageSet) -> bool:
    """Whether the net that these dotted keys describe can be built for the data's pictures."""
    module = parts.load("models", values["model.name"])
    own = {
        key.removeprefix("model."): v for key, v in values.items() if key.startswith("model.") and key != "model.name"
    }
    options = check_options(module.Options, own, f"few: model {values['model.name']!r}")
    try:
        module.summary(options, dataset.shape, max(1, len(dataset.classes)))
    except RecipeError:  # its message would be of a net that nobody asked for
        return False
    return True


def _symmetry(
    recipe: Recipe, dataset: ImageSet, framed: Framing | None, changes: dict[str, Any], said: list[str]
) -> None:
    if recipe.prepare.symmetry != "auto":
        return
    declared = str(getattr(getattr(dataset, "header", None), "symmetry", "auto"))
    if declared == "auto" and SKY & set(_channels(dataset)):
        changes["prepare.symmetry"] = "d4"
        said.append("Symmetry d4: difference images of the sky have neither up nor down.")
    elif declared == "auto" and framed:
        changes["prepare.symmetry"] = "d4"
        said.append("Symmetry d4: these are cut-outs of the sky, which has neither up nor down; their mean is round.")
    elif declared == "auto" and recipe.model.name == "pretrained":
        changes["prepare.symmetry"] = "hflip"
        said.append(
            "Symmetry hflip: the net's first weights learned from photographs and their mirror images alike. "
            "Where left and right differ, set prepare.symmetry = 'none'."
        )
    elif declared == "auto":
        changes["prepare.symmetry"] = "none"
        said.append("No mirrored copies or quarter turns: that they keep the label is not declared (prepare.symmetry).")
    else:
        changes["prepare.symmetry"] = declared
        said.append(f"Symmetry {declared}: declared by the data.")


def _mirrored(recipe: Recipe, dataset: ImageSet, changes: dict[str, Any], said: list[str]) -> None:
    if recipe.prepare.mirrored != "auto":
        mirror.exchange(dataset.classes, recipe.prepare.mirrored)  # a name that is no class is told now
        return
    found = mirror.pairs_by_name(dataset.classes) if recipe.data.task == "classification" else ()
    changes["prepare.mirrored"] = found
    if found and changes.get("prepare.symmetry", recipe.prepare.symmetry) != "none":
        named = "; ".join(f"{a} and {b}" for a, b in found)
        said.append(f"A mirror exchanges classes: {named}. Mirrored copies get the other's label (prepare.mirrored).")


def _length(recipe: Recipe, n: int, changes: dict[str, Any], said: list[str]) -> None:
    train = recipe.train
    batch: int
    if train.batch == "auto":
        batch = min(256, max(16, 2 ** round(math.log2(max(n, 1) / 64)))) if n > 1 else 16
        changes["train.batch"] = batch
    else:
        batch = train.batch
    epochs = train.epochs
    if epochs == "auto":
        epochs = min(MOST_EPOCHS, max(LEAST_EPOCHS, round(train.steps * batch / n)))
        changes["train.epochs"] = epochs
    if "auto" in (train.batch, train.epochs):
        said.append(f"{epochs} epochs in batches of {batch}: for {n:,} objects to learn from.")


def _loss(recipe: Recipe) -> str:
    if recipe.data.task == "regression":
        return "mse"
    return "binary" if recipe.model.options.get("output") == "sigmoid" else "crossentropy"


def _require_metric(recipe: Recipe) -> None:
    """The loss and the monitored metric must be of the task."""
    known = measure.METRICS[recipe.data.task]
    if recipe.train.monitor not in known:
        raise RecipeError(
            f"no metric {recipe.train.monitor!r} for {recipe.data.task}", where="train.monitor",
            allowed=", ".join(known), cure=nearest(recipe.train.monitor, known),
        )  # fmt: skip
    if recipe.train.int8 and recipe.data.task == "regression":
        raise RecipeError("int8 is held to the accuracy that it costs: classes only", where="train.int8", got="true")
    if (recipe.train.loss == "mse") is not (recipe.data.task == "regression"):
        raise RecipeError(
            "the loss is not for this task", where="train.loss", got=f"{recipe.train.loss} for {recipe.data.task}"
        )
