"""Columns as nodes of the graph."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from components.register.export.columns import Column, Numbers, Step
from components.register.export.graph import ROWS, Graph

BLOCK_COST = 24  # numbers that can be copied while one more block is looked up
PADDING = -1
NEUTRAL = {"sub": 0.0, "add": 0.0, "mul": 1.0, "div": 1.0, "fill": 0.0}
FLOAT, INT32, DOUBLE = 1, 6, 11  # of onnx.TensorProto


def matrix(graph: Graph, columns: Sequence[Column]) -> str:
    """Compute a transformer's columns, in their order."""
    if [column.source for column in columns] == list(range(graph.width)) and all(column.is_raw for column in columns):
        return ROWS
    joined, order = beside(graph, columns)
    if order == list(range(len(columns))):
        return joined
    return graph.add("Gather", joined, graph.constant([order.index(place) for place in range(len(columns))], np.int64), axis=1)


def beside(graph: Graph, columns: Sequence[Column], *first: str) -> tuple[str, list[int]]:
    """Compute columns in the order that is cheapest, behind what is there already.

    Returns:
        All of it, and which of the columns each one behind `first` is, or PADDING.
    """
    parts = [part for part in (numeric(graph, columns), looked_up(graph, columns)) if part]
    names = [*first, *(name for name, _ in parts)]
    return graph.add("Concat", *names, axis=1) if len(names) > 1 else names[0], [place for _, places in parts for place in places]


def numeric(graph: Graph, columns: Sequence[Column]) -> tuple[str, list[int]] | None:
    """Compute the columns that are made of numbers; return them and their places among all, None if there are none."""
    places = [place for place, column in enumerate(columns) if column.table is None]
    kinds = {place: tuple(step.kind for step in columns[place].steps) for place in places}
    groups = [list(group) for _, group in groupby(sorted(places, key=lambda place: (kinds[place], place)), key=lambda place: kinds[place])]
    parts = [_stepped(graph, [columns[place] for place in group]) for group in groups]
    if not parts:
        return None
    return (graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]), [place for group in groups for place in group]


def padded(graph: Graph, columns: Sequence[Column]) -> tuple[list[Column], list[int]]:
    """Return the columns that are made of numbers and their places among all.

    If then no node has to pick columns, each other input has one, too, which means nothing but is no NaN, with PADDING as its place.
    """
    places = {column.source: place for place, column in enumerate(columns) if column.table is None}
    numbers = [place for place, column in enumerate(columns) if column.table is None]
    kinds = {tuple(step.kind for step in columns[place].steps) for place in numbers}
    is_whole = {column.source for column in columns} == set(range(graph.width)) and len(places) == len(numbers)
    if len(kinds) != 1 or not is_whole or not set(*kinds) <= NEUTRAL.keys():
        return [columns[place] for place in numbers], numbers
    nothing = tuple(Step(kind, NEUTRAL[kind]) for kind in next(iter(kinds)))
    order = [places.get(source, PADDING) for source in range(graph.width)]
    return [Column(source, False, steps=nothing) if place == PADDING else columns[place] for source, place in enumerate(order)], order


def looked_up(graph: Graph, columns: Sequence[Column]) -> tuple[str, list[int]] | None:
    """Look up the columns that are made of text; return them and their places among all or PADDING, None if there are none."""
    by_source: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        if column.table is not None:
            by_source.setdefault(column.source, []).append(place)
    if not by_source:
        return None
    blocks, order = _blocks({source: _stacked([columns[place] for place in places]) for source, places in by_source.items()})
    found = gathered(graph, blocks)
    places = [place for places in by_source.values() for place in places]
    return graph.add("Reshape", found, graph.constant([0, len(order)], np.int64)), [PADDING if one == PADDING else places[one] for one in order]


def gathered(graph: Graph, blocks: Sequence[tuple[int, Numbers]]) -> str:
    """Read each block's row of its source's code: [rows, blocks, the width that all have]."""
    sources, tables = [source for source, _ in blocks], [table for _, table in blocks]
    codes = graph.add("Gather", ROWS, graph.constant(sources, np.int64), axis=1)
    starts = np.cumsum([0, *(len(table) for table in tables[:-1])])
    if len(blocks) > 1:
        codes = graph.add("Add", codes, graph.constant(starts))
    codes = graph.add("Cast", codes, to=INT32)
    table = np.concatenate(tables)
    if not np.isin(table, (0, 1)).all():
        return graph.add("Gather", graph.constant(table), codes, axis=0)
    return graph.add("Cast", graph.add("Gather", graph.constant(table, np.uint8), codes, axis=0), to=DOUBLE)  # a byte each is read faster


def _stepped(graph: Graph, columns: Sequence[Column]) -> str:
    """Do the same kinds of steps to numeric columns."""
    sources = [column.source for column in columns]
    found = ROWS if sources == list(range(graph.width)) else graph.add("Gather", ROWS, graph.constant(sources, np.int64), axis=1)
    for number, step in enumerate(columns[0].steps):
        values = [column.steps[number].value for column in columns]
        olds = [column.steps[number].old for column in columns]
        found = _step(graph, step.kind, found, values, olds)
    return found


def _step(graph: Graph, kind: str, found: str, values: Sequence[float], olds: Sequence[float]) -> str:
    if kind == "single":
        return graph.add("Cast", graph.add("Cast", found, to=FLOAT), to=DOUBLE)
    value, old = graph.constant(values), graph.constant(olds)
    if kind in ("sub", "mul", "add", "div"):
        return graph.add(kind.capitalize(), found, value)
    if kind == "clip":
        return graph.add("Min", graph.add("Max", found, old), value)
    is_meant = graph.add("IsNaN", found) if kind in ("fill", "mark") else graph.add("Equal", found, old)
    return graph.add("Cast", is_meant, to=DOUBLE) if kind in ("mark", "same") else graph.add("Where", is_meant, value, found)


def _stacked(columns: Sequence[Column]) -> Numbers:
    return np.stack([column.table for column in columns if column.table is not None], axis=1)


def _blocks(tables: dict[int, Numbers]) -> tuple[list[tuple[int, Numbers]], list[int]]:
    """Cut tables into blocks of one width, so that one node reads them all; say which column each of all blocks' columns is."""
    widths = [table.shape[1] for table in tables.values()]
    width = min(range(1, max(widths) + 1), key=lambda width: sum(-(-one // width) * (width + BLOCK_COST) for one in widths))
    blocks = [
        (source, _padded(table[:, start : start + width], width)) for source, table in tables.items() for start in range(0, table.shape[1], width)
    ]
    filled = np.concatenate([np.arange(-(-one // width) * width) < one for one in widths])
    return blocks, np.where(filled, np.cumsum(filled) - 1, PADDING).tolist()


def _padded(table: Numbers, width: int) -> Numbers:
    return np.pad(table, ((0, 0), (0, width - table.shape[1])))
