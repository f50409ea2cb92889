"""Formats: files of each become one table of the contract's types, within the memory, the same bytes each time."""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.extract.delivery import Request
from components.extract.extract import extract
from components.extract.formats import named
from core.errors import UserError
from core.sources import FileSource
from core.tracking import Run
from tests import disks
from tests.unit.delivered import Files, avro, csv, jsonl, parquet, read, run_of, zstd

UTC_10 = datetime(2013, 1, 2, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("files", "kind", "table"),
    [
        pytest.param(csv("x\n1\n+2\n007\n3.0\n 4 \n-5\nNA\n"), "integer", {"x": [1, 2, 7, 3, 4, -5, None]}, id="integers"),
        pytest.param(csv("x\n1\n.5\n1e5\n -2.50\n"), "number", {"x": [1.0, 0.5, 1e5, -2.5]}, id="numbers"),
        pytest.param(csv("x\ntrue\nFalse\n1\nno\n t\n"), "boolean", {"x": [True, False, True, False, True]}, id="booleans"),
        pytest.param(csv("x\n2013-01-02\n2013/1/2\n2013-01-02 00:00:00\n"), "date", {"x": [date(2013, 1, 2)] * 3}, id="dates"),
        pytest.param(
            csv("x\n2013-01-02 10:00:00\n2013-01-02T10:00\n2013-01-02\n"),
            "timestamp",
            {"x": [datetime(2013, 1, 2, hour) for hour in (10, 10, 0)]},
            id="times without a zone",
        ),
        pytest.param(
            csv("x\n2013-01-02 10:00:00Z\n2013-01-02T12:00:00+02:00\n2013-01-02 05:00-05\n"),
            "timestamp",
            {"x": [UTC_10] * 3},
            id="times with zones become UTC",
        ),
        pytest.param(csv("x,k\n1,007\n"), "number", {"x": [1.0], "k": ["007"]}, id="what the contract does not name stays text"),
        pytest.param({"rows.csv": b"\xef\xbb\xbfx,k\n1,a\n"}, "number", {"x": [1.0], "k": ["a"]}, id="byte order mark"),
        pytest.param(csv('x,k\r\n1,"a\nb"\r\n'), "number", {"x": [1.0], "k": ["a\nb"]}, id="CRLF, with LF in a field"),
        pytest.param(csv("x,k\r1,a\r2,b\r"), "number", {"x": [1.0, 2.0], "k": ["a", "b"]}, id="CR alone"),
        pytest.param(csv("x,k\n1,a\n2,b"), "number", {"x": [1.0, 2.0], "k": ["a", "b"]}, id="no end of the last line"),
        pytest.param(csv('x,k\n1,"a ""b"", c"\n2,d "e"\n'), "number", {"x": [1.0, 2.0], "k": ['a "b", c', 'd "e"']}, id="quotes"),
        pytest.param(csv("x;k\n1;a,b\n"), "number", {"x": [1.0], "k": ["a,b"]}, id="semicolons"),
        pytest.param(csv(",x\n0,1\n"), "number", {"column0": ["0"], "x": [1.0]}, id="column without a name"),
        pytest.param(csv("x,k\n"), "number", {"x": [], "k": []}, id="header only"),
        pytest.param(csv("x\n1\n", "ROWS.CSV"), "number", {"x": [1.0]}, id="name in capitals"),
        pytest.param({"rows.csv.gz": gzip.compress(b"x\n1\n") + gzip.compress(b"2\n")}, "number", {"x": [1.0, 2.0]}, id="gzip of two parts"),
        pytest.param({"rows.csv.zst": zstd(b"x\n1\n") + zstd(b"2\n")}, "number", {"x": [1.0, 2.0]}, id="zstd of two parts"),
        pytest.param({"rows.json.gz": gzip.compress(b'{"x": 1}\n')}, "number", {"x": [1.0]}, id="gzip of JSON lines"),
        pytest.param(
            jsonl('{"x": 1.5, "k": 1}\r\n\r\n{"z": {"q": [1]}, "x": "2"}\r\n{"x": null}'),
            "number",
            {"k": ["1", None, None], "x": [1.5, 2.0, None], "z": [None, '{"q":[1]}', None]},
            id="numbers as text in JSON",
        ),
        pytest.param(jsonl('{"x": 1,}\n{"x": NaN}\n'), "number", {"x": [1.0, "nan"]}, id="trailing comma and NaN"),
        pytest.param(jsonl('{"x": 1.0}\n{"x": "[1]"}\n'), "string", {"x": ["1.0", "[1]"]}, id="text in JSON"),
        pytest.param(jsonl(""), "number", {"x": []}, id="no lines"),
        pytest.param({"rows.parquet": parquet(x=["1", "q"])}, "number", {"x": ["1", "q"]}, id="text in Parquet stays: validate names it"),
        pytest.param(
            {"rows.parquet": parquet(x=[{"a": 1}], y=[[1]])}, "number", {"x": [{"a": 1}], "y": [[1]]}, id="nested values in Parquet stay, too"
        ),
        pytest.param({"rows.parquet": parquet(x=pa.array(["é".encode(), None]))}, "string", {"x": ["é", None]}, id="untyped text in Parquet"),
        pytest.param({"rows.parquet": parquet(x=pa.array([b"\xff"]))}, "string", {"x": [b"\xff"]}, id="bytes in Parquet stay"),
        pytest.param({"rows.jsonl": b'\xef\xbb\xbf{"x": "NA"}\n'}, "string", {"x": ["NA"]}, id="JSON with a byte order mark, in which NA is text"),
        pytest.param({"rows.parquet": parquet(x=pa.array([], pa.float64()))}, "number", {"x": []}, id="no rows"),
    ],
)
def test_what_means_something_is_read_as_that(usecases: Path, tmp_path: Path, files: Files, kind: str, table: dict[str, list[Any]]) -> None:
    run = run_of(usecases, files, x=kind)

    found = read(run, tmp_path)

    assert {name: ["nan" if value != value else value for value in values] for name, values in found.to_pydict().items()} == table


