"""CSV as text: Python finds the fields that DuckDB finds."""

from __future__ import annotations

import csv
import tracemalloc
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.csvtext import header, rows
from core.fields import DIALECT, Dialect, Reader
from core.tables import path_literal

SIGNS = st.lists(st.sampled_from(["x", "NA", ",", ",", '"', '""', " ", "\n", "\t", "é"]), max_size=10).map("".join)
CONNECTION = duckdb.connect()
REFUSED = [["refused"]]


def by_duckdb(file: Path, delimiter: str) -> list[list[str | None]]:
    options = (
        f"auto_detect = false, header = true, delim = '{delimiter}', quote = '\"', escape = '\"', strict_mode = true, allow_quoted_nulls = false"
    )
    query = f"FROM read_csv({path_literal(file)}, {options}, nullstr = ['', 'NA'], columns = {{a: 'VARCHAR', b: 'VARCHAR'}})"
    try:
        return [list(row) for row in CONNECTION.execute(query).fetchall()]
    except duckdb.Error:
        return [["refused"]]


def by_python(text: str, delimiter: str) -> list[list[str | None]]:
    try:
        found = [row for row in rows(text, delimiter, DIALECT)[1:] if row]
    except csv.Error:
        return [["refused"]]
    if any(len(row) < 2 or any(row[2:]) for row in found):
        return [["refused"]]
    columns = [Reader(DIALECT).texts(column) for column in zip(*(row[:2] for row in found), strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(text=SIGNS)
@example(text='"NA",NA\n"",\n')
@example(text=' "a","b" \n')
@example(text='a"b,"a ""b"""\n')
@example(text='"a" "b"\n"" "NA"\n"a"  \n "b"\n')
@pytest.mark.parametrize("delimiter", [",", " "])
def test_the_fields_are_those_of_duckdb(tmp_path: Path, text: str, delimiter: str) -> None:
    text = f"a{delimiter}b\n{text}"
    (tmp_path / "rows.csv").write_text(text)

    expected, found = by_duckdb(tmp_path / "rows.csv", delimiter), by_python(text, delimiter)

    assert found == expected or REFUSED in (found, expected)  # one may refuse what the other takes, none reads it otherwise


@pytest.mark.parametrize(
    ("text", "names", "delimiter"),
    [
        ("a,b;c\n", ("a", "b;c"), ","),
        ("a;b\n1;2", ("a", "b"), ";"),
        ("sep=|\na|b\n", ("a", "b"), "|"),
        ("SEP=;\r\na;b\r\n", ("a", "b"), ";"),
        ('"a;b;c",d\n', ("a;b;c", "d"), ","),
        ("one\n", ("one",), ","),
        (" a , b\n", (" a ", " b"), ","),
    ],
)
def test_the_header_tells_the_delimiter(text: str, names: tuple[str, ...], delimiter: str) -> None:
    found = header(text, DIALECT)

    assert (found.names, found.delimiter) == (names, delimiter)


def test_a_blank_may_be_the_delimiter() -> None:
    assert rows('a b\n"NA" 1\n "x y"\n', " ", DIALECT) == [["a", "b"], ["NA", "1"], ["", "x y"]]


def test_lines_before_the_header_are_skipped() -> None:
    found = header("Report of May\n\nsep=;\n a;b \n1;2\n", Dialect(strip=True), skip=2)

    assert (found.names, found.delimiter, found.skipped) == (("a", "b"), ";", 3)


def test_a_field_of_many_quotes_takes_no_memory_beside_its_text() -> None:
    text = 'a,b\n"' + '""' * 500_000 + '",1\n'
    tracemalloc.start()
    try:
        field = rows(text, ",", DIALECT)[1][0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert field == '"' * 500_000
    assert peak < 4 * len(text)
