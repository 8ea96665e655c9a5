"""What is asked of a judgement, made into its terms: columns found, priors read, thresholds chosen on other objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from estampa.errors import InputError
from estampa.evaluate.operating import Terms, choose_decision, positive_index
from estampa.evaluate.slices import USUAL, Column, read_by
from estampa.measure.aims import Choice, read_aim, require_reachable
from estampa.measure.operating import read_prior

if TYPE_CHECKING:
    from estampa.bundle.store import Bundle
    from estampa.data.dataset import Dataset
    from estampa.recipe import EvaluateRecipe

AUTO = "auto"


class Wanted(TypedDict, total=False):
    """The keywords of `Asked`, for functions that take them as they are."""

    aim: str
    threshold: float | None
    positive: str
    by: Sequence[str]
    prior: str | float | None


@dataclass(frozen=True)
class Asked:
    """What is asked of a judgement beyond the metrics.

    Attributes
    ----------
    aim : "fpr=0.01", "recall=0.95", "precision=0.9", "f1", "balanced_accuracy": the threshold of two classes is chosen
        for it, never on the judged objects.
    threshold : or the threshold itself: the probability of the second class from which on it is answered.
    positive : of two classes the one that is looked for; "" = the second, or the one that a bundle was trained for.
    by : columns to slice by, each "snr" or "snr:3,5,7"; "auto" = those of snr, magnitude, magpsf, mag that are there.
    prior : share of positives where the model will work, "1:1000" or 0.001; None = no purity is stated.
    """

    aim: str = ""
    threshold: float | None = None
    positive: str = ""
    by: Sequence[str] = (AUTO,)
    prior: str | float | None = None

    def __post_init__(self) -> None:
        if self.aim and self.threshold is not None:
            raise InputError("an aim and a threshold exclude each other", got=f"{self.aim} and {self.threshold:g}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise InputError("a threshold is a probability", allowed="0 to 1", got=f"{self.threshold:g}")
        if self.aim:
            read_aim(self.aim)

    def beyond_data(self) -> list[str]:
        """What is asked that only a new judgement can tell, by its names."""
        given = {
            "aim": bool(self.aim), "threshold": self.threshold is not None, "positive": bool(self.positive),
            "by": tuple(self.by) != (AUTO,), "prior": self.prior is not None,
        }  # fmt: skip
        return [name for name, set_ in given.items() if set_]

    def terms(self, decision: float | None = None, columns: Sequence[Column] = ()) -> Terms:
        """The terms of a judgement with the decision that was made and the columns that were found."""
        decision = decision if self.threshold is None else self.threshold
        aim = self.aim if decision is not None else ""
        prior = None if self.prior is None else read_prior(self.prior)
        return Terms(decision=decision, aim=aim, positive=self.positive, prior=prior, by=tuple(columns))


def asked_of(recipe: EvaluateRecipe) -> Asked:
    """What a recipe asks."""
    return Asked(aim=recipe.aim, positive=recipe.positive, by=tuple(recipe.by), prior=recipe.prior or None)


def columns_of(dataset: Dataset, rows: np.ndarray, by: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a Dataset to slice by, at `rows`; DatasetError, with the nearest name, for one that it has not."""
    names = dataset.header.columns if dataset.table is not None else ()
    wanted = [read_by(text) for text in by if text != AUTO]
    if AUTO in by:
        wanted += [(name, ()) for name in USUAL if name in names and name not in [n for n, _ in wanted]]
    return tuple(Column(name, dataset.column(name)[rows], edges) for name, edges in wanted)


def require_choosable(asked: Asked, classes: Sequence[str], labels: np.ndarray) -> None:
    """Raise InputError, before anything is trained, when the aim cannot be chosen for on objects with these labels."""
    if not (asked.aim or asked.positive or asked.prior is not None):
        return
    place = positive_index(classes, asked.positive)
    if asked.aim and not len(labels):
        raise InputError(
            "there is no validation part to choose a threshold on", where=f"aim {asked.aim}",
            cure="Set data.validation, or part the file with estampa split --validation 0.1.",
        )  # fmt: skip
    if asked.aim:
        positives = int((np.asarray(labels) == place).sum())
        require_reachable(read_aim(asked.aim), positives, len(labels) - positives)


def chosen_decision(
    asked: Asked, classes: Sequence[str], truth: np.ndarray, output: np.ndarray, where: str
) -> tuple[float, str]:
    """The decision for the aim on objects that are not judged, and what was decided, as a sentence."""
    aim, place = read_aim(asked.aim), positive_index(classes, asked.positive)
    decision, found = choose_decision(truth, output, aim, place, where)
    return decision, sentence(found, decision, classes, where)


def sentence(found: Choice, decision: float, classes: Sequence[str], where: str) -> str:
    """What was decided, and why."""
    name = found.aim.name.replace("_", " ")
    return (
        f"{classes[1]} is answered from a probability of {decision:.6g} on, chosen for {found.aim} on {where} "
        f"({found.positives:,} positives, {found.negatives:,} negatives; {name} there {found.reached:.4f})."
    )


def terms_of_bundle(bundle: Bundle, asked: Asked) -> tuple[Terms, str]:
    """Terms for a bundle's answers, without columns, and a sentence about the threshold.

    The threshold asked for, else one chosen for the aim on the bundle's own validation part, else the bundle's. The
    positive class asked for, else the one that the bundle was judged by: its threshold was chosen for that one.
    """
    own = bundle.thresholds.decision
    if asked.aim or asked.positive or asked.threshold is not None or asked.prior is not None:
        positive_index(bundle.classes, asked.positive)
    asked = replace(asked, positive=asked.positive or str(bundle.manifest.metrics.get("positive") or ""))
    if not asked.aim:
        kept = bundle.manifest.metrics.get("aim", "") if asked.threshold is None else ""
        said = f"answers at the bundle's threshold {own:.6g}" if own is not None and asked.threshold is None else ""
        return replace(asked.terms(own), aim=str(kept or "")), said
    if bundle.manifest.reference_part != "validation":
        raise InputError(
            "this model keeps no validation part to choose a threshold on", where=bundle.folder,
            cure="State --threshold, or train with a validation part.",
        )  # fmt: skip
    reference = bundle.tensors("reference")
    truth, output = np.asarray(reference["labels"]), np.asarray(reference["output"])
    known = truth >= 0
    decision, said = chosen_decision(
        asked, bundle.classes, truth[known].astype(np.int64), output[known], "the validation part"
    )
    return asked.terms(decision), said
