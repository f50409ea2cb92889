"""The memory that requests take together: whatever becomes of a request, all of it is given back."""

from __future__ import annotations

import asyncio
import gc
import gzip
import threading
import weakref
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.bundle import Input, Manifest, Output
from serving import endpoint
from serving.budget import RESERVE, Budget, resident
from serving.drain import Drain
from serving.endpoint import INLINE_BYTES, INLINE_ROWS, Endpoint
from serving.errors import RequestError
from serving.model import Version
from serving.prediction_log import Limits
from serving.query import Query, Reply
from serving.service import Service
from serving.settings import Settings

ROWS = INLINE_ROWS + 1
TOTAL = 1000
SLACK = 2**24  # what the process may take or give back meanwhile


@pytest.fixture
def budget() -> Budget:
    made = Budget(0)
    made.total = TOTAL
    return made


class Stop:
    """Where a request waits for ever."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def wait(self, *_: Any) -> Any:
        self.reached.set()
        await asyncio.Event().wait()


class Slow:
    """Work beside the event loop that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.end = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> Any:
        self.begun.set()
        assert self.end.wait(10)
        return Query(([1.0],), ("predict",), lambda _: Reply(b""))


def ask(service: Service, *, parse: Any = None, respond: Any = lambda _: Reply(b""), weigh: Any = lambda *_: 500) -> Callable[..., Awaitable[None]]:
    """An endpoint that understands any body as 10,001 rows."""
    understood = parse or (lambda *_: Query(([0.0] * ROWS,), ("predict",), respond))
    return Endpoint(service, "test", understood, weigh, lambda problem: problem.message.encode())


@pytest.fixture
def service() -> Service:
    made = Service(Version("wine", "3", "s3://models/x.zip", "sha256:0"), Settings(), Drain(0))
    made.model = SimpleNamespace(engine=SimpleNamespace(table=lambda columns: columns))  # type: ignore[assignment]
    made.batcher = SimpleNamespace(answer=answered)  # type: ignore[assignment]
    made.budget.total, made.row_weight = 1_000_000, 8
    return made


async def answered(*_: Any) -> Any:
    return {"predict": np.zeros(ROWS)}


async def receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b" " * (INLINE_BYTES + 1)}


async def send(_: Any) -> None:
    return


SCOPE = {"headers": [(b"host", b"localhost")], "type": "http", "http_version": "1.1", "path": "/"}


async def cancelled(request: Awaitable[None], reached: Callable[[], Awaitable[Any]], release: Callable[[], None] = lambda: None) -> None:
    task = asyncio.ensure_future(request)
    await asyncio.wait_for(reached(), 10)
    task.cancel()
    await asyncio.sleep(0.01)
    release()
    with pytest.raises(asyncio.CancelledError):
        await task


def left(service: Service) -> tuple[int, int]:
    return service.budget.used, service.bodies.bytes


def test_the_rows_of_the_prediction_log_are_set_aside() -> None:
    # given
    made = Service(Version("wine", "3", "s3://models/x.zip", "sha256:0"), Settings(prediction_log=1.0, memory=2**34), Drain(0))
    manifest = Manifest("wine", "binary", "quality", "onnx", (Input("alcohol", "FP64"),), (Output("predict", "FP64"),), (0, 1), {})
    # when
    made.open(SimpleNamespace(manifest=manifest, golden=None, engine=SimpleNamespace(name="onnx"), outputs=("predict",)))  # type: ignore[arg-type]
    made.close()
    # then
    assert made.budget.total + resident() + RESERVE < made.budget.limit - Limits().size + SLACK


def test_a_request_that_is_cancelled_while_the_model_is_asked_gives_back(service: Service) -> None:
    async def run() -> None:
        stop = Stop()
        service.batcher.answer = stop.wait  # type: ignore[union-attr,method-assign]
        await cancelled(ask(service)(SCOPE, receive, send), stop.reached.wait)

    asyncio.run(run())

    assert left(service) == (0, 0)


