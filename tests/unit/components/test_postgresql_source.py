"""PostgreSQL: tables of any kind and name, in parts that are of one snapshot."""

from __future__ import annotations

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.extract.sources.postgresql import survey
from tests.unit.components.relations import delivered, read, refusal, table_of, wait_until


@pytest.mark.parametrize(
    ("statements", "name"),
    [
        pytest.param('CREATE TABLE "Mixed Case" AS SELECT 1 AS x', "Mixed Case", id="mixed case"),
        pytest.param('CREATE TABLE "select" AS SELECT 1 AS x', "select", id="reserved word"),
        pytest.param('CREATE SCHEMA "My Own"; CREATE TABLE "My Own"."order" AS SELECT 1 AS x', "My Own.order", id="in a schema"),
        pytest.param('CREATE TABLE "a.b""c%s{}" AS SELECT 1 AS x', '"a.b""c%s{}"', id="dot, quote, percent"),
        pytest.param("CREATE TABLE t AS SELECT 1 AS x; CREATE VIEW v AS SELECT * FROM t", "v", id="view"),
        pytest.param("CREATE MATERIALIZED VIEW m AS SELECT 1 AS x", "m", id="materialized view"),
        pytest.param(
            "CREATE TABLE p (x int) PARTITION BY LIST (x); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1)",
            "p",
            id="partitioned",
        ),
        pytest.param(
            "CREATE TABLE g (k int GENERATED ALWAYS AS IDENTITY, x int GENERATED ALWAYS AS (1) STORED); INSERT INTO g DEFAULT VALUES",
            "g",
            id="generated",
        ),
    ],
)
def test_a_relation_of_any_kind_and_name_is_read(database: psycopg.Connection[Any], tmp_path: Path, statements: str, name: str) -> None:
    database.execute(statements)

    assert read(tmp_path, table=name)["x"].to_pylist() == [1]


def test_columns_of_any_name_keep_it(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute('CREATE TABLE t ("Mixed" int, "a""b" int, "select" int, "größe %s {} ; --" int); INSERT INTO t VALUES (1, 2, 3, 4)')

    table = read(tmp_path, table="t", partition="Mixed", incremental='a"b')

    assert table.to_pylist() == [{"Mixed": 1, 'a"b': 2, "select": 3, "größe %s {} ; --": 4}]


@pytest.mark.parametrize("keys", [{}, {"partition": "x"}, {"incremental": "x"}], ids=["whole", "parts", "incremental"])
def test_a_table_without_rows_gives_its_columns(database: psycopg.Connection[Any], tmp_path: Path, keys: dict[str, str]) -> None:
    database.execute("CREATE TABLE t (x int, d numeric(5,2), a text[])")

    table = read(tmp_path, table="t", **keys)

    assert table.schema.types == [pa.int32(), pa.decimal128(5, 2), pa.list_(pa.string())]
    assert table.num_rows == 0


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        pytest.param("CREATE TABLE t ()", "source rows: postgresql:///t has no columns: name another table or query", id="no columns"),
        pytest.param(
            'CREATE TABLE t (x int, "X" int)',
            "source rows: postgresql:///t has the columns x and X, one name in Parquet: rename one in a query (AS)",
            id="same names",
        ),
    ],
)
def test_columns_that_parquet_cannot_tell_apart_are_refused(database: psycopg.Connection[Any], tmp_path: Path, statement: str, sentence: str) -> None:
    database.execute(statement)

    assert refusal(tmp_path, table="t") == sentence


def test_text_of_a_database_in_another_encoding_arrives(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"latin_{uuid.uuid4().hex[:8]}"
    database.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    monkeypatch.setenv("PGDATABASE", name)
    monkeypatch.delenv("PGOPTIONS")
    with psycopg.connect(autocommit=True) as latin:
        latin.execute("CREATE TABLE t AS SELECT 'Größe'::text AS \"Maß\"")

    table = read(tmp_path, table="t")

    assert table.to_pylist() == [{"Maß": "Größe"}]
    database.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        pytest.param("int", "SELECT i FROM generate_series(1, 1000) i", id="integers"),
        pytest.param("int", "SELECT CASE WHEN i % 10 = 0 THEN i END FROM generate_series(1, 1000) i", id="nearly all null"),
        pytest.param("int", "SELECT CASE WHEN i > 900 THEN i ELSE 5 END FROM generate_series(1, 1000) i", id="nearly all the same"),
        pytest.param("int", "SELECT NULL::int FROM generate_series(1, 10)", id="all null"),
        pytest.param(
            "float8", "SELECT CASE i % 4 WHEN 0 THEN 'NaN' WHEN 1 THEN 'inf' WHEN 2 THEN i::float8 END FROM generate_series(1, 1000) i", id="doubles"
        ),
        pytest.param("numeric", "SELECT i / 7.0 FROM generate_series(1, 1000) i", id="numerics"),
        pytest.param("date", "SELECT date '2024-01-01' + i FROM generate_series(1, 1000) i", id="dates"),
        pytest.param("timestamp", "SELECT timestamp '2024-01-01' + i * interval '7 min' FROM generate_series(1, 1000) i", id="timestamps"),
        pytest.param("timestamptz", "SELECT timestamptz '2024-01-01' + i * interval '7 min' FROM generate_series(1, 1000) i", id="instants"),
    ],
)
def test_parts_together_are_the_table(database: psycopg.Connection[Any], tmp_path: Path, column: str, rows: str) -> None:
    database.execute(f"CREATE TABLE t (k serial, x {column})")
    database.execute(f"INSERT INTO t (x) {rows}")

    delivery = delivered(tmp_path, table="t", partition="x", partitions=7)

    whole = read(tmp_path, table="t").sort_by("k")
    assert str(table_of(delivery).sort_by("k").to_pydict()) == str(whole.to_pydict())
    assert delivery.origin["rows"] == whole.num_rows
    assert delivery.origin["partitions"] == len(delivery.files)


