"""Hours in little: replicas come and go under load, and every client has its own right answer, once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.serving.balancer import Balancer, Message, Replica, connect
from tests.unit.serving.models import Trained, publish
from tests.unit.serving.questions import Question, questions
from tests.unit.serving.servers import Launcher, Running

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("SOAK_SECONDS", "45"))
RESTART_SECONDS, DRAIN_SECONDS = 10, 3
CLIENTS, RATE = 8, 600  # requests a second, of all
ANSWER_SECONDS = 20
SETTLED_SECONDS, GROWTH = 4, 4 * 2**20  # of a server's memory under load


@dataclass
class Load:
    """Clients that ask without end, and what they were told.

    Attributes:
        sent: How many requests.
        right: How many right answers each server gave, by its version: each has its own.
        failed: How many were said not to be answered.
        wrong: The first answers that were not right.
    """

    port: int
    asked: list[Question]
    sent: int = 0
    right: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    wrong: list[str] = field(default_factory=list)
    is_over: bool = False

    async def ask(self, number: int) -> None:
        """Ask at a constant rate on one connection."""
        chance, due = random.Random(number), time.monotonic()
        connection = await connect(("127.0.0.1", self.port))
        while not self.is_over:
            identity, question = f"client {number} request {self.sent}", chance.choice(self.asked)
            self.sent += 1
            self._count(identity, question, await asyncio.wait_for(connection.exchange(question.request(identity)), ANSWER_SECONDS))
            due = max(due + CLIENTS / RATE, time.monotonic() - 0.1)  # after a stall it does not catch up for ever
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        connection.writer.write_eof()
        rest = await asyncio.wait_for(connection.reader.read(), ANSWER_SECONDS)
        assert rest == b"", "more answers than requests"
        connection.writer.close()

    def _count(self, identity: str, question: Question, answer: Message) -> None:
        if answer.status == 502:
            self.failed += 1
        elif question.is_answered(identity, answer):
            self.right[answer.headers[b"x-model-version"].decode()] += 1
        else:
            self.wrong.append(f"{identity}: {answer.first!r} {answer.headers} {answer.body[:300]!r} to {question.document!s:.300}")
            assert len(self.wrong) < 10, self.wrong


@dataclass
class Member:
    """A server behind the balancer; its version is its own, so that every answer tells who gave it."""

    version: str
    running: Running
    replica: Replica
    settled: int = 0

    @property
    def memory(self) -> int:
        return int(psutil.Process(self.running.process.pid).memory_info().rss)

    async def settle(self) -> None:
        await asyncio.sleep(SETTLED_SECONDS)
        self.settled = self.memory


@dataclass
class Fleet:
    """The servers that come and go.

    Attributes:
        answered: How many requests each counted itself, but those that were killed.
        batches: How often an engine was called.
        batched: How many requests that answered.
        grown: By how many bytes each grew after its first seconds.
        dismissed: How many requests were answered by a server that was about to leave.
        started: How many servers.
    """

    launcher: Launcher
    bundle: tuple[str, str]
    balancer: Balancer = field(default_factory=Balancer)
    members: list[Member] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    batches: float = 0
    batched: float = 0
    grown: list[int] = field(default_factory=list)
    dismissed: int = 0
    started: int = 0

    async def join(self) -> None:
        """Start a server, which is led requests as soon as it is ready."""
        self.started += 1
        (uri, digest), version = self.bundle, str(self.started)
        arguments = ["--uri", uri, "--digest", digest, "--name", "wine", "--version", version, "--port", "0"]
        running = await asyncio.to_thread(self.launcher.launch, arguments, {"DRAIN_SECONDS": str(DRAIN_SECONDS)})
        member = Member(version, running, Replica(running.address))
        self.members.append(member)
        self.balancer.replicas.append(member.replica)
        await until(lambda: member.replica.ready)

    async def leave(self) -> None:
        """End the eldest as a cluster does: it drains, and is led no request when it ends."""
        eldest = self.members.pop(0)
        eldest.running.process.send_signal(signal.SIGTERM)
        await until(lambda: not eldest.replica.ready and not eldest.replica.flying)
        assert eldest.running.process.poll() is None, "it ended before the balancer knew"
        await self.count(eldest)
        assert await asyncio.to_thread(eldest.running.process.wait, 15) == 0, eldest.running.text()
        self.dismissed += eldest.replica.dismissed
        self.balancer.replicas.remove(eldest.replica)

    async def kill(self) -> Member:
        """End the eldest amid a request."""
        eldest = self.members.pop(0)
        await until(lambda: eldest.replica.flying > 0)
        eldest.running.process.kill()
        await until(lambda: not eldest.replica.ready and not eldest.replica.flying)
        self.balancer.replicas.remove(eldest.replica)
        return eldest

    async def count(self, member: Member) -> None:
        text = (await asyncio.to_thread(httpx.get, f"{member.running.url}/metrics")).text
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        total = Counter[str]()
        for sample in samples:
            total[sample.name] += int(sample.value) if sample.name.startswith("model_") else 0
        self.answered[member.version] = total["model_requests_total"]
        self.batches += total["model_batch_requests_count"]
        self.batched += total["model_batch_requests_sum"]
        self.grown.append(member.memory - member.settled)


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def loaded(fleet: Fleet, asked: list[Question]) -> AsyncIterator[Load]:
    """Two servers that are asked all the while; at the end they have answered and counted."""
    async with fleet.balancer.run() as balancer:
        await fleet.join()
        await fleet.join()
        load = Load(balancer.port, asked)
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(load.ask(number))
            await asyncio.gather(*[member.settle() for member in fleet.members])
            yield load
            load.is_over = True
        for member in fleet.members:
            await fleet.count(member)
        print(f"{load.sent} requests, {load.failed} failed, by server {dict(load.right)}; memory grew by {[size // 1024 for size in fleet.grown]} kB")
        print(f"{fleet.batched:.0f} requests in {fleet.batches:.0f} batches")


def test_replicas_that_come_and_go_lose_no_request_and_answer_each_once_and_rightly(launcher: Launcher, wine: Trained) -> None:
    fleet, asked = Fleet(launcher, publish(wine.onnx)), questions(wine)

    async def soak() -> Load:
        async with loaded(fleet, asked) as load:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                due = time.monotonic() + RESTART_SECONDS
                await fleet.leave()
                await fleet.join()
                await fleet.members[-1].settle()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        return load

    load = asyncio.run(soak())

    assert (load.wrong, load.failed) == ([], 0)
    assert load.right == fleet.answered
    assert load.right.total() == load.sent
    assert fleet.started >= 2 + SECONDS // 20
    assert fleet.dismissed > 0
    assert fleet.batched > fleet.batches, "no batch of several requests was seen"
    assert max(fleet.grown) < GROWTH


def test_a_killed_replica_loses_only_what_it_was_answering(launcher: Launcher, wine: Trained) -> None:
    fleet, asked = Fleet(launcher, publish(wine.onnx)), questions(wine)

    async def soak() -> tuple[Load, Member]:
        async with loaded(fleet, asked) as load:
            killed = await fleet.kill()
            await fleet.join()
            await fleet.members[-1].settle()
            await asyncio.sleep(SETTLED_SECONDS)
        return load, killed

    load, killed = asyncio.run(soak())
    last = load.right.pop(killed.version)

    assert load.wrong == []
    assert load.failed == killed.replica.lost <= CLIENTS
    assert load.right == fleet.answered
    assert len(load.right) == 2
    assert min(last, *load.right.values()) > CLIENTS * 10
    assert load.right.total() + last + load.failed == load.sent
