"""A sample of row numbers that a seed decides, drawn without a list of all rows."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

BLOCK = 1 << 20


def draw(rows: int, most: int, seed: int) -> NDArray[np.int64]:
    """Draw row numbers without replacement, each set of them equally likely, and give them in order.

    How many fall into a block is drawn first (hypergeometric), then which.
    """
    random, parts, left = np.random.default_rng(seed), [np.empty(0, dtype=np.int64)], most
    for start in range(0, rows, BLOCK):
        size, after = min(BLOCK, rows - start), max(rows - start - BLOCK, 0)
        count = int(random.hypergeometric(left, rows - start - left, size)) if after else left
        parts.append(start + np.sort(random.choice(size, count, replace=False)))
        left -= count
    return np.concatenate(parts)


def lacking(pieces: Iterable[pa.Array], drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of each value that no drawn row has.

    Args:
        pieces: A column.
        drawn: Row numbers in order.
    """
    first: dict[object, int] = {}
    had: set[object] = set()
    start = 0
    for piece in pieces:
        low, high = np.searchsorted(drawn, [start, start + len(piece)])
        had.update(pc.unique(piece.take(drawn[low:high] - start)).to_pylist())
        for value in pc.unique(piece):
            if value.as_py() not in first:
                first[value.as_py()] = start + pc.index(piece, value).as_py()
        start += len(piece)
    return np.array([row for value, row in first.items() if value not in had], dtype=np.int64)
