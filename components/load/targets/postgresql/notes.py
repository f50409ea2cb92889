"""Which runs' rows tables have: the table `mlops_loads` of the same schema."""

from typing import Any

from components.load.request import Request
from components.load.targets.postgresql.tables import Place, exists

TABLE = "mlops_loads"
COLUMNS = "target text, run_id text, rows bigint NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (target, run_id)"


def is_loaded(cursor: Any, place: Place, run: str) -> bool:
    """Tell whether a table has a run's rows."""
    notes = _notes(place)
    if not exists(cursor, notes):
        return False
    cursor.execute(f"SELECT count(*) FROM {notes} WHERE target = $1 AND run_id = $2", (place.table, run))  # noqa: S608
    return bool(cursor.fetchone()[0])


def lock(cursor: Any, place: Place) -> None:
    """Wait for other loads into the schema, and make the table of notes if it is missing."""
    notes = _notes(place)
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (str(notes),))
    if not exists(cursor, notes):
        cursor.execute(f"CREATE TABLE {notes} ({COLUMNS})")


def write(cursor: Any, place: Place, request: Request) -> None:
    """Note that a table has a run's rows."""
    cursor.execute(
        f"INSERT INTO {_notes(place)} (target, run_id, rows) VALUES ($1, $2, $3)",  # noqa: S608
        (place.table, request.run, request.count),
    )


def _notes(place: Place) -> Place:
    return Place(place.schema, TABLE)
