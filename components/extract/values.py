"""Text as values of the contract's types: what is taken, and what is said of what is not.

DuckDB's own casts take more than a user means: 1.5 becomes the integer 2, 1_000 and 0x1F are numbers, a zone is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from components.extract.batch import FILE, Batch
from core.errors import UserError
from core.tables import identifier, literal

SHOWN = 40  # characters of an example
VALUE = "@"  # in the expressions below
REFUSED = "extract: a value is not of its type"  # what DuckDB raises: then the values are counted
DAY, CLOCK, ZONE = "[0-9]{4}[-/][0-9]{1,2}[-/][0-9]{1,2}", "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?", " ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)"
TAKEN = {  # each null for what is no such value; first what is usual, since a regular expression costs more
    "integer": """CASE WHEN TRY_CAST(@ AS BIGINT)::VARCHAR = @ THEN TRY_CAST(@ AS BIGINT)
        WHEN regexp_full_match(trim(@), '[+-]?[0-9]+([.]0*)?') THEN TRY_CAST(@ AS BIGINT) END""",
    "number": """CASE WHEN isfinite(TRY_CAST(@ AS DOUBLE)) AND NOT contains(@, '_') THEN TRY_CAST(@ AS DOUBLE)
        WHEN lower(trim(@)) = 'nan' THEN 'nan'::DOUBLE END""",
    "boolean": "TRY_CAST(trim(@) AS BOOLEAN)",
    "date": f"""CASE WHEN length(@) = 10 AND TRY_CAST(@ AS DATE)::VARCHAR = @ THEN TRY_CAST(@ AS DATE)
        WHEN regexp_full_match(trim(@), '{DAY}([T ]0?0:00(:00([.]0*)?)?)?') THEN TRY_CAST(@ AS DATE) END""",
    "timestamp": f"CASE WHEN regexp_full_match(trim(@), '{DAY}([T ]{CLOCK})?') THEN TRY_CAST(@ AS TIMESTAMP) END",
    "zoned": f"CASE WHEN regexp_full_match(trim(@), '{DAY}[T ]{CLOCK}{ZONE}') THEN TRY_CAST(@ AS TIMESTAMPTZ) END",
    "string": "@",
}
TYPES = {
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "zoned": "TIMESTAMPTZ",
    "string": "VARCHAR",
}
CURES = {
    "integer": "write whole numbers of at most 64 bits without separators",
    "number": "write numbers such as 1234.5, without separators of thousands",
    "boolean": "write true or false",
    "date": "write dates such as 2013-12-31",
    "timestamp": "write times such as 2013-12-31T23:59:00Z",
    "string": "write text, no objects or lists",
}
OTHER_ZONE = {"timestamp": ("zoned", "have a time zone, the first has none"), "zoned": ("timestamp", "have no time zone, the first has one")}
ROW = "extract:row"


@dataclass(frozen=True)
class Relation:
    """What a format's reader gives."""

    sql: str  # what stands after FROM
    columns: list[str]
    texts: frozenset[str]  # of these the values are text, to be taken as the contract says
    json: frozenset[str] = frozenset()  # of these they are JSON, so that an object is told from a text


class Check(NamedTuple):
    """What values of a column are counted, and what is then said."""

    column: str
    condition: str
    text: str
    words: str


def select(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation) -> str:
    """Return the SELECT that makes a relation's text the contract's types; it raises for a value that is not of its type."""
    kinds = _kinds(connection, batch, relation)
    made = ", ".join(f"{_strict(relation, name, kinds.get(name))} AS {identifier(name)}" for name in relation.columns)
    return f"SELECT {made} FROM {relation.sql}"  # noqa: S608


