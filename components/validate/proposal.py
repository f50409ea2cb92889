"""A contract proposed from the data: what they keep today, a little wider, with what was seen beside it."""

import json
import math
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import yaml

from components.validate.hints import hints
from components.validate.profile import Profile, profile
from components.validate.rules import TYPES, kind
from components.validate.skeleton import skeleton
from components.validate.texts import LENGTH, Texts
from components.validate.typed import typed
from components.validate.violation import table
from components.validate.words import printable, share, value
from core.config import UseCase
from core.csvoptions import Csv
from core.sources import csv_of
from core.tables import columns, connect, identifier

FEW = 20  # texts that are listed
EACH = 10  # rows that each of them has at least, on average
WHOLE = 31  # different whole numbers up to which the least and the greatest are taken as they are
ENOUGH = 20  # rows by which a key is told from chance
NEAR = 0.9  # of the rows: about as many different values has a key
FIRST = 50_000  # rows by which most pairs are ruled out
PAIRS = 20  # that are tried on all rows
WIDEST, KEYED = 3, 12  # columns of a proposed key at most, and columns that it is made of: those with the most different values
HUGE = 1e300  # beyond which nothing is rounded
HEADROOM, AIR, LEAST_NULLS = 1.2, 0.05, 0.001  # for nulls


def propose(usecase: UseCase, folder: str) -> str:
    """Write the key of the largest source, a contract for every source, and features to choose from, as YAML.

    Args:
        usecase: The use case; what its contract says does not count.
        folder: Where `<source>.parquet` lies for each source.
    """
    lines, tables = ["contract:"], list[_Table]()
    with tempfile.TemporaryDirectory() as workplace, connect(usecase.limits.memory) as connection:
        for name, source in usecase.sources.items():
            csv = csv_of(source)
            path = typed(connection, Path(folder, f"{name}.parquet"), Path(workplace), csv)
            tables.append(_examined(connection, name, path, csv))
            found = (f"{column}: {hint}" for column, texts in tables[-1].texts.items() for hint in hints(column, texts, csv))
            lines += [f"  # {printable(hint)}" for hint in found]
            lines += [f"  {_flow(name)}:", *(f"    {line}" for line in _promises(tables[-1]))]
        key = list(_key(connection, max(tables, key=lambda item: item.rows)))
    columns_known = {column: examined for item in tables for column, examined in item.known.items()}
    features = skeleton(columns_known, [key for item in tables for key in item.keys], _flow)
    return "\n".join([*key, *lines, *features]) + "\n"


class _Table(NamedTuple):
    """A source's table, its profile, and sets of columns that no two rows share."""

    name: str
    path: Path
    rows: int
    known: dict[str, Profile]
    texts: dict[str, Texts]
    keys: list[list[str]]


def _examined(connection: duckdb.DuckDBPyConnection, name: str, path: Path, csv: Csv | None) -> _Table:
    found = columns(connection, path)
    rows = connection.execute(f"SELECT count(*) FROM {table(path)}").fetchall()[0][0]  # noqa: S608
    sights = profile(connection, path, found, rows, {}, csv)
    known, texts = {column: sight.now for column, sight in sights.items()}, {column: sight.texts for column, sight in sights.items()}
    return _Table(name, path, rows, known, texts, _keys(connection, path, known, rows))


def _promises(examined: _Table) -> Iterator[str]:
    rows, known, keys = examined.rows, examined.known, examined.keys
    yield f"rows: {{min: {_least(rows)}}}  # there are {rows:,}"
    if keys:
        yield f"unique: {_flow(keys)}"
    yield "columns:"
    for name, column in known.items():
        promise = _promise(column)
        if [name] in keys and promise.get("type") == "integer":
            promise.pop("max", None)  # it grows
        if promise:
            yield f"  {_flow(name)}: {_flow(promise)}  # {_seen(column)}"
        else:
            yield f"  # {printable(name)}: {column.type.lower()} is of no type that a contract knows"


