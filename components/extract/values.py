"""Text as values of the contract's types: `core.fields` says what is taken, this module what is said of what is not."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from components.extract.batch import FILE, Batch
from core.errors import UserError
from core.fields import DIALECT, TYPES, Dialect, missing_sql, value_sql
from core.tables import identifier, literal

AT_ONCE = 50  # columns of one query
SHOWN = 40  # characters of an example
REFUSED = "extract: a value is not of its type"  # what DuckDB raises: then the values are counted
CURES = {
    "integer": "write whole numbers of at most 64 bits without separators",
    "number": "write numbers such as 1234.5, without separators of thousands",
    "boolean": "write true or false",
    "date": "write dates such as 2013-12-31",
    "timestamp": "write times such as 2013-12-31T23:59:00Z",
    "string": "write text, no objects or lists",
}
OPTIONS = {  # of CSV, that may help instead
    "integer": "csv.missing or csv.thousands",
    "number": "csv.missing, csv.decimal or csv.thousands",
    "boolean": "csv.missing",
    "date": "csv.missing or csv.date_format",
    "timestamp": "csv.missing or csv.date_format",
}
OTHER_ZONE = {"timestamp": ("zoned", "have a time zone, the first has none"), "zoned": ("timestamp", "have no time zone, the first has one")}
ROW = "extract:row"


@dataclass(frozen=True)
class Relation:
    """What a format's reader gives."""

    sql: str  # what stands after FROM
    columns: list[str]
    texts: dict[str, Dialect]  # the columns whose values are text, to be taken as the contract says, and how each writes them
    json: frozenset[str] = frozenset()  # of these they are JSON, so that an object is told from a text
    nulls: frozenset[str] = frozenset()  # of these the file knows no type: they have no values


class Check(NamedTuple):
    """What values of a column are counted, and what is then said."""

    column: str
    condition: str
    text: str
    words: str


def select(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation) -> str:
    """Return the SELECT that makes a relation's text the contract's types; it raises for a value that is not of its type."""
    kinds = _kinds(connection, batch, relation)
    made = ", ".join(f"{_strict(batch, relation, name, kinds.get(name))} AS {identifier(name)}" for name in relation.columns)
    return f"SELECT {made} FROM {relation.sql}"  # noqa: S608


def refusal(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation) -> UserError | None:
    """Count the values that are not of their type, and make the error, a line a column, if there are any."""
    checks = list(_checks(batch, relation, _kinds(connection, batch, relation)))
    numbered = f"(SELECT *, row_number() OVER () AS {identifier(ROW)} FROM {relation.sql})"  # noqa: S608
    lines = []
    for start in range(0, len(checks), AT_ONCE):
        some = checks[start : start + AT_ONCE]
        counts = ", ".join(f"count(CASE WHEN {check.condition} THEN 1 END), {_first(check)}" for check in some)
        total, *found = connection.execute(f"SELECT count(*), {counts} FROM {numbered}").fetchall()[0]  # noqa: S608
        for check, count, example in zip(some, found[::2], found[1::2], strict=True):
            if count:
                place = _place(connection, batch, numbered, example)
                lines.append(batch.refusal(f"column {check.column}: {count:,} of {total:,} rows {check.words.format(place)}"))
    return UserError("\n".join(map(str, lines))) if lines else None


def _kinds(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation) -> dict[str, str]:
    """Return what each column of text shall be; of times, the first tells whether they have a zone."""
    kinds = {name: column.type for name, column in batch.request.contract.columns.items() if name in relation.texts}
    return {name: _zone(connection, batch, relation, name) if kind == "timestamp" else kind for name, kind in kinds.items()}


def _zone(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation, name: str) -> str:
    column = identifier(name)
    is_value = f"NOT {missing_sql('zoned', column, relation.texts[name])}"
    first = f"SELECT {column} FROM {relation.sql} WHERE {is_value} LIMIT 1"  # noqa: S608
    zoned = value_sql("zoned", column, relation.texts[name], _date_format(batch, name))
    found = connection.execute(f"SELECT {zoned} IS NOT NULL FROM ({first})").fetchall()  # noqa: S608
    return "zoned" if found and found[0][0] else "timestamp"


