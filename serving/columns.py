"""From decoded values to the columns that an engine reads: every protocol passes through here."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Input
from core.engines import Column, Columns
from core.fields import DIALECT, Dialect, Reader
from serving.errors import RequestError, bad

EXPECTED = {"FP64": "a number", "BYTES": "a string"}
SEEN = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "an integer", float: "a number", type(None): "null"}
ROWS_LIMIT = 250_000  # of one request
NAN = float("nan")
SHOWN = 20  # names in a sentence
EXACT = 2**53  # up to here every integer has a 64-bit float
Kinds = frozenset[type]
NUMBERS: Kinds = frozenset({float, int, bool, type(None)})
PLAIN_NUMBERS: Kinds = frozenset({float, bool, type(None)})
TEXTS: Kinds = frozenset({str, type(None)})


class Schema:
    """The columns of a model, and what may be in them."""

    def __init__(self, inputs: Sequence[Input], dialect: Dialect = DIALECT) -> None:
        self.inputs = tuple(inputs)
        self.reader = Reader(dialect)
        self.parsers = {item.name: self.reader.texts if item.datatype == "BYTES" else self.reader.numbers for item in inputs}
        self.names = [item.name for item in inputs]
        self.datatypes = {item.name: item.datatype for item in inputs}
        self.places = {name: place for place, name in enumerate(self.names)}
        self._allowed = [TEXTS if item.datatype == "BYTES" else NUMBERS for item in inputs]
        self._plain = [TEXTS if item.datatype == "BYTES" else PLAIN_NUMBERS for item in inputs]
        self._known: dict[tuple[type, ...], list[int]] = {}

    def from_records(self, records: Sequence[Any]) -> Columns:
        """Turn rows that are objects (`{"hour": 5, ...}`) into checked columns."""
        names, width = self.names, len(self.names)
        try:
            rows = [[row[name] for name in names] for row in records if len(row) == width]
        except (KeyError, TypeError, IndexError):
            rows = []
        if len(rows) != len(records):
            self._refuse_record(records)
        return self._from_rows(rows)

    def from_rows(self, rows: Sequence[Any], names: Sequence[str]) -> Columns:
        """Turn rows that are lists, in the order of `names`, into checked columns."""
        width, is_ordered = len(names), names == self.names
        if not is_ordered:
            self.check_names(names)
        if not all(type(row) is list and len(row) == width for row in rows):
            _refuse_row(rows, names)
        if is_ordered:
            return self._from_rows(rows)
        return self.from_columns(dict(zip(names, zip(*rows, strict=True) if rows else ((),) * width, strict=True)))

    def check_names(self, names: Sequence[str]) -> None:
        """Refuse names that are not the model's columns, each once, in any order.

        Raises:
            RequestError: One is missing, unknown or there twice (400).
        """
        seen = set[str]()
        for name in names:
            if name in seen:
                raise bad(f"column {name} is named twice")
            seen.add(name)
        if seen != self.places.keys():
            raise bad(self._name_problem(dict.fromkeys(names)))

    def from_columns(self, columns: Mapping[str, Column]) -> Columns:
        """Check names, lengths and values, and put the columns into the order of training."""
        if columns.keys() != self.places.keys():
            raise bad(self._name_problem(columns))
        ordered = [columns[name] for name in self.names]
        length = len(ordered[0])
        for name, column in zip(self.names, ordered, strict=True):
            if len(column) != length:
                raise bad(f"column {name} has {len(column)} rows, column {self.names[0]} has {length}")
        return self._checked(ordered, length)

    def _from_rows(self, rows: Sequence[Sequence[Any]]) -> Columns:
        return self._checked(list(zip(*rows, strict=True)), len(rows))

    def _checked(self, columns: list[Column], rows: int) -> Columns:
        """Return the columns if each value fits, the numbers of several rows as an array."""
        if rows == 0:
            raise bad("there are no rows: send at least one")
        check_rows(rows)
        if rows > 1:
            return list(map(_checked_column, self.inputs, columns))
        kinds = tuple([type(column[0]) for column in columns])
        places = self._known.get(kinds)
        if places is None:
            places = self._places(columns)
            if len(self._known) < 1000:
                self._known[kinds] = places
        for place in places:
            _require_exact(self.names[place], columns[place])
        return columns

    def _places(self, columns: list[Column]) -> list[int]:
        """Return those columns of a row whose value has to be looked at: whole numbers, which may be too large, and arrays, which may hold infinity.

        A value of a wrong type is refused; types that were seen once are not looked at again.
        """
        places = []
        for place, column in enumerate(columns):
            if isinstance(column, np.ndarray):
                places.append(place)
                continue
            kinds = set(map(type, column))
            if not kinds <= self._plain[place]:
                if not kinds <= self._allowed[place]:
                    _refuse_value(self.inputs[place], column, self._allowed[place])
                places.append(place)
        return places

    def _name_problem(self, given: Collection[str]) -> str:
        missing = next((name for name in self.names if name not in given), None)
        if missing is not None:
            return f"column {missing} is missing: the model reads {listed(self.names)} (null where a value is not known)"
        unknown = next(name for name in given if name not in self.places)
        return f"column {unknown} is unknown: the model reads {listed(self.names)}"

    def _refuse_record(self, records: Sequence[Any]) -> None:
        for number, row in enumerate(records):
            if not isinstance(row, dict):
                raise bad(f"row {number}: expected an object with the columns {listed(self.names)}, got {SEEN[type(row)]}")
            if row.keys() != self.places.keys():
                raise bad(f"row {number}: {self._name_problem(row)}")


def _checked_column(item: Input, column: Column) -> Column:
    if isinstance(column, np.ndarray):
        _require_exact(item.name, column)
        return column
    if item.datatype == "BYTES":
        if not set(map(type, column)) <= TEXTS:
            _refuse_value(item, column, TEXTS)
        return column
    numbers = _numbers(item, column)
    if (np.abs(numbers) >= EXACT).any():
        _require_exact(item.name, column)
    return numbers


def _numbers(item: Input, column: Sequence[Any]) -> NDArray[np.float64]:
    """Convert a column; `struct` takes numbers alone, which is faster than a look at each value's type."""
    doubles = f"{len(column)}d"
    try:
        return np.frombuffer(struct.pack(doubles, *column))
    except struct.error:  # something is missing, or wrong
        pass
    try:
        return np.frombuffer(struct.pack(doubles, *[NAN if value is None else value for value in column]))
    except struct.error:
        _refuse_value(item, column, NUMBERS)
        raise


