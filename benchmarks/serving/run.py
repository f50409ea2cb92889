"""The course of the benchmark: round after round, each server by itself, so that all have the same chances on a machine that is not quiet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.check import GREETING, check, problem
from benchmarks.serving.contenders import CONTENDERS, Contender, Place
from benchmarks.serving.environments import install
from benchmarks.serving.load import SCENARIOS, measure, write_file, write_requests, wrk
from benchmarks.serving.model import Model, prepared
from benchmarks.serving.protocols import INVOCATIONS, Protocol
from benchmarks.serving.results import Results, Start, machine
from benchmarks.serving.servers import LOAD_CORE, Running, started
from core.errors import UserError
from core.processes import free_port

GROWTH_ROWS, GROWTH_SECONDS, GROWTH_LOOK = 10_000_000, 300, 3


@dataclass(frozen=True)
class Plan:
    """How long, and with whom: all peers when `peers` is None."""

    rounds: int
    seconds: int
    peers: Sequence[str] | None
    growth: bool


def run(plan: Plan, scratch: Path, say: Callable[[str], None]) -> Results:
    """Prepare the peers and the model, check that all do the same work, and measure."""
    contenders = [each for each in CONTENDERS if each.requirements is None or plan.peers is None or each.key in plan.peers]
    say("the peers' environments")
    missing = {each.key: reason for each in contenders if (reason := install(each))}
    say("the model: trained, judged and registered by the pipeline")
    with prepared(scratch) as model:
        os.sched_setaffinity(0, {LOAD_CORE})
        course = Course(model, scratch, _empty(contenders, model, missing), say)
        for number in range(plan.rounds):
            say(f"round {number + 1} of {plan.rounds}")
            for contender in contenders:
                course.take(contender, plan.seconds)
        if plan.growth:
            course.grow(contenders[0])
    return course.results


def _empty(contenders: Sequence[Contender], model: Model, missing: dict[str, str]) -> Results:
    about = machine(model=model.estimator, columns=str(len(model.rows.inputs)), engine=model.engine)
    return Results(about, {each.key: each.title for each in contenders}, [each.key for each in contenders if each.batches], missing=missing)


class Course:
    """A benchmark on its way: what is served, and what was found so far."""

    def __init__(self, model: Model, scratch: Path, results: Results, say: Callable[[str], None]) -> None:
        self.results = results
        self._model, self._scratch, self._say = model, scratch, say

    @contextmanager
    def running(self, contender: Contender) -> Iterator[Running]:
        """Run a server that has given its first right answer."""
        folder = self._scratch / contender.key
        folder.mkdir(exist_ok=True)
        place = Place(contender.programs, folder, free_port(), (free_port(), free_port()))
        launch, log = contender.launch(self._model, place), self._scratch / f"{contender.key}.log"
        with started(contender.key, launch, place.port, log, lambda: problem(contender, place.port, self._model)) as running:
            yield running

    def take(self, contender: Contender, seconds: int) -> None:
        """Start a server, check it the first time, measure it in each protocol that it speaks, and end it."""
        if contender.key in self.results.missing:
            return
        try:
            with self.running(contender) as running:
                memory = running.rss_mb()
                if self.results.start(contender.key) is None:
                    self._check(contender, running.port)
                self._measure(contender, running, seconds)
                self.results.starts.append(Start(contender.key, running.seconds, memory, running.rss_mb()))
            self._say(self._told(contender))
        except UserError as error:
            self.results.missing[contender.key] = str(error)
            self._say(f"  {contender.title}: {error}")

    def grow(self, contender: Contender) -> None:
        """Watch a server's memory while it answers ten million rows."""
        path, rows, began = write_requests(INVOCATIONS, self._model.rows, 1000, self._scratch), 0, time.monotonic()
        with self.running(contender) as running:
            self.results.growth.append((0, running.rss_mb()))
            while rows < GROWTH_ROWS and time.monotonic() - began < GROWTH_SECONDS:
                rows += wrk(running.port, path, 4, GROWTH_LOOK)["requests"] * 1000
                self.results.growth.append((rows, running.rss_mb()))
                self._say(f"  {contender.title}: {self.results.growth[-1][1]:.1f} MB after {rows:,} rows")

    def _check(self, contender: Contender, port: int) -> None:
        """Compare the answers in each protocol; a server may lack those after its first."""
        for protocol in contender.protocols:
            name = f"{contender.title}, {protocol.name}"
            try:
                self.results.differences[name] = check(contender, protocol, port, self._model)
            except UserError as error:
                if protocol is contender.protocols[0]:
                    raise
                self.results.missing[name] = str(error)

    def _measure(self, contender: Contender, running: Running, seconds: int) -> None:
        for protocol in contender.protocols or (None,):
            name = protocol.name if protocol else ""
            if f"{contender.title}, {name}" not in self.results.missing:
                for rows, connections in SCENARIOS if protocol else [each for each in SCENARIOS if each[0] == 1]:
                    self.results.measurements.append(measure(running, name, self._requests(protocol, rows), rows, connections, seconds))

    def _requests(self, protocol: Protocol | None, rows: int) -> Path:
        return write_requests(protocol, self._model.rows, rows, self._scratch) if protocol else write_file(self._scratch / "hello.bin", [GREETING])

    def _told(self, contender: Contender) -> str:
        start = self.results.starts[-1]
        rates = [each for each in self.results.measurements if each.server == contender.key and (each.rows, each.connections) == (1, 16)]
        shown = ", ".join(f"{each.rate:,.0f}" for each in rates[-max(len(contender.protocols), 1) :])
        return f"  {contender.title}: answers after {start.seconds:.2f} s, {shown} requests/s at 16 connections, {start.rss_loaded:.0f} MB"
