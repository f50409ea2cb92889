"""Tables: DuckDB within a memory limit, Parquet in and out."""

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from core.bundle import Input
from core.config import UseCase
from core.errors import UserError, first_line
from core.resources import count

THREADS = 2
WIDE = 1_000  # columns, from which on one thread works: each holds 2,048 values of every column, in several vectors
ROOM = "128MB"  # below it one thread: each holds rows until it is their turn
FULL = re.compile("No space left|Disk quota exceeded|max_temp_directory_size")  # the last one is of what was free when DuckDB began to spill
PATTERN = re.compile(r"[*?[]")  # what DuckDB's readers take for a pattern of file names
FILE = re.compile(r'file \\*"([^"\\]+)')  # within JSON its quotes have a backslash
LEAST_ROWS, MOST_ROWS = 2_048, 122_880  # of a row group: DuckDB's vector and its default
GROUP = MOST_ROWS * 100  # values of a row group
FLOATS = ("FLOAT", "DOUBLE")
SPLITS = ("train", "validation", "test")


def splits(named: str) -> tuple[str, ...]:
    """Return the splits that a name stands for: one of them, several with a plus between them, or `all`."""
    return SPLITS if named == "all" else tuple(named.split("+"))


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
            connection.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
            yield connection
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            if full := without_room(error):
                raise UserError(full) from error
            if isinstance(error, duckdb.OutOfMemoryException):
                raise UserError(f"the tables do not fit into limits.memory {memory}: set a greater one") from error
            if "Could not read" in str(error):
                raise  # a damaged file: the reader knows whose it is
            raise UserError(f"reading or writing a table failed: {first_line(error)}: look whether its disk can be read and written") from error
        finally:
            connection.close()


def without_room(error: duckdb.Error) -> str | None:
    """Return which disk is full and what to do, if that is what DuckDB says; the names of its own files say nothing to a user."""
    if not FULL.search(str(error)):
        return None
    found, spilling = FILE.search(str(error)), Path(tempfile.gettempdir())
    file = Path(found[1]) if found else spilling / "spilt"
    if file.is_relative_to(spilling) and _disk(file) == _disk(spilling / "spilt"):
        return f"the disk of {spilling}, to which tables spill, is full: make room there or set TMPDIR to a folder of another disk, then run again"
    return f"the disk at {_disk(file)} is full: make room there, then run again"


def _disk(file: Path) -> Path:
    """Return where the disk of a file is mounted."""
    return next(folder for folder in file.resolve().parents if folder.is_mount())


def identifier(name: str) -> str:
    """Quote a column's or table's name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def known(name: str, kind: str) -> str:
    """Return SQL of a column's value, null where it is NaN.

    Args:
        name: The column.
        kind: DuckDB's type of it.
    """
    return f"nullif({identifier(name)}, 'nan')" if kind in FLOATS else identifier(name)


def literal(value: object) -> str:
    """Quote a text for SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def path_literal(path: object, below: str = "") -> str:
    """Quote the path of a file that DuckDB reads, so that it means this file alone.

    A reader expands `*`, `?` and `[` even if a file of that name exists. COPY TO does not: quote its target with `literal`.

    Args:
        path: The file or folder.
        below: A pattern of names in that folder, such as `/*.parquet`.

    Raises:
        UserError: The path has a backslash beside such a sign: patterns of DuckDB match no backslash.
    """
    if "\\" in str(path) and PATTERN.search(str(path)):
        raise UserError(f"DuckDB cannot read {path}, whose name has a backslash beside *, ? or [: rename it")
    return literal(PATTERN.sub(r"[\g<0>]", str(path)) + below)


def write_parquet(connection: duckdb.DuckDBPyConnection, query: str, target: Path, columns: int, compression: str = "zstd") -> None:
    """Write the rows of a query as one Parquet file.

    Args:
        connection: Where the query runs.
        query: A SELECT.
        target: The file.
        columns: How many it has: the more, the fewer rows are in a row group, which the writer holds in memory.
        compression: Of Parquet.
    """
    if columns > WIDE:
        connection.execute("SET threads = 1")
    rows = max(LEAST_ROWS, min(MOST_ROWS, GROUP // max(columns, 1)))
    options = f"FORMAT parquet, COMPRESSION {compression}, ROW_GROUP_SIZE {rows}"
    connection.execute(f"COPY ({query}) TO {literal(target)} ({options})")


def columns(connection: duckdb.DuckDBPyConnection, path: str | Path) -> dict[str, str]:
    """Return the columns of a Parquet file and DuckDB's types of them."""
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM read_parquet({path_literal(path)})").fetchall()}


def finite_columns(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> dict[str, int]:
    """Return the columns that hold no NaN and no infinite number, by the statistics in Parquet files, and how many nulls each has.

    Only DuckDB's files tell: it writes no least or greatest value for a row group that holds NaN, an infinite number, or nulls alone.
    A column that is not returned may be finite as well.
    """
    listed = ", ".join(map(path_literal, paths))
    complete = "bool_and(stats_min_value IS NOT NULL AND stats_max_value IS NOT NULL)"
    own = f"SELECT file_name FROM parquet_file_metadata([{listed}]) WHERE created_by LIKE 'DuckDB %'"  # noqa: S608
    statistics = f"parquet_metadata([{listed}]) WHERE file_name IN ({own})"
    query = f"SELECT path_in_schema, sum(stats_null_count)::BIGINT FROM {statistics} GROUP BY 1 HAVING {complete}"  # noqa: S608
    return dict(connection.execute(query).fetchall())


def view_columns(connection: duckdb.DuckDBPyConnection, name: str) -> dict[str, str]:
    """Return the columns of a view or table and DuckDB's types of them."""
    query = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index"  # DESCRIBE plans the view anew
    return dict(connection.execute(query, [name]).fetchall())


def inputs(usecase: UseCase) -> tuple[Input, ...]:
    """Return what the model reads, in its order."""
    return tuple(Input(name, "FP64") for name in usecase.features.numeric) + tuple(Input(name, "BYTES") for name in usecase.features.categorical)
