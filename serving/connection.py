"""One client's connection: uvicorn's, with limits on what a client may send, and how slowly."""

from __future__ import annotations

import asyncio
from heapq import nsmallest
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.upgrade import parser_behind

if TYPE_CHECKING:
    from serving.service import Service

REQUEST_SECONDS = 30.0  # from a request's first byte to its last
READ_SECONDS = 30.0  # that a client may leave a response unread
HEAD_LIMIT = 32 * 1024  # bytes of a request that are not its body: uvicorn would keep any number
FIELDS_LIMIT = 100  # headers of a request: each costs several times its bytes
MOST = 4096  # connections at once
RELEASED = 64  # that make room for new ones, when all are taken
END = b"\r\n\r\n"  # of a head
NUMBERS = count()  # of connections, in the order in which they came
STEP = 256  # bytes of chunks that may hold the end of a request
JSON_ERROR = '{"error":"%s"}'
REFUSAL = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%s\r\n%s"

Refused = tuple[bytes, str]  # a status line, and a sentence
TOO_LARGE = f"the headers are larger than {HEAD_LIMIT // 1024} kB or more than {FIELDS_LIMIT}"


class Connection(HttpToolsProtocol):
    """Reads one request at a time, and knows since when it waits for its client.

    What a client sends ahead of an answer waits unparsed: nothing is read from the socket until its turn comes.

    Args:
        service: What serves.
        more: What uvicorn gives its protocols.
    """

    receiving: float | None = None
    unread: float | None = None
    idle: float | None = None
    deferred: Refused | None = None
    taken = received = held = 0  # bytes of this request, those of them that are body, and what was sent ahead
    is_uneven = has_ended = False

    def __init__(self, service: Service, **more: Any) -> None:
        super().__init__(**more)
        self.service = service
        self.ahead = bytearray()

    @property
    def is_busy(self) -> bool:
        """Whether a request is here as a whole and not yet answered."""
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request; if there are too many connections, the most silent ones make room."""
        super().connection_made(transport)
        self.number = next(NUMBERS)  # the clock of the loop stands still while it takes many
        self.receiving, self.headers, self.url = self.loop.time(), [], b""
        if len(self.connections) > MOST and not release_silent(self.connections, self):
            self.refuse(b"503 Service Unavailable", "too many connections: try again in a second", b"retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was sent ahead."""
        self.ahead.clear()
        self._account()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what was asked, though its client sends no more: it may still read."""
        self.has_ended = True
        return self.is_busy

    def data_received(self, data: bytes) -> None:
        """Read on; whatever may hold more than one request is read in parts, one request at a time."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            end = data.find(END)
            is_one = end < 0 or data.find(END, end + len(END)) < 0
        else:
            is_one = cycle.more_body and data.find(END) < 0
        if is_one and not self.ahead:
            self._feed(data)
        else:
            self.ahead += data
            self._advance()

    def on_message_begin(self) -> None:
        """Begin to wait for a request's end."""
        self.receiving, self.idle = self.loop.time(), None
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self.received += len(body)
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The client has sent what it wanted."""
        self.receiving = None
        self.taken = self.received = 0
        cycle = self.cycle
        if cycle.response_complete:  # before the end of its request
            self.idle = self.loop.time()
        else:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Go on with what was sent ahead, or wait for the next request: uvicorn would set a timer for each."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.receiving is None:
            self.idle = self.loop.time()
        if self.ahead or self.deferred or self.has_ended:
            self._go_on()

    def pause_writing(self) -> None:
        """Begin to wait for the client to read."""
        self.unread = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The client reads."""
        self.unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong in the way of all other errors, after the answers that are due before."""
        self._refuse_in_turn(b"400 Bad Request", msg.rstrip("."), is_next=self.is_busy)

    def refuse(self, status: bytes, message: str, headers: bytes = b"") -> None:
        """End the connection with a sentence."""
        body = (JSON_ERROR % message).encode()
        self.transport.write(REFUSAL % (status, len(body), headers, body))
        self.transport.close()
        if self.cycle:
            self.cycle.disconnected = True  # at once: what is written to it from now on is for nobody
        self.service.count_refusal(int(status[:3]), self.client)

    def cut_off(self, now: float) -> bool:
        """End the connection if its client is too slow, or was idle for too long; return whether it was slow."""
        if self.unread is not None and now - self.unread > READ_SECONDS:
            self._abort()
            return True
        if self.receiving is not None and now - self.receiving > REQUEST_SECONDS:
            self.receiving = None
            self.refuse(b"408 Request Timeout", f"the request did not come within {REQUEST_SECONDS:.0f} seconds")
            return True
        if self.idle is not None and now - self.idle > self.timeout_keep_alive:
            self.transport.close()
        return False

    def silent_since(self) -> float | None:
        """Return since when it waits for its client, None if its client waits for it."""
        return self.idle if self.receiving is None else self.receiving

    def _abort(self) -> None:
        self.transport.abort()
        if self.cycle:
            self.cycle.disconnected = True
        self.flow.resume_writing()

    def _feed(self, data: bytes) -> None:
        self.taken += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore(data[upgrade.args[0] :])
        if self.receiving is not None or self.is_uneven or len(data) > HEAD_LIMIT or len(self.headers) > FIELDS_LIMIT:
            self._check_head()

    def _ignore(self, rest: bytes) -> None:
        """Read a request that offers another protocol as it stands (RFC 9110, 7.8); the parser took its head for all of it."""
        if self.parser.get_method() == b"CONNECT":
            self.refuse(b"400 Bad Request", "CONNECT is not for a model server")
            return
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        self.receiving = self.loop.time()
        self.parser = parser_behind(self)
        self._feed(rest)

    def _check_head(self) -> None:
        """Refuse a head that is too large, whatever parts it came in."""
        large = self.taken - self.received > HEAD_LIMIT or self._size() > HEAD_LIMIT
        if (large or len(self.headers) > FIELDS_LIMIT) and not self.transport.is_closing():
            self._refuse_in_turn(b"431 Request Header Fields Too Large", TOO_LARGE, is_next=self.is_busy and self.receiving is not None)
        self.is_uneven = self.receiving is not None  # `taken` may lack what came with the end of the request before

    def _refuse_in_turn(self, status: bytes, message: str, *, is_next: bool) -> None:
        """End the connection with a sentence; if the fault is in the next request, after the answer to this one."""
        if is_next:
            self.deferred = (status, message)
            self.ahead.clear()
            self.flow.pause_reading()
        elif not self.transport.is_closing():
            self.refuse(status, message)

    def _go_on(self) -> None:
        if self.transport.is_closing():
            return
        if self.deferred:
            self.refuse(*self.deferred)
        elif self.ahead:
            self._advance()
        if self.has_ended and not self.is_busy:
            self.transport.close()

    def _advance(self) -> None:
        """Read what was sent ahead, up to the end of the next request."""
        while self.ahead and not self.is_busy and not self.transport.is_closing():
            stop = self._stop()
            part = bytes(self.ahead[:stop])
            del self.ahead[:stop]
            self._feed(part)
        if self.transport.is_closing():
            self.ahead.clear()
        self._account()
        if self.ahead:
            self.flow.pause_reading()

    def _stop(self) -> int:
        """Return how many bytes hold the end of one request at most."""
        start = 0
        if self.cycle is not None and self.cycle.more_body and self.receiving is not None:
            length = next((value for name, value in self.headers if name == b"content-length"), None)
            if length is not None:
                return int(length) - self.received or 1
            start = STEP
        end = self.ahead.find(END, start)
        return len(self.ahead) if end < 0 else end + len(END)

    def _account(self) -> None:
        """Count what was sent ahead among the bodies; drop it when they are too many, and end the connection with the next answer."""
        more = len(self.ahead) - self.held
        if more > 0 and self.service.bodies.is_full(more) and self.cycle:
            self.cycle.keep_alive = False
            self.ahead.clear()
            more = -self.held
        self.held += more
        self.service.bodies.bytes += more

    def _size(self) -> int:
        return len(self.url) + sum(map(len, chain.from_iterable(self.headers))) + 4 * len(self.headers)


def cut_off_slow(connections: Any, now: float) -> int:
    """End the connections whose clients are too slow; return how many."""
    return sum([connection.cut_off(now) for connection in list(connections) if isinstance(connection, Connection)])


def release_silent(connections: Any, newest: Connection) -> int:
    """End those connections whose clients have been silent for longest; return how many."""
    silent = [(since, each.number, each) for each in connections if each is not newest and (since := each.silent_since()) is not None]
    chosen = nsmallest(RELEASED, silent)
    for _, _, connection in chosen:
        connections.discard(connection)
        connection.transport.close()
    return len(chosen)
