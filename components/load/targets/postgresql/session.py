"""The connection, and what the server says as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import adbc_driver_postgresql.dbapi as adbc

from core.errors import UserError, first_line
from core.postgresql import address, words
from core.targets import PostgresqlTarget

CURES = {
    "22021": "a text holds a zero byte, which PostgreSQL cannot keep: remove it in features()",
    "23505": "a row with this key is there already: let mode: merge take its place, or replace all",
    "42501": "have it granted to the user of PGUSER",
    "42P10": "mode: merge needs a unique index on exactly the columns of the key: create it",
    "53100": "the server's disk is full: make room there, then run again",
}
LOST = ("08", "57P0")  # how the SQLSTATE of an ended connection begins


def connect(target: PostgresqlTarget) -> Any:
    """Open a connection, whose transaction begins with its first statement; the environment says where to and as whom."""
    return adbc.connect(address("mlops", target.service))


@contextmanager
def errors(target: PostgresqlTarget) -> Iterator[None]:
    """Turn an error of the server into a sentence about the target."""
    try:
        yield
    except adbc.Error as error:
        raise UserError(f"{target.address}: {_sentence(error)}") from error


def _sentence(error: Any) -> str:
    said = ". ".join(words(error, "primary", "detail")) or first_line(error)
    if "Failed to connect" in said:
        why = said.partition("Failed to connect: ")[2]
        return f"no connection ({why}): start the server, or correct PGHOST, PGPORT, PGDATABASE, PGUSER and PGPASSWORD"
    if "Can't map Arrow type" in said:
        return "a column is a mapping, which a table cannot hold: take its parts apart in features()"
    if error.sqlstate is None or error.sqlstate.startswith(LOST):
        return f"the connection was lost ({said.rpartition('] ')[2]}): run again; what the server took before that is not taken twice"
    return f"{said}: {CURES.get(error.sqlstate, 'correct it, then run again')}; the table is as it was"