@pytest.mark.parametrize(
    ("files", "path", "table"),
    [
        pytest.param(
            {"1.csv": b"x,k\n1,a\n", "2.csv": b"k;x;z\nb;2;q\n"},
            "*.csv",
            {"x": [1.0, 2.0], "k": ["a", "b"], "z": [None, "q"]},
            id="headers that differ",
        ),
        pytest.param({"1.csv": b"x\n1\n", "2.csv.gz": gzip.compress(b"x\n2\n")}, "*", {"x": [1.0, 2.0]}, id="some are compressed"),
        pytest.param({"1.jsonl": b'{"x": 1}\n', "2.ndjson": b'{"k": 2}\n'}, "*", {"x": [1.0, None], "k": [None, "2"]}, id="members that differ"),
        pytest.param({"1.parquet": parquet(x=[1]), "2.parquet": parquet(x=[1.5])}, "*", {"x": [1.0, 1.5]}, id="integers and numbers"),
        pytest.param({"1.parquet": parquet(x=pa.nulls(1)), "2.parquet": parquet(x=[2.0])}, "*", {"x": [None, 2.0]}, id="nothing but nulls in one"),
        pytest.param(
            {"1.parquet": parquet(x=[1.0], k=pa.array(["é".encode()])), "2.parquet": parquet(x=[2.0], k=["ü"])},
            "*",
            {"x": [1.0, 2.0], "k": ["é", "ü"]},
            id="bytes and text",
        ),
        pytest.param(
            {"x=1/k=01/a.csv": b"y\n1\n", "x=2/k=a%20b/a.csv": b"y\n2\n"},
            "*/*/*",
            {"y": ["1", "2"], "x": [1.0, 2.0], "k": ["01", "a b"]},
            id="partitions of csv",
        ),
        pytest.param(
            {"x=1/a.jsonl": b'{"y": 1}', "x=2/a.jsonl": b'{"y": 1}'}, "*/*", {"y": ["1", "1"], "x": [1.0, 2.0]}, id="partitions of JSON lines"
        ),
        pytest.param(
            {"x=1/a.parquet": parquet(y=[1]), "x=__HIVE_DEFAULT_PARTITION__/a.parquet": parquet(y=[2])},
            "*/*",
            {"y": [1, 2], "x": [1.0, None]},
            id="partitions of parquet",
        ),
    ],
)
def test_files_that_differ_become_one_table(usecases: Path, tmp_path: Path, files: Files, path: str, table: dict[str, list[Any]]) -> None:
    found = read(run_of(usecases, files, path), tmp_path)

    assert found.to_pydict() == table


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("{}.csv", lambda x: f"x\n{x}\n".encode(), id="csv"),
        pytest.param("{}.jsonl", lambda x: f'{{"x": {x}}}\n'.encode(), id="JSON lines"),
        pytest.param("{}.parquet", lambda x: parquet(x=[float(x)]), id="parquet"),
        pytest.param("{}.avro", lambda x: avro(x=float(x)), id="avro"),
    ],
)
def test_a_file_name_with_signs_of_a_glob_is_one_file(
    usecases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: Callable[[int], bytes]
) -> None:
    (tmp_path / "t[1]").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "t[1]"))
    names = ["data/part1", "data/part[1]", "data/a*", "data/ab", "data/q?", "data/[ab]"]
    files = {name.format(odd): content(number) for number, odd in enumerate(names)}

    found = read(run_of(usecases, files, "data/*"), tmp_path / "p[1]")

    assert sorted(found.to_pydict()["x"]) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize(("kind", "found"), [("string", pa.string()), ("number", pa.float64()), ("date", pa.date32())])
