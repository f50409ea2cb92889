"""What one client may take: bytes, rows, time, connections; and its neighbours are answered meanwhile."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from threading import Event

import numpy as np
import orjson
import psutil
import pytest

from serving.body import BODIES_LIMIT, BODY_LIMIT
from serving.columns import ROWS_LIMIT
from serving.connection import HEAD_LIMIT, MOST, READ_SECONDS, RELEASED, REQUEST_SECONDS
from tests.unit.serving.bodies import binary, tensors
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.servers import Launcher, Running
from tests.unit.serving.strategies import INFER, INVOKE
from tests.unit.serving.wire import JSON, Answer, answers, chunked, connect, exchange, pipeline, read, request

CHUNKED = {**JSON, "transfer-encoding": "chunked"}
ROW = {"alcohol": 13.0, "proline": 900.0, "hue": 1.0, "region": "north"}
GROWTH = 16 * 2**20
SLOW = 5.0  # seconds that a neighbour may wait at most, also on a busy machine: what held it up would do so for 30
FEWEST = 20  # requests of a neighbour


def ask(wine: Trained, number: int) -> bytes:
    return request(INVOKE, orjson.dumps({"instances": wine.rows(number), "params": {"predict_method": "predict_proba"}}))


def memory(server: Running) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)


def wait_until(server: Running, line: str) -> None:
    """Wait for a line of the metrics."""
    deadline = time.monotonic() + 10
    while line not in exchange(server, request("/metrics", None, {}, "GET"))[0].body.decode().splitlines():
        assert time.monotonic() < deadline, line
        time.sleep(0.05)


@contextmanager
def neighbour(server: Running, wine: Trained) -> Iterator[list[float]]:
    """Another client, which asks all the while and is answered; the seconds that each answer took."""
    seconds, done = list[float](), Event()

    def run() -> None:
        with connect(server) as client, client.makefile("rb") as stream:
            while not done.wait(0.01) or len(seconds) < FEWEST:
                start = time.monotonic()
                client.sendall(ask(wine, len(seconds) % 178))
                answer = read(stream)
                assert answer is not None
                assert wine.same(answer.document["predictions"], wine.rows(len(seconds) % 178))
                seconds.append(time.monotonic() - start)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run)
        try:
            yield seconds
        finally:
            done.set()
        running.result()
    assert float(np.quantile(seconds, 0.99)) < SLOW


@pytest.mark.parametrize("headers", [{"content-length": str(BODY_LIMIT + 1)}, {"content-length": "9" * 18}], ids=["one byte", "an exabyte"])
def test_a_body_that_will_be_too_large_is_refused_before_it_comes(wine_server: Running, headers: dict[str, str]) -> None:
    (answer,) = exchange(wine_server, request(INVOKE, headers={**JSON, **headers, "expect": "100-continue"}))

    assert (answer.status, answer.headers["connection"]) == (413, "close")
    assert answer.document["message"] == "the body is larger than 16 MB: send fewer rows a request"


def test_a_body_without_a_length_is_refused_when_it_is_too_large(wine_server: Running) -> None:
    before, chunk = memory(wine_server), chunked(b" " * 2**20)[: -len(chunked())]

    with connect(wine_server) as client:
        client.sendall(request(INVOKE, headers=CHUNKED))
        with suppress(ConnectionError):
            for _ in range(40):
                client.sendall(chunk)
        found = list(answers(client))

    assert [answer.status for answer in found] == [413]
    assert memory(wine_server) - before < 4 * BODY_LIMIT


def test_a_body_of_the_largest_size_is_read(wine_server: Running) -> None:
    head, tail = b'{"instances": [[13, 900, 1, "', b'"]]}'
    body = head + b"x" * (BODY_LIMIT - len(head) - len(tail)) + tail

    (answer,) = exchange(wine_server, request(INVOKE, body))

    assert (answer.status, len(answer.document["predictions"])) == (200, 1)


@pytest.mark.parametrize("path", [INVOKE, INFER])
def test_too_many_rows_are_refused(wine_server: Running, wine: Trained, path: str) -> None:
    rows = [ROW] * (ROWS_LIMIT + 1)
    lists = request(INVOKE, b'{"instances":[' + b",".join([b'[13,9,1,""]'] * (ROWS_LIMIT + 1)) + b"]}")

    with neighbour(wine_server, wine):
        (answer,) = exchange(wine_server, lists if path == INVOKE else request(INFER, *binary(tensors(rows))))

    assert answer.status == 413
    assert (answer.document.get("message") or answer.document["error"]) == "250001 rows are more than 250000: send fewer a request"


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b"GET /v2 HTTP/1.1\r\n", *[b"x-a: " + b"a" * 1000 + b"\r\n"] * 40_000], id="many headers"),
        pytest.param([b"GET /v2 HTTP/1.1\r\nx-a: ", *[b"a" * 65536] * 600], id="a long header"),
        pytest.param([b"GET /", *[b"a" * 65536] * 600], id="a long path"),
        pytest.param([request(INVOKE, headers=CHUNKED) + b"0\r\n", *[b"x-a: " + b"a" * 1000 + b"\r\n"] * 40_000], id="many trailers"),
        pytest.param([request(INVOKE, headers=CHUNKED), *[b"1;" + b"a" * 65536 + b"\r\n\r\n"] * 600], id="long chunk extensions"),
    ],
)
def test_headers_without_end_are_cut_off(wine_server: Running, wine: Trained, parts: list[bytes]) -> None:
    before = memory(wine_server)

    with neighbour(wine_server, wine):
        found = exchange(wine_server, *parts)

    assert [answer.status for answer in found] in ([431], [400], [])  # it may be lost when a client does not stop to send
    assert memory(wine_server) - before < GROWTH


def test_headers_of_a_usual_size_are_read(wine_server: Running) -> None:
    (answer,) = exchange(wine_server, request("/v2", None, {"x-a": "a" * (HEAD_LIMIT - 1000)}, "GET"))

    assert answer.status == 200


def test_too_many_bodies_at_once_are_refused_and_small_ones_are_not(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx)).wait_until_ready()
    held = BODY_LIMIT - 1
    with ExitStack() as clients:
        for _ in range(BODIES_LIMIT // held):
            client = clients.enter_context(connect(server))
            client.sendall(request(INVOKE, headers={**JSON, "content-length": str(BODY_LIMIT)}) + b" " * held)
        wait_until(server, "model_body_bytes 6.710886e+07")  # all that can be held
        with neighbour(server, wine):
            (refused,) = exchange(server, request(INVOKE, b" " * 2**20))
            (taken,) = exchange(server, ask(wine, 0))
    wait_until(server, "model_body_bytes 0.0")
    (later,) = exchange(server, request(INVOKE, b" " * 2**20))

    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.document["message"] == "too much is being sent at once: try again in a second"
    assert (taken.status, later.status) == (200, 400)


def test_pipelined_requests_are_answered_in_their_order(wine_server: Running, wine: Trained) -> None:
    found = pipeline(wine_server, [ask(wine, number) for number in range(178)])

    assert wine.same([answer.document["predictions"][0] for answer in found], wine.rows(*range(178)))


@pytest.mark.parametrize(
    ("version", "headers", "kept"),
    [("1.0", {}, False), ("1.0", {"connection": "keep-alive"}, False), ("1.1", {"connection": "close"}, False), ("1.1", {}, True)],
    ids=["1.0", "1.0 to be kept", "1.1 to be closed", "1.1"],
)
def test_a_connection_is_kept_as_its_client_wants(wine_server: Running, wine: Trained, version: str, headers: dict[str, str], kept: bool) -> None:
    body = orjson.dumps({"instances": wine.rows(0)})
    asked = request(INVOKE, body, {**JSON, **headers}, version=version)

    with connect(wine_server, seconds=1) as client, client.makefile("rb") as stream:
        client.sendall(asked)
        answer = read(stream)
        client.sendall(asked if kept else b"")
        again = read(stream)

    assert answer is not None
    assert answer.document == {"predictions": wine.answer(wine.rows(0), "predict")}
    assert (again is not None) == kept


def test_a_body_may_come_in_chunks_and_bytes(wine_server: Running, wine: Trained) -> None:
    body = orjson.dumps({"instances": wine.rows(0, 1)})
    whole = request(INVOKE, headers=CHUNKED) + chunked(*[body[place : place + 1] for place in range(len(body))])

    (answer,) = exchange(wine_server, *[whole[place : place + 7] for place in range(0, len(whole), 7)])

    assert answer.document == {"predictions": wine.answer(wine.rows(0, 1), "predict")}


def test_a_client_that_asks_first_is_told_to_go_on(wine_server: Running, wine: Trained) -> None:
    body = orjson.dumps({"instances": wine.rows(0)})

    with connect(wine_server) as client, client.makefile("rb") as stream:
        client.sendall(request(INVOKE, headers={**JSON, "expect": "100-continue", "content-length": str(len(body))}))
        told = read(stream)
        client.sendall(body)
        answer = read(stream)

    assert told == Answer(100, {}, b"")
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(b"POST /invocations HTTP/1.1\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}1", id="two lengths"),
        pytest.param(b"POST /invocations HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", id="a length and chunks"),
        pytest.param(b"POST /invocations HTTP/1.1\r\ncontent-length: -1\r\n\r\n", id="a length below nothing"),
        pytest.param(request(INVOKE, headers=CHUNKED) + b"zz\r\n", id="a chunk of no size"),
        pytest.param(b"GET /v2 HTTP/1.1\r\nx y: z\r\n\r\n", id="a header with a space"),
        pytest.param(b"GET /\xff\xfe HTTP/1.1\r\n\r\n", id="a path that is not ASCII"),
        pytest.param(b"GET http://[ HTTP/1.1\r\n\r\n", id="a broken address"),
    ],
)
def test_what_is_not_http_is_refused_in_json(wine_server: Running, sent: bytes) -> None:
    (answer,) = exchange(wine_server, sent)

    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert answer.document.keys() == {"error"}


def test_a_client_that_leaves_early_harms_nobody(wine_server: Running, wine: Trained) -> None:
    asked = ask(wine, 0)

    with neighbour(wine_server, wine):
        for length in (1, 20, len(asked) - 1, len(asked)):
            for _ in range(25):
                with connect(wine_server) as client:
                    client.sendall(asked[:length])
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # ends with a reset

    assert exchange(wine_server, asked)[0].status == 200


def test_idle_connections_are_many_and_make_room_for_new_ones(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx)).wait_until_ready()
    before = memory(server)

    with ExitStack() as clients, neighbour(server, wine):
        idle = [clients.enter_context(connect(server)) for _ in range(MOST + 10)]
        (live,) = exchange(server, request("/v2/health/live", None, {}, "GET"))
        released = [one for one in idle[:RELEASED] if one.recv(1) == b""]
    time.sleep(1)

    assert live.status == 200
    assert len(released) >= RELEASED - 1
    assert memory(server) - before < 64 * 2**20
    assert exchange(server, ask(wine, 0))[0].status == 200


def test_a_connection_without_a_next_request_is_closed(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx), environment={"KEEP_ALIVE_SECONDS": "1"}).wait_until_ready()
    nowhere = request("/nowhere", b"[]")

    ended = []
    for sent, rest in ((ask(wine, 0), b"\r\n"), (nowhere[:-1], nowhere[-1:])):  # an empty line is no request
        with connect(server, 5) as client, client.makefile("rb") as stream:
            client.sendall(sent)
            answer = read(stream)
            client.sendall(rest)
            ended.append((answer.status if answer else 0, stream.read()))

    assert ended == [(200, b""), (404, b"")]


@pytest.mark.slow
def test_more_rows_than_can_wait_are_refused(launcher: Launcher, wine: Trained) -> None:
    roomy = {"MEMORY_LIMIT": str(4 * 2**30)}  # else requests wait for memory first
    server = launcher.start(*publish(wine.bundle), environment=roomy).wait_until_ready()
    many = request(INFER, *binary(tensors([ROW] * 200_000), outputs=[{"name": "predict", "parameters": {"binary_data": True}}]))

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda _: next(answers_to(server, many)), range(6)))

    statuses = [answer.status for answer in found]
    refused = [answer for answer in found if answer.status == 503]
    assert statuses.count(200) >= 3
    assert len(refused) >= 1
    assert statuses.count(200) + len(refused) == 6
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.document["error"] for answer in refused} == {"too many rows are waiting: try again in a second, or send fewer at once"}


def answers_to(server: Running, asked: bytes) -> Iterator[Answer]:
    with connect(server, seconds=120) as client:
        client.sendall(asked)
        yield from answers(client)


@pytest.mark.slow
def test_slow_clients_are_cut_off_and_their_neighbours_are_not(launcher: Launcher, wine: Trained) -> None:
    server = launcher.start(*publish(wine.onnx)).wait_until_ready()
    asked = ask(wine, 0)
    rows = b",".join([b'[13,9,1,""]'] * 200_000)  # whose answer is more than the kernel takes for a client
    many = request(INVOKE, b'{"params": {"predict_method": "predict_proba"}, "instances": [' + rows + b"]}")

    with neighbour(server, wine), ThreadPoolExecutor() as threads:
        slow = {
            "a byte a second": threads.submit(dripped, server, asked),
            "half a request": threads.submit(silent, server, asked[:-5]),
            "half a head": threads.submit(silent, server, asked[:30]),
            "nothing": threads.submit(silent, server, b""),
            "a second request by half": threads.submit(silent, server, asked + asked[:30]),
        }
        unread = threads.submit(not_read, server, many)
        ended = {name: one.result() for name, one in slow.items()}
        ended_unread = unread.result()

    assert {name: answer.status for name, (answer, _) in ended.items()} == dict.fromkeys(slow, 408)
    assert {answer.document["error"] for answer, _ in ended.values()} == {"the request did not come within 30 seconds"}
    assert all(REQUEST_SECONDS - 1 < seconds < REQUEST_SECONDS + 4 for _, seconds in ended.values()), ended
    assert READ_SECONDS - 1 < ended_unread < READ_SECONDS + 15
    wait_until(server, "model_slow_clients_total 6.0")


def dripped(server: Running, asked: bytes) -> tuple[Answer, float]:
    """Send a byte a second; return the last answer and when it came."""
    start = time.monotonic()
    with connect(server, seconds=1) as client, suppress(ConnectionError):
        for place in range(min(len(asked), int(REQUEST_SECONDS) + 10)):
            client.sendall(asked[place : place + 1])
            with suppress(TimeoutError):
                if client.recv(1, socket.MSG_PEEK):
                    break
        return list(answers(client))[-1], time.monotonic() - start
    raise AssertionError("reset without a word")


def silent(server: Running, part: bytes) -> tuple[Answer, float]:
    start = time.monotonic()
    with connect(server, seconds=REQUEST_SECONDS + 10) as client:
        client.sendall(part)
        return list(answers(client))[-1], time.monotonic() - start


def not_read(server: Running, asked: bytes) -> float:
    """Ask for a large answer and do not read it; return when the connection ended."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(server.address)
        client.sendall(asked)
        process, here, start = psutil.Process(server.process.pid), client.getsockname(), time.monotonic()
        while not is_open(process, here):
            assert time.monotonic() - start < 10
        while is_open(process, here):
            time.sleep(0.5)
            assert time.monotonic() - start < REQUEST_SECONDS + 30
    return time.monotonic() - start


def is_open(process: psutil.Process, client: tuple[str, int]) -> bool:
    return any(one.raddr == client and one.status == "ESTABLISHED" for one in process.net_connections("tcp"))
