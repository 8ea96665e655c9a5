"""A methods paragraph for a paper, with what to cite; every sentence follows from the run's own record."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from estampa.evaluate import methods_table
from estampa.evaluate.evidence import Evidence

#: What was used -> what to cite.
PAPERS: dict[str, str] = {
    "adam": "Kingma, D. P., Ba, J. 2015, Adam: A Method for Stochastic Optimization, ICLR",
    "adamw": "Loshchilov, I., Hutter, F. 2019, Decoupled Weight Decay Regularization, ICLR",
    "rmsprop": "Tieleman, T., Hinton, G. 2012, Lecture 6.5: RMSProp, COURSERA: Neural Networks for Machine Learning",
    "sgd": "Sutskever, I., et al. 2013, On the Importance of Initialization and Momentum in Deep Learning, ICML",
    "muon": "Jordan, K., et al. 2024, Muon: An Optimizer for Hidden Layers in Neural Networks",
    "glorot": "Glorot, X., Bengio, Y. 2010, Understanding the Difficulty of Training Deep Feedforward Neural Networks, "
    "AISTATS, 249",
    "onecycle": "Smith, L. N., Topin, N. 2019, Super-Convergence, Proc. SPIE 11006, 1100612",
    "label_smoothing": "Szegedy, C., et al. 2016, Rethinking the Inception Architecture, CVPR, 2818",
    "elastic": "Simard, P. Y., Steinkraus, D., Platt, J. C. 2003, Best Practices for Convolutional Neural Networks "
    "Applied to Visual Document Analysis, ICDAR, 958",
    "erase": "Zhong, Z., et al. 2020, Random Erasing Data Augmentation, AAAI 34, 13001",
    "dropout": "Srivastava, N., et al. 2014, Dropout: A Simple Way to Prevent Neural Networks from Overfitting, "
    "J. Mach. Learn. Res. 15, 1929",
    "averaging": "Polyak, B. T., Juditsky, A. B. 1992, Acceleration of Stochastic Approximation by Averaging, "
    "SIAM J. Control Optim. 30, 838",
    "asinh": "Lupton, R. H., Gunn, J. E., Szalay, A. S. 1999, A Modified Magnitude System that Produces Well-Behaved "
    "Magnitudes, Colors, and Errors Even for Low Signal-to-Noise Ratio Measurements, AJ 118, 1406",
    "bootstrap": "Efron, B. 1979, Bootstrap Methods: Another Look at the Jackknife, Ann. Stat. 7, 1",
    "wilson": "Wilson, E. B. 1927, Probable Inference, the Law of Succession, and Statistical Inference, "
    "J. Am. Stat. Assoc. 22, 209",
    "ece": "Guo, C., et al. 2017, On Calibration of Modern Neural Networks, ICML, 1321",
    "brier": "Brier, G. W. 1950, Verification of Forecasts Expressed in Terms of Probability, Mon. Weather Rev. 78, 1",
    "forest": "Breiman, L. 2001, Random Forests, Mach. Learn. 45, 5",
    "sklearn": "Pedregosa, F., et al. 2011, Scikit-learn: Machine Learning in Python, J. Mach. Learn. Res. 12, 2825",
    "torch": "Paszke, A., et al. 2019, PyTorch: An Imperative Style, High-Performance Deep Learning Library, NeurIPS",
}
_OPTIMIZERS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "sgd": "stochastic gradient descent",
    "muon": "Muon",
}
_SYMMETRY = {"hflip": "mirrored left to right", "d4": "mirrored and turned by quarter turns"}
#: Keys of the recipe's [prepare] -> what they did to training images, in the order in which it is told.
_CHANGES = {
    "shift": "shifted by at most {:g} pixels along each axis",
    "rotate": "rotated by at most {:g} degrees either way",
    "zoom": "scaled by exp(u) with |u| at most {:g}",
    "aspect": "stretched in width against height by exp(u) with |u| at most {:g}",
    "shear": "sheared by at most {:g}",
    "elastic": "warped by smooth displacements with a deviation of {:g} pixels",
    "erase": "erased in a rectangle with sides of at most {:g} of the image's",
}
#: Keys of the recipe's [model] -> where values were dropped.
_DROPOUT = {
    "dropout_pool": "after each pooling",
    "dropout_dense": "after each dense layer",
    "dropout": "before the output",
}


class _Citing:
    """Numbers papers in the order in which the text comes to them."""

    def __init__(self) -> None:
        self.listed: list[str] = []

    def __call__(self, *papers: str) -> str:
        numbers = []
        for paper in papers:
            if paper not in self.listed:
                self.listed.append(paper)
            numbers.append(str(self.listed.index(paper) + 1))
        return f"[{', '.join(numbers)}]"


def methods(evidence: Evidence) -> tuple[str, list[str]]:
    """The paragraph, and the papers it cites, in order of their numbers."""
    cite = _Citing()
    recipe: dict[str, Any] = tomllib.loads(evidence.recipe) if evidence.recipe else {}
    sentences = [
        *_data(evidence, cite), *_training(evidence, recipe, cite), *methods_table.training(evidence, recipe, cite),
        *_judging(evidence, cite), *methods_table.explaining(evidence, cite),
    ]  # fmt: skip
    cite.listed += [c for c in evidence.citations if c not in cite.listed]
    return " ".join(sentences), cite.listed


def _cited_data(evidence: Evidence) -> list[str]:
    """What the Dataset's own record says about whom to cite, in the order of its keys."""
    origin: Mapping[str, Any] = evidence.dataset.header.origin
    found = []
    for key in ("cite", "citation", "citations", "reference", "paper"):
        value = origin.get(key)
        found += (
            [value] if isinstance(value, str) and value else list(value) if isinstance(value, (list, tuple)) else []
        )
    return [str(f) for f in found]


