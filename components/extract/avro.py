"""Avro: its schemas as Arrow's, and its container files as Parquet.

Dates, times and timestamps stay the numbers that they are in the file: Arrow takes them as they are, which is exact and several times faster.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from fastavro.read import LOGICAL_READERS
from fastavro.schema import SchemaParseException, UnknownType

ROWS = 10_000  # of a batch, and of a row group
DIGITS = 38  # of a decimal: as many as DuckDB knows

PRIMITIVES = {
    "null": pa.string(),  # of nulls alone: every reader of Parquet knows it
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "fixed": pa.binary(),
    "enum": pa.string(),
}
LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    ("long", "timestamp-millis"): pa.timestamp("ms", "UTC"),
    ("long", "timestamp-micros"): pa.timestamp("us", "UTC"),
    ("long", "timestamp-nanos"): pa.timestamp("ns", "UTC"),
    ("long", "local-timestamp-millis"): pa.timestamp("ms"),
    ("long", "local-timestamp-micros"): pa.timestamp("us"),
    ("long", "local-timestamp-nanos"): pa.timestamp("ns"),
}
NUMBERS = [pa.int32(), pa.int64(), pa.float32(), pa.float64()]
Names = dict[str, Any]


def to_parquet(file: Path, target: Path) -> None:
    """Write a container file as a Parquet file, a batch of rows at a time.

    Raises:
        ValueError: It is damaged, is no Avro, or has a schema that is no table's.
    """
    try:
        _convert(file, target)
    except Exception as error:  # on damage, fastavro raises whatever Python does
        if isinstance(error, OSError) and error.errno:
            raise  # the disk is full, or the like
        raise ValueError(f"{file.name}: {error or type(error).__name__}") from error


@contextmanager
def plain_numbers() -> Iterator[None]:
    """Let fastavro, inside the block, give dates and times as the numbers that they are; it has no option for that."""
    known = dict(LOGICAL_READERS)
    for kind in known:
        if not kind.endswith("-decimal"):
            del LOGICAL_READERS[kind]
    try:
        yield
    finally:
        LOGICAL_READERS.update(known)


def from_text(text: str) -> Any:
    """Read a schema.

    Raises:
        ValueError: It is none.
    """
    try:
        return fastavro.parse_schema(json.loads(text))
    except (SchemaParseException, UnknownType, AttributeError, KeyError, TypeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def to_arrow(schema: Any) -> pa.Schema:
    """Return a record's fields as columns: a record in it is a struct, an enum text, a union with null may be null.

    Raises:
        ValueError: It cannot be the columns of a table: no record, one that contains itself, or a union of things that have no type in common.
    """
    found = _type(schema, {}, ())
    if not pa.types.is_struct(found):
        raise ValueError("the schema is no record")
    return pa.schema(list(found))


def _convert(file: Path, target: Path) -> None:
    with file.open("rb") as stream, plain_numbers():
        reader = fastavro.reader(stream)
        schema = to_arrow(reader.writer_schema)
        with pq.ParquetWriter(target, schema) as writer:
            for rows in _batches(reader):
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema))


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while batch := list(itertools.islice(rows, ROWS)):
        yield batch


def _type(schema: Any, names: Names, above: tuple[str, ...]) -> pa.DataType:
    """Return the type of a schema.

    Args:
        schema: A parsed schema, or a part of it.
        names: The named types so far, by name.
        above: The names of the records that this is a part of.
    """
    if isinstance(schema, list):
        return _union([_type(each, names, above) for each in schema if each != "null"])
    if isinstance(schema, str):
        if schema in above:
            raise ValueError(f"record {schema} contains itself")
        return PRIMITIVES[schema] if schema in PRIMITIVES else _type(names[schema], names, above)
    kind = schema["type"]
    if isinstance(kind, dict | list):
        return _type(kind, names, above)
    if "name" in schema:
        names[schema["name"]] = schema
    if schema.get("logicalType") == "decimal":
        return _decimal(schema)
    if kind in COMPOUND:
        return COMPOUND[kind](schema, names, above)
    return LOGICAL.get((kind, schema.get("logicalType"))) or _type(kind, names, above)


def _union(types: list[pa.DataType]) -> pa.DataType:
    distinct = [kind for number, kind in enumerate(types) if kind not in types[:number]]
    if len(distinct) > 1 and all(kind in NUMBERS for kind in distinct):
        return pa.float64() if pa.float32() in distinct or pa.float64() in distinct else pa.int64()
    if len(distinct) > 1:
        raise ValueError(f"a union of {' and '.join(map(str, distinct))} is no type of a column")
    return distinct[0] if distinct else PRIMITIVES["null"]


def _decimal(schema: dict[str, Any]) -> pa.DataType:
    if schema["precision"] > DIGITS:
        raise ValueError(f"a decimal of {schema['precision']} digits has more than {DIGITS}")
    return pa.decimal128(schema["precision"], schema.get("scale", 0))


def _record(schema: dict[str, Any], names: Names, above: tuple[str, ...]) -> pa.DataType:
    inside = (*above, schema["name"])
    if not schema["fields"]:
        raise ValueError(f"record {schema['name']} has no fields")
    return pa.struct([pa.field(field["name"], _type(field["type"], names, inside)) for field in schema["fields"]])


def _array(schema: dict[str, Any], names: Names, above: tuple[str, ...]) -> pa.DataType:
    return pa.list_(_type(schema["items"], names, above))


def _map(schema: dict[str, Any], names: Names, above: tuple[str, ...]) -> pa.DataType:
    return pa.map_(pa.string(), _type(schema["values"], names, above))


COMPOUND: dict[str, Callable[[dict[str, Any], Names, tuple[str, ...]], pa.DataType]] = {
    "record": _record,
    "error": _record,
    "array": _array,
    "map": _map,
}
