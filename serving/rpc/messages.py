"""The messages of the Open Inference Protocol, as classes.

They are in a pool of their own: the clients of Triton and KServe bring the same names, and may be imported into the same process. They are made
of the compiled .proto and not of generated Python, which runs with the protobuf of one year only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from serving.errors import bad

COMPILED = Path(__file__).with_name("open_inference.binpb")
Message = Any
PLAIN_BYTES = 64 * 1024  # of a message whose parts need not be counted
PARTS_LIMIT = 50_000  # fields of a larger one: each tensor becomes an object of forty times its least size
LENGTH_DELIMITED = 2  # on the wire
RAW = 7  # the number of `raw_input_contents`
FIXED = {1: 8, 5: 4}  # bytes by the type on the wire


def _service() -> Any:
    pool = DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(COMPILED.read_bytes()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName("inference.GRPCInferenceService")


SERVICE = _service()
REQUESTS: dict[str, Message] = {method.name: GetMessageClass(method.input_type) for method in SERVICE.methods}
RESPONSES: dict[str, Message] = {method.name: GetMessageClass(method.output_type) for method in SERVICE.methods}


def understood(method: str, body: bytes) -> Message:
    """Read a method's request.

    Raises:
        RequestError: The bytes are none (400).
    """
    if len(body) > PLAIN_BYTES:
        raw_size(body)
    try:
        return REQUESTS[method].FromString(body)
    except DecodeError as error:
        raise bad(f"the message is not a {REQUESTS[method].DESCRIPTOR.name} of the Open Inference Protocol") from error


def raw_size(body: bytes) -> int:
    """Return how many bytes of a message are raw tensors.

    Raises:
        RequestError: It has too many fields (400).
    """
    place = raw = 0
    for _ in range(PARTS_LIMIT):
        kind, place = _varint(body, place)
        if kind & 7 == LENGTH_DELIMITED:
            size, place = _varint(body, place)
            raw += size if kind >> 3 == RAW else 0
            place += size
        elif kind & 7 == 0:
            _, place = _varint(body, place)
        else:
            place += FIXED.get(kind & 7, 0)
        if place >= len(body):
            return min(raw, len(body))
    raise bad(f"the message has more than {PARTS_LIMIT} fields: send one tensor a column")


def _varint(body: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    for byte in body[place : place + 10]:
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return value, place