def _data(evidence: Evidence, cite: _Citing) -> list[str]:
    data = evidence.dataset
    shape = "" if data.shape is None else f", images of {' x '.join(map(str, data.shape))} (height, width, channels)"
    shape += f", {len(data.header.columns)} columns" if data.header.columns else ""
    sources = _cited_data(evidence)
    cited = f" {cite(*sources)}" if sources else ""
    kind = f"{len(data.classes)} classes" if data.classes else "a numeric target"
    parts = ", ".join(f"{n:,} for {part}" for part, n in evidence.counts.items() if n)
    whole = " Groups were kept whole across parts." if data.groups is not None else ""
    return [
        f"The data set {evidence.data_name}{cited} holds {data.n:,} objects of {kind}{shape}.",
        f"Used: {parts}.{whole}",
    ]


def _training(evidence: Evidence, recipe: dict[str, Any], cite: _Citing) -> list[str]:
    if not recipe or not evidence.history:
        return []
    train, prepare, model = (recipe.get(k, {}) for k in ("train", "prepare", "model"))
    size = f" with {evidence.parameters:,} trainable parameters" if evidence.parameters else ""
    initial = (
        f", initialised after Glorot and Bengio {cite(PAPERS['glorot'])}," if model.get("name") == "convnet" else ""
    )
    optimizer = str(train.get("optimizer", "adam"))
    how = f"{_OPTIMIZERS.get(optimizer, optimizer)} {cite(PAPERS[optimizer])}" if optimizer in PAPERS else optimizer
    rate = f"a learning rate of {train.get('rate')}"
    if train.get("schedule") == "onecycle":
        rate = f"a one-cycle schedule {cite(PAPERS['onecycle'])} that peaks at a learning rate of {train.get('rate')}"
    text = (
        f"The model {model.get('name', evidence.name)!s}{size}{initial} was trained with {how}, {rate} and batches of "
        f"{train.get('batch')}, for {len(evidence.history)} epochs; the weights of epoch {evidence.kept_epoch} were "
        "kept."
    )
    sentences = [*_prepared(prepare, cite), text]
    if train.get("pretrain", "none") != "none":
        sentences.append(
            f"Its first weights were learned on {train['pretrain_stamps']:,} simulated stamps in "
            f"{train['pretrain_epochs']} epochs."
        )
    if changes := _changes(prepare, cite):
        sentences.append(f"Training images were changed at random in each epoch: {', '.join(changes)}.")
    dropped = [f"{model[key]:g} {where}" for key, where in _DROPOUT.items() if model.get(key)]
    if dropped:
        sentences.append(f"Dropout {cite(PAPERS['dropout'])} of {' and '.join(dropped)} was used in training.")
    if train.get("label_smoothing"):
        sentences.append(f"Labels were smoothed by {train['label_smoothing']} {cite(PAPERS['label_smoothing'])}.")
    if train.get("averaging"):
        sentences.append(
            f"Weights were averaged over the steps with a decay of {train['averaging']} {cite(PAPERS['averaging'])}."
        )
    sentences.append(f"The implementation is estampa on PyTorch {cite(PAPERS['torch'])}.")
    return sentences


