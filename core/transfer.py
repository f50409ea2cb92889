"""Many or large objects between a bucket and this machine: side by side, in little memory, each whole or not at all."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

from minio.error import S3Error

from core import retry
from core.calls import Calls, Interrupted, Pinned
from core.errors import UserError
from core.storage import client

THREADS = 16
BODY = 4 * 2**20  # bytes up to which an object is sent in one call, out of memory
LARGE, PART = 16 * 2**20, 8 * 2**20  # bytes from which on an object is read in parts, and those of one
PATIENCE = 30.0  # seconds that a server may be away in the middle of a transfer; at its start it is that of every call
PAUSES = (0.1, 2.0)  # seconds between two tries: the first, the longest
CHANGES = {"NoSuchKey": "deleted", "NoSuchVersion": "deleted", "PreconditionFailed": "overwritten", "InvalidRange": "overwritten"}

Item = TypeVar("Item")
Part = tuple[Pinned, Path, int, int]  # of what, into which file, from which byte up to which


def put(bucket: str, files: dict[str, Path]) -> None:
    """Upload files, by their keys.

    Raises:
        MinioException: The server refuses, or is away for too long.
    """
    connection, large = client(), {key for key, path in files.items() if path.stat().st_size > BODY}
    for key in sorted(large):
        connection.fput_object(bucket, key, str(files[key]))
    _Transfer(bucket).write([(key, path) for key, path in files.items() if key not in large])


def get(bucket: str, wanted: dict[Path, Pinned]) -> None:
    """Download objects into files that are not there yet, each as it was when it was listed.

    Raises:
        UserError: An object was overwritten or deleted since.
        MinioException: The server refuses, or is away for too long.
    """
    try:
        _Transfer(bucket).read(wanted)
    except S3Error as error:
        if error.code not in CHANGES:
            raise
        what = f"s3://{bucket}/{error.object_name} was {CHANGES[error.code]} after it was listed"
        raise UserError(f"{what}: run again, when nobody changes the data") from error


class _Transfer:
    """The state that the threads of one transfer share."""

    def __init__(self, bucket: str) -> None:
        self._calls = Calls(bucket)
        self._met, self._stopped = threading.Event(), threading.Event()  # the server has answered; a thread has failed

    def write(self, files: list[tuple[str, Path]]) -> None:
        """Send files, each in one call."""
        self._side_by_side(files, self._write)

    def read(self, wanted: dict[Path, Pinned]) -> None:
        """Fetch objects, small ones in one call, large ones in parts."""
        self._side_by_side(_parts(wanted), self._read)

    def _side_by_side(self, items: Iterable[Item], work: Callable[[Item], None]) -> None:
        """Do the work for every item; the first failure, or Ctrl-C, stops all."""
        turn, queue = threading.Lock(), iter(items)

        def drain() -> None:
            while not self._stopped.is_set():
                with turn:
                    item = next(queue, None)
                if item is None:
                    return
                work(item)

        with ThreadPoolExecutor(THREADS) as pool:
            try:
                for ended in as_completed([pool.submit(drain) for _ in range(THREADS)]):
                    ended.result()
            finally:
                self._stopped.set()

    def _write(self, item: tuple[str, Path]) -> None:
        patience = _Patience(self._met, self._stopped)
        while True:
            try:
                self._calls.write(*item)
                return self._met.set()
            except Interrupted as error:
                patience.wait(error)

    def _read(self, part: Part) -> None:
        item, path, start, end = part
        patience = _Patience(self._met, self._stopped)
        with path.open("xb" if end - start == item.size else "r+b") as file:
            if start:
                file.seek(start)
            while start < end:
                try:
                    for chunk in self._calls.read(item, start, end):
                        file.write(chunk)
                        start += len(chunk)
                        patience.renew()
                    if start < end:
                        raise Interrupted
                except Interrupted as error:
                    patience.wait(error)


class _Patience:
    """How long a call is made again: from its last success on."""

    def __init__(self, met: threading.Event, stopped: threading.Event) -> None:
        self._met, self._stopped = met, stopped
        self._since, self._pause = time.monotonic(), PAUSES[0]

    def renew(self) -> None:
        """Begin anew: there was progress."""
        self._met.set()
        self._since, self._pause = time.monotonic(), PAUSES[0]

    def wait(self, error: Interrupted) -> None:
        """Pause, or raise what is wrong if that was often enough."""
        longest = max(PATIENCE, retry.seconds()) if self._met.is_set() else retry.seconds()
        if time.monotonic() > self._since + longest or self._stopped.wait(self._pause):
            raise error.__cause__ if isinstance(error.__cause__, S3Error) else error
        self._pause = min(2 * self._pause, PAUSES[1])


def _parts(wanted: dict[Path, Pinned]) -> Iterator[Part]:
    """Yield small objects as they are; make the file of a large one in its full size, then yield what is to be read into it."""
    for folder in {path.parent for path in wanted}:
        folder.mkdir(parents=True, exist_ok=True)
    for path, item in wanted.items():
        if item.size < LARGE:
            yield item, path, 0, item.size
            continue
        with path.open("xb") as file:
            file.truncate(item.size)
        for start in range(0, item.size, PART):
            yield item, path, start, min(start + PART, item.size)
