"""scikit-learn's fitted trees, in one form."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.register.export.columns import Numbers


@dataclass(frozen=True)
class Tree:
    """One tree that adds to one score; node 0 is its root.

    Attributes:
        left: The next node where the split holds, for each node; -1 for a leaf.
        right: The next node where it does not.
        feature: The column that is looked at.
        threshold: It holds for what is not greater.
        missing_left: Whether it holds for NaN.
        members: Of a split on categories: for which of them it holds; others go where NaN does.
        value: What a leaf adds.
        target: To which score.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Numbers
    missing_left: NDArray[np.bool_]
    value: Numbers
    members: dict[int, NDArray[np.bool_]]
    target: int = 0


def constant(values: Numbers) -> Iterator[Tree]:
    """Yield trees of one leaf: what each score begins with."""
    for target, value in enumerate(values):
        leaf, nothing = np.array([-1]), np.zeros(1, dtype=np.int64)
        yield Tree(leaf, leaf, nothing, np.zeros(1), np.zeros(1, dtype=np.bool_), np.array([value]), {}, target)


def of_tree(tree: Any, values: Numbers, target: int) -> Tree:
    """Read a tree of DecisionTree, RandomForest, ExtraTrees or GradientBoosting."""
    missing = tree.missing_go_to_left.astype(bool)
    return Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, missing, values, {}, target)


def of_histogram(model: Any) -> Iterator[Tree]:
    """Read the trees of HistGradientBoosting, in the order in which it adds them."""
    yield from constant(model._baseline_prediction.ravel())
    for predictors in model._predictors:
        for target, predictor in enumerate(predictors):
            nodes = predictor.nodes
            is_leaf = nodes["is_leaf"].astype(bool)
            left, right = (np.where(is_leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
            members = {
                int(node): _members(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
                for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~is_leaf)
            }
            missing = nodes["missing_go_to_left"].astype(bool)
            yield Tree(left, right, nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], missing, nodes["value"], members, target)


def _members(bitset: NDArray[np.uint32]) -> NDArray[np.bool_]:
    return np.unpackbits(bitset.view(np.uint8), bitorder="little").astype(bool)
