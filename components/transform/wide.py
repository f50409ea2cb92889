"""A table of thousands of columns: its row numbers are sorted, then its columns follow in slices.

DuckDB sorts whole rows and holds buffers for each of their columns. Of ten thousand columns these are gigabytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.tables import identifier, view_columns, write_parquet

SLICE = 500  # columns that are sorted at a time
ROW = identifier("transform:row")
MIX = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: odd, so that no hash of an earlier slice is lost

Columns = Mapping[str, str]  # the SQL of each column


def write_wide(
    connection: duckdb.DuckDBPyConnection, source: str, columns: Columns, order: Sequence[str], split: tuple[str, str], target: Path, folder: Path
) -> list[Path]:
    """Write rows with their split, as `SELECT columns, split FROM source ORDER BY order, hash of all columns` would.

    Args:
        connection: Where the SQL runs. It has the view `outline`.
        source: The rows, for FROM.
        columns: The columns of the table.
        order: The SQL by which rows are ordered, of columns of `outline` and of the first columns.
        split: The SQL of a row's split, and what it needs to be joined with.
        target: The Parquet file. It has no statistics but those of `split`.
        folder: Where the slices are written.

    Returns:
        The Parquet files of the slices, which have DuckDB's statistics of every column.
    """
    names, slices = list(columns), list[Path]()
    _order(connection, source, columns, order, split)
    for start in range(0, len(names), SLICE):
        slices.append(folder / f"{start}.parquet")
        some = names[start : start + SLICE]
        query = f"SELECT {_listed(columns, some)} FROM {_numbered(source, some)} JOIN row_order USING ({ROW}) ORDER BY position"  # noqa: S608
        write_parquet(connection, query, slices[-1], len(columns), compression="uncompressed")
    _join(slices, connection.sql("SELECT split FROM row_order ORDER BY position").to_arrow_table(), target)
    return slices


def _order(connection: duckdb.DuckDBPyConnection, source: str, columns: Columns, order: Sequence[str], split: tuple[str, str]) -> None:
    """Make the table `row_order`: the number of each row, its split and its position."""
    needed = dict.fromkeys((*view_columns(connection, "outline"), *list(columns)[: len(order)]))
    connection.execute(f"CREATE TEMP TABLE keys AS SELECT {ROW}, {_listed(columns, needed)} FROM {_numbered(source, needed)}")  # noqa: S608
    rows, different = connection.execute(f"SELECT count(*), count(DISTINCT hash({', '.join(order)})) FROM keys").fetchall()[0]  # noqa: S608
    hashes = np.zeros(rows, np.uint64) if different == rows else _hashes(connection, source, columns)
    connection.register("row_hashes", pa.table({"row": np.arange(rows), "hash": hashes}))
    value, cuts = split
    position = f"row_number() OVER (ORDER BY {', '.join(f'{key} ASC NULLS LAST' for key in order)}, row_hashes.hash)"
    joined = f"keys {cuts} JOIN row_hashes ON row_hashes.row = {ROW}"
    connection.execute(f"CREATE TEMP TABLE row_order AS SELECT {ROW}, {value} AS split, {position} AS position FROM {joined}")  # noqa: S608
    connection.unregister("row_hashes")


def _hashes(connection: duckdb.DuckDBPyConnection, source: str, columns: Columns) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Return a hash of each row, in the order of the source."""
    sql, hashes = list(columns.values()), np.zeros(1, np.uint64)
    for start in range(0, len(sql), SLICE):
        query = f"SELECT hash({', '.join(sql[start : start + SLICE])}) AS hash FROM {source}"  # noqa: S608
        hashes = hashes * MIX + connection.execute(query).fetchnumpy()["hash"]
    return hashes


def _join(slices: Sequence[Path], splits: pa.Table, target: Path) -> None:
    """Put the columns of the slices, which have the same row groups, and the split beside each other."""
    with ExitStack() as stack:
        files = [stack.enter_context(pq.ParquetFile(path)) for path in slices]
        fields = [field.with_nullable(True) for file in files for field in file.schema_arrow] + [pa.field("split", pa.string(), nullable=False)]
        schema, start = pa.schema(fields), 0
        writer = stack.enter_context(pq.ParquetWriter(target, schema, compression="zstd", use_dictionary=["split"], write_statistics=["split"]))
        for group in range(files[0].num_row_groups):
            parts = [file.read_row_group(group) for file in files]
            rows = parts[0].num_rows
            columns = [column for part in (*parts, splits.slice(start, rows)) for column in part.columns]
            writer.write_table(pa.table(columns, schema=schema))
            start += rows


def _numbered(source: str, names: Iterable[str]) -> str:
    return f"(SELECT {', '.join(map(identifier, names))}, row_number() OVER () - 1 AS {ROW} FROM {source})"  # noqa: S608


def _listed(columns: Columns, names: Iterable[str]) -> str:
    return ", ".join(f"{columns[name]} AS {identifier(name)}" for name in names)
