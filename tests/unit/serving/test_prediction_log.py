"""The prediction log on a real S3 server: that may be away, hang, or lose an answer, while the log neither waits nor loses anything."""

from __future__ import annotations

import io
import logging
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from core.bundle import Input, Manifest, Output
from core.processes import free_port
from core.storage import client
from local.platform import Platform
from serving.model import Version
from serving.prediction_log import DAY, Limits, PredictionLog, take
from serving.prediction_table import keep
from tests.contract.documents import DOCS, blocks
from tests.unit.serving.servers import pour

pytestmark = pytest.mark.usefixtures("platform")

INPUTS = (Input("hour", "FP64"), Input("carrier", "BYTES"))
ANSWERS = (Output("predict", "BYTES"), Output("predict_proba", "FP64"))
MANIFEST = Manifest("flights", "binary", "late", "onnx", INPUTS, ANSWERS, ("on time", "late"), {})
NEVER = Limits(object_rows=10**6, object_seconds=3600)


class Door:
    """The way to the S3 server, at an address of its own: nobody answers there until it is opened."""

    def __init__(self) -> None:
        self._target = urlsplit(os.environ["AWS_ENDPOINT_URL_S3"])
        self._port = free_port()
        self._listener: socket.socket | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.deaf = 0  # requests whose answers get lost

    def open(self, deaf: int = 0) -> None:
        self.deaf = deaf
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, daemon=True).start()

    def hang(self) -> None:
        """Take connections, and nothing more."""
        self._listener = socket.create_server(("127.0.0.1", self._port))

    def close(self) -> None:
        if self._listener:
            self._listener.close()

    def _accept(self) -> None:
        assert self._listener
        while True:
            try:
                inside, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(inside,), daemon=True).start()

    def _lead(self, inside: socket.socket) -> None:
        outside = socket.create_connection((self._target.hostname or "", self._target.port or 80))
        threading.Thread(target=pour, args=(inside, outside), daemon=True).start()
        if self.deaf:
            self.deaf -= 1
            outside.recv(65536)
            inside.shutdown(socket.SHUT_RDWR)
        else:
            pour(outside, inside)


@pytest.fixture
def door(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """This process's way to the S3 server."""
    door = Door()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", door.url)
    yield door
    door.close()


@pytest.fixture
def make() -> Iterator[Callable[..., PredictionLog]]:
    """Make logs of models of their own; what a test leaves is ended."""
    made: list[PredictionLog] = []

    def make(limits: Limits = NEVER, sample: float = 1, name: str = "") -> PredictionLog:
        version = Version(name or f"model-{uuid.uuid4().hex}", "7", "s3://models/m/ab.zip", "sha256:ab")
        made.append(PredictionLog(version, MANIFEST, sample, limits=limits))
        return made[-1]

    yield make
    for log in made:
        log.close(0)


Make = Callable[..., PredictionLog]


def offer(log: PredictionLog, *rows: tuple[float | None, str | None], identity: str = "r-1", trace: str = "") -> None:
    proba = np.array([[0.25, 0.75]] * len(rows))
    if log.draws():
        log.offer(list(zip(*rows, strict=True)), {"predict": np.array(["late"] * len(rows)), "predict_proba": proba}, identity, trace)


def objects(log: PredictionLog) -> dict[str, bytes]:
    connection, prefix = client(), f"{log._version.name}/"
    found = [item.object_name for item in connection.list_objects("predictions", prefix, recursive=True)]
    return {str(name): connection.get_object("predictions", str(name)).read() for name in found}


def logged(log: PredictionLog) -> list[Any]:
    """The hours that are in the log, sorted."""
    return sorted(hour for data in objects(log).values() for hour in pq.read_table(io.BytesIO(data))["hour"].to_pylist())


def wait(ready: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_duckdb_reads_what_was_sent_by_version_and_day(make: Make, tmp_path: Path) -> None:
    log = make()
    log.start()
    before = time.time()

    offer(log, (5.5, "UA"), (None, "never seen, ünknown"), identity="a", trace="00-abc-def-01")
    offer(log, (7, None), identity="b")
    log.close(20)

    for name, data in objects(log).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    found = duckdb.read_parquet(f"{tmp_path}/*/*/*/*.parquet", hive_partitioning=True)
    kinds = dict(zip(found.columns, map(str, found.types), strict=True))
    first = found.select("hour, carrier, _prediction, _probability, _request_id, _trace, _row, version").order("_request_id, _row")
    times = found.select("epoch_us(_time) / 1e6, date::TEXT").fetchall()
    assert kinds == {
        "hour": "DOUBLE",
        "carrier": "VARCHAR",
        "_prediction": "VARCHAR",
        "_probability": "DOUBLE[]",
        "_request_id": "VARCHAR",
        "_trace": "VARCHAR",
        "_time": "TIMESTAMP WITH TIME ZONE",
        "_row": "BIGINT",
        "date": "DATE",
        "version": "BIGINT",
    }
    assert first.fetchall() == [
        (5.5, "UA", "late", [0.25, 0.75], "a", "00-abc-def-01", 0, 7),
        (None, "never seen, ünknown", "late", [0.25, 0.75], "a", "00-abc-def-01", 1, 7),
        (7.0, None, "late", [0.25, 0.75], "b", None, 0, 7),
    ]
    assert all(before - 1 <= moment <= time.time() and date == time.strftime("%Y-%m-%d", time.gmtime(moment)) for moment, date in times)


def test_an_object_lies_where_its_version_and_day_say(make: Make) -> None:
    log = make()
    log.start()

    offer(log, (1.0, "UA"))
    log.close(20)

    (name,) = objects(log)
    assert re.fullmatch(rf"{log._version.name}/version=7/date=\d{{4}}-\d\d-\d\d/\d{{6}}-[0-9a-f]{{32}}\.parquet", name)
    assert (log.logged_rows, log.buffered_rows, log.dropped_rows, log.failed_uploads) == (1, 0, 0, 0)


def test_an_object_holds_requests_of_one_day() -> None:
    midnight = 20_000 * DAY
    waiting = deque([(*keep([[1.0], ["UA"]], {}, 1, "", "", 9)[:7], moment, 9) for moment in (midnight - 2, midnight - 1, midnight, midnight + 1)])

    before, after = take(waiting, 100), take(waiting, 100)

    assert (before.rows, before.size, before.time, after.rows, after.time) == (2, 18, midnight - 2, 2, midnight)
    assert not waiting


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(Limits(object_rows=10, object_seconds=3600), id="enough rows"),
        pytest.param(Limits(object_rows=1000, object_seconds=0.3), id="enough time"),
    ],
)
def test_an_object_is_written_as_soon_as_there_is(make: Make, limits: Limits) -> None:
    log = make(limits)
    log.start()

    for hour in range(10):
        offer(log, (float(hour), "UA"))
    wait(lambda: log.logged_rows == 10)

    assert logged(log) == list(range(10))


