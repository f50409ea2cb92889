"""Of each key only the last message: what a compacted topic would keep."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from components.extract.sources.kafka.messages import ROWS, SCHEMA
from core.tables import connect

QUERY = """
SELECT * FROM messages
WHERE _key IS NULL OR _offset IN (SELECT max(_offset) FROM messages WHERE _key IS NOT NULL GROUP BY _key)
ORDER BY _offset
"""


@contextmanager
def latest(file: Path, memory: str) -> Iterator[Iterator[pa.RecordBatch]]:
    """Open the last message of each key of one partition's file, within the memory limit.

    A tombstone is the last message of its key, too. Messages without a key are all there.
    """
    with connect(memory) as connection:
        connection.register("messages", ds.dataset(file, format="ipc"))
        found: pa.RecordBatchReader = connection.sql(QUERY).to_arrow_reader(ROWS)
        yield (batch.cast(SCHEMA) for batch in found)
