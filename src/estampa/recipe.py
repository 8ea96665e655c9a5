"""One frozen record per stage, read from TOML. An unknown key is refused with the nearest real one.

A recipe says how a model is made, whole: the copy that a run folder keeps has every default written out. Values come,
strongest first, from a flag, from the environment (`ESTAMPA_TRAIN_EPOCHS=3` sets `train.epochs`), from the recipe file,
and from what the data say ("auto").
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from estampa.errors import InputError, RecipeError, nearest

RECIPES = Path(__file__).parent / "recipes"
ENVIRONMENT_PREFIX = "ESTAMPA_"

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]


class Record(BaseModel):
    """A frozen set of keys; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataRecipe(Record):
    """`[data]`: which column is the answer, and how the objects are parted."""

    task: Literal["auto", "classification", "regression"] = "auto"  #: what is learned; "auto" = as the Dataset says
    label: str = ""  #: column of the answer in a manifest or table; "" = inferred
    group: str = ""  #: column of what must not be torn apart; "" = the Dataset's own groups
    validation: Share = 0.1  #: share of the objects that are not test, when the file has no validation part
    test: Share = 0.2  #: share of all objects, when the file has no test part
    crop: Annotated[int, Field(ge=0)] = 0  #: side in pixels of the central square of files that is read; 0 = all
    size: tuple[Count, Count] | None = None  #: height, width in pixels when files are read; None = as they are
    fit: Literal["stretch", "pad", "crop"] = "stretch"  #: how another size is brought to `size`
    shape: tuple[Count, Count, Count] | None = None  #: height, width, channels that a published recipe was made for
    outputs: Count | None = None  #: number of classes (or 1) that a published recipe was made for
    features: tuple[str, ...] = ()  #: of a table, the columns to learn from; () = those whose role is feature
    also: tuple[str, ...] = ()  #: columns to learn from besides, as one that was left out because it tells the answer
    without: tuple[str, ...] = ()  #: columns not to learn from


class PrepareRecipe(Record):
    """`[prepare]`: from the Dataset's pixels to the net's input. Fitted on the training part only."""

    nan: Literal["refuse", "zero", "median"] = "zero"  #: a NaN pixel: refused, 0 after scaling, or the channel's median
    stretch: Literal["linear", "asinh"] = "linear"  #: of pixel values before scaling; asinh tames bright sources
    scale: Literal["raw", "unit", "standard"] = "standard"  #: raw values; 0..1 by type or range; mean 0, deviation 1
    local: bool = False  #: each channel once more, on its own picture's level and noise
    mask: bool = False  #: one more channel: 1 where a pixel is missing
    crop: Annotated[int, Field(ge=0, le=65_536)] | Literal["auto"] = (
        0  #: side of the central square that the net sees, in stored pixels; 0 = all; "auto" = what the objects fill
    )
    side: Annotated[int, Field(ge=0, le=4096)] | Literal["auto"] = (
        0  #: pixels that the crop is brought to, by area; 0 = as it is; "auto" = 80 for much larger ones
    )
    symmetry: Literal["auto", "none", "hflip", "d4"] = "auto"  #: which mirrors and turns keep the label
    mirrored: tuple[tuple[str, str], ...] | Literal["auto"] = (
        "auto"  #: pairs of classes that exchange places in the mirror; "auto" = by their names, as clockwise
    )
    views: Literal["one", "symmetry"] = "one"  #: the answer is of the picture, or the mean over its symmetric views
    shift: Annotated[int, Field(ge=0, le=64)] = 0  #: random shift in training, pixels
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0  #: random rotation in training, degrees either way
    zoom: Annotated[float, Field(ge=0, le=1)] = 0.0  #: random zoom in training, by exp(u), u at most this either way
    aspect: Annotated[float, Field(ge=0, le=1)] = 0.0  #: the same for width by height
    shear: Annotated[float, Field(ge=0, le=1)] = 0.0  #: random slant in training, share
    elastic: Annotated[float, Field(ge=0, le=16)] = 0.0  #: deviation of a smooth random displacement, pixels
    erase: Annotated[float, Field(ge=0, le=1)] = 0.0  #: sides of an erased rectangle, drawn up to this share
    balance: Literal["auto", "none", "weights", "sampling", "copies"] = (
        "auto"  #: class weights in the loss, balanced drawing, or as many of each class, some of them turned copies
    )
    balance_power: Annotated[float, Field(ge=0, le=1)] = (
        1.0  #: of class weights: 1 = classes count equally, 0 = as they are
    )
    invalid: Literal["impute", "drop"] = (
        "impute"  #: a failed measurement in a table: the median, and a column that says so; or the row is left out
    )
    derive: bool = True  #: of a table, add colours, concentration, ellipticity and surface brightness
    balance_to: Annotated[int, Field(ge=0, le=10_000_000)] = (
        0  #: objects of each class with balance = "copies"; 0 = as many as the largest has
    )