def test_a_skewed_column_gives_parts_of_about_one_size(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SAMPLE", 2000)
    database.execute("CREATE TABLE t AS SELECT (i::float8 ^ 6)::float8 AS x FROM generate_series(1, 20000) i; ANALYZE t")

    delivery = delivered(tmp_path, table="t", partition="x", partitions=4)

    assert all(4000 < pq.read_metadata(file).num_rows < 6000 for file in delivery.files)


def test_two_runs_give_the_same_bytes(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "SAMPLE", 2000)
    database.execute("CREATE TABLE t AS SELECT i AS x, md5(i::text) AS y FROM generate_series(1, 20000) i; ANALYZE t")

    first, second = (delivered(tmp_path, table="t", partition="x") for _ in range(2))

    assert [file.read_bytes() for file in first.files] == [file.read_bytes() for file in second.files]


def test_a_partition_column_that_has_no_ranges_is_refused(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t (x int, word text)")

    assert refusal(tmp_path, table="t", partition="word") == (
        "source rows: column word is of type text, which has no ranges to read side by side: name a column of numbers or times under "
        "sources.rows.partition"
    )
    assert refusal(tmp_path, table="t", partition="wort") == (
        "source rows: there is no column wort, which sources.rows.partition names: did you mean word?"
    )


def test_all_parts_are_of_one_snapshot_while_others_write(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x, 1000 AS money FROM generate_series(1, 5000) i")
    ended = threading.Event()

    with ThreadPoolExecutor() as pool:
        writing = pool.submit(move_money, ended)
        try:
            sums = [sum(read(tmp_path, table="t", partition="x", partitions=8)["money"].to_pylist()) for _ in range(5)]
        finally:
            ended.set()
        moves = writing.result()

    assert sums == [5_000_000] * 5
    assert moves > 10


def move_money(ended: threading.Event) -> int:
    """Move it from low rows to high ones, one transaction after the other, and a new row each time without any."""
    moves = 0
    with psycopg.connect(autocommit=True) as writer:
        while not ended.is_set():
            writer.execute(
                "UPDATE t SET money = money + CASE WHEN x < 2500 THEN -1 ELSE 1 END WHERE x IN (%s, %s)", [1 + moves % 2000, 5000 - moves % 2000]
            )
            writer.execute("INSERT INTO t VALUES (%s, 0)", [2001 + moves % 500])
            moves += 1
            time.sleep(0.002)
    return moves


def test_a_table_that_is_being_filled_anew_is_read_full(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x FROM generate_series(1, 10) i")
    with ThreadPoolExecutor() as pool, psycopg.connect() as loader:
        loader.execute("TRUNCATE t")
        reading = pool.submit(read, tmp_path, table="t")
        wait_until(lambda: waits_for_a_lock(database))
        loader.execute("INSERT INTO t SELECT i FROM generate_series(1, 20) i")
        loader.commit()

        assert reading.result().num_rows == 20


def waits_for_a_lock(database: psycopg.Connection[Any]) -> bool:
    return bool(
        database.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'mlops flights rows'").fetchall()
    )


def test_what_was_read_and_where_is_noted(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x FROM generate_series(1, 100) i")

    origin = delivered(tmp_path, table="t", partition="x", partitions=2).origin

    assert origin.pop("snapshot").count(":") == 2
    assert datetime.fromisoformat(origin.pop("time")).tzinfo
    assert origin.pop("server").startswith("1")
    assert origin == {"host": "127.0.0.1", "database": "postgres", "rows": 100, "partitions": 2}