def refusal(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation) -> UserError | None:
    """Count in one pass the values that are not of their type, and make the error, a line a column, if there are any."""
    checks = list(_checks(batch, relation, _kinds(connection, batch, relation)))
    counts = "".join(f", struct_pack(n := count(*) FILTER ({check.condition}), example := {_first(check)})" for check in checks)
    numbered = f"(SELECT *, row_number() OVER () AS {identifier(ROW)} FROM {relation.sql})"  # noqa: S608
    total, *found = connection.execute(f"SELECT count(*){counts} FROM {numbered}").fetchall()[0]  # noqa: S608
    lines = []
    for check, value in zip(checks, found, strict=True):
        if value["n"]:
            place = _place(connection, batch, numbered, value["example"])
            lines.append(batch.refusal(f"column {check.column}: {value['n']:,} of {total:,} rows {check.words.format(place)}"))
    return UserError("\n".join(map(str, lines))) if lines else None


def _kinds(connection: duckdb.DuckDBPyConnection, batch: Batch, relation: Relation) -> dict[str, str]:
    """Return what each column of text shall be; of times, the first tells whether they have a zone."""
    kinds = {name: column.type for name, column in batch.request.contract.columns.items() if name in relation.texts}
    return {name: _zone(connection, relation, name) if kind == "timestamp" else kind for name, kind in kinds.items()}


def _zone(connection: duckdb.DuckDBPyConnection, relation: Relation, name: str) -> str:
    column = identifier(name)
    first = f"SELECT {column} FROM {relation.sql} WHERE {column} IS NOT NULL LIMIT 1"  # noqa: S608
    found = connection.execute(f"SELECT {TAKEN['zoned'].replace(VALUE, column)} IS NOT NULL FROM ({first})").fetchall()  # noqa: S608
    return "zoned" if found and found[0][0] else "timestamp"


def _strict(relation: Relation, name: str, kind: str | None) -> str:
    text = identifier(name)
    if kind is None or (kind == "string" and name not in relation.json):
        return text
    return f"CASE WHEN {text} IS NOT NULL THEN coalesce({_taken(relation, name, kind)}, error({literal(REFUSED)})::{TYPES[kind]}) END"


def _taken(relation: Relation, name: str, kind: str) -> str:
    if name in relation.json:
        return f"CASE WHEN left({identifier(name)}::VARCHAR, 1) NOT IN ('{{', '[') THEN {identifier(name)} ->> '$' END"
    return TAKEN[kind].replace(VALUE, identifier(name))


def _checks(batch: Batch, relation: Relation, kinds: dict[str, str]) -> Iterator[Check]:
    for name, kind in kinds.items():
        column = identifier(name)
        wrong = f"{column} IS NOT NULL AND {_taken(relation, name, kind)} IS NULL"
        if kind in OTHER_ZONE:
            other, words = OTHER_ZONE[kind]
            mixed = f"{_taken(relation, name, other)} IS NOT NULL"
            yield Check(name, f"{wrong} AND {mixed}", column, f"{words} ({{}}): write all times with a zone, or none")
            wrong = f"{wrong} AND NOT {mixed}"
        promised = "timestamp" if kind == "zoned" else kind
        cure = f"{CURES[promised]}, or correct contract.{batch.request.name}.columns.{name}.type"
        yield Check(name, wrong, column, f"are no {promised} ({{}}): {cure}")


def _first(check: Check) -> str:
    row = identifier(ROW)
    found = f"struct_pack(text := left({check.text}::VARCHAR, {SHOWN + 1}), file := {identifier(FILE)}, row := {row})"
    return f"min_by({found}, {row}) FILTER ({check.condition})"


def _place(connection: duckdb.DuckDBPyConnection, batch: Batch, numbered: str, example: dict[str, Any]) -> str:
    """Say a value and where it is; a row is counted within its file."""
    text, file, row = example["text"], example["file"], example["row"]
    shown = repr(text[:SHOWN] + "..." if len(text) > SHOWN else text)
    if len(batch.delivery.files) == 1:
        return f"such as {shown} in row {row:,}"
    before = f"{identifier(FILE)} = {literal(file)} AND {identifier(ROW)} <= {row}"
    row = connection.execute(f"SELECT count(*) FROM {numbered} WHERE {before}").fetchall()[0][0]  # noqa: S608
    return f"such as {shown} in row {row:,} of {batch.relative(Path(file))}"
