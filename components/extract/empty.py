"""A table of no rows, for a source that has nothing new: with the columns and types that the contract names."""

from pathlib import Path

from components.extract.delivery import Request

NAME = ".empty.parquet"  # no object, table or topic of a source is called so


def empty(request: Request) -> Path:
    """Write a Parquet file of no rows into the request's folder.

    Returns:
        The file: the one of a delivery of format `parquet`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "integer": pa.int64(),
        "number": pa.float64(),
        "string": pa.string(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "date": pa.date32(),
    }
    columns = [pa.field(name, types[column.type]) for name, column in request.contract.columns.items()]
    path = request.folder / NAME
    pq.write_table(pa.schema(columns).empty_table(), path)
    return path
