"""The rules of columns and keys: all counted in one pass of SQL a table; the rows that break one are fetched only if there are any."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from components.validate.violation import COLUMNS, Violation, examples, such_as, table
from core.contract import Column, Contract
from core.tables import finite_columns, identifier, literal

TYPES = {
    "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    "string": ("VARCHAR", "ENUM"),
    "boolean": ("BOOLEAN",),
    "timestamp": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"),
    "date": ("DATE",),
}
TYPES["number"] = (*TYPES["integer"], "FLOAT", "DOUBLE", "DECIMAL")
FLOATS = ("FLOAT", "DOUBLE")
LISTED = 10  # values that a sentence repeats
AT_ONCE = 300  # rules of one query: DuckDB's cost of one grows faster than their number
SHOWN = 100  # rules of one table whose rows are looked for


@dataclass(frozen=True)
class Rule:
    """What no row, or only a share of the rows, may be."""

    column: str
    key: str  # of the contract
    condition: str  # SQL: true of a row that breaks it
    words: str  # what such a row is
    allowed: float = 0.0
    order: str = ""  # of the examples

    @property
    def is_of_holes(self) -> bool:
        """Whether only a null or a number that is not finite breaks it."""
        return self.key in ("nulls", "type")


@dataclass(frozen=True)
class Key:
    """Columns that no two rows may share."""

    index: int  # in the contract
    names: tuple[str, ...]

    @property
    def listed(self) -> str:
        """The columns, for SQL."""
        return ", ".join(map(identifier, self.names))


def check(connection: duckdb.DuckDBPyConnection, path: Path, contract: Contract, found: dict[str, str]) -> Iterator[Violation]:
    """Yield what the rows of one table break.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        contract: What it promises.
        found: Its columns and their types.
    """
    present = {}
    for name, column in contract.columns.items():
        if name not in found:
            yield Violation(("columns", name), f".{name}: the column is missing{_near(name, found)}", column=name)
        elif kind(found[name]) not in TYPES[column.type]:
            yield Violation(("columns", name, "type"), f".{name}: its type is {found[name]}, the contract says {column.type}", column=name)
        else:
            present[name] = column
    full = {name for name, nulls in finite_columns(connection, [path]).items() if not nulls}
    rules = [rule for name, column in present.items() for rule in _rules(name, column, kind(found[name])) if not (rule.is_of_holes and name in full)]
    keys = [Key(index, names) for index, names in enumerate(contract.unique) if present.keys() >= set(names)]
    rows, broken, repeated = _counts(connection, path, rules, keys)
    shown = keys[0].names if keys else tuple(found)[:3]
    for index, (rule, count) in enumerate(broken):
        yield _violation(connection, path, rule, count, rows, shown if index < SHOWN else None)
    for key, count in repeated:
        yield from _repeated(connection, path, key, count, rows)


def _near(name: str, found: dict[str, str]) -> str:
    """Name the column that is called so but for blanks and case, and the cure."""
    near = next((other for other in found if other.strip().lower() == name.strip().lower()), None)
    if near is None:
        return ""
    cure = "add csv: {strip: true} to its source if it is CSV, or rename it" if near.strip() != near else "name it so"
    return f" (there is {near!r}: {cure})"


def kind(found: str) -> str:
    """Return the kind of a type of DuckDB's, without its parameters."""
    return found.partition("(")[0]


def _rules(name: str, column: Column, found: str) -> Iterator[Rule]:
    quoted = identifier(name)
    missing = f"({quoted} IS NULL" + (f" OR isnan({quoted}))" if found in FLOATS else ")")
    yield Rule(name, "nulls", missing, "null", column.nulls)
    for key, sign, word, order in (("min", "<", "below", "ASC"), ("max", ">", "above", "DESC")):
        bound = getattr(column, key)
        if bound is not None:
            condition = f"NOT {missing} AND {quoted} {sign} {_bound(column, bound)}"
            yield Rule(name, key, condition, f"{word} {_plain(bound)}", column.outside, f"ORDER BY {quoted} {order}")
    if found in FLOATS and (unbounded := [sign for sign, bound in (("-", column.min), ("", column.max)) if bound is None]):
        condition = f"{quoted} IN ({', '.join(literal(f'{sign}inf') for sign in unbounded)})"
        yield Rule(name, "type", condition, "infinite", column.outside)
    if column.values is not None:
        value = f"{quoted}::{'DOUBLE' if column.type in ('integer', 'number') else 'VARCHAR'}"
        condition = f"NOT {missing} AND {value} NOT IN ({', '.join(map(literal, column.values))})"
        yield Rule(name, "values", condition, f"none of {_listed(column.values)}", column.outside)
    if column.pattern is not None:
        condition = f"NOT regexp_full_match({quoted}::VARCHAR, {literal(column.pattern)})"
        yield Rule(name, "pattern", condition, f"not of the form {column.pattern}", column.outside)


