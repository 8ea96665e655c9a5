"""Metrics of classes and of class probabilities, under any weights."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from estampa.errors import InputError
from estampa.measure.ranks import Ranking, mean_defined

#: Bins of equal width between 0 and 1 in which confidence is held against accuracy.
ECE_BINS = 15


def check_labels(labels: np.ndarray, classes: int, n: int | None = None, what: str = "truth") -> np.ndarray:
    """Return labels as (n,) int64 of 0..classes-1; InputError names the first row that is not."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or (n is not None and len(labels) != n):
        raise InputError(
            f"the {what} must be one class number for each object", allowed=f"({n or 'n'},)", got=f"{labels.shape}"
        )
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise InputError(f"the {what} holds NaN", got=f"row {np.flatnonzero(~np.isfinite(labels))[0]}")
        if (labels != np.floor(labels)).any():
            raise InputError(f"the {what} must be class numbers", got="numbers that are not whole")
    elif labels.dtype.kind not in "iub":
        raise InputError(f"the {what} must be class numbers", got=str(labels.dtype))
    checked: np.ndarray = labels.astype(np.int64)
    bad = np.flatnonzero((checked < 0) | (checked >= classes))
    if len(bad):
        raise InputError(
            f"the {what} holds a class number out of range",
            where=f"row {bad[0]}",
            allowed=f"0 to {classes - 1}",
            got=str(checked[bad[0]]),
        )
    return checked


def check_probabilities(output: np.ndarray) -> np.ndarray:
    """Return (n, k) float64 probabilities; InputError when NaN, outside 0..1, or rows do not sum to 1 within 0.001."""
    output = np.asarray(output)
    if output.ndim != 2 or output.shape[1] < 1 or not len(output) or output.dtype.kind not in "fiub":
        raise InputError(
            "probabilities must be one row for each object, one column for each class", got=f"{output.shape}"
        )
    output = output.astype(np.float64)
    fault, bad = "NaN or infinity", ~np.isfinite(output).all(axis=1)
    if not bad.any():
        fault, bad = "a probability outside 0 to 1", (output < -1e-6).any(axis=1) | (output > 1 + 1e-6).any(axis=1)
    if not bad.any():
        fault, bad = "probabilities that do not sum to 1", np.abs(output.sum(axis=1) - 1) > 1e-3
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        shown = ", ".join(f"{v:.6g}" for v in output[row, :6])
        raise InputError(f"{int(bad.sum())} rows hold {fault}", where="probabilities", got=f"row {row}: {shown}")
    clipped: np.ndarray = np.clip(output, 0.0, 1.0)
    return clipped


def decide(output: np.ndarray, decision: float | None) -> np.ndarray:
    """Class index of each row (n,) int64: the more probable one; of two with a threshold, the second from there on."""
    if decision is not None and output.shape[1] == 2:
        return (np.asarray(output[:, 1], np.float64) >= decision).astype(np.int64)
    chosen: np.ndarray = output.argmax(axis=1).astype(np.int64)
    return chosen


def confidence(output: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Probability (n,) of the class that is answered: the largest one, but where a threshold says otherwise."""
    chosen: np.ndarray = output[np.arange(len(output)), predicted]
    return chosen


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts, (k, k) int64: rows are truth, columns are predictions."""
    truth = check_labels(truth, classes)
    predicted = check_labels(predicted, classes, len(truth), "prediction")
    counts: np.ndarray = np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)
    return counts


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    shares: np.ndarray = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below > 0)
    return shares


