"""Measure the way from nothing to a served model: each figure beside its goal, each step with its share."""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.overhead import overhead
from benchmarks.steps import recorded

ROOT = Path(__file__).resolve().parent.parent
MLOPS = str(ROOT / ".venv" / "bin" / "mlops")
REPEATS = 3


def main() -> None:
    """Print everything."""
    options, repeats = _options(), REPEATS
    usecase, settings = "flights", list[str]()
    if options.quick:
        repeats, usecase, settings = 1, "wine", ["--set", "train.max_trials=2"]
    figures = Table("what", "measured", "goal", title=f"{os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        environment = os.environ | {"MLOPS_HOME": f"{scratch}/home"}
        figures.add_row("compile everything", f"{_median([MLOPS, 'compile', '--output', scratch], environment, repeats):.1f} s", "3 s")
        try:
            command = [MLOPS, "run", usecase, *settings]
            seconds = _timed(command, environment)
            figures.add_row("make run, servers down", f"{seconds:.1f} s", "45 s")
            figures.add_row("make run, the champion stays", f"{_timed(command, environment):.1f} s", "")
            steps = _steps(environment, seconds)
            figures.add_row("overhead of a step beyond its imports", f"{overhead(Path(scratch, 'overhead')):.2f} s", "0.2 s")
        finally:
            subprocess.run([MLOPS, "platform", "down"], env=environment, check=True, stdout=subprocess.DEVNULL)
        if options.clone:
            figures.add_row("git clone and make run, packages cached", f"{_clone(Path(scratch, 'clone')):.1f} s", "90 s")
    Console().print(figures, steps)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small use case and one repeat: whether it works, not how fast it is")
    parser.add_argument("--clone", action="store_true", help="also a run in a fresh clone")
    return parser.parse_args()


def _timed(command: list[str], environment: dict[str, str], folder: Path = ROOT) -> float:
    started = time.perf_counter()
    subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _median(command: list[str], environment: dict[str, str], repeats: int) -> float:
    return statistics.median(_timed(command, environment) for _ in range(repeats))


def _steps(environment: dict[str, str], seconds: float) -> Table:
    """Read from MLflow what the steps of the first run took."""
    table = Table("step", "seconds", "share", "CPU seconds", "peak MiB (goal 1,024)", title="make run, step by step")
    for name, figures in recorded(environment["MLOPS_HOME"]).items():
        share = f"{figures['seconds'] / seconds:.0%}"
        table.add_row(name, f"{figures['seconds']:.1f}", share, f"{figures['cpu_seconds']:.1f}", f"{figures['peak_memory_mib']:.0f}")
    return table


def _clone(folder: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)  # noqa: S607
    try:
        _timed(["make", "run"], dict(os.environ), folder)
        return time.perf_counter() - started
    finally:
        subprocess.run(["make", "stop"], cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S607


if __name__ == "__main__":
    main()
