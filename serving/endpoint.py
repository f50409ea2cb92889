"""The way of one prediction through the server: body, protocol, batch, response. The hot path: nothing is here that not every request needs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TypeVar

from starlette.types import Receive, Scope, Send

from serving.body import Body, Disconnected, decompressed, decompressed_whole
from serving.errors import RequestError, defect
from serving.model import Model
from serving.query import Headers, Parse, Query, Reply, Weigh
from serving.service import Service

T = TypeVar("T")
Understood = tuple[Query, object, int]  # the rows, the engine's table of them, and the memory that is held for them

INLINE_BYTES = 256 * 1024  # a larger body is weighed, and parsed beside the event loop
UNCOUNTED_BYTES = 4 * 1024  # that rows and their answer may take beside the budget: the number of connections bounds these
INLINE_ROWS = 10_000  # more answers are written beside the event loop
STREAM_BYTES = 64 * 1024  # of a larger answer the server remembers the memory until its client has read it

_beside = ThreadPoolExecutor(1, "bodies")  # one at a time: what a large body becomes in memory is several times as large


class Endpoint:
    """One protocol's way to predictions, as an ASGI application.

    Args:
        service: What serves.
        protocol: Its name, in the metrics.
        parse: Understands a request.
        weigh: Says how much memory a body becomes at most.
        error: Writes an error as the protocol's clients read it.
    """

    def __init__(self, service: Service, protocol: str, parse: Parse, weigh: Weigh, error: Callable[[RequestError], bytes]) -> None:
        self._service, self._protocol, self._parse, self._weigh, self._error = service, protocol, parse, weigh, error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        headers: Headers = dict(scope["headers"])
        service = self._service
        log = service.log if service.log and service.log.draws() else None
        rows = weight = 0
        try:
            try:
                model = self._admitted(scope, headers)
                query, table, weight = await self._understood(model, headers, receive)
                rows = len(query.columns[0])
                needed = rows * service.row_weight
                if weight or needed > UNCOUNTED_BYTES:
                    service.budget.take(needed - weight)
                    weight = needed
                if log is None:
                    query.columns = ()  # many small objects: freed while they are near the processor
                outputs = query.outputs if log is None else model.outputs
                answers = await service.batcher.answer(table, rows, outputs)  # type: ignore[union-attr]
                status, reply = 200, query.respond(answers) if rows <= INLINE_ROWS else await _run(query.respond, answers)
            except RequestError as problem:
                status, reply = problem.status, refusal(problem, self._error)
            except Disconnected:
                return
            except Exception as error:
                status, reply = 500, refusal(defect(error), self._error)
            else:
                if log:
                    log.offer(query.columns, answers, _identity(headers, query), headers.get(b"traceparent", b"").decode("latin-1"))
            await respond(service, headers, send, status, reply)
        finally:
            if weight:
                service.budget.give(weight)
        seconds = perf_counter() - started
        service.metrics.request(self._protocol, status, rows, seconds)
        if service.access_log.on:
            service.access_log.write(scope, headers, status, seconds, protocol=self._protocol, rows=rows)

    def _admitted(self, scope: Scope, headers: Headers) -> Model:
        """Return the model, if this request may ask it."""
        service = self._service
        if headers.get(b"host") not in service.hosts.known or len(headers) != len(scope["headers"]):
            service.hosts.check(scope)
        if b"origin" in headers:
            service.origins.check(headers)
        parameters = scope.get("path_params")
        if parameters:
            service.check_name(**parameters)
        return service.proved()

    async def _understood(self, model: Model, headers: Headers, receive: Receive) -> Understood:
        bodies = self._service.bodies
        body = await bodies.read(headers, receive)
        try:
            if b"content-encoding" in headers:
                whole = await _decompressed(body, headers)
                bodies.replace(body, whole)
                body = whole
            if len(body) <= INLINE_BYTES:
                return self._read(model, body, headers)
            return await self._read_beside(model, body, headers)
        finally:
            bodies.release(body)

    async def _read_beside(self, model: Model, body: Body, headers: Headers) -> Understood:
        weight = await _run(self._weigh, model, body, headers)
        await self._service.budget.wait(weight)
        try:
            return await _run(self._read_large, model, body, headers, weight)
        except BaseException:
            self._service.budget.give(weight)
            raise

    def _read_large(self, model: Model, body: Body, headers: Headers, weight: int) -> Understood:
        gc.disable()  # millions of objects and no cycle among them: its rounds would double the time
        try:
            return self._read(model, body, headers, weight)
        finally:
            gc.enable()

    def _read(self, model: Model, body: Body, headers: Headers, weight: int = 0) -> Understood:
        query = self._parse(model, body, headers)
        return query, model.engine.table(query.columns), weight


async def respond(service: Service, headers: Headers, send: Send, status: int, reply: Reply) -> None:
    """Send a response; a server that leaves closes the connection with it, so that the client's next one leads to another server."""
    sent = [*service.headers, (b"content-type", reply.content_type), (b"content-length", str(len(reply.body)).encode()), *reply.headers]
    if b"traceparent" in headers or b"x-request-id" in headers:
        sent += [(name, headers[name]) for name in (b"traceparent", b"x-request-id") if name in headers]
    if b"origin" in headers:
        sent += service.origins.headers(headers[b"origin"])
    if service.drain.begun:
        sent.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": sent})
    if len(reply.body) <= STREAM_BYTES:
        await send({"type": "http.response.body", "body": reply.body})
    else:
        await send({"type": "http.response.body", "body": reply.body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})  # waits until the client has read most of it


async def _decompressed(body: Body, headers: Headers) -> Body:
    """Return a body without its Content-Encoding: at once if it stays small, so that it waits for no large one."""
    whole = decompressed(body, headers, INLINE_BYTES) if len(body) <= INLINE_BYTES else None
    return whole if whole is not None else await _run(decompressed_whole, body, headers)


async def _run(work: Callable[..., T], *arguments: Any) -> T:
    """Work beside the event loop. Who is cancelled meanwhile waits for its end: until then it has memory."""
    job = asyncio.get_running_loop().run_in_executor(_beside, work, *arguments)
    try:
        await asyncio.wait([job])
        return job.result()
    except asyncio.CancelledError:
        await asyncio.wait([job])
        job.exception()  # nobody else asks for it
        raise
    finally:
        del job  # its exception holds this frame, and the body: a cycle that would stay in memory


def refusal(problem: RequestError, error: Callable[[RequestError], bytes]) -> Reply:
    """Write an error in the form that a protocol's clients read."""
    return Reply(error(problem), headers=tuple([(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]))


def _identity(headers: Headers, query: Query) -> str:
    return headers.get(b"x-request-id", b"").decode("latin-1") or query.identity
