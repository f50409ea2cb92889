"""Zero-wait micro-batching: what arrives together is answered together, and what is alone does not wait.

There is no timer: a batch is what came in one turn of the event loop, or while the engine was at work. Where a turn brought several
requests, others are on their way: the next turn's are taken, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from core.engines import Answers, Engine
from serving.errors import RequestError, busy, defect

BATCH_ROWS = 1024  # of one call of the engine
QUEUE_ROWS = 500_000  # waiting; a request beyond is refused
QUEUE_REQUESTS = 4096
PATIENCE = 30.0  # seconds that a request waits before it is refused

Ran = tuple[int, Answers | RequestError]  # so many requests, and what became of them together


@dataclass(slots=True)
class Waiting:
    """One request's rows, on the way through the engine."""

    table: Any
    rows: int
    outputs: tuple[str, ...]
    answer: asyncio.Future[Answers]
    since: float


class Batcher:
    """Leads requests to an engine in batches, on one event loop.

    Args:
        engine: What answers.
        observe: Told of each batch that was answered: how many requests, how many rows, the answers.
    """

    def __init__(self, engine: Engine, observe: Callable[[int, int, Answers], None]) -> None:
        self._engine, self._observe = engine, observe
        self._waiting: deque[Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, "engine")
        self._busy = False
        self.rows = 0  # waiting

    @property
    def requests(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    async def answer(self, table: Any, rows: int, outputs: tuple[str, ...]) -> Answers:
        """Return the answers to a request's rows, and to no others.

        Args:
            table: What the engine made of them.
            rows: How many they are.
            outputs: What is asked for.

        Raises:
            RequestError: The model refuses them (400), it fails (500), or there is too much to do (503).
        """
        if self.rows and (self.rows + rows > QUEUE_ROWS or len(self._waiting) >= QUEUE_REQUESTS):
            raise _overloaded()
        loop = asyncio.get_running_loop()
        waiting = Waiting(table, rows, outputs, loop.create_future(), loop.time())
        self._waiting.append(waiting)
        self.rows += rows
        if not self._busy:
            self._busy = True
            loop.call_soon(self._gather, loop, 1)
        return await waiting.answer

    def _gather(self, loop: asyncio.AbstractEventLoop, seen: int) -> None:
        """Run what is there, unless several came in the last turn and there is not yet enough to do."""
        if seen < len(self._waiting) and self.rows < self._engine.quick_rows:
            loop.call_soon(self._gather, loop, len(self._waiting))
        else:
            self._next(loop)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the batch that is there; what comes meanwhile is the next one."""
        batch = self._take(loop.time())
        if not batch:
            self._busy = bool(self._waiting)
            if self._busy:
                loop.call_soon(self._next, loop)
            return
        if sum([waiting.rows for waiting in batch]) <= self._engine.quick_rows:
            self._finish(loop, batch, _run(self._engine, batch))
        else:
            running = self._thread.submit(_run, self._engine, batch)
            running.add_done_callback(lambda done: loop.call_soon_threadsafe(self._finish, loop, batch, done.result()))

    def _take(self, now: float) -> list[Waiting]:
        batch: list[Waiting] = []
        rows = 0
        while self._waiting and (not batch or rows + self._waiting[0].rows <= BATCH_ROWS):
            waiting = self._waiting.popleft()
            self.rows -= waiting.rows
            if waiting.answer.done():  # its client has gone
                continue
            if now - waiting.since > PATIENCE:
                _fail([waiting], _overloaded())
                continue
            batch.append(waiting)
            rows += waiting.rows
        return batch

    def _finish(self, loop: asyncio.AbstractEventLoop, batch: list[Waiting], results: list[Ran]) -> None:
        """Give each request its own rows of the answers."""
        for count, answers in results:
            part, batch = batch[:count], batch[count:]
            if isinstance(answers, RequestError):
                _fail(part, answers)
                continue
            start = 0
            for waiting in part:
                if not waiting.answer.done():
                    whole = count == 1
                    waiting.answer.set_result(answers if whole else {name: answers[name][start : start + waiting.rows] for name in answers})
                start += waiting.rows
            self._observe(count, start, answers)
        if self._waiting:
            loop.call_soon(self._gather, loop, len(self._waiting))
        else:
            self._busy = False


def _run(engine: Engine, batch: list[Waiting]) -> list[Ran]:
    """Answer a batch; if it cannot be answered as a whole, each request by itself, so that only the one at fault fails."""
    outputs = batch[0].outputs if len(batch) == 1 else {name for waiting in batch for name in waiting.outputs}
    try:
        return [(len(batch), engine.answer([waiting.table for waiting in batch], outputs))]
    except Exception as error:
        return [(1, _error(error))] if len(batch) == 1 else [_run(engine, [waiting])[0] for waiting in batch]


def _fail(batch: list[Waiting], error: RequestError) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)


def _error(error: Exception) -> RequestError:
    if isinstance(error, ValueError):  # scikit-learn's word for rows that it cannot take: the golden rows it could
        return RequestError(400, f"the model refuses these rows: {error}")
    return defect(error)


def _overloaded() -> RequestError:
    return busy("too many rows are waiting: try again in a second, or send fewer at once")
