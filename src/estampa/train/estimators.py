"""The nets as scikit-learn estimators: images and labels in, the contract of scikit-learn's developer guide out."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Self

import numpy as np

from estampa import measure
from estampa.errors import ContractError, InputError
from estampa.recipe import Recipe, read
from estampa.train.feed import ArraySet
from estampa.train.fitted import Fitted

Array = np.ndarray[Any, Any]


class _Net:
    """What both estimators share. Constructor parameters are stored as given; learned things end in `_`.

    Parameters
    ----------
    recipe : name of a shipped recipe, path of a TOML file, or a Recipe.
    settings : dotted recipe keys and values, {"train.epochs": 5}.
    random_state : the seed; None = the recipe's.
    folder : where checkpoints and history are kept, so that an interrupted `fit` goes on; None = nowhere.
    progress : a Progress; None = silent.
    """

    _task = ""

    def __init__(
        self, recipe: str | Recipe = "pictures", *, settings: dict[str, Any] | None = None,
        random_state: int | None = 0, folder: str | Path | None = None, progress: Any = None,
    ) -> None:  # fmt: skip
        self.recipe = recipe
        self.settings = settings
        self.random_state = random_state
        self.folder = folder
        self.progress = progress

    @classmethod
    def _parameters(cls) -> list[str]:
        return [name for name in inspect.signature(_Net.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 - nothing is nested
        """The constructor's parameters."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **parameters: Any) -> Self:
        """Set constructor parameters; raises InputError for one that there is not."""
        for name, value in parameters.items():
            if name not in self._parameters():
                raise InputError(
                    f"no parameter {name!r}", where=type(self).__name__, allowed=", ".join(self._parameters())
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.get_params().items() if v is not None)})"
        )

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier" if self._task == "classification" else "regressor",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags() if self._task == "classification" else None,
            regressor_tags=RegressorTags() if self._task == "regression" else None,
            input_tags=InputTags(two_d_array=False, three_d_array=True, allow_nan=True),
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def _fit(
        self, images: Array, targets: Array, classes: tuple[str, ...], validation: tuple[Array, Array] | None
    ) -> Self:
        from estampa.progress import SILENT
        from estampa.train.calibrate import calibrate
        from estampa.train.fit import fit_net

        recipe = self.recipe if isinstance(self.recipe, Recipe) else read(self.recipe)
        changes = dict(self.settings or {})
        if self.random_state is not None:
            changes["train.seed"] = int(self.random_state)
        images = as_images(images)
        _same_length(images, targets)
        n = len(images)
        if validation is not None:
            more = as_images(validation[0], images.dtype, images.shape[1:])
            _same_length(more, validation[1])
            images, targets = np.concatenate([images, more]), np.concatenate([targets, validation[1]])
        data = ArraySet(images, targets, self._task, classes)
        self.fitted_: Fitted = fit_net(
            data,
            recipe.with_values(changes, "settings"),
            train_rows=np.arange(n),
            validation_rows=np.arange(n, len(images)),
            folder=None if self.folder is None else Path(self.folder),
            progress=self.progress or SILENT,
        )
        calibrate(self.fitted_, data, np.arange(n, len(images)))
        self.n_features_in_ = int(np.prod(images.shape[1:]))
        self.history_ = self.fitted_.history
        return self

    def _answer(self, images: Array) -> Array:
        if not hasattr(self, "fitted_"):
            from sklearn.exceptions import NotFittedError

            raise NotFittedError(f"This {type(self).__name__} is not fitted yet: call fit before predict.")
        network = self.fitted_.network
        return self.fitted_.predict(as_images(images, np.dtype(network.dtype), network.shape))