def test_a_request_that_is_cancelled_while_it_is_sent_gives_back(service: Service) -> None:
    async def run() -> None:
        stop = Stop()
        await cancelled(ask(service)(SCOPE, receive, stop.wait), stop.reached.wait)

    asyncio.run(run())

    assert left(service) == (0, 0)


@pytest.mark.parametrize("part", ["weigh", "parse", "respond"])
def test_memory_is_held_until_a_cancelled_requests_work_has_ended(service: Service, part: str) -> None:
    held = []

    async def run() -> None:
        slow = Slow()

        def release() -> None:
            held.append(sum(left(service)))
            slow.end.set()

        reached = partial(asyncio.to_thread, slow.begun.wait)
        await cancelled(ask(service, **{part: slow})(SCOPE, receive, send), reached, release)

    asyncio.run(run())

    assert held[0] > 0
    assert left(service) == (0, 0)


def test_a_request_that_is_cancelled_while_it_waits_for_memory_gives_back(service: Service) -> None:
    async def run() -> None:
        service.budget.take(999_999)
        await cancelled(ask(service)(SCOPE, receive, send), partial(asyncio.sleep, 0.2))
        service.budget.give(999_999)

    asyncio.run(run())

    assert left(service) == (0, 0)


def test_a_waiter_that_is_cancelled_in_the_turn_of_its_grant_gives_back(budget: Budget) -> None:
    async def run() -> None:
        await budget.wait(TOTAL)
        task = asyncio.ensure_future(budget.wait(TOTAL))
        await asyncio.sleep(0)
        budget.give(TOTAL)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await budget.wait(TOTAL)
        budget.give(TOTAL)

    asyncio.run(run())

    assert budget.used == 0


def test_a_waiter_that_is_cancelled_lets_the_next_one_have_its_turn(budget: Budget) -> None:
    async def run() -> None:
        await budget.wait(400)
        first, second = asyncio.ensure_future(budget.wait(TOTAL)), asyncio.ensure_future(budget.wait(500))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait_for(second, 1)

    asyncio.run(run())

    assert budget.used == 900


@pytest.mark.parametrize(("weight", "status"), [(TOTAL + 1, 413), (TOTAL - 400, 503), (TOTAL - 500, None), (-500, None)])
def test_memory_that_is_not_there_is_not_taken(budget: Budget, weight: int, status: int | None) -> None:
    budget.take(500)

    if status:
        with pytest.raises(RequestError) as refused:
            budget.take(weight)
        assert (refused.value.status, budget.used) == (status, 500)
    else:
        budget.take(weight)
        assert budget.used == 500 + weight


def test_small_bodies_of_gzip_do_not_wait_for_large_ones(service: Service) -> None:
    async def run() -> None:
        slow = Slow()
        work = asyncio.get_running_loop().run_in_executor(endpoint._beside, slow)
        small = ask(service, parse=lambda *_: Query(([1.0],), ("predict",), lambda _: Reply(b"")))
        headers = [*SCOPE["headers"], (b"content-encoding", b"gzip")]

        async def compressed() -> dict[str, Any]:
            return {"type": "http.request", "body": gzip.compress(b"{}")}

        try:
            await asyncio.wait_for(small(SCOPE | {"headers": headers}, compressed, send), 2)
        finally:
            slow.end.set()
            await work

    asyncio.run(run())


def test_a_large_body_that_is_refused_is_freed_at_once(service: Service) -> None:
    bodies = []

    def refuse(_: Any, body: Any, __: Any) -> Query:
        bodies.append(weakref.ref(body))
        raise RequestError(400, "no rows")

    class Large(bytearray):
        """A body that can be watched."""

    async def large() -> dict[str, Any]:
        return {"type": "http.request", "body": Large(INLINE_BYTES + 1)}

    gc.disable()
    try:
        asyncio.run(ask(service, parse=refuse)(SCOPE, large, send))  # type: ignore[arg-type]
        assert [body() for body in bodies] == [None]
    finally:
        gc.enable()
