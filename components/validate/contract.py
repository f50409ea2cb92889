"""Check tables against the contract: one pass of SQL a table, every violation listed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from components.validate.page import write
from core.configfile import where
from core.contract import Column, Contract
from core.errors import UserError
from core.tables import columns, connect, identifier, literal
from core.tracking import Run

TYPES = {
    "integer": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    "string": ("VARCHAR", "ENUM"),
    "boolean": ("BOOLEAN",),
    "timestamp": ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"),
    "date": ("DATE",),
}
TYPES["number"] = (*TYPES["integer"], "FLOAT", "DOUBLE", "DECIMAL")


def validate(run: Run, folder: str, page: str) -> None:
    """Check every table of the contract, then write the data report.

    Args:
        run: The step's notes.
        folder: Where `<source>.parquet` lies for each source.
        page: Where the report is written, also when the contract is broken.

    Raises:
        UserError: The contract is broken; one line a violation.
    """
    violations, summaries = [], {}
    with connect(run.usecase.limits.memory) as connection:
        for name, contract in run.usecase.contract.items():
            path = Path(folder, f"{name}.parquet")
            violations += [
                f"bad data: {name}{text} ({where(run.usecase.name, ('contract', name, *place))})" for text, place in check(connection, path, contract)
            ]
            summaries[name] = _summary(connection, path)
    run.artifacts["data.html"] = write(run.usecase, summaries, violations, page)
    run.metrics["violations"] = float(len(violations))
    if violations:
        raise UserError("\n".join(violations))
    checked = sum(len(contract.columns) for contract in run.usecase.contract.values())
    run.summary = f"{checked} columns of {len(summaries)} table{'s' if len(summaries) > 1 else ''} keep the contract"


def check(connection: duckdb.DuckDBPyConnection, path: Path, contract: Contract) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield each violation of one table: what is wrong, and the part of the contract that says so."""
    found = columns(connection, path)
    present = {}
    for name, column in contract.columns.items():
        if name not in found:
            yield f".{name}: the column is missing", ("columns", name)
        elif found[name].partition("(")[0] not in TYPES[column.type]:
            yield f".{name}: its type is {found[name]}, the contract says {column.type}", ("columns", name, "type")
        else:
            present[name] = column
    rules = list(_rules(present, contract))
    query = ", ".join(["count(*)", *(sql for _, sql, _ in rules)])
    rows, *values = connection.execute(f"SELECT {query} FROM read_parquet({literal(path)})").fetchall()[0]  # noqa: S608
    if not contract.rows.min <= rows <= (contract.rows.max or rows):
        most = f" and at most {contract.rows.max:,}" if contract.rows.max else ""
        yield f": {rows:,} rows, the contract wants at least {contract.rows.min:,}{most}", ("rows",)
    for (place, _, sentence), value in zip(rules, values, strict=True):
        broken = sentence(value, rows)
        if broken:
            yield broken, place


def _rules(present: dict[str, Column], contract: Contract) -> Iterator[tuple[tuple[str | int, ...], str, Any]]:
    """Each rule as its place in the contract, an aggregate, and what that says to the value and the count of rows."""
    for name, column in present.items():
        quoted, place = identifier(name), ("columns", name)
        missing = f"{quoted} IS NULL" + (f" OR isnan({quoted}::DOUBLE)" if column.type == "number" else "")
        yield (*place, "nulls"), f"count(*) FILTER ({missing})", _nulls(name, column.nulls)
        for key, sign, word in (("min", "<", "below"), ("max", ">", "above")):
            bound = getattr(column, key)
            if bound is not None:
                cast = f"{quoted} {sign} {literal(bound)}::{_bound_type(column)}"
                yield (*place, key), _counted(quoted, f"NOT ({missing}) AND {cast}"), _broken(name, f"{word} {bound}", f"the contract's {key}")
        if column.values is not None:
            listed = ", ".join(literal(value) for value in column.values)
            yield (
                (*place, "values"),
                _counted(quoted, f"{quoted}::VARCHAR NOT IN ({listed})"),
                _broken(name, f"none of {', '.join(column.values)}", "the contract's values"),
            )
    for index, names in enumerate(contract.unique):
        if all(name in present for name in names):
            together = ", ".join(identifier(name) for name in names)
            yield ("unique", index), f"count(*) - count(DISTINCT row({together}))", _duplicates(names)


def _counted(quoted: str, condition: str) -> str:
    """Count rows and keep one value as an example."""
    return f"struct_pack(n := count(*) FILTER ({condition}), example := min({quoted}::VARCHAR) FILTER ({condition}))"


def _bound_type(column: Column) -> str:
    return {"integer": "DOUBLE", "number": "DOUBLE", "timestamp": "TIMESTAMP", "date": "DATE"}.get(column.type, "VARCHAR")


def _nulls(name: str, allowed: float) -> Any:
    def sentence(count: int, rows: int) -> str | None:
        if count <= allowed * rows:
            return None
        return f".{name}: {count:,} of {rows:,} rows are null, the contract allows {int(allowed * rows):,}"

    return sentence


def _broken(name: str, how: str, what: str) -> Any:
    def sentence(value: dict[str, Any], rows: int) -> str | None:
        return f".{name}: {value['n']:,} of {rows:,} rows are {how}, {what} (such as {value['example']})" if value["n"] else None

    return sentence


def _duplicates(names: tuple[str, ...]) -> Any:
    def sentence(count: int, rows: int) -> str | None:
        return f": {count:,} of {rows:,} rows repeat a key of {', '.join(names)}, which must be unique" if count else None

    return sentence


def _summary(connection: duckdb.DuckDBPyConnection, path: Path) -> list[dict[str, Any]]:
    """One line a column, in one pass."""
    cursor = connection.execute(f"SUMMARIZE FROM read_parquet({literal(path)})")
    names = [item[0] for item in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
