"""The reading: a Parquet file for each part, several connections side by side, batch by batch."""

import queue
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.parquet as pq
from adbc_driver_manager._reader import AdbcRecordBatchReader
from adbc_driver_postgresql import StatementOptions

from components.extract.delivery import Request
from components.extract.sources.postgresql import session, survey
from core.errors import UserError
from core.sources import PostgresqlSource
from core.tables import identifier

CONNECTIONS = 4  # at a time, besides the one that holds the snapshot
BATCH = 2 * 2**20  # bytes, about


@dataclass(frozen=True)
class Plan:
    """What is to be read."""

    relation: str
    condition: str
    survey: survey.Survey
    snapshot: session.Snapshot


class _Work:
    """The parts that are still to be read, and a way to stop."""

    def __init__(self, parts: list[tuple[Path, str]], schema: pa.Schema) -> None:
        self.parts: queue.SimpleQueue[tuple[Path, str]] = queue.SimpleQueue()
        for part in parts:
            self.parts.put(part)
        self.schema = schema
        self.stopped = False


def read(source: PostgresqlSource, request: Request, plan: Plan) -> list[Path]:
    """Read all parts.

    Raises:
        UserError: They have other rows than were counted.
    """
    found = plan.survey
    values = ", ".join(f"{column.value} AS {identifier(column.name)}" for column in found.columns)
    texts = [f"SELECT {values} FROM {plan.relation} WHERE {plan.condition} AND {part}" for part in survey.between(found)]  # noqa: S608
    files = [request.folder / f"{number:05}.parquet" for number in range(len(texts))]
    work = _Work(list(zip(files, texts, strict=True)), pa.schema([(column.name, column.arrow) for column in found.columns]))
    with session.arrow_readers(source, request, plan.snapshot, min(CONNECTIONS, len(files))) as readers:
        rows = _side_by_side(work, readers)
    pa.default_memory_pool().release_unused()  # for who works next in this process
    if rows != found.rows:
        raise UserError(
            f"source {request.name}: {source.address} has other rows each time ({found.rows:,} when counted, {rows:,} when read): "
            "take random() or the like out of the query"
        )
    return files


def _side_by_side(work: _Work, readers: list[adbc.Connection]) -> int:
    """Let each connection read one part after the other; the first that fails stops all."""
    with ThreadPoolExecutor(len(readers)) as pool:
        running = {pool.submit(_drain, work, reader) for reader in readers}
        try:
            rows = sum(future.result() for future in wait(running, return_when=FIRST_EXCEPTION).done)
        except BaseException:
            work.stopped = True
            while wait(running, timeout=0.1).not_done:  # again and again: a statement may just be beginning
                for reader in readers:
                    reader.adbc_cancel()
            raise
    return rows


def _drain(work: _Work, reader: adbc.Connection) -> int:
    rows = 0
    while not work.stopped:
        try:
            path, text = work.parts.get_nowait()
        except queue.Empty:
            break
        rows += _write(work, reader, path, text)
    return rows


def _write(work: _Work, reader: adbc.Connection, path: Path, text: str) -> int:
    rows = 0
    with reader.cursor() as cursor, pq.ParquetWriter(path, work.schema, compression="lz4", use_dictionary=False) as writer:
        cursor.adbc_statement.set_options(**{StatementOptions.BATCH_SIZE_HINT_BYTES.value: str(BATCH)})
        cursor.execute(text)
        for batch in _batches(cursor):
            if work.stopped:
                break
            writer.write_batch(_typed(batch, work.schema))
            rows += batch.num_rows
    return rows


def _batches(cursor: adbc.Cursor) -> Iterator[pa.RecordBatch]:
    """Yield what `fetch_record_batch` does, but with errors that have their SQLSTATE."""
    handle = cursor.fetch_arrow()  # released with its last reference
    yield from AdbcRecordBatchReader._import_from_c(handle.address)


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Make decimals of their text, and leave PostgreSQL's notes on the types behind."""
    arrays = [array.cast(field.type) for array, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
