"""Features from which the target may follow. A sample of rows clears nearly all of them, without a query for each of ten thousand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.config import UseCase

SAMPLE = 20_000  # rows: a feature that gives the answer gives it in any of them
MANY = 1000  # rows, from which on a threshold that never errs is no accident
AT_ONCE = 100  # columns that are held at a time
NEARLY = 1 - 1e-9  # of a correlation: all rows decide whether it is exact


def suspects(usecase: UseCase, path: Path) -> Iterator[str]:
    """Yield each feature that gives the target in the first rows of the table: all rows then decide."""
    names = usecase.features.names
    with pq.ParquetFile(path) as file:
        target = _target(_first_rows(file, [usecase.target]).column(0), is_number=usecase.task == "regression")
        for start in range(0, len(names), AT_ONCE):
            some = list(names[start : start + AT_ONCE])
            rows = _first_rows(file, some)
            for name in some:
                if _may_answer(rows.column(name), target, is_numeric=name in usecase.features.numeric):
                    yield name


@dataclass(frozen=True)
class _Target:
    """The target of the sample.

    Attributes:
        codes: Of each row, the number of its value.
        values: How many different ones there are.
        numbers: Of a regression, the target itself.
        order: The rows, those of one value together.
        starts: Where in that order each value begins.
    """

    codes: NDArray[np.int64]
    values: int
    numbers: NDArray[np.float64] | None
    order: NDArray[np.int64]
    starts: NDArray[np.int64]


def _target(column: pa.ChunkedArray, *, is_number: bool) -> _Target:
    codes, values = _coded(column)
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return _Target(codes, values, _numbers(column) if is_number else None, order, starts)


def _first_rows(file: pq.ParquetFile, names: list[str]) -> pa.Table:
    batches, rows = [], 0
    for batch in file.iter_batches(SAMPLE, columns=names):
        batches.append(batch)
        rows += batch.num_rows
        if rows >= SAMPLE:
            break
    return pa.Table.from_batches(batches).slice(0, SAMPLE).combine_chunks()


def _may_answer(column: pa.ChunkedArray, target: _Target, *, is_numeric: bool) -> bool:
    """Tell whether a feature gives the target by its values, by a line or by a threshold."""
    if target.values == 1:
        return True
    if is_numeric:
        numbers = _numbers(column)
        if _is_line(numbers, target.numbers) if target.numbers is not None else _is_apart(numbers, target):
            return True
    codes, values = _coded(column)
    if values == len(codes) and (target.values < values or (is_numeric and target.numbers is not None)):
        return False  # no value is there twice, nor is it the target itself
    seen = np.empty(values, dtype=np.int64)
    seen[codes] = target.codes
    return bool((seen[codes] == target.codes).all())


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """Return the number of each row's value, null being one, and how many values there are."""
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    return coded.indices.to_numpy().astype(np.int64), len(coded.dictionary)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return numbers, NaN where one is missing."""
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _is_line(numbers: NDArray[np.float64], target: NDArray[np.float64]) -> bool:
    known = ~np.isnan(numbers)
    if not known.any():
        return False
    one, other = numbers[known] - numbers[known].mean(), target[known] - target[known].mean()
    spread = np.sqrt((one @ one) * (other @ other))
    return bool(abs(one @ other) > NEARLY * spread > 0)


def _is_apart(numbers: NDArray[np.float64], target: _Target) -> bool:
    """Tell whether the classes lie beside each other on the feature's scale, without one exception."""
    if (~np.isnan(numbers)).sum() < MANY:
        return False
    sorted_numbers = numbers[target.order]
    least, most = np.fmin.reduceat(sorted_numbers, target.starts), np.fmax.reduceat(sorted_numbers, target.starts)
    known = ~np.isnan(least)
    order = np.lexsort((most[known], least[known]))
    least, most = least[known][order], most[known][order]
    return len(least) > 1 and bool((least[1:] > most[:-1]).all())
