"""CSV: a header, then rows of as many fields, all read as text."""

import codecs
import csv
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb

from components.extract.batch import Batch
from components.extract.text import BLOCK, LONGEST, check, compression, opened
from components.extract.values import Relation
from core.csvtext import header
from core.errors import UserError
from core.fields import PLAIN
from core.tables import literal, path_literal

TITLES = 20  # lines among which the names are looked for
COUNTED = 1000  # rows that are told one by one
REJECTED = {
    "MISSING COLUMNS": "have too few fields",
    "TOO MANY COLUMNS": "have too many fields",
    "UNQUOTED VALUE": "have a quote that does not end",
}


class Header(NamedTuple):
    """A file's line of names, and how DuckDB reads the file."""

    names: tuple[str, ...]
    delimiter: str
    skipped: int  # lines before it, which the file has no more
    compression: str


def relation(connection: duckdb.DuckDBPyConnection, batch: Batch) -> Relation:  # noqa: ARG001 - as of each format
    """Check the files and their headers.

    Raises:
        UserError: A file cannot be CSV, or has another header than one is needed.
    """
    readers = _readers(batch)
    columns = list(dict.fromkeys(name for header in readers for name in header.names)) + batch.partitions
    batch.check_names(columns)
    promised = batch.request.contract.columns
    if promised and not set(columns) & promised.keys():  # a draft promises nothing yet
        wanted = ", ".join(promised)
        raise batch.refusal(
            f"has none of the columns {wanted}, its first line is {', '.join(columns)[:100]}: put the header there, or correct the contract"
        )
    sql = " UNION ALL BY NAME ".join(f"(FROM {reader})" for reader in readers.values())
    return Relation(f"({sql})", columns, dict.fromkeys(columns, batch.csv.dialect) | dict.fromkeys(batch.partitions, PLAIN))


def refusal(connection: duckdb.DuckDBPyConnection, batch: Batch, error: duckdb.Error) -> UserError | None:
    """Return the error for rows that do not fit the header, if there are any."""
    if "invalid state" in str(error):
        return batch.refusal("ends its lines in several ways, or goes on after a quote that ends a field: save it anew")
    counted = "error_type, count(*), min(line), arg_min(file_path, line)"
    rejects = "reject_errors JOIN reject_scans USING (scan_id, file_id)"
    for same, reader in _readers(batch).items():
        rejecting = f"{reader[:-1]}, store_rejects = true, rejects_limit = {COUNTED})"
        rows = connection.execute(f"SELECT count(*) FROM {rejecting}").fetchall()[0][0]  # noqa: S608
        found = connection.execute(f"SELECT {counted} FROM {rejects} GROUP BY 1 ORDER BY 3").fetchall()  # noqa: S608
        connection.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
        if found:
            kind, count, line, file = found[0]
            total = rows + sum(row[1] for row in found)
            words = REJECTED.get(kind, f"cannot be read as CSV ({kind.lower()})")
            what = f"has {count:,} of {total:,} rows that {words}, such as that of line {line + same.skipped:,}"
            return batch.refusal(f"{what}: correct the file", Path(file))
    return None


def _readers(batch: Batch) -> dict[Header, str]:
    """Return, by the header, what reads the files that have it."""
    same: dict[Header, list[Path]] = {}
    for file in batch.delivery.files:
        found, table = _header(batch, file, check(batch, file))
        same.setdefault(found, []).append(table)
    return {header: _reader(batch, header, files) for header, files in same.items()}


def _header(batch: Batch, file: Path, beginning: bytes) -> tuple[Header, Path]:
    """Read the line of names and how the fields are separated. Return also the file that begins with this line."""
    text = beginning.decode("utf-8-sig", errors="ignore")  # a block may end within a sign
    if not text.strip():
        raise batch.refusal("is empty, it has not even a header: deliver it again", file)
    try:
        found = header(text, batch.csv.dialect, batch.csv.skip)
    except csv.Error as error:
        raise batch.refusal(f"has no header that can be read ({error}): correct its first line", file) from error
    if not any(found.names):
        raise batch.refusal("has no header, its first line is empty: put the names of the columns there", file)
    if title := _title(batch, text, found.names):
        raise batch.refusal(title, file)
    names = tuple(name or f"column{number}" for number, name in enumerate(found.names))
    batch.check_names(list(names), file)
    table = _without_start(batch, file, beginning, text[: found.start]) if found.start else file
    return Header(names, found.delimiter, found.skipped, compression(table)), table


def _without_start(batch: Batch, file: Path, beginning: bytes, start: str) -> Path:
    """Return a copy that begins with the header. DuckDB would skip records, by the end of the first line, not lines."""
    mark = len(codecs.BOM_UTF8) if beginning.startswith(codecs.BOM_UTF8) else 0
    target = batch.converted(file, "table")
    with opened(file) as stream, target.open("wb") as copy:
        copy.write(stream.read(BLOCK)[mark + len(start.encode()) :])
        shutil.copyfileobj(stream, copy, BLOCK)
    return target


def _title(batch: Batch, text: str, names: tuple[str, ...]) -> str:
    """Say which line has the names, if the first one is a title: it has none of the contract's, or one field where others have more."""
    promised = batch.request.contract.columns.keys() - set(batch.partitions)
    if promised & set(names) or (len(names) > 1 and not promised):
        return ""
    first = batch.csv.skip
    for skip in range(first + 1, first + 1 + TITLES):
        try:
            below = header(text, batch.csv.dialect, skip).names
        except (csv.Error, StopIteration):
            return ""
        if promised & set(below) or (not promised and len(below) > 1):
            cure = f"add csv: {{skip: {skip}}} to sources.{batch.request.name}"
            return f"begins with {', '.join(names)[:40]!r}, line {skip + 1} seems to have the names: {cure}"
    return ""


def _reader(batch: Batch, header: Header, files: list[Path]) -> str:
    listed = ", ".join(map(path_literal, files))
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header.names)
    missing = ", ".join(map(literal, ("", *batch.csv.missing)))
    return (
        f"read_csv([{listed}], auto_detect = false, header = true, delim = {literal(header.delimiter)}, quote = '\"', "
        f"escape = '\"', columns = {{{columns}}}, nullstr = [{missing}], allow_quoted_nulls = false, strict_mode = true, "
        f"compression = {literal(header.compression)}, max_line_size = {LONGEST}, buffer_size = {2 * LONGEST}, {batch.options()})"
    )
