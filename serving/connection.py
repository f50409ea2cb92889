"""One client's connection: uvicorn's, with an end for clients that send or read too slowly."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = 30.0  # from a request's first byte to its last
READ_SECONDS = 30.0  # that a client may leave a response unread
HEAD_LIMIT = 64 * 1024  # bytes of a request that are not its body: uvicorn would keep any number
MOST = 4096  # connections at once

REFUSAL = b'HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n{"error":"%s"}'


class Connection(HttpToolsProtocol):
    """Knows since when it waits for its client, and how much it has read beside the body."""

    receiving: float | None = None
    unread: float | None = None
    head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self.receiving = self.loop.time()
        if len(self.connections) > MOST:
            self.refuse(b"503 Service Unavailable", "too many connections: try again in a second", b"retry-after: 1\r\n")

    def data_received(self, data: bytes) -> None:
        """Read on, up to a limit."""
        self.head += len(data)
        super().data_received(data)
        if self.head > HEAD_LIMIT and not self.transport.is_closing():
            self.refuse(b"431 Request Header Fields Too Large", f"the headers are larger than {HEAD_LIMIT // 1024} kB")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.head -= len(body)
        super().on_body(body)

    def on_message_begin(self) -> None:
        """Begin to wait for a request's end."""
        self.receiving = self.loop.time()
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """The client has sent what it wanted."""
        self.receiving, self.head = None, 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        self.unread = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads."""
        self.unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong in the way of all other errors."""
        self.refuse(b"400 Bad Request", msg.rstrip("."))

    def refuse(self, status: bytes, message: str, headers: bytes = b"") -> None:
        """End the connection with a sentence."""
        self.transport.write(REFUSAL % (status, len(message) + len('{"error":""}'), headers, message.encode()))
        self.transport.close()

    def cut_off(self, now: float) -> bool:
        """End the connection if its client is too slow."""
        if self.unread is not None and now - self.unread > READ_SECONDS:
            self.transport.abort()
            return True
        if self.receiving is not None and now - self.receiving > REQUEST_SECONDS:
            self.receiving = None
            self.refuse(b"408 Request Timeout", f"the request did not come within {REQUEST_SECONDS:.0f} seconds")
            return True
        return False


def cut_off_slow(connections: Any, now: float) -> int:
    """End the connections whose clients are too slow; return how many."""
    return sum([connection.cut_off(now) for connection in list(connections) if isinstance(connection, Connection)])
