"""What the columns of a table hold: counts, quantiles, frequencies, in bins by which the next run's data can be compared."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np

from components.validate import bins
from components.validate.rules import FLOATS, TYPES, kind
from components.validate.texts import LENGTH, Texts, alike, examine, measure, number_sql
from components.validate.violation import table
from core.csvoptions import Csv
from core.fields import PLAIN, Dialect
from core.tables import identifier

MOST = 200  # columns of a table that the contract does not name, together with those that it names
AT_ONCE = 100  # columns of one query
SHARES = tuple(round(step / 40, 3) for step in range(1, 40))  # of the bins of drift
QUANTILES = (0.01, 0.25, 0.5, 0.75, 0.99)  # that are shown
BARS = 24  # of a histogram
VALUES, DISTINCT = 50, 100_000  # most frequent texts kept, distinct ones up to which they are counted
ALIKE = 10_000  # most frequent texts that are compared with one another

Kind = Literal["number", "time", "text", "other"]


@dataclass(frozen=True)
class Profile:
    """What one column holds. Times are seconds since 1970."""

    type: str  # DuckDB's
    kind: Kind
    rows: int
    nulls: int
    distinct: int  # about
    quantiles: list[float] = field(default_factory=list)  # least, 1 %, 25 %, 50 %, 75 %, 99 %, greatest
    edges: list[float] = field(default_factory=list)  # of the bins: each up to its edge and with it, the last beyond the last edge
    counts: list[int] = field(default_factory=list)  # of the bins, one more than edges
    bars: list[float] = field(default_factory=list)  # those edges between which the histogram's bars stand
    values: dict[str, int] = field(default_factory=dict)  # the most frequent texts and their counts

    @property
    def known(self) -> int:
        """How many values are there."""
        return self.rows - self.nulls


@dataclass(frozen=True)
class Sight:
    """A column as it is now, and its values counted in the bins, or by the texts, of the last run that succeeded."""

    now: Profile
    counts: list[int] = field(default_factory=list)
    values: dict[str, int] = field(default_factory=dict)
    texts: Texts = field(default_factory=Texts)


def profile(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    names: dict[str, str],
    rows: int,
    before: dict[str, Profile],
    csv: Csv | None = None,
) -> dict[str, Sight]:
    """Look at the columns of a table: three passes a hundred columns, and one or two a column of text.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        names: The columns to look at, and DuckDB's types of them.
        rows: How many rows it has.
        before: What the columns held in the last run that succeeded.
        csv: The options of its source, if that is CSV.
    """
    found: dict[str, Sight] = {}
    dialect = csv.dialect if csv else PLAIN
    for start in range(0, len(names), AT_ONCE):
        looks = [_Look(name, names[name], rows, before.get(name)) for name in list(names)[start : start + AT_ONCE]]
        _measure(connection, path, looks)
        texts = [look for look in looks if look.kind == "text"]
        for look in texts:
            if look.distinct <= DISTINCT:
                _rank(connection, path, look, dialect)
        many = [look for look in texts if look.distinct > ALIKE and look.is_string]
        for name, odd in measure(connection, path, [look.name for look in many], dialect).items():
            look = next(look for look in many if look.name == name)
            look.texts = replace(odd, alike=look.texts.alike)
        found |= {look.name: look.sight() for look in looks}
    return found


def chosen(found: dict[str, str], named: Any) -> dict[str, str]:
    """Choose the columns to look at: all that the contract names, then others, up to a number."""
    first = [name for name in found if name in named]
    others = [name for name in found if name not in named][: max(MOST - len(first), 0)]
    return {name: found[name] for name in found if name in {*first, *others}}


class _Look:
    """One column while it is looked at."""

    def __init__(self, name: str, found: str, rows: int, before: Profile | None) -> None:
        self.name, self.type, self.rows, self.kind = name, found, rows, _kind(found)
        self.before = before if before and before.kind == self.kind else None
        self.nulls = self.distinct = 0
        self.quantiles: list[float] = []
        self.edges: list[float] = []
        self.bars: list[float] = []
        self.counts: list[int] = []
        self.seen: list[int] = []
        self.values: dict[str, int] = {}
        self.seen_values: dict[str, int] = {}
        self.texts = Texts()

    @property
    def is_counted(self) -> bool:
        """Whether its values have an order and distances."""
        return self.kind in ("number", "time")

    @property
    def is_string(self) -> bool:
        """Whether its texts are strings, not booleans."""
        return kind(self.type) in TYPES["string"]

    @property
    def number(self) -> str:
        """Its values as numbers, for SQL."""
        quoted = identifier(self.name)
        if self.kind == "time":
            return f"CASE WHEN isfinite({quoted}) THEN epoch({quoted}) WHEN {quoted} IS NOT NULL THEN 'inf'::DOUBLE END"
        return f"{quoted}::DOUBLE"

    @property
    def finite(self) -> str:
        """Its finite numbers, for SQL."""
        return f"CASE WHEN isfinite({self.number}) THEN {self.number} END" if self.kind == "time" or kind(self.type) in FLOATS else self.number

    @property
    def missing(self) -> str:
        quoted = identifier(self.name)
        return f"{quoted} IS NULL" + (f" OR isnan({quoted})" if kind(self.type) in FLOATS else "")

    @property
    def edges_before(self) -> list[float]:
        """The bins of the last run, if there are any."""
        return self.before.edges if self.before else []

    def set_edges(self, least: float, greatest: float, drawn: bins.Numbers) -> None:
        """Choose the bins: at the quantiles, where drift is told, and at equal distances, where the histogram's bars end."""
        shown = bins.quantiles(drawn, QUANTILES) or [least] * len(QUANTILES)
        self.quantiles = [least, *shown, greatest]
        low, high = shown[0], shown[-1]
        if self.before and self.before.quantiles:  # both are drawn
            low, high = min(low, self.before.quantiles[1]), max(high, self.before.quantiles[-2])
        self.bars = _bars(low, high, is_whole=kind(self.type) in TYPES["integer"])
        outer = {max(math.nextafter(least, -math.inf), -sys.float_info.max), greatest}  # what lies beyond was not there
        self.edges = sorted({*outer, shown[0], *bins.quantiles(drawn, SHARES), shown[-1], *self.bars})

    def sight(self) -> Sight:
        """Say what was seen."""
        now = Profile(self.type, self.kind, self.rows, self.nulls, self.distinct, self.quantiles, self.edges, self.counts, self.bars, self.values)
        return Sight(now, self.seen, self.seen_values, self.texts)


