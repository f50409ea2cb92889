"""Requests that nobody would write: no crash, no server error, and the memory stays what it was."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import orjson
import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.unit.serving.models import Trained
from tests.unit.serving.servers import Running
from tests.unit.serving.strategies import INVOKE, REQUESTS, broken, with_another_body
from tests.unit.serving.wire import Answer, abandon, pipeline, request

ALLOWED = {200, 400, 403, 404, 405, 408, 413, 415, 503}
MADE, WELL_FORMED, BROKEN = 8, 160, 32  # of one example: made by hypothesis, with other bodies, with other bytes anywhere
EXAMPLE = MADE + WELL_FORMED + BROKEN
COUNT = 100_000
CONNECTIONS = 4
GROWTH = 6 * 2**20  # bytes of memory that the second half of the requests may add


class Fuzz:
    """What was sent to a server, and what came of it."""

    def __init__(self, server: Running) -> None:
        self.server, self.process = server, psutil.Process(server.process.pid)
        self.statuses: Counter[int] = Counter()
        self.memory: list[int] = []
        self.requests = 0

    def send(self, made: list[bytes], seed: int) -> None:
        """Send an example: well-formed requests on few connections, broken ones on a connection each."""
        chance = random.Random(seed)
        formed = made + [with_another_body(chance, chance.choice(made)) for _ in range(WELL_FORMED)]
        spoiled = [broken(chance, chance.choice(formed).replace(b"HEAD", b"GET")) for _ in range(BROKEN)]
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            parts = [formed[start::CONNECTIONS] for start in range(CONNECTIONS)]
            answered = threads.map(lambda part: (part, pipeline(self.server, part)), parts)
            spoiled_answered = threads.map(lambda one: ([one] * 9, abandon(self.server, one)), spoiled)
            for requests, found in [*answered, *spoiled_answered]:
                for sent, answer in zip(requests, found, strict=False):
                    self._check(sent, answer)
        self.requests += EXAMPLE
        self.memory.append(self.process.memory_info().rss)

    def _check(self, sent: bytes, answer: Answer) -> None:
        self.statuses[answer.status] += 1
        assert answer.status in ALLOWED, (sent, answer)
        assert answer.status != 503 or answer.headers["retry-after"], (sent, answer)
        if answer.body and answer.status != 200:
            assert orjson.loads(answer.body).keys() in ({"error"}, {"error_code", "message"}), (sent, answer)


def fuzz(server: Running, examples: int) -> Fuzz:
    found = Fuzz(server)

    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(made=st.lists(REQUESTS, min_size=MADE, max_size=MADE), seed=st.integers(0, 2**32))
    def run(made: list[bytes], seed: int) -> None:
        found.send(made, seed)

    run()
    return found


@pytest.fixture
def proof(wine_server: Running, wine: Trained) -> Iterator[Running]:
    """A server that answers rightly before and after, and has written nothing to its log."""
    body = orjson.dumps({"instances": wine.rows(0), "params": {"predict_method": "predict_proba"}})
    before, log = pipeline(wine_server, [request(INVOKE, body)]), wine_server.text()
    yield wine_server
    (after,) = pipeline(wine_server, [request(INVOKE, body)])
    assert wine.same(after.document["predictions"], wine.rows(0))
    assert after.body == before[0].body
    assert wine_server.text() == log
    assert wine_server.process.poll() is None


def test_no_request_is_answered_by_a_server_error(proof: Running) -> None:
    found = fuzz(proof, 10)

    assert found.requests == 10 * EXAMPLE
    assert found.statuses[200] > 50
    assert found.statuses[400] > 500


@pytest.mark.slow
def test_a_hundred_thousand_requests_leave_a_server_as_it_was(proof: Running) -> None:
    found = fuzz(proof, COUNT // EXAMPLE)

    half = len(found.memory) // 2
    assert found.requests == COUNT
    assert sum(found.statuses.values()) > 0.9 * COUNT
    assert max(found.memory[half:]) - max(found.memory[half // 2 : half]) < GROWTH, found.memory[:: max(1, len(found.memory) // 20)]
