"""The rows that a model learns from and is judged by: read from the table straight into the arrays that scikit-learn takes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.bundle import Input
from core.config import UseCase
from core.errors import UserError
from core.sampling import draw, lacking
from core.tables import inputs, splits

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH = 1 << 16
Rows = tuple["pd.DataFrame", NDArray[Any]]  # the model's inputs and the target


def examples(path: str | Path, usecase: UseCase, split: str, reads: tuple[Input, ...] | None = None, most: int | None = None) -> Rows:
    """Read the rows of one split: eight bytes a number, and eight a text, as equal texts are one object.

    Args:
        path: The table that transform made.
        usecase: The use case.
        split: train, validation or test, or several, such as train+validation.
        reads: The model's inputs, if other than the use case's.
        most: If there are more rows, draw so many by `train.seed`, and one at least of each class.

    Returns:
        The model's inputs, one column each, and the target; n rows in the table's order.

    Raises:
        UserError: There are no such rows, or a column is missing.
    """
    wanted = reads or inputs(usecase)
    with _opened(path, wanted) as file:
        parts = _parts(file, split)
        rows, chosen = _rows(parts), _chosen(file, usecase, split, parts, most)
        pieces = _pieces(file, split, parts, [*(item.name for item in wanted), usecase.target], chosen)
        return _filled(pieces, rows if chosen is None else len(chosen), wanted, usecase, {})


def batches(
    path: str | Path, usecase: UseCase, split: str, reads: tuple[Input, ...] | None = None, most: int | None = None, seed: int | None = None
) -> Iterator[Rows]:
    """Read what `examples` reads, some ten thousand rows at a time.

    Args:
        path: The table that transform made.
        usecase: The use case.
        split: train, validation or test, or several, such as train+validation.
        reads: As of `examples`.
        most: As of `examples`.
        seed: Of the order in which the table's row groups are read, if other than the table's.
    """
    wanted, texts = reads or inputs(usecase), dict[str, str]()
    with _opened(path, wanted) as file:
        parts = _parts(file, split)
        chosen = _chosen(file, usecase, split, parts, most)
        order = parts if seed is None else [parts[place] for place in np.random.default_rng(seed).permutation(len(parts))]
        for piece in _pieces(file, split, order, [*(item.name for item in wanted), usecase.target], chosen):
            yield _filled([piece], piece.num_rows, wanted, usecase, texts)


def target(path: str | Path, usecase: UseCase, split: str) -> NDArray[Any]:
    """Read the target of one split, and nothing else."""
    with _opened(path, ()) as file:
        pieces = _pieces(file, split, _parts(file, split), [usecase.target], None)
        return np.concatenate([_labels(piece.column(usecase.target), usecase) for piece in pieces])


def column(path: str | Path, split: str, name: str) -> NDArray[Any]:
    """Read any column of one split; a missing value is None or NaN."""
    with _opened(path, ()) as file:
        if name not in file.schema_arrow.names:
            raise UserError(f"the table has no column {name}: let features() make it")
        pieces = _pieces(file, split, _parts(file, split), [name], None)
        return np.concatenate([piece.column(name).to_numpy(zero_copy_only=False) for piece in pieces])


def require(names: Iterable[str], wanted: Sequence[Input]) -> None:
    """Refuse a table that lacks a column."""
    missing = {item.name for item in wanted} - set(names)
    if missing:
        raise UserError(f"the table has no column {', '.join(sorted(missing))}: let features() make it")


@contextmanager
def _opened(path: str | Path, wanted: Sequence[Input]) -> "Iterator[pq.ParquetFile]":
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, read_dictionary=[item.name for item in wanted if item.datatype == "BYTES"]) as file:
        require(file.schema_arrow.names, wanted)
        yield file


class _Part(NamedTuple):
    """A row group that holds rows of a split, and the number of the first of them among the split's rows."""

    group: int
    first: int
    rows: int


def _parts(file: "pq.ParquetFile", split: str) -> list[_Part]:
    import pyarrow.compute as pc

    found, first = [], 0
    for group in range(file.num_row_groups):
        rows = pc.sum(_among(file.read_row_group(group, columns=["split"]).column("split"), split)).as_py() or 0
        if rows:
            found.append(_Part(group, first, rows))
            first += rows
    if not found:
        raise UserError(f"there are no {split} rows: deliver more data or change the shares under split")
    return found