def _strict(batch: Batch, relation: Relation, name: str, kind: str | None) -> str:
    text = identifier(name)
    if name in relation.nulls:
        promised = batch.request.contract.columns.get(name)
        return f"{text}::{TYPES[promised.type if promised else 'string']}"
    if name not in relation.texts:
        return text
    if name not in relation.json and kind in (None, "string"):
        return value_sql("string", text, relation.texts[name])
    kind, dialect = kind or "string", relation.texts[name]
    value, error = _taken(batch, relation, name, kind), f"error({literal(REFUSED)})::{TYPES[kind]}"
    if dialect.missing in ((), DIALECT.missing):  # none of which is a value: look for them where there is none, which is faster
        return f"CASE WHEN {text} IS NOT NULL THEN coalesce({value}, CASE WHEN NOT {missing_sql(kind, text, dialect)} THEN {error} END) END"
    return f"CASE WHEN NOT {missing_sql(kind, text, dialect)} THEN coalesce({value}, {error}) END"


def _taken(batch: Batch, relation: Relation, name: str, kind: str) -> str:
    if name in relation.json:
        return f"CASE WHEN left({identifier(name)}::VARCHAR, 1) NOT IN ('{{', '[') THEN {identifier(name)} ->> '$' END"
    return value_sql(kind, identifier(name), relation.texts[name], _date_format(batch, name))


def _date_format(batch: Batch, name: str) -> str:
    return "" if name in batch.partitions else batch.csv.date_format or ""


def _checks(batch: Batch, relation: Relation, kinds: dict[str, str]) -> Iterator[Check]:
    for name, kind in kinds.items():
        column, dialect = identifier(name), relation.texts[name]
        if kind == "string" and name not in relation.json:
            continue
        wrong = f"NOT {missing_sql(kind, column, dialect)} AND {_taken(batch, relation, name, kind)} IS NULL"
        if kind in OTHER_ZONE:
            other, words = OTHER_ZONE[kind]
            mixed = f"{_taken(batch, relation, name, other)} IS NOT NULL"
            yield Check(name, f"{wrong} AND {mixed}", column, f"{words} ({{}}): write all times with a zone, or none")
            wrong = f"{wrong} AND NOT {mixed}"
        promised = "timestamp" if kind == "zoned" else kind
        has_options = batch.delivery.format == "csv" and name not in batch.partitions
        options = f", set {OPTIONS[promised]} of sources.{batch.request.name}," if has_options else ","
        cure = f"{CURES[promised]}{options} or correct contract.{batch.request.name}.columns.{name}.type"
        yield Check(name, wrong, column, f"are no {promised} ({{}}): {cure}")


def _first(check: Check) -> str:
    row = identifier(ROW)
    found = f"struct_pack(text := left({check.text}::VARCHAR, {SHOWN + 1}), file := {identifier(FILE)}, row := {row})"
    return f"min_by({found}, CASE WHEN {check.condition} THEN {row} END)"  # by FILTER, memory grows with the square of the columns


def _place(connection: duckdb.DuckDBPyConnection, batch: Batch, numbered: str, example: dict[str, Any]) -> str:
    """Say a value and where it is; a row is counted within its file."""
    text, file, row = example["text"], example["file"], example["row"]
    shown = repr(text[:SHOWN] + "..." if len(text) > SHOWN else text)
    if len(batch.delivery.files) == 1:
        return f"such as {shown} in row {row:,}"
    before = f"{identifier(FILE)} = {literal(file)} AND {identifier(ROW)} <= {row}"
    row = connection.execute(f"SELECT count(*) FROM {numbered} WHERE {before}").fetchall()[0][0]  # noqa: S608
    return f"such as {shown} in row {row:,} of {batch.relative(Path(file))}"
