"""What a body may be: its type, its encoding, its first bytes, and the memory that it becomes."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pytest

from core.fields import Dialect
from serving.body import BODY_LIMIT, decompressed, parse_json, without_nan
from serving.budget import LIMIT, RESERVE
from serving.columns import Schema
from serving.errors import RequestError
from serving.weight import NAN_BYTE, csv_weight, json_weight
from tests.unit.serving import web
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running
from tests.unit.serving.test_columns import INPUTS

JSON, GZIP = {"content-type": "application/json"}, {b"content-encoding": b"gzip"}
PATHS = ["/invocations", "/v2/models/wine/infer", "/v1/models/wine:predict"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/json; charset=utf-8;",
        "application/json;charset=US-ASCII",
        'Application/JSON; charset="utf8"',
        "application/json; format=pandas-split",
    ],
)
@pytest.mark.one_engine
def test_a_content_type_may_have_parameters(wine_server: Running, wine: Trained, kind: str) -> None:
    response = web.post(f"{wine_server.url}/invocations", content=orjson.dumps({"instances": wine.rows(0)}), headers={"content-type": kind})

    assert response.json() == {"predictions": wine.answer(wine.rows(0), "predict")}


@pytest.mark.one_engine
def test_a_byte_order_mark_and_gzip_are_taken_off(wine_server: Running, wine: Trained) -> None:
    body = gzip.compress(b"\xef\xbb\xbf" + orjson.dumps({"instances": wine.rows(*range(100)) * 100}))

    response = web.post(f"{wine_server.url}/invocations", content=body, headers=JSON | {"content-encoding": "gzip"})

    assert response.json() == {"predictions": wine.answer(wine.rows(*range(100)), "predict") * 100}


@pytest.mark.parametrize(
    ("body", "encoding", "status", "sentence"),
    [
        pytest.param(gzip.compress(b" " * 10 * BODY_LIMIT), "gzip", 413, "larger than 16 MB", id="bomb"),
        pytest.param(gzip.compress(b"{}")[:-4], "gzip", 400, "not one stream of gzip", id="cut off"),
        pytest.param(gzip.compress(b"{}") * 2, "gzip", 400, "not one stream of gzip", id="two streams"),
        pytest.param(b"{}", "gzip", 400, "not gzip", id="plain"),
        pytest.param(b"{}", "br", 415, "gzip", id="brotli"),
        pytest.param(b"{}", "gzip, gzip", 415, "gzip", id="twice"),
    ],
)
@pytest.mark.one_engine
def test_an_encoded_body_that_is_not_right_is_refused(wine_server: Running, body: bytes, encoding: str, status: int, sentence: str) -> None:
    response = web.post(f"{wine_server.url}/invocations", content=body, headers=JSON | {"content-encoding": encoding})

    assert response.status_code == status
    assert sentence in response.json()["message"]


@pytest.mark.parametrize(
    ("body", "parsed"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"\xef\xbb\xbf[NaN, NaN, NaN]", [None, None, None]),
        (b'["NaN", NaN, "\\"NaN", "\\\\", NaN, "\\\\\\"NaN"]', ["NaN", None, '"NaN', "\\", None, '\\"NaN']),
        (b'{"NaN": NaN}', {"NaN": None}),
        (b"[" + b"NaN," * 200_000 + b"NaN]", [None] * 200_001),
        (b'["' + b"NaN" * 200_000 + b'", NaN]', ["NaN" * 200_000, None]),
    ],
)
def test_nan_is_null_outside_of_texts_alone(body: bytes, parsed: Any) -> None:
    assert parse_json(body) == parsed


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf\xef\xbb\xbf{}", b"[NaNaN]", b"[1NaN]", b"[NaN", b"\x00\x01\x02", b"[NaN, \x00\x01\x02]", b'["NaN'])
def test_what_only_looks_like_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="the body is not JSON"):
        parse_json(body)


def test_a_name_twice_among_many_is_found_at_once() -> None:
    schema, names = Schema(INPUTS), [f"c{number}" for number in range(200_000)]
    names[-1] = names[0]

    with pytest.raises(RequestError, match="column c0 is named twice"):
        schema.from_rows([[1] * len(names)], names)


def test_a_sentence_does_not_repeat_what_was_sent_at_any_length() -> None:
    with pytest.raises(RequestError) as refused:
        Schema(INPUTS).from_columns({"hour": [1], "x" * 10**6: [1]})

    assert len(refused.value.message) < 2000


@pytest.mark.parametrize("twice", [b'{"dataframe_split":{"columns":[%s],"data":[]}}', b'{"dataframe_records":[{%s}]}', b"%s\n"])
@pytest.mark.one_engine
def test_fifty_thousand_names_are_refused_in_no_time(wine_server: Running, twice: bytes) -> None:
    names = [b'"c%d"' % (number % 49_999) for number in range(50_000)]
    if b"records" in twice:
        names = [name + b":1" for name in names]
    kind = {"content-type": "text/csv"} if twice.endswith(b"\n") else JSON

    response = web.post(f"{wine_server.url}/invocations", content=twice % b",".join(names), headers=kind)

    assert response.status_code == 400
    assert response.elapsed.total_seconds() < 2


@pytest.mark.parametrize("weigh", [json_weight, csv_weight])
def test_honest_rows_of_16_mb_weigh_less_than_a_server_has(weigh: Any) -> None:
    values = np.random.default_rng(0).normal(size=(1000, 19)).round(3)
    lines = [",".join(map(str, row)) for row in values.tolist()]
    whole = "\n".join(lines) if weigh is csv_weight else "[[" + "],[".join(lines) + "]]"
    body = (whole * (BODY_LIMIT // len(whole))).encode()

    assert len(body) > 0.99 * BODY_LIMIT
    assert weigh(body) < LIMIT - RESERVE - 105 * 10**6  # that a server has when it is ready


@pytest.mark.parametrize("shape", [b'{"x":NaN,"y":"\\n%s"}', b"[NaN%s]"])
def test_writing_null_for_nan_takes_no_more_than_is_weighed(shape: bytes) -> None:
    body = shape % (b"a" * 2**21 if b"y" in shape else b",NaN" * 2**19)

    assert peak(without_nan, body) < NAN_BYTE * len(body)
    assert json_weight(body) > (NAN_BYTE + 1) * len(body)


@pytest.mark.parametrize(
    "part", ["[]", "[[[[[]]]]]", "{}", '{"":0}', '{"":{"":{}}}', "0.5", '"aa"', f'"{"a" * 60}\N{SNOWMAN}"', f'"{"a" * 60}\N{PARTY POPPER}"']
)
def test_json_takes_no_more_than_is_weighed(part: str) -> None:
    body = f"[{','.join([part] * 10_000)}]".encode()
    tracemalloc.start()
    try:
        parsed = parse_json(body)
        held, _ = tracemalloc.get_traced_memory()  # the peak counts a list twice while it grows
    finally:
        tracemalloc.stop()

    assert len(parsed) == 10_000
    assert held < json_weight(body)


def test_a_bomb_of_gzip_is_not_unpacked_beyond_the_limit() -> None:
    bomb = gzip.compress(b" " * 2**24, 1)

    assert decompressed(bomb, GZIP, 1000) is None
    assert peak(decompressed, bomb, GZIP, 1000) < 2**20


def peak(work: Callable[..., object], *arguments: Any) -> int:
    tracemalloc.start()
    try:
        work(*arguments)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dialect", [Dialect("^"), Dialect("§", encoding="latin-1")])
def test_csv_weighs_the_same_whatever_its_delimiter(dialect: Dialect) -> None:
    usual, own = ("1,2,3\n" * 1000).encode(), ("1,2,3\n" * 1000).replace(",", dialect.delimiter).encode(dialect.encoding)

    assert csv_weight(own, dialect) >= csv_weight(usual)
