"""The finite numbers of a column: their quantiles, and how many lie in each bin."""

from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
from numpy.typing import NDArray

from components.validate.violation import table
from core.tables import path_literal

SAMPLE = 100_000  # rows by which quantiles are told, chosen by a hash of their number: the same in every run

Numbers = NDArray[np.float64]


class Drawn(NamedTuple):
    """The numbers of a column in the rows that were looked at."""

    nulls: int
    distinct: int
    finite: Numbers  # sorted


def draw(connection: duckdb.DuckDBPyConnection, path: Path, columns: Mapping[str, str], rows: int) -> dict[str, Drawn]:
    """Look at all rows, or at about `SAMPLE` of them.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        columns: The SQL of each column's numbers.
        rows: How many rows the file has.
    """
    if not columns:
        return {}
    listed = ", ".join(f"{sql} AS n{index}" for index, sql in enumerate(columns.values()))
    source = f"read_parquet({path_literal(path)}, file_row_number = true, can_have_nan = true)"
    sample = f"WHERE hash(file_row_number) % {rows} < {SAMPLE}" if rows > SAMPLE else ""
    found = connection.execute(f"SELECT {listed} FROM {source} {sample}").fetchnumpy()  # noqa: S608
    return {name: _drawn(found.pop(f"n{index}")) for index, name in enumerate(columns)}


def _drawn(values: Any) -> Drawn:
    known = np.ma.compressed(values)
    known = known[~np.isnan(known)]
    finite = np.sort(known[np.isfinite(known)]) + 0.0  # of two zeros one
    return Drawn(len(values) - len(known), int(np.count_nonzero(np.diff(finite))) + min(len(finite), 1), finite)


def quantiles(numbers: Numbers, shares: Sequence[float]) -> list[float]:
    """Return those of sorted numbers which at least such shares of them do not exceed, as `quantile_disc` of SQL does."""
    size = len(numbers)
    return [float(numbers[max(size - floor(size - size * share), 1) - 1]) for share in shares] if size else []


def count(numbers: Numbers, edges: Sequence[float]) -> list[int]:
    """Count sorted numbers in bins: each up to its edge and with it, the last beyond the last edge."""
    below = np.searchsorted(numbers, edges, side="right")
    return [int(bin_count) for bin_count in np.diff(below, prepend=0, append=len(numbers))]


def count_all(connection: duckdb.DuckDBPyConnection, path: Path, columns: Sequence[tuple[str, Sequence[float]]]) -> list[list[int]]:
    """Count in one pass over all rows, which need not fit into memory.

    Args:
        connection: Where the SQL runs.
        path: The Parquet file.
        columns: The SQL of the numbers and the edges of each.
    """
    if not columns:
        return []
    wanted = ", ".join(f"histogram({sql}, {list(edges)}::DOUBLE[])" for sql, edges in columns)
    found = connection.execute(f"SELECT {wanted} FROM {table(path)}").fetchall()[0]  # noqa: S608
    return [_ordered(bins or {}, edges) for bins, (_, edges) in zip(found, columns, strict=True)]


def _ordered(bins: dict[float, int], edges: Sequence[float]) -> list[int]:
    """Put SQL's counts into the order of the edges, the one beyond the last behind them."""
    return [bins.get(edge, 0) for edge in edges] + [sum(number for edge, number in bins.items() if edge > edges[-1])]
