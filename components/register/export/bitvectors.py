"""A forest's tables of bit vectors, as `core.forest.Forest` reads them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.register.export.columns import Column, Numbers
from components.register.export.questions import Coded, Codes, Numeric, Questions
from components.register.export.trees import Tree

MOST_BITS = 64  # leaves of a tree
MOST_BYTES = 2**22  # of all tables: what is read at random should stay near the processor
Asked = tuple[int, int, Numeric | Coded]  # a tree's place, its node, and what that asks
Spans = dict[int, tuple[int, int, int]]


class Tables(NamedTuple):
    """The arguments of `core.forest.Forest`."""

    columns: list[tuple[int, int, bool]]
    trees: list[int]
    arrays: dict[str, NDArray[Any]]


def tables(trees: Sequence[Tree], questions: Questions, scores: int) -> Tables | None:
    """Build the tables.

    Args:
        trees: In the order of their sum.
        questions: What their nodes ask of the rows.
        scores: How many sums there are.

    Returns:
        None where the forest has no such form: a tree has too many leaves, a split does not ask the rows, or the tables would be too large.
    """
    ordered = sorted(trees, key=lambda tree: tree.target)
    bits = max(map(_count, ordered))
    width = max(8, 1 << (bits - 1).bit_length())
    room = MOST_BYTES // (len(ordered) * width // 8)
    asked = None if bits > MOST_BITS or _codes(ordered, questions.columns) > room else _asked(ordered, questions)
    bins = {source: _bins([question for _, _, question in asked[source]]) for source in sorted(asked)} if asked else {}
    if not asked or sum(map(len, bins.values())) > room:
        return None
    is_code = {source: isinstance(found[0][2], Coded) for source, found in asked.items()}
    spans, whole = [_spans(tree) for tree in ordered], np.array([_word(0, _count(tree)) for tree in ordered], np.uint64).astype(f"u{width // 8}")
    return Tables(
        [(source, len(values), is_code[source]) for source, values in bins.items()],
        [sum(tree.target == score for tree in ordered) for score in range(scores)],
        {
            "edges": np.concatenate([*(values[:-1] for source, values in bins.items() if not is_code[source]), np.zeros(0)]),
            "words": np.concatenate([_words(values, asked[source], spans, whole) for source, values in bins.items()]),
            "leaves": np.stack([np.pad(tree.value[_leaves(tree)], (0, bits - _count(tree))) for tree in ordered]),
        },
    )


def _codes(trees: Sequence[Tree], columns: Sequence[Column]) -> int:
    """Return how many bins the texts need that are split."""
    split = {place for tree in trees for place in tree.feature[tree.left != -1].tolist()}
    return sum({column.source: len(column.table) for column in map(columns.__getitem__, split) if column.table is not None}.values())


def _asked(trees: Sequence[Tree], questions: Questions) -> dict[int, list[Asked]] | None:
    """Return the questions of each column of the rows; None if a node asks something else."""
    found: dict[int, list[Asked]] = {}
    for place, tree in enumerate(trees):
        for node in np.flatnonzero(tree.left != -1).tolist():
            question = questions.of(tree, node)
            if question is None:
                return None
            found.setdefault(question.source, []).append((place, node, question))
    return found


def _count(tree: Tree) -> int:
    return int((tree.left == -1).sum())


def _words(values: Numbers, asked: Sequence[Asked], spans: Sequence[Spans], whole: NDArray[Any]) -> NDArray[Any]:
    """Tell for each bin of one column which leaves of each tree its questions leave."""
    words = np.tile(whole, (len(values), 1))
    for place, node, question in asked:
        first, middle, last = spans[place][node]
        right, left = (whole[place] & ~np.uint64(_word(*sides)).astype(whole.dtype) for sides in ((first, middle), (middle, last)))
        words[:, place] &= np.where(question.left if isinstance(question, Coded) else _holds(values, question), left, right)
    return words


def _bins(questions: Sequence[Numeric | Coded]) -> Numbers:
    """Return a value of each bin: the codes, or each threshold, something beyond, and NaN."""
    if isinstance(questions[0], Coded):
        return np.arange(len(questions[0].left), dtype=np.float64)
    return np.array([*np.unique([one.threshold for one in questions if isinstance(one, Numeric)]), np.inf, np.nan])


def _holds(values: Numbers, one: Numeric) -> Codes:
    return np.where(np.isnan(values), one.missing_left, values <= one.threshold)


def _leaves(tree: Tree) -> list[int]:
    """Return the leaves from left to right."""
    found, left = list[int](), [0]
    while left:
        node = left.pop()
        if tree.left[node] == -1:
            found.append(node)
        else:
            left += [int(tree.right[node]), int(tree.left[node])]
    return found


def _spans(tree: Tree) -> Spans:
    """Return for each node where its left side's leaves begin, where its right side's do, and where they end."""
    found, places = Spans(), {leaf: place for place, leaf in enumerate(_leaves(tree))}

    def visit(node: int) -> tuple[int, int]:
        if node in places:
            return places[node], places[node] + 1
        (first, middle), (_, last) = visit(int(tree.left[node])), visit(int(tree.right[node]))
        found[node] = first, middle, last
        return first, last

    visit(0)
    return found


def _word(first: int, last: int) -> int:
    return (1 << last) - (1 << first)