def test_what_is_neither_enough_nor_old_waits(make: Make) -> None:
    log = make(Limits(object_rows=10, object_seconds=3600))
    log.start()

    for hour in range(9):
        offer(log, (float(hour), "UA"))
    time.sleep(0.5)

    assert (log.logged_rows, log.buffered_rows) == (0, 9)
    assert objects(log) == {}


def test_a_sample_holds_its_share_of_the_requests_each_whole_or_not_at_all(make: Make) -> None:
    log = make(Limits(rows=10**6), sample=0.2)

    for request in range(20_000):
        offer(log, *[(float(request), "UA")] * (1 + request % 3))

    taken = [(entry[4], 1 + int(entry[0][0]) % 3) for entry in log._entries]
    assert 4000 - 6 * 57 < len(taken) < 4000 + 6 * 57
    assert all(rows == sent for rows, sent in taken)
    assert log.dropped_rows == 0


@pytest.mark.parametrize("sample", [0.0, 1e-12])
def test_nothing_is_kept_of_no_sample(make: Make, sample: float) -> None:
    log = make(sample=sample)

    for _ in range(1000):
        offer(log, (1.0, "UA"))

    assert (log.buffered_rows, log.dropped_rows) == (0, 0)


def test_what_does_not_fit_is_dropped_whole_and_counted(make: Make) -> None:
    log = make(Limits(rows=10))

    offer(log, *[(1.0, "UA")] * 8)
    offer(log, *[(2.0, "UA")] * 3)
    offer(log, *[(3.0, "UA")] * 2)
    offer(log, (4.0, "UA"))

    assert (log.buffered_rows, log.dropped_rows) == (10, 4)
    log.start()
    log.close(20)
    assert logged(log) == [1.0] * 8 + [3.0] * 2
    assert (log.logged_rows, log.dropped_rows) == (10, 4)


def test_long_texts_are_bounded_by_their_bytes(make: Make) -> None:
    log = make(Limits(size=1_000_000))

    offer(log, (1.0, "U" * 10_000_000))
    for _ in range(100):
        offer(log, (2.0, "U" * 100_000))

    assert 1 <= log.buffered_rows <= 10
    assert log.buffered_rows + log.dropped_rows == 101


def test_long_identities_are_cut_and_counted(make: Make) -> None:
    log = make(Limits(size=1_000_000))
    tracemalloc.start()

    for number in range(1000):
        offer(log, (1.0, "UA"), identity=f"{number}{'i' * 100_000}", trace=f"{number}{'t' * 100_000}")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 2_000_000
    assert 100 <= log.buffered_rows <= 400
    assert {len(kept[field]) for kept in log._entries for field in (5, 6)} == {256}


def test_memory_stays_within_the_bound_while_s3_is_away(make: Make, door: Door) -> None:
    log = make(Limits(object_rows=100, object_seconds=0.1, rows=1000))
    log.start()

    for hour in range(5000):
        offer(log, (float(hour), "UA"))
    wait(lambda: log.failed_uploads > 0)

    assert (log.buffered_rows, log.dropped_rows, log.logged_rows) == (1000, 4000, 0)
    assert len(log._entries) <= 1000


