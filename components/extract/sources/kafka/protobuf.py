"""Protobuf: each value a message, which a file of protoc beside the config or the registry describes."""

import base64
import binascii
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError

from components.extract.sources.kafka import registry
from components.extract.sources.kafka.decode import Decoder, Unreadable
from components.extract.sources.kafka.fields import Row, columns, reader
from core.errors import UserError

COMMON = ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
Files = list[Any]  # FileDescriptorProto


def decoder(what: str, definition: Path | None, message: str | None, numbers: set[int], otherwise: pa.Schema) -> Decoder:
    """Return what turns values into a message's fields.

    Args:
        what: The source, in errors.
        definition: The .desc file, if one is named.
        message: The message's full name, if it is said.
        numbers: The ids of the schemas of all values.
        otherwise: The columns, if no value has a schema that is known.

    Raises:
        UserError: There is no such message, or one that cannot be the columns of a table.
    """
    if definition:
        kind = _named(what, _file(what, definition), message)
        return _decoder(what, kind, (lambda value: _split(value)[2]) if registry.is_there() else bytes)
    known = registry.Registry(what, "PROTOBUF")
    files = {number: _serialized(what, number, text) for number in numbers if (text := known.schema(number)) is not None}
    if not files:
        return Decoder(otherwise, _unknown)
    kind = _named(what, [files[max(files)]], message)
    return _decoder(what, kind, _framed(files, kind.full_name))


def _decoder(what: str, kind: Descriptor, body: Callable[[bytes], bytes]) -> Decoder:
    try:
        schema = columns(kind)
    except ValueError as error:
        raise UserError(f"{what}: {error}: name a definition without it under `definition`") from error
    made, read = message_factory.GetMessageClass(kind), reader(kind)

    def row(value: bytes) -> Row:
        try:
            return read(made.FromString(body(value)))
        except DecodeError as error:
            raise Unreadable(f"it is no {kind.full_name}: {error}") from error

    return Decoder(schema, row)


def _file(what: str, definition: Path) -> Files:
    try:
        return list(descriptor_pb2.FileDescriptorSet.FromString(definition.read_bytes()).file)
    except DecodeError as error:
        raise UserError(
            f"{what}: {definition.name} is no set of descriptors: write it by `protoc --include_imports --descriptor_set_out={definition.name}`"
        ) from error


def _serialized(what: str, number: int, text: str) -> Any:
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(text))
    except (binascii.Error, DecodeError) as error:
        raise UserError(f"{what}: the registry does not give schema {number} in serialized form: name a .desc file under `definition`") from error


def _named(what: str, files: Files, message: str | None) -> Descriptor:
    """Return a message's descriptor; the only one, if no name is said."""
    names = [
        f"{file.package}.{found.name}".lstrip(".") for file in files if not file.name.startswith("google/protobuf/") for found in file.message_type
    ]
    if message is None and len(names) != 1:
        raise UserError(f"{what}: the definition has the messages {', '.join(names) or '(none)'}: name one under `message`")
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in _ordered(files):
            pool.Add(file)
        return pool.FindMessageTypeByName(message or names[0])
    except KeyError as error:
        raise UserError(f"{what}: the definition has no message {message}, but {', '.join(names)}: correct `message`") from error
    except TypeError as error:  # of a file that is imported and not there
        raise UserError(
            f"{what}: the definition is not whole ({error}): write it by `protoc --include_imports`, and name it under `definition`"
        ) from error


def _ordered(files: Files) -> Files:
    """Put in front what is imported and travels with every Protobuf."""
    own = {file.name for file in files}
    common = [import_module(f"google.protobuf.{name}_pb2").DESCRIPTOR for name in COMMON]
    return [descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb) for file in common if file.name not in own] + files


def _framed(files: dict[int, Any], name: str) -> Callable[[bytes], bytes]:
    """Return what takes the message out of a value, if it is the one of this name."""

    def body(value: bytes) -> bytes:
        number, path, rest = _split(value)
        if number not in files:
            raise Unreadable(f"the registry has no schema {number}")
        found = _at(files[number], path)
        if found != name:
            raise Unreadable(f"it is a {found}, no {name}")
        return rest

    return body


def _split(value: bytes) -> tuple[int, tuple[int, ...], bytes]:
    """Split a value into its schema's id, the place of its message in that schema, and the message."""
    number, rest = registry.split(value)
    count, rest = _integer(rest)
    path = []
    for _ in range(count):
        index, rest = _integer(rest)
        path.append(index)
    return number, tuple(path) or (0,), rest


def _integer(data: bytes) -> tuple[int, bytes]:
    """Take a zigzag number of variable length from the front."""
    found = 0
    for place, byte in enumerate(data[:5]):
        found |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return found >> 1 ^ -(found & 1), data[place + 1 :]
    raise Unreadable("it does not say which message of its schema it is")


def _unknown(value: bytes) -> Row:
    raise Unreadable(f"the registry has no schema {_split(value)[0]}")


def _at(file: Any, path: tuple[int, ...]) -> str:
    """Return the full name of the message at a place."""
    names, inside = [file.package] if file.package else [], file.message_type
    for index in path:
        if not 0 <= index < len(inside):
            raise Unreadable(f"its schema has no message at {'.'.join(map(str, path))}")
        names.append(inside[index].name)
        inside = inside[index].nested_type
    return ".".join(names)
