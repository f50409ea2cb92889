"""Options of CSV: training and the model server read the same bytes as the same values."""

from __future__ import annotations

import gzip
import re
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml

from components.extract.extract import extract
from components.validate.typed import typed
from core.bundle import Bundle, Golden, Input, Manifest, digest, pack, unpack
from core.csvoptions import shared_dialect
from core.errors import UserError
from core.featurecode import FOLDER
from core.fields import DIALECT, Dialect
from core.sources import FileSource
from core.tables import columns, connect, path_literal
from core.tracking import Run
from serving.columns import Schema
from serving.errors import RequestError
from serving.protocols.mlflow import parse
from tests.unit import small
from tests.unit.delivered import read, run_of

INPUTS = [Input("x", "FP64"), Input("k", "BYTES")]
LATIN = {"encoding": "latin-1", "decimal": ",", "thousands": ".", "date_format": "%d.%m.%Y"}


def files(path: str, options: dict[str, Any]) -> FileSource:
    return FileSource.model_validate({"kind": "file", "path": path, "csv": options})


def with_options(run: Run, file: str = "rows.csv", **options: Any) -> Run:
    source = files(file, options)
    return Run("extract", run.usecase.model_copy(update={"sources": {"rows": source}}))


def trained(usecases: Path, folder: Path, body: bytes, options: dict[str, Any]) -> Any:
    run = with_options(run_of(usecases, {"rows.csv": body}, x="number", k="string"), **options)
    try:
        found = read(run, folder).to_pydict()
    except UserError:
        return "refused"
    return [found["x"], found["k"]]


def served(body: bytes, options: dict[str, Any], kind: str = "text/csv") -> Any:
    source = files("rows.csv", options)
    model: Any = type("Model", (), {"schema": Schema(INPUTS, source.csv.dialect)})
    try:
        numbers, texts = parse(model, body, {b"content-type": kind.encode()}).columns
    except RequestError as error:
        return "refused" if error.status == 400 else error.status
    return [[None if number is None or number != number else float(number) for number in numbers], list(texts)]


