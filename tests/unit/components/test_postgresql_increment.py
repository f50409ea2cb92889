"""PostgreSQL: only what is new is read, and nothing of it is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from components.extract.sources.postgresql import increment
from tests.unit.components.relations import delivered, refusal, table_of, wait_until


def test_only_rows_above_the_watermark_are_read_again(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x FROM generate_series(1, 5) i")

    first = delivered(tmp_path, table="t", incremental="x")
    database.execute("INSERT INTO t VALUES (6), (7), (3)")
    second = delivered(tmp_path, first.watermark, table="t", incremental="x")
    third = delivered(tmp_path, second.watermark, table="t", incremental="x")

    assert [table_of(delivery)["x"].to_pylist() for delivery in (first, second, third)] == [[1, 2, 3, 4, 5], [6, 7], []]
    assert (second.origin["above"], second.origin["up_to"], third.watermark) == ("5", "7", second.watermark)
    assert table_of(third).schema == table_of(first).schema


@pytest.mark.parametrize(
    ("kind", "old", "new"),
    [
        pytest.param("timestamp", "2024-01-01 00:00:00.000001", "2024-01-01 00:00:00.000002", id="timestamp"),
        pytest.param("timestamptz", "2024-10-27 02:30:00+02", "2024-10-27 02:30:00+01", id="timestamp with zone"),
        pytest.param("date", "2024-02-28", "2024-02-29", id="date"),
        pytest.param("bigint", "9223372036854775806", "9223372036854775807", id="bigint"),
    ],
)
def test_a_watermark_is_exact(database: psycopg.Connection[Any], tmp_path: Path, kind: str, old: str, new: str) -> None:
    database.execute(f"CREATE TABLE t (x {kind}); INSERT INTO t VALUES ('{old}')")
    first = delivered(tmp_path, table="t", incremental="x", partition="x")
    database.execute(f"INSERT INTO t VALUES ('{new}')")

    second = delivered(tmp_path, first.watermark, query="SELECT * FROM t", incremental="x", partition="x")

    assert table_of(second).num_rows == 1
    assert table_of(second).column(0) != table_of(first).column(0)


@pytest.mark.parametrize("key", ["system", "database", "column"])
def test_a_watermark_of_another_database_or_column_counts_for_nothing(database: psycopg.Connection[Any], tmp_path: Path, key: str) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x FROM generate_series(1, 5) i")
    before = delivered(tmp_path, table="t", incremental="x").watermark

    again = delivered(tmp_path, before | {key: "another"}, table="t", incremental="x")

    assert table_of(again).num_rows == 5
    assert again.watermark == before


@pytest.mark.parametrize("how", [{"table": "t"}, {"query": "SELECT * FROM v"}], ids=["table", "query"])
def test_a_row_that_is_committed_late_is_not_lost(database: psycopg.Connection[Any], tmp_path: Path, how: dict[str, str]) -> None:
    database.execute("CREATE TABLE t (x int GENERATED ALWAYS AS IDENTITY, word text); CREATE VIEW v AS SELECT * FROM t")
    with ThreadPoolExecutor() as pool, psycopg.connect() as late:
        late.execute("INSERT INTO t (word) VALUES ('late')")
        database.execute("INSERT INTO t (word) VALUES ('early')")
        reading = pool.submit(delivered, tmp_path, incremental="x", **how)
        wait_until(lambda: is_waiting(database))
        late.commit()

        first = reading.result()

    assert sorted(table_of(first)["word"].to_pylist()) == ["early", "late"]
    assert table_of(delivered(tmp_path, first.watermark, incremental="x", **how)).num_rows == 0


def is_waiting(database: psycopg.Connection[Any]) -> bool:
    text = "SELECT FROM pg_stat_activity WHERE application_name = 'mlops flights rows' AND query LIKE '%pg_locks%'"
    return bool(database.execute(text).fetchall())


def test_a_writer_that_does_not_end_is_named(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(increment, "PATIENCE", 0.2)
    database.execute("CREATE TABLE t (x int)")
    with psycopg.connect() as writer:
        writer.execute("INSERT INTO t VALUES (1)")

        found = refusal(tmp_path, table="t", incremental="x")

        assert f"a transaction has been writing to postgresql:///t for more than 0 s (process {writer.info.backend_pid})" in found


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        pytest.param("text", "column x is of type text, by which nothing new can be told", id="no order"),
        pytest.param("int", "column x of postgresql:///t is null in 1 rows, of which nobody can tell whether they are new", id="null"),
    ],
)
def test_a_column_that_does_not_tell_what_is_new_is_refused(database: psycopg.Connection[Any], tmp_path: Path, kind: str, sentence: str) -> None:
    database.execute(f"CREATE TABLE t (x {kind}); INSERT INTO t VALUES ('1'), (NULL)")

    assert refusal(tmp_path, table="t", incremental="x").startswith(f"source rows: {sentence}: ")
