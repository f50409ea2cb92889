"""DuckDB: within a memory limit, beyond it on the disk."""

import re
from pathlib import Path

import duckdb
import ibis
import ibis.expr.operations as ops
from ibis import Table
from ibis.backends.sql.datatypes import DuckDBType

from components.transform.engines import Wrong
from core.errors import first_line
from core.portable import depends_on_order
from core.tables import THREADS, identifier, path_literal, write_parquet

MISTAKES = (duckdb.BinderException, duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException, duckdb.ParserException)

# DuckDB's // is a division of floats and then a cast.
DIVIDED = re.compile(r"division by zero|with value -?(?:nan|inf) can't be cast", re.IGNORECASE)
NO_INTEGER = "it divides by zero, or makes an integer of NaN or infinity: write .nullif(0) on the divisor, such as _.a // _.b.nullif(0)"


def run(expression: Table, raw: dict[str, Path], target: Path, connection: duckdb.DuckDBPyConnection) -> None:
    """Write the expression's table.

    What depends on the order of rows, such as a sum of floating point numbers, is left to one thread: then it is the same each time.

    Args:
        expression: Of tables called as in `raw`, and of `ibis.memtable`s.
        raw: The Parquet file of each table.
        target: The Parquet file to write.
        connection: Whose limits hold.

    Raises:
        Wrong: The expression fails.
    """
    for name, path in raw.items():
        connection.execute(f"CREATE TEMP VIEW {identifier(name)} AS FROM read_parquet({path_literal(path)})")
    lookups = expression.op().find(ops.InMemoryTable)
    for lookup in lookups:
        connection.register(lookup.name, lookup.data.to_pyarrow(lookup.schema))
    ordered = depends_on_order(expression)
    connection.execute(f"SET threads = {1 if ordered else THREADS}; SET preserve_insertion_order = {str(ordered).lower()}")
    try:
        write_parquet(connection, query(expression), target, len(expression.columns), compression="uncompressed")
    except MISTAKES as error:
        raise Wrong(NO_INTEGER if DIVIDED.search(str(error)) else first_line(error)) from error
    finally:
        for lookup in lookups:
            connection.unregister(lookup.name)
        for name in raw:  # a source may be called as one of transform's own views
            connection.execute(f"DROP VIEW {identifier(name)}")
        connection.execute(f"SET threads = {THREADS}; SET preserve_insertion_order = true")


def query(expression: Table) -> str:
    """Compile, and hold the engine to the expression's own types: a sum of integers is wider in DuckDB, and Parquet would make it a float."""
    typed = ", ".join(f"{identifier(name)}::{DuckDBType.to_string(kind)} AS {identifier(name)}" for name, kind in expression.schema().items())
    return f"SELECT {typed} FROM ({ibis.to_sql(expression, dialect='duckdb')})"  # noqa: S608
