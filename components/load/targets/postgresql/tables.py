"""The table that rows go to: found, or made as the rows are."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from core.errors import UserError
from core.tables import identifier
from core.targets import PostgresqlTarget

STAGING = "mlops_staging"  # temporary, so each session has its own
STAGED = f"pg_temp.{STAGING}"
LONGEST_NAME = 63  # bytes; the server cuts longer ones
WIDER = {  # what a column of the table may be, besides the rows' own type, without a loss
    "smallint": ("integer", "bigint", "numeric"),
    "integer": ("bigint", "numeric"),
    "bigint": ("numeric",),
    "real": ("double precision",),
}


class Place(NamedTuple):
    """A table and its schema."""

    schema: str
    table: str

    def __str__(self) -> str:
        """Return the name for SQL."""
        return f"{identifier(self.schema)}.{identifier(self.table)}"


def find(cursor: Any, target: PostgresqlTarget) -> Place:
    """Return where the table is, or will be.

    Raises:
        UserError: There is no such schema.
    """
    schema, _, table = target.table.rpartition(".")
    cursor.execute("SELECT coalesce(nullif($1, ''), current_schema())", (schema,))
    found = Place(cursor.fetchone()[0] or "", table)
    cursor.execute("SELECT to_regnamespace($1) IS NOT NULL", (identifier(found.schema),))
    if not cursor.fetchone()[0]:
        raise UserError(f"{target.address}: there is no schema {found.schema}: create it or correct the name")
    return found


def exists(cursor: Any, place: Place) -> bool:
    """Tell whether there is such a table."""
    return _oid(cursor, place) is not None


def make(cursor: Any, target: PostgresqlTarget, place: Place) -> None:
    """Make the table, or look whether the one that is there takes the rows.

    Raises:
        UserError: It has other columns.
    """
    if not exists(cursor, place):
        key = f", PRIMARY KEY ({listed(target.key)})" if target.key else ""
        cursor.execute(f"CREATE TABLE {place} (LIKE {STAGED}{key})")
        return
    there, here = _columns(cursor, place), _columns(cursor, _staging(cursor))
    wrong = [
        f"{name} {there.get(name, 'missing')} there, {here.get(name, 'missing')} here"
        for name in sorted(there.keys() | here.keys())
        if not _takes(there.get(name), here.get(name))
    ]
    if wrong:
        raise UserError(f"{target.address} has other columns ({'; '.join(wrong)}): change the table, or load to another one")


def listed(names: Iterable[str]) -> str:
    """Return columns for SQL."""
    return ", ".join(map(identifier, names))


def _oid(cursor: Any, place: Place) -> int | None:
    """Look into the catalogue itself: to_regclass() may remember that there was no table before a lock was waited for."""
    query = "SELECT c.oid::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2"
    cursor.execute(query, (place.schema, place.table))
    found = cursor.fetchone()
    return found[0] if found else None


def _staging(cursor: Any) -> Place:
    cursor.execute("SELECT nspname FROM pg_namespace WHERE oid = pg_my_temp_schema()")
    return Place(cursor.fetchone()[0], STAGING)


def _columns(cursor: Any, place: Place) -> dict[str, str]:
    query = "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = $1::bigint::oid AND attnum > 0 AND NOT attisdropped"
    cursor.execute(query, (_oid(cursor, place),))
    return dict(cursor.fetchall())


def _takes(there: str | None, here: str | None) -> bool:
    if there is None or here is None:
        return False
    return there == here or there in WIDER.get(here, ()) or (here == "text" and there.startswith("character varying"))
