"""RPCs by the client and the messages of Triton, which owe this server nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from core.bundle import Bundle
from core.processes import free_port
from tests.unit.serving.bodies import DTYPES, Rows, dump, tensors
from tests.unit.serving.models import publish
from tests.unit.serving.servers import Launcher, Running, pour

INFER = "/inference.GRPCInferenceService/ModelInfer"
SECONDS = 20  # a client's patience
FIELDS = {"BOOL": "bool", "INT64": "int64", "UINT64": "uint64", "FP32": "fp32", "FP64": "fp64", "BYTES": "bytes"}
FIELDS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int") | dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint")


def start(launcher: Launcher, bundle: Bundle, **environment: str) -> tuple[Running, str]:
    """Start a server that also listens for gRPC; return where."""
    port = str(free_port())
    server = launcher.start(*publish(bundle), name=bundle.manifest.name, environment={"GRPC_PORT": port, **environment})
    return server, f"127.0.0.1:{port}"


@contextmanager
def stub(address: str) -> Iterator[Any]:
    """The bare service: what Triton's client hides can be sent and seen."""
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def known(rows: Rows) -> Rows:
    """The rows with each text: a missing one cannot be said over gRPC."""
    return [{name: "never seen" if name == "region" and value is None else value for name, value in row.items()} for row in rows]


def inputs(rows: Rows, shape: Sequence[int] = ()) -> list[triton.InferInput]:
    """Rows as Triton's client takes them; its tensors are raw."""
    made = []
    for tensor in tensors(rows):
        one = triton.InferInput(tensor["name"], list(shape) or tensor["shape"], tensor["datatype"])
        values = [np.nan if value is None and tensor["datatype"] == "FP64" else value for value in tensor["data"]]
        one.set_data_from_numpy(np.array(values, dtype=object if tensor["datatype"] == "BYTES" else DTYPES[tensor["datatype"]]).reshape(one.shape()))
        made.append(one)
    return made


def request(described: Sequence[dict[str, Any]], *, raw: bool = False, model: str = "wine", **more: Any) -> Any:
    """Tensors as `bodies.tensors` makes them, in a message, raw or each in its field."""
    message = service_pb2.ModelInferRequest(model_name=model, **more)
    for tensor in described:
        added = message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        if raw:
            message.raw_input_contents.append(dump(tensor["data"], tensor["datatype"]))
        else:
            values = [value.encode() if isinstance(value, str) else np.nan if value is None else value for value in tensor["data"]]
            getattr(added.contents, f"{FIELDS[tensor['datatype']]}_contents").extend(values)
    return message


def values(response: Any) -> dict[str, Any]:
    """The typed answers of a response by their names, each in its shape."""
    found = {}
    for output in response.outputs:
        flat = list(getattr(output.contents, f"{FIELDS[output.datatype]}_contents"))
        flat = [value.decode() for value in flat] if output.datatype == "BYTES" else flat
        found[output.name] = flat if len(output.shape) == 1 else np.array(flat).reshape(output.shape).tolist()
    return found


def refusal(call: Any, message: Any, **more: Any) -> tuple[str, str]:
    """The code and the sentence of an RPC that fails."""
    try:
        answer = call(message, timeout=SECONDS, **more)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    raise AssertionError(f"it was answered: {answer}")


class Switch:
    """The way to a server, as a Service is: connections that are there stay, new ones lead to the target of the day."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = "{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            host, _, port = self.target.partition(":")
            server = socket.create_connection((host, int(port)))
            for source, target in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=_lead, args=(source, target), daemon=True).start()


def _lead(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        pour(source, target)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
