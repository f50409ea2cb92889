"""Messages as rows: what is common to all formats."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PLACE = [("_partition", pa.int32()), ("_offset", pa.int64()), ("_timestamp", pa.timestamp("ms", "UTC")), ("_key", pa.string())]
NAMES = {name for name, _ in PLACE}
BAD = pa.schema([("place", pa.string()), ("reason", pa.string()), ("record", pa.binary())])
EXAMPLES, CUT = 1000, 1000  # records that the side table keeps, and bytes of each


class Unreadable(ValueError):
    """Why a message's value is no row."""


@dataclass(frozen=True)
class Decoder:
    """A format, for one topic."""

    schema: pa.Schema  # of the value's columns
    row: Callable[[bytes], dict[str, Any]]  # raises Unreadable
    column: Callable[[pa.Field, list[Any]], pa.Array] = lambda named, values: pa.array(values, named.type)  # raises Unreadable or ValueError
    within: Callable[[], AbstractContextManager[None]] = nullcontext  # while rows are decoded

    @property
    def table(self) -> pa.Schema:
        """The columns of the table."""
        return pa.schema([named for named in self.schema if named.name not in NAMES] + PLACE)


@dataclass
class Tally:
    """What was found while decoding."""

    rows: int = 0
    bad: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def note(self, partition: int, offset: int, reason: str, record: bytes | None) -> None:
        """Count a record that could not be read, and keep it if there are not yet too many."""
        self.bad += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"place": f"partition {partition}, offset {offset}", "reason": reason[:CUT], "record": (record or b"")[:CUT]})


def write(batches: Iterator[pa.RecordBatch], decoder: Decoder, target: Path, tally: Tally, keyed: bool) -> None:
    """Write the rows of raw batches as one Parquet file.

    Args:
        batches: With the columns of `messages.SCHEMA`; a message without a value is no row.
        decoder: The format.
        target: The file.
        tally: Where rows and bad records are counted.
        keyed: Whether a message without a key is a bad record.
    """
    with pq.ParquetWriter(target, decoder.table) as writer, decoder.within():
        for batch in batches:
            kept = batch.filter(pc.is_valid(batch.column("value")))
            values: list[bytes] = kept.column("value").to_pylist()
            columns, wrong = _columns(decoder, values)
            if keyed:
                wrong |= dict.fromkeys(
                    pc.indices_nonzero(pc.is_null(kept.column("_key"))).to_pylist(), "it has no key, which latest_per_key asks for"
                )
            for place in sorted(wrong):
                tally.note(kept["_partition"][place].as_py(), kept["_offset"][place].as_py(), wrong[place], values[place])
            writer.write_batch(_rows(decoder, kept, columns, wrong))
            tally.rows += kept.num_rows - len(wrong)


def _columns(decoder: Decoder, values: list[bytes]) -> tuple[list[pa.Array], dict[int, str]]:
    """Decode values.

    Returns:
        The columns, with a row of nulls for each that cannot be read; and of these the reasons, by their place.
    """
    rows: list[dict[str, Any]] = []
    wrong: dict[int, str] = {}
    for place, value in enumerate(values):
        try:
            rows.append(decoder.row(value))
        except Unreadable as error:
            rows.append({})
            wrong[place] = str(error)
    return [_column(decoder, named, rows, wrong) for named in decoder.table if named.name not in NAMES], wrong


def _column(decoder: Decoder, named: pa.Field, rows: list[dict[str, Any]], wrong: dict[int, str]) -> pa.Array:
    values = [row.get(named.name) for row in rows]
    try:
        return decoder.column(named, values)
    except (ValueError, TypeError, OverflowError):  # Arrow's errors are these, too
        for place, value in enumerate(values):
            try:
                decoder.column(named, [value])
            except (ValueError, TypeError, OverflowError) as error:
                wrong.setdefault(place, str(error))
                values[place] = None
        return decoder.column(named, values)


def _rows(decoder: Decoder, kept: pa.RecordBatch, columns: list[pa.Array], wrong: dict[int, str]) -> pa.RecordBatch:
    places = [kept.column("_partition"), kept.column("_offset"), kept.column("_timestamp"), _text(kept.column("_key"))]
    whole = pa.record_batch([*columns, *places], schema=decoder.table)
    return whole.take(pa.array([place for place in range(kept.num_rows) if place not in wrong], pa.int64())) if wrong else whole


def _text(keys: pa.Array) -> pa.Array:
    """Return keys as text, those that are none in hexadecimal digits."""
    try:
        return keys.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_digits(key) for key in keys.to_pylist()], pa.string())


def _digits(key: bytes | None) -> str | None:
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return f"0x{key.hex()}"
