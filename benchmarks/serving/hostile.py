"""Attack a model server, and see what a good client notices: `python -m benchmarks.serving.hostile [--quick]`."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from core import processes

RECORD = Path(__file__).with_name("hostile.json")
MEMORY = 512 * 2**20  # bytes: `serving.memory` as it is by default
MEGABYTE = 2**20
BODY = 16 * MEGABYTE - 64
PATIENCE, PAUSE = 120, 0.02  # seconds
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


@dataclass(frozen=True)
class Result:
    """What an attack did.

    Attributes:
        attack: Which one.
        peak_mb: The most memory that the server had meanwhile.
        worst_ms: The slowest answer that a good client got meanwhile.
        outcome: What the attacker was answered.
    """

    attack: str
    peak_mb: float
    worst_ms: float
    outcome: str


HEADER = ("attack", "peak memory", "slowest answer meanwhile", "the attacker got")

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


def attack(target: Target, *, is_quick: bool) -> Iterator[Result]:
    """Run each attack while a good client asks all the time."""
    for name, run in ATTACKS.items():
        _forget_peak(target.pid)
        with good_client(target) as seconds:
            outcome = run(target, is_quick)
        yield Result(name, round(peak(target.pid) / 1e6), round(max(seconds) * 1000), outcome)


@contextmanager
def good_client(target: Target) -> Iterator[list[float]]:
    """Ask whether the server lives, all the while, each time on a connection of its own, as the kubelet does; collect the seconds."""
    seconds, done = list[float](), threading.Event()

    def ask() -> None:
        while not done.wait(PAUSE) or not seconds:
            began = time.monotonic()
            status = target.ask("GET", "/v2/health/live")
            seconds.append(time.monotonic() - began if status == 200 else float(PATIENCE))

    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(ask)
        try:
            yield seconds
        finally:
            done.set()
        asking.result()


def peak(pid: int) -> int:
    """Return the most bytes that a process had in memory."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def recorded() -> list[tuple[str, ...]]:
    """Return the rows of the table in the documentation."""
    return list(map(_row, [Result(**result) for result in json.loads(RECORD.read_text())]))


def _row(result: Result) -> tuple[str, ...]:
    return result.attack, f"{result.peak_mb:.0f} MB", f"{result.worst_ms:,.0f} ms", result.outcome


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _statuses(found: list[int]) -> str:
    return ", ".join(str(status) for status in sorted(set(found)))


def main() -> None:
    """Serve a model within 512Mi, attack it, and show what happened."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.hostile", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less of each, as a trial: nothing is written")
    is_quick = parser.parse_args().quick
    results = []
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch, _served(Path(scratch)) as target:
        for result in attack(target, is_quick=is_quick):
            results.append(result)
            Console().print(f"{result.attack}: {result.peak_mb:.0f} MB, {result.worst_ms:.0f} ms, {result.outcome}", markup=False)
    if not is_quick:
        RECORD.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    shown = Table(*HEADER)
    for row in map(_row, results):
        shown.add_row(*map(escape, row))
    Console(width=110).print(shown)


@contextmanager
def _served(scratch: Path) -> Iterator[Target]:
    from benchmarks.serving.model import ROOT, USECASE, prepared

    with prepared(scratch) as model:
        port, version = processes.free_port(), model.version
        named = ["--uri", version.uri, "--digest", version.digest, "--name", USECASE, "--version", version.version]
        command = [sys.executable, "-m", "serving", *named, "--port", str(port), "--memory-limit", str(MEMORY)]
        process = processes.start("hostile", command, dict(os.environ) | model.storage, scratch / "server.log", cwd=ROOT)
        target = Target("127.0.0.1", port, process.pid, USECASE)
        try:
            while target.ask("GET", "/v2/health/ready") != 200:
                time.sleep(PAUSE)
            yield target
        finally:
            processes.stop(process)


if __name__ == "__main__":
    main()
