"""Only what is new: the rows above the greatest value that the last run has seen."""

import time
from dataclasses import dataclass, field
from typing import Any

from components.extract.delivery import Request
from components.extract.sources.postgresql.columns import Column, named
from components.extract.sources.postgresql.session import Connection, query
from core.errors import UserError
from core.sources import PostgresqlSource
from core.tables import literal

GROWING = ("smallint", "integer", "bigint", "date", "timestamp without time zone", "timestamp with time zone")
PATIENCE = 60.0  # seconds to wait for those who are just writing
WRITERS = """
SELECT other.virtualtransaction, other.pid FROM pg_locks other JOIN pg_locks mine USING (locktype, database, relation)
WHERE locktype = 'relation' AND mine.pid = pg_backend_pid() AND other.pid IS DISTINCT FROM mine.pid AND other.granted AND other.mode IN
    ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock')
"""


@dataclass(frozen=True)
class Step:
    """Which rows are new."""

    condition: str = "true"
    bounds: dict[str, Any] = field(default_factory=dict)  # for the origin
    watermark: dict[str, str] | None = None  # of the next run


def prepare(source: PostgresqlSource, request: Request, connection: Connection, relation: str, columns: list[Column]) -> Step:
    """Find out which rows are new: above the watermark, and not above the greatest value of now.

    A row with a smaller value may still be on its way, in a transaction that has not ended. So those who are writing to the tables now are
    waited for before the snapshot is taken; who begins later draws greater values.

    Raises:
        UserError: The column is none that grows, has nulls, or somebody writes for too long.
    """
    if source.incremental is None:
        return Step()
    column = named(request, columns, source.incremental, "incremental")
    _check(source, request, connection, relation, column)
    identity = _identity(connection) | {"column": column.name}
    before = request.watermark or {}
    known = before.get("value") if {key: before.get(key) for key in identity} == identity else None
    above = f"{column.sql} > {literal(known)}" if known is not None else "true"
    ((newest,),) = query(connection, f"SELECT max({column.sql})::text FROM {relation} WHERE {above}")  # noqa: S608
    _await_writers(source, request, connection)
    if newest is None:
        return Step("false", {"above": known, "up_to": known}, before if known is not None else None)
    return Step(f"{above} AND {column.sql} <= {literal(newest)}", {"above": known, "up_to": newest}, identity | {"value": newest})


def _check(source: PostgresqlSource, request: Request, connection: Connection, relation: str, column: Column) -> None:
    if column.array or column.kind not in GROWING:
        raise UserError(
            f"source {request.name}: column {column.name} is of type {column.kind}, by which nothing new can be told: "
            f"name a column of integers, dates or timestamps under sources.{request.name}.incremental"
        )
    ((nulls,),) = query(connection, f"SELECT count(*) FROM {relation} WHERE {column.sql} IS NULL")  # noqa: S608
    if nulls:
        raise UserError(
            f"source {request.name}: column {column.name} of {source.address} is null in {nulls:,} rows, of which nobody can tell whether they are "
            f"new: fill it, or name another column under sources.{request.name}.incremental"
        )


def _identity(connection: Connection) -> dict[str, str]:
    """Return which database it is: a value of another one says nothing here."""
    ((system, database),) = query(connection, "SELECT system_identifier::text, current_database()::text FROM pg_control_system()")
    return {"system": system, "database": database}


def _await_writers(source: PostgresqlSource, request: Request, connection: Connection) -> None:
    deadline = time.monotonic() + PATIENCE
    writers = dict(query(connection, WRITERS))
    while left := writers.keys() & dict(query(connection, WRITERS)).keys():
        if time.monotonic() > deadline:
            shown = ", ".join(str(writers[key]) for key in sorted(left))
            raise UserError(
                f"source {request.name}: a transaction has been writing to {source.address} for more than {PATIENCE:.0f} s (process {shown}), and "
                "its rows may come below those that are read now: run again when it has ended (pg_stat_activity shows what it does)"
            )
        time.sleep(0.05)
