"""A small balancer: leads each request to the next replica, one at a time on a connection, and none a second time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

PROBE_SECONDS = 1.0  # a replica that leaves is known as such only after a while, as in a cluster
LOST = (ConnectionError, asyncio.IncompleteReadError)


@dataclass
class Message:
    """A request or a response."""

    first: bytes
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.first[9:12])


PROBE = Message(b"GET /v2/health/ready HTTP/1.1", {b"host": b"localhost"})
UNANSWERED = Message(b"HTTP/1.1 502 Bad Gateway")


@dataclass
class Connection:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def exchange(self, request: Message) -> Message:
        write(self.writer, request)
        return await read(self.reader)


@dataclass(eq=False)
class Replica:
    """A server and what became of the requests that were led to it: how many are there, were lost, were answered with a farewell."""

    address: tuple[str, int]
    ready: bool = False
    flying: int = 0
    lost: int = 0
    dismissed: int = 0


class Balancer:
    """Replicas behind one address."""

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self.port, self.turn = 0, 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Balancer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        probing = asyncio.create_task(self._probe())
        async with server:
            yield self
        probing.cancel()

    async def _probe(self) -> None:
        while True:
            for replica in list(self.replicas):
                replica.ready = await _is_ready(replica)
            await asyncio.sleep(PROBE_SECONDS)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client; it has its own connections to the replicas."""
        kept: dict[Replica, Connection] = {}
        with suppress(*LOST, asyncio.CancelledError):
            while True:
                write(writer, await self._answer(await read(reader), kept))
        for connection in [*kept.values(), Connection(reader, writer)]:
            connection.writer.close()

    async def _answer(self, request: Message, kept: dict[Replica, Connection]) -> Message:
        """Ask one replica; another only if that one does not take the request: it refuses to be connected to, or says 503."""
        self.turn += 1
        for gone in [replica for replica in kept if not replica.ready]:
            kept.pop(gone).writer.close()
        ready = [replica for replica in self.replicas if replica.ready]
        for place in range(len(ready)):
            replica = ready[(self.turn + place) % len(ready)]
            try:
                answer = await _lead(request, replica, kept)
            except ConnectionRefusedError:
                replica.ready = False
                continue
            if answer.status != 503:
                return answer
        return UNANSWERED


async def _is_ready(replica: Replica) -> bool:
    try:
        connection = await connect(replica.address)
        answer = await connection.exchange(PROBE)
        connection.writer.close()
    except LOST:
        return False
    return answer.status == 200


async def _lead(request: Message, replica: Replica, kept: dict[Replica, Connection]) -> Message:
    replica.flying += 1
    try:
        connection = await _connection(replica, kept)
        answer = await connection.exchange(request)
    except ConnectionRefusedError:
        raise
    except LOST:  # it may have been answered: nobody else is asked
        replica.lost, replica.ready = replica.lost + 1, False
        return UNANSWERED
    finally:
        replica.flying -= 1
    if answer.headers.pop(b"connection", b"") == b"close":
        replica.dismissed += 1
        connection.writer.close()
    else:
        kept[replica] = connection
    return answer


async def _connection(replica: Replica, kept: dict[Replica, Connection]) -> Connection:
    connection = kept.pop(replica, None)
    return await connect(replica.address) if connection is None or connection.reader.at_eof() else connection


async def connect(address: tuple[str, int]) -> Connection:
    """Open a connection."""
    return Connection(*await asyncio.open_connection(*address))


async def read(stream: asyncio.StreamReader) -> Message:
    """Read one message, or raise IncompleteReadError when the connection ends before it does."""
    first, *lines = (await stream.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    return Message(first, headers, await stream.readexactly(int(headers.get(b"content-length", 0))))


def write(stream: asyncio.StreamWriter, message: Message) -> None:
    """Write one message."""
    headers = message.headers | {b"content-length": b"%d" % len(message.body)}
    stream.write(b"\r\n".join([message.first, *[b"%s: %s" % header for header in headers.items()], b"", message.body]))