def _kind(found: str) -> Kind:
    base = kind(found)
    if base in TYPES["number"]:
        return "number"
    if base in (*TYPES["timestamp"], *TYPES["date"]):
        return "time"
    return "text" if base in (*TYPES["string"], *TYPES["boolean"]) else "other"


def _bars(low: float, high: float, *, is_whole: bool) -> list[float]:
    """Put edges at equal distances; between whole numbers, so that a bar holds as many of them as the next."""
    if not np.isfinite(high - low):
        return [low, high]
    if is_whole:
        width = max(1.0, np.ceil((high - low + 1) / BARS))
        return [float(low - 0.5 + width * step) for step in range(int((high - low) // width) + 2)]
    return [float(edge) for edge in np.linspace(low, high, BARS + 1)] if high > low else [low]


def _measure(connection: duckdb.DuckDBPyConnection, path: Path, looks: list[_Look]) -> None:
    """Count values, then find extremes and quantiles of numbers and count these in the bins of this run and of the last one."""
    numbers = [look for look in looks if look.is_counted]
    drawn = bins.draw(connection, path, {look.name: look.number for look in numbers}, looks[0].rows)
    is_whole = looks[0].rows <= bins.SAMPLE
    if is_whole:
        for look in numbers:
            look.nulls, look.distinct, finite = drawn[look.name]
            if len(finite):
                look.set_edges(float(finite[0]), float(finite[-1]), finite)
    _count(connection, path, [look for look in looks if not (is_whole and look.is_counted)], drawn)
    asked = [(look, edges) for look in numbers for edges in (look.edges, look.edges_before) if edges]
    if is_whole:
        counted = [bins.count(drawn[look.name].finite, edges) for look, edges in asked]
    else:
        counted = bins.count_all(connection, path, [(look.finite, edges) for look, edges in asked])
    for (look, edges), counts in zip(asked, counted, strict=True):
        if edges is look.edges:
            look.counts = counts
        else:
            look.seen = counts


def _count(connection: duckdb.DuckDBPyConnection, path: Path, looks: list[_Look], drawn: dict[str, bins.Drawn]) -> None:
    """Count in all rows of a large table, and in texts."""
    wanted = [aggregate for look in looks for aggregate in _aggregates(look)]
    if not wanted:
        return
    values = iter(connection.execute(f"SELECT {', '.join(wanted)} FROM {table(path)}").fetchall()[0])  # noqa: S608
    for look in looks:
        look.nulls, look.distinct = next(values), next(values)
        if look.is_counted:
            least, greatest = next(values), next(values)
            if least is not None:
                look.set_edges(least, greatest, drawn[look.name].finite)


def _aggregates(look: _Look) -> Iterator[str]:
    yield f"count(CASE WHEN {look.missing} THEN 1 END)"
    yield f"approx_count_distinct({identifier(look.name)})" if look.kind != "other" else "0"
    if look.is_counted:
        yield f"min({look.finite})"
        yield f"max({look.finite})"


def _rank(connection: duckdb.DuckDBPyConnection, path: Path, look: _Look, dialect: Dialect) -> None:
    """Count the most frequent texts, and those that the last run has kept; find what is odd among them."""
    value = f"left({identifier(look.name)}::VARCHAR, {LENGTH})"
    groups = f"SELECT {value} AS value, count(*) AS times FROM {table(path)} WHERE {identifier(look.name)} IS NOT NULL GROUP BY 1"  # noqa: S608
    is_number = number_sql("value", dialect) if look.is_string else "true"
    windows = "row_number() OVER (ORDER BY times DESC, value) AS place, count(*) OVER () AS different"
    numbers = "sum(CASE WHEN is_number THEN times ELSE 0 END) OVER ()::BIGINT AS numbers"
    ranked = f"SELECT value, times, is_number, {windows}, {numbers} FROM (SELECT *, {is_number} AS is_number FROM ({groups}))"  # noqa: S608
    wanted = f"place <= {VALUES} OR value IN $kept OR (NOT is_number AND place <= {ALIKE})"
    kept = list(look.before.values) if look.before else []
    found = connection.execute(f"{ranked} QUALIFY {wanted} ORDER BY place", {"kept": kept}).fetchall()
    known = {value: times for value, times, *_ in found}
    look.values = {value: times for value, times, _, place, *_ in found if place <= VALUES}
    look.seen_values = {value: known.get(value, 0) for value in kept}
    look.distinct, numbers_count = found[0][4:] if found else (0, 0)
    if look.is_string:
        texts = {value: times for value, times, is_number, place, *_ in found if not is_number and place <= ALIKE}
        look.texts = replace(examine(texts, numbers_count, look.rows - look.nulls, dialect), alike=alike(texts))
