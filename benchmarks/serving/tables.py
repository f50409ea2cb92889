"""The figures as tables: for the terminal and, in Markdown, for the docs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.table import Table

from benchmarks.serving.goals import BUSY, LARGE, goals
from benchmarks.serving.load import SCENARIOS, Measurement
from benchmarks.serving.results import Results, Series

LOADS = [f"{rows:,} x {connections}" for rows, connections in SCENARIOS]  # rows a request, connections
FIGURES = ("server", "cold start", "memory", "1 connection, p50", "16, requests/s", "16, p50", "16, p99", "16, p99.9", "rows/s")
PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}
QUIET = 0.1  # share of the server's core that others may have had


def tables(results: Results) -> Iterator[Table]:
    """Build what the terminal shows: each server, each load, the goals."""
    yield _table("process", ("", "first answer after", "memory then", "after the load"), _processes(results))
    yield _table("requests/s, and rows/s of the larger ones: rows a request x connections", ["", *LOADS], _rates(results))
    for name, title in PERCENTILES.items():
        yield _table(f"latency in ms, {title}", ["", *LOADS], _latencies(results, name))
    yield _table("goals", ("", "measured", "goal", ""), _goals(results))


def remarks(results: Results) -> Iterator[str]:
    """Say how far the figures can be trusted, and what is not among them."""
    greatest = max(results.differences.values(), default=0.0)
    yield f"this server answers by the engine {results.machine['engine']}"
    yield f"every server gave scikit-learn's answers; the greatest difference is {greatest:.1g}"
    others = max((each.others for each in results.measurements), default=0.0)
    yield f"other programs had up to {others:.0%} of the server's core" + (": the machine was not quiet, measure again" if others > QUIET else "")
    yield from (f"not measured: {results.titles.get(name, name)}: {reason}" for name, reason in results.missing.items())
    yield from results.failures()


def markdown(results: Results) -> str:
    """Write the figures and the goals for the docs."""
    about = results.machine
    what = f"{about['model']} of {about['columns']} columns, scikit-learn {about['scikit-learn']}, Python {about['python']}; engine {about['engine']}"
    where = f"each server on one core ({about['processor']}), wrk on another; single rows, but rows/s: 1,000 a request at 4 connections"
    return (
        "\n\n".join(
            [lines(FIGURES, _figures(results)), f"{what}; {where}; {about['date']}.", lines(("goal", "measured", "wanted", ""), _goals(results))]
        )
        + "\n"
    )


def _processes(results: Results) -> Iterator[Sequence[str]]:
    for key, title in results.titles.items():
        if start := results.start(key):
            yield title, f"{start.seconds:.2f} s", f"{start.rss_started:.0f} MB", f"{start.rss_loaded:.0f} MB"


def _rates(results: Results) -> Iterator[Sequence[str]]:
    for series in results.series():
        yield results.title(series), *(f"{each.rate * each.rows:,.0f}" if each else "-" for each in _all(results, series))


def _latencies(results: Results, name: str) -> Iterator[Sequence[str]]:
    for series in results.series():
        yield results.title(series), *(_short(getattr(each, name)) if each else "-" for each in _all(results, series))


def _goals(results: Results) -> Iterator[Sequence[str]]:
    for goal in goals(results):
        yield *goal[:3], "reached" if goal.reached else "missed"


def _figures(results: Results) -> Iterator[Sequence[str]]:
    for series in results.series():
        start = results.start(series.server)
        alone, busy, large = (results.find(series, *load) for load in ((1, 1), BUSY, LARGE))
        yield (
            results.title(series),
            f"{start.seconds:.1f} s" if start else "-",
            f"{start.rss_loaded:.0f} MB" if start else "-",
            f"{_short(alone.p50)} ms" if alone else "-",
            f"{busy.rate:,.0f}" if busy else "-",
            *(f"{_short(getattr(busy, name))} ms" if busy else "-" for name in PERCENTILES),
            f"{large.rate * large.rows:,.0f}" if large else "-",
        )


def _all(results: Results, series: Series) -> list[Measurement | None]:
    return [results.find(series, *load) for load in SCENARIOS]


def _table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row, style={"missed": "red", "reached": "green"}.get(row[-1]))
    return table


def lines(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---", *["---:"] * (len(header) - 1)], *rows])


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.0f}"
