"""Tables: DuckDB within a memory limit, Parquet in and out."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from core.bundle import Input, frame
from core.config import UseCase
from core.errors import UserError, first_line

if TYPE_CHECKING:
    import pandas as pd

THREADS = 2
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
        settings: dict[str, Any] = {"memory_limit": memory, "threads": THREADS, "temp_directory": folder}
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


def examples(path: str | Path, usecase: UseCase, split: str, reads: tuple[Input, ...] | None = None) -> tuple["pd.DataFrame", NDArray[Any]]:
    """Read the rows of one split.

    Args:
        path: The table that transform made.
        usecase: The use case.
        split: train, validation or test.
        reads: The model's inputs, if other than the use case's.

    Returns:
        The model's inputs, one column each, and the target; n rows.

    Raises:
        UserError: There are no such rows, or a column is missing.
    """
    import pyarrow.parquet as pq

    wanted = reads or inputs(usecase)
    missing = {item.name for item in wanted} - set(pq.read_schema(path).names)
    if missing:
        raise UserError(f"the table has no column {', '.join(sorted(missing))}: let features() make it")
    table = pq.read_table(path, columns=[item.name for item in wanted] + [usecase.target], filters=[("split", "=", split)])
    if not table.num_rows:
        raise UserError(f"there are no {split} rows: deliver more data or change the shares under split")
    try:
        data = {item.name: table.column(item.name).to_numpy() for item in wanted}
        return frame(data, wanted), _target(table.column(usecase.target).to_numpy(), usecase)
    except (TypeError, ValueError) as error:
        raise UserError(f"a numeric feature holds no numbers ({error}): name it under features.categorical or convert it in features()") from error


def _target(values: NDArray[Any], usecase: UseCase) -> NDArray[Any]:
    if usecase.task == "regression":
        return values.astype(np.float64)
    return values.astype(str) if values.dtype == object else values
