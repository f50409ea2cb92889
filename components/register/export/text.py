"""Text columns: whatever is done to one of them is a function of finitely many values, so scikit-learn itself says what it gives."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from components.register.export.columns import Column, Numbers
from components.register.export.errors import NotExportable
from core.bundle import Input, frame

KNOWN = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder", "SimpleImputer", "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler")
UNKNOWN = "\x00 a value that training never saw"
LARGEST_TABLE = 20_000_000  # numbers


class Vocabularies:
    """The values that training saw, for each text column of a pipeline."""

    def __init__(self, pipeline: Any, inputs: Sequence[Input]) -> None:
        self.inputs = inputs
        self.values: dict[str, list[str]] = {item.name: [] for item in inputs if item.datatype == "BYTES"}
        for transformer, places in _on_inputs(pipeline, range(len(inputs))):
            for place, found in _values(transformer, places):
                if inputs[place].datatype == "BYTES":
                    self.values[inputs[place].name] = sorted({*self.values[inputs[place].name], *found})

    def tabulated(self, transformer: Any, columns: Sequence[Column]) -> list[Column]:
        """Ask a fitted transformer what it makes of each value of each column, of an unknown one and of a missing one.

        Raises:
            NotExportable: It refuses such a value, or mixes columns.
        """
        unknown = next((kind for kind in _kinds(transformer) if kind not in KNOWN), None)
        if unknown:
            raise NotExportable(f"the transformer {unknown} has no exact ONNX form here")
        tables = [self._answers(transformer, columns, place) for place in range(len(columns))]
        moves = np.array([[bool((answers != answers[0]).any()) for answers in table.T] for table in _without_nan(tables)])
        if (moves.sum(axis=0) > 1).any():
            raise NotExportable(f"a column that {type(transformer).__name__} gives depends on several inputs")
        return [replace(columns[place], table=tables[place][:, number]) for number, place in enumerate(moves.argmax(axis=0))]

    def _answers(self, transformer: Any, columns: Sequence[Column], place: int) -> Numbers:
        """Return a row a code of the column at the place, the others being missing."""
        items = [self.inputs[column.source] for column in columns]
        codes = [*self.values[items[place].name], UNKNOWN, None]
        table = frame({item.name: codes if number == place else [None] * len(codes) for number, item in enumerate(items)}, items)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = transformer.transform(table)
        except ValueError as error:
            raise NotExportable(
                f"{type(transformer).__name__} refuses a value that training never saw, or a missing one, which a graph cannot"
            ) from error
        if found.shape[0] * found.shape[1] > LARGEST_TABLE:
            raise NotExportable(f"column {items[place].name} has too many values, {len(codes):,}, for a table of {found.shape[1]:,} columns")
        return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float64)


def _without_nan(tables: Sequence[Numbers]) -> list[Numbers]:
    """Make NaN comparable."""
    return [np.where(np.isnan(table), np.inf, table) for table in tables]


def _on_inputs(transformer: Any, places: Sequence[int]) -> Iterator[tuple[Any, Sequence[int]]]:
    """Yield the transformers that read inputs, and which."""
    kind = type(transformer).__name__
    if kind == "ColumnTransformer":
        for name, part, _ in transformer.transformers_:
            yield from _on_inputs(part, [places[place] for place in transformer._transformer_to_input_indices[name]])
    elif kind == "Pipeline":
        for _, step in transformer.steps:
            yield from _on_inputs(step, places)
    else:
        yield transformer, places


def _values(transformer: Any, places: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Yield the texts that a transformer treats in a way of their own, by input."""
    for number, categories in enumerate(getattr(transformer, "categories_", ())):
        yield from ((place, [value for value in categories if isinstance(value, str)]) for place in _of(number, transformer, places))
    if isinstance(getattr(transformer, "missing_values", None), str):
        yield from ((place, [transformer.missing_values]) for place in places)


def _of(number: int, transformer: Any, places: Sequence[int]) -> Sequence[int]:
    """Return the inputs whose categories these are: all, if a step before left out a column."""
    return [places[number]] if len(transformer.categories_) == len(places) else places


def _kinds(transformer: Any) -> list[str]:
    if type(transformer).__name__ == "Pipeline":
        return [kind for _, step in transformer.steps for kind in _kinds(step)]
    return [] if transformer in (None, "passthrough") else [type(transformer).__name__]
