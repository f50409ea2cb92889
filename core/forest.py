"""Many rows at once through many small trees, by bit vectors and without a branch.

A leaf is one bit of its tree's word. The thresholds of all trees cut a column's values into bins; a table says for each bin which leaves
of each tree can still be reached. The words of all columns, joined by AND, leave one bit a tree: the leaf that the row falls into.

Source: Lucchese et al., QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees, SIGIR 2015.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TABLES = ("edges", "words", "leaves")
CHUNK = 1024  # rows at once: their words stay near the processor


class Forest:
    """Sums of trees, safe to ask from several threads.

    Args:
        columns: Of each column that the trees split, its place in the rows, how many bins it has, and whether its values are their numbers.
        trees: How many trees add to each score; they are in the order of their scores.
        tables: `edges` [edges], the thresholds of the other columns, each column's in their order and infinity: a value falls into the
            first bin whose edge is not less, and NaN, which is sorted behind infinity, into the last. `words` [bins, trees], of all
            columns. `leaves` [trees, bits], what each leaf adds.
    """

    def __init__(self, columns: Sequence[tuple[int, int, bool]], trees: Sequence[int], tables: Mapping[str, NDArray[Any]]) -> None:
        bins = np.cumsum([count for _, count, _ in columns])[:-1]
        edges = np.cumsum([0 if is_code else count - 1 for _, count, is_code in columns])[:-1]
        self._columns = [
            (place, None if is_code else bounds, np.ascontiguousarray(words))
            for (place, _, is_code), bounds, words in zip(columns, np.split(tables["edges"], edges), np.split(tables["words"], bins), strict=True)
        ]
        stops = np.cumsum(trees)
        self._parts = [slice(stop - count, stop) for stop, count in zip(stops, trees, strict=True)]
        self._leaves = tables["leaves"].ravel()
        self._first = np.arange(0, tables["leaves"].size, tables["leaves"].shape[1])[:, np.newaxis]

    def scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute the scores [rows, scores] of rows [rows, columns]; each is summed tree after tree, as scikit-learn does it."""
        found = [self._of(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
        return np.concatenate(found) if len(found) > 1 else found[0]

    def _of(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        places = [rows[:, place].astype(np.intp) if edges is None else edges.searchsorted(rows[:, place]) for place, edges, _ in self._columns]
        reached = self._columns[0][2].take(places[0], 0)
        other = np.empty_like(reached)
        for (_, _, words), bins in zip(self._columns[1:], places[1:], strict=True):
            words.take(bins, 0, other, "clip")
            reached &= other
        reached -= 1
        values = self._leaves.take(np.add(np.bitwise_count(reached).T, self._first, order="C"))
        return np.stack([values[part].sum(axis=0) for part in self._parts], axis=1)
