"""What no model can learn from: infinite numbers, and a feature that has no value in any training row."""

from collections.abc import Iterable
from pathlib import Path

import duckdb

from core.config import UseCase
from core.errors import UserError
from core.tables import FLOATS, columns, finite_columns, identifier, known, path_literal

SHOWN = 3  # columns of an example row


def refuse_unusable(usecase: UseCase, connection: duckdb.DuckDBPyConnection, path: Path, training_rows: int, described: Iterable[Path]) -> None:
    """Look at features, target, key, split column and baseline in the table as it was written. NaN counts as null.

    Args:
        usecase: The use case.
        connection: Where the SQL runs.
        path: The table.
        training_rows: How many rows to train it has.
        described: The files with statistics of its columns.

    Raises:
        UserError: A number is infinite, or a feature is missing in all training rows.
    """
    types, table = columns(connection, path), f"read_parquet({path_literal(path)})"
    clean = {name for name, nulls in finite_columns(connection, described).items() if nulls < training_rows}
    features = [name for name in usecase.features.names if name not in clean]
    keys = usecase.key if isinstance(usecase.key, tuple) else ()
    used = dict.fromkeys((*features, usecase.target, *keys, usecase.split.column, usecase.evaluate.baseline))
    floats = [name for name in used if name and types[name] in FLOATS and name not in clean]
    infinite = [f"count(CASE WHEN isinf({identifier(name)}) THEN 1 END)" for name in floats]
    present = [f"count(CASE WHEN split = 'train' THEN {known(name, types[name])} END)" for name in features]
    query = f"SELECT {', '.join(['count(*)', *infinite, *present])} FROM {table}"  # noqa: S608
    rows, *counts = connection.execute(query).fetchall()[0]
    if bad := {name: count for name, count in zip(floats, counts, strict=False) if count}:
        listed = ", ".join(f"{count:,} of {rows:,} rows in {name}" for name, count in bad.items())
        example = _example(usecase, connection, f"{table} WHERE {' OR '.join(f'isinf({identifier(name)})' for name in bad)}", types)
        raise UserError(
            f"features() of {usecase.name} makes infinite numbers: {listed} (such as in the row with {example}). "
            f'A division by zero gives them: divide by _.x.nullif(0), or make them null with .nullif(float("inf"))'
        )
    if missing := [name for name, count in zip(features, counts[len(floats) :], strict=True) if not count]:
        raise UserError(
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing in all training rows: "
            f"remove {'it' if len(missing) == 1 else 'them'} from features in the config, or correct features() of {usecase.name}"
        )


def _example(usecase: UseCase, connection: duckdb.DuckDBPyConnection, rows: str, names: Iterable[str]) -> str:
    """Show one row by its key, or by its first columns if the config names no key."""
    shown = usecase.key if isinstance(usecase.key, tuple) else [*names][:SHOWN]
    texts = ", ".join(f"{identifier(name)}::VARCHAR" for name in shown)
    values = connection.execute(f"SELECT {texts} FROM {rows} LIMIT 1").fetchall()[0]  # noqa: S608
    return ", ".join(f"{name} {'null' if value is None else value}" for name, value in zip(shown, values, strict=True))
