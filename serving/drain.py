"""Leaving without losing a request: the server answers on for a while, and asks every client to come back elsewhere."""

import asyncio
import os
import time
from types import FrameType

import uvicorn

from serving.connection import cut_off_slow
from serving.metrics import Metrics


class Drain:
    """The time between the first signal and the closed door.

    It lasts its full length, however quiet it is: the clients that need it most, those that ask every few seconds and the nodes that
    have not yet heard of the change, come after a pause. Nobody waits for a server that leaves.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end: float | None = None

    def begin(self) -> None:
        """Start to leave."""
        self._end = time.monotonic() + self.seconds

    @property
    def begun(self) -> bool:
        """Whether the server is leaving."""
        return self._end is not None

    @property
    def over(self) -> bool:
        """Whether the door may be closed."""
        return self._end is not None and time.monotonic() >= self._end


class Server(uvicorn.Server):
    """uvicorn, which closes after the drain instead of at once; then it answers what is in flight."""

    def __init__(self, config: uvicorn.Config, drain: Drain, metrics: Metrics) -> None:
        super().__init__(config)
        self._drain, self._metrics = drain, metrics

    def handle_exit(self, sig: int, _: FrameType | None) -> None:
        """Begin to drain at the first signal, end the process at the second."""
        if self._drain.begun:
            os._exit(128 + sig)
        self._drain.begin()

    async def on_tick(self, counter: int) -> bool:
        """Say whether it is time to close; asked ten times a second."""
        if counter % 10 == 0:
            self._metrics.cut_off += cut_off_slow(self.server_state.connections, asyncio.get_running_loop().time())
        return await super().on_tick(counter) or self._drain.over
