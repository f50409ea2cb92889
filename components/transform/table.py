"""One ibis expression from the raw tables to one table, run by DuckDB within the memory limit; then the split."""

import hashlib
from pathlib import Path
from typing import Any

import duckdb
import ibis

from core.codecheck import features
from core.config import UseCase
from core.errors import UserError, first_line
from core.tables import SPLITS, columns, connect, identifier, literal
from core.tracking import Run


def transform(run: Run, raw: str, target: str) -> dict[str, Any]:
    """Run `features()` and split its rows.

    The same raw tables give the same rows in the same order.

    Args:
        run: The step's notes.
        raw: Where `<source>.parquet` lies for each source.
        target: Where the table is written.

    Returns:
        The counts of rows and columns.

    Raises:
        UserError: The expression fails, or its table is not as the config says.
    """
    with connect(run.usecase.limits.memory) as connection:
        try:
            connection.execute(f"CREATE TEMP TABLE made AS {_query(run.usecase, connection, raw)}")
        except (duckdb.BinderException, duckdb.ConversionException, duckdb.InvalidInputException, duckdb.ParserException) as error:
            raise UserError(
                f"features() of {run.usecase.name} fails: {first_line(error)}: correct usecases/{run.usecase.name}/features.py"
            ) from error
        made = {row[0]: row[1] for row in connection.execute("DESCRIBE made").fetchall()}
        _check(run.usecase, connection, made)
        connection.execute(f"COPY ({_split(run.usecase, list(made))}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)")
        counts = dict(connection.execute(f"SELECT split, count(*) FROM read_parquet({literal(target)}) GROUP BY split").fetchall())  # noqa: S608
        found = columns(connection, target)
    rows = sum(counts.values())
    run.metrics |= {f"rows.{split}": float(counts.get(split, 0)) for split in SPLITS}
    run.dataset(
        "table", hashlib.sha256(Path(target).read_bytes()).hexdigest(), {"uri": f"usecases/{run.usecase.name}/features.py"}, found, rows, "features"
    )
    run.summary = f"{rows:,} rows, {len(found)} columns -> {Path(target).stat().st_size / 1e3:,.0f} kB"
    return {"rows": rows, "columns": len(found)}


def _query(usecase: UseCase, connection: duckdb.DuckDBPyConnection, raw: str) -> str:
    """Compile the expression: `features()` sees the columns that the contract names, and no others."""
    backend = ibis.duckdb.from_connection(connection)
    tables = {name: backend.read_parquet(Path(raw, f"{name}.parquet")).select(*contract.columns) for name, contract in usecase.contract.items()}
    try:
        return str(ibis.to_sql(features(usecase.name)(**tables), dialect="duckdb"))
    except (ibis.common.exceptions.IbisError, AttributeError, TypeError) as error:
        raise UserError(f"features() of {usecase.name} fails: {first_line(error)}: correct usecases/{usecase.name}/features.py") from error


def _check(usecase: UseCase, connection: duckdb.DuckDBPyConnection, found: dict[str, str]) -> None:
    wanted = {*usecase.features.names, usecase.target} | ({usecase.split.column} if usecase.split.column else set())
    if wanted - found.keys():
        raise UserError(
            f"features() of {usecase.name} makes no column {', '.join(sorted(wanted - found.keys()))}: make it there or remove it from the config"
        )
    if "split" in found:
        raise UserError(
            f"features() of {usecase.name} makes a column split, the name of the one that says which rows are for training: call it otherwise"
        )
    for column in filter(None, (usecase.target, usecase.split.column)):
        known = f"nullif({identifier(column)}, 'nan')" if found[column] in ("FLOAT", "DOUBLE") else identifier(column)
        nulls, rows = connection.execute(f"SELECT count(*) - count({known}), count(*) FROM made").fetchall()[0]  # noqa: S608
        if nulls or not rows:
            what = f"{nulls:,} of {rows:,} rows without {column}: filter them out there" if rows else "no rows: look at its filters and joins"
            raise UserError(f"features() of {usecase.name} makes {what}")


def _split(usecase: UseCase, names: list[str]) -> str:
    """Order the rows and say of each what it is for.

    By time, all rows of one instant go together, so that none of it is both learnt and tested. At random, the place of a row
    is decided by a hash of its content and the seed: it stays when other rows come or go.
    """
    first, second = usecase.split.train, usecase.split.train + usecase.split.validation
    if usecase.split.column:
        place = identifier(usecase.split.column)
        cuts = f"(SELECT quantile_disc({place}, [{first}, {second}]) FROM made)"  # noqa: S608
        is_first, is_second = f"{place} <= {cuts}[1]", f"{place} <= {cuts}[2]"
    else:
        place = f"(md5_number_lower(concat_ws('|', {usecase.train.seed}, made::VARCHAR))::DOUBLE / {2**64})"
        is_first, is_second = f"{place} < {first}", f"{place} < {second}"
    split = f"CASE WHEN {is_first} THEN 'train' WHEN {is_second} THEN 'validation' ELSE 'test' END"
    return f"SELECT *, {split} AS split FROM made ORDER BY {', '.join([place, *map(identifier, names)])}"  # noqa: S608
