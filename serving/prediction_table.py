"""What was asked and answered, as Parquet: the columns of the prediction log, built so that no step keeps the interpreter long.

Arrow's arrays are made of NumPy's buffers: `pyarrow.array` would import pandas, which is half as much memory again as the server has.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.bundle import Datatype, Input, Manifest
from core.engines import Answers, Columns

if TYPE_CHECKING:
    import pyarrow as pa

    from serving.model import Version

OWN = ("_prediction", "_probability", "_request_id", "_trace", "_time", "_row")  # the log's own columns, after the features
PARTITIONS = ("version", "date")  # columns that readers make of the object's address
FEW_ROWS = 16
SLICE_ROWS = 1000
BREATH = 0.0001  # seconds: the event loop, if it waits for the interpreter, gets it now and not when it is taken by force, 5 ms later


Kept = tuple[Any, ...]  # an Entry as it waits: the garbage collector does not walk a plain tuple of such values


class Entry(NamedTuple):
    """One request that was answered.

    Attributes:
        columns: What the model read, one sequence a feature.
        is_flat: Whether the columns stand one after the other in a single tuple instead.
        predict: The labels, None where the client did not ask for them.
        predict_proba: The probabilities, None where there are none.
        rows: How many rows it has.
        request_id: The client's, or empty.
        trace: The trace context, or empty.
        time: Microseconds since 1970.
        size: Bytes that it takes, as estimated.
        first: The place of its first row; more than 0 if this is a part of it.
    """

    columns: Sequence[Any]
    is_flat: bool
    predict: NDArray[Any] | None
    predict_proba: NDArray[Any] | None
    rows: int
    request_id: str
    trace: str
    time: int
    size: int
    first: int = 0

    def column(self, place: int) -> Sequence[Any]:
        """Return the values of a feature."""
        return self.columns[place * self.rows : (place + 1) * self.rows] if self.is_flat else self.columns[place]

    def part(self, start: int, stop: int) -> Entry:
        """Return some of the rows of a large request."""
        columns = [column[start:stop] for column in self.columns]
        predict, proba = (None if answer is None else answer[start:stop] for answer in (self.predict, self.predict_proba))
        return Entry(columns, False, predict, proba, min(stop, self.rows) - start, self.request_id, self.trace, self.time, 0, start)


def keep(columns: Columns, answers: Answers, rows: int, request_id: str, trace: str, size: int) -> Kept:
    """Keep a request: nothing of a batch, which would be kept whole, and no small lists, which the garbage collector would walk."""
    is_flat = rows <= FEW_ROWS
    kept = tuple(chain.from_iterable(columns)) if is_flat else columns
    predict, proba = _own(answers.get("predict")), _own(answers.get("predict_proba"))
    return (kept, is_flat, predict, proba, rows, request_id, trace, time.time_ns() // 1000, size)


def parquet(entries: deque[Kept], manifest: Manifest, version: Version) -> bytes:
    """Write requests as one Parquet object, a row a row.

    Args:
        entries: The requests. They are taken out: to let all go at once would keep the interpreter for long.
        manifest: What the model reads and answers.
        version: Which version answered.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = _columns(manifest)
    batches = [[_breathing(build, some) for build in columns.values()] for some in _slices(entries)]
    table = pa.Table.from_batches([pa.RecordBatch.from_arrays(arrays, list(columns)) for arrays in batches])
    about = {"model": version.name, "version": version.version, "digest": version.digest, "classes": json.dumps(manifest.classes)}
    about |= {"positive": json.dumps(manifest.positive)}
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata(about), sink, compression="zstd")
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def names(inputs: Iterable[Input]) -> list[str]:
    """Return the columns' names of the features: their own, with `feature_` before one that is taken; DuckDB knows no case."""
    taken, found = {*OWN, *PARTITIONS}, []
    for item in inputs:
        name = item.name
        while name.lower() in taken:
            name = f"feature_{name}"
        taken.add(name.lower())
        found.append(name)
    return found


def _own(answer: NDArray[Any] | None) -> NDArray[Any] | None:
    return answer if answer is None or answer.base is None else answer.copy()


Build = Callable[[Sequence[Entry]], "pa.Array"]