@pytest.mark.parametrize(
    ("options", "body", "values"),
    [
        pytest.param({}, 'x,k\n1,"NA"\n2,NA\n3,""\n4,\n', [[1, 2, 3, 4], ["NA", None, "", None]], id="quoted text stays text"),
        pytest.param({}, 'x,k\n"",a\n"NA",a\nNA,a\n,a\n"5","a"\n', [[None, None, None, None, 5], ["a"] * 5], id="a number may be quoted"),
        pytest.param({}, "x;k\n 1 ;a,b\n2;c\n", [[1, 2], ["a,b", "c"]], id="semicolons"),
        pytest.param({}, "x\tk\n1\ta\n2\t b\n", [[1, 2], ["a", " b"]], id="tabs"),
        pytest.param({}, "sep=;\r\nx;k\r\n1;a\r\n", [[1], ["a"]], id="a first line for Excel"),
        pytest.param({}, "\ufeff\ufeffx,k\n1,a\n", [[1], ["a"]], id="two byte order marks"),
        pytest.param({}, "x,k\n1_000,a\n", "refused", id="underscore"),
        pytest.param({}, "x,k\n\u0661\u0662,a\n", "refused", id="digits of another script"),
        pytest.param({}, "x,k\n0x1F,a\n", "refused", id="hexadecimal"),
        pytest.param({}, "x,k\n?,a\n", "refused", id="a sign that nobody named"),
        pytest.param({}, "x,k\n1,?\n2,None\n3,null\n4,nan\n", [[1, 2, 3, 4], ["?", "None", "null", "nan"]], id="other words are text"),
        pytest.param({"missing": ["?", "-999"]}, 'x,k\n-999,NA\n?,?\n"?","?"\n', [[None] * 3, ["NA", None, "?"]], id="signs that are named"),
        pytest.param({"missing": []}, "x,k\n1,NA\n2,\n", [[1, 2], ["NA", None]], id="none but nothing"),
        pytest.param({"strip": True}, ' x , k\n 1 , State-gov\n2, NA\n3,"NA"\n4, \n', [[1, 2, 3, 4], ["State-gov", None, "NA", None]], id="strip"),
        pytest.param({"delimiter": "#"}, "x#k\n1#a,b;c\n", [[1], ["a,b;c"]], id="a delimiter of one's own"),
        pytest.param({"decimal": ","}, "x;k\n1,5;a\n-2;b\n", [[1.5, -2], ["a", "b"]], id="decimal comma"),
        pytest.param({"decimal": ","}, "x;k\n1.5;a\n", "refused", id="a point where commas are"),
        pytest.param(LATIN, "x;k\n1.234,50;groß\n".encode("latin-1"), [[1234.5], ["groß"]], id="German, Latin-1"),
        pytest.param(LATIN, "x;k\n1.23,5;a\n", "refused", id="a group of two digits"),
        pytest.param({"encoding": "utf-16"}, "x,k\n1,größe\n".encode("utf-16"), [[1], ["größe"]], id="UTF-16"),
    ],
)
def test_the_same_bytes_mean_the_same(usecases: Path, tmp_path: Path, options: dict[str, Any], body: str | bytes, values: Any) -> None:
    data = body.encode() if isinstance(body, str) else body

    assert (trained(usecases, tmp_path, data, options), served(data, options)) == (values, values)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("value", ["a", "größe"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_wide_letters_are_read_with_or_without_a_mark(encoding: str, value: str, mark: str) -> None:
    text, expected = f"{mark}x,k\n1,{value}\n", [[1], [value]]

    assert served(text.encode(encoding), {"encoding": encoding}) == expected
    assert served(text.encode(), {"encoding": encoding}) == expected  # UTF-8 stays possible


@pytest.mark.parametrize(
    ("encoding", "charset", "body", "values"),
    [
        ("cp1252", "windows-1252", "x,k\n1,Ã¤\n".encode("cp1252"), [[1], ["Ã¤"]]),
        ("latin-1", '"ISO-8859-1"', "x,k\n1,ß\n".encode("latin-1"), [[1], ["ß"]]),
        ("latin-1", "utf-8", "x,k\n1,ß\n".encode(), [[1], ["ß"]]),
        ("latin-1", "utf-8", "x,k\n1,ß\n".encode("latin-1"), [[1], ["ß"]]),
        ("utf-16", "utf-16", "x,k\n1,a\n".encode("utf-16"), [[1], ["a"]]),
        ("utf-8", "iso-8859-1", b"x,k\n1,a\n", 415),
        ("latin-1", "koi8-r", b"x,k\n1,a\n", 415),
        ("latin-1", "klingon", b"x,k\n1,a\n", 415),
    ],
)
def test_the_charset_may_be_that_of_the_source(encoding: str, charset: str, body: bytes, values: Any) -> None:
    assert served(body, {"encoding": encoding}, f"text/csv; charset={charset}") == values


def test_a_european_file_is_read_with_its_dates(usecases: Path, tmp_path: Path) -> None:
    text = "Umsätze 2024\n\nTag;Preis;Menge;Ort\n31.12.2024;1.234,50;2.000;Köln\n1.2.2024;-0,5;;Görlitz\n"
    run = run_of(usecases, {"rows.csv.gz": gzip.compress(text.encode("cp1252"))}, Tag="date", Preis="number", Menge="integer", Ort="string")

    found = read(with_options(run, "rows.csv.gz", skip=2, **LATIN | {"encoding": "cp1252"}), tmp_path)

    assert found.to_pydict() == {
        "Tag": [date(2024, 12, 31), date(2024, 2, 1)],
        "Preis": [1234.5, -0.5],
        "Menge": [2000, None],
        "Ort": ["Köln", "Görlitz"],
    }


@pytest.mark.parametrize(
    ("text", "cure"),
    [("Report\nx,k\n1,a\n", "line 2 seems to have the names: add csv: {skip: 1}"), ("# a, b\n\nk,x\na,1\n", "add csv: {skip: 2} to sources.rows")],
    ids=["title", "comment"],
)
def test_lines_before_the_header_are_pointed_out(usecases: Path, tmp_path: Path, text: str, cure: str) -> None:
    with pytest.raises(UserError, match=r"line \d seems to have the names") as refused:
        read(run_of(usecases, {"rows.csv": text.encode()}), tmp_path)

    assert cure in str(refused.value)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "sep=,\nx,k\r\n1,a\r\n2,b\r\n"),
        ({}, "\ufeffsep=,\r\nx,k\n1,a\n2,b\n"),
        ({"skip": 1}, "Report\r\nx,k\n1,a\n2,b\n"),
        ({"skip": 1}, "Report\nx,k\r\n1,a\r\n2,b\r\n"),
        ({"skip": 1}, '"x" y\nx,k\n1,a\n2,b\n'),
        ({"skip": 1}, '"Report\nx,k\n1,a\n2,b\n'),
        ({"skip": 2}, '"Report\n2024"\nx,k\n1,a\n2,b\n'),
        ({"skip": 1, "encoding": "latin-1"}, "Umsätze\r\nx,k\n1,a\n2,b\n"),
    ],
)
def test_no_row_is_lost_behind_lines_that_are_skipped(usecases: Path, tmp_path: Path, options: dict[str, Any], text: str) -> None:
    body = text.encode(options.get("encoding", "utf-8"))

    assert trained(usecases, tmp_path, body, options) == [[1, 2], ["a", "b"]]


