"""Where the time of one request goes in this server, layer by layer: `python -m benchmarks.serving.layers`.

The whole is the CPU that a running server uses for a request under wrk, in the kernel and outside. Its parts are measured by calling the
same code in this process with the same bytes: the functions of each layer, then the whole application without an HTTP server. What is
left of the running server's time is that of the sockets, of uvicorn and of the event loop. Everything runs on one core; time is the CPU's.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the server; read when NumPy is imported

from rich.console import Console
from rich.table import Table

from benchmarks.options import is_quick
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.load import write_requests, wrk
from benchmarks.serving.model import Model as Prepared
from benchmarks.serving.model import prepared
from benchmarks.serving.protocols import INVOCATIONS, V2
from benchmarks.serving.results import Profile, Results, machine, save_profile
from benchmarks.serving.run import Course
from benchmarks.serving.servers import LOAD_CORE, SERVER_CORE, Running
from benchmarks.serving.stages import LAYERS, Case, parts
from serving import memory
from serving.protocols import mlflow, open_inference

FULL, QUICK = (5, 3), (1, 1)  # repeats, seconds
CASES = (
    Case(INVOCATIONS, mlflow.parse, 1, 1),
    Case(INVOCATIONS, mlflow.parse, 1, 16),
    Case(V2, open_inference.parse, 1, 16),
    Case(INVOCATIONS, mlflow.parse, 1000, 4),
)


def main() -> None:
    """Measure, print, and keep the figures, unless they are those of the quick form."""
    quick = is_quick("benchmarks.serving.layers", __doc__)
    if missing := [program for program in ("taskset", "wrk") if shutil.which(program) is None]:
        raise SystemExit(f"this needs {' and '.join(missing)}: install them, such as by `apt install util-linux wrk`")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, prepared(Path(folder)) as model:
        os.sched_setaffinity(0, {LOAD_CORE})
        whole = list(_served(model, Path(folder), *(QUICK if quick else FULL)))
        os.environ |= model.storage
        os.sched_setaffinity(0, {SERVER_CORE})
        memory.bound()
        columns = [list(parts(case, model, *each)) for case, each in zip(CASES, whole, strict=True)]
    rows = [[name, *(f"{column[place]:,.1f}" for column in columns)] for place, name in enumerate(LAYERS)]
    rows.append(["together", *(f"{sum(column):,.1f}" for column in columns)])
    profile = [["µs of CPU a request, rows x connections", *(case.title for case in CASES)], *rows]
    if not quick:
        save_profile(profile)
    _show(profile)


def _served(model: Prepared, scratch: Path, repeats: int, seconds: int) -> Iterator[tuple[float, float]]:
    """Return the microseconds a request that a running server uses in the kernel and outside, for each case."""
    course = Course(model, scratch, Results(machine(), {}, []), print)
    with course.running(CONTENDERS[0]) as running:
        for case in CASES:
            path = write_requests(case.protocol, model.rows, case.rows, scratch)
            wrk(running.port, path, case.connections, 1)
            found = [_used(running, path, case.connections, seconds) for _ in range(repeats)]
            yield statistics.median(kernel for kernel, _ in found), statistics.median(outside for _, outside in found)


def _used(running: Running, path: Path, connections: int, seconds: int) -> tuple[float, float]:
    before = running.times()
    found = wrk(running.port, path, connections, seconds)
    if found["failed"] or not found["requests"]:
        raise SystemExit(f"{found['failed']} of {found['requests']} requests failed: there is nothing to divide into layers")
    running.settle()
    kernel, outside = (after - earlier for earlier, after in zip(before, running.times(), strict=True))
    return kernel / found["requests"] * 1e6, outside / found["requests"] * 1e6


def _show(profile: Profile) -> None:
    table = Table()
    for place, name in enumerate(profile[0]):
        table.add_column(name.replace(", ", ",\n"), justify="right" if place else "left", no_wrap=True)
    for row in profile[1:]:
        table.add_row(*row)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
