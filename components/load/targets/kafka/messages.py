"""A row as a message: its key and its value."""

import io
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import fastavro
import orjson

from core.errors import UserError, first_line
from core.featurecode import FOLDER
from core.targets import KafkaTarget

Row = dict[str, Any]
OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC  # times are ISO 8601, in UTC


class Encoder:
    """Writes the rows of a table."""

    def __init__(self, target: KafkaTarget, usecase: str, names: list[str]) -> None:
        missing = [name for name in target.key or () if name not in names]
        if missing:
            raise UserError(f"{target.address}: there is no column {', '.join(missing)} of its key: let features() make it or correct the key")
        self._target = target
        self._write = _json if target.definition is None else _avro(target, usecase, target.definition)

    def value(self, row: Row) -> bytes:
        """Write the whole row."""
        try:
            return self._write(row)
        except (TypeError, ValueError, AttributeError, EOFError) as error:
            raise UserError(
                f"{self._target.address}: a row cannot be written as {self._target.format}: {first_line(error)}: correct its columns"
            ) from error

    def key(self, row: Row) -> bytes | None:
        """Write the columns of the key: one as it is, several as JSON."""
        if self._target.key is None:
            return None
        if len(self._target.key) > 1:
            return _json({name: row[name] for name in self._target.key})
        value = row[self._target.key[0]]
        return None if value is None else str(value).encode() if isinstance(value, str) else _json(value).strip(b'"')


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=OPTIONS)


def _plain(value: Any) -> Any:
    """Return what JSON has no form for: exact numbers as text, and pandas' times as Python's."""
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, datetime):
        return datetime.fromisoformat(value.isoformat()[:26])
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _avro(target: KafkaTarget, usecase: str, definition: str) -> Callable[[Row], bytes]:
    try:
        schema = fastavro.parse_schema(orjson.loads((FOLDER / usecase / definition).read_bytes()))
    except FileNotFoundError as error:
        raise UserError(f"{target.address}: there is no file usecases/{usecase}/{definition}: add it or correct the definition") from error
    except (ValueError, fastavro.schema.SchemaParseException, fastavro.schema.UnknownType) as error:
        raise UserError(f"{target.address}: usecases/{usecase}/{definition} is no Avro schema ({first_line(error)}): correct it") from error

    def write(row: Row) -> bytes:
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, schema, row, strict=True)
        return buffer.getvalue()

    return write