class NetClassifier(_Net):
    """A net that tells classes apart.

    Attributes
    ----------
    classes_ : labels seen in `fit`, sorted: the columns of `predict_proba`.
    fitted_ : the Fitted. history_ : its rows.
    """

    _task = "classification"

    def fit(self, X: Array, y: Array, validation: tuple[Array, Array] | None = None) -> Self:
        """Learn from images (n, height, width[, channels]) and labels (n,) of any kind that sorts; returns self.

        `validation` (images, labels) chooses the kept epoch when the recipe asks for it, and the temperature of the
        probabilities (`train.calibrate`); without it the temperature is 1. Raises InputError for
        arrays that do not fit, and what `fit_net` raises.
        """
        labels = np.asarray(y)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if validation is not None:
            known = np.searchsorted(self.classes_, validation[1])
            known = np.minimum(known, len(self.classes_) - 1)
            strange = self.classes_[known] != np.asarray(validation[1])
            if strange.any():
                raise InputError(
                    f"{int(strange.sum())} validation labels do not occur in training", where="validation",
                    got=repr(np.asarray(validation[1])[strange][0]),
                )  # fmt: skip
            validation = (validation[0], known)
        return self._fit(X, numbers, tuple(str(c) for c in self.classes_), validation)

    def predict_proba(self, X: Array) -> Array:
        """Probabilities (n, classes) float32, columns in the order of `classes_`."""
        return self._answer(X)

    def predict(self, X: Array) -> Array:
        """The likeliest label of each image (n,)."""
        found: Array = self.classes_[self._answer(X).argmax(1)] if hasattr(self, "classes_") else self._answer(X)
        return found

    def score(self, X: Array, y: Array) -> float:
        """Accuracy."""
        return float(np.mean(self.predict(X) == np.asarray(y)))


class NetRegressor(_Net):
    """A net that tells a number. `fitted_` is the Fitted, `history_` its rows."""

    _task = "regression"

    def fit(self, X: Array, y: Array, validation: tuple[Array, Array] | None = None) -> Self:
        """Learn from images (n, height, width[, channels]) and finite values (n,); returns self."""
        target = np.asarray(y, dtype=np.float64)
        if validation is not None:
            validation = (validation[0], np.asarray(validation[1], dtype=np.float64))
        return self._fit(X, target, (), validation)

    def predict(self, X: Array) -> Array:
        """Values (n,) float32 in the unit of the targets."""
        return self._answer(X)

    def score(self, X: Array, y: Array) -> float:
        """Coefficient of determination."""
        return measure.r2(np.asarray(y, dtype=np.float64), self.predict(X).astype(np.float64))


def as_images(images: Array, dtype: Any = None, shape: tuple[int, ...] | None = None) -> Array:
    """Images as (n, height, width, channels) uint8, uint16 or float32; raises InputError or ContractError.

    A missing channel axis is added; bool becomes uint8, other floats float32, other whole numbers the smaller of
    uint8 and uint16 that holds them. With `dtype` and `shape` the images must fit them.
    """
    array = np.asarray(images)
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4:
        raise InputError(
            f"images with {array.ndim} axes",
            where="images",
            allowed="(n, height, width) or (n, height, width, channels)",
        )
    if shape is not None and array.shape[1:] != tuple(shape):
        raise ContractError(
            "images of another shape", where="images", allowed=str(tuple(shape)), got=str(array.shape[1:])
        )
    wanted = np.dtype(dtype) if dtype is not None else _stored_type(array)
    if wanted.kind == "u" and array.dtype != wanted and array.size:
        low, high = array.min(), array.max()
        if array.dtype.kind == "f" or low < 0 or high > np.iinfo(wanted).max:
            raise ContractError(
                "pixels that are not what the net is fed", where="images", allowed=str(wanted),
                got=f"{array.dtype}, {low} .. {high}",
            )  # fmt: skip
    return np.ascontiguousarray(array, dtype=wanted)


def _stored_type(array: Array) -> np.dtype[Any]:
    if array.dtype.kind == "b":
        return np.dtype(np.uint8)
    if array.dtype.kind == "f":
        return np.dtype(np.float32)
    if array.dtype.kind not in "iu":
        raise InputError("pixels that are not numbers", where="images", got=str(array.dtype))
    return np.dtype(
        np.uint8 if array.dtype == np.uint8 or (array.max(initial=0) <= 255 and array.dtype != np.uint16) else np.uint16
    )


def _same_length(images: Array, targets: Array) -> None:
    if len(images) != len(targets):
        raise InputError("images and labels differ in number", got=f"{len(images)} images, {len(targets)} labels")
