"""The way of one prediction through the server: body, protocol, batch, response. The hot path: nothing is here that not every request needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from starlette.types import Receive, Scope, Send

from core.engines import Answers
from serving.body import Disconnected
from serving.errors import RequestError, defect
from serving.model import Model
from serving.query import Headers, Parse, Query, Reply
from serving.service import Service

INLINE_BYTES = 512 * 1024  # a larger body is parsed beside the event loop
INLINE_ROWS = 10_000  # more answers are written beside the event loop

_beside = ThreadPoolExecutor(1, "bodies")  # one at a time: what a large body becomes in memory is several times as large


class Endpoint:
    """One protocol's way to predictions, as an ASGI application.

    Args:
        service: What serves.
        protocol: Its name, in the metrics.
        parse: Understands a request.
        error: Writes an error as the protocol's clients read it.
    """

    def __init__(self, service: Service, protocol: str, parse: Parse, error: Callable[[RequestError], bytes]) -> None:
        self._service, self._protocol, self._parse, self._error = service, protocol, parse, error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        log = self._service.log if self._service.log and self._service.log.draws() else None
        rows = 0
        try:
            parameters = scope.get("path_params")
            if parameters:
                self._service.check_name(**parameters)
            model = self._service.proved()
            query, table = await self._understood(model, headers, receive)
            rows = len(query.columns[0])
            if log is None:
                query.columns = ()  # many small objects: freed while they are near the processor
            outputs = query.outputs if log is None else model.outputs
            answers = await self._service.batcher.answer(table, rows, outputs)  # type: ignore[union-attr]
            status, reply = 200, await _written(query, answers, rows)
        except RequestError as problem:
            status, reply = problem.status, refusal(problem, self._error)
        except Disconnected:
            return
        except Exception as error:
            status, reply = 500, refusal(defect(error), self._error)
        else:
            if log:
                log.offer(query.columns, answers, _identity(headers, query), headers.get(b"traceparent", b"").decode("latin-1"))
        await respond(self._service, headers, send, status, reply)
        seconds = perf_counter() - started
        self._service.metrics.request(self._protocol, status, rows, seconds)
        if self._service.access_log.on:
            self._service.access_log.write(scope, headers, status, seconds, protocol=self._protocol, rows=rows)

    async def _understood(self, model: Model, headers: Headers, receive: Receive) -> tuple[Query, object]:
        body = await self._service.bodies.read(headers, receive)
        try:
            if len(body) <= INLINE_BYTES:
                return self._read(model, body, headers)
            return await asyncio.get_running_loop().run_in_executor(_beside, self._read, model, body, headers)
        finally:
            self._service.bodies.release(body)

    def _read(self, model: Model, body: bytes, headers: Headers) -> tuple[Query, object]:
        query = self._parse(model, body, headers)
        return query, model.engine.table(query.columns)


async def respond(service: Service, headers: Headers, send: Send, status: int, reply: Reply) -> None:
    """Send a response; a server that leaves closes the connection with it, so that the client's next one leads to another server."""
    sent = [*service.headers, (b"content-type", reply.content_type), (b"content-length", str(len(reply.body)).encode()), *reply.headers]
    if b"traceparent" in headers or b"x-request-id" in headers:
        sent += [(name, headers[name]) for name in (b"traceparent", b"x-request-id") if name in headers]
    if service.drain.begun:
        sent.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": reply.body})


async def _written(query: Query, answers: Answers, rows: int) -> Reply:
    if rows <= INLINE_ROWS:
        return query.respond(answers)
    return await asyncio.get_running_loop().run_in_executor(_beside, query.respond, answers)


def refusal(problem: RequestError, error: Callable[[RequestError], bytes]) -> Reply:
    """Write an error in the form that a protocol's clients read."""
    return Reply(error(problem), headers=tuple([(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]))


def _identity(headers: Headers, query: Query) -> str:
    return headers.get(b"x-request-id", b"").decode("latin-1") or query.identity
