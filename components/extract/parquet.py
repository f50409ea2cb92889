"""Parquet: the types are those of the files; only what the paths hold is text."""

from pathlib import Path

import duckdb

from components.extract.batch import Batch
from components.extract.text import check_kind
from components.extract.values import Relation
from core.errors import UserError
from core.fields import PLAIN
from core.tables import identifier, path_literal

SIGN = b"PAR1"
NULL = '"NULL"'  # the type of a column that has no values at all
BYTES, TEXT = "BLOB", "VARCHAR"
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", "DECIMAL")
TIMES = ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")


def relation(connection: duckdb.DuckDBPyConnection, batch: Batch) -> Relation:
    """Check that the files are Parquet and fit together.

    Raises:
        UserError: They are not.
    """
    for file in batch.delivery.files:
        _check_whole(batch, file)
    listed = f"[{', '.join(map(path_literal, batch.delivery.files))}]"
    schemas = _schemas(connection, listed)
    columns, mixed = _checked(batch, schemas)
    names = [*(name for name in columns if name not in batch.partitions), *batch.partitions]
    sql = f"read_parquet({listed}, union_by_name = true, can_have_nan = true, binary_as_string = {bool(mixed)}, {batch.options()})"
    if mixed:
        _require_text(connection, batch, sql, sorted({name for each in schemas.values() for name, kind in each if kind == BYTES}), mixed)
    types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM {sql}").fetchall()}
    texts = [identifier(name) for name in _utf8(connection, sql, [name for name in columns if types.get(name) == BYTES])]
    if texts:
        sql = f"(SELECT * REPLACE ({', '.join(f'decode({text}) AS {text}' for text in texts)}) FROM {sql})"  # noqa: S608
    nulls = frozenset(name for name in names if types.get(name) == NULL)
    return Relation(sql, names, dict.fromkeys(batch.partitions, PLAIN), nulls=nulls)


def refusal(connection: duckdb.DuckDBPyConnection, batch: Batch, error: duckdb.Error) -> UserError | None:  # noqa: ARG001
    """Say nothing: DuckDB's own words on damaged Parquet are as good as any."""
    return None


def _utf8(connection: duckdb.DuckDBPyConnection, sql: str, names: list[str]) -> list[str]:
    """Return which columns of bytes hold text: older writers do not say so in the file."""
    if not names:
        return []
    wrong = ", ".join(f"count(CASE WHEN {identifier(name)} IS NOT NULL AND TRY(decode({identifier(name)})) IS NULL THEN 1 END)" for name in names)
    counts = connection.execute(f"SELECT {wrong} FROM {sql}").fetchall()[0]  # noqa: S608
    return [name for name, count in zip(names, counts, strict=True) if not count]


def _require_text(connection: duckdb.DuckDBPyConnection, batch: Batch, sql: str, names: list[str], mixed: str) -> None:
    """Refuse columns of bytes that are not text: what reads one of them as text reads all of them so."""
    try:
        connection.execute(f"SELECT {', '.join(f'sum(length({identifier(name)}))' for name in names)} FROM {sql}")  # noqa: S608
    except duckdb.InvalidInputException as error:
        raise batch.refusal(f"{mixed}, and not all bytes are UTF-8 text: deliver files of one schema") from error


def _check_whole(batch: Batch, file: Path) -> None:
    with file.open("rb") as stream:
        beginning = stream.read(1000)
        stream.seek(max(file.stat().st_size - len(SIGN), 0))
        end = stream.read()
    if not beginning.startswith(SIGN):
        check_kind(batch, file, beginning)
        raise batch.damaged(f"{batch.relative(file)} {'does not begin as Parquet does' if beginning else 'is empty'}")
    if end != SIGN:
        raise batch.damaged(f"{batch.relative(file)} is cut off")


def _schemas(connection: duckdb.DuckDBPyConnection, listed: str) -> dict[str, list[tuple[str, str]]]:
    """Return the columns and types of as few files as have them all: there may be thousands of files."""
    columns = f"SELECT DISTINCT min(file_name) FROM parquet_schema({listed}) GROUP BY name, duckdb_type ORDER BY 1"  # noqa: S608
    return {file: _columns(connection, file) for (file,) in connection.execute(columns).fetchall()}


def _columns(connection: duckdb.DuckDBPyConnection, file: str) -> list[tuple[str, str]]:
    """Return a file's columns without what is inside of them."""
    found, inside = [], 0
    query = f"SELECT name, duckdb_type, num_children FROM parquet_schema({path_literal(file)})"  # noqa: S608
    for name, kind, children in connection.execute(query).fetchall()[1:]:
        if inside:
            inside -= 1
        else:
            found.append((name, kind))
        inside += children or 0
    return found


def _checked(batch: Batch, schemas: dict[str, list[tuple[str, str]]]) -> tuple[list[str], str]:
    """Return the names of all columns, if in no two files they have types that contradict.

    A column may be bytes in some files and text in others. Such a column is named, since it has to be read as text.
    """
    first: dict[str, tuple[str, str]] = {}
    mixed = ""
    for file, columns in schemas.items():
        batch.check_names([name for name, _ in columns], Path(file))
        for name, kind in columns:
            other, before = first.setdefault(name, (file, kind))
            if NULL in (kind, before) or _family(kind) == _family(before):
                continue
            what = f"column {name} is {before} in {batch.relative(Path(other))} and {kind} in {batch.relative(Path(file))}"
            if {kind, before} != {BYTES, TEXT}:
                raise batch.refusal(f"{what}: deliver files of one schema")
            mixed = mixed or what
    batch.check_names(list(first))
    return list(first), mixed


def _family(kind: str) -> str:
    """Return what types that fit together have in common."""
    outer = kind.partition("(")[0]
    return "number" if outer in NUMBERS else "timestamp" if outer in TIMES else outer
