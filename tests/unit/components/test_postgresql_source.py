"""PostgreSQL: every type, one snapshot, only what is new, and a sentence for whatever goes wrong."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg.sql
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.extract import formats
from components.extract.delivery import Delivery, Request
from components.extract.extract import extract
from components.extract.sources import fetch
from components.extract.sources.postgresql import increment, session, survey
from core.contract import Contract
from core.errors import UserError
from core.sources import PostgresqlSource
from core.tables import connect, identifier
from core.tracking import Run
from tests.contract.documents import DOCS
from tests.postgresql import Server, running
from tests.unit import small

CONTRACT = Contract.model_validate({"columns": {"x": {"type": "integer"}}})


@pytest.fixture
def database(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection[Any]]:
    """A schema of its own, which the environment names, and a connection of its owner."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    for variable, value in (postgresql.environment() | {"PGOPTIONS": f"-csearch_path={name},public"}).items():
        monkeypatch.setenv(variable, value)
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        yield connection
        for (schema,) in connection.execute("SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_.*|information_schema|public)$'").fetchall():
            connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(psycopg.sql.Identifier(schema)))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three tries without the long pauses between them."""
    monkeypatch.setattr("components.extract.sources.postgresql.PAUSES", (0.1, 0.2))


def source_of(**keys: Any) -> PostgresqlSource:
    return PostgresqlSource.model_validate({"kind": "postgresql"} | keys)


def request_in(folder: Path, watermark: Any = None) -> Request:
    place = folder / uuid.uuid4().hex
    place.mkdir()
    return Request("flights", "rows", CONTRACT, place, "256MB", watermark)


def delivered(folder: Path, watermark: Any = None, **keys: Any) -> Delivery:
    return fetch(source_of(**keys), request_in(folder, watermark))


def table_of(delivery: Delivery) -> pa.Table:
    return pa.concat_tables([pq.read_table(file) for file in delivery.files])


def read(folder: Path, **keys: Any) -> pa.Table:
    return table_of(delivered(folder, **keys))


def refusal(folder: Path, **keys: Any) -> str:
    with pytest.raises(UserError) as refused:
        delivered(folder, **keys)
    sentence = str(refused.value)
    assert "\n" not in sentence and str(folder) not in sentence and os.environ["PGPASSWORD"] not in sentence
    return sentence


DECIMAL = Decimal("-99999999.99")
TYPES = [
    pytest.param("smallint", ["-32768", "32767"], pa.int16(), [-(2**15), 2**15 - 1], id="smallint"),
    pytest.param("integer", ["-2147483648", "2147483647"], pa.int32(), [-(2**31), 2**31 - 1], id="integer"),
    pytest.param("bigint", ["-9223372036854775808", "9223372036854775807"], pa.int64(), [-(2**63), 2**63 - 1], id="bigint"),
    pytest.param("real", ["-3.4028235e38", "-inf", "0.1"], pa.float32(), [-3.4028234663852886e38, -float("inf"), 0.10000000149011612], id="real"),
    pytest.param("float8", ["1.7976931348623157e308", "inf", "5e-324"], pa.float64(), [1.7976931348623157e308, float("inf"), 5e-324], id="double"),
    pytest.param("numeric(10,2)", ["-99999999.99", "0.1"], pa.decimal128(10, 2), [DECIMAL, Decimal("0.10")], id="numeric with scale"),
    pytest.param("numeric(38)", ["9" * 38], pa.decimal128(38, 0), [Decimal("9" * 38)], id="numeric of 38 digits"),
    pytest.param("numeric(6,6)", ["-0.999999"], pa.decimal128(6, 6), [Decimal("-0.999999")], id="numeric below one"),
    pytest.param("numeric", ["123456789012345678901234567890.125", "-1.5"], pa.decimal128(38, 3), None, id="numeric without scale"),
    pytest.param("numeric", ["1e30", "1e-30"], pa.float64(), [1e30, 1e-30], id="numeric that fits no decimal"),
    pytest.param("numeric(50,10)", ["1234567890.5"], pa.decimal128(38, 10), [Decimal("1234567890.5")], id="numeric of 50 digits"),
    pytest.param("numeric(3,-2)", ["-12300", "0"], pa.decimal128(38, 0), [Decimal(-12300), Decimal(0)], id="numeric of hundreds"),
    pytest.param("text", ["", "größe 'x' \\ \"y\" \t\n€𝄞", "NULL"], pa.string(), None, id="text"),
    pytest.param("varchar(3)", ["abc", ""], pa.string(), ["abc", ""], id="varchar"),
    pytest.param("char(5)", ["ab", "abcde"], pa.string(), ["ab", "abcde"], id="char"),
    pytest.param("bool", ["true", "false"], pa.bool_(), [True, False], id="bool"),
    pytest.param("date", ["0001-01-01", "9999-12-31", "1969-12-31"], pa.date32(), [date.min, date.max, date(1969, 12, 31)], id="date"),
    pytest.param("timestamp", ["0001-01-01", "9999-12-31 23:59:59.999999"], pa.timestamp("us"), [datetime.min, datetime.max], id="timestamp"),
    pytest.param(
        "timestamptz", ["2024-03-31 03:30:00+02"], pa.timestamp("us", "UTC"), [datetime(2024, 3, 31, 1, 30, tzinfo=UTC)], id="timestamp with zone"
    ),
    pytest.param("time", ["00:00", "23:59:59.999999"], pa.time64("us"), [clock.min, clock.max], id="time"),
    pytest.param("timetz", ["12:00+02"], pa.string(), ["12:00:00+02"], id="time with zone"),
    pytest.param("interval", ["1 year -2 days 03:04:05.000006"], pa.string(), ["1 year -2 days +03:04:05.000006"], id="interval"),
    pytest.param("uuid", ["12345678-1234-5678-1234-567812345678"], pa.string(), None, id="uuid"),
    pytest.param("bytea", [r"\x00ff", r"\x"], pa.binary(), [b"\x00\xff", b""], id="bytea"),
    pytest.param("json", ['{"a":  1}', "null"], pa.string(), ['{"a":  1}', "null"], id="json"),
    pytest.param("jsonb", ['{"b":1,"a":[2]}'], pa.string(), ['{"a": [2], "b": 1}'], id="jsonb"),
    pytest.param("mood", ["sad", "so-so"], pa.string(), ["sad", "so-so"], id="enum"),
    pytest.param("inet", ["192.168.0.1/24", "::1"], pa.string(), ["192.168.0.1/24", "::1/128"], id="inet"),
    pytest.param("pair", ["(1,two)"], pa.string(), ["(1,two)"], id="composite"),
    pytest.param("int4range", ["[1,5)", "empty"], pa.string(), ["[1,5)", "empty"], id="range"),
    pytest.param("money", ["12.34"], pa.string(), ["$12.34"], id="money"),
    pytest.param("bit(3)", ["101"], pa.string(), ["101"], id="bit"),
    pytest.param("short", ["abc"], pa.string(), ["abc"], id="domain over varchar"),
    pytest.param("price", ["1.5"], pa.decimal128(6, 2), [Decimal("1.50")], id="domain over numeric"),
    pytest.param("vector(2)", ["[1,2.5]"], pa.list_(pa.float32()), [[1.0, 2.5]], id="vector"),
    pytest.param("int[]", ["{1,NULL,3}", "{}"], pa.list_(pa.int32()), [[1, None, 3], []], id="array of integers"),
    pytest.param("text[]", ['{"a,b",NULL,""}'], pa.list_(pa.string()), [["a,b", None, ""]], id="array of texts"),
    pytest.param("mood[]", ["{sad,NULL}"], pa.list_(pa.string()), [["sad", None]], id="array of enums"),
    pytest.param("numeric(5,1)[]", ["{1.5,NULL}"], pa.list_(pa.decimal128(5, 1)), [[Decimal("1.5"), None]], id="array of decimals"),
    pytest.param("numeric[]", ["{1.5,1e40}"], pa.list_(pa.float64()), [[1.5, 1e40]], id="array of numerics"),
    pytest.param("price[]", ["{1.5}"], pa.list_(pa.decimal128(6, 2)), [[Decimal("1.50")]], id="array of a domain"),
    pytest.param("uuid[]", ["{12345678-1234-5678-1234-567812345678}"], pa.list_(pa.string()), None, id="array of uuids"),
    pytest.param("date[]", ["{2024-02-29,NULL}"], pa.list_(pa.date32()), [[date(2024, 2, 29), None]], id="array of dates"),
    pytest.param("pair[]", ['{"(1,two)"}'], pa.list_(pa.string()), [["(1,two)"]], id="array of composites"),
]


def test_every_type_comes_through_extract_with_its_values_and_nulls(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    create_types(database)
    kinds, given, arrow, expected = zip(*(param.values for param in TYPES), strict=True)
    database.execute(f"CREATE TABLE t ({', '.join(f'c{index} {kind}' for index, kind in enumerate(kinds))})")
    for row in range(4):  # the fourth is all nulls
        values = [value[row] if row < len(value) else None for value in given]
        database.execute(f"INSERT INTO t VALUES ({', '.join(['%s'] * len(kinds))})", [*values])

    table = read(tmp_path, table="t")

    for index, param in enumerate(TYPES):
        want = [*(expected[index] or decimals(kinds[index], given[index])), None, None, None, None][:4]
        assert (param.id, table.schema.field(index).type) == (param.id, arrow[index])
        assert (param.id, table.column(index).to_pylist()) == (param.id, want)


def create_types(database: psycopg.Connection[Any]) -> None:
    database.execute(
        "CREATE EXTENSION IF NOT EXISTS vector SCHEMA public; CREATE TYPE mood AS ENUM ('sad', 'so-so'); CREATE TYPE pair AS (number int, word text);"
        "CREATE DOMAIN short AS varchar(5); CREATE DOMAIN price AS numeric(6, 2)"
    )


def decimals(kind: str, given: list[str]) -> list[Any]:
    if kind == "numeric":
        return [Decimal(value) for value in given]
    return [[value.strip("{}")] if kind.endswith("[]") else value for value in given]


def test_all_types_pass_into_the_final_file(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    create_types(database)
    kinds, given = zip(*(param.values[:2] for param in TYPES), strict=True)
    database.execute(f"CREATE TABLE t (x int, {', '.join(f'c{index} {kind}' for index, kind in enumerate(kinds))})")
    database.execute(f"INSERT INTO t VALUES (1, {', '.join(['%s'] * len(kinds))}), (2{', NULL' * len(kinds)})", [values[0] for values in given])
    source, request = source_of(table="t"), request_in(tmp_path)
    delivery = fetch(source, request)

    written = formats.write(source, request, delivery, tmp_path / "final.parquet")

    assert written.rows == 2
    assert pq.read_table(tmp_path / "final.parquet").to_pylist() == table_of(delivery).to_pylist()
    assert (written.columns["c5"], written.columns["c18"], written.columns["c36"]) == ("DECIMAL(10,2)", "TIMESTAMP WITH TIME ZONE", "VARCHAR[]")


def test_the_page_says_what_becomes_of_a_table(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    page = (DOCS / "layouts.md").read_text().partition("\n## Tables\n")[2]
    shown, config, table = (re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0] for kind in ("sql", "yaml", "csv"))
    database.execute(shown)

    extract(Run("extract", small.usecase(**yaml.safe_load(config))), str(tmp_path / "raw"))

    columns = ", ".join(f"{identifier(name)}::VARCHAR" for name in table.partition("\n")[0].split(","))
    with connect("256MB") as connection:
        rows = connection.execute(f"SELECT {columns} FROM read_parquet('{tmp_path}/raw/orders.parquet')").fetchall()
    assert [list(row) for row in rows] == [[value or None for value in row] for row in csv.reader(table.splitlines()[1:])]


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        pytest.param("date", "infinity", "1 values of infinity, which is no date elsewhere", id="date"),
        pytest.param("timestamp", "-infinity", "1 values of infinity, which is no timestamp elsewhere", id="timestamp"),
        pytest.param("timestamptz", "294276-12-31", "1 values of infinity, which is no timestamp elsewhere", id="time beyond 64 bits"),
        pytest.param("date[]", "{infinity}", "1 values of infinity, which is no date elsewhere", id="array of dates"),
        pytest.param("numeric(5,2)", "NaN", "1 values of NaN or infinity, which are no decimals", id="decimal NaN"),
        pytest.param("numeric", "-Infinity", "1 values of NaN or infinity, which are no decimals", id="numeric infinity"),
        pytest.param("int[]", "{{1,2},{3,4}}", "1 arrays of several dimensions, of which Parquet has none", id="matrix"),
    ],
)
def test_a_value_that_parquet_cannot_hold_is_counted_and_named(
    database: psycopg.Connection[Any], tmp_path: Path, column: str, value: str, sentence: str
) -> None:
    database.execute(f"CREATE TABLE t (x int, c {column})")
    database.execute("INSERT INTO t VALUES (1, %s), (2, NULL)", [value])

    found = refusal(tmp_path, table="t")

    assert found.startswith(f"source rows: column c of postgresql:///t has {sentence}: read ")


def test_not_a_number_passes_where_a_column_is_a_double(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t (c numeric); INSERT INTO t VALUES ('NaN'), (1.5)")

    values = read(tmp_path, query="SELECT c::double precision AS c FROM t")["c"].to_pylist()

    assert (str(values[0]), values[1]) == ("nan", 1.5)


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


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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


def test_what_was_read_and_where_is_noted(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x FROM generate_series(1, 100) i")

    origin = delivered(tmp_path, table="t", partition="x", partitions=2).origin

    assert origin.pop("snapshot").count(":") == 2
    assert datetime.fromisoformat(origin.pop("time")).tzinfo
    assert origin.pop("server").startswith("1")
    assert origin == {"host": "127.0.0.1", "database": "postgres", "rows": 100, "partitions": 2}


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
    ("variable", "value", "sentence"),
    [
        pytest.param("PGPASSWORD", "wrong-secret", "the server refuses the user or its password: correct PGUSER and PGPASSWORD", id="password"),
        pytest.param("PGUSER", "nobody", "the server refuses the user or its password: correct PGUSER and PGPASSWORD", id="user"),
        pytest.param("PGDATABASE", "nowhere", 'database "nowhere" does not exist: correct PGDATABASE', id="database"),
        pytest.param("PGPORT", "1", "look whether the server at 127.0.0.1:1 runs and can be reached, or correct PGHOST and PGPORT", id="port"),
        pytest.param("PGHOST", "nowhere.invalid", "runs and can be reached, or correct PGHOST and PGPORT", id="host"),
        pytest.param("PGSSLMODE", "verify-full", "correct PGSSLMODE and PGSSLROOTCERT", id="encryption"),
    ],
)
def test_a_wrong_variable_is_named(
    database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None, variable: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(variable, value)

    found = refusal(tmp_path, table="t")

    assert found.startswith("source rows: postgresql:///t: ")
    assert found.endswith(sentence)


def test_without_variables_the_sentence_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(UserError, match=r"^postgresql:///t: PostgreSQL is not configured: set PGHOST, PGDATABASE, PGUSER and PGPASSWORD$"):
        delivered(tmp_path, table="t")


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


def test_a_lock_that_is_not_given_back_is_named(
    database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    monkeypatch.setitem(session.SETTINGS, "lock_timeout", "100ms")
    database.execute("CREATE TABLE t (x int)")
    with psycopg.connect() as other:
        other.execute("LOCK TABLE t")

        assert "somebody holds a lock on it" in refusal(tmp_path, table="t")


SLOW = "SELECT i AS x, repeat('x', 1000) AS y, CASE WHEN i % 1000 = 0 THEN pg_sleep(0.02)::text END AS z FROM generate_series(1, 20000) i"


def cut_off(database: psycopg.Connection[Any]) -> int:
    """End whoever reads Arrow batches just now."""
    text = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'mlops flights rows' AND query LIKE 'COPY%'"
    return int(database.execute(text).fetchall()[0][0])


def test_a_connection_cut_once_is_made_good_in_a_new_snapshot(database: psycopg.Connection[Any], tmp_path: Path, impatient: None) -> None:
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(delivered, tmp_path, query=SLOW)
        wait_until(lambda: bool(list(tmp_path.glob("*/*.parquet"))))
        wait_until(lambda: cut_off(database) > 0)

        delivery = reading.result()

    assert table_of(delivery)["x"].to_pylist() == list(range(1, 20_001))


@pytest.mark.slow
def test_a_connection_that_is_always_cut_is_an_error_and_no_half_table(database: psycopg.Connection[Any], tmp_path: Path, impatient: None) -> None:
    ended = threading.Event()

    def cut() -> int:
        times = 0
        while not ended.wait(0.02):
            times += cut_off(database)
        return times

    with ThreadPoolExecutor() as pool:
        cutting = pool.submit(cut)
        try:
            found = refusal(tmp_path, query=SLOW, partition="x", partitions=2)
        finally:
            ended.set()

    assert "look whether the server at 127.0.0.1:" in found
    assert cutting.result() >= 3


@pytest.mark.slow
def test_a_server_that_is_restarted_in_the_middle_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    with running(Path(tempfile.gettempdir())) as server, ThreadPoolExecutor() as pool:
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        reading = pool.submit(delivered, tmp_path, query=SLOW)
        wait_until(lambda: bool(list(tmp_path.glob("*/*.parquet"))))
        server.restart()

        assert table_of(reading.result()).num_rows == 20_000


@pytest.mark.slow
def test_a_server_without_a_free_connection_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    with running(Path(tempfile.gettempdir()), max_connections="5", superuser_reserved_connections="0") as server:
        for variable, value in server.environment().items():
            monkeypatch.setenv(variable, value)
        others = [psycopg.connect() for _ in range(3)]

        found = refusal(tmp_path, query="SELECT * FROM generate_series(1, 100) x", partition="x")

        for other in others:
            other.close()
    assert "the server has no connection left (" in found


def test_a_full_disk_is_named(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute("CREATE TABLE t AS SELECT i AS x, md5(i::text) AS y FROM generate_series(1, 100000) i")
    request = request_in(tmp_path)
    (request.folder / "00000.parquet").symlink_to("/dev/full")

    with pytest.raises(UserError, match=r"^source rows: no space left on the disk for postgresql:///t: make room, then run again$"):
        fetch(source_of(table="t"), request)


NAP = "CREATE FUNCTION nap() RETURNS int {} LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN 1; END'"
NAPPING = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


def test_the_first_part_that_fails_ends_the_others_at_once(database: psycopg.Connection[Any], tmp_path: Path) -> None:
    database.execute(NAP.format("STABLE"))
    query = "SELECT x, CASE WHEN x = 1 THEN 1 / (x - 1) WHEN x = 3 THEN nap() END AS y FROM generate_series(1, 4) x"

    found = refusal(tmp_path, query=query, partition="x", partitions=4)

    assert found.endswith(": division by zero: correct sources.rows")
    assert not database.execute(NAPPING).fetchall()


@pytest.mark.slow
@pytest.mark.parametrize("reached", ["VOLATILE", "STABLE"], ids=["while it counts", "while it reads"])
def test_a_step_that_is_stopped_ends_its_queries(database: psycopg.Connection[Any], tmp_path: Path, reached: str) -> None:
    database.execute(NAP.format(reached))
    program = (
        "from core.signals import heed_sigterm; heed_sigterm()\n"
        "from pathlib import Path; from tests.unit.components.test_postgresql_source import delivered\n"
        f"delivered(Path({str(tmp_path)!r}), query='SELECT x, nap() FROM generate_series(1, 3) x')"
    )
    step = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: bool(database.execute(NAPPING).fetchall()))

    step.send_signal(signal.SIGTERM)

    assert "KeyboardInterrupt" in step.communicate(timeout=30)[1]
    wait_until(lambda: not database.execute(NAPPING).fetchall())


def test_a_long_read_keeps_its_snapshot_alive(database: psycopg.Connection[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PULSE", 0.1)
    monkeypatch.setitem(session.SETTINGS, "idle_in_transaction_session_timeout", "400ms")

    table = read(tmp_path, query="SELECT x, pg_sleep(0.2)::text AS y FROM generate_series(1, 6) x")

    assert table.num_rows == 6
