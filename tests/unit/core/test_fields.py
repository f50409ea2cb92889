"""Fields: DuckDB in training and Python in serving read the same text as the same value."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.fields import BLANKS, DIALECT, WORDS, Dialect, Quoted, Reader, Refused, missing_sql, value_sql

GERMAN = Dialect(decimal=",", thousands=".", missing=("NA", "-"), strip=True)
FRENCH = Dialect(decimal=",", thousands="\u00a0", missing=("?", "-999"))
DIALECTS = [DIALECT, Dialect(missing=("NA", "?"), strip=True), GERMAN, FRENCH]
NUMERIC = st.text(alphabet="0123456789.,+-eE_xnaNAif \t\n\u00a0'?-", max_size=8)
CONNECTION = duckdb.connect()
TEXTS = st.lists(st.one_of(NUMERIC, st.text(max_size=5), st.floats().map(str)), min_size=20, max_size=60)


def by_duckdb(kind: str, texts: list[str], dialect: Dialect) -> list[Any]:
    """The values, with `refused` for a text that is neither one nor missing."""
    rows = pa.table({"text": texts})
    wrong = f"NOT {missing_sql(kind, 'text', dialect)} AND {value_sql(kind, 'text', dialect)} IS NULL"
    value = f"CASE WHEN NOT {missing_sql(kind, 'text', dialect)} THEN {value_sql(kind, 'text', dialect)} END"
    found = CONNECTION.register("rows", rows).execute(f"SELECT {value}, {wrong} FROM rows").fetchall()
    return ["refused" if is_wrong else value for value, is_wrong in found]


def number(reader: Reader, text: str) -> Any:
    try:
        (value,) = reader.numbers([text])
    except Refused:
        return "refused"
    return value


@pytest.mark.parametrize("dialect", DIALECTS, ids=["plain", "stripped", "german", "french"])
@settings(deadline=None, max_examples=20)
@given(texts=TEXTS)
@example(
    texts=["1_000", "0x1F", "١٢", "+-1", "1e400", "\x1c1", "nan ", "NaN", "-nan", "infinity", " 1.5", "\u00a01", "1.234", "1.23", "1.234,5", "-,5"]
)
@example(texts=["1.23", "1.234,5", "-,5", "", "NA", " NA", "?", " ? ", "-", "-999", " -999", "na", "1,5e3", "1\u00a0234,5", "1.2345"])
def test_a_number_means_the_same_in_duckdb_and_python(dialect: Dialect, texts: list[str]) -> None:
    reader, texts = Reader(dialect), [text.encode(errors="ignore").decode().replace("\x00", "") for text in texts]

    ours = [number(reader, text) for text in texts]

    for text, found, wanted in zip(texts, ours, by_duckdb("number", texts, dialect), strict=True):
        is_word = text.strip(BLANKS).lower() in WORDS  # a boolean of the source is a number in a request
        assert is_word or found == wanted or (found != found and wanted != wanted), repr(text)


@pytest.mark.parametrize("dialect", DIALECTS, ids=["plain", "stripped", "german", "french"])
@settings(deadline=None, max_examples=20)
@given(texts=TEXTS)
@example(texts=["", "NA", " NA ", "? ", "?", " a ", "\u00a0", "  "])
def test_a_quoted_text_means_the_same_in_duckdb_and_python(dialect: Dialect, texts: list[str]) -> None:
    texts = [text.encode(errors="ignore").decode().replace("\x00", "") for text in texts]
    marked = [Quoted(text) if text in ("", *dialect.missing) else text for text in texts]

    assert list(Reader(dialect).texts(marked)) == by_duckdb("string", texts, dialect)


@pytest.mark.parametrize("blank", [" ", "\t", "\r", "\n", "\v", "\f", "\u00a0"], ids=ascii)
def test_strip_removes_every_blank(blank: str) -> None:
    reader, text = Reader(GERMAN), f"{blank}1{blank}"

    assert (reader.texts([text]), reader.numbers([text])) == (["1"], [1.0])
    assert (by_duckdb("string", [text], GERMAN), by_duckdb("number", [text], GERMAN)) == (["1"], [1.0])


def test_a_boolean_means_the_same_in_duckdb_and_python() -> None:
    texts = [form for word in ("true", "t", "yes", "y", "1") for form in (word, word.upper(), f" {word}\t")]
    texts += [form for word in ("false", "f", "no", "n", "0") for form in (word, word.title(), f"\n{word} ")]
    texts += ["", "NA", "tr", "ye", "on", "off", "null", "_t"]

    ours = [number(Reader(DIALECT), text) for text in texts]

    assert ours == by_duckdb("boolean", texts, DIALECT)
    assert ours == [1.0] * 15 + [0.0] * 15 + [None] * 2 + ["refused"] * 6


def test_a_column_is_read_whole_whatever_is_missing_in_it() -> None:
    found = Reader(DIALECT).numbers(("1", "", "2.5", "NA", "nan", "true"))

    assert found[:4] == [1.0, None, 2.5, None]
    assert math.isnan(found[4] or 0)
    assert found[5] == 1.0


@pytest.mark.parametrize(
    "dialect",
    [
        pytest.param(Dialect(missing=("1", "-999", "n/a ")), id="plain"),
        pytest.param(Dialect(missing=(" 1", "-999", "n/a")), id="listed with a blank"),
        pytest.param(Dialect(decimal=",", missing=("1", "-999", "n/a")), id="decimal comma"),
        pytest.param(Dialect(missing=("1", "-999", "n/a"), strip=True), id="stripped"),
    ],
)
def test_a_blank_around_a_missing_number_does_not_count(dialect: Dialect) -> None:
    texts = ["2", "1", " 1", "1\t", " -999 ", "-999", " n/a", " ", " 2"]

    assert Reader(dialect).numbers(texts) == [2.0, *[None] * 7, 2.0]
    assert [number(Reader(dialect), text) for text in texts] == [2.0, *[None] * 7, 2.0]
    assert by_duckdb("number", texts, dialect) == [2.0, *[None] * 7, 2.0]
    assert by_duckdb("string", [" 1"], replace(dialect, strip=False)) == [" 1"]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("date", "31.12.2024", "2024-12-31"),
        ("date", "1.2.2024", "2024-02-01"),
        ("date", "31.12.24", None),
        ("date", "2024-12-31", None),
        ("timestamp", "31.12.2024 23:59", "2024-12-31 23:59:00"),
        ("zoned", "31.12.2024 23:59:00+01:00", "2024-12-31 22:59:00+00"),
        ("timestamp", "31.12.2024 25:00", None),
    ],
)
def test_a_day_is_written_as_the_source_says(kind: str, text: str, value: str | None) -> None:
    CONNECTION.execute("SET TimeZone = 'UTC'")
    found = CONNECTION.execute(f"SELECT ({value_sql(kind, 'text', DIALECT, '%d.%m.%Y')})::VARCHAR FROM (SELECT ? AS text)", [text]).fetchall()

    assert found == [(value,)]
