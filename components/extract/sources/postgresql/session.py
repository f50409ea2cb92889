"""Transactions that only read: one that holds the locks and the snapshot, others that read in it."""

import difflib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import psycopg
from psycopg.pq import TransactionStatus

from components.extract.delivery import Request
from core.errors import UserError
from core.postgresql import WATCH_CLIENT, address
from core.sources import PostgresqlSource
from core.tables import identifier, literal

Connection = psycopg.Connection[tuple[Any, ...]]
PULSE = 10.0  # seconds between two signs of life to the transaction that holds the snapshot
SETTINGS = {
    "lock_timeout": "10s",  # who changes a table waits for us and all others for him
    "idle_in_transaction_session_timeout": "60s",
    "synchronize_seqscans": "off",  # these two: each run reads the rows in the same order
    "max_parallel_workers_per_gather": "0",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
}


@dataclass(frozen=True)
class Snapshot:
    """What all transactions of one delivery see."""

    name: str  # by which the server knows it
    content: str  # of pg_current_snapshot()


def configured(source: PostgresqlSource) -> None:
    """Check that the environment says where the server is.

    Raises:
        UserError: It does not.
    """
    if not (source.service or any(os.environ.get(name) for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"))):
        raise UserError(f"{source.address}: PostgreSQL is not configured: set PGHOST, PGDATABASE, PGUSER and PGPASSWORD")


@contextmanager
def coordinator(source: PostgresqlSource, request: Request) -> Iterator[Connection]:
    """Open the transaction that keeps the tables as they are and exports a snapshot.

    It is READ COMMITTED: a snapshot taken before the locks would find a table empty that was just being filled anew by TRUNCATE and INSERT.
    """
    with psycopg.connect(_address(source, request)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = True
        connection.execute(_settings(source))
        connection.execute(WATCH_CLIENT)
        with _pulse(connection):
            yield connection


@contextmanager
def reader(source: PostgresqlSource, request: Request, snapshot: Snapshot) -> Iterator[Connection]:
    """Open a transaction that sees the snapshot."""
    with psycopg.connect(_address(source, request), autocommit=True) as connection:
        for statement in _entry(source, snapshot):
            connection.execute(statement)
        yield connection


@contextmanager
def arrow_readers(source: PostgresqlSource, request: Request, snapshot: Snapshot, number: int) -> Iterator[list[adbc.Connection]]:
    """Open transactions that see the snapshot, for Arrow batches."""
    with ExitStack() as stack:
        first = stack.enter_context(adbc.connect(_address(source, request), autocommit=True))
        # the others share what the first has learnt of the server's types, most of the cost of a connection
        connections = [first, *(stack.enter_context(first.adbc_clone()) for _ in range(number - 1))]
        for connection in connections:
            with connection.cursor() as cursor:
                for statement in _entry(source, snapshot):
                    cursor.execute(statement)
        yield connections


def query(connection: Connection, text: str) -> list[tuple[Any, ...]]:
    """Run a statement of which the user wrote a part: as one of the extended protocol, which takes no second one after it."""
    return connection.execute(text, binary=True).fetchall()


def relation(source: PostgresqlSource, request: Request, connection: Connection) -> str:
    """Return what the source names, as SQL that can stand after FROM.

    Raises:
        UserError: There is no such table.
    """
    if source.query:
        text = source.query.rstrip().rstrip(";")
        return f"(\n{text}\n) AS source"  # on lines of its own: it may end with a comment
    parts = [quoted.replace('""', '"') or plain for quoted, plain in re.findall(r'"((?:[^"]|"")+)"|([^."]+)', str(source.table))]
    name = ".".join(identifier(part) for part in parts)
    if query(connection, f"SELECT to_regclass({literal(name)}) IS NULL")[0][0]:
        raise UserError(f"source {request.name}: there is no table {source.table} in {_database(connection)}{_close(connection, parts)}")
    return f"{name} AS source"


def export(connection: Connection) -> Snapshot:
    """Take a snapshot, which lives as long as this transaction."""
    ((name, content),) = query(connection, "SELECT pg_export_snapshot(), pg_current_snapshot()::text")
    return Snapshot(name, content)


def _address(source: PostgresqlSource, request: Request) -> str:
    return address(f"mlops {request.usecase} {request.name}", source.service, client_encoding="UTF8", tcp_user_timeout=60_000)


def _settings(source: PostgresqlSource) -> str:
    values = SETTINGS | {"statement_timeout": f"{source.timeout}s"}
    return f"SELECT {', '.join(f'set_config({literal(name)}, {literal(value)}, true)' for name, value in values.items())}"


def _entry(source: PostgresqlSource, snapshot: Snapshot) -> tuple[str, ...]:
    return (
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        f"SET TRANSACTION SNAPSHOT {literal(snapshot.name)}",
        _settings(source),
        WATCH_CLIENT,
    )


@contextmanager
def _pulse(connection: Connection) -> Iterator[None]:
    """Keep the transaction from being ended as idle, and let an error be its own if it was lost: without it there is no snapshot."""
    ended = threading.Event()

    def beat() -> None:
        with suppress(psycopg.Error):
            while not ended.wait(PULSE):
                connection.execute("SELECT 1")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    except (psycopg.Error, adbc.Error):
        if connection.info.transaction_status != TransactionStatus.INERROR:
            connection.execute("SELECT 1")
        raise
    finally:
        ended.set()
        thread.join()


def _database(connection: Connection) -> str:
    return f"the database {connection.info.dbname} at {connection.info.host}"


def _close(connection: Connection, parts: list[str]) -> str:
    """Say which table is likely meant."""
    rows = connection.execute(
        "SELECT n.nspname, c.relname, pg_table_is_visible(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    ).fetchall()
    known = {table: table for _, table, visible in rows if visible} | {f"{schema}.{table}": f"{schema}.{table}" for schema, table, _ in rows}
    wanted = ".".join(parts)
    same = [name for name in known if wanted.lower() in (name.lower(), name.lower().rpartition(".")[2])]
    near = same or difflib.get_close_matches(wanted, known, n=1)
    return f": did you mean {near[0]}?" if near else f": correct it, or set PGDATABASE (it has {len(rows)} tables and views)"
