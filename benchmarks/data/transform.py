"""What transform costs beside hand-written SQL, pandas, Polars and Spark: CPU seconds, memory and wall time for the flights, repeated.

`.venv/bin/python -m benchmarks.data.transform [rows...]` runs each contender in a process of its own. The process's children count as well.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.data.transform_contenders import ROOT
from core.tables import connect, literal
from local import samples

FLIGHTS = 336_776
USUAL = 3_400_000
CONTENDERS = {"ours": None, "sql": None, "polars": 4_000_000, "pandas": 4_000_000, "spark": None}  # beyond so many rows 8 GB do not suffice
QUICK = ("ours", "sql")
RECORD = Path(__file__).with_suffix(".json")
PLOT = ROOT / "docs" / "images" / "transform.png"
TICKS = {"cpu_seconds": (1, 3, 10, 30, 100, 300), "peak_mb": (300, 500, 1000, 2000, 4000)}
INTERVAL = 0.05  # seconds between two looks at the memory


def main() -> None:
    """Measure the sizes that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data.transform", description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[USUAL], help="of the flights, about; several are measured one after the other")
    parser.add_argument("--quick", action="store_true", help="this step and SQL on the flights once: whether it works; nothing is written")
    options = parser.parse_args()
    if options.quick:
        trial()
    else:
        measure(options.rows)


def trial() -> None:
    """Run the contenders that need no other package, and keep nothing."""
    with tempfile.TemporaryDirectory() as folder:
        rows, found = raw(Path(folder, "raw"), FLIGHTS), list[dict[str, Any]]()
        for contender in QUICK:
            found.append(measured(contender, Path(folder, "raw"), Path(folder, f"{contender}.parquet"), "512MB") | {"rows": rows})
            show(found[-1], found)
    if failed := [cost["contender"] for cost in found if "failed" in cost]:
        raise SystemExit(f"failed: {', '.join(failed)}")


def measure(sizes: list[int]) -> None:
    """Run every contender on every size, print and keep what they cost."""
    found: list[dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else []
    for rows in sizes:
        with tempfile.TemporaryDirectory() as folder:
            repeated = raw(Path(folder, "raw"), rows)
            for contender, most in CONTENDERS.items():
                if most is None or repeated <= most:
                    cost = measured(contender, Path(folder, "raw"), Path(folder, f"{contender}.parquet"), "1GB" if rows > 10**7 else "512MB")
                    found = [item for item in found if (item["contender"], item["rows"]) != (contender, repeated)] + [cost | {"rows": repeated}]
                    show(found[-1], found)
                    RECORD.write_text(json.dumps(sorted(found, key=lambda item: (item["rows"], item["contender"])), indent=1) + "\n")
    plot(found)


def raw(folder: Path, rows: int) -> int:
    """Write the raw tables, the flights as often as makes about so many rows; return how many they are."""
    folder.mkdir()
    times = max(1, round(rows / FLIGHTS))
    with tempfile.TemporaryDirectory() as delivered, connect("2GB") as connection:
        samples._convert(samples._source(), Path(delivered))
        for name, source in (("flights", "flights-*"), ("weather", "weather"), ("planes", "planes")):
            query = f"SELECT t.* FROM read_parquet({literal(f'{delivered}/{source}.parquet')}) t, range({times if name == 'flights' else 1})"  # noqa: S608
            connection.execute(f"COPY ({query}) TO {literal(folder / f'{name}.parquet')} (FORMAT parquet, COMPRESSION zstd)")
    return times * FLIGHTS


def measured(contender: str, raw: Path, target: Path, memory: str) -> dict[str, Any]:
    """Run one contender in a process of its own."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.data.transform_contenders", contender, str(raw), str(target), memory]
    process = psutil.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    seen: dict[str, float] = {"peak": 0.0, "cpu": 0.0}
    watcher = threading.Thread(target=_watch, args=(process, seen))
    watcher.start()
    error = process.stderr.read().decode()
    failed = process.wait()
    watcher.join()
    wall = time.monotonic() - started
    target.unlink(missing_ok=True)
    if failed:
        return {"contender": contender, "memory": memory, "failed": error.strip().splitlines()[-1][:200]}
    return {
        "contender": contender,
        "memory": memory,
        "cpu_seconds": round(seen["cpu"], 2),
        "peak_mb": round(seen["peak"] / 1e6),
        "seconds": round(wall, 2),
    }


def show(cost: dict[str, Any], found: list[dict[str, Any]]) -> None:
    """Print one line: what it cost, and how often as much CPU as ours."""
    if "failed" in cost:
        print(f"{cost['rows']:>12,} {cost['contender']:8} failed: {cost['failed']}", flush=True)
        return
    ours = next((item for item in found if item["contender"] == "ours" and item["rows"] == cost["rows"]), cost)
    ratio = cost["cpu_seconds"] / ours["cpu_seconds"] if "cpu_seconds" in ours else float("nan")
    print(
        f"{cost['rows']:>12,} {cost['contender']:8} {cost['cpu_seconds']:8.1f} CPU s ({ratio:.2f} of ours) {cost['peak_mb']:7,} MB "
        f"{cost['seconds']:7.1f} s, limit {cost['memory']}",
        flush=True,
    )


def plot(found: list[dict[str, Any]]) -> None:
    """Draw CPU seconds and memory against the rows."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for contender in CONTENDERS:
        items = sorted((item for item in found if item["contender"] == contender and "failed" not in item), key=lambda item: int(item["rows"]))
        for axis, key, label in zip(axes, ("cpu_seconds", "peak_mb"), ("CPU seconds", "peak memory, MB"), strict=True):
            axis.plot([item["rows"] for item in items], [item[key] for item in items], marker="o", label=contender)
            axis.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
            axis.set_xticks(
                sorted({item["rows"] for item in found}), labels=[f"{rows / 1e6:.1f}M" for rows in sorted({item["rows"] for item in found})]
            )
            axis.xaxis.set_minor_locator(NullLocator())
            axis.set_yticks(TICKS[key], labels=[f"{value:,}" for value in TICKS[key]])
            axis.yaxis.set_minor_locator(NullLocator())
            axis.grid(alpha=0.3)
    axes[0].legend(frameon=False)
    figure.savefig(PLOT, dpi=120)
    plt.close(figure)


def _watch(process: psutil.Process, seen: dict[str, float]) -> None:
    """Keep the greatest memory and CPU time of a process with its children, until it ends."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            memory = cpu = 0.0
            for item in [process, *process.children(recursive=True)]:
                with contextlib.suppress(psutil.AccessDenied):
                    times = item.cpu_times()
                    memory += item.memory_info().rss
                    cpu += times.user + times.system
            seen["peak"], seen["cpu"] = max(seen["peak"], memory), max(seen["cpu"], cpu)
            time.sleep(INTERVAL)


if __name__ == "__main__":
    main()
