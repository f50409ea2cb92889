"""A table of a PostgreSQL database: the rows into a temporary table, then into the table, in one transaction with a note of the run.

A replacement deletes and inserts: whoever reads meanwhile sees the old rows, however long; after a TRUNCATE or a new table he would see none.
"""

from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.load.request import Request
from components.load.targets.postgresql import notes
from components.load.targets.postgresql.session import connect, errors
from components.load.targets.postgresql.tables import LONGEST_NAME, STAGED, STAGING, Place, find, listed, make
from core.errors import UserError
from core.postgresql import WATCH_CLIENT
from core.tables import identifier
from core.targets import PostgresqlTarget

BATCH = 65_536  # rows


def send(target: PostgresqlTarget, request: Request) -> bool:
    """Write the rows and the note of the run in one transaction, which ends with the connection if it is not committed."""
    with errors(target), closing(connect(target)) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")  # after a lock, see what those did who had it before
        cursor.execute("SET LOCAL tcp_keepalives_idle = 60")  # a machine that has gone without a word holds its lock no longer
        cursor.execute(WATCH_CLIENT)
        place = find(cursor, target)
        if notes.is_loaded(cursor, place, request.run):
            return False
        names = _stage(cursor, target, request)
        _check_key(cursor, target, names)
        notes.lock(cursor, place)
        if notes.is_loaded(cursor, place, request.run):
            return False
        make(cursor, target, place)
        _insert(cursor, target, place, names)
        notes.write(cursor, place, request)
        connection.commit()
    return True


def _stage(cursor: Any, target: PostgresqlTarget, request: Request) -> list[str]:
    """Copy the rows into a table of this session. The types are the driver's, made of Arrow's."""
    with pq.ParquetFile(request.rows) as file:
        schema = file.schema_arrow
        long = [name for name in schema.names if len(name.encode()) > LONGEST_NAME]
        if long:
            raise UserError(f"{target.address}: the column's name {long[0]} is longer than the {LONGEST_NAME} bytes of PostgreSQL: shorten it")
        cursor.adbc_ingest(STAGING, pa.RecordBatchReader.from_batches(schema, file.iter_batches(BATCH)), mode="create", temporary=True)
        return list(schema.names)


def _check_key(cursor: Any, target: PostgresqlTarget, names: list[str]) -> None:
    """Refuse rows that the key of a merge does not tell apart."""
    if not target.key:
        return
    missing = [name for name in target.key if name not in names]
    if missing:
        raise UserError(f"{target.address}: there is no column {', '.join(missing)} of its key: let features() make it or correct the key")
    key, empty = listed(target.key), " OR ".join(f"{identifier(name)} IS NULL" for name in target.key)
    cursor.execute(f"SELECT count(*) FROM {STAGED} WHERE {empty}")  # noqa: S608
    nulls = cursor.fetchone()[0]
    if nulls:
        raise UserError(f"{target.address}: {nulls:,} rows have a null in the key ({', '.join(target.key)}): choose columns without nulls")
    cursor.execute(f"SELECT count(*) OVER (), {key} FROM {STAGED} GROUP BY {key} HAVING count(*) > 1 ORDER BY {key} LIMIT 1")  # noqa: S608
    twice = cursor.fetchone()
    if twice:
        example = ", ".join(f"{name} {value}" for name, value in zip(target.key, twice[1:], strict=True))
        raise UserError(f"{target.address}: {twice[0]:,} keys are those of several rows, such as {example}: choose a key that no two rows share")


def _insert(cursor: Any, target: PostgresqlTarget, place: Place, names: list[str]) -> None:
    others = [identifier(name) for name in names if name not in (target.key or ())]
    change = f"UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in others)}" if others else "NOTHING"
    conflict = f" ON CONFLICT ({listed(target.key)}) DO {change}" if target.key else ""
    if target.mode == "replace":
        cursor.execute(f"DELETE FROM {place}")  # noqa: S608
    cursor.execute(f"INSERT INTO {place} ({listed(names)}) SELECT {listed(names)} FROM {STAGED}{conflict}")  # noqa: S608
