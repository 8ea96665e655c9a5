"""ONNX graphs of scikit-learn's classifiers, whose answers are the estimator's to 1e-5 on float32 input.

Trees and neighbours are written here, everything else by skl2onnx. What skl2onnx 1.20 makes of these was measured
against scikit-learn 1.9.1 (docs/log.md, 2026-11-22): neighbours weighted by distance are wrong by up to 0.1; histogram
gradient boosting fails on its boolean attributes, and its thresholds are rounded to the nearest float32, which may lie
on the other side of a value; a forest of 900,000 nodes takes 18 s, and is one operator, through which each row drags
all of its trees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from estampa.errors import BundleError
from estampa.models.tables.knn import MOST_ROWS

#: Trees of one operator hold at most so many nodes together: what a processor's second cache keeps while a batch of
#: rows passes. Fewer, larger operators are slower on many rows, more are slower on a single one.
GROUP_NODES = 30_000
#: Distances between a batch's rows and the kept ones that are held at once.
_DISTANCES = 1 << 20
_FLOAT, _DOUBLE = 1, 11  # TensorProto's
_FLOATS, _INTS, _STRINGS = 6, 7, 8  # AttributeProto's
ML = "ai.onnx.ml"
#: Operator sets of the graph: ONNX Runtime 1.17, the oldest that estampa takes, reads them.
OPSET, ML_OPSET, IR = 17, 3, 8


@dataclass
class Graph:
    """Nodes and constants of a graph that grows; `input` is the name of the prepared rows (n, features) float32."""

    input: str
    features: int
    batch: int  #: rows that it is best given at once; neighbours lower it
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    named: int = 0

    def name(self) -> str:
        """A name that no other value has."""
        self.named += 1
        return f"v{self.named}"

    def constant(self, values: np.ndarray) -> str:
        """The name of a constant."""
        from onnx import numpy_helper

        name = self.name()
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", domain: str = "", **attributes: Any) -> str:
        """Add a node of one output, and return the output's name."""
        from onnx import helper

        name = output or self.name()
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name


def probabilities(graph: Graph, estimator: Any) -> str:
    """Add a fitted classifier to the graph; the name of its probabilities (n, classes) float32, in `classes_` order.

    Raises BundleError for nearest neighbours with too many rows, or with a distance that has no graph.
    """
    kind = type(estimator).__name__
    if kind == "VotingClassifier":
        return _vote(graph, estimator)
    if kind in ("RandomForestClassifier", "ExtraTreesClassifier"):
        return _forest(graph, [member.tree_ for member in estimator.estimators_])
    if kind in ("DecisionTreeClassifier", "ExtraTreeClassifier"):
        return _forest(graph, [estimator.tree_])
    if kind == "HistGradientBoostingClassifier":
        return _boosting(graph, estimator)
    if kind == "KNeighborsClassifier":
        return _neighbours(graph, estimator)
    if kind == "LogisticRegression":
        return _squashed(graph, _converted(graph, estimator, raw_scores=True), len(estimator.classes_))
    return _converted(graph, estimator)


def _vote(graph: Graph, estimator: Any) -> str:
    """The weighted mean of the members' probabilities."""
    if estimator.voting != "soft":
        raise BundleError("only soft votes have probabilities", got=f"voting={estimator.voting!r}")
    members = estimator.estimators_
    weights = np.ones(len(members)) if estimator.weights is None else np.asarray(estimator.weights, np.float64)
    parts = []
    for member, weight in zip(members, weights / weights.sum(), strict=True):
        parts.append(graph.add("Mul", probabilities(graph, member), graph.constant(np.array([weight], np.float32))))
    return graph.add("Sum", *parts)


def _converted(graph: Graph, estimator: Any, **options: Any) -> str:
    """What skl2onnx makes of any other estimator."""
    from onnx import compose
    from skl2onnx import to_onnx

    example = np.zeros((1, graph.features), np.float32)
    made = to_onnx(
        estimator,
        example,
        options={id(estimator): {"zipmap": False, **options}},
        target_opset={"": OPSET, ML: ML_OPSET},
    )
    made = compose.add_prefix(made, f"{graph.name()}_")
    known = {made.graph.input[0].name: graph.input}
    for node in made.graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = known.get(name, name)
    graph.nodes.extend(made.graph.node)
    graph.constants.extend(made.graph.initializer)
    return str(made.graph.output[1].name)


# ---------------------------------------------------------------------------------------------------- trees


@dataclass(frozen=True)
class Tree:
    """A binary tree as arrays of its nodes: rows with value <= threshold go left. `left` is -1 at a leaf."""

    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray  #: float64
    weights: np.ndarray  #: (nodes, targets): what a leaf adds to each target


