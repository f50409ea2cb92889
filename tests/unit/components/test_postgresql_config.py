"""PostgreSQL: what a config may ask for, and a sentence for whatever it may not."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from tests.unit.components.relations import read, refusal

WRITES = "it writes, and a source only reads: take what writes out of the query"
NO_SELECT = "the query is not one SELECT that can stand in a subquery"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        pytest.param("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone", "must be at the top level", id="delete in a CTE"),
        pytest.param("DELETE FROM t RETURNING *", NO_SELECT, id="delete"),
        pytest.param("SELECT nextval('t_x_seq')", WRITES, id="nextval"),
        pytest.param("SELECT * FROM t FOR UPDATE", WRITES, id="for update"),
        pytest.param("SELECT deletes()", WRITES, id="function that writes"),
        pytest.param("SELECT 1; COMMIT; DROP TABLE t", NO_SELECT, id="several statements"),
        pytest.param("SELECT 1 AS x) AS source; COMMIT; DROP TABLE t; SELECT * FROM (SELECT 1", NO_SELECT, id="several statements, brackets closed"),
        pytest.param("SELECT 1 AS x) AS source LIMIT 0; COMMIT; DROP TABLE t; --", NO_SELECT, id="several statements, rest a comment"),
        pytest.param("SELECT set_config('transaction_read_only', 'off', true)", "read-write mode", id="makes the transaction one that writes"),
        pytest.param("SELECT becomes_a_writer()", "read-write mode", id="function that makes it one that writes"),
    ],
)
def test_a_query_that_writes_is_refused_and_writes_nothing(database: psycopg.Connection[Any], tmp_path: Path, query: str, sentence: str) -> None:
    database.execute("CREATE TABLE t (x serial); INSERT INTO t VALUES (1)")
    database.execute("CREATE FUNCTION deletes() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM t; RETURN 1; END'")
    database.execute(
        "CREATE FUNCTION becomes_a_writer() RETURNS int LANGUAGE plpgsql AS 'BEGIN SET TRANSACTION READ WRITE; DELETE FROM t; RETURN 1; END'"
    )

    found = refusal(tmp_path, query=query)

    assert sentence in found
    assert database.execute("SELECT x FROM t").fetchall() == [(1,)]
    assert database.execute("SELECT is_called FROM t_x_seq").fetchall() == [(False,)]


def test_a_query_that_writes_is_refused_also_where_new_rows_are_looked_for(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS x")
    database.execute("CREATE FUNCTION deletes() RETURNS int LANGUAGE plpgsql AS 'BEGIN DELETE FROM t; RETURN 1; END'")

    assert WRITES in refusal(tmp_path, query="SELECT deletes() AS x", incremental="x")
    assert database.execute("SELECT x FROM t").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "query",
    [
        "SELECT x FROM t -- all of it",
        "SELECT x FROM t;\n",
        "WITH a AS (SELECT x FROM t) SELECT * FROM a",
        "TABLE t",
        "VALUES (1)",
        "SELECT '100%s' AS p",
    ],
)
def test_a_query_is_read(database: psycopg.Connection[Any], tmp_path: Path, query: str) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS x")

    assert read(tmp_path, query=query).num_rows == 1


def test_a_query_that_gives_other_rows_each_time_is_refused(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x FROM generate_series(1, 10000) i")

    found = refusal(tmp_path, query="SELECT x FROM t WHERE random() < 0.5")

    assert "has other rows each time (" in found and found.endswith("take random() or the like out of the query")


def test_a_service_names_another_database(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database.execute("CREATE TABLE t AS SELECT 1 AS x")
    (tmp_path / "services").write_text(f"[other]\nhost=127.0.0.1\nport={os.environ['PGPORT']}\ndbname=postgres\nuser=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    monkeypatch.setenv("PGDATABASE", "nowhere")

    table = read(tmp_path, table="t", service="other")

    assert table.num_rows == 1
    assert 'definition of service "another" not found: correct sources.rows.service or PGSERVICEFILE' in refusal(
        tmp_path, table="t", service="another"
    )


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        pytest.param(
            {"table": "flihgts"}, r"source rows: there is no table flihgts in the database \w+ at 127.0.0.1: did you mean flights\?", id="table"
        ),
        pytest.param({"table": "hidden.Secret"}, r".*: did you mean hidden.secret\?", id="case"),
        pytest.param({"table": "secret"}, r".*: did you mean hidden.secret\?", id="schema left out"),
        pytest.param({"table": "nowhere.xyz"}, r".*: correct it, or set PGDATABASE \(it has 2 tables and views\)", id="schema"),
        pytest.param({"query": "SELECT price FROM flights"}, r'.*column "price" does not exist.*"flights.prize": correct sources.rows', id="column"),
        pytest.param({"query": "SELECT 1/x AS y FROM (VALUES (0)) v(x)"}, ".*: division by zero: correct sources.rows", id="value"),
        pytest.param({"query": "SELEC 1"}, ".*: the query is not one SELECT .*: correct sources.rows.query", id="syntax"),
        pytest.param(
            {"query": "SELECT pg_sleep(9) AS x", "timeout": 1}, ".*: the server gave up after 1 s: raise sources.rows.timeout, or read less", id="t"
        ),
    ],
)
def test_a_mistake_of_the_config_is_named(database: psycopg.Connection[Any], tmp_path: Path, keys: dict[str, Any], sentence: str) -> None:
    database.execute("CREATE TABLE flights (prize int); CREATE SCHEMA hidden; CREATE TABLE hidden.secret (x int)")

    found = refusal(tmp_path, **keys)

    assert duckdb.execute("SELECT regexp_full_match(?, ?)", [found, sentence]).fetchall() == [(True,)], found


def test_a_table_that_the_user_may_not_read_is_named(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"reader_{uuid.uuid4().hex[:8]}"
    database.execute(f"CREATE TABLE t AS SELECT 1 AS x; CREATE ROLE {name} LOGIN PASSWORD 'of-the-reader'")
    database.execute(f"GRANT USAGE ON SCHEMA {schema_of(database)} TO {name}")
    monkeypatch.setenv("PGUSER", name)
    monkeypatch.setenv("PGPASSWORD", "of-the-reader")

    refused = refusal(tmp_path, table="t")
    database.execute(f"GRANT SELECT ON t TO {name}")

    assert refused == "source rows: postgresql:///t: permission denied for table t: let the owner GRANT SELECT on it to the user, or set PGUSER"
    assert read(tmp_path, table="t", partition="x", incremental="x").num_rows == 1
    database.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def schema_of(database: psycopg.Connection[Any]) -> str:
    return str(database.execute("SELECT current_schema()").fetchall()[0][0])
