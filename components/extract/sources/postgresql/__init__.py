"""A table or a query of a PostgreSQL database: all parts of one snapshot, or nothing."""

import errno
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import adbc_driver_manager
import psycopg

from components.extract.delivery import Delivery, Request
from components.extract.sources.postgresql import columns, failures, increment, parts, session, survey
from core.errors import UserError
from core.sources import PostgresqlSource

PAUSES = (1.0, 4.0)  # seconds before the second and the third try


def fetch(source: PostgresqlSource, request: Request) -> Delivery:
    """Read a table or a query, from the start and in a new snapshot if the connection breaks.

    Raises:
        UserError: It cannot be read, or not all of it.
    """
    session.configured(source)
    for pause in (*PAUSES, None):
        try:
            return _read(source, request)
        except (psycopg.Error, adbc_driver_manager.Error) as error:
            if pause is None or not failures.may_pass(error):
                raise failures.sentence(source, request, error) from error
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(f"source {request.name}: no space left on the disk for {source.address}: make room, then run again") from error
        time.sleep(pause)
    raise AssertionError  # the last try has returned or raised


def _read(source: PostgresqlSource, request: Request) -> Delivery:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with session.coordinator(source, request) as connection:
        relation = session.relation(source, request, connection)
        described = columns.describe(source, request, connection, relation)
        step = increment.prepare(source, request, connection, relation, described)
        snapshot = session.export(connection)
        with session.reader(source, request, snapshot) as other:
            found = survey.survey(source, request, other, relation, step.condition, described)
        files = parts.read(source, request, parts.Plan(relation, step.condition, found, snapshot))
        origin = _origin(connection, started, snapshot, found, files) | step.bounds
    return Delivery(files, "parquet", origin, watermark=step.watermark)


def _origin(connection: psycopg.Connection[Any], started: str, snapshot: session.Snapshot, found: survey.Survey, files: list[Path]) -> dict[str, Any]:
    return {
        "host": connection.info.host,
        "database": connection.info.dbname,
        "server": connection.info.parameter_status("server_version"),
        "time": started,
        "snapshot": snapshot.content,
        "rows": found.rows,
        "partitions": len(files),
    }
