"""Attack a model server, and see what a good client notices: `python -m benchmarks.serving.hostile [--quick]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.serving.attacks import ATTACKS, PATIENCE, Target
from core import processes

RECORD = Path(__file__).with_name("hostile.json")
MEMORY = 512 * 2**20  # bytes: `serving.memory` as it is by default
PAUSE = 0.02  # seconds between two requests of the good client


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