def _from_confusion(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall, F1, each (k,), and (accuracy, balanced accuracy, macro F1, weighted F1)."""
    right, truth, said = np.diag(matrix).astype(float), matrix.sum(axis=1), matrix.sum(axis=0)
    precision, recall = _ratio(right, said), _ratio(right, truth)
    f1 = _ratio(2 * right, truth + said)
    total = truth.sum()
    weighted = float(np.where(truth > 0, f1, 0.0) @ truth / total)
    overall = np.array([right.sum() / total, mean_defined(recall), mean_defined(f1), weighted])
    return precision, recall, f1, overall


def precision_recall_f1(truth: np.ndarray, predicted: np.ndarray, classes: int) -> tuple[np.ndarray, ...]:
    """Precision, recall and F1 of each class, each (k,).

    Precision is NaN for a class that is never predicted, recall for one that never occurs, F1 where neither happens.
    """
    return _from_confusion(confusion_matrix(truth, predicted, classes))[:3]


def _overall(truth: np.ndarray, predicted: np.ndarray, which: int) -> float:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    kinds = [int(a.max()) for a in (truth, predicted) if a.size and a.dtype.kind in "iubf" and np.isfinite(a).all()]
    return float(_from_confusion(confusion_matrix(truth, predicted, max([0, *kinds]) + 1))[3][which])


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Share of right answers."""
    return _overall(truth, predicted, 0)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean recall over the classes that occur in the truth (Brodersen et al. 2010, ICPR, 3121)."""
    return _overall(truth, predicted, 1)


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 over the classes that occur in truth or prediction."""
    return _overall(truth, predicted, 2)


def weighted_f1(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1, each class weighted by how often it occurs in the truth."""
    return _overall(truth, predicted, 3)


def _pair(truth: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    output = check_probabilities(output)
    return check_labels(truth, output.shape[1], len(output)), output


def _log_losses(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    tiny = np.finfo(np.float64).eps
    losses: np.ndarray = -np.log(np.clip(output[np.arange(len(truth)), truth], tiny, 1 - tiny))
    return losses


def _brier_losses(truth: np.ndarray, output: np.ndarray) -> np.ndarray:
    own = output[np.arange(len(truth)), truth]
    losses: np.ndarray = (output**2).sum(axis=1) - own**2 + (1 - own) ** 2
    return losses / 2 if output.shape[1] <= 2 else losses


def log_loss(truth: np.ndarray, output: np.ndarray) -> float:
    """Mean of -ln p(true class), in nats; p is cut at 2.2e-16."""
    return float(_log_losses(*_pair(truth, output)).mean())


def brier(truth: np.ndarray, output: np.ndarray) -> float:
    """Brier score (1950, Mon. Weather Rev. 78, 1): squared distance from the one-hot truth, halved for two classes.

    0 is perfect. The range is 0..1 for two classes and 0..2 for more, as in scikit-learn.
    """
    return float(_brier_losses(*_pair(truth, output)).mean())


def _confidence(output: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    top = output.max(axis=1)
    return top, np.clip(np.ceil(top * bins).astype(np.int64) - 1, 0, bins - 1)


def ece(truth: np.ndarray, output: np.ndarray, bins: int = ECE_BINS) -> float:
    """Expected calibration error of the predicted class (Guo et al. 2017, ICML, eq. 3), bins of equal width."""
    truth, output = _pair(truth, output)
    top, place = _confidence(output, bins)
    gap = (output.argmax(axis=1) == truth) - top
    return float(np.abs(np.bincount(place, weights=gap, minlength=bins)).sum() / len(truth))


def reliability(truth: np.ndarray, output: np.ndarray, bins: int = ECE_BINS) -> dict[str, np.ndarray]:
    """How often the predicted class is right, by confidence: arrays (m,) over the bins that hold objects.

    Keys: "confidence" (mean), "accuracy", "count", "low" and "high" (95 % Wilson interval of the accuracy).
    """
    from estampa.measure.intervals import wilson

    truth, output = _pair(truth, output)
    top, place = _confidence(output, bins)
    count = np.bincount(place, minlength=bins)
    held = count > 0
    right = np.bincount(place, weights=output.argmax(axis=1) == truth, minlength=bins)[held]
    n = count[held]
    bounds = np.array([wilson(float(r / m), float(m)) for r, m in zip(right, n, strict=True)]).reshape(-1, 2)
    confidence = np.bincount(place, weights=top, minlength=bins)[held] / n
    return {"confidence": confidence, "accuracy": right / n, "count": n, "low": bounds[:, 0], "high": bounds[:, 1]}


class Classification:
    """All metrics of one answer at once, for any weights: what a bootstrap needs.

    Parameters
    ----------
    truth : (n,) class indices.
    output : (n, k) probabilities, or (n,) class indices; without probabilities only the metrics of labels exist.
    classes : k; needed when `output` is (n,).
    areas : also the areas under curves, which cost the most.
    predicted : (n,) class indices answered, where that is not the most probable class; None = it is. The metrics of
        labels follow it; those of probabilities, calibration error included, do not.
    """

    ON_LABELS: ClassVar[tuple[str, ...]] = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
    OVERALL: ClassVar[tuple[str, ...]] = (*ON_LABELS, "log_loss", "brier", "ece", "roc_auc", "pr_auc")
    PER_CLASS: ClassVar[tuple[str, ...]] = ("precision", "recall", "f1", "roc_auc", "pr_auc")

    def __init__(
        self,
        truth: np.ndarray,
        output: np.ndarray,
        classes: int | None = None,
        *,
        areas: bool = True,
        predicted: np.ndarray | None = None,
    ) -> None:
        self.output = check_probabilities(output) if np.ndim(output) == 2 else None
        if self.output is not None:
            self.k = self.output.shape[1]
            likeliest = self.output.argmax(axis=1)
        else:
            self.k = classes or int(max(np.max(truth), np.max(output))) + 1
            likeliest = np.asarray(output)
        predicted = likeliest if predicted is None else np.asarray(predicted)
        self.truth = check_labels(truth, self.k, len(likeliest))
        self.predicted = check_labels(predicted, self.k, len(self.truth), "prediction")
        self.n = len(self.truth)
        self._cell = self.truth * self.k + self.predicted
        self._rankings: list[Ranking] = []
        overall, each = self.ON_LABELS, self.PER_CLASS[:3]
        if self.output is not None:
            self._losses = np.stack([_log_losses(self.truth, self.output), _brier_losses(self.truth, self.output)])
            top, self._bin = _confidence(self.output, ECE_BINS)
            self._gap = (likeliest == self.truth) - top
            overall = self.OVERALL[:7]
            if areas:
                self._rankings = [Ranking(self.truth == c, self.output[:, c]) for c in range(self.k)]
                overall, each = self.OVERALL, self.PER_CLASS
        self.names = (*overall, *(f"{name}[{c}]" for name in each for c in range(self.k)))

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Values in the order of `names` under (n,) non-negative weights; NaN where undefined."""
        counts = np.bincount(self._cell, weights=weights, minlength=self.k**2).reshape(self.k, self.k)
        precision, recall, f1, overall = _from_confusion(counts)
        parts, each = [overall], [precision, recall, f1]
        if self.output is not None:
            total = float(weights.sum())
            gap = np.abs(np.bincount(self._bin, weights=weights * self._gap, minlength=ECE_BINS)).sum()
            parts += [self._losses @ weights / total, np.array([gap / total])]
        if self._rankings:
            areas = np.array([ranking.areas(weights) for ranking in self._rankings])
            parts.append(np.array([mean_defined(areas[:, 0]), mean_defined(areas[:, 1])]))
            each += [areas[:, 0], areas[:, 1]]
        return np.concatenate([*parts, *each])

    def counts(self, groups: np.ndarray | None) -> np.ndarray:
        """How many objects (or groups) stand behind each value in `names`, for Wilson's interval at 0 and 1.

        NaN where the value is not a proportion. A mean over classes with counts n_c has k^2 / sum(1 / n_c), which
        gives the mean the variance that it has; an area under the ROC curve has the smaller of its two sides.
        """

        def units(mask: np.ndarray) -> float:
            return float(mask.sum() if groups is None else len(np.unique(groups[mask])))

        truth = np.array([units(self.truth == c) for c in range(self.k)])
        said = np.array([units(self.predicted == c) for c in range(self.k)])
        either = np.array([units((self.truth == c) | (self.predicted == c)) for c in range(self.k)])
        side = np.minimum(truth, [units(self.truth != c) for c in range(self.k)])
        everything = units(np.ones(self.n, bool))
        values = {"accuracy": everything, "weighted_f1": everything}
        values |= {"balanced_accuracy": _joined(truth), "macro_f1": _joined(either)}
        values |= {"roc_auc": _joined(side), "pr_auc": _joined(truth)}
        by_class = {"precision": said, "recall": truth, "f1": either, "roc_auc": side, "pr_auc": truth}
        values |= {f"{name}[{c}]": float(found[c]) for name, found in by_class.items() for c in range(self.k)}
        return np.array([values.get(name, np.nan) for name in self.names])


def _joined(counts: np.ndarray) -> float:
    held = counts[counts > 0]
    return float(len(held) ** 2 / (1 / held).sum()) if len(held) else np.nan
