"""Files of any format, as one Parquet file with the types that the contract names."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.extract.delivery import Delivery, Request
from core.errors import UserError, first_line
from core.sources import FileSource, HttpsSource, Kind, S3Source
from core.tables import columns, connect, literal

READERS = {
    "parquet": "read_parquet([{}], union_by_name = true)",
    "csv": "read_csv([{}], union_by_name = true, nullstr = ['', 'NA'])",
    "jsonl": "read_json([{}], union_by_name = true, format = 'newline_delimited')",
}


@dataclass(frozen=True)
class Table:
    """What was written."""

    rows: int
    columns: dict[str, str]  # DuckDB's type of each


def named(source: FileSource | HttpsSource | S3Source, request: Request, names: list[str]) -> str:
    """Return the format of files: the one that the config says, else the one that all their names tell.

    Raises:
        UserError: Their names tell none, or several.
    """
    found = {source.format or Path(name).suffix[1:] for name in names}
    if len(found) > 1 or not found <= READERS.keys():
        known = ", ".join(f".{kind}" for kind in READERS)
        raise UserError(
            f"source {request.name}: {source.address} names files of other kinds than one of {known}: correct sources.{request.name} or say the format"
        )
    return found.pop()


def write(source: Kind, request: Request, delivery: Delivery, target: Path) -> Table:
    """Write a delivery as one Parquet file.

    Raises:
        UserError: A file is damaged or is not of its format.
    """
    listed = ", ".join(literal(file) for file in delivery.files)
    reader = READERS[delivery.format].format(listed)
    try:
        with connect(request.memory) as connection:
            connection.execute(f"COPY (FROM {reader}) TO {literal(target)} (FORMAT parquet, COMPRESSION zstd)")
            count = connection.execute(f"SELECT count(*) FROM read_parquet({literal(target)})").fetchall()[0][0]  # noqa: S608
            return Table(int(count), columns(connection, target))
    except duckdb.Error as error:  # of damaged Parquet, also the class of all
        cause = _cause(error, delivery.files)
        raise UserError(
            f"source {request.name}: {source.address} cannot be read, it is damaged or no {delivery.format} ({cause}): deliver it again"
        ) from error


def _cause(error: Exception, files: list[Path]) -> str:
    text = first_line(error)
    for file in files:
        text = text.replace(str(file), file.name)
    return text