def test_a_column_of_nothing_has_the_type_of_the_contract(usecases: Path, tmp_path: Path, kind: str, found: pa.DataType) -> None:
    table = read(run_of(usecases, {"rows.parquet": parquet(x=pa.nulls(2), y=[1, 2])}, x=kind), tmp_path)

    assert table.schema.field("x").type == found
    assert table.to_pydict()["x"] == [None, None]


def test_a_name_in_the_config_that_is_a_file_means_it(usecases: Path, tmp_path: Path) -> None:
    found = read(run_of(usecases, {"part1.csv": b"x\n1\n", "part[1].csv": b"x\n2\n"}, "part[1].csv"), tmp_path)

    assert found.to_pydict() == {"x": [2.0]}


def test_avro_is_read_with_its_types_and_the_partitions_of_its_path(usecases: Path, tmp_path: Path) -> None:
    files = {f"year={year}/part.avro": avro(x=year / 2, k="a") for year in (2023, 2024)}

    found = read(run_of(usecases, files, "*/*.avro", x="number", year="integer"), tmp_path)

    assert found.to_pydict() == {"x": [1011.5, 1012.0], "k": ["a", "a"], "year": [2023, 2024]}


@pytest.mark.parametrize(
    ("names", "given", "kind"),
    [
        pytest.param(["a.parquet", "b.PARQUET"], None, "parquet", id="one kind"),
        pytest.param(["a.json", "b.ndjson", "c.jsonl.zst"], None, "jsonl", id="names of one kind"),
        pytest.param(["a.v1.csv.gz"], None, "csv", id="several dots"),
        pytest.param(["a.avro"], None, "avro", id="avro"),
        pytest.param(["part-0", "part-1.txt"], "csv", "csv", id="named by the config"),
    ],
)
def test_the_format_is_told_by_the_config_or_the_names(tmp_path: Path, names: list[str], given: Any, kind: str) -> None:
    run = run_of(tmp_path, csv("x"))
    request = Request("small", "rows", run.usecase.contract["rows"], tmp_path, "64MB")

    assert named(FileSource(kind="file", path="*", format=given), request, names) == kind


@pytest.mark.parametrize("names", [["a.csv", "b.jsonl"], ["a.tsv"], ["a.gz"], ["a.parquet.gz"], ["a"], ["csv"]], ids=", ".join)
def test_names_that_tell_no_format_are_refused(tmp_path: Path, names: list[str]) -> None:
    run = run_of(tmp_path, csv("x"))
    request = Request("small", "rows", run.usecase.contract["rows"], tmp_path, "64MB")

    with pytest.raises(UserError, match=r"^source rows: \* names files of other kinds than one of \.parquet, \.csv, \.jsonl, \.avro: correct "):
        named(FileSource(kind="file", path="*", format=None), request, names)


def test_a_format_that_the_config_names_counts_whatever_the_file_is_called(usecases: Path, tmp_path: Path) -> None:
    run = run_of(usecases, csv("x\n1\n", "rows.txt.gz") | {"rows.txt.gz": gzip.compress(b"x\n1\n")})
    source = FileSource(kind="file", path="rows.txt.gz", format="csv")
    run = Run("extract", run.usecase.model_copy(update={"sources": {"rows": source}}))

    assert read(run, tmp_path).to_pydict() == {"x": [1.0]}


ROWS = b"x,k,when\n" + b"".join(b"%d.25,some longer text %d,2013-01-02T03:04:05Z\n" % (number, number * 7919) for number in range(150_000))


def test_neither_memory_nor_compression_changes_the_bytes(usecases: Path, tmp_path: Path) -> None:
    deliveries = {"rows.csv": ROWS, "rows.csv.gz": gzip.compress(ROWS, 1), "rows.csv.zst": zstd(ROWS)}
    found = set()

    for memory, (name, data) in zip(("50MB", "64MB", "256MB"), deliveries.items(), strict=True):
        extract(run_of(usecases, {name: data}, memory=memory, x="number", when="timestamp"), str(tmp_path / memory))
        found.add(hashlib.sha256((tmp_path / memory / "rows.parquet").read_bytes()).hexdigest())

    assert len(found) == 1
    assert pq.read_metadata(tmp_path / "50MB" / "rows.parquet").num_rows == 150_000


