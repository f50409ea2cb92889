"""One ibis expression from the raw tables to one table, then the split: the same rows in the same order each time."""

import hashlib
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import ibis
import psutil
import pyarrow.parquet as pq
from ibis import Table

from components.transform.engines import Wrong
from components.transform.engines import duckdb as duckdb_engine
from components.transform.key import refuse_bad_key
from components.transform.leakage import refuse_leakage, repeated
from components.transform.split import place, refuse_empty, splitting
from components.transform.values import refuse_unusable
from components.transform.wide import write_wide
from core.classes import positive
from core.config import UseCase
from core.configtext import where
from core.errors import UserError
from core.featurecheck import table_problems
from core.featurecode import table
from core.keys import key_columns
from core.resources import count
from core.tables import FLOATS, SPLITS, WIDE, columns, connect, identifier, known, path_literal, view_columns, write_parquet
from core.tracking import Run

ORDERED = 100  # columns that order the rows; in a wider table a hash of the row follows
NOTED = 0.01  # share of test rows equal to training rows, from which on the summary tells of it


def transform(run: Run, raw: str, target: str, uri: str = "") -> dict[str, Any]:
    """Run `features()` and split its rows.

    Args:
        run: The step's notes.
        raw: Where `<source>.parquet` lies for each source.
        target: Where the table is written.
        uri: Where on S3 the folder `raw` lies as well, if it does: what Spark's executors read.

    Returns:
        The counts of rows and columns.

    Raises:
        UserError: The expression fails, its table is not as the config says, no model can learn from it, or the split would leak.
    """
    part = Path(f"{target}.part")
    try:
        with tempfile.TemporaryDirectory() as folder, connect(run.usecase.limits.memory) as connection:
            _leave_room(run.usecase, connection)
            made = _make(run.usecase, connection, Path(raw), Path(folder, "made.parquet"), uri)
            _check(run.usecase, connection)
            refuse_bad_key(run.usecase, connection)
            _require_positive(run.usecase, connection)
            counts, described = _write(run.usecase, connection, made, part, Path(folder))
            refuse_unusable(run.usecase, connection, part, counts["train"], described)
            refuse_leakage(run.usecase, connection, part)
            repeats = repeated(run.usecase, connection, sum(counts.values()))
            found = columns(connection, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    _note(run, Path(target), counts, found, repeats)
    return {"rows": sum(counts.values()), "columns": len(found)}


def _leave_room(usecase: UseCase, connection: duckdb.DuckDBPyConnection) -> None:
    """Let the limit hold for the whole process: Python, its libraries and what DuckDB does not count take their part of it, three tenths at most."""
    limit = count(usecase.limits.memory)
    connection.execute(f"SET memory_limit = '{max(limit * 7 // 10, limit * 9 // 10 - psutil.Process().memory_info().rss)}B'")


def _make(usecase: UseCase, connection: duckdb.DuckDBPyConnection, raw: Path, made: Path, uri: str) -> str:
    """Let the engine write the table of `features()`, name it `made`, and return it for FROM."""
    files = {name: raw / f"{name}.parquet" for name in usecase.contract}
    try:
        expression = _expression(usecase, files)
        if usecase.spark:
            from components.transform.engines.spark import engine as spark_engine

            spark_engine.run(expression, files, made, usecase.spark, uri)
        else:
            duckdb_engine.run(expression, files, made, connection)
    except Wrong as error:
        raise UserError(f"features() of {usecase.name} fails: {error}: correct usecases/{usecase.name}/features.py") from error
    file = f"read_parquet({path_literal(made, '' if made.is_file() else '/*.parquet')}, can_have_nan = true)"
    _name(usecase, connection, file)
    return file


def _name(usecase: UseCase, connection: duckdb.DuckDBPyConnection, file: str) -> None:
    """Make the view `made`, and the view `outline` of its target, its key and what it is split by.

    In both, equal values have the same bits and any column may have nulls. A query of a view
    costs milliseconds for each column of the view.

    A column without nulls today would get another type in Parquet than tomorrow's: the right side of an outer join may be null, as far as
    DuckDB knows. Its left side is one row if there are any.
    """
    found = {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM {file}").fetchall()}
    outline = {name for name in (usecase.target, usecase.split.column, *key_columns(usecase, found)) if name}
    for view, names in (("made", list(found)), ("outline", [name for name in found if name in outline])):
        canonical = ", ".join(f"{_canonical(name, found[name])} AS {identifier(name)}" for name in names)
        connection.execute(f"CREATE TEMP VIEW {view} AS SELECT {canonical} FROM (SELECT 1 FROM {file} LIMIT 1) LEFT JOIN {file} ON true")  # noqa: S608


def _expression(usecase: UseCase, files: dict[str, Path]) -> Table:
    """Return the expression of `features()`, which sees the columns that the contract names, and no others."""
    tables = {}
    for name, path in files.items():
        schema = ibis.Schema.from_pyarrow(pq.read_schema(path))  # a writer may call a column without nulls one that can have none
        raw = ibis.table({column: kind(nullable=True) for column, kind in schema.items()}, name)
        tables[name] = raw.select(*usecase.contract[name].columns)
    expression = table(usecase.name, tables)
    lines = [
        f"{where(usecase, path)}: {'.'.join(map(str, path))}: {message}" if path else message for path, message in table_problems(usecase, expression)
    ]
    if lines:
        raise UserError("\n".join(lines))
    return expression


def _canonical(name: str, kind: str) -> str:
    """Let equal values have the same bits: there are two zeros, of which 0 added makes one, and many values that are no numbers."""
    column = identifier(name)
    if kind not in FLOATS:
        return column
    return f"CASE WHEN isnan({column}) THEN 'nan'::{kind} ELSE {column} + 0::{kind} END"


def _check(usecase: UseCase, connection: duckdb.DuckDBPyConnection) -> None:
    found = view_columns(connection, "made")
    for column in filter(None, (usecase.target, usecase.split.column)):
        nulls, rows = connection.execute(f"SELECT count(*) - count({known(column, found[column])}), count(*) FROM outline").fetchall()[0]  # noqa: S608
        if nulls or not rows:
            what = f"{nulls:,} of {rows:,} rows without {column}: filter them out there" if rows else "no rows: look at its filters and joins"
            raise UserError(f"features() of {usecase.name} makes {what}")


def _require_positive(usecase: UseCase, connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse a positive class that is none; more or fewer than two classes are left to train."""
    if usecase.task == "binary":
        found = connection.execute(f"SELECT DISTINCT {identifier(usecase.target)} FROM outline ORDER BY 1 LIMIT 3").fetchall()  # noqa: S608
        if len(found) == 2:
            positive(usecase, [row[0] for row in found])


def _write(usecase: UseCase, connection: duckdb.DuckDBPyConnection, made: str, part: Path, folder: Path) -> tuple[dict[str, int], list[Path]]:
    """Write the rows with their split, in an order over all columns.

    One file with a column: a folder a split would cost more, and a step reads the rows it needs by the column as well.

    Returns:
        The count of rows of each split, and the files that have DuckDB's statistics of the columns.
    """
    split, cuts = splitting(usecase, connection)
    types = view_columns(connection, "made")
    keys, described = [place(usecase, types), *map(identifier, list(types)[:ORDERED])], [part]
    if len(types) > WIDE:
        columns = {name: _canonical(name, kind) for name, kind in types.items()}
        described = write_wide(connection, made, columns, keys, (split, cuts), part, folder)
    else:
        keys += ["hash(made)"] if len(types) > ORDERED else []
        order = ", ".join(f"{key} ASC NULLS LAST" for key in keys)
        query = f"SELECT made.*, {split} AS split FROM made {cuts} ORDER BY {order}"  # noqa: S608
        write_parquet(connection, query, part, len(types) + 1)
    counts = dict(connection.execute(f"SELECT split, count(*) FROM read_parquet({path_literal(part)}) GROUP BY split").fetchall())  # noqa: S608
    refuse_empty(usecase, connection, counts)
    return counts, described


def _note(run: Run, target: Path, counts: dict[str, int], found: dict[str, str], repeats: float) -> None:
    rows = sum(counts.values())
    run.metrics |= {f"rows.{split}": float(counts[split]) for split in SPLITS} | {"test_rows_in_train": repeats}
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    run.dataset("table", digest, {"uri": f"usecases/{run.usecase.name}/features.py"}, found, rows, "features")
    run.summary = f"{rows:,} rows, {len(found)} columns -> {target.stat().st_size / 1e3:,.0f} kB"
    if repeats >= NOTED:
        run.summary += f"; {repeats:.0%} of the test rows equal a training row"