class ModelRecipe(BaseModel):
    """`[model]`: a name in models/, and that model's own keys, which its `Options` record checks."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    name: str = "auto"

    @property
    def options(self) -> dict[str, Any]:
        """The model's own keys."""
        return dict(self.model_extra or {})


class TrainRecipe(Record):
    """`[train]`: the loop."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] | Literal["auto"] = (
        "auto"  #: passes over the training part; "auto" = from the number of objects
    )
    steps: Count = 2000  #: what "auto" epochs aim at, with at least 8 and at most 200 epochs
    batch: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = (
        "auto"  #: objects a step; "auto" = from the number of objects
    )
    optimizer: Literal["adam", "adamw", "rmsprop", "sgd", "muon"] = "adam"  #: step rule; constants as Keras has them
    rate: Annotated[float, Field(gt=0, le=100)] = 0.001  #: (peak) learning rate
    schedule: Literal["constant", "onecycle"] = "constant"  #: of the rate: one value, or up and down once
    warmup: Share = 0.2  #: share of the steps in which one-cycle climbs
    momentum: Share = 0.9  #: of sgd, rmsprop's own is 0 and adam's are Keras's (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0  #: decoupled for adamw, sgd and muon
    label_smoothing: Share = 0.0  #: share of the target spread over all classes
    averaging: Share = 0.0  #: weight averaging: 0 = none, else the decay per step of the running mean
    loss: Literal["auto", "crossentropy", "binary", "mse"] = (
        "auto"  #: "binary" is one sigmoid a class, as the hits study has it
    )
    pretrain: Literal["none", "simulate", "galaxies"] = (
        "none"  #: first weights: random, or learned on what the builder of that name simulates: stamps, or galaxies
    )
    pretrain_stamps: Annotated[int, Field(ge=100, le=10_000_000)] = 40_000  #: simulated objects to learn from first
    pretrain_epochs: Count = 8  #: passes over them
    head_epochs: Annotated[int, Field(ge=0)] = (
        0  #: first, so many passes of the head alone, over cached features of a backbone that is frozen meanwhile
    )
    head_views: Annotated[int, Field(ge=1, le=64)] = (
        4  #: views of each picture whose features are cached: the picture itself, the others augmented
    )
    head_rate: Annotated[float, Field(gt=0)] | None = None  #: (peak) learning rate of that stage; none = `rate`
    unfreeze: Literal["all", "none"] | Count | tuple[Count | Literal["all"], ...] = (
        "all"  #: how many of the backbone's last blocks `epochs` train; a list, as [2, "all"], in even stages
    )
    rate_decay: Annotated[float, Field(gt=0, le=1)] = (
        1.0  #: each block of the backbone learns at this share of the next one's rate, the last at this of the head's
    )
    keep_statistics: bool = False  #: a backbone's BatchNorm stays in eval mode also where its blocks learn
    blend: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = (
        1.0  #: how far from the net whose head alone learned to the last weights; "auto" = by validation, or 0.5
    )
    monitor: str = "auto"  #: metric of the validation part that chooses the kept epoch
    patience: Annotated[int, Field(ge=0)] = 0  #: epochs without a better one before stopping; 0 = never
    keep: Literal["best", "last"] = "last"  #: which epoch's weights are kept
    calibrate: bool = True  #: one temperature for the probabilities, found on the validation part
    temperature: Annotated[float, Field(gt=0)] | None = (
        None  #: of the probabilities, as a searched model of a table writes it back; none = found by `calibrate`
    )
    int8: bool = False  #: the bundle's convolutions in 8 bits, unless validation accuracy loses over 0.3 points by it
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0  #: rules weights, order, augmentation and splits
    time_limit: Annotated[float, Field(gt=0)] | None = None  #: seconds of training
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"  #: where to train
    threads: Count | Literal["auto"] = "auto"  #: of torch; "auto" = by a short probe
    dtype: Literal["auto", "float32", "bf16"] = "auto"  #: of activations in training; "auto" = by a short probe
    memory_format: Literal["auto", "channels_first", "channels_last"] = (
        "auto"  #: of activations; "auto" = by a short probe
    )


class EvaluateRecipe(Record):
    """`[evaluate]`: how the model is judged."""

    resamples: Annotated[int, Field(ge=100, le=100_000)] = 1000  #: of the bootstrap
    folds: Annotated[int, Field(ge=0, le=1000)] = 0  #: cross-validation; 0 = none
    repeats: Count = 1  #: of the cross-validation
    keep_accuracy: Annotated[float, Field(gt=0, lt=1)] | None = (
        None  #: answers are flagged below the confidence that keeps this accuracy among the others; None = none is
    )
    aim: str = ""  #: of two classes, what the threshold is chosen for on validation: fpr=0.01, recall=0.95, f1, ...
    positive: str = ""  #: of two classes the one that is looked for; "" = the second
    prior: str | float = ""  #: share of it where the model will work, as 1:1000 or 0.001: purity is stated for it
    by: tuple[str, ...] = ("auto",)  #: columns to slice by, as snr or snr:3,5,7; "auto" = snr, magnitude, magpsf, mag
    baselines: bool = True  #: majority, logistic regression and forests on the same split
    table: bool = True  #: of pictures with columns to learn from beside them: a model of the columns, and both together

    @field_validator("aim", "prior")
    @classmethod
    def _readable(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse now what could not be read after training."""
        from estampa.measure.aims import read_aim
        from estampa.measure.operating import read_prior

        try:
            if info.field_name == "aim" and value:
                read_aim(value)
            elif info.field_name == "prior" and value != "":
                read_prior(value)
        except InputError as error:
            raise ValueError(str(error)) from None
        return value


