"""Measure the model server beside its peers: same model, same rows, one core each, all in one run."""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.serving import results as records
from benchmarks.serving.contenders import CONTENDERS
from benchmarks.serving.model import ROOT
from benchmarks.serving.plot import draw
from benchmarks.serving.results import RECORD, Results
from benchmarks.serving.run import Plan, run
from benchmarks.serving.tables import remarks, tables

PLOT = ROOT / "docs" / "images" / "serving.png"
TRIAL = ROOT / ".local" / "bench" / "serving"
FULL, QUICK = (3, 2), (1, 2)  # rounds, seconds
WIDTH = 110  # of the tables, also where they are written into a file


def main() -> None:
    """Measure and show, or show what was measured."""
    options, console = _options(), Console(highlight=False)
    if options.show:
        results = records.load(RECORD)
        draw(results, PLOT)
    else:
        results = _measured(options, console)
    Console(width=max(WIDTH, console.width)).print(*tables(results))
    console.print(*remarks(results), sep="\n", markup=False, soft_wrap=True)


def _options() -> argparse.Namespace:
    peers = [each.key for each in CONTENDERS if each.requirements]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, as a trial: written below .local/ and not into the repository")
    parser.add_argument("--peers", type=lambda text: text.split(","), help=f"only some of {','.join(peers)}; also a trial")
    parser.add_argument("--growth", action="store_true", help="also watch this server's memory over ten million rows, up to five minutes")
    parser.add_argument("--show", action="store_true", help="measure nothing: print the record and draw it again")
    options = parser.parse_args()
    unknown = set(options.peers or []) - set(peers)
    if unknown:
        parser.error(f"there is no peer {', '.join(sorted(unknown))}: choose of {','.join(peers)}")
    return options


def _measured(options: argparse.Namespace, console: Console) -> Results:
    if (os.cpu_count() or 1) < 2 or not hasattr(os, "sched_setaffinity") or not shutil.which("taskset"):
        raise SystemExit("this needs Linux, two cores and taskset: one core is the server's, one the load's")
    is_trial = options.quick or options.peers is not None
    plan = Plan(*(QUICK if options.quick else FULL), options.peers, options.growth)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        results = run(plan, Path(scratch), lambda line: console.print(line, style="dim", markup=False, soft_wrap=True))
    record, plot = (TRIAL / "results.json", TRIAL / "serving.png") if is_trial else (RECORD, PLOT)
    results.save(record)
    draw(results, plot)
    console.print(f"written: {record.relative_to(ROOT)}, {plot.relative_to(ROOT)}", style="dim", soft_wrap=True)
    return results


if __name__ == "__main__":
    main()
