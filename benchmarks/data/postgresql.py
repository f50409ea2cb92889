"""Measure a table of PostgreSQL on its way to Parquet: our source beside its peers, each in a process of its own."""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.options import is_quick

ROWS = 1_000_000
COLUMNS = """
i::bigint AS id, (i % 32000)::smallint AS hour, (random() * 1e9)::int AS amount, random() AS score, (random() * 1e6)::numeric(10, 2) AS price,
'customer-' || (random() * 1e5)::int AS customer, (ARRAY['new', 'paid', 'sent', NULL])[1 + i % 4] AS status, i % 3 = 0 AS vip,
date '2020-01-01' + (i % 1500)::int AS day, timestamptz '2020-01-01' + i * interval '1 second' AS created, md5(i::text) AS token
"""
PARTS = 4
MEMORY = "128MB"  # limits.memory
GOAL = "1.5 x connectorx, 300 MB"


def main() -> None:
    """Print everything."""
    from tests.postgresql import running

    rows = 1_000 if is_quick("benchmarks.data.postgresql", __doc__) else ROWS
    with tempfile.TemporaryDirectory() as scratch, running(Path(tempfile.gettempdir()), shared_buffers="512MB") as server:
        _fill(rows, server.environment())
        found = {name: _measured(name, Path(scratch, f"{name}.parquet")) for name in CONTENDERS if name != "connectorx" or find_spec(name)}
    Console().print(_shown(found, rows))


def _fill(rows: int, environment: dict[str, str]) -> None:
    import psycopg

    os.environ |= environment  # libpq reads it
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"CREATE TABLE t AS SELECT {COLUMNS} FROM generate_series(1, {rows}) i")  # noqa: S608
        connection.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE t")


def _measured(name: str, target: Path) -> dict[str, float]:
    started = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.data.postgresql", "--contender", name, str(target)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    figures: dict[str, float] = json.loads(answer)
    return figures | {"seconds": time.perf_counter() - started, "megabytes": target.stat().st_size / 1e6} | _content(target)


def _content(target: Path) -> dict[str, float]:
    """Return what all must have in common."""
    import duckdb

    row = duckdb.execute("SELECT count(*), sum(amount), count(status), round(sum(price::double)) FROM read_parquet(?)", [str(target)]).fetchall()[0]
    return {"content": hash(row)}


def _shown(found: dict[str, dict[str, float]], rows: int) -> Table:
    table = Table("", "CPU s", "x", "wall s", "x", "peak MB", "file MB", title=f"{rows:,} rows to Parquet, {os.cpu_count()} cores; goal: {GOAL}")
    peer = found.get("connectorx", found["ours"])
    for name, figures in found.items():
        ratios = {key: f"{figures[key] / peer[key]:.2f}" for key in ("cpu", "seconds")}
        same = "" if figures["content"] == peer["content"] else " (other content!)"
        size = (f"{figures['peak']:.0f}", f"{figures['megabytes']:.0f}")
        table.add_row(name + same, f"{figures['cpu']:.1f}", ratios["cpu"], f"{figures['seconds']:.1f}", ratios["seconds"], *size)
    return table


def _ours(target: Path, partition: str | None = None) -> None:
    sys.modules["polars"] = None  # type: ignore[assignment]  # ADBC would import it; the image, where sources are read, has none

    from components.extract import formats
    from components.extract.delivery import Request
    from components.extract.sources import fetch
    from core.contract import Contract
    from core.sources import PostgresqlSource

    source = PostgresqlSource(kind="postgresql", table="t", partition=partition, partitions=PARTS)
    contract = Contract.model_validate({"columns": {"id": {"type": "integer"}}})
    with tempfile.TemporaryDirectory() as folder:
        request = Request("benchmark", "t", contract, Path(folder), MEMORY)
        formats.write(source, request, fetch(source, request), target)


def _ours_in_parts(target: Path) -> None:
    _ours(target, "id")


def _connectorx(target: Path) -> None:
    import connectorx
    import pyarrow.parquet as pq

    user, password = os.environ["PGUSER"], os.environ["PGPASSWORD"]
    address = f"postgresql://{user}:{password}@{os.environ['PGHOST']}:{os.environ['PGPORT']}/{os.environ['PGDATABASE']}"
    table: Any = connectorx.read_sql(address, "SELECT * FROM t", partition_on="id", partition_num=PARTS, return_type="arrow")
    pq.write_table(table, target, compression="zstd")


def _copy(target: Path) -> None:
    import duckdb
    import psycopg

    with tempfile.TemporaryDirectory() as folder, psycopg.connect() as connection:
        path = Path(folder, "t.csv")
        with path.open("wb") as file, connection.cursor().copy("COPY t TO STDOUT (FORMAT csv, HEADER)") as copy:
            for block in copy:
                file.write(block)
        duckdb.execute("SET memory_limit = '512MB'; SET threads = 2")
        duckdb.execute(f"COPY (FROM read_csv('{path}')) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


CONTENDERS = {"ours": _ours, "ours, 4 parts": _ours_in_parts, "connectorx": _connectorx, "psycopg COPY, DuckDB": _copy}


def _contend(name: str, target: Path) -> None:
    CONTENDERS[name](target)
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * unit / 1e6}))


if __name__ == "__main__":
    if "--contender" in sys.argv:
        _contend(sys.argv[-2], Path(sys.argv[-1]))
    else:
        main()
