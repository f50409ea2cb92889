"""The memory that requests may take together: each is weighed before it becomes Python objects."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path

from serving.errors import RequestError, busy

LIMIT = 512 * 2**20  # bytes of a server, unless MEMORY_LIMIT says another number
RESERVE = 80 * 2**20  # for connections, bodies on their way, and the allocator
LEAST = 32 * 2**20  # however large the model is
PATIENCE = 30.0  # seconds that a large request waits for its turn
PAGE = os.sysconf("SC_PAGE_SIZE")


class Budget:
    """Memory that is handed out and given back, on one event loop.

    Args:
        limit: Bytes that the process may have.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.total = LEAST
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def measure(self, logged: int = 0) -> None:
        """Set aside what the process has now, with the model loaded, and what the prediction log may take later."""
        self.total = max(LEAST, self.limit - RESERVE - logged - resident())

    def take(self, weight: int) -> None:
        """Take memory at once; less than nothing is given back.

        Raises:
            RequestError: There is not so much (413), or not now (503).
        """
        if self.used + weight > self.total and weight > 0:
            self._check(weight)
            raise _in_use()
        self.used += weight
        if weight < 0 and self._waiting:
            self._grant()

    async def wait(self, weight: int) -> None:
        """Take memory as soon as it is free, in the order of asking.

        Raises:
            RequestError: There is not so much (413), or it was not free in time (503).
        """
        self._check(weight)
        if not self._waiting and self.used + weight <= self.total:
            self.used += weight
            return
        turn = (weight, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(PATIENCE):
                await turn[1]
        except BaseException as problem:
            if turn in self._waiting:
                self._waiting.remove(turn)
                self._grant()
            elif _is_granted(turn[1]):  # in the same turn of the event loop in which its patience or its client ended
                self.give(weight)
            if isinstance(problem, TimeoutError):
                raise _in_use() from None
            raise

    def give(self, weight: int) -> None:
        """Give memory back."""
        self.used -= weight
        if self._waiting:
            self._grant()

    def _grant(self) -> None:
        while self._waiting and self.used + self._waiting[0][0] <= self.total:
            weight, turn = self._waiting.popleft()
            if not turn.done():
                self.used += weight
                turn.set_result(None)

    def _check(self, weight: int) -> None:
        if weight > self.total:
            need, have = weight // 2**20, self.total // 2**20
            raise RequestError(413, f"the request would take {need} MB of memory, and {have} MB are for requests: send fewer rows a request")


def _is_granted(turn: asyncio.Future[None]) -> bool:
    return turn.done() and not turn.cancelled()


def _in_use() -> RequestError:
    return busy("the server's memory is in use: try again in a second, or send fewer rows at once")


def resident() -> int:
    """Return the bytes that this process has in memory, 0 where the system does not say."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * PAGE if path.exists() else 0