def _least(rows: int) -> int:
    """Return half the rows, rounded down to one digit that counts."""
    half = max(rows // 2, 1)
    unit = 10 ** (len(str(half)) - 1)
    return int(half // unit * unit)


def _keys(connection: duckdb.DuckDBPyConnection, path: Path, known: dict[str, Profile], rows: int) -> list[list[str]]:
    """Find the columns without repetition; if there are none, the first pair."""
    fit = {name: column for name, column in known.items() if not column.nulls and column.kind != "other" and _type(column) != "number"}
    if rows < ENOUGH:
        return []
    single = [[name] for name, column in fit.items() if column.distinct >= NEAR * rows and _is_unique(connection, path, (name,))]
    if single:
        return single
    pairs = [pair for pair in combinations(fit, 2) if math.prod(fit[name].distinct for name in pair) >= NEAR * rows]
    likely = (pair for pair in pairs if _is_unique(connection, path, pair, f"LIMIT {FIRST}"))
    tried = (pair for pair, _ in zip(likely, range(PAIRS), strict=False))
    return [list(pair) for pair in tried if _is_unique(connection, path, pair)][:1]


def _key(connection: duckdb.DuckDBPyConnection, examined: _Table) -> Iterator[str]:
    """Propose the key of the rows: ids and the like first, then any columns, the fewest that are unique."""
    name, path, rows, known, _, keys = examined
    if rows < ENOUGH:
        return
    fit = sorted((column for column in known if known[column].kind != "other"), key=lambda column: -known[column].distinct)[:KEYED]
    exact = [column for column in fit if _type(known[column]) != "number" and not known[column].nulls]
    groups = (group for among in (exact, fit) for width in range(1, WIDEST + 1) for group in combinations(among, width))
    wide = (group for group in groups if math.prod(known[column].distinct for column in group) >= NEAR * rows)
    likely = (group for group in wide if _is_unique(connection, path, group, f"LIMIT {FIRST}"))
    tried = (list(group) for group, _ in zip(likely, range(PAIRS), strict=False) if _is_unique(connection, path, group))
    key = next(iter(keys), None) or next(tried, None)
    if key:
        yield f"key: {_flow(key)}  # no two of {rows:,} rows of {printable(name)} share {'these' if len(key) > 1 else 'it'}; let features() keep it"
    elif _is_unique(connection, path, tuple(known)):
        yield f"key: all  # no two of {rows:,} rows of {printable(name)} are equal; a few columns of yours that identify a row are better"
    else:
        yield f"# key: some of {rows:,} rows of {printable(name)} are equal, so no columns identify a row: remove the repeated ones in features()"


def _is_unique(connection: duckdb.DuckDBPyConnection, path: Path, names: tuple[str, ...], limit: str = "") -> bool:
    listed = ", ".join(map(identifier, names))
    query = f"SELECT count(*) = count(DISTINCT hash({listed})) FROM (SELECT {listed} FROM {table(path)} {limit})"  # noqa: S608
    return bool(connection.execute(query).fetchall()[0][0])


def _type(column: Profile) -> str:
    """Return the contract's word for a type of DuckDB's; empty if there is none."""
    return next((name for name, types in TYPES.items() if kind(column.type) in types), "")


def _promise(column: Profile) -> dict[str, Any]:
    if not _type(column):
        return {}
    promise: dict[str, Any] = {"type": _type(column)}
    if column.nulls:
        promise["nulls"] = _wider(column.nulls / column.rows)
    if column.kind == "number" and len(column.quantiles) and column.quantiles[0] < column.quantiles[-1]:
        promise["min"], promise["max"] = _bounds(column)
    if column.kind == "time" and column.quantiles:
        promise["min"] = value(column.quantiles[0], column)[:10]
    if promise["type"] == "string" and _are_few(column):
        promise["values"] = sorted(column.values)
    return promise


def _wider(part: float) -> float:
    """Round a share of nulls up with a little air: to one digit that counts, from a tenth on to twentieths, near all to hundredths."""
    if part < 0.1:
        wanted = max(part * HEADROOM, LEAST_NULLS)
        unit = 10.0 ** math.floor(math.log10(wanted))
    else:
        wanted, unit = part + AIR * min(part, 1 - part), 0.05 if part < 0.9 else 0.01
    rounded = round(math.ceil(round(wanted / unit, 6)) * unit, 9)
    return _plain(min(rounded, 0.1 if part < 0.1 else 1.0))


def _bounds(column: Profile) -> tuple[float, float]:
    """Round the extremes outward to readable numbers; a few whole numbers stay as they are."""
    low, high = column.quantiles[0], column.quantiles[-1]
    if _type(column) == "integer" and high - low <= WHOLE:
        return int(low), int(high)
    if max(abs(low), abs(high)) > HUGE:
        return low, high
    step = Fraction(10) ** (Decimal(high) - Decimal(low)).adjusted() / 2
    first, last = (float(found * step) for found in (math.floor(Fraction(low) / step), math.ceil(Fraction(high) / step)))
    return _plain(first), _plain(last)


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number


def _are_few(column: Profile) -> bool:
    shown = column.values
    return 0 < len(shown) == column.distinct <= FEW and column.known >= EACH * len(shown) and all(len(text) < LENGTH for text in shown)


def _seen(column: Profile) -> str:
    """Say what was seen, for the comment."""
    parts = [f"{share(column.nulls / column.rows)} null"] if column.nulls else []
    if column.quantiles and column.quantiles[0] == column.quantiles[-1]:
        parts.append(f"always {value(column.quantiles[0], column)}")
    elif column.quantiles:
        first, median, last = (value(column.quantiles[place], column) for place in (0, 3, -1))
        parts.append(f"{first} to {last}, median {median}")
    elif column.values and not _are_few(column):
        parts.append(f"{column.distinct:,} different, such as {printable(next(iter(column.values)))[:40]}")
    elif column.known and column.kind == "text":
        parts.append(f"about {column.distinct:,} different" if not column.values else f"most often {printable(next(iter(column.values)))[:40]}")
    return ", ".join(parts) or "only nulls"


def _flow(found: Any) -> str:
    """Write something on one line of YAML, as it may stand within another thing."""
    text = yaml.safe_dump([found], default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True).strip()
    return text[1:-1] if "\n" not in text else json.dumps(found)  # which is YAML, too
