"""The fields of a Protobuf message as columns and as values."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
from google.protobuf.descriptor import Descriptor, FieldDescriptor

Row = dict[str, Any]
Convert = Callable[[Any], Any]

TYPES = {
    FieldDescriptor.TYPE_DOUBLE: pa.float64(),
    FieldDescriptor.TYPE_FLOAT: pa.float32(),
    FieldDescriptor.TYPE_INT32: pa.int32(),
    FieldDescriptor.TYPE_SINT32: pa.int32(),
    FieldDescriptor.TYPE_SFIXED32: pa.int32(),
    FieldDescriptor.TYPE_INT64: pa.int64(),
    FieldDescriptor.TYPE_SINT64: pa.int64(),
    FieldDescriptor.TYPE_SFIXED64: pa.int64(),
    FieldDescriptor.TYPE_UINT32: pa.uint32(),
    FieldDescriptor.TYPE_FIXED32: pa.uint32(),
    FieldDescriptor.TYPE_UINT64: pa.uint64(),
    FieldDescriptor.TYPE_FIXED64: pa.uint64(),
    FieldDescriptor.TYPE_BOOL: pa.bool_(),
    FieldDescriptor.TYPE_STRING: pa.string(),
    FieldDescriptor.TYPE_BYTES: pa.binary(),
    FieldDescriptor.TYPE_ENUM: pa.string(),
}
TIME = "google.protobuf.Timestamp"
WRAPPERS = {f"google.protobuf.{kind}Value" for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")}


def columns(kind: Descriptor) -> pa.Schema:
    """Return a message's fields as columns: a message in it is a struct, an enum text.

    Raises:
        ValueError: A message contains itself, or has no fields.
    """
    return pa.schema(list(_struct(kind, ())))


def reader(kind: Descriptor) -> Callable[[Any], Row]:
    """Return what reads a message's fields: one that is not set is null if its presence is known, else what Protobuf takes it for."""
    getters = [(field.name, _getter(field)) for field in kind.fields]
    return lambda message: {name: get(message) for name, get in getters}


def _struct(kind: Descriptor, above: tuple[str, ...]) -> pa.DataType:
    if kind.full_name in above:
        raise ValueError(f"message {kind.full_name} contains itself")
    if not kind.fields:
        raise ValueError(f"message {kind.full_name} has no fields")
    return pa.struct([pa.field(field.name, _type(field, (*above, kind.full_name))) for field in kind.fields])


def _type(field: FieldDescriptor, above: tuple[str, ...]) -> pa.DataType:
    if _is_map(field):
        key, value = field.message_type.fields
        return pa.map_(TYPES[key.type], _one(value, above))
    return pa.list_(_one(field, above)) if field.is_repeated else _one(field, above)


def _one(field: FieldDescriptor, above: tuple[str, ...]) -> pa.DataType:
    kind = field.message_type
    if kind is None:
        return TYPES[field.type]
    if kind.full_name == TIME:
        return pa.timestamp("us", "UTC")
    return TYPES[kind.fields[0].type] if kind.full_name in WRAPPERS else _struct(kind, above)


def _getter(field: FieldDescriptor) -> Convert:
    name, convert = field.name, _convert(field)
    if _is_map(field):
        inside = _convert(field.message_type.fields_by_name["value"])
        return lambda message: [(key, inside(value)) for key, value in sorted(getattr(message, name).items())]
    if field.is_repeated:
        return lambda message: [convert(value) for value in getattr(message, name)]
    if field.has_presence:
        return lambda message: convert(getattr(message, name)) if message.HasField(name) else None
    return lambda message: convert(getattr(message, name))


def _convert(field: FieldDescriptor) -> Convert:
    kind = field.message_type
    if field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        return lambda value: names.get(value) or str(value)
    if kind is None:
        return lambda value: value
    if kind.full_name == TIME:
        return lambda value: value.seconds * 1_000_000 + value.nanos // 1000
    return (lambda value: value.value) if kind.full_name in WRAPPERS else reader(kind)


def _is_map(field: FieldDescriptor) -> bool:
    return bool(field.message_type is not None and field.message_type.GetOptions().map_entry)