def below(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each float64 threshold: for a float32 x, x <= t exactly where x <= it."""
    with np.errstate(over="ignore"):
        nearest = thresholds.astype(np.float32)
    over = nearest.astype(np.float64) > thresholds
    nearest[over] = np.nextafter(nearest[over], np.float32(-np.inf))
    return nearest


def _forest(graph: Graph, trees: Sequence[Any]) -> str:
    """The mean of the trees' leaf probabilities."""
    classes = trees[0].value.shape[2]
    if classes == 1:  # one class in training: its probability is 1
        ones = graph.add("Mul", graph.constant(np.zeros((graph.features, 1), np.float32)), _one(graph))
        return graph.add("Add", graph.add("MatMul", graph.input, ones), _one(graph))
    some = []
    for tree in trees:
        share = tree.value[:, 0, :] / tree.value[:, 0, :].sum(axis=1, keepdims=True) / len(trees)
        some.append(Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, share))
    # Both classes of two are summed: 1 - p is not 0 where p is a sum of float32 that should be 1, and a temperature
    # makes much of so little.
    return _summed(graph, some)


def _boosting(graph: Graph, estimator: Any) -> str:
    """The logistic function (of two classes) or softmax of the summed trees and the baseline."""
    targets = estimator.n_trees_per_iteration_
    trees = []
    for iteration in estimator._predictors:
        for target, predictor in enumerate(iteration):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            if nodes["is_categorical"].any():
                raise BundleError("splits by category have no graph here", cure="Fit without categorical_features.")
            weights = np.zeros((len(nodes), targets))
            weights[:, target] = nodes["value"]
            left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
            trees.append(Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], weights))
    base = np.asarray(estimator._baseline_prediction, np.float64).reshape(1, -1)
    raw = graph.add("Add", _summed(graph, trees), graph.constant(base.astype(np.float32)))
    if targets == 1:
        return _squashed(graph, graph.add("Concat", graph.add("Neg", raw), raw, axis=1), 2)
    return _squashed(graph, raw, targets)


def _summed(graph: Graph, trees: Sequence[Tree]) -> str:
    """The sum of all trees, (n, targets), in operators of at most `GROUP_NODES` nodes."""
    groups: list[list[Tree]] = [[]]
    size = 0
    for tree in trees:
        if groups[-1] and size + len(tree.left) > GROUP_NODES:
            groups.append([])
            size = 0
        groups[-1].append(tree)
        size += len(tree.left)
    parts = [_ensemble(graph, group) for group in groups]
    return parts[0] if len(parts) == 1 else graph.add("Sum", *parts)


def _ensemble(graph: Graph, trees: Sequence[Tree]) -> str:
    """One TreeEnsembleRegressor; leaves name only the targets that they add to."""
    sizes = [len(tree.left) for tree in trees]
    targets = trees[0].weights.shape[1]
    number = np.repeat(np.arange(len(trees)), sizes)
    node = np.concatenate([np.arange(size) for size in sizes])
    left, right, feature = (np.concatenate([getattr(t, name) for t in trees]) for name in ("left", "right", "feature"))
    leaf = left < 0
    values = below(np.where(leaf, 0.0, np.concatenate([t.threshold for t in trees])))
    weights = np.concatenate([t.weights for t in trees])
    told = leaf[:, None] & ((weights != 0) | (targets == 1))
    told[leaf & ~told.any(axis=1), 0] = True  # every leaf says something
    rows, which = np.nonzero(told)
    made = graph.add("TreeEnsembleRegressor", graph.input, domain=ML, n_targets=targets, aggregate_function="SUM",
                     post_transform="NONE")  # fmt: skip
    whole = {
        "nodes_treeids": number, "nodes_nodeids": node, "nodes_featureids": np.where(leaf, 0, feature),
        "nodes_truenodeids": np.where(leaf, 0, left), "nodes_falsenodeids": np.where(leaf, 0, right),
        "target_treeids": number[rows], "target_nodeids": node[rows], "target_ids": which,
    }  # fmt: skip
    attributes = graph.nodes[-1].attribute
    for name, numbers in whole.items():
        one = attributes.add(name=name, type=_INTS)
        one.ints.extend(numbers.tolist())
    for name, reals in (("nodes_values", values), ("target_weights", weights[rows, which].astype(np.float32))):
        one = attributes.add(name=name, type=_FLOATS)
        one.floats.extend(reals.tolist())
    one = attributes.add(name="nodes_modes", type=_STRINGS)
    one.strings.extend([b"LEAF" if end else b"BRANCH_LEQ" for end in leaf.tolist()])
    return made


def _one(graph: Graph) -> str:
    return graph.constant(np.ones(1, np.float32))


def _squashed(graph: Graph, scores: str, classes: int) -> str:
    """Probabilities from scores (n, classes): softmax; of two classes, whose scores are -s and s, the logistic of each.

    The second is not taken as 1 less the first, which leaves few digits of a small one.
    """
    return graph.add("Sigmoid", scores) if classes == 2 else graph.add("Softmax", scores, axis=1)


# ---------------------------------------------------------------------------------------------------- neighbours


