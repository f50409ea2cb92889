"""What a client may do with a connection: offers of another protocol, requests ahead, half an end, odd heads."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time

import orjson
import pytest

from serving.connection import FIELDS_LIMIT, HEAD_LIMIT
from tests.unit.serving import web
from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running
from tests.unit.serving.strategies import INVOKE
from tests.unit.serving.wire import JSON, answers, chunked, connect, exchange, read, request

H2C = {**JSON, "connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA"}
pytestmark = pytest.mark.one_engine


def rows(wine: Trained, *numbers: int) -> bytes:
    return orjson.dumps({"instances": wine.rows(*numbers)})


def body_bytes(server: Running) -> float:
    return float(re.findall(r"^model_body_bytes (.*)$", web.get(f"{server.url}/metrics").text, re.MULTILINE)[0])


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with a length", "in chunks"])
@pytest.mark.parametrize("is_split", [False, True], ids=["one segment", "a segment each"])
def test_an_offered_upgrade_is_ignored_and_the_body_is_read(wine_server: Running, wine: Trained, is_split: bool, is_chunked: bool) -> None:
    body = rows(wine, 0)
    headers = H2C | ({"transfer-encoding": "chunked"} if is_chunked else {"content-length": str(len(body))})
    head, sent = request(INVOKE, headers=headers), chunked(body) if is_chunked else body

    with connect(wine_server, seconds=5) as client, client.makefile("rb") as stream:
        for part in (head, sent) if is_split else (head + sent,):
            client.sendall(part)
            time.sleep(0.1 if is_split else 0)
        answer = read(stream)
        client.sendall(request("/v2/health/live", None, {}, "GET"))
        after = read(stream)

    assert answer is not None
    assert after is not None
    assert answer.document == {"predictions": wine.answer(wine.rows(0), "predict")}
    assert after.document == {"live": True}


def test_a_body_behind_an_upgrade_is_never_a_request(wine_server: Running) -> None:
    smuggled = request("/v2/models/SMUGGLED/ready", None, {}, "GET")

    with connect(wine_server, seconds=2) as client:
        client.sendall(request(INVOKE, smuggled, H2C))
        client.shutdown(socket.SHUT_WR)
        found = list(answers(client))

    assert [answer.status for answer in found] == [400]
    assert b"SMUGGLED" not in found[0].body


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_curl_with_http2_is_answered(wine_server: Running, wine: Trained) -> None:
    command = ["curl", "-s", "--noproxy", "*", "--http2", "-H", "Content-Type: application/json", "-d", rows(wine, 0).decode()]

    answered = subprocess.run([*command, wine_server.url + INVOKE], capture_output=True, check=True).stdout

    assert orjson.loads(answered) == {"predictions": wine.answer(wine.rows(0), "predict")}


def test_a_client_that_sends_no_more_gets_all_its_answers(wine_server: Running, wine: Trained) -> None:
    with connect(wine_server, seconds=5) as client:
        client.sendall(request(INVOKE, rows(wine, 0)) * 3 + b"POST /inv")
        client.shutdown(socket.SHUT_WR)
        found = list(answers(client))

    assert [answer.status for answer in found] == [200] * 3


def test_requests_ahead_wait_in_the_kernel_and_not_in_memory(wine_server: Running) -> None:
    ahead = request("/", None, {}, "GET") * 20_000

    with connect(wine_server, seconds=1) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with pytest.raises(TimeoutError):
            for _ in range(40):
                client.sendall(ahead)
        held = body_bytes(wine_server)

    assert wine_server.process.poll() is None
    assert 0 < held < 2**20
    while body_bytes(wine_server):  # until the server has seen that the client is gone
        time.sleep(0.01)


def test_an_error_comes_after_the_answers_before_it(wine_server: Running, wine: Trained) -> None:
    with connect(wine_server) as client:
        client.sendall(request(INVOKE, rows(wine, 0)) + b"no HTTP\r\n\r\n")
        found = list(answers(client))

    assert [answer.status for answer in found] == [200, 400]


def test_a_body_that_holds_ends_of_heads_is_one_body(wine_server: Running) -> None:
    body = b'{"instances": [[13, 900, 1, "x"]]}' + b"\r\n\r\n" * 50_000

    found = [
        exchange(wine_server, request(INVOKE, body))[0],
        exchange(wine_server, request(INVOKE, headers=JSON | {"transfer-encoding": "chunked"}) + chunked(body))[0],
    ]

    assert [answer.status for answer in found] == [200, 200]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"GET /v2 HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400, id="two hosts"),
        pytest.param(b"GET /v2 HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nhost: a/b c\r\n\r\n", 400, id="no host's name"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nhost: rebound.example\r\n\r\n", 403, id="another machine's name"),
        pytest.param(b"GET /v2 HTTP/1.0\r\n\r\n", 200, id="no host in HTTP/1.0"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nhost: 127.0.0.1:8080\r\n\r\n", 200, id="an address"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nhost: [::1]:8080\r\n\r\n", 200, id="an address of IPv6"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nhost: LOCALHOST\r\n\r\n", 200, id="localhost"),
        pytest.param(b"CONNECT localhost:1 HTTP/1.1\r\nhost: localhost\r\n\r\n", 400, id="a tunnel"),
        pytest.param(request("/v2", None, {"x": "a" * HEAD_LIMIT}, "GET"), 431, id="a large head in one segment"),
        pytest.param(request("/v2", None, {f"x{number}": "" for number in range(FIELDS_LIMIT)}, "GET"), 431, id="many headers"),
        pytest.param(request("/v2", None, {f"x{number}": "" for number in range(FIELDS_LIMIT - 1)}, "GET"), 200, id="as many as may be"),
        pytest.param(request("/v2", None, {"x": "a" * (HEAD_LIMIT - 500)}, "GET"), 200, id="as large as may be"),
    ],
)
def test_heads_are_held_to_the_rules(wine_server: Running, sent: bytes, status: int) -> None:
    (whole,) = exchange(wine_server, sent)
    split = exchange(wine_server, sent[:50], *([sent[50:]] if len(sent) > 50 else []))

    assert whole.status == status
    assert [answer.status for answer in split] == [status]
    assert (whole.headers.get("connection") == "close") == (status >= 400 or b"HTTP/1.0" in sent)
