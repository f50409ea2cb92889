"""What the server is to reach, beside what it did."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.serving.contenders import HELLO, OURS
from benchmarks.serving.protocols import INVOCATIONS, V2, V2_BINARY
from benchmarks.serving.results import Results, Series

BUSY = (1, 16)  # rows a request, connections
LARGE = (1000, 4)
SETTLED_ROWS = 1_000_000  # caches and allocators have what they need by then
LEAST_LOOKS = 6  # at its memory; the first third of them is compared with the last
GROWTH_MB = 2.0  # less than that is the noise of a resident set


class Goal(NamedTuple):
    """One of them: what, what it was measured to be, what it should be, and whether it is."""

    what: str
    measured: str
    wanted: str
    reached: bool


def goals(results: Results) -> Iterator[Goal]:
    """Compare; a goal whose figures were not measured is left out."""
    ours = [Series(OURS, protocol.name) for protocol in (INVOCATIONS, V2, V2_BINARY)]
    for series in ours[:2]:
        yield from _ratio(f"{series.protocol}: requests/s against mlflow", results, series, ["mlflow"], BUSY, 50)
        yield from _ratio(f"{series.protocol}: requests/s against the best batching peer", results, series, results.batching, BUSY, 5)
    for series in ours:
        yield from _ratio(f"{series.protocol}: rows/s against the best peer", results, series, _peers(results), LARGE, 4)
    yield from _ratio(f"{ours[0].protocol}: requests/s against hello world", results, ours[0], [HELLO], BUSY, 0.5)
    for series in ours[:2]:
        if found := results.find(series, *BUSY):
            yield Goal(f"{series.protocol}: p99 at 16 connections", f"{found.p99:.1f} ms", "< 10 ms", found.p99 < 10)
    yield from _process(results)


def best(results: Results, servers: list[str], scenario: tuple[int, int]) -> tuple[str, float]:
    """Return the name and the rate of the fastest of some servers; no name when none was measured."""
    found = [(results.title(series), results.find(series, *scenario)) for series in results.series() if series.server in servers]
    return max(((title, each.rate) for title, each in found if each), key=lambda pair: pair[1], default=("", 0.0))


def _peers(results: Results) -> list[str]:
    return [key for key in results.titles if key not in (OURS, HELLO)]


def _ratio(what: str, results: Results, series: Series, servers: list[str], scenario: tuple[int, int], wanted: float) -> Iterator[Goal]:
    found, (title, rate) = results.find(series, *scenario), best(results, servers, scenario)
    if found and title:
        ratio = found.rate / rate
        named = what if len(servers) == 1 else f"{what}, {title.partition(' ')[0]}"
        yield Goal(named, f"{ratio:.2f}x" if wanted < 1 else f"{ratio:.1f}x", f">= {wanted:g}x", ratio >= wanted)


def _process(results: Results) -> Iterator[Goal]:
    if start := results.start(OURS):
        yield Goal("cold start, to the first right answer", f"{start.seconds:.2f} s", "<= 1 s", start.seconds <= 1)
        yield Goal("memory after the load (RSS)", f"{start.rss_loaded:.0f} MB", "<= 100 MB", start.rss_loaded <= 100)
    settled = [rss for rows, rss in results.growth if rows >= SETTLED_ROWS]
    if len(settled) >= LEAST_LOOKS:
        rows, third = results.growth[-1][0], len(settled) // 3
        more = statistics.median(settled[-third:]) - statistics.median(settled[:third])
        yield Goal(f"growth over {rows / 1e6:.1f} million rows (RSS)", f"{more:+.1f} MB", f"<= {GROWTH_MB:g} MB", more <= GROWTH_MB and rows >= 1e7)
