"""One look at all rows before they are read: how many, where to cut, and what no Parquet file can hold."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from components.extract.delivery import Request
from components.extract.sources.postgresql.columns import DIGITS, Column, named
from components.extract.sources.postgresql.session import Connection, query
from core.errors import UserError
from core.sources import PostgresqlSource
from core.tables import literal

SAMPLE = 50_000  # rows among which the bounds of the parts are looked for
RANGED = ("smallint", "integer", "bigint", "numeric", "real", "double precision", "date", "timestamp without time zone", "timestamp with time zone")
LAST = "'294247-01-01'"  # beyond it a timestamp has no microseconds since 1970 in 64 bits


@dataclass(frozen=True)
class Survey:
    """What was seen."""

    rows: int
    columns: list[Column]
    partition: Column | None
    bounds: list[str]  # between the parts, ascending; as PostgreSQL writes them


class Check(NamedTuple):
    """Values that cannot travel."""

    column: Column
    condition: str
    sentence: str


def survey(source: PostgresqlSource, request: Request, connection: Connection, relation: str, condition: str, columns: list[Column]) -> Survey:
    """Look at all rows that fulfil the condition.

    Raises:
        UserError: They cannot be read as what they are.
    """
    partition = _partition(source, request, columns)
    checks = [check for column in columns for check in _checks(column)]
    wide = [column for column in columns if column.kind == "numeric" and not column.array and not column.decimal]
    figures = ["count(*)", *(f"count(*) FILTER (WHERE {check.condition})" for check in checks)]
    figures += [figure for column in wide for figure in (f"max(abs(trunc({column.sql})))", f"max(scale({column.sql}))")]
    bounds = _bounds(source, connection, relation, condition, partition)
    text = f"SELECT ARRAY[{', '.join(f'({figure})::text' for figure in figures)}], {bounds} FROM {relation} WHERE {condition}"  # noqa: S608
    ((counts, cuts),) = query(connection, text)
    rows, bad, sizes = int(counts[0]), counts[1 : len(checks) + 1], counts[len(checks) + 1 :]
    for check, number in zip(checks, bad, strict=True):
        if int(number):
            raise UserError(f"source {request.name}: column {check.column.name} of {source.address} has {int(number):,} {check.sentence}")
    sized = {column.name: _sized(column, *pair) for column, pair in zip(wide, zip(sizes[::2], sizes[1::2], strict=True), strict=True)}
    return Survey(rows, [sized.get(column.name, column) for column in columns], partition, _distinct(cuts))


def between(found: Survey) -> list[str]:
    """Return the conditions of the parts: each row fulfils exactly one, null and NaN included."""
    if not found.partition or not found.bounds:
        return ["true"]
    name, bounds = found.partition.sql, [literal(bound) for bound in found.bounds]
    inner = [f"{name} >= {low} AND {name} < {high}" for low, high in pairwise(bounds)]
    return [f"({name} < {bounds[0]} OR {name} IS NULL)", *inner, f"{name} >= {bounds[-1]}"]


def _partition(source: PostgresqlSource, request: Request, columns: list[Column]) -> Column | None:
    if source.partition is None:
        return None
    found = named(request, columns, source.partition, "partition")
    if found.array or found.kind not in RANGED:
        raise UserError(
            f"source {request.name}: column {found.name} is of type {found.kind}, which has no ranges to read side by side: "
            f"name a column of numbers or times under sources.{request.name}.partition"
        )
    return found


def _checks(column: Column) -> Iterator[Check]:
    name, kind = column.sql, column.kind
    if column.array:
        yield Check(column, f"array_ndims({name}) > 1", "arrays of several dimensions, of which Parquet has none: read to_jsonb() of them in a query")
    if kind == "numeric" and not column.array:
        yield Check(
            column, f"{name} - {name} <> 0", "values of NaN or infinity, which are no decimals: read it ::double precision in a query, or null"
        )
    if kind == "date" or kind.startswith("timestamp"):
        last = "'infinity'" if kind == "date" else LAST
        held = f"{last} <= ANY({name}) OR '-infinity' = ANY({name})" if column.array else f"{name} >= {last} OR {name} = '-infinity'"
        yield Check(
            column, held, f"values of infinity, which is no {kind.partition(' ')[0]} elsewhere: read nullif({column.name}, 'infinity') in a query"
        )


def _bounds(source: PostgresqlSource, connection: Connection, relation: str, condition: str, partition: Column | None) -> str:
    """Return SQL of values that cut the rows into parts of about one size. Of many rows a sample is enough, the same each time."""
    if partition is None:
        return "NULL"
    ((plan,),) = query(connection, f"EXPLAIN (FORMAT JSON) SELECT FROM {relation} WHERE {condition}")
    estimate = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]["Plan Rows"]
    query(connection, "SELECT setseed(0)")
    sample = f"FILTER (WHERE random() < {SAMPLE / estimate})" if estimate > SAMPLE else ""
    shares = ", ".join(str(number / source.partitions) for number in range(1, source.partitions))
    return f"(percentile_disc(ARRAY[{shares}]) WITHIN GROUP (ORDER BY {partition.sql}) {sample})::text[]"


def _sized(column: Column, greatest: str | None, scale: str | None) -> Column:
    """Make a numeric that names no scale a decimal with the greatest one found, if all values fit."""
    digits = len(greatest or "")
    return replace(column, decimal=(DIGITS, int(scale or 0)) if digits + int(scale or 0) <= DIGITS else None)


def _distinct(cuts: list[str] | None) -> list[str]:
    """Return each bound once, in the order given."""
    return list(dict.fromkeys(cut for cut in cuts or [] if cut is not None))
