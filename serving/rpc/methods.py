"""What answers each RPC: predictions go the way of those over HTTP, with the same limits, counts and logs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc  # type: ignore[import-untyped]

from serving import NAME, VERSION
from serving.endpoint import Endpoint
from serving.errors import RequestError, bad, defect
from serving.protocols import open_inference
from serving.rpc import infer
from serving.rpc.messages import RESPONSES, SERVICE, Message, understood
from serving.service import Service

READERS = 8  # messages on their way in at once, each up to the limit of a message
READ_SECONDS = 10.0  # that one may take, and others wait for it
DETAILS = 2000  # bytes: they travel in a header, and those have a limit
TRACING = ("traceparent", "x-request-id")
NOT_HERE = (b"content-type", b"content-length", b"connection")  # gRPC has its own
CODES = {
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}

Context = Any  # grpc.aio.ServicerContext
Pair = tuple[bytes, bytes]
Answered = tuple[int, bytes, list[Pair]]  # a status as in HTTP, the response or a sentence, headers


class Methods:
    """The methods of GRPCInferenceService.

    Args:
        service: What serves.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._readers = asyncio.Semaphore(READERS)
        self._infer = Endpoint(service, "grpc", partial(infer.parse, service.check_name), infer.weigh, _sentence)

    def handlers(self) -> dict[str, Any]:
        """Return what gRPC calls, by name.

        The one request of an RPC is read as a stream of one, which is the same on the wire: only so it can be waited for in turn.
        """
        answers = {"ServerLive": _live, "ServerReady": _ready, "ModelReady": _model_ready, "ServerMetadata": _server, "ModelMetadata": _metadata}
        asked = {method: partial(self._ask, method, answer) for method, answer in answers.items()} | {"ModelInfer": self._predict}
        return {method: grpc.stream_unary_rpc_method_handler(_answering(answer)) for method, answer in asked.items()}

    async def _ask(self, method: str, answer: Callable[[Service, Message], dict[str, Any]], context: Context) -> Answered:
        """Answer a question that no row is part of."""
        headers = [*self._service.headers, *_tracing(context)]
        try:
            request = understood(method, await self._read(context))
            return 200, RESPONSES[method](**answer(self._service, request)).SerializeToString(), headers
        except RequestError as error:
            return error.status, _sentence(error), [*headers, *[(name.encode(), value.encode()) for name, value in error.headers.items()]]

    async def _predict(self, context: Context) -> Answered:
        """Lead an RPC through the endpoint as if it were an HTTP request."""
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": await self._read(context)}

        async def send(message: Any) -> None:
            sent.append(message)

        await self._infer(_scope(context, with_client=self._service.access_log.on), receive, send)
        start, body, *_ = sent
        return start["status"], body["body"], [(name, value) for name, value in start["headers"] if name not in NOT_HERE]

    async def _read(self, context: Context) -> bytes:
        """Read the message of an RPC; few at a time, so that what is only half here is bounded."""
        async with self._readers:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    body: object = await context.read()
            except TimeoutError as error:
                self._service.metrics.cut_off += 1
                raise RequestError(408, f"the request did not come within {READ_SECONDS:.0f} seconds") from error
        if not isinstance(body, bytes):
            raise bad("there is no message: send one")
        return body


def _answering(answer: Callable[[Context], Awaitable[Answered]]) -> Callable[[Any, Context], Any]:
    """Make an RPC end with what gRPC's clients understand."""

    async def handler(_: Any, context: Context) -> bytes:
        try:
            status, body, headers = await answer(context)
        except Exception as error:  # gRPC would tell the client its text, which may hold feature values
            status, body, headers = 500, _sentence(defect(error)), []
        trailing = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers])
        if status != 200:
            await context.abort(CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), _cut(body), trailing)
        context.set_trailing_metadata(trailing)
        return body

    return handler


def _scope(context: Context, *, with_client: bool) -> dict[str, Any]:
    host, _, port = context.peer().partition(":")[2].rpartition(":") if with_client else ("", "", "")
    return {"method": "POST", "path": f"/{SERVICE.full_name}/ModelInfer", "headers": _tracing(context), "client": (host, port) if port else None}


def _tracing(context: Context) -> list[Pair]:
    return [(name.encode(), value.encode()) for name, value in context.invocation_metadata() or () if name in TRACING]


def _sentence(problem: RequestError) -> bytes:
    return problem.message.encode()


def _cut(sentence: bytes) -> str:
    return (sentence if len(sentence) <= DETAILS else sentence[:DETAILS] + b"...").decode(errors="ignore")


def _live(_: Service, __: Message) -> dict[str, Any]:
    return {"live": True}


def _ready(service: Service, _: Message) -> dict[str, Any]:
    return {"ready": service.is_ready}


def _model_ready(service: Service, request: Message) -> dict[str, Any]:
    service.check_name(request.name, request.version or None)
    return {"ready": service.is_ready}


def _server(_: Service, __: Message) -> dict[str, Any]:
    return {"name": NAME, "version": VERSION}


def _metadata(service: Service, request: Message) -> dict[str, Any]:
    service.check_name(request.name, request.version or None)
    described = open_inference.metadata(service.proved())
    return {field: described[field] for field in ("name", "versions", "platform", "inputs", "outputs")}