class SearchRecipe(Record):
    """`[search]`: values to try for keys of this recipe, judged on validation only."""

    values: dict[str, list[Any]] = Field(default_factory=dict)  #: "model.widths" -> values to try
    trials: Count | None = None  #: at most so many, drawn at random; None = the whole grid
    methods: tuple[str, ...] = ()  #: of a table, the models that are searched, each with `trials` settings
    folds: Annotated[int, Field(ge=2, le=100)] = 10  #: of a table, folds of the training part that judge a setting


class FewRecipe(Record):
    """`[few]`: what changes when there are few objects to learn from."""

    below: Annotated[int, Field(ge=0)] = 0  #: this many objects to learn from are enough; fewer are few
    values: dict[str, Any] = Field(default_factory=dict)  #: dotted keys and their values for few objects


class Recipe(Record):
    """How a model is made, whole."""

    name: str = "custom"
    about: str = ""
    data: DataRecipe = DataRecipe()
    prepare: PrepareRecipe = PrepareRecipe()
    model: ModelRecipe = ModelRecipe()
    train: TrainRecipe = TrainRecipe()
    evaluate: EvaluateRecipe = EvaluateRecipe()
    search: SearchRecipe = SearchRecipe()
    few: FewRecipe = FewRecipe()

    def with_values(self, changes: Mapping[str, Any], where: str = "flags") -> Recipe:
        """Return a copy with dotted keys set ({"train.epochs": 3}); raises RecipeError as `parse` does."""
        tree = self.model_dump(exclude_unset=True)  # what nobody set stays unset: a default recipe may still fill it
        _override_few(tree.get("few", {}).get("values", {}), changes)
        for key, value in changes.items():
            stage, _, name = key.partition(".")
            if not name:
                tree[stage] = value
            elif stage in Recipe.model_fields and isinstance(tree.setdefault(stage, {}), dict):
                tree[stage][name] = value
            else:
                raise RecipeError(f"unknown key {key!r}", where=where, cure=nearest(key, known_keys()))
        return parse(tree, where)

    def to_toml(self) -> str:
        """The whole recipe as TOML, defaults written out; keys without a value are left out."""
        import tomli_w

        return str(tomli_w.dumps(self.model_dump(mode="json", exclude_none=True)))


