"""Leaving without losing a request: the server answers on for a while, and asks every client to come back elsewhere."""

import os
import time
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Drain:
    """The time between the first signal and the closed door.

    It lasts its full length, however quiet it is: the clients that need it most, those that ask every few seconds and the nodes that
    have not yet heard of the change, come after a pause. Nobody waits for a server that leaves.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None

    def begin(self) -> None:
        """Start to leave."""
        self._end = time.monotonic() + self._seconds

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

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, _: FrameType | None) -> None:
        """Begin to drain at the first signal, end the process at the second."""
        if self._drain.begun:
            os._exit(128 + sig)
        self._drain.begin()

    async def on_tick(self, counter: int) -> bool:
        """Say whether it is time to close; asked ten times a second."""
        return await super().on_tick(counter) or self._drain.over


def dismissing(app: ASGIApp, drain: Drain) -> ASGIApp:
    """Have each response of a server that leaves close its connection: the client's next one leads to another server."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def dismiss(message: Message) -> None:
            if drain.begun and message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await app(scope, receive, dismiss)

    return answer
