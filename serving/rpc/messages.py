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
    try:
        return REQUESTS[method].FromString(body)
    except DecodeError as error:
        raise bad(f"the message is not a {REQUESTS[method].DESCRIPTOR.name} of the Open Inference Protocol") from error
