"""PostgreSQL: every type comes through as it was, and what Parquet cannot hold is named."""

from __future__ import annotations

import csv
import re
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from components.extract import formats
from components.extract.extract import extract
from components.extract.sources import fetch
from core.tables import connect, identifier
from core.tracking import Run
from tests.contract.documents import DOCS
from tests.unit import small
from tests.unit.components.relations import read, refusal, request_in, source_of, table_of

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
