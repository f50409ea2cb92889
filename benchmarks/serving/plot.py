"""The figures as one picture: rates, latencies, start and memory, this server in colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.serving.contenders import HELLO, OURS
from benchmarks.serving.goals import BUSY, LARGE
from benchmarks.serving.results import Results
from core.reports import BLUE, GREY

PALE, DARK = "#d1d5db", "#1f2937"
STYLE: Any = {"font.family": "sans-serif", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left"}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": DARK}
STYLE |= {"axes.labelcolor": GREY, "legend.frameon": False}
PERCENTILES = {"p50": ("p50", "o", 30), "p99": ("p99", "D", 30), "p99.9": ("p999", "|", 80)}
ROOM = 1.22  # right of the longest bar, for its label


def draw(results: Results, path: Path) -> None:
    """Draw the medians.

    Args:
        results: What was measured.
        path: The PNG that is written.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 7))
        grid = figure.add_gridspec(2, 100, height_ratios=(8, 7), left=0.163, right=0.985, top=0.955, bottom=0.125, hspace=0.3)
        _rates(figure.add_subplot(grid[0, :56]), results)
        _latencies(figure.add_subplot(grid[0, 62:]), results)
        _rows(figure.add_subplot(grid[1, :43]), results)
        axes = figure.add_subplot(grid[1, 55:76])
        _starts(axes, results, "seconds", "Cold start", "s to the first answer", 1)
        _starts(figure.add_subplot(grid[1, 80:], sharey=axes), results, "rss_loaded", "Memory", "MB after the load", 100)
        figure.text(0.985, 0.015, _where(results), fontsize=8, color=GREY, ha="right")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Software": None})


def _rates(axes: Axes, results: Results) -> None:
    found = [(series, each.rate) for series in results.series() if (each := results.find(series, *BUSY))]
    _bars(axes, [results.title(series) for series, _ in found], [series.server for series, _ in found], [rate for _, rate in found])
    axes.set_title("Single rows, 16 connections: throughput")
    axes.set_xlabel("requests a second")


def _latencies(axes: Axes, results: Results) -> None:
    """Draw a line from the median to the 99.9th percentile of each."""
    found = [(series, each) for series in results.series() if (each := results.find(series, *BUSY))]
    for place, (series, each) in enumerate(found):
        axes.plot([each.p50, each.p999], [place, place], color=_colour(series.server), linewidth=2, zorder=1)
        for name, marker, size in PERCENTILES.values():
            axes.scatter([getattr(each, name)], [place], marker=marker, s=size, color=_colour(series.server), zorder=2)
        axes.annotate(f"{each.p99:.3g}", (each.p99, place), (0, 6), textcoords="offset points", ha="center", fontsize=8, color=DARK)
    axes.axvline(10, color=GREY, linewidth=0.8, linestyle=":")
    axes.set(xscale="log", ylim=(len(found) - 0.5, -0.6), yticks=[])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title("The same: latency")
    axes.set_xlabel("ms, p99 in figures; dotted: the goal for p99")
    keys = [
        Line2D([], [], color=GREY, linestyle="", marker=marker, markersize=size**0.5, label=label) for label, (_, marker, size) in PERCENTILES.items()
    ]
    axes.legend(handles=keys, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.985), columnspacing=0.8, handletextpad=0.1, borderpad=0, fontsize=8)


def _rows(axes: Axes, results: Results) -> None:
    found = [(series, each.rate * each.rows) for series in results.series() if (each := results.find(series, *LARGE))]
    _bars(axes, [results.title(series) for series, _ in found], [series.server for series, _ in found], [rate for _, rate in found])
    axes.set_title("1,000 rows a request: throughput")
    axes.set_xlabel("rows a second")


def _starts(axes: Axes, results: Results, figure: str, title: str, unit: str, goal: float) -> None:
    found = [(key, getattr(start, figure)) for key in results.titles if (start := results.start(key))]
    _bars(axes, [results.titles[key] for key, _ in found], [key for key, _ in found], [value for _, value in found])
    axes.axvline(goal, color=GREY, linewidth=0.8, linestyle=":")
    axes.tick_params(labelleft=figure == "seconds")  # the other one stands beside it
    axes.set_title(title)
    axes.set_xlabel(f"{unit}\n(dotted: the goal)")


def _bars(axes: Axes, names: Sequence[str], servers: Sequence[str], values: Sequence[float]) -> None:
    drawn = axes.barh(range(len(values)), values, color=[_colour(server) for server in servers], height=0.66)
    labels = [f"{value:,.0f}" if value >= 20 else f"{value:.1f}" for value in values]
    axes.bar_label(drawn, labels, padding=4, fontsize=8, color=DARK, bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8})
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(names) - 0.5, -0.6), xlim=(0, max(values, default=1) * ROOM))
    axes.locator_params(axis="x", nbins=5, integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _colour(server: str) -> str:
    return {OURS: BLUE, HELLO: PALE}.get(server, GREY)


def _where(results: Results) -> str:
    about = results.machine
    rounds = sum(each.server == OURS for each in results.starts)
    return (
        f"{about['model']}, {about['columns']} columns, scikit-learn {about['scikit-learn']}; each server on one core ({about['processor']}); "
        f"medians of {rounds} rounds; {about['date']}"
    )
