"""JSON lines: one object a line, its members read as text."""

import re
from pathlib import Path

import duckdb

from components.extract.batch import Batch
from components.extract.text import LONGEST, check, compression
from components.extract.values import Relation
from core.errors import UserError
from core.fields import PLAIN
from core.tables import literal, path_literal

MALFORMED = re.compile(r'^.*?Malformed JSON in file "(.*)", at byte \d+ in line (\d+): ([^.]*)', re.DOTALL)
NO_OBJECT = re.compile(r'^.*?JSON transform error in file "(.*)", in line (\d+): (.*?)\n', re.DOTALL)


def relation(connection: duckdb.DuckDBPyConnection, batch: Batch) -> Relation:
    """Check the files and find the names of all members.

    Raises:
        UserError: A file cannot be JSON lines.
    """
    for file in batch.delivery.files:
        if check(batch, file).lstrip()[:1] == b"[":
            raise batch.refusal("is one JSON array: write one object a line, as `jq -c '.[]'` does", file)
    found = _members(connection, batch)
    columns = [*(name for name in found if name not in batch.partitions), *batch.partitions]
    batch.check_names(columns)
    promised = batch.request.contract.columns
    nested = frozenset(name for name in found if name in promised and promised[name].type == "string") - set(batch.partitions)
    named = ", ".join(f"{literal(name)}: '{'JSON' if name in nested else 'VARCHAR'}'" for name in columns if name not in batch.partitions)
    return Relation(_readers(batch, f"records = true, columns = {{{named}}}"), columns, dict.fromkeys(columns, PLAIN), nested)


def refusal(connection: duckdb.DuckDBPyConnection, batch: Batch, error: duckdb.Error) -> UserError | None:  # noqa: ARG001
    """Return the error for a line that is no object, if that is what DuckDB says."""
    text = str(error)
    if match := MALFORMED.match(text):  # it counts the line that is wrong, too
        file, line, cause = match[1], int(match[2]) - 1, match[3]
    elif match := NO_OBJECT.match(text + "\n"):
        file, line, cause = match[1], int(match[2]), match[3]
    else:
        return None
    return batch.refusal(f"line {line:,} is wrong ({cause[:100]}): write one JSON object a line, each name in it once", Path(file))


def _members(connection: duckdb.DuckDBPyConnection, batch: Batch) -> list[str]:
    """Return the names of all members in the order in which they first come; those of the contract, if there is no line."""
    keys = f"SELECT unnest(json_keys(json)) AS key, row_number() OVER () AS row FROM {_readers(batch, '', 'read_ndjson_objects')}"  # noqa: S608
    found = connection.execute(f"SELECT key FROM ({keys}) GROUP BY key ORDER BY min(row), key").fetchall()  # noqa: S608
    return [row[0] for row in found] or list(batch.request.contract.columns)


def _readers(batch: Batch, columns: str, function: str = "read_json") -> str:
    """Return what reads the files, those that are compressed alike together."""
    same: dict[str, list[str]] = {}
    for file in batch.delivery.files:
        same.setdefault(compression(file), []).append(path_literal(file))
    options = f"format = 'newline_delimited', maximum_object_size = {LONGEST}, {batch.options()}" + (f", {columns}" if columns else "")
    readers = [f"(FROM {function}([{', '.join(files)}], compression = {literal(kind)}, {options}))" for kind, files in same.items()]
    return f"({' UNION ALL BY NAME '.join(readers)})"
