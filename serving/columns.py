"""From JSON values to the columns that an engine reads: every protocol passes through here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from core.bundle import Input
from serving.errors import bad

Columns = dict[str, list[Any]]
EXPECTED = {"FP64": "a number", "BYTES": "a string"}
SEEN = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "an integer", float: "a number", type(None): "null"}


def from_records(records: Sequence[Any], inputs: Sequence[Input]) -> Columns:
    """Turn rows that are objects (`{"hour": 5, ...}`) into checked columns."""
    names = [item.name for item in inputs]
    for number, row in enumerate(records):
        if not isinstance(row, dict):
            raise bad(f"row {number}: expected an object with the columns {', '.join(names)}, got {SEEN[type(row)]}")
        if row.keys() != set(names):
            raise bad(f"row {number}: {_name_problem(names, row)}")
    return from_columns({name: [row[name] for row in records] for name in names}, inputs)


def from_rows(rows: Sequence[Any], names: Sequence[str], inputs: Sequence[Input]) -> Columns:
    """Turn rows that are lists, in the order of `names`, into checked columns."""
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise bad(f"row {number}: expected a list of {len(names)} values, got {SEEN[type(row)]}")
        if len(row) != len(names):
            raise bad(f"row {number}: {len(row)} values for {len(names)} columns ({', '.join(names)})")
    if len(set(names)) != len(names):
        raise bad(f"column {next(name for name in names if names.count(name) > 1)} is named twice")
    return from_columns({name: [row[place] for row in rows] for place, name in enumerate(names)}, inputs)


def from_columns(columns: dict[str, list[Any]], inputs: Sequence[Input]) -> Columns:
    """Check names, lengths and values, and put the columns into the order of training."""
    names = [item.name for item in inputs]
    if columns.keys() != set(names):
        raise bad(_name_problem(names, columns))
    length = len(columns[names[0]])
    for name in names:
        if len(columns[name]) != length:
            raise bad(f"column {name} has {len(columns[name])} rows, column {names[0]} has {length}")
    if length == 0:
        raise bad("there are no rows: send at least one")
    return {item.name: _values(item, columns[item.name]) for item in inputs}


def _name_problem(expected: Sequence[str], given: Collection[str]) -> str:
    missing = next((name for name in expected if name not in given), None)
    if missing is not None:
        return f"column {missing} is missing: the model reads {', '.join(expected)} (null where a value is not known)"
    return f"column {next(name for name in given if name not in expected)} is unknown: the model reads {', '.join(expected)}"


def _values(item: Input, values: list[Any]) -> list[Any]:
    allowed: set[type] = {str, type(None)} if item.datatype == "BYTES" else {float, int, bool, type(None)}
    kinds = set(map(type, values))
    if not kinds <= allowed:
        row = next(number for number, value in enumerate(values) if type(value) not in allowed)
        raise bad(f"row {row}, column {item.name}: expected {EXPECTED[item.datatype]} or null, got {SEEN[type(values[row])]}")
    return values if item.datatype == "BYTES" or not kinds & {int, bool} else [_exact(item, row, value) for row, value in enumerate(values)]


def _exact(item: Input, row: int, value: float | None) -> float | None:
    number = None if value is None else float(value)
    if number != value:
        raise bad(f"row {row}, column {item.name}: {value} has no exact 64-bit float: send it as one")
    return number
