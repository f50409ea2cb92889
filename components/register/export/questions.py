"""What the nodes of fitted trees ask of the rows: what the transformers do is folded into the splits, exactly.

A split asks whether f(x) <= threshold. Of a numeric input, f never falls, so that there is a greatest double for which it holds: the
split's new threshold. Of a text input, it holds for a set of codes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.register.export.columns import Column, Numbers
from components.register.export.errors import NotExportable
from components.register.export.trees import Tree

GREATEST = float(np.finfo(np.float64).max)
NO = -np.inf  # a threshold that never holds
Codes = NDArray[np.bool_]


class Numeric(NamedTuple):
    """Left where the input is not greater, or where it is missing and `missing_left`."""

    source: int
    threshold: float
    missing_left: bool


class Coded(NamedTuple):
    """Left where `left` holds for the code of a text."""

    source: int
    left: Codes


class Questions:
    """Turns splits on a transformer's columns into splits on the rows."""

    def __init__(self, columns: Sequence[Column], trees: Sequence[Tree]) -> None:
        self.columns = columns
        self._thresholds = {place: folded(column, _asked(trees, place)) for place, column in enumerate(columns) if _is_foldable(column)}
        nan = np.full(1, np.nan)
        self._missing = {place: float(column.of(nan)[0]) for place, column in enumerate(columns) if column.table is None}

    def of(self, tree: Tree, node: int) -> Numeric | Coded | None:
        """Return what asks the same of the rows as a node of a tree does; None if the column has to be computed first."""
        place, threshold, missing_left = int(tree.feature[node]), float(tree.threshold[node]), bool(tree.missing_left[node])
        column = self.columns[place]
        if column.table is not None:
            return Coded(column.source, _codes(column.table, threshold, missing_left, tree.members.get(node)))
        if node in tree.members:
            raise NotExportable("a numeric column is split by its values as categories")
        if place not in self._thresholds:
            return None
        missing = self._missing[place]
        return Numeric(column.source, self._thresholds[place][threshold], missing_left if np.isnan(missing) else missing <= threshold)


def _is_foldable(column: Column) -> bool:
    return column.table is None and all(step.is_monotone for step in column.steps)


def _asked(trees: Sequence[Tree], place: int) -> Numbers:
    """Return every threshold that a column is compared with."""
    return np.unique(np.concatenate([tree.threshold[(tree.feature == place) & (tree.left != -1)] for tree in trees]))


def folded(column: Column, thresholds: Numbers) -> dict[float, float]:
    """For each threshold, find the greatest double that the column's steps do not carry above it, by bisection over all doubles."""
    if not column.steps:
        return {value: value for value in thresholds.tolist()}
    low, high = (np.full(len(thresholds), _ordinal(value)) for value in (-GREATEST, GREATEST))
    for _ in range(64):
        middle = (low | high) - ((low ^ high) >> 1)  # the mean, rounded up, without overflow
        holds = column.of(_double(middle)) <= thresholds
        low, high = np.where(holds, middle, low), np.where(holds, high, np.maximum(middle - 1, low))
    found = _double(low)
    return dict(zip(thresholds.tolist(), np.where(column.of(found) <= thresholds, found, NO).tolist(), strict=True))


def _ordinal(value: float) -> int:
    """Number the doubles in their order, 0 being 0."""
    bits = int(np.float64(abs(value)).view(np.int64))
    return -bits if value < 0 else bits


def _double(ordinals: NDArray[np.int64]) -> Numbers:
    return np.copysign(np.abs(ordinals).view(np.float64), ordinals)


def _codes(table: Numbers, threshold: float, missing_left: bool, members: Codes | None) -> Codes:
    """Tell for each code of a text column whether it goes left."""
    if members is None:
        return np.where(np.isnan(table), missing_left, table <= threshold)
    is_missing = ~(table >= 0)  # so does HistGradientBoosting treat what it does not know
    return np.where(is_missing, missing_left, members[np.where(is_missing, 0, table).astype(np.int64)])
