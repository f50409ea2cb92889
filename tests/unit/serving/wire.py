"""HTTP by its bytes: what no client library would send, and what came back."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from tests.unit.serving.servers import Running

JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """A response, as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return orjson.loads(self.body)


def request(path: str, body: bytes | None = None, headers: Mapping[str, str] = JSON, method: str = "POST", version: str = "1.1") -> bytes:
    """Write a request; a body brings its length, if the headers do not say another."""
    lines = {"host": "localhost", **({} if body is None else {"content-length": str(len(body))}), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/{version}\r\n{head}\r\n".encode("latin-1") + (body or b"")


def chunked(*parts: bytes) -> bytes:
    """Write a body in chunks."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))


def connect(server: Running, seconds: float = 10) -> socket.socket:
    """Open a connection whose reads do not wait for ever."""
    return socket.create_connection(server.address, timeout=seconds)


def answers(client: socket.socket) -> Iterator[Answer]:
    """Read responses until the connection ends."""
    with client.makefile("rb") as stream:
        while (answer := read(stream)) is not None:
            yield answer


def read(stream: BinaryIO, is_head: bool = False) -> Answer | None:
    """Read one response; None at the end. One to HEAD has no body, though it tells its length."""
    line = stream.readline()
    if not line:
        return None
    assert line.startswith(b"HTTP/1.1 "), line
    headers = dict(_headers(iter(stream.readline, b"\r\n")))
    status, length = int(line[9:12]), 0 if is_head else int(headers.get("content-length", 0))
    body = stream.read(length)
    assert len(body) == length, f"{len(body)} of {length} bytes came"
    return Answer(status, headers, body)


def exchange(server: Running, *parts: bytes) -> list[Answer]:
    """Send bytes on a connection of their own and read the first answer; none if the server had enough before it was read."""
    with connect(server) as client:
        try:
            for part in parts:
                client.sendall(part)
            return [next(answers(client))]
        except (BrokenPipeError, ConnectionResetError):
            return []


def abandon(server: Running, sent: bytes) -> list[Answer]:
    """Send bytes, say that there will be no more, and read all that comes back until the server ends the connection."""
    with connect(server) as client:
        try:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            return list(answers(client))
        except (BrokenPipeError, ConnectionResetError):
            return []


def pipeline(server: Running, requests: Iterable[bytes]) -> list[Answer]:
    """Send requests on one connection without waiting for answers; go on with another where the server closes it."""
    rest, found = list(requests), list[Answer]()
    while rest:
        with connect(server) as client:
            client.sendall(b"".join(rest))
            stream = client.makefile("rb")
            while rest and (answer := read(stream, rest[0].startswith(b"HEAD"))) is not None:
                found.append(answer)
                rest.pop(0)
                if answer.headers.get("connection") == "close":
                    break
            else:
                assert not rest, f"the server ended the connection and left {len(rest)} requests unanswered, the first: {rest[0]!r}"
    return found


def _headers(lines: Iterator[bytes]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()
