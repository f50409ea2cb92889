"""The layers of this server, each by itself: the same code as in the running server, called in this process with the same bytes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from resource import RUSAGE_SELF, getrusage
from typing import Any

import httptools
import uvloop
from starlette.types import ASGIApp

from benchmarks.serving.model import Model as Prepared
from benchmarks.serving.protocols import Protocol
from core.engines import Answers
from serving import memory
from serving.app import application
from serving.body import parse_json
from serving.drain import Drain
from serving.model import Model, Version, load
from serving.query import Parse
from serving.service import Service
from serving.settings import Settings

REPEATS, SECONDS, APPLICATION_SECONDS = 5, 0.1, 2.0
LAYERS = (
    "kernel: sockets",
    "event loop, uvicorn",
    "HTTP parsing",
    "routing, batching, metrics",
    "JSON of the request",
    "checks, columns",
    "codes of texts, matrix",
    "engine",
    "JSON of the response",
)


@dataclass(frozen=True)
class Case:
    """A protocol, the rows of a request, and how many connections ask at once."""

    protocol: Protocol
    parse: Parse
    rows: int
    connections: int

    @property
    def title(self) -> str:
        """Return its name in the table."""
        return f"{self.protocol.name}, {self.rows:,} x {self.connections}"


def parts(case: Case, prepared: Prepared, kernel: float, outside: float) -> Iterator[float]:
    """Yield the microseconds of each layer, in the order of `LAYERS`.

    Args:
        case: What is asked.
        prepared: The model that is served, and rows.
        kernel: Microseconds of a request in the kernel, of the running server.
        outside: Those outside.
    """
    service = _service(prepared)
    model, batcher = service.proved(), case.connections if case.rows == 1 else 1
    bodies = [case.protocol.write(prepared.rows.part(start, start + case.rows))[1] for start in range(0, case.rows * 10, case.rows)]
    raw = [case.protocol.request(prepared.rows.part(start, start + case.rows)) for start in range(0, case.rows * 10, case.rows)]
    queries = [case.parse(model, body, {}) for body in bodies]
    tables = [model.engine.table(query.columns) for query in queries]
    answers = [model.engine.answer([table], query.outputs) for table, query in zip(tables, queries, strict=True)]
    http = _each(_parse_http, raw)
    json = _each(parse_json, bodies)
    checks = _each(lambda body: case.parse(model, body, {}), bodies) - json
    matrix = _each(lambda query: model.engine.table(query.columns), queries)
    engine = _each(lambda batch: _answer(model, batch), [list(islice(cycle(tables), place, place + batcher)) for place in range(10)]) / batcher
    response = _each(lambda pair: pair[0].respond(pair[1]), list(zip(queries, answers, strict=True)))
    app, inside = _application(case, service, bodies)
    yield from (kernel - inside, outside - (app - inside) - http, http)
    yield from (app - json - checks - matrix - engine - response, json, checks, matrix, engine, response)


def _service(prepared: Prepared) -> Service:
    found = prepared.version
    version = Version(found.name, found.version, found.uri, found.digest)
    service = Service(version, Settings(), Drain(0))
    service.open(load(version))
    memory.settle()
    return service


def _answer(model: Model, tables: list[Any]) -> Answers:
    return model.engine.answer(tables, ["predict_proba"])


def _parse_http(request: bytes) -> None:
    httptools.HttpRequestParser(_Nothing()).feed_data(request)


class _Nothing:
    """Takes what the parser finds, as uvicorn's connection does, and forgets it."""

    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


def _application(case: Case, service: Service, bodies: Sequence[bytes]) -> tuple[float, float]:
    """Return the microseconds of a request in the application, and those in the kernel among them.

    It is called as uvicorn calls it: a task for each request, as many at once as connections.
    """
    app = application(service, load, print)

    async def turns() -> tuple[float, float]:
        count, began, before = 0, time.process_time(), getrusage(RUSAGE_SELF)
        while time.process_time() - began < APPLICATION_SECONDS:
            await asyncio.gather(*(_call(app, case.protocol.path, bodies[(count + place) % len(bodies)]) for place in range(case.connections)))
            count += case.connections
        after = getrusage(RUSAGE_SELF)
        kernel, outside = after.ru_stime - before.ru_stime, after.ru_utime - before.ru_utime
        return (kernel + outside) / count * 1e6, kernel / count * 1e6

    return uvloop.run(turns())


async def _call(app: ASGIApp, path: str, body: bytes) -> None:
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode()}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200  # noqa: S101  (a refusal would be faster)

    await app(scope | {"query_string": b"", "root_path": "", "headers": headers, "client": None, "server": None, "state": {}}, receive, send)


def _each(work: Callable[[Any], object], arguments: Sequence[Any]) -> float:
    """Return the microseconds of one call."""
    found = []
    for _ in range(REPEATS):
        count, began = 0, time.process_time()
        while time.process_time() - began < SECONDS:
            for argument in arguments:
                work(argument)
            count += len(arguments)
        found.append((time.process_time() - began) / count)
    return statistics.median(found) * 1e6