def _prepared(prepare: Mapping[str, Any], cite: _Citing) -> list[str]:
    """How pixels were scaled beyond mean and deviation, in words."""
    found = []
    if prepare.get("stretch") == "asinh":
        found.append(f"Pixels were stretched by asinh with the noise as softening {cite(PAPERS['asinh'])}.")
    if prepare.get("local"):
        found.append("Each channel was given a second time with the level and the noise of its own image taken out.")
    return found


def _changes(prepare: Mapping[str, Any], cite: _Citing) -> list[str]:
    """Every random change that training made to its images, in words."""
    found = [_SYMMETRY[prepare["symmetry"]]] if prepare.get("symmetry") in _SYMMETRY else []
    pairs = prepare.get("mirrored") if found else ()
    if pairs and not isinstance(pairs, str):
        found.append("given the other's label when mirrored, for " + "; ".join(f"{a} and {b}" for a, b in pairs))
    for key, text in _CHANGES.items():
        if prepare.get(key):
            found.append(text.format(prepare[key]) + (f" {cite(PAPERS[key])}" if key in PAPERS else ""))
    return found


def _judging(evidence: Evidence, cite: _Citing) -> list[str]:
    judgement = evidence.judgement
    over = f"{judgement.groups:,} groups" if judgement.groups else "objects"
    which = evidence.seen()
    bootstrap, wilson = cite(PAPERS["bootstrap"]), cite(PAPERS["wilson"])
    first = (
        f"All figures are of {judgement.n:,} {evidence.part} objects, {which}; intervals are 95 % percentile bootstrap "
        f"intervals {bootstrap} from {judgement.resamples:,} resamples over {over}, paired for differences, and Wilson "
        f"intervals {wilson} where a share is exactly 0 or 1."
    )
    sentences = [first]
    if "ece" in judgement.metrics:
        sentences.append(
            f"Calibration is measured by the expected calibration error {cite(PAPERS['ece'])} in 15 bins and the Brier "
            f"score {cite(PAPERS['brier'])}."
        )
    if evidence.calibration is not None:
        calibrated = evidence.calibration
        why = (
            f"which minimises the log loss of {calibrated.n:,} {evidence.calibrated_on()}"
            if calibrated.n
            else "as given"
        )
        sentences.append(
            f"The logits were divided by a temperature of {calibrated.temperature:.3f}, {why} {cite(PAPERS['ece'])}."
        )
    names = [b.name for b in evidence.baselines]
    if "random forest" in names:
        sentences.append(
            f"Baselines on the same split ({', '.join(names)}; random forest {cite(PAPERS['forest'])}) come from "
            f"scikit-learn {cite(PAPERS['sklearn'])}."
        )
    if evidence.crossval is not None:
        found = evidence.crossval
        times = f", repeated {found.repeats} times" if found.repeats > 1 else ""
        kept = ", with groups kept whole" if found.grouped else ""
        sentences.append(
            f"{found.folds}-fold cross-validation{times}{kept} refitted everything, the preparation included, in each "
            f"fold{', but no temperature' if evidence.calibration is not None else ''}."
        )
        if evidence.trials and (evidence.table is None or not evidence.table.method):
            sentences.append(
                f"The values that {len(evidence.trials):,} trials of a search chose on the validation part were used "
                "in every fold; rows of that part, and those that the trials learned from, are held out in some folds, "
                "so the cross-validated figures do not include the choice and may be too good."
            )
    return sentences
