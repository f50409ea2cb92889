"""A server under test: started on a core of its own, timed until its first right answer, weighed, ended."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from core import processes
from core.errors import UserError

SERVER_CORE, LOAD_CORE = 0, 1
SLOWEST_START, LOOK_SECONDS, REST_SECONDS = 120.0, 0.01, 0.2
# One core, one thread: OpenMP's and BLAS's own would fight over it.
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
FOREIGN = ("AWS_", "MLFLOW_", "MLOPS_", "MLSERVER_", "BENTOML_", "VIRTUAL_ENV", "PYTHON")


@dataclass(frozen=True)
class Launch:
    """How a server is started."""

    command: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None


@dataclass(frozen=True)
class Response:
    """What a server answered; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        key: Which one.
        port: Where it listens.
        process: Its first process.
        seconds: From its start to its first right answer.
    """

    key: str
    port: int
    process: processes.Process
    seconds: float

    def rss_mb(self) -> float:
        """Return the resident memory of all its processes, in megabytes."""
        return sum(each.memory_info().rss for each in self._tree()) / 1e6

    def cpu_seconds(self) -> float:
        """Return the CPU that all its processes have used."""
        return sum(self.times())

    def times(self) -> tuple[float, float]:
        """Return the same by itself: in the kernel, and outside."""
        found = [each.cpu_times() for each in self._tree()]
        return sum(each.system for each in found), sum(each.user for each in found)

    def settle(self) -> None:
        """Wait until it rests: requests of connections that were cut off are still answered, and would delay the next ones."""
        for _ in range(int(SLOWEST_START / REST_SECONDS)):
            before = self._wanted_seconds()
            time.sleep(REST_SECONDS)
            if self._wanted_seconds() - before < REST_SECONDS / 10:
                return

    def _wanted_seconds(self) -> float:
        """Return the seconds that its threads ran or waited for the core: on a busy machine, one that only waits does not rest."""
        found = 0
        for path in (path for each in self._tree() for path in Path("/proc", str(each.pid), "task").glob("*/schedstat")):
            with suppress(OSError):
                found += sum(map(int, path.read_text().split()[:2]))
        return found / 1e9

    def _tree(self) -> list[psutil.Process]:
        first = psutil.Process(self.process.pid)
        return [first, *first.children(recursive=True)]


@contextmanager
def started(key: str, launch: Launch, port: int, log: Path, problem: Callable[[], str]) -> Iterator[Running]:
    """Start a server on its core, wait until it answers rightly, and end it afterwards.

    Args:
        key: Which server.
        launch: How it is started.
        port: Where it will listen.
        log: Where its output goes.
        problem: Asks it, and says what is wrong with the answer; empty when it is right.

    Raises:
        UserError: It ended, or never answered rightly.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    command = ["taskset", "-c", str(SERVER_CORE), *map(str, launch.command)]
    began = time.monotonic()
    process = processes.start(key, command, inherited | THREADS | dict(launch.environment), log, cwd=launch.folder)
    try:
        while wrong := problem():
            _give_up(process, wrong, time.monotonic() - began)
            time.sleep(LOOK_SECONDS)
        yield Running(key, port, process, time.monotonic() - began)
    finally:
        processes.stop(process)


def _give_up(process: processes.Process, wrong: str, seconds: float) -> None:
    if not processes.alive(process):
        lines = Path(process.log).read_text(errors="replace").strip().splitlines()
        raise UserError(f"it ended while it started: {lines[-1]}")
    if seconds > SLOWEST_START:
        raise UserError(f"it did not answer rightly within {SLOWEST_START:.0f} s: {wrong}")


def ask(port: int, request: bytes) -> Response | None:
    """Send one request over a connection of its own; None where nobody answers yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SLOWEST_START)
    with suppress(OSError, http.client.HTTPException):
        try:
            connection.connect()
            connection.sock.sendall(request)
            found = http.client.HTTPResponse(connection.sock, method="POST")
            found.begin()
            return Response(found.status, {name.lower(): value for name, value in found.headers.items()}, found.read())
        finally:
            connection.close()
    return None