def test_lines_that_are_skipped_count_where_a_row_is_wrong(usecases: Path, tmp_path: Path) -> None:
    run = with_options(run_of(usecases, {"rows.csv": b"Report\r\nx,k\n1,a\n2\n"}, x="number", k="string"), skip=1)

    with pytest.raises(UserError, match=r"too few fields, such as that of line 4"):
        read(run, tmp_path)


@pytest.mark.parametrize("options", [{"missing": ["-", "-999", "a,b"], "delimiter": ";"}, {"date_format": "%d.%m.%Y %%H"}])
def test_options_that_look_odd_are_taken(options: dict[str, Any]) -> None:
    assert files("rows.csv", options)


def test_a_first_line_that_names_no_delimiter_is_pointed_out(usecases: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"begins with 'sep=\"', line 2 seems to have the names"):
        read(run_of(usecases, {"rows.csv": b'sep="\nx,k\n1,a\n'}), tmp_path)


def test_a_file_in_another_encoding_than_named_is_refused(usecases: Path, tmp_path: Path) -> None:
    run = with_options(run_of(usecases, {"rows.csv": "x\nß\n".encode("latin-1")}, x="string"), encoding="ascii")

    with pytest.raises(UserError, match="is not ascii: correct"):
        read(run, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"decimal": ",", "thousands": ","}, "decimal and thousands are both ','"),
        ({"delimiter": "a"}, "'a' cannot separate anything"),
        ({"encoding": "klingon"}, "there is no encoding klingon"),
        ({"encoding": "base64"}, "there is no encoding base64"),
        ({"date_format": "%d.%m."}, "does not tell day, month and year"),
        ({"date_format": "%Y-%m-%d %H:%M"}, "%H is of a clock: write the day alone"),
        ({"date_format": "%d.%m.%Y %-I"}, "%-I is of a clock: write the day alone"),
        ({"missing": ["NA", ","]}, "',' holds a delimiter"),
        ({"missing": ["a;b"], "delimiter": ";"}, "'a;b' holds the delimiter"),
        ({"missing": ['"']}, "holds a delimiter .*, a quote"),
        ({"date_format": "%Q"}, "does not tell day, month and year"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        files("rows.csv", options)


def test_options_of_csv_are_for_csv() -> None:
    with pytest.raises(ValueError, match="these files are parquet: remove them"):
        files("rows.parquet", {"strip": True})


def test_a_model_carries_how_its_source_writes_values() -> None:
    sources = [files("a.csv", {"decimal": ","}), files("b.csv", {})]

    dialect = shared_dialect(source.csv for source in sources)
    data = pack(Bundle(Manifest("a", "binary", "b", "onnx", tuple(INPUTS), (), None, {}, dialect=dialect), Golden([], [], None), b""))

    assert dialect.decimal == ","
    assert unpack(data, digest(data)).manifest.dialect == dialect


@pytest.mark.parametrize(
    ("options", "dialect"),
    [
        ([{"delimiter": ";", "decimal": ","}, {"delimiter": ";", "decimal": ",", "missing": ["?"]}], Dialect(";", ",", missing=("NA", "?"))),
        ([{"decimal": ","}, {"decimal": ",", "thousands": "."}, {"strip": True}], Dialect("", ",", ".", missing=("NA",), strip=True)),
        ([{"delimiter": "#", "encoding": "latin-1"}, {"delimiter": ";"}, {}], Dialect(encoding="latin-1", missing=("NA",))),
        ([{}, {}], DIALECT),
    ],
)
def test_requests_are_read_as_all_sources_write(options: list[dict[str, Any]], dialect: Dialect) -> None:
    assert shared_dialect(files("rows.csv", each).csv for each in options) == dialect


@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"decimal": "."}, "sources.prices.csv.decimal", "decimal is '.' here and ',' in sources.rows"),
        ({"thousands": "'"}, "sources.prices.csv", "decimal is '.' here and ',' in sources.rows"),
        ({"decimal": ",", "thousands": "'"}, "sources.prices.csv.thousands", "thousands is \"'\" here and '.' in sources.rows"),
    ],
)
def test_sources_that_write_numbers_differently_are_refused(options: dict[str, str], path: str, words: str) -> None:
    german = {"kind": "file", "path": "rows.csv", "csv": {"decimal": ",", "thousands": "."}}
    other = {"kind": "file", "path": "prices.csv", "csv": options}

    with pytest.raises(UserError) as refused:
        small.usecase(sources={"rows": german, "prices": other})

    assert f"{path}: {words}" in str(refused.value)


