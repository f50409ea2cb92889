"""The zoo: data as they come from elsewhere that cannot be what was promised, each refused in a sentence."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from components.extract import text
from components.extract.extract import extract
from core.errors import UserError
from core.tracking import Run
from tests.unit import small
from tests.unit.delivered import Files, avro, csv, jsonl, parquet, run_of, zstd

MISSING = "set csv.missing of sources.rows"
TYPE = "or correct contract.rows.columns.x.type"
INTEGER = f"write whole numbers of at most 64 bits without separators, set csv.missing or csv.thousands of sources.rows, {TYPE}"
PLAIN = f"write numbers such as 1234.5, without separators of thousands, {TYPE}"
NUMBER = f"write numbers such as 1234.5, without separators of thousands, set csv.missing, csv.decimal or csv.thousands of sources.rows, {TYPE}"
DATE = f"write dates such as 2013-12-31, set csv.missing or csv.date_format of sources.rows, {TYPE}"
TIME = f"write times such as 2013-12-31T23:59:00Z, set csv.missing or csv.date_format of sources.rows, {TYPE}"
CP1252 = ", or set its encoding, such as csv: {encoding: cp1252}, in sources.rows"
ZONES = "write all times with a zone, or none"
NUL = "has a NUL byte, it is no text or was written in part: deliver it again"
LINES = "write one JSON object a line, each name in it once"
PAGE = "look whether the address needs a login, and deliver the file"


def refused(run: Run, folder: Path) -> str:
    with pytest.raises(UserError) as error:
        extract(run, str(folder / "raw"))
    assert not list(folder.glob("raw*"))
    return str(error.value).replace(f"usecases/{run.usecase.name}/", "")


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("rows.csv", "x\n1\n")
    return stream.getvalue()


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place:][1:]


CSV = b"x,k\n" + b"1,a\n" * 1000
GZIP, ZSTD, PARQUET = gzip.compress(CSV), zstd(CSV), parquet(x=[1.0] * 1000)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        pytest.param("integer", "1.5", f"are no integer (such as '1.5' in row 2): {INTEGER}", id="decimal as integer"),
        pytest.param("integer", "1e5", f"are no integer (such as '1e5' in row 2): {INTEGER}", id="exponent as integer"),
        pytest.param("integer", "0x1F", f"are no integer (such as '0x1F' in row 2): {INTEGER}", id="hexadecimal"),
        pytest.param("integer", "1_000", f"are no integer (such as '1_000' in row 2): {INTEGER}", id="underscore in an integer"),
        pytest.param("integer", "1,000", f"are no integer (such as '1,000' in row 2): {INTEGER}", id="thousands in an integer"),
        pytest.param("integer", "9223372036854775808", f"are no integer (such as '9223372036854775808' in row 2): {INTEGER}", id="beyond 64 bits"),
        pytest.param("integer", "true", f"are no integer (such as 'true' in row 2): {INTEGER}", id="boolean as integer"),
        pytest.param("number", "abc", f"are no number (such as 'abc' in row 2): {NUMBER}", id="text as number"),
        pytest.param("number", "1,5", f"are no number (such as '1,5' in row 2): {NUMBER}", id="decimal comma"),
        pytest.param("number", "1.000,5", f"are no number (such as '1.000,5' in row 2): {NUMBER}", id="thousands in a number"),
        pytest.param("number", "1_000", f"are no number (such as '1_000' in row 2): {NUMBER}", id="underscore in a number"),
        pytest.param("number", "-Infinity", f"are no number (such as '-Infinity' in row 2): {NUMBER}", id="infinity"),
        pytest.param("number", "1e999", f"are no number (such as '1e999' in row 2): {NUMBER}", id="beyond doubles"),
        pytest.param(
            "boolean",
            "2",
            f"are no boolean (such as '2' in row 2): write true or false, {MISSING}, {TYPE}",
            id="number as boolean",
        ),
        pytest.param("date", "2013-02-30", f"are no date (such as '2013-02-30' in row 2): {DATE}", id="date that is not in the calendar"),
        pytest.param("date", "02/01/2013", f"are no date (such as '02/01/2013' in row 2): {DATE}", id="two formats of dates"),
        pytest.param("date", "2013-01-02 10:00:00", f"are no date (such as '2013-01-02 10:00:00' in row 2): {DATE}", id="time as date"),
        pytest.param("date", "infinity", f"are no date (such as 'infinity' in row 2): {DATE}", id="infinite date"),
        pytest.param("timestamp", "1388534400", f"are no timestamp (such as '1388534400' in row 2): {TIME}", id="seconds since 1970"),
        pytest.param("timestamp", "2013-01-02 25:00:00", f"are no timestamp (such as '2013-01-02 25:00:00' in row 2): {TIME}", id="hour 25"),
        pytest.param(
            "timestamp",
            "2013-01-02 10:00 Europe/Berlin",
            f"are no timestamp (such as '2013-01-02 10:00 Europe/Berlin' in row 2): {TIME}",
            id="zone by name",
        ),
        pytest.param(
            "timestamp",
            "2013-01-02T10:00:00Z",
            f"have a time zone, the first has none (such as '2013-01-02T10:00:00Z' in row 2): {ZONES}",
            id="zone in one row",
        ),
    ],
)
def test_a_value_of_another_type_is_counted_and_shown(usecases: Path, tmp_path: Path, kind: str, value: str, words: str) -> None:
    good = {"integer": "1", "number": "1.5", "boolean": "true", "date": "2013-01-01", "timestamp": "2013-01-01 10:00:00"}[kind]
    run = run_of(usecases, csv(f"x;k\n{good};a\n{value};b\n{good};c\n"), x=kind)

    sentence = refused(run, tmp_path)

    assert sentence == f"source rows: rows.csv column x: 1 of 3 rows {words}"


@pytest.mark.parametrize(
    ("files", "what"),
    [
        pytest.param(
            csv("x\n2013-01-01T10:00:00Z\n2013-01-01T10:00:00\n"),
            f"column x: 1 of 2 rows have no time zone, the first has one (such as '2013-01-01T10:00:00' in row 2): {ZONES}",
            id="zone lost",
        ),
        pytest.param(
            {"rows.csv": "x,k\n1,a\n".encode("utf-16")},
            "is UTF-16 text, no csv: save it as UTF-8" + CP1252.replace("cp1252", "utf-16"),
            id="UTF-16",
        ),
        pytest.param({"rows.csv": "x,k\n1,a\n".encode("utf-16-le")}, f"line 1 {NUL}", id="UTF-16 without a mark"),
        pytest.param({"rows.csv": "x,k\n1,a\n2,größe\n".encode("latin-1")}, "line 3 is not UTF-8: save it as UTF-8" + CP1252, id="Latin-1"),
        pytest.param(
            {"rows.csv": b"x,k\n" + b"1,a\n" * 600_000 + b"\xff\n" + CSV},
            "line 600,002 is not UTF-8: save it as UTF-8" + CP1252,
            id="invalid UTF-8 in the middle",
        ),
        pytest.param({"rows.csv": "x,k\n1,a\n2,ö".encode()[:-1]}, "line 3 is not UTF-8: save it as UTF-8" + CP1252, id="cut within a sign"),
        pytest.param({"rows.csv": b"x,k\n1,a\n2,\0\0\n"}, f"line 3 {NUL}", id="NUL bytes"),
        pytest.param(
            csv("x,k\n1,a\r\n2,b\n"),
            "ends its lines in several ways, or goes on after a quote that ends a field: save it anew",
            id="ends of lines mixed",
        ),
        pytest.param(
            csv('x,k\n1,"a\n2,b\n3,c\n'),
            "has 1 of 1 rows that have a quote that does not end, such as that of line 2: correct the file",
            id="quote that does not end",
        ),
        pytest.param(
            csv('x,k\n1,a\n2,"a" b\n'),
            "has 1 of 2 rows that have a quote that does not end, such as that of line 3: correct the file",
            id="text after a quote",
        ),
        pytest.param(csv("x,k\n1\n2,b\n"), "has 1 of 2 rows that have too few fields, such as that of line 2: correct the file", id="too few fields"),
        pytest.param(
            csv("x,k\n1,a\n2,b,c\n3,c,d\n"),
            "has 2 of 3 rows that have too many fields, such as that of line 3: correct the file",
            id="too many fields",
        ),
        pytest.param(
            csv("1,a\n2,b\n"), "has none of the columns x, its first line is 1, a: put the header there, or correct the contract", id="no header"
        ),
        pytest.param(csv("\n1,a\n2,b\n"), "has no header, its first line is empty: put the names of the columns there", id="first line empty"),
        pytest.param(csv("x,k\n1,a\nx,k\n2,b\n"), f"column x: 1 of 3 rows are no number (such as 'x' in row 2): {NUMBER}", id="header twice"),
        pytest.param(csv("x,k,x\n1,a,2\n"), "has the column x twice: rename one", id="a column twice"),
        pytest.param(csv("x,k,X\n1,a,2\n"), "has columns that differ in case only (X, x): rename one", id="columns that differ in case only"),
        pytest.param(
            csv("y,k\n1,a\n"),
            "has none of the columns x, its first line is y, k: put the header there, or correct the contract",
            id="the only column renamed",
        ),
        pytest.param(csv(""), "is empty, it has not even a header: deliver it again", id="empty"),
        pytest.param(
            {"rows.csv.gz": GZIP[: len(GZIP) // 2]},
            "cannot be read, it is damaged or no gzip (Truncated compressed stream): deliver it again",
            id="gzip cut off",
        ),
        pytest.param(
            {"rows.csv.gz": flipped(GZIP, -6)},
            "cannot be read, it is damaged or no gzip (zlib inflate failed: incorrect data check): deliver it again",
            id="gzip damaged",
        ),
        pytest.param(
            {"rows.csv.gz": CSV},
            "cannot be read, it is damaged or no gzip (zlib inflate failed: incorrect header check): deliver it again",
            id="no gzip",
        ),
        pytest.param({"rows.csv": GZIP}, "is a gzip file, no csv: let its name end with .gz", id="gzip by another name"),
        pytest.param(
            {"rows.csv.zst": ZSTD[:-3]}, "cannot be read, it is damaged or no zstd (Truncated compressed stream): deliver it again", id="zstd cut off"
        ),
        pytest.param(
            {"rows.csv.zst": flipped(ZSTD, 8)},
            "cannot be read, it is damaged or no zstd (ZSTD decompress failed: Data corruption detected): deliver it again",
            id="zstd damaged",
        ),
        pytest.param({"rows.csv.gz": gzip.compress(GZIP)}, "is a gzip file, no csv: let its name end with .gz", id="gzip in gzip"),
        pytest.param({"rows.csv": archive()}, "is a zip archive or an Excel file, no csv: unpack it, or save the sheet as csv", id="zip"),
        pytest.param(csv("\n<!DOCTYPE html><html>"), f"is a web page, no csv: {PAGE}", id="web page as csv"),
        pytest.param({"rows.avro": b"<html>sorry</html>"}, f"is a web page, no avro: {PAGE}", id="web page as avro"),
        pytest.param(
            {"rows.avro": avro(x=1.0)[:-3]},
            "cannot be read, it is damaged or no avro (rows.avro: expected sync marker not found): deliver it again",
            id="avro cut off",
        ),
        pytest.param({"rows.parquet": b"<html>sorry</html>"}, f"is a web page, no parquet: {PAGE}", id="web page as parquet"),
        pytest.param({"rows.csv": PARQUET}, "is a Parquet file, no csv: deliver it as csv or correct sources.rows", id="parquet as csv"),
        pytest.param(
            {"rows.parquet": PARQUET[:-20]},
            "cannot be read, it is damaged or no parquet (rows.parquet is cut off): deliver it again",
            id="parquet cut off",
        ),
        pytest.param(
            {"rows.parquet": b""}, "cannot be read, it is damaged or no parquet (rows.parquet is empty): deliver it again", id="parquet of no bytes"
        ),
        pytest.param(
            {"rows.parquet": parquet(x=[1.0], X=[2.0])},
            "has columns that differ in case only (X, x): rename one",
            id="parquet with columns that differ in case only",
        ),
        pytest.param(jsonl('[{"x": 1},\n{"x": 2}]'), "is one JSON array: write one object a line, as `jq -c '.[]'` does", id="JSON array"),
        pytest.param(jsonl('{\n "x": 1\n}\n'), f"line 1 is wrong (unexpected end of data): {LINES}", id="JSON over several lines"),
        pytest.param(jsonl('{"x": 1}\n{"x": 2, "k": "a'), f"line 2 is wrong (unexpected end of data): {LINES}", id="JSON cut off"),
        pytest.param(jsonl('{"x": 1}\n2\n'), f"line 2 is wrong (Expected OBJECT, but got UBIGINT: 2): {LINES}", id="JSON that is no object"),
        pytest.param(jsonl('{"x": 1} {"x": 2}\n'), f"line 1 is wrong (unexpected content after document): {LINES}", id="two objects in a line"),
        pytest.param(
            jsonl('{"x":1}\n{"x":1,"x":2}\n'),
            f'line 2 is wrong (Object {{"x":1,"x":2}} has duplicate key "x"): {LINES}',
            id="a name twice in an object",
        ),
        pytest.param(jsonl('{"x": 1, "X": 2}\n'), "has columns that differ in case only (X, x): rename one", id="names that differ in case only"),
        pytest.param(
            jsonl('{"x": 1}\n{"x": Infinity}\n'),
            f"column x: 1 of 2 rows are no number (such as 'Infinity' in row 2): {PLAIN}",
            id="JSON's infinity",
        ),
        pytest.param(
            jsonl('{"x": {"a": 1}}\n'),
            f"""column x: 1 of 1 rows are no number (such as '{{"a":1}}' in row 1): {PLAIN}""",
            id="object as number",
        ),
        pytest.param(jsonl('{"x": true}\n'), f"column x: 1 of 1 rows are no number (such as 'true' in row 1): {PLAIN}", id="boolean as number"),
        pytest.param(
            csv(f'x,k\n1,"{"q" * 12_000_000}"\n2,b\n'), "line 2 is longer than 8 MB: close its quotes, or shorten its values", id="huge text"
        ),
        pytest.param(
            jsonl(f'{{"x": 1}}\n{{"k": "{"q" * 12_000_000}"}}\n'),
            "line 2 is longer than 8 MB: close its quotes, or shorten its values",
            id="huge JSON text",
        ),
        pytest.param(
            csv(",".join(f"c{number}" for number in range(10_001))),
            "has 10,001 columns, at most 10,000 are possible: deliver them as rows",
            id="columns that are rows",
        ),
    ],
)
def test_a_file_that_cannot_be_what_was_promised_is_refused(usecases: Path, tmp_path: Path, files: Files, what: str) -> None:
    run = run_of(usecases, files, x="timestamp" if "time zone" in what else "number")

    sentence = refused(run, tmp_path)

    assert sentence == f"source rows: {next(iter(files))} {what}"


@pytest.mark.parametrize(
    ("files", "path", "what"),
    [
        pytest.param(
            {"1.parquet": parquet(x=[1]), "2.parquet": parquet(x=["a"])},
            "*.parquet",
            "*.parquet column x is BIGINT in 1.parquet and VARCHAR in 2.parquet: deliver files of one schema",
            id="types that contradict",
        ),
        pytest.param(
            {"1.parquet": parquet(x=pa.array([b"a"]), y=pa.array([b"\xff"])), "2.parquet": parquet(x=["a"])},
            "*.parquet",
            "*.parquet column x is BLOB in 1.parquet and VARCHAR in 2.parquet, and not all bytes are UTF-8 text: deliver files of one schema",
            id="bytes and text",
        ),
        pytest.param(
            {"1.parquet": parquet(x=[1.0]), "2.parquet": parquet(X=[2.0])},
            "*.parquet",
            "*.parquet has columns that differ in case only (X, x): rename one",
            id="case that changes",
        ),
        pytest.param(
            {"1.csv": b"x\n1\n", "2.csv": b"k,x\nb,1\na,q\n", "3.csv": b"x\nq\n"},
            "*.csv",
            f"*.csv column x: 2 of 4 rows are no number (such as 'q' in row 1 of 3.csv): {NUMBER}",
            id="values in several files",
        ),
        pytest.param(
            {"1.csv": b"x\n1\n", "2.csv": b"x\n1,2\n"},
            "*.csv",
            "*.csv (2.csv) has 1 of 2 rows that have too many fields, such as that of line 2: correct the file",
            id="fields in several files",
        ),
        pytest.param(
            {"1.csv": b"x\n1\n", "2.csv": b""}, "*.csv", "*.csv (2.csv) is empty, it has not even a header: deliver it again", id="one is empty"
        ),
        pytest.param(
            {"y=1/a.csv": b"x\n1\n", "m=1/a.csv": b"x\n1\n"},
            "*/*.csv",
            "*/*.csv (y=1/a.csv) lies in partitions of y, others in those of m: deliver one layout",
            id="partitions of other columns",
        ),
        pytest.param(
            {"x=1/a.csv": b"k\n1\n", "x=q/a.csv": b"k\n1\n"},
            "*/*.csv",
            f"*/*.csv column x: 1 of 2 rows are no number (such as 'q' in row 1 of x=q/a.csv): {PLAIN}",
            id="partition of another type",
        ),
    ],
)
def test_files_that_do_not_fit_together_are_refused(usecases: Path, tmp_path: Path, files: Files, path: str, what: str) -> None:
    run = run_of(usecases, files, path)

    sentence = refused(run, tmp_path)

    assert sentence == f"source rows: {what}"


@pytest.mark.parametrize("value", ['{"a":1}', "[1]"], ids=["object", "list"])
def test_an_object_is_no_text(usecases: Path, tmp_path: Path, value: str) -> None:
    run = run_of(usecases, jsonl(f'{{"x": "{{"}}\n{{"x": {value}}}\n{{"x": null}}\n'), x="string")

    sentence = refused(run, tmp_path)

    cure = f"write text, no objects or lists, {TYPE}"
    assert sentence == f"source rows: rows.jsonl column x: 1 of 3 rows are no string (such as '{value}' in row 2): {cure}"


def test_every_column_with_wrong_values_has_its_line(usecases: Path, tmp_path: Path) -> None:
    run = run_of(usecases, csv("x,y,z\n1,2013-01-01,q\n1.5,2013-01-01Z,\n1.5,q," + "q" * 50 + "\n"), x="integer", y="timestamp", z="boolean")

    sentence = refused(run, tmp_path)

    z = f"are no boolean (such as 'q' in row 1): write true or false, {MISSING}, {TYPE.replace('.x.', '.z.')}"
    assert sentence.splitlines() == [
        f"source rows: rows.csv column x: 2 of 3 rows are no integer (such as '1.5' in row 2): {INTEGER}",
        f"source rows: rows.csv column y: 2 of 3 rows are no timestamp (such as '2013-01-01Z' in row 2): {TIME.replace('.x.', '.y.')}",
        f"source rows: rows.csv column z: 2 of 3 rows {z}",
    ]


@pytest.mark.parametrize(
    ("key", "place"),
    [
        pytest.param(None, "sources.rows", id="an address"),
        pytest.param("path", "sources.rows.path", id="a mapping"),
    ],
)
@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "data/../../x.csv"])
def test_a_path_out_of_the_folder_is_refused(path: str, key: str | None, place: str) -> None:
    source = {"kind": "file", key: path} if key else path

    with pytest.raises(UserError) as error:
        small.usecase(sources__rows=source)

    assert f": {place}: a file lies below the use case's folder: write its path from there (found '{path}')" in str(error.value)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        pytest.param("linked.csv", "linked.csv is a link out of the use case's folder: put the file itself there", id="link"),
        pytest.param("folder/*.csv", "folder/b.csv is a link out of the use case's folder: put the file itself there", id="link below"),
        pytest.param("folder", "folder is a folder: write folder/*", id="folder"),
        pytest.param("no.csv", "there is no file no.csv: add it or correct it under sources", id="no such file"),
    ],
)
def test_what_is_no_file_of_the_use_case_is_refused(usecases: Path, tmp_path: Path, path: str, sentence: str) -> None:
    run = run_of(usecases, csv("x\n1\n", "folder/a.csv"), path)
    (tmp_path / "other.csv").write_text("x\n1\n")
    for name in ("linked.csv", "folder/b.csv"):
        (usecases / run.usecase.name / name).symlink_to(tmp_path / "other.csv")

    assert refused(run, tmp_path) == sentence


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[None]:
    """A user who may read what all may read, should the tests run as root."""
    if os.geteuid():
        yield
        return
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o777)
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_file_that_may_not_be_read_is_refused(usecases: Path, tmp_path: Path, stranger: None) -> None:
    run = run_of(usecases, csv("x\n1\n"))
    (usecases / run.usecase.name / "rows.csv").chmod(0)

    sentence = refused(run, tmp_path)

    assert sentence == "source rows: rows.csv may not be read by this user: change its permissions"


@pytest.mark.slow
def test_a_text_of_two_gigabytes_is_refused_before_it_is_in_memory(usecases: Path, tmp_path: Path) -> None:
    run = run_of(usecases, csv('x,k\n1,"'))
    with (usecases / run.usecase.name / "rows.csv").open("ab") as stream:
        for _ in range(2000):
            stream.write(b"q" * 1_000_000)

    sentence = refused(run, tmp_path)

    assert sentence == f"source rows: rows.csv line 2 is longer than {text.LINE // 10**6} MB: close its quotes, or shorten its values"


def test_many_columns_are_refused_within_the_memory(usecases: Path, tmp_path: Path) -> None:
    names = [f"x{number}" for number in range(200)]
    run = run_of(usecases, csv(f"{','.join(names)}\n{','.join(['abc'] * 200)}\n"), **dict.fromkeys(names, "number"))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak()

    lines = refused(run, tmp_path).splitlines()

    assert (len(lines), "column x199: 1 of 1 rows are no number" in lines[-1]) == (200, True)
    assert peak() - before < 100


def test_more_columns_than_the_memory_holds_are_refused_with_the_limit_to_set(usecases: Path, tmp_path: Path) -> None:
    names = [f"x{number}" for number in range(1000)]
    run = run_of(usecases, csv(f"{','.join(names)}\n"), memory="100MB", **dict.fromkeys(names, "number"))

    sentence = refused(run, tmp_path)

    assert "has 1,000 columns of numbers, which need about 200 MB: set limits.memory to 200MB (it is 100MB)" in sentence


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")) / 1024
