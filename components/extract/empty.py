"""The contract's columns in Arrow, and a table of no rows of them, for a source that has nothing new."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.extract.delivery import Request
from core.contract import Contract

if TYPE_CHECKING:
    import pyarrow as pa

NAME = ".empty.parquet"  # no object, table or topic of a source is called so


def empty(request: Request) -> Path:
    """Write a Parquet file of no rows into the request's folder.

    Returns:
        The file: the one of a delivery of format `parquet`.
    """
    import pyarrow.parquet as pq

    path = request.folder / NAME
    pq.write_table(schema(request.contract).empty_table(), path)
    return path


def schema(contract: Contract) -> "pa.Schema":
    """Return the columns that a contract names, with the types that they have where a source knows none of its own."""
    import pyarrow as pa

    types = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "string": pa.string(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "date": pa.date32(),
    }
    return pa.schema([(name, types[column.type]) for name, column in contract.columns.items()])