def test_the_recipe_of_the_docs_reads_its_file(usecases: Path, tmp_path: Path) -> None:
    page = Path(FOLDER.parent, "docs", "sources.md").read_text().partition("## CSV")[2]
    text, document, table = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL)[1] for kind in ("text", "yaml", "csv"))  # type: ignore[index]
    given = yaml.safe_load(document)
    usecase = small.usecase(sources=given["sources"], contract=given["contract"])
    (usecases / usecase.name).mkdir(parents=True)
    (usecases / usecase.name / "sales.csv").write_bytes(text.encode("latin-1"))

    extract(Run("extract", usecase), str(tmp_path / "raw"))

    duckdb.execute(f"COPY (FROM read_parquet({path_literal(tmp_path / 'raw/sales.parquet')})) TO '{tmp_path}/out.csv' (HEADER)")
    assert (tmp_path / "out.csv").read_text() == table


@pytest.mark.parametrize(
    ("options", "text", "types"),
    [
        pytest.param({}, 'x,k\n"1",NA\n"",a\nNA,"b"\n', {"x": "BIGINT", "k": "VARCHAR"}, id="quoted, with missing ones"),
        pytest.param({"decimal": ",", "thousands": "."}, "x;y\n1.000;1,5\n2;2\n", {"x": "BIGINT", "y": "DOUBLE"}, id="decimal comma"),
        pytest.param({"date_format": "%d.%m.%Y"}, "x;y\n31.12.2024;31.12.2024 10:00\n", {"x": "DATE", "y": "TIMESTAMP"}, id="dates"),
    ],
)
def test_a_proposed_contract_knows_the_options(usecases: Path, tmp_path: Path, options: dict[str, Any], text: str, types: dict[str, str]) -> None:
    promised = dict.fromkeys(types, "string")
    read(with_options(run_of(usecases, {"rows.csv": text.encode()}, **promised), **options), tmp_path)
    with connect("64MB") as connection:
        path = typed(connection, tmp_path / "raw" / "rows.parquet", tmp_path, files("rows.csv", options).csv)
        assert columns(connection, path) == types
