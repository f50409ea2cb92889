"""What is drawn of a column: a histogram with that of the last run over it, as SVG that follows the page's colours."""

from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from components.validate.profile import Profile
from components.validate.rules import TYPES, kind
from components.validate.words import share, value

WIDTH, HEIGHT, FOOT = 300, 72, 14  # of the drawing, and of the line of labels below it
LEAST = 0.8  # height of a bar that holds anything


def histogram(now: Profile, before: Profile | None) -> Markup:
    """Draw the shares of the rows by value; what lies beyond the first and the last bar is in them.

    Args:
        now: The column.
        before: The column in the last run that succeeded.
    """
    edges = now.bars if len(now.bars) > 1 else [now.quantiles[0], now.quantiles[-1]]
    shares = _shares(now, edges)
    old = _shares(before, edges) if before and sum(before.counts) else None
    top = max([*shares, *(old if old is not None else [])]) or 1.0
    step = WIDTH / len(shares)
    bars = "".join(
        f'<rect x="{index * step + 0.5:.1f}" y="{HEIGHT - height:.1f}" width="{max(step - 1, 0.5):.1f}" height="{height:.1f}"><title>'
        f"{escape(value(low, now))} to {escape(value(high, now))}: {share(part)}</title></rect>"
        for index, (part, (low, high)) in enumerate(zip(shares, pairwise(edges), strict=True))
        if (height := max(part / top * HEIGHT, LEAST if part else 0))
    )
    line = f'<path class="before" d="{_outline(old / top, step)}"/>' if old is not None else ""
    first, last = max(edges[0], now.quantiles[0]), min(edges[-1], now.quantiles[-1])
    if kind(now.type) in TYPES["integer"]:  # whose bars end between the numbers
        first, last = np.ceil(first), np.floor(last)
    labels = (
        f'<text x="0" y="{HEIGHT + FOOT - 2}">{escape(value(first, now))}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT + FOOT - 2}" text-anchor="end">{escape(value(last, now))}</text>'
    )
    ground = f'<path class="ground" d="M0 {HEIGHT}H{WIDTH}"/>'
    return Markup(f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT + FOOT}" role="img">{bars}{ground}{line}{labels}</svg>')  # noqa: S704  (escaped)


def _shares(column: Profile, edges: list[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the share of the values between the edges, by a column's own bins: what falls within one of them is spread evenly."""
    places = [*column.edges, max(column.quantiles[-1], column.edges[-1])]
    below = np.interp(edges, places, np.cumsum(column.counts) / max(sum(column.counts), 1))
    below[0], below[-1] = 0.0, 1.0
    return np.diff(below)


def _outline(heights: np.ndarray[tuple[int], np.dtype[np.float64]], step: float) -> str:
    tops = [f"{HEIGHT - height * HEIGHT:.1f}" for height in heights]
    return f"M0 {HEIGHT}" + "".join(f"V{top}H{(index + 1) * step:.1f}" for index, top in enumerate(tops)) + f"V{HEIGHT}"
