"""What the contract says of a table as a whole: how many rows, how fresh, what it refers to, what could not be read."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from components.validate.rules import TYPES, kind
from components.validate.violation import Violation, examples, such_as, table
from core.contract import Contract, Reference
from core.tables import columns, identifier, path_literal

HOUR = 3600


def rows(count: int, contract: Contract, before: int | None) -> Iterator[Violation]:
    """Hold the count of rows against its limits.

    Args:
        count: Of the table.
        contract: What it promises.
        before: The count in the last run that succeeded, if there was one.
    """
    wanted = contract.rows
    if not wanted.min <= count <= (wanted.max or count):
        most = f" and at most {wanted.max:,}" if wanted.max else ""
        yield Violation(("rows",), f": {count:,} rows, the contract wants at least {wanted.min:,}{most}", rows=count)
    if wanted.change is not None and before and abs(count - before) > wanted.change * before:
        text = f": {count:,} rows after {before:,} in the last run that succeeded, {count / before - 1:+.0%}"
        yield Violation(("rows", "change"), f"{text}, the contract allows {wanted.change:.0%}", rows=count)


def freshness(connection: duckdb.DuckDBPyConnection, path: Path, contract: Contract, found: dict[str, str], now: float) -> Iterator[Violation]:
    """Hold the newest row's age against its limit.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        contract: What it promises.
        found: Its columns and their types.
        now: Seconds since 1970 when the pipeline run began: the same however often the step is tried.
    """
    wanted = contract.freshness
    if wanted is None or kind(found.get(wanted.column, "")) not in (*TYPES["timestamp"], *TYPES["date"]):
        return
    column = identifier(wanted.column)
    query = f"SELECT max({column})::VARCHAR, epoch(max({column})) FROM {table(path)} WHERE isfinite({column})"  # noqa: S608
    newest, seconds = connection.execute(query).fetchall()[0]
    if newest is None:
        yield Violation(("freshness",), f".{wanted.column}: there is no time, so its freshness is not known", column=wanted.column)
    elif (hours := (now - seconds) / HOUR) > wanted.hours:
        text = f".{wanted.column}: the newest is {newest}, {hours:,.1f} hours before the run began"
        yield Violation(("freshness",), f"{text}, the contract allows {wanted.hours:g}", column=wanted.column)


def references(connection: duckdb.DuckDBPyConnection, folder: Path, name: str, contract: Contract) -> Iterator[Violation]:
    """Look for rows that refer to rows of another table that are not there."""
    here = folder / f"{name}.parquet"
    for index, reference in enumerate(contract.references):
        there = folder / f"{reference.source}.parquet"
        if set(reference.columns) <= columns(connection, here).keys() and set(reference.targets) <= columns(connection, there).keys():
            yield from _lost(connection, (here, there), reference, index)


def _lost(connection: duckdb.DuckDBPyConnection, paths: tuple[Path, Path], reference: Reference, index: int) -> Iterator[Violation]:
    pairs = [(f"here.{identifier(one)}", f"there.{identifier(two)}") for one, two in zip(reference.columns, reference.targets, strict=True)]
    present, same = " AND ".join(f"{one} IS NOT NULL" for one, _ in pairs), " AND ".join(f"{one} = {two}" for one, two in pairs)
    query = f"FROM {table(paths[0])} here WHERE {present} AND NOT EXISTS (SELECT 1 FROM {table(paths[1])} there WHERE {same})"  # noqa: S608
    lost = connection.execute(f"SELECT count(*) {query}").fetchall()[0][0]
    if not lost:
        return
    count = connection.execute(f"SELECT count(*) FROM {table(paths[0])}").fetchall()[0][0]  # noqa: S608
    if lost > reference.missing * count:
        shown = examples(connection, query, reference.columns)
        text = f": {lost:,} of {count:,} rows refer by {', '.join(reference.columns)} to no row of {reference.source}"
        allowed = f", the contract allows {int(reference.missing * count):,}"
        yield Violation(("references", index), f"{text}{allowed}{such_as(shown, *reference.columns)}", lost, count, shown)


def unreadable(connection: duckdb.DuckDBPyConnection, path: Path, contract: Contract, count: int) -> Iterator[Violation]:
    """Hold the share of records that extract could not read against its limit.

    Args:
        connection: Where the SQL runs.
        path: What extract kept of them: `place`, `reason` and `record` of the first, in its metadata the `count` of all.
        contract: What the source promises.
        count: Of the rows that could be read.
    """
    if not path.exists():
        return
    bad = _bad(connection, path)
    if bad > contract.bad * (bad + count):
        shown = examples(connection, f"FROM {table(path)}", ("place", "reason", "record"))
        text = f": {bad:,} of {bad + count:,} records could not be read, the contract allows {int(contract.bad * (bad + count)):,}"
        yield Violation(("bad",), f"{text}{such_as(shown, 'place', 'reason')}", bad, bad + count, shown)


def _bad(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    noted = connection.execute(f"SELECT value::VARCHAR FROM parquet_kv_metadata({path_literal(path)}) WHERE key::VARCHAR = 'count'").fetchall()  # noqa: S608
    return int(noted[0][0]) if noted else int(connection.execute(f"SELECT count(*) FROM {table(path)}").fetchall()[0][0])  # noqa: S608
