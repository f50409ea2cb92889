"""Load by wrk from one core: a closed loop of connections, each of which sends its next request when it has its answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import psutil

from benchmarks.serving.protocols import Protocol
from benchmarks.serving.rows import Rows
from benchmarks.serving.servers import SERVER_CORE, Running

SCRIPT = Path(__file__).with_name("load.lua")
WARM_SECONDS = 1
# Rows a request, and how many different requests there are of them, so that no server answers from memory.
BODIES = {1: 1000, 100: 50, 1000: 10}
# Rows a request and connections; four are enough to keep the server's core busy with large requests.
SCENARIOS = ((1, 1), (1, 16), (1, 64), (100, 4), (1000, 4))


@dataclass(frozen=True)
class Measurement:
    """What one stretch of load showed.

    Attributes:
        server: Key of the server.
        protocol: Name of the protocol.
        rows: Rows a request.
        connections: Connections that ask at the same time.
        requests: Answers that came.
        seconds: How long it took.
        p50: Median of the latencies, in milliseconds.
        p99: Their 99th percentile.
        p999: Their 99.9th percentile.
        failed: Requests without a good answer; one of them, and the figure does not count.
        cpu_ms: CPU of the server's processes, milliseconds a request.
        others: Share of the server's core that other programs took meanwhile.
    """

    server: str
    protocol: str
    rows: int
    connections: int
    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    failed: int
    cpu_ms: float
    others: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def write_requests(protocol: Protocol, rows: Rows, size: int, folder: Path) -> Path:
    """Write the different requests of one size into a file for wrk."""
    parts = [rows.part(start, start + size) for start in range(0, size * BODIES[size], size)]
    path = folder / f"{protocol.write.__name__}-{protocol.answers}-{size}.bin"
    return write_file(path, [protocol.request(part) for part in parts])


def write_file(path: Path, requests: Sequence[bytes]) -> Path:
    """Write requests as `load.lua` reads them."""
    path.write_bytes(b"".join(b"%d\n%b" % (len(request), request) for request in requests))
    return path


def measure(running: Running, protocol: str, requests: Path, size: int, connections: int, seconds: int) -> Measurement:
    """Put the server under load, after a moment that does not count."""
    wrk(running.port, requests, connections, WARM_SECONDS)
    running.settle()
    cpu, busy, began = running.cpu_seconds(), _busy_seconds(), time.monotonic()
    found = wrk(running.port, requests, connections, seconds)
    passed, own = time.monotonic() - began, running.cpu_seconds() - cpu
    others = max(0.0, _busy_seconds() - busy - own) / passed
    running.settle()
    return Measurement(running.key, protocol, size, connections, **found, cpu_ms=own / max(found["requests"], 1) * 1e3, others=others)


class Figures(TypedDict):
    """What `load.lua` writes: latencies in milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    p999: float
    failed: int


def wrk(port: int, requests: Path, connections: int, seconds: int) -> Figures:
    """Run wrk on this process's core and read what `load.lua` writes."""
    program = shutil.which("wrk")
    if program is None:
        raise SystemExit("wrk is missing: apt install wrk")
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=60s", f"-s{SCRIPT}", f"http://127.0.0.1:{port}", "--", str(requests)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode or not ended.stdout.rstrip().endswith("}"):
        raise SystemExit(f"wrk failed: {ended.stdout} {ended.stderr}")
    found: Figures = json.loads(ended.stdout.splitlines()[-1])
    return found


def _busy_seconds() -> float:
    """Return the CPU seconds of everything that ever ran on the server's core."""
    times = psutil.cpu_times(percpu=True)[SERVER_CORE]
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))
