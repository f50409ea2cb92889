"""Avro: each value a record of a schema, which a file beside the config or the registry knows."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastavro import schemaless_reader

from components.extract.avro import from_text, plain_numbers, to_arrow
from components.extract.sources.kafka import registry
from components.extract.sources.kafka.decode import Decoder, Unreadable
from core.errors import UserError

Schema = Any
Row = dict[str, Any]


def decoder(what: str, definition: Path | None, numbers: set[int], otherwise: pa.Schema) -> Decoder:
    """Return what turns values into the columns of the reader's schema: the file's, else the newest that a value has.

    Args:
        what: The source, in errors.
        definition: The .avsc file, if one is named.
        numbers: The ids of the schemas of all values.
        otherwise: The columns, if no value has a schema that is known.

    Raises:
        UserError: There is no schema, or one that cannot be the columns of a table.
    """
    reader = _file(what, definition) if definition else None
    row: Callable[[bytes], Row] = _bare(reader)
    if registry.is_there():
        writers = _writers(what, numbers)
        reader = reader or next(reversed(writers.values()), None)
        row = _framed(writers, reader)
    try:
        return Decoder(to_arrow(reader) if reader else otherwise, row, within=plain_numbers)
    except ValueError as error:
        raise UserError(f"{what}: {error}: name a schema without it under `definition`") from error


def _file(what: str, definition: Path) -> Schema:
    try:
        return from_text(definition.read_text())
    except ValueError as error:
        raise UserError(f"{what}: {definition.name} is no Avro schema ({error}): correct it") from error


def _writers(what: str, numbers: set[int]) -> dict[int, Schema]:
    """Return the schemas that the registry knows, the newest last."""
    known = registry.Registry(what, "AVRO")
    texts = {number: known.schema(number) for number in sorted(numbers)}
    try:
        return {number: from_text(text) for number, text in texts.items() if text is not None}
    except ValueError as error:
        raise UserError(f"{what}: a schema of the registry is no Avro schema ({error}): correct SCHEMA_REGISTRY_URL") from error


def _framed(writers: dict[int, Schema], reader: Schema) -> Callable[[bytes], Row]:
    readers = {number: None if writer == reader else reader for number, writer in writers.items()}

    def row(value: bytes) -> Row:
        number, rest = registry.split(value)
        if number not in writers:
            raise Unreadable(f"the registry has no schema {number}")
        return _read(rest, writers[number], readers[number])

    return row


def _bare(schema: Schema) -> Callable[[bytes], Row]:
    return lambda value: _read(value, schema, None)


def _read(value: bytes, writer: Schema, reader: Schema | None) -> Row:
    stream = io.BytesIO(value)
    try:
        found: Any = schemaless_reader(stream, writer, reader)
    except Exception as error:  # fastavro raises what Python raises: EOFError, IndexError, ValueError, struct.error, ...
        raise Unreadable(f"it is no Avro of its schema: {type(error).__name__}: {error}") from error
    if stream.tell() != len(value):
        raise Unreadable(f"it is no Avro of its schema: {len(value) - stream.tell()} bytes are left over")
    return dict(found)
