"""The compiled messages: those of the .proto beside them, and on the wire those of Triton's client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import service_pb2

from serving.errors import RequestError
from serving.rpc.messages import COMPILED, PARTS_LIMIT, REQUESTS, RESPONSES, raw_size
from serving.weight import message_weight

PROTO = COMPILED.with_suffix(".proto")


def test_the_compiled_file_is_that_of_the_proto() -> None:
    (file,) = FileDescriptorSet.FromString(COMPILED.read_bytes()).file

    assert tokens(" ".join(rendered(file))) == tokens(re.sub("//.*", "", PROTO.read_text()))


def tokens(text: str) -> list[str]:
    return re.findall(r"[\w.]+|\S", text)


def rendered(file: Any) -> Iterator[str]:
    """Write a compiled file as the .proto that it was made of."""
    yield f'syntax = "{file.syntax}"; package {file.package};'
    for service in file.service:
        yield f"service {service.name} {{"
        yield from (f"rpc {method.name} ({own(method.input_type)}) returns ({own(method.output_type)});" for method in service.method)
        yield "}"
    for message in file.message_type:
        yield from of_message(message)


def of_message(message: Any) -> Iterator[str]:
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    yield f"message {message.name} {{"
    for nested in message.nested_type:
        if nested.name not in maps:
            yield from of_message(nested)
    for number, field in enumerate(message.field):
        if field.HasField("oneof_index") and number == 0:
            yield f"oneof {message.oneof_decl[0].name} {{"
        yield f"{kind(field, maps)} {field.name} = {field.number};"
    yield "}" if not message.oneof_decl else "} }"


def kind(field: Any, maps: dict[str, Any]) -> str:
    if own(field.type_name) in maps:
        key, value = maps[own(field.type_name)].field
        return f"map<{kind(key, {})}, {kind(value, {})}>"
    name = own(field.type_name) or field.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"repeated {name}" if field.label == field.LABEL_REPEATED else name


def own(name: str) -> str:
    return name.rpartition(".")[2]


@pytest.mark.parametrize("method", REQUESTS)
def test_on_the_wire_the_messages_are_those_of_tritons_client(method: str) -> None:
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[method]

    wire = fields(REQUESTS[method].DESCRIPTOR), fields(RESPONSES[method].DESCRIPTOR)

    assert wire == (fields(theirs.input_type), fields(theirs.output_type))
    assert (REQUESTS[method].DESCRIPTOR.full_name, RESPONSES[method].DESCRIPTOR.full_name) == (
        theirs.input_type.full_name,
        theirs.output_type.full_name,
    )


def fields(message: Any) -> dict[int, tuple[str, int, bool, Any]]:
    """What matters of a message on the wire: the numbers, names and types of its fields, and of theirs."""
    return {
        field.number: (field.name, field.type, field.is_repeated, fields(field.message_type) if field.message_type else None)
        for field in message.fields
    }


def test_raw_tensors_weigh_less_than_other_parts_of_a_message() -> None:
    raw = service_pb2.ModelInferRequest(model_name="wine", raw_input_contents=[bytes(300), bytes(500)]).SerializeToString()
    typed = service_pb2.ModelInferRequest(inputs=[{"contents": {"bytes_contents": [b""] * 400}}]).SerializeToString()

    assert (raw_size(raw), raw_size(typed)) == (800, 0)
    assert message_weight(raw, 800) < 10 * len(raw)
    assert message_weight(typed, 0) > 20 * len(typed)  # empty texts of two bytes, empty parameters: they become objects


@pytest.mark.parametrize("body", [b"\x3a\x00" * (PARTS_LIMIT + 1), b"\x3a" + b"\xff" * 9 + b"\x01"])
def test_parts_are_counted_whatever_a_message_says(body: bytes) -> None:
    if len(body) > PARTS_LIMIT:
        with pytest.raises(RequestError, match="more than 50000 fields"):
            raw_size(body)
    else:
        assert raw_size(body) == len(body)
