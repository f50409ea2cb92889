"""The columns of a relation: how PostgreSQL gives each, and what it becomes in Arrow."""

import difflib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from components.extract.delivery import Request
from components.extract.sources.postgresql.session import Connection
from core.errors import UserError
from core.sources import PostgresqlSource
from core.tables import identifier

NATIVE: dict[str, pa.DataType] = {  # by PostgreSQL's format_type; every other type travels as its text
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "text": pa.string(),
    "character varying": pa.string(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "timestamp without time zone": pa.timestamp("us"),
    "timestamp with time zone": pa.timestamp("us", "UTC"),
    "time without time zone": pa.time64("us"),
}
DIGITS = 38  # of the widest decimal in Parquet
CATALOG = """
SELECT format_type(coalesce(inner_type.oid, element.oid, own.oid), NULL),
       format_type(coalesce(inner_type.oid, element.oid, own.oid), coalesce(nullif(element.typtypmod, -1), given.modifier)),
       element.oid IS NOT NULL
FROM unnest(%s::oid[], %s::int[]) WITH ORDINALITY AS given(oid, modifier, place)
JOIN pg_type own ON own.oid = given.oid
LEFT JOIN pg_type element ON element.oid = own.typelem AND element.typarray = own.oid
LEFT JOIN pg_type inner_type ON inner_type.oid = element.typbasetype
ORDER BY place
"""


@dataclass(frozen=True)
class Column:
    """A column of a relation, or of arrays if `array`: then the rest is of their elements."""

    name: str
    kind: str  # PostgreSQL's format_type without its modifier; that of the base of a domain
    array: bool
    decimal: tuple[int, int] | None = None  # digits and scale, of a numeric that Parquet can hold as such

    @property
    def sql(self) -> str:
        """Its name."""
        return f"source.{identifier(self.name)}"

    @property
    def value(self) -> str:
        """SQL of what travels."""
        if self.kind in NATIVE:
            return self.sql
        others = {"numeric": "text" if self.decimal else "double precision", "vector": "real[]"}  # Arrow reads the text faster than ADBC the number
        target = others.get(self.kind.rpartition(".")[2], "text")
        return f"{self.sql}::{target}{'[]' if self.array else ''}"

    @property
    def arrow(self) -> pa.DataType:
        """What it is in the Parquet file."""
        return pa.list_(self._element) if self.array else self._element

    @property
    def _element(self) -> pa.DataType:
        if self.decimal:
            return pa.decimal128(*self.decimal)
        others: dict[str, pa.DataType] = {"numeric": pa.float64(), "vector": pa.list_(pa.float32())}
        return NATIVE.get(self.kind) or others.get(self.kind.rpartition(".")[2], pa.string())


def describe(source: PostgresqlSource, request: Request, connection: Connection, relation: str) -> list[Column]:
    """Ask the server for the columns of a relation. From now on nobody changes its tables while the transaction lasts.

    Raises:
        UserError: Parquet cannot hold them under their names.
    """
    answer = connection.execute(f"SELECT * FROM {relation} LIMIT 0", binary=True)  # noqa: S608
    names = [column.name for column in answer.description or []]
    _check(source, request, names)
    result = answer.pgresult
    types = [[column.type_code for column in answer.description or []], [result.fmod(index) for index in range(len(names))] if result else []]
    found = connection.execute(CATALOG, types).fetchall()
    return [_column(name, *row) for name, row in zip(names, found, strict=True)]


def named(request: Request, columns: list[Column], name: str, key: str) -> Column:
    """Return the column that a key of the source names.

    Raises:
        UserError: There is none of this name.
    """
    for column in columns:
        if column.name == name:
            return column
    close = difflib.get_close_matches(name, [column.name for column in columns], n=1)
    cure = f"did you mean {close[0]}?" if close else f"its columns are {', '.join(column.name for column in columns)}"
    raise UserError(f"source {request.name}: there is no column {name}, which sources.{request.name}.{key} names: {cure}")


def _check(source: PostgresqlSource, request: Request, names: list[str]) -> None:
    if not names:
        raise UserError(f"source {request.name}: {source.address} has no columns: name another table or query")
    twice = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if twice:
        shown = " and ".join(name for name in names if name.lower() == twice[0])
        raise UserError(f"source {request.name}: {source.address} has the columns {shown}, one name in Parquet: rename one in a query (AS)")


def _column(name: str, kind: str, exact: str, array: Any) -> Column:
    given = re.fullmatch(r"numeric\((\d+),(\d+)\)", exact)
    digits, scale = (int(given[1]), int(given[2])) if given else (0, 0)
    return Column(name, kind, array, (digits, scale) if 0 < digits <= DIGITS and scale <= digits else None)