def _neighbours(graph: Graph, estimator: Any) -> str:
    """Votes of the nearest kept rows, all in float64.

    Euclid's neighbours are found by |x|^2 - 2 x.y + |y|^2, and their distances then taken again by subtraction, which
    is exact where two rows are the same: such neighbours alone decide when distance weighs, as in scikit-learn.
    """
    kept = np.asarray(estimator._fit_X, np.float32)
    power = estimator.effective_metric_params_.get(
        "p", {"manhattan": 1, "euclidean": 2}.get(estimator.effective_metric_)
    )
    if power not in (1, 2) or estimator.weights not in ("uniform", "distance"):
        raise BundleError("these neighbours have no graph", allowed="power 1 or 2, weights uniform or distance")
    if len(kept) > MOST_ROWS:
        raise BundleError(
            "nearest neighbours keep every row that they learned from, and these are too many to ship",
            allowed=f"{MOST_ROWS:,} rows", got=f"{len(kept):,}", cure="Learn from fewer rows, or take a forest.",
        )  # fmt: skip
    graph.batch = min(graph.batch, max(8, _DISTANCES // len(kept)))
    votes = np.eye(len(estimator.classes_))[np.asarray(estimator._y).reshape(-1)]
    rows = graph.add("Cast", graph.input, to=_DOUBLE)
    stored = graph.add("Cast", graph.constant(kept), to=_DOUBLE)
    measure = _manhattan if power == 1 else _euclid
    far = measure(graph, rows, stored, kept)
    count = graph.constant(np.array([estimator.n_neighbors], np.int64))
    nearest = graph.add("TopK", far, count, axis=1, largest=0, sorted=1)
    which = graph.name()
    graph.nodes[-1].output.append(which)
    said = graph.add("Gather", graph.constant(votes), which, axis=0)  # (n, k, classes)
    if estimator.weights == "distance":
        weights = _inverse(graph, _exact(graph, rows, stored, which) if power == 2 else nearest)
        said = graph.add("Mul", said, graph.add("Unsqueeze", weights, graph.constant(np.array([2], np.int64))))
    total = graph.add("ReduceSum", said, graph.constant(np.array([1], np.int64)), keepdims=0)
    whole = graph.add("ReduceSum", total, graph.constant(np.array([1], np.int64)), keepdims=1)
    return graph.add("Cast", graph.add("Div", total, whole), to=_FLOAT)


def _euclid(graph: Graph, rows: str, stored: str, kept: np.ndarray) -> str:
    """Squared distances (n, kept) less |x|^2, which changes no order."""
    turned = graph.add("Transpose", stored, perm=[1, 0])
    squares = graph.constant((kept.astype(np.float64) ** 2).sum(axis=1)[None, :])
    product = graph.add("Mul", graph.add("MatMul", rows, turned), graph.constant(np.array([-2.0])))
    return graph.add("Add", product, squares)


def _manhattan(graph: Graph, rows: str, stored: str, kept: np.ndarray) -> str:
    """Sums of absolute differences (n, kept), a feature at a time."""
    total = ""
    for i in range(kept.shape[1]):
        place = graph.constant(np.array([i], np.int64))
        mine = graph.add("Gather", rows, place, axis=1)  # (n, 1)
        theirs = graph.add("Transpose", graph.add("Gather", stored, place, axis=1), perm=[1, 0])  # (1, kept)
        step = graph.add("Abs", graph.add("Sub", mine, theirs))
        total = graph.add("Add", total, step) if total else step
    return total


def _exact(graph: Graph, rows: str, stored: str, which: str) -> str:
    """Euclid's distances (n, k) to the neighbours that were found, by subtraction."""
    theirs = graph.add("Gather", stored, which, axis=0)  # (n, k, features)
    mine = graph.add("Unsqueeze", rows, graph.constant(np.array([1], np.int64)))
    step = graph.add("Sub", mine, theirs)
    last = graph.constant(np.array([2], np.int64))
    return graph.add("Sqrt", graph.add("ReduceSum", graph.add("Mul", step, step), last, keepdims=0))


def _inverse(graph: Graph, distances: str) -> str:
    """1 / distance (n, k); where a distance is 0, such neighbours weigh 1 and all others 0."""
    zero = graph.constant(np.array([0.0]))
    same = graph.add("Equal", distances, zero)
    ones = graph.add("Cast", same, to=_DOUBLE)
    some = graph.add("Greater", graph.add("ReduceMax", ones, axes=[1], keepdims=1), zero)
    return graph.add("Where", some, ones, graph.add("Reciprocal", distances))


def tied(estimator: Any, features: np.ndarray) -> np.ndarray:
    """Rows (n,) bool whose last neighbour is as far as the first that is left out: either answer is right."""
    asked = type(estimator).__name__ == "KNeighborsClassifier" and len(features)
    if not asked or estimator.n_neighbors >= estimator.n_samples_fit_:
        return np.zeros(len(features), bool)
    far, _ = estimator.kneighbors(features, estimator.n_neighbors + 1)
    return np.asarray(far[:, -1] - far[:, -2] <= 1e-9 * (1 + far[:, -1]))