@pytest.mark.slow
def test_a_table_greater_than_the_memory_passes_through(usecases: Path, tmp_path: Path) -> None:
    body = ROWS.partition(b"\n")[2]

    found = extract(run_of(usecases, {"rows.csv": ROWS + body * 19}, memory="64MB", x="number", when="timestamp"), str(tmp_path / "raw"))

    assert found["rows_rows"] == 3_000_000


def test_many_files_pass_within_the_memory(usecases: Path, tmp_path: Path) -> None:
    files = {f"{number:04}.csv": b"x,k\n%d,a\n" % number for number in range(400)}

    found = read(run_of(usecases, files, "*.csv", memory="64MB"), tmp_path)

    assert found.column("x").to_pylist() == list(range(400))


LONG = "q" * 7_900_000


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        pytest.param(csv(f'x,k\n1,"{LONG}"\n'), "64MB", id="csv"),
        pytest.param(jsonl(f'{{"x": 1, "k": "{LONG}"}}'), "128MB", id="jsonl"),
    ],
)
def test_a_text_of_the_greatest_size_passes_within_the_memory(usecases: Path, tmp_path: Path, files: Files, memory: str) -> None:
    found = read(run_of(usecases, files, memory=memory), tmp_path)

    assert found.column("k").to_pylist() == [LONG]


EXTRACT = """
import os, signal, sys, threading, time
from pathlib import Path
from components.extract import batch, extract
from components.extract.sources import file
from core.configtext import parse
from core.tracking import Run

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def watch():
    while not Path(f"{folder}.part", "rows.parquet").exists():
        time.sleep(0.001)
    die()

usecases, config, folder, moment = sys.argv[1:]
file.FOLDER = batch.FOLDER = Path(usecases)
if moment == "named":
    Path.rename = die
else:
    threading.Thread(target=watch).start()
extract.extract(Run("extract", parse(config)), folder)
"""


@pytest.mark.parametrize("moment", ["written", "named"])
def test_a_run_that_was_killed_leaves_nothing_half_written_and_the_next_gives_the_same(usecases: Path, tmp_path: Path, moment: str) -> None:
    run = run_of(usecases, {"rows.csv": ROWS}, memory="64MB")
    extract(run, str(tmp_path / "whole" / "raw"))
    given = [str(usecases), run.usecase.model_dump_json(), str(tmp_path / "out" / "raw"), moment]
    ended = subprocess.run([sys.executable, "-c", EXTRACT, *given], env=os.environ | {"TMPDIR": str(tmp_path)})
    assert ended.returncode == -signal.SIGKILL
    assert [place.name for place in (tmp_path / "out").iterdir()] == ["raw.part"]

    extract(run, str(tmp_path / "out" / "raw"))

    assert [place.name for place in (tmp_path / "out").iterdir()] == ["raw"]
    assert [file.name for file in (tmp_path / "out" / "raw").iterdir()] == ["rows.parquet"]
    assert (tmp_path / "out" / "raw" / "rows.parquet").read_bytes() == (tmp_path / "whole" / "raw" / "rows.parquet").read_bytes()


def test_a_second_run_replaces_what_the_first_wrote(usecases: Path, tmp_path: Path) -> None:
    extract(run_of(usecases, csv("x\n1\n")), str(tmp_path / "raw"))
    (tmp_path / "raw" / "left.parquet").write_bytes(b"of a source that is no more")

    found = read(run_of(usecases, csv("x\n2\n")), tmp_path)

    assert found.to_pydict() == {"x": [2.0]}
    assert [file.name for file in (tmp_path / "raw").iterdir()] == ["rows.parquet"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not disks.mount(folder, megabytes=3):
        pytest.skip("this system does not let us mount a small disk")
    yield folder
    disks.unmount(folder)


def test_a_disk_that_fills_up_is_named_and_with_room_the_next_run_goes_through(usecases: Path, tmp_path: Path, disk: Path) -> None:
    run = run_of(usecases, {"rows.csv": ROWS})
    (disk / "filler").write_bytes(b"q" * 2_800_000)

    with pytest.raises(UserError) as refused:
        extract(run, str(disk / "raw"))

    full = f"the disk at {disk} is full: make room there, then run again"
    assert str(refused.value) == f"source rows: rows.csv cannot be made Parquet: {full}"
    assert [place.name for place in disk.iterdir()] == ["filler"]
    (disk / "filler").unlink()
    assert extract(run_of(usecases, csv("x\n1\n")), str(disk / "raw"))["rows_rows"] == 1