def _override_few(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """What is told from outside holds for few objects too: `values` of `[few]` give way to `changes`."""
    if "model.name" in changes:
        for key in [k for k in values if k.startswith("model.")]:
            del values[key]
    if values:
        values |= {k: v for k, v in changes.items() if k in values or k.startswith("model.")}


def known_keys() -> list[str]:
    """Every dotted key that a recipe can hold, the models' own keys apart."""
    keys = []
    for stage, field in Recipe.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += [f"{stage}.{key}" for key in kind.model_fields]
        else:
            keys.append(stage)
    return keys


def parse(tree: Mapping[str, Any], where: str) -> Recipe:
    """Check a tree of keys; all faults are told at once, in one RecipeError."""
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        raise RecipeError(faults(error, known_keys()), where=where) from None
    _check_few(recipe, where)
    return recipe


def _check_few(recipe: Recipe, where: str) -> None:
    """The keys of [few.values] must be real ones; their values are checked when they are taken."""
    known = known_keys()
    for key in recipe.few.values:
        if key not in known and not key.startswith("model."):
            raise RecipeError(f"unknown key {key!r} in few.values", where=where, cure=nearest(key, known))


def check_options(kind: type[Record], options: Mapping[str, Any], where: str) -> Any:
    """Check a model's own keys against its record `kind`; faults as in `parse`."""
    try:
        return kind.model_validate(dict(options))
    except ValidationError as error:
        raise RecipeError(faults(error, kind.model_fields), where=where) from None


#: How pydantic names the branches of a union in an error's place.
_UNION = ("constrained-", "literal[", "int", "float", "function-")


def faults(error: ValidationError, known: Any) -> str:
    """One clause a fault: the key, what is allowed, what came, the nearest real key."""
    clauses = []
    for fault in error.errors():
        key = ".".join(
            str(p) for p in fault["loc"] if not str(p).startswith(("constrained-", "literal", "int", "float", "tuple["))
        )
        if fault["type"] == "extra_forbidden":
            clauses.append(f"unknown key {key!r}. {nearest(key, known) or 'Known: ' + ', '.join(sorted(known)) + '.'}")
        elif fault["type"] == "model_type":
            clauses.append(f"{key!r}: should be a table of keys, as [{key}], got {fault['input']!r}")
        elif fault["type"] == "value_error":
            clauses.append(f"{key!r}: {fault['ctx']['error']}, got {fault['input']!r}")
        else:
            clauses.append(f"{key!r}: {fault['msg'].lower()}, got {fault['input']!r}")
    return "; ".join(dict.fromkeys(clauses))


def shipped() -> list[str]:
    """Names of the recipes that come with estampa."""
    return sorted(p.stem for p in RECIPES.glob("*.toml"))


def read(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name, or a TOML file by path.

    Raises RecipeError when there is none of that name, when it is not TOML, or when a key or value is refused.
    """
    path = Path(name_or_path)
    if name_or_path in shipped():
        path = RECIPES / f"{name_or_path}.toml"
    elif path.suffix != ".toml" or not path.is_file():
        raise RecipeError(
            f"no recipe {name_or_path!r}",
            where="--recipe",
            allowed=f"a .toml file or one of {', '.join(shipped())}",
            cure=nearest(name_or_path, shipped()),
        )
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError("not TOML", where=path, got=str(error)) from error
    return parse({"name": path.stem, **tree}, str(path))


def from_environment(environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Dotted keys set by ESTAMPA_STAGE_KEY variables; others that begin with ESTAMPA_ are left to their owners."""
    found: dict[str, Any] = {}
    by_variable = {ENVIRONMENT_PREFIX + k.replace(".", "_").upper(): k for k in known_keys() if "." in k}
    for variable, text in environment.items():
        if variable in by_variable:
            found[by_variable[variable]] = value_of(text)
    return found


def value_of(text: str) -> Any:
    """A value as TOML would read it ("3", "true", "[1, 2]"); bare words are strings."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


__all__ = [
    "DataRecipe", "EvaluateRecipe", "FewRecipe", "ModelRecipe", "PrepareRecipe", "Recipe", "Record", "SearchRecipe",
    "TrainRecipe", "check_options", "faults", "from_environment", "known_keys", "parse", "read", "shipped", "value_of",
]  # fmt: skip