def _bound(column: Column, value: float | str) -> str:
    """Write a bound for SQL; a time with a zone as the same moment in UTC, which times without one are in."""
    if column.type == "timestamp":
        moment = datetime.fromisoformat(str(value))
        value = (moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment).isoformat()
    types = {"integer": "DOUBLE", "number": "DOUBLE", "timestamp": "TIMESTAMP", "date": "DATE"}
    return f"{literal(value)}::{types.get(column.type, 'VARCHAR')}"


def _plain(value: float | str) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(values: tuple[float | str, ...]) -> str:
    more = f" and {len(values) - LISTED:,} more" if len(values) > LISTED else ""
    return ", ".join(map(_plain, values[:LISTED])) + more


def _counts(
    connection: duckdb.DuckDBPyConnection, path: Path, rules: list[Rule], keys: list[Key]
) -> tuple[int, list[tuple[Rule, int]], list[tuple[Key, int]]]:
    """Count the rows, those that break each rule, and those that seem to repeat each key.

    A key is told by its 64-bit hash: no other way is exact, spills to the disk and is as fast. Equal hashes of different keys make
    rows look repeated that are not, never the other way round.
    """
    wanted = [f"count(CASE WHEN {rule.condition} THEN 1 END)" for rule in rules] + [f"count(*) - count(DISTINCT hash({key.listed}))" for key in keys]
    counts: list[int] = []
    for start in range(0, max(len(wanted), 1), AT_ONCE):
        query = f"SELECT {', '.join(['count(*)', *wanted[start : start + AT_ONCE]])} FROM {table(path)}"  # noqa: S608
        rows, *some = connection.execute(query).fetchall()[0]
        counts += some
    broken = [(rule, count) for rule, count in zip(rules, counts, strict=False) if count > rule.allowed * rows]
    repeated = [(key, count) for key, count in zip(keys, counts[len(rules) :], strict=True) if count]
    return rows, broken, repeated


def _violation(connection: duckdb.DuckDBPyConnection, path: Path, rule: Rule, count: int, rows: int, shown: tuple[str, ...] | None) -> Violation:
    found = examples(connection, f"FROM {table(path)} WHERE {rule.condition} {rule.order}", (rule.column, *shown)) if shown else []
    allowed, place = int(rule.allowed * rows), ("columns", rule.column, rule.key)
    text = f".{rule.column}: {count:,} of {rows:,} rows are {rule.words}, the contract"
    if rule.is_of_holes:
        return Violation(place, f"{text} allows {allowed:,}", count, rows, found, rule.column)
    tolerated = f", which allows {allowed:,}" if rule.allowed else ""
    return Violation(place, f"{text}'s {rule.key}{tolerated}{such_as(found, rule.column)}", count, rows, found, rule.column)


def _repeated(connection: duckdb.DuckDBPyConnection, path: Path, key: Key, count: int, rows: int) -> Iterator[Violation]:
    """Count exactly, now that there is something to count."""
    groups = f"(SELECT {key.listed}, count(*) AS times FROM {table(path)} GROUP BY {key.listed} HAVING times > 1)"  # noqa: S608
    count = connection.execute(f"SELECT coalesce(sum(times - 1), 0)::BIGINT FROM {groups}").fetchall()[0][0]  # noqa: S608
    if count:
        found = examples(connection, f"FROM {groups} ORDER BY times DESC, {key.listed}", (*key.names[: COLUMNS - 1], "times"))
        text = f": {count:,} of {rows:,} rows repeat a key of {', '.join(key.names)}, which must be unique"
        yield Violation(("unique", key.index), f"{text}{such_as(found, *key.names)}", count, rows, found)
