"""Tables: DuckDB within a memory limit, Parquet in and out."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from core.bundle import Input
from core.config import UseCase
from core.errors import UserError, first_line
from core.frozen import count

THREADS = 2
ROOM = "128MB"  # below it one thread: each holds rows until it is their turn
SPLITS = ("train", "validation", "test")


@contextmanager
def connect(memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB that keeps to the memory limit and spills to a temporary folder beyond it.

    Args:
        memory: The limit, such as 512MB.

    Raises:
        UserError: The disk or the memory does not suffice.
    """
    with tempfile.TemporaryDirectory() as folder:
        threads = THREADS if count(memory) >= count(ROOM) else 1
        settings: dict[str, Any] = {"memory_limit": memory, "threads": threads, "temp_directory": folder}
        connection = duckdb.connect(config=settings)
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        except duckdb.OutOfMemoryException as error:
            raise UserError(f"the tables do not fit into limits.memory {memory}: set a greater one") from error
        except duckdb.IOException as error:
            if "Could not read" in str(error):
                raise  # a damaged file: the reader knows whose it is
            raise UserError(f"reading or writing a table failed: {first_line(error)}: make room on the disk, then run again") from error
        finally:
            connection.close()


def identifier(name: str) -> str:
    """Quote a column's or table's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: object) -> str:
    """Quote a text for SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def columns(connection: duckdb.DuckDBPyConnection, path: str | Path) -> dict[str, str]:
    """Return the columns of a Parquet file and DuckDB's types of them."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM read_parquet({literal(path)})").fetchall()}


def inputs(usecase: UseCase) -> tuple[Input, ...]:
    """Return what the model reads, in its order."""
    return tuple(Input(name, "FP64") for name in usecase.features.numeric) + tuple(Input(name, "BYTES") for name in usecase.features.categorical)
