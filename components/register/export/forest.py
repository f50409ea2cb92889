"""Trees as one TreeEnsemble node over the rows themselves, and over tables that tell which codes of a text are no range but in a split's set."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from components.register.export.bitvectors import tables
from components.register.export.columns import Column
from components.register.export.graph import ROWS, TREES, Graph
from components.register.export.matrix import PADDING, beside
from components.register.export.questions import Coded, Codes, Questions
from components.register.export.trees import Tree

SUM, LEQ = 1, 0
YES = np.inf  # a threshold that always holds


class Split(NamedTuple):
    """A question about one column of the matrix that the node reads; `is_swapped`: where it is answered with no, the tree goes left."""

    column: int
    threshold: float
    missing_left: bool
    is_swapped: bool = False


def ensemble(graph: Graph, trees: Sequence[Tree], columns: Sequence[Column], scores: int) -> str:
    """Write the node.

    Args:
        graph: Where it is written.
        trees: In the order of their sum.
        columns: What they split on.
        scores: How many sums there are.

    Returns:
        The scores, [rows, scores].
    """
    questions = Questions(columns, trees)
    folding = Folding(questions, graph.width)
    splits = [{int(node): folding.split(tree, int(node)) for node in np.flatnonzero(tree.left != -1)} for tree in trees]
    read, places = folding.matrix(graph)
    attributes = _attributes(trees, splits, places)
    found = graph.add("TreeEnsemble", read, domain=TREES, n_targets=scores, aggregate_function=SUM, post_transform=0, **attributes)
    graph.forests[found] = partial(tables, trees, questions, scores)
    return found


class Folding:
    """Turns what the nodes ask into splits on the rows, and on what has to be computed beside them."""

    def __init__(self, questions: Questions, width: int) -> None:
        self.questions, self.width = questions, width
        self.extra: list[Column] = []
        self._places: dict[Any, int] = {}

    def split(self, tree: Tree, node: int) -> Split:
        """Return what asks the same as a node of a tree does."""
        asked = self.questions.of(tree, node)
        if isinstance(asked, Coded):
            return self._of_codes(asked.source, asked.left)
        if asked:
            return Split(*asked)
        place = int(tree.feature[node])
        return Split(self._beside(("column", place), self.questions.columns[place]), float(tree.threshold[node]), bool(tree.missing_left[node]))

    def matrix(self, graph: Graph) -> tuple[str, NDArray[np.int64]]:
        """Write what the node reads; the array says where each column of the splits is in it."""
        if not self.extra:
            return ROWS, np.arange(self.width)
        read, order = beside(graph, self.extra, ROWS)
        places = {place: self.width + number for number, place in enumerate(order) if place != PADDING}
        return read, np.array([*range(self.width), *(places[number] for number in range(len(self.extra)))])

    def _of_codes(self, source: int, codes: Codes) -> Split:
        """Ask whether a text column's code is one of these."""
        first = bool(codes[0])
        changes = np.flatnonzero(codes[1:] != codes[:-1])
        if len(changes) <= 1:  # all, none, or all up to one and none from there on
            threshold = float(changes[0]) if len(changes) else YES
            return Split(source, threshold, False, is_swapped=not first)
        table = (codes != first).astype(np.float64)
        return Split(self._beside((source, table.tobytes()), Column(source, True, table)), 0.5, False, is_swapped=not first)

    def _beside(self, key: Any, column: Column) -> int:
        if key not in self._places:
            self._places[key] = self.width + len(self.extra)
            self.extra.append(column)
        return self._places[key]


def _attributes(trees: Sequence[Tree], splits: Sequence[dict[int, Split]], places: NDArray[np.int64]) -> dict[str, Any]:
    """Put all trees into the lists of the node's attributes."""
    nodes, leaves, roots = list[tuple[float, ...]](), list[tuple[float, int]](), list[int]()
    for tree, asked in zip(trees, splits, strict=True):
        roots.append(len(nodes))
        _append(nodes, leaves, tree, asked, places)
    feature, threshold, missing, true, true_leaf, false, false_leaf = zip(*nodes, strict=True)
    weights, targets = zip(*leaves, strict=True)
    found: dict[str, Any] = {
        "tree_roots": roots,
        "nodes_featureids": feature,
        "nodes_modes": numpy_helper.from_array(np.full(len(nodes), LEQ, np.uint8)),
        "nodes_splits": numpy_helper.from_array(np.array(threshold)),
        "nodes_truenodeids": true,
        "nodes_trueleafs": true_leaf,
        "nodes_falsenodeids": false,
        "nodes_falseleafs": false_leaf,
        "leaf_targetids": targets,
        "leaf_weights": numpy_helper.from_array(np.array(weights)),
    }
    return found | ({"nodes_missing_value_tracks_true": missing} if any(missing) else {})


def attributes_of(trees: Sequence[Tree]) -> dict[str, Any]:
    """Return the attributes of a node whose trees split the columns of what it reads as they are."""
    splits = [
        {
            int(node): Split(int(tree.feature[node]), float(tree.threshold[node]), bool(tree.missing_left[node]))
            for node in np.flatnonzero(tree.left != -1)
        }
        for tree in trees
    ]
    return _attributes(trees, splits, np.arange(1 + max(int(tree.feature.max()) for tree in trees)))


def _append(nodes: list[Any], leaves: list[tuple[float, int]], tree: Tree, asked: dict[int, Split], places: NDArray[np.int64]) -> None:
    """Append one tree; its nodes keep their order."""
    is_leaf = tree.left == -1
    numbers = np.where(is_leaf, len(leaves) + np.cumsum(is_leaf) - 1, len(nodes) + np.cumsum(~is_leaf) - 1).tolist()
    leaves += [(float(value), tree.target) for value in tree.value[is_leaf]]
    if is_leaf[0]:
        nodes.append((0, 0.0, 0, numbers[0], 1, numbers[0], 1))
    for node, split in asked.items():
        left, right = int(tree.left[node]), int(tree.right[node])
        true, false, missing = (right, left, not split.missing_left) if split.is_swapped else (left, right, split.missing_left)
        kinds = int(is_leaf[true]), int(is_leaf[false])
        nodes.append((int(places[split.column]), split.threshold, int(missing), numbers[true], kinds[0], numbers[false], kinds[1]))
