"""Files of any format, as one Parquet file with the types that the contract names."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import duckdb

from components.extract import csv, jsonl, parquet, values
from components.extract.batch import Batch
from components.extract.delivery import Delivery, Request
from components.extract.text import check_kind, in_utf8
from core.csvoptions import DEFAULT
from core.errors import UserError, first_line
from core.resources import count
from core.sources import Files, Kind, format_of
from core.tables import columns, connect, path_literal, without_room, write_parquet


class Reader(NamedTuple):
    """How the files of a format are read."""

    relation: Callable[[duckdb.DuckDBPyConnection, Batch], values.Relation]
    refusal: Callable[[duckdb.DuckDBPyConnection, Batch, duckdb.Error], UserError | None]  # what it makes of DuckDB's error


READERS = {
    "parquet": Reader(parquet.relation, parquet.refusal),
    "csv": Reader(csv.relation, csv.refusal),
    "jsonl": Reader(jsonl.relation, jsonl.refusal),
    "avro": Reader(parquet.relation, parquet.refusal),  # once it was made Parquet
}
AVRO = b"Obj\x01"
LEAST, ENOUGH = 150_000, 200_000  # bytes a column of numbers: with fewer it failed at 5,000 columns, with as many it went well


@dataclass(frozen=True)
class Table:
    """What was written."""

    rows: int
    columns: dict[str, str]  # DuckDB's type of each


def named(source: Files, request: Request, names: list[str]) -> str:
    """Return the format of files: the one that the config says, else the one that all their names tell.

    Raises:
        UserError: Their names tell none, or several.
    """
    found = {source.format or format_of(name) for name in names}
    if len(found) > 1 or not found <= READERS.keys():
        known = ", ".join(f".{kind}" for kind in READERS)
        cure = f"correct sources.{request.name} or name the format"
        raise UserError(f"source {request.name}: {source.address} names files of other kinds than one of {known}: {cure}")
    kind = found.pop()
    if kind != "csv" and source.csv != DEFAULT:
        raise UserError(f"source {request.name}: {source.address} names files of {kind}, but has options of csv: remove these")
    return kind


def write(source: Kind, request: Request, delivery: Delivery, target: Path) -> Table:
    """Write a delivery as one Parquet file.

    Raises:
        UserError: A file is damaged or not of its format, or a value is not of the type that the contract names.
    """
    batch = Batch(source, request, delivery)
    for file in delivery.files:
        if not os.access(file, os.R_OK, effective_ids=True):
            raise batch.refusal("may not be read by this user: change its permissions", file)
    if delivery.format == "avro":
        batch = replace(batch, delivery=replace(delivery, files=[_converted(batch, file) for file in delivery.files]))
    elif delivery.format in ("csv", "jsonl"):
        batch = replace(batch, delivery=replace(delivery, files=[in_utf8(batch, file) for file in delivery.files]))
    try:
        with connect(request.memory) as connection:
            return _write(connection, batch, target)
    except duckdb.Error as error:  # of damaged Parquet, also the class of all
        raise batch.damaged(first_line(error)) from error


def _converted(batch: Batch, file: Path) -> Path:
    """Make Parquet of an Avro file, which DuckDB cannot read by itself; its partitions stay in its path."""
    from components.extract.avro import to_parquet

    with file.open("rb") as stream:
        beginning = stream.read(1000)
    if not beginning.startswith(AVRO):
        check_kind(batch, file, beginning)
    target = batch.converted(file)
    try:
        to_parquet(file, target)
    except ValueError as error:
        raise batch.damaged(str(error)) from error
    return target


def _check_memory(batch: Batch, relation: values.Relation) -> None:
    """Refuse, before a row is read, more columns of numbers than DuckDB can convert within the limit."""
    numbers = sum(column.type == "number" and name in relation.texts for name, column in batch.request.contract.columns.items())
    if numbers * LEAST > count(batch.request.memory):
        needed = math.ceil(numbers * ENOUGH / 10**8) * 100
        raise batch.refusal(
            f"has {numbers:,} columns of numbers, which need about {needed:,} MB: set limits.memory to {needed}MB (it is {batch.request.memory}), "
            f"or take columns out of contract.{batch.request.name}"
        )


def _write(connection: duckdb.DuckDBPyConnection, batch: Batch, target: Path) -> Table:
    reader, relation = READERS[batch.delivery.format], None
    try:
        relation = reader.relation(connection, batch)
        _check_memory(batch, relation)
        query = values.select(connection, batch, relation)
        write_parquet(connection, query, target, len(relation.columns))
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        if full := without_room(error):
            raise batch.refusal(f"cannot be made Parquet: {full}") from error
        raise  # `connect` knows what to say
    except duckdb.Error as error:
        found = reader.refusal(connection, batch, error)
        if found is None and relation and values.REFUSED in str(error):
            found = values.refusal(connection, batch, relation)
        raise found or error from error
    rows = connection.execute(f"SELECT count(*) FROM read_parquet({path_literal(target)})").fetchall()[0][0]  # noqa: S608
    return Table(int(rows), columns(connection, target))
