"""What the parts of a contract must agree on: each contradiction with its place and the cure."""

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from core.config import UseCase
from core.contract import Column, Contract, Drift, Reference

Found = tuple[tuple[str | int, ...], str]  # a place in the document, and what is wrong there
NUMBERS, TIMES = ("integer", "number"), ("timestamp", "date")
READERS: dict[str, Callable[[Any], Any]] = {
    "integer": float,
    "number": float,
    "timestamp": datetime.fromisoformat,
    "date": date.fromisoformat,
    "string": str,
}


class _At(NamedTuple):
    """A contract and its name."""

    name: str
    contract: Contract


def contract_problems(usecase: UseCase) -> Iterator[Found]:
    """Yield what is wrong with the contracts of a use case."""
    for name in usecase.sources:
        if name not in usecase.contract:
            yield ("sources", name), f"there is no contract for it: add contract.{name}, which `mlops contract {usecase.name}` proposes"
    for name, contract in usecase.contract.items():
        if name not in usecase.sources:
            yield ("contract", name), f"there is no such source: name one of {', '.join(usecase.sources)}"
        yield from ((("contract", name, *path), message) for path, message in _problems(_At(name, contract), usecase))


def _problems(at: _At, usecase: UseCase) -> Iterator[Found]:
    for name, column in at.contract.columns.items():
        yield from ((("columns", name, *path), message) for path, message in _column_problems(column))
    rows = at.contract.rows
    if rows.max is not None and rows.max < rows.min:
        yield ("rows",), f"max {rows.max:,} is below min {rows.min:,}: correct one of them"
    for index, columns in enumerate(at.contract.unique):
        yield from ((("unique", index), message) for message in _unknown(columns, at))
    for index, reference in enumerate(at.contract.references):
        yield from ((("references", index), message) for message in _reference_problems(reference, at, usecase))
    yield from _freshness_problems(at)


def _column_problems(column: Column) -> Iterator[Found]:
    yield from _bound_problems(column)
    wanted = (int, float) if column.type in NUMBERS else str
    for index, value in enumerate(column.values or ()):
        if not isinstance(value, wanted):
            yield ("values", index), f"{value!r} is no {column.type}: {'write a number' if column.type in NUMBERS else 'write it in quotes'}"
    if column.pattern is not None:
        yield from _pattern_problems(column)
    if column.outside and column.type != "number" and (column.min, column.max, column.values, column.pattern) == (None,) * 4:
        yield ("outside",), "there is nothing to be outside of: add min, max, values or pattern, or remove it"
    if column.drift:
        yield from _drift_problems(column, column.drift)


def _bound_problems(column: Column) -> Iterator[Found]:
    """Yield the bounds that are no values of the column's type: a date is text, since a pipeline parameter knows no dates."""
    read = {}
    for key in ("min", "max"):
        bound = getattr(column, key)
        if bound is None:
            continue
        if column.type == "boolean":
            yield (key,), f"a boolean has no {key}: remove it"
            continue
        try:
            read[key] = READERS[column.type](bound)
        except (TypeError, ValueError):
            yield (key,), f"{bound!r} is no {column.type}: correct it"
    if len(read) == 2 and _is_above(read["min"], read["max"]):
        yield ("max",), f"it is below min, {column.min}: correct one of them"


def _is_above(first: Any, second: Any) -> bool:
    if isinstance(first, datetime):  # one may have a zone, the other not: then UTC is meant
        first, second = (value if value.tzinfo else value.replace(tzinfo=UTC) for value in (first, second))
    return bool(first > second) or (isinstance(first, float) and math.isnan(first))


def _pattern_problems(column: Column) -> Iterator[Found]:
    if column.type != "string":
        yield ("pattern",), f"a pattern is for text, not for a {column.type}: remove it"
        return
    import duckdb  # whose regular expressions it is matched by

    try:
        with duckdb.connect() as connection:  # the process's own may be another one's
            connection.execute("SELECT regexp_full_match('', ?)", [column.pattern])
    except duckdb.InvalidInputException as error:
        yield ("pattern",), f"{column.pattern!r} is no regular expression of RE2 ({str(error).partition(': ')[2].splitlines()[0]}): correct it"


def _drift_problems(column: Column, drift: Drift) -> Iterator[Found]:
    is_counted = column.type in (*NUMBERS, *TIMES)
    if drift.ks is not None and not is_counted:
        yield ("drift", "ks"), f"ks is for numbers and times, not for a {column.type}: write psi or variation"
    if drift.variation is not None and is_counted:
        yield ("drift", "variation"), f"variation is for text and booleans, not for a {column.type}: write psi or ks"


def _unknown(columns: tuple[str, ...], at: _At) -> Iterator[str]:
    for column in sorted(set(columns) - at.contract.columns.keys()):
        yield f"{column} is not among the columns of contract.{at.name}: add it there or remove it here"


def _reference_problems(reference: Reference, at: _At, usecase: UseCase) -> Iterator[str]:
    yield from _unknown(reference.columns, at)
    if reference.source not in usecase.contract:
        yield f"there is no such source as {reference.source}: name one of {', '.join(usecase.sources)}"
        return
    other = _At(reference.source, usecase.contract[reference.source])
    yield from _unknown(reference.targets, other)
    if len(reference.columns) != len(reference.targets):
        yield f"{len(reference.columns)} columns refer to {len(reference.targets)}: name as many under to"
        return
    for column, target in zip(reference.columns, reference.targets, strict=True):
        kinds = [each.columns[name].type if name in each.columns else None for each, name in ((at.contract, column), (other.contract, target))]
        if None not in kinds and kinds[0] != kinds[1] and not set(kinds) <= set(NUMBERS):
            yield f"{column} is a {kinds[0]}, {reference.source}.{target} a {kinds[1]}: refer to a column of the same type"


def _freshness_problems(at: _At) -> Iterator[Found]:
    if at.contract.freshness is None:
        return
    name = at.contract.freshness.column
    for message in _unknown((name,), at):
        yield ("freshness", "column"), message
    if name in at.contract.columns and at.contract.columns[name].type not in TIMES:
        yield ("freshness", "column"), f"{name} is a {at.contract.columns[name].type}: name a timestamp or a date"
