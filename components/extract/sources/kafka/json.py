"""JSON: an object a message, of which the keys that the contract names become columns."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import pyarrow as pa

from components.extract.empty import schema
from components.extract.sources.kafka.decode import NAMES, Decoder, Unreadable
from core.contract import Contract

Values = list[Any]


def decoder(contract: Contract) -> Decoder:
    """Return what turns objects into the contract's columns."""
    kinds = {name: column.type for name, column in contract.columns.items()}
    return Decoder(pa.schema([named for named in schema(contract) if named.name not in NAMES]), _row, partial(_column, kinds))


def _row(value: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Unreadable(f"it is no JSON: {error}") from error
    if type(found) is not dict:
        raise Unreadable("it is JSON, but no object")
    return found


def _column(kinds: Mapping[str, str], named: pa.Field, values: Values) -> pa.Array:
    kind = kinds[named.name]
    allowed, convert = KINDS[kind]
    if not set(map(type, values)) <= allowed:
        raise Unreadable(_reason(named.name, kind, values))
    try:
        return convert(values)
    except (ValueError, OverflowError) as error:
        raise Unreadable(_reason(named.name, kind, values)) from error


def _reason(name: str, kind: str, values: Values) -> str:
    """Say what is wrong; it counts only if it was asked about one value."""
    return f"{name} is {orjson.dumps(values[0]).decode()[:100]}, which is no {kind}" if len(values) == 1 else name


def _integers(values: Values) -> pa.Array:
    if any(not value.is_integer() for value in values if type(value) is float):  # Arrow cuts off what is behind the point
        raise ValueError
    return pa.array(values, pa.int64())


def _numbers(values: Values) -> pa.Array:
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _times(values: Values) -> pa.Array:
    try:
        return pa.array(values, pa.string()).cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:  # a value has no zone, or is written in a way that only Python knows
        return pa.array([None if value is None else _time(value) for value in values], pa.timestamp("us", "UTC"))


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _dates(values: Values) -> pa.Array:
    return pa.array(values, pa.string()).cast(pa.date32())


NONE = type(None)
KINDS: dict[str, tuple[set[type], Callable[[Values], pa.Array]]] = {
    "integer": ({int, float, NONE}, _integers),
    "number": ({int, float, NONE}, _numbers),
    "string": ({str, NONE}, lambda values: pa.array(values, pa.string())),
    "boolean": ({bool, NONE}, lambda values: pa.array(values, pa.bool_())),
    "timestamp": ({str, NONE}, _times),
    "date": ({str, NONE}, _dates),
}
