"""How a source is written, in short and in full, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from core.configcheck import check
from core.sources import Kind
from tests.unit.small import document


def read(written: Any) -> Kind:
    usecase, problems = check(document(sources={"rows": written}))
    assert usecase, problems
    return usecase.sources["rows"]


@pytest.mark.parametrize(
    ("short", "full"),
    [
        pytest.param("rows-*.csv", {"kind": "file", "path": "rows-*.csv"}, id="file"),
        pytest.param("https://host:8443/rows.csv?part=1", {"kind": "https", "url": "https://host:8443/rows.csv?part=1"}, id="https"),
        pytest.param("s3://data/rows/", {"kind": "s3", "uri": "s3://data/rows/"}, id="s3"),
        pytest.param("postgresql:///shop.orders", {"kind": "postgresql", "table": "shop.orders"}, id="postgresql"),
        pytest.param("kafka:///shop.orders-v1", {"kind": "kafka", "topic": "shop.orders-v1"}, id="kafka"),
    ],
)
def test_an_address_is_short_for_a_mapping(short: str, full: dict[str, Any]) -> None:
    assert read(short) == read(full)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        pytest.param("https://host/rows.csv?part=1", "https://host/rows.csv", id="query of a web address"),
        pytest.param({"kind": "postgresql", "table": "orders", "service": "shop"}, "postgresql://shop/orders", id="service"),
        pytest.param({"kind": "postgresql", "query": "SELECT 1"}, "postgresql:///query-e004ebd5", id="query"),
        pytest.param("kafka:///orders", "kafka:///orders", id="topic"),
    ],
)
def test_the_address_names_a_source_and_tells_no_secret(written: Any, address: str) -> None:
    assert read(written).address == address


def test_offsets_survive_the_way_through_a_pipeline_parameter() -> None:
    assert getattr(read({"kind": "kafka", "topic": "t", "start": {"0": 17.0, "1": 4.0}}), "start", None) == {0: 17, 1: 4}


@pytest.mark.parametrize(
    ("written", "place", "sentence"),
    [
        pytest.param("ftp://host/rows.csv", (), "ftp://host/rows.csv is of no known kind: write s3://bucket/key, https://", id="another scheme"),
        pytest.param("http://host/rows.csv", (), "is of no known kind", id="http, which anybody on the way can change"),
        pytest.param("file:///etc/passwd", (), "is of no known kind", id="any file"),
        pytest.param("./", (), "it is the use case's folder itself: write the path of a file in it", id="the folder itself"),
        pytest.param("data/**.csv", (), "write *.csv, or **/*.csv for the files in all folders", id="folders without a slash"),
        pytest.param("x" * 256, (), "no name of a file is longer than 255 bytes", id="long name"),
        pytest.param(5, (), "no known kind of source: write an address, a path, or a mapping", id="number"),
        pytest.param({}, (), "no known kind of source", id="empty"),
        pytest.param({"kind": "mysql"}, (), "or a mapping with kind: file, https, s3, postgresql or kafka", id="unknown kind"),
        pytest.param({"kind": "postgresql", "tabel": "a"}, ("tabel",), "unknown key: remove it", id="misspelt key"),
        pytest.param({"kind": "postgresql"}, (), "write exactly one of table and query", id="neither table nor query"),
        pytest.param({"kind": "postgresql", "table": "a", "query": "SELECT 1"}, (), "write exactly one of table and query", id="table and query"),
        pytest.param({"kind": "postgresql", "table": 'a"; DROP TABLE b'}, ("table",), "write table or schema.table", id="more than a table"),
        pytest.param("s3://data", (), "write s3://bucket/key", id="bucket without a key"),
        pytest.param({"kind": "s3", "uri": "s3://data"}, ("uri",), "write s3://bucket/key", id="bucket without a key, in a mapping"),
        pytest.param("kafka:///a topic", (), "write at most 249 letters", id="no topic"),
        pytest.param({"kind": "https", "url": "https://h/f", "max_size": "much"}, ("max_size",), "write a size such as", id="size"),
        pytest.param({"kind": "https", "url": "https://h/f", "sha256": "12"}, ("sha256",), "write the 64 hexadecimal digits", id="checksum"),
    ],
)
def test_what_cannot_be_read_is_refused_before_anything_starts(written: Any, place: tuple[str, ...], sentence: str) -> None:
    usecase, problems = check(document(sources={"rows": written}))

    assert usecase is None
    assert [problem.path for problem in problems] == [("sources", "rows", *place)]
    assert sentence in problems[0].message


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://me:passw0rd@host/shop",
        "kafka://me:passw0rd@host/topic",
        "https://me:passw0rd@host/rows.csv",
        {"kind": "https", "url": "https://me:passw0rd@host/rows.csv"},
        "ftp://me:passw0rd@host/rows.csv",
        "s3://me:passw0rd@data/rows.csv",
        {"kind": "s3", "uri": "s3://me:passw0rd@data/rows.csv"},
        "https://host/rows.csv?part=1&token=passw0rd",
        {"kind": "https", "url": "https://host/rows.csv?X-Amz-Signature=passw0rd&x=1"},
        {"kind": "https", "url": "https://host/r?Sig=passw0rd"},
        "https://host/rows.csv?AccessKey=passw0rd",
        "https://host/rows.csv?access_key=passw0rd",
        "https://host/rows.csv?auth=passw0rd",
        "https://host/rows.csv?api%5Fkey=passw0rd",
        "https://host/rows.csv;token=passw0rd",
        "https://host/rows.csv#token=passw0rd",
        "s3://data/rows.csv?token=passw0rd",
        {"kind": "postgresql", "table": ["https://me:passw0rd@host"]},
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(written: Any) -> None:
    usecase, problems = check(document(sources={"rows": written}))

    assert usecase is None
    assert len(problems) == 1
    assert "passw0rd" not in problems[0].message


def test_a_query_without_a_secret_is_accepted() -> None:
    usecase, _ = check(document(sources={"rows": "https://host/rows.csv?key=flights&code=7&author=none"}))

    assert usecase is not None


def test_a_password_in_an_s3_target_is_refused_and_not_repeated() -> None:
    _, problems = check(document(load=[{"what": "table", "to": "s3://me:passw0rd@data/rows/"}]))

    assert [problem.path[:2] for problem in problems] == [("load", 0)]
    assert "AWS_ACCESS_KEY_ID" in problems[0].message and "passw0rd" not in problems[0].message
