"""The prediction log: a sample of what was asked and answered, as Parquet in object storage.

The event loop leaves each sampled request in a bounded buffer and goes on; a thread of the log's own does the rest. What does not fit is dropped,
a whole request at a time, and counted; what was accepted is written, or counted as lost at the end.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event, Thread
from typing import TYPE_CHECKING

from core.bundle import Manifest
from core.engines import Answers, Columns
from core.storage import root, write
from serving.prediction_table import BREATH, SLICE_ROWS, Entry, Kept, keep, parquet

if TYPE_CHECKING:
    from serving.model import Version

POLL = 0.1  # seconds between two looks at the buffer: a signal from the event loop would cost each request more
FIRST_PAUSE, LONGEST_PAUSE, LAST_PAUSE = 1.0, 30.0, 0.5  # seconds between attempts to write: at first, in the end, and once the server leaves
ENTRY_BYTES, NUMBER_BYTES, TEXT_BYTES, CHARACTER_BYTES = 600, 32, 64, 4  # what Python needs for them, rather too much than too little
ID_CHARACTERS = 256
DAY = 86_400_000_000  # microseconds

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """When an object is written, and how much waits at most.

    Attributes:
        object_rows: As soon as so many rows wait.
        object_seconds: As soon as one waits so long.
        rows: How many rows wait at most, those of the object on its way included.
        size: How many bytes they may take, as estimated.
    """

    object_rows: int = 10_000
    object_seconds: float = 60.0
    rows: int = 50_000
    size: int = 64 * 1024 * 1024


class PredictionLog:
    """Takes requests on the event loop's thread and writes them on its own.

    Args:
        version: Which version answers.
        manifest: What the model reads and answers.
        sample: Share of requests that are kept, drawn at random, each whole.
        limits: When they are written, and how much waits.

    Attributes:
        logged_rows: Rows that are in object storage.
        failed_uploads: Attempts to write an object that failed; each is repeated.
    """

    def __init__(self, version: Version, manifest: Manifest, sample: float, limits: Limits = Limits()) -> None:
        self._version, self._manifest, self._sample, self._limits = version, manifest, sample, limits
        self._folder = f"{root('predictions')}/{version.name}/version={version.version}"
        self._texts = [place for place, item in enumerate(manifest.inputs) if item.datatype == "BYTES"]
        numbers = len(manifest.inputs) - len(self._texts) + len(manifest.classes or ()) + 1
        self._row_size = NUMBER_BYTES * numbers + TEXT_BYTES * len(self._texts)
        self._entries: deque[Kept] = deque()
        # Each number is changed by one thread alone: additions of two would be lost.
        self._accepted_rows = self._refused_rows = self._lost_rows = self._accepted_size = self._written_size = 0
        self.logged_rows = self.failed_uploads = 0
        self._open = True
        self._closing, self._ended = Event(), Event()
        self._thread: Thread | None = None
        self._failure = ""

    @property
    def size(self) -> int:
        """Bytes that the rows of the log may take, as estimated."""
        return self._limits.size

    @property
    def buffered_rows(self) -> int:
        """Rows that are accepted and not written yet."""
        return self._accepted_rows - self.logged_rows - self._lost_rows

    @property
    def dropped_rows(self) -> int:
        """Sampled rows that are not in the log, and never will be."""
        return self._refused_rows + self._lost_rows

    def start(self) -> None:
        """Begin to write. What goes wrong is said in the server's log, and never stops the server."""
        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it would tell of each attempt; we tell of the first
        try:
            import pyarrow.parquet  # noqa: F401  now, while no request waits for the interpreter
        except ImportError as error:
            self._open = False
            logger.warning("predictions are not logged: pyarrow cannot be imported (%s)", error)
            return
        self._thread = Thread(target=self._write_all, name="prediction-log", daemon=True)
        self._thread.start()

    def draws(self) -> bool:
        """Say by chance whether a request is one of the sample."""
        return random.random() < self._sample  # noqa: S311

    def offer(self, columns: Columns, answers: Answers, request_id: str, trace: str = "") -> None:
        """Take an answered request of the sample, or leave it if there is no room. On the event loop's thread alone.

        Args:
            columns: What the model read; not changed afterwards.
            answers: What it answered.
            request_id: The client's, empty if it gave none. Cut at 256 characters, as is the trace: both come from strangers.
            trace: The W3C trace context, empty if there is none.
        """
        rows, request_id, trace = len(columns[0]), request_id[:ID_CHARACTERS], trace[:ID_CHARACTERS]
        size = ENTRY_BYTES + rows * self._row_size + CHARACTER_BYTES * (len(request_id) + len(trace))
        for place in self._texts:
            size += CHARACTER_BYTES * sum(map(len, filter(None, columns[place])))
        if not self._has_room(rows, size):
            self._refused_rows += rows
            return
        self._accepted_rows += rows
        self._accepted_size += size
        self._entries.append(keep(columns, answers, rows, request_id, trace, size))

    def close(self, seconds: float) -> None:
        """Write what was accepted, for some seconds at most; say and count what could not be written. A second time it does nothing."""
        if self._ended.is_set():
            return
        self._open = False
        self._closing.set()
        if self._thread:
            self._thread.join(seconds)
        self._ended.set()
        lost = self.buffered_rows
        self._lost_rows += lost
        if lost:
            logger.warning("the prediction log lost %d rows that were not written in time%s", lost, self._failure and f": {self._failure}")
        logger.info("prediction log: %d rows written, %d dropped", self.logged_rows, self.dropped_rows)

    def _has_room(self, rows: int, size: int) -> bool:
        return self._open and self.buffered_rows + rows <= self._limits.rows and self._accepted_size - self._written_size + size <= self._limits.size

    def _write_all(self) -> None:
        while self._wait():
            batch = take(self._entries, self._limits.object_rows)
            try:
                data = parquet(batch.entries, self._manifest, self._version)
            except Exception as error:  # its message may hold feature values
                self._lost_rows += batch.rows
                logger.error("the prediction log lost %d rows: %s while they were put into Parquet", batch.rows, type(error).__name__)
            else:
                self._deliver(self._uri(batch.time), data, batch.rows)
            self._written_size += batch.size

    def _wait(self) -> bool:
        """Wait until an object is due; say whether there is one."""
        since: float | None = None
        while not self._closing.is_set():
            since = (since or time.monotonic()) if self._entries else None
            if since and (self.buffered_rows >= self._limits.object_rows or time.monotonic() - since >= self._limits.object_seconds):
                break
            self._closing.wait(POLL)
        return bool(self._entries) and not self._ended.is_set()

    def _deliver(self, uri: str, data: bytes, rows: int) -> None:
        """Put the object, again and again under the same name: what was written although the answer got lost is not there twice."""
        pause = FIRST_PAUSE
        while not self._put(uri, data):
            if self._ended.wait(LAST_PAUSE if self._closing.is_set() else 0):
                return
            self._closing.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        if not self._ended.is_set():  # else they count as lost
            self.logged_rows += rows

    def _put(self, uri: str, data: bytes) -> bool:
        try:
            write(uri, data, "application/vnd.apache.parquet")
        except Exception as error:
            self.failed_uploads += 1
            if not self._failure:
                logger.warning("predictions are not logged for now, it is tried again: %s", error)
            self._failure = str(error)
            return False
        if self._failure and not self._ended.is_set():
            logger.info("predictions are logged again")
        self._failure = ""
        return True

    def _uri(self, microseconds: int) -> str:
        began = datetime.fromtimestamp(microseconds / 1e6, UTC)
        return f"{self._folder}/date={began:%Y-%m-%d}/{began:%H%M%S}-{uuid.uuid4().hex}.parquet"


@dataclass
class Batch:
    """Requests of one object: `time` is the first one's."""

    time: int
    entries: deque[Kept] = field(default_factory=deque)
    rows: int = 0
    size: int = 0


def take(waiting: deque[Kept], rows: int) -> Batch:
    """Take whole requests of one day (UTC) from the buffer, until there are so many rows."""
    batch = Batch(Entry(*waiting[0]).time)
    while waiting and batch.rows < rows:
        entry = Entry(*waiting[0])
        if entry.time // DAY != batch.time // DAY:
            break
        batch.entries.append(waiting.popleft())
        batch.rows += entry.rows
        batch.size += entry.size
        if len(batch.entries) % SLICE_ROWS == 0:
            time.sleep(BREATH)
    return batch