def _among(column: "pa.Array | pa.ChunkedArray", split: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    named = splits(split)
    return pc.equal(column, named[0]) if len(named) == 1 else pc.is_in(column, value_set=pa.array(named))


def _rows(parts: list[_Part]) -> int:
    return parts[-1].first + parts[-1].rows


def _chosen(file: "pq.ParquetFile", usecase: UseCase, split: str, parts: list[_Part], most: int | None) -> NDArray[np.int64] | None:
    """Draw row numbers: a model cannot answer with a class that it never saw."""
    if most is None or most >= _rows(parts):
        return None
    drawn = draw(_rows(parts), most, usecase.train.seed)
    if usecase.task == "regression":
        return drawn
    labels = (piece.column(usecase.target) for piece in _pieces(file, split, parts, [usecase.target], None))
    return np.union1d(drawn, lacking(labels, drawn))


def _pieces(file: "pq.ParquetFile", split: str, parts: list[_Part], names: list[str], chosen: NDArray[np.int64] | None) -> "Iterator[pa.RecordBatch]":
    """Read row group by row group what is of the split and, of that, what was chosen."""
    for part in parts:
        first = part.first
        for batch in file.iter_batches(BATCH, row_groups=[part.group], columns=[*names, "split"]):
            piece = batch.filter(_among(batch.column("split"), split))
            start, first = first, first + piece.num_rows
            if chosen is not None:
                low, high = np.searchsorted(chosen, [start, first])
                piece = piece.take(chosen[low:high] - start)
            if piece.num_rows:
                yield piece


def _filled(pieces: "Iterable[pa.RecordBatch]", rows: int, wanted: Sequence[Input], usecase: UseCase, known: dict[str, str]) -> Rows:
    """Copy pieces into one matrix of numbers and one of texts, which become the table as they are.

    Args:
        pieces: With the wanted columns and the target.
        rows: Of all pieces.
        wanted: The columns.
        usecase: The use case.
        known: Every text that was read so far.
    """
    numeric, textual = ([item.name for item in wanted if (item.datatype == "BYTES") == is_text] for is_text in (False, True))
    numbers, texts, labels = np.empty((len(numeric), rows)), np.empty((len(textual), rows), dtype=object), []
    start = 0
    for piece in pieces:
        end = start + piece.num_rows
        for line, name in zip(numbers, numeric, strict=True):
            line[start:end] = _numbers(piece.column(name), name)
        for line, name in zip(texts, textual, strict=True):
            line[start:end] = _texts(piece.column(name), name, known)
        labels.append(_labels(piece.column(usecase.target), usecase))
        start = end
    return _table(numbers, numeric, texts, textual, wanted), np.concatenate(labels)


def _numbers(column: "pa.Array", name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"a numeric feature holds no numbers ({name}: {error}): name it under features.categorical or convert it in features()"
        ) from error


def _texts(column: "pa.Array", name: str, known: dict[str, str]) -> NDArray[Any]:
    """Return the texts, NaN where one is missing."""
    coded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    values = coded.dictionary.to_pylist()
    wrong = next((value for value in values if not isinstance(value, str)), None)
    if wrong is not None:
        raise UserError(f"column {name} holds {wrong!r}: a text column takes strings; convert it in features()")
    names = np.array([*(known.setdefault(value, value) for value in values), np.nan], dtype=object)
    codes: NDArray[np.int32] = coded.indices.fill_null(len(values)).to_numpy()
    return names[codes]


def _labels(column: "pa.Array", usecase: UseCase) -> NDArray[Any]:
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)
    if usecase.task == "regression":
        return values.astype(np.float64)
    return values.astype(str) if values.dtype == object else values


def _table(numbers: NDArray[Any], numeric: list[str], texts: NDArray[Any], textual: list[str], wanted: Sequence[Input]) -> "pd.DataFrame":
    """Put both matrices side by side without a copy; with the dtypes of `core.bundle.frame`."""
    import pandas as pd

    both = [pd.DataFrame(numbers.T, columns=numeric, copy=False), pd.DataFrame(texts.T, columns=textual, dtype=object, copy=False)]
    table = pd.concat([part for part in both if len(part.columns)], axis=1)
    names = [item.name for item in wanted]
    return table if list(table) == names else table[names]