def test_nothing_that_was_accepted_is_lost_while_s3_is_away(make: Make, door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = make(Limits(object_rows=100, object_seconds=0.1))
    log.start()

    for hour in range(1000):
        offer(log, (float(hour), "UA"))
    wait(lambda: log.failed_uploads >= 2, 30)
    door.open()
    wait(lambda: log.logged_rows == 1000, 40)

    assert logged(log) == list(range(1000))
    assert (log.dropped_rows, log.buffered_rows) == (0, 0)
    messages = [record.getMessage() for record in caplog.records if record.name == "serving.prediction_log"]
    assert len(messages) == 2
    assert re.match(r"predictions are not logged for now, it is tried again: .*the S3 server at .* does not answer", messages[0])
    assert messages[1] == "predictions are logged again"
    assert [record.name for record in caplog.records if record.name.startswith("urllib3")] == []


def test_an_object_whose_writing_was_answered_to_nobody_is_not_there_twice(make: Make, door: Door) -> None:
    log = make(Limits(object_rows=10))
    log.start()
    door.open(deaf=5)  # more than the S3 client tries again by itself

    for hour in range(10):
        offer(log, (float(hour), "UA"))
    wait(lambda: log.logged_rows == 10)

    assert log.failed_uploads == 1
    assert logged(log) == list(range(10))


def test_the_end_writes_all_that_was_accepted_and_takes_nothing_more(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = make(Limits(object_rows=100, object_seconds=3600))
    log.start()

    for hour in range(450):
        offer(log, (float(hour), "UA"))
    log.close(20)
    offer(log, (1.0, "UA"), (2.0, "UA"))
    log.close(20)

    assert logged(log) == list(range(450))
    assert (log.logged_rows, log.dropped_rows, log.buffered_rows) == (450, 2, 0)
    assert caplog.messages == ["prediction log: 450 rows written, 0 dropped"]


def test_the_end_waits_for_s3_that_comes_back_in_time(make: Make, door: Door) -> None:
    log = make(Limits(object_rows=50))
    log.start()
    for hour in range(100):
        offer(log, (float(hour), "UA"))
    wait(lambda: log.failed_uploads > 0)

    threading.Timer(2, door.open).start()
    log.close(30)

    assert (log.logged_rows, log.dropped_rows) == (100, 0)
    assert logged(log) == list(range(100))


@pytest.mark.parametrize("way", ["away", "hanging"])
def test_the_end_comes_in_time_and_says_what_is_lost(make: Make, door: Door, way: str, caplog: pytest.LogCaptureFixture) -> None:
    if way == "hanging":
        door.hang()
    log = make(Limits(object_rows=10))
    log.start()
    for hour in range(35):
        offer(log, (float(hour), "UA"))
    wait(lambda: len(log._entries) <= 25)

    began = time.monotonic()
    log.close(1.5)
    log.close(1.5)

    assert time.monotonic() - began < 3
    assert (log.logged_rows, log.dropped_rows, log.buffered_rows) == (0, 35, 0)
    (message,) = [message for message in caplog.messages if "lost" in message]
    assert message.startswith("the prediction log lost 35 rows that were not written in time")


def test_a_request_never_waits_for_the_log(make: Make, door: Door) -> None:
    door.hang()
    log = make(Limits(object_rows=10, rows=5000))
    log.start()
    offer(log, *[(1.0, "UA")] * 10)
    wait(lambda: not log._entries)  # its thread hangs in S3

    began = time.perf_counter()
    for hour in range(10_000):
        offer(log, (float(hour), "UA"))

    assert time.perf_counter() - began < 2
    assert (log.buffered_rows, log.dropped_rows) == (5000, 5010)


def test_what_cannot_be_written_is_counted_and_the_rest_goes_on(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    log = make(Limits(object_rows=1))
    log.start()

    log.offer([["a secret"], ["UA"]], {"predict": np.array(["late"])}, "")
    wait(lambda: log.dropped_rows == 1)
    offer(log, (2.0, "UA"))
    log.close(20)

    assert logged(log) == [2.0]
    assert (log.logged_rows, log.dropped_rows) == (1, 1)
    assert [message for message in caplog.messages if "lost 1 rows" in message]
    assert "secret" not in caplog.text


def test_a_bucket_that_may_not_be_written_is_said_once(make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    log = make(Limits(object_rows=1))
    log.start()

    offer(log, (1.0, "UA"))
    wait(lambda: log.failed_uploads >= 2)

    (message,) = [message for message in caplog.messages if log._version.name in message]  # logs of earlier tests may still end
    assert message.endswith("the secret key is wrong: correct AWS_SECRET_ACCESS_KEY")
    assert log.buffered_rows == 1


def test_the_query_of_the_page_runs_on_what_the_log_wrote(make: Make) -> None:
    log, chance = make(name="flights"), random.Random(1)
    log.start()
    for _ in range(100):
        offer(log, (chance.choice([None, 5.0]), chance.choice([None, "UA"])))
    log.close(20)
    (program,) = [block.text for block in blocks(DOCS / "predictions.md") if block.language == "python"]

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stderr == ""
    assert re.search(rf"7 .* {log.logged_rows} .* 0\.75", done.stdout), done.stdout