def _refuse_row(rows: Sequence[Any], names: Sequence[str]) -> None:
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise bad(f"row {number}: expected a list of {len(names)} values, got {SEEN[type(row)]}")
        if len(row) != len(names):
            raise bad(f"row {number}: {len(row)} values for {len(names)} columns ({listed(names)})")


def _refuse_value(item: Input, column: Column, allowed: Kinds) -> None:
    row = next(number for number, value in enumerate(column) if type(value) not in allowed)
    raise bad(f"row {row}, column {item.name}: expected {EXPECTED[item.datatype]} or null, got {SEEN[type(column[row])]}")


def _require_exact(name: str, column: Column) -> None:
    """Refuse a whole number that no float is equal to, and what is no number of the model's."""
    if isinstance(column, np.ndarray):
        infinite = np.isinf(column)
        if infinite.any():
            raise bad(f"row {int(infinite.argmax())}, column {name}: expected a finite number, got infinity (a missing value is NaN)")
        return
    for row, value in enumerate(column):
        if type(value) is int and not -EXACT <= value <= EXACT and float(value) != value:
            raise bad(f"row {row}, column {name}: {value} has no exact 64-bit float: send it as one")


def check_rows(rows: int) -> int:
    """Return how many rows there are, if they are not too many.

    Raises:
        RequestError: They are (413).
    """
    if rows > ROWS_LIMIT:
        raise RequestError(413, f"{rows} rows are more than {ROWS_LIMIT}: send fewer a request")
    return rows


def listed(names: Sequence[str]) -> str:
    """Return names as a text, the first ones of many."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