def _columns(manifest: Manifest) -> dict[str, Build]:
    """Return what builds each column."""
    features = {name: _feature(place, item) for place, (name, item) in enumerate(zip(names(manifest.inputs), manifest.inputs, strict=True))}
    label = next(output.datatype for output in manifest.outputs if output.name == "predict")
    return features | {
        "_prediction": lambda entries: _array(label, _each(_predictions(entry) for entry in entries)),
        "_probability": _probabilities,
        "_request_id": lambda entries: _array("BYTES", _each(repeat(entry.request_id, entry.rows) for entry in entries)),
        "_trace": lambda entries: _array("BYTES", _each(repeat(entry.trace or None, entry.rows) for entry in entries)),
        "_time": lambda entries: _times(_array("INT64", _each(repeat(entry.time, entry.rows) for entry in entries))),
        "_row": lambda entries: _array("INT64", _each(range(entry.first, entry.first + entry.rows) for entry in entries)),
    }


def _feature(place: int, item: Input) -> Build:
    return lambda entries: _array(item.datatype, _each(entry.column(place) for entry in entries))


def _each(parts: Iterable[Iterable[Any]]) -> list[Any]:
    return list(chain.from_iterable(parts))


def _slices(entries: deque[Kept]) -> Iterator[list[Entry]]:
    """Put the rows into portions, of which none has more than twice SLICE_ROWS."""
    some: list[Entry] = []
    rows = 0
    while entries:
        entry = Entry(*entries.popleft())
        for start in range(0, entry.rows, SLICE_ROWS):
            some.append(entry.part(start, start + SLICE_ROWS) if entry.rows > SLICE_ROWS else entry)
            rows += some[-1].rows
            if rows >= SLICE_ROWS:
                yield some
                some, rows = [], 0
    if some:
        yield some


def _breathing(build: Build, entries: Sequence[Entry]) -> pa.Array:
    array = build(entries)
    time.sleep(BREATH)
    return array


def _predictions(entry: Entry) -> Iterable[Any]:
    """Return the labels; there are none where a client asked for the probabilities alone."""
    return repeat(None, entry.rows) if entry.predict is None else entry.predict.tolist()


def _probabilities(entries: Sequence[Entry]) -> pa.Array:
    import pyarrow as pa

    found = [entry.predict_proba for entry in entries]
    widths = [0 if proba is None else proba.shape[1] for proba in found]
    lengths = np.repeat(widths, [entry.rows for entry in entries])
    values = np.concatenate([np.empty(0), *(proba.ravel() for proba in found if proba is not None)])
    buffers = [_bits(lengths > 0), _offsets(lengths)]
    return pa.Array.from_buffers(pa.list_(pa.float64()), len(lengths), buffers, children=[_array("FP64", values)])


def _times(numbers: pa.Array) -> pa.Array:
    import pyarrow as pa

    return numbers.view(pa.timestamp("us", tz="UTC"))


def _array(datatype: Datatype, values: Sequence[Any] | NDArray[np.float64]) -> pa.Array:
    """Build a column; None and NaN are null."""
    import pyarrow as pa

    if datatype == "BYTES":
        texts = [b"" if value is None else value.encode("utf-8", "replace") for value in values]
        known = np.array([value is not None for value in values], dtype=bool)
        return pa.Array.from_buffers(pa.string(), len(values), [_bits(known), _offsets(list(map(len, texts))), pa.py_buffer(b"".join(texts))])
    if datatype == "FP64":  # as the engines do it
        numbers = np.array(values, dtype=np.float64)
        return pa.Array.from_buffers(pa.float64(), len(numbers), [_bits(~np.isnan(numbers)), pa.py_buffer(numbers)])
    known = np.array([value is not None for value in values], dtype=bool)
    filled = np.array([value or 0 for value in values], dtype=np.int64)
    if datatype == "BOOL":
        return pa.Array.from_buffers(pa.bool_(), len(filled), [_bits(known), _bits(filled != 0)])
    return pa.Array.from_buffers(pa.int64(), len(filled), [_bits(known), pa.py_buffer(filled)])


def _bits(flags: NDArray[np.bool_]) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _offsets(lengths: Any) -> pa.Buffer:
    import pyarrow as pa

    return pa.py_buffer(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
