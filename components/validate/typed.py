"""Which types the contract may promise for text, as a CSV file gives it: told by all rows, not by a sample."""

from pathlib import Path

import duckdb

from components.validate.rules import kind
from components.validate.violation import table
from core.csvoptions import Csv
from core.fields import PLAIN, missing_sql, value_sql
from core.tables import columns, identifier, literal, write_parquet

DAY, CLOCK, ZONE = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?", " ?(Z|UTC|[+-][0-9]{2}(:?[0-9]{2})?)"
AT_ONCE = 50  # columns of one query
CODE = "[+-]?0[0-9]+"  # as of a post office: text, since the zeros in front count
CASTS = {  # tried in this order: @ is the text, and the result is null for a text of another type
    "BIGINT": "CASE WHEN regexp_full_match(trim(@), '[+-]?[0-9]+') THEN TRY_CAST(@ AS BIGINT) END",
    "DOUBLE": "CASE WHEN (isfinite(TRY_CAST(@ AS DOUBLE)) OR lower(trim(@)) = 'nan') AND NOT contains(@, '_') THEN TRY_CAST(@ AS DOUBLE) END",
    "BOOLEAN": "CASE WHEN lower(trim(@)) IN ('true', 'false') THEN TRY_CAST(trim(@) AS BOOLEAN) END",
    "DATE": f"CASE WHEN regexp_full_match(trim(@), '{DAY}') THEN TRY_CAST(@ AS DATE) END",
    "TIMESTAMPTZ": f"CASE WHEN regexp_full_match(trim(@), '{DAY}[T ]{CLOCK}{ZONE}') THEN TRY_CAST(@ AS TIMESTAMPTZ) END",
    "TIMESTAMP": f"CASE WHEN regexp_full_match(trim(@), '{DAY}[T ]{CLOCK}') THEN TRY_CAST(@ AS TIMESTAMP) END",
}
KINDS = {"BIGINT": "integer", "DOUBLE": "number", "DATE": "date", "TIMESTAMPTZ": "zoned", "TIMESTAMP": "timestamp"}


def typed(connection: duckdb.DuckDBPyConnection, path: Path, workplace: Path, csv: Csv | None = None) -> Path:
    """Return a table with the types that its text has throughout; a table that has types already as it is.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        workplace: A folder for the other one.
        csv: How its texts are written; of another format if None.
    """
    found = columns(connection, path)
    if not all(kind(each) == "VARCHAR" for each in found.values()):
        return path
    casts = _casts(connection, path, list(found), csv)
    made = ", ".join(f"{_cast(casts[name], name, csv)} AS {identifier(name)}" for name in found)
    target = workplace / path.name
    write_parquet(connection, f"SELECT {made} FROM {table(path)}", target, len(found))  # noqa: S608
    return target


def _casts(connection: duckdb.DuckDBPyConnection, path: Path, names: list[str], csv: Csv | None) -> dict[str, str]:
    """Return, by column, the first type that each of its texts has."""
    found = {}
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        wanted = ", ".join(aggregate for name in some for aggregate in _aggregates(name, csv))
        counts = iter(connection.execute(f"SELECT {wanted} FROM {table(path)}").fetchall()[0])  # noqa: S608
        for name in some:
            known, codes, *cast = next(counts), next(counts), *(next(counts) for _ in CASTS)
            fitting = [type_ for type_, count in zip(CASTS, cast, strict=True) if count == known]
            found[name] = fitting[0] if fitting and known and not codes else "VARCHAR"
    return found


def _aggregates(name: str, csv: Csv | None) -> list[str]:
    text = identifier(name)
    known = f"count(CASE WHEN NOT {missing_sql('number', text, csv.dialect if csv else PLAIN)} THEN 1 END)"
    codes = f"count(CASE WHEN regexp_full_match({text}, '{CODE}') THEN 1 END)"
    return [known, codes, *(f"count({_cast(cast, name, csv)})" for cast in CASTS)]


def _cast(type_: str, name: str, csv: Csv | None) -> str:
    text, dialect, date_format = identifier(name), csv.dialect if csv else PLAIN, csv.date_format if csv else None
    if type_ not in CASTS:
        return value_sql("string", text, dialect)
    cast = CASTS[type_].replace("@", text)
    if type_ in ("BIGINT", "DOUBLE") and not dialect.is_plain:
        whole = f"NOT contains({text}, {literal(dialect.decimal)}) AND" if type_ == "BIGINT" else ""
        cast = f"CASE WHEN {whole} true THEN {value_sql(KINDS[type_], text, dialect)} END"
    elif type_ in ("DATE", "TIMESTAMPTZ", "TIMESTAMP") and date_format:
        cast = value_sql(KINDS[type_], text, dialect, date_format)
    return f"CASE WHEN NOT {missing_sql('number', text, dialect)} THEN {cast} END"
