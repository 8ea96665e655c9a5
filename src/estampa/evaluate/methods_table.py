"""Sentences of the methods paragraph on models of tables, and what they cite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from estampa.evaluate.evidence import Evidence
from estampa.evaluate.fusion import FUSED
from estampa.evaluate.judge import words
from estampa.evaluate.table_evidence import TableEvidence
from estampa.explain import sections
from estampa.plain import numbered

_BREIMAN = "Breiman, L. 2001, Random Forests, Mach. Learn. 45, 5"
#: A model of tables -> what a sentence calls it, and what it cites.
METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "logistic": (
        "logistic regression",
        ("Cox, D. R. 1958, The Regression Analysis of Binary Sequences, J. R. Stat. Soc. B 20, 215",),
    ),
    "tree": (
        "a decision tree",
        (
            (
                "Breiman, L., Friedman, J. H., Olshen, R. A., Stone, C. J. 1984, Classification and Regression Trees, "
                "Wadsworth"
            ),
        ),
    ),
    "knn": (
        "k nearest neighbours",
        ("Cover, T., Hart, P. 1967, Nearest Neighbor Pattern Classification, IEEE Trans. Inf. Theory 13, 21",),
    ),
    "forest": ("a random forest", (_BREIMAN,)),
    "boosting": (
        "histogram gradient boosting",
        (
            sections.PAPERS["dependence"],
            "Ke, G., et al. 2017, LightGBM: A Highly Efficient Gradient Boosting Decision Tree, NeurIPS",
        ),
    ),
}
_SEARCH = "Bergstra, J., Bengio, Y. 2012, Random Search for Hyper-Parameter Optimization, J. Mach. Learn. Res. 13, 281"
_POOL = "Genest, C., Zidek, J. V. 1986, Combining Probability Distributions: A Critique and an Annotated Bibliography, "
_POOL += "Stat. Sci. 1, 114"
_SKLEARN = "Pedregosa, F., et al. 2011, Scikit-learn: Machine Learning in Python, J. Mach. Learn. Res. 12, 2825"
Cite = Callable[..., str]


def training(evidence: Evidence, recipe: Mapping[str, Any], cite: Cite) -> list[str]:
    """How a model of a table was prepared, searched and chosen; nothing for others."""
    found = evidence.table
    if found is None or not found.method:
        return []
    read = [c.name for c in found.columns if c.role == "learned from"]
    sentences = [f"The model reads {numbered(len(read), 'column')}{_listed(read)}."]
    derived = [name for name, formula in zip(found.names, found.formulas, strict=False) if _derived(name, formula)]
    if derived:
        sentences.append(f"Derived from them: {', '.join(derived)}.")
    scaled = "features were centred on the median and divided by a robust deviation"
    if found.dropped:
        sentences.append(f"Objects with a failed measurement in one of them were left out; {scaled}.")
    else:
        sentences.append(
            "Values that mark failed measurements were replaced by the median of the training part and marked by a "
            f"feature of their own; {scaled}."
        )
    name, papers = METHODS.get(found.method, (found.method, ()))
    sentences += _search(found, recipe, cite)
    source = f" {cite(*papers)}" if papers else ""
    sentences.append(f"The model is {name}{source}, by scikit-learn {cite(_SKLEARN)}.")
    return sentences


def _listed(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if 0 < len(names) <= 12 else ""


def _derived(name: str, formula: str) -> bool:
    return bool(formula) and not name.startswith("missing:")


def _search(evidence: TableEvidence, recipe: Mapping[str, Any], cite: Cite) -> list[str]:
    trials, choice = evidence.trials, evidence.choice
    if not trials:
        return []
    methods = list(dict.fromkeys(str(t.get("method")) for t in trials))
    told = [f"{METHODS[m][0]} {cite(*METHODS[m][1])}" if m in METHODS else m for m in methods]
    folds = recipe.get("search", {}).get("folds", 10)
    found = [
        (
            f"{numbered(len(trials), 'setting')} of {', '.join(told)} were drawn at random {cite(_SEARCH)} and judged "
            f"by {words(evidence.metric)} in {folds} stratified folds of the training part, the preparation refitted "
            "in each."
        )
    ]
    if len(choice) > 1:
        found.append(
            "Of the methods the simplest was taken whose paired bootstrap difference to the best, on objects that were "
            "not learned from, is not beyond chance."
        )
    return found


def explaining(evidence: Evidence, cite: Cite) -> list[str]:
    """How columns, answers and a fusion were looked into; nothing where they were not."""
    found = evidence.table
    if found is None:
        return []
    sentences = []
    if found.importance is not None:
        sentences.append(
            f"Columns are ranked by permutation importance {cite(_BREIMAN, sections.PAPERS['reliance'])}, the drop of "
            f"balanced accuracy of {found.importance.n:,} judged objects when a column is shuffled, mean of "
            f"{found.importance.repeats}; columns that correlate by ranks are shuffled together too."
        )
    if found.dependence:
        papers = cite(sections.PAPERS["dependence"], sections.PAPERS["curves"])
        sentences.append(f"How answers follow a column is shown by partial dependence {papers}.")
    if found.reasons:
        sentences.append(
            f"Reasons for single answers are Shapley values by sampling orders {cite(sections.PAPERS['reasons'])} "
            "against objects of the training part."
        )
    if found.uncertain is not None:
        sentences.append(
            f"{found.uncertain.n:,} objects without a label were neither learned from nor judged; their answers are "
            "given apart."
        )
    if found.fusion is not None:
        how = f"chosen on {found.fusion.chosen_on:,} validation objects" if found.fusion.chosen_on else "of a half"
        sentences.append(
            f"Net and table's model were fused by the weighted mean of their log-probabilities {cite(_POOL)} with a "
            f"weight of the net of {found.fusion.weight:.3f}, {how}, and judged on the same "
            f"{found.fusion.judgements[FUSED].n:,} objects."
        )
    return sentences
