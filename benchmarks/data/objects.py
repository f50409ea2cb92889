"""Many small objects to an S3 server and back: this repository's transfers beside obstore by itself, in alternating rounds.

Both read the objects' list, the files from one folder and write them into another; this repository's also pins each object's version.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from obstore.store import S3Store
from rich.console import Console
from rich.table import Table

from benchmarks.options import is_quick
from components.extract.sources.s3.listing import listed
from core import storage
from core.signals import terminable
from core.transfer import THREADS, get
from local import ports, s3

OBJECTS, SIZE = 2000, 4096
ROUNDS = 3
GOAL = 1.3  # wall time against obstore's
BUCKET = "data"


class Cost(NamedTuple):
    """What one round took, in seconds."""

    wall: float
    cpu: float


def main() -> None:
    """Measure and print."""
    objects, rounds = (50, 1) if is_quick("benchmarks.data.objects", __doc__) else (OBJECTS, ROUNDS)
    with terminable(), tempfile.TemporaryDirectory(prefix="bench-objects-") as scratch, _server(Path(scratch, "s3")):
        files = _files(Path(scratch, "files"), objects)
        found = {name: _compared(Path(scratch), rounds, *both) for name, both in _works(files).items()}
    table = Table("", "here", "obstore", "ratio", f"goal {GOAL}", "CPU here", "CPU obstore", "ratio", title=f"{objects:,} objects of {SIZE:,} bytes")
    for name, (here, there) in found.items():
        ratio = here.wall / there.wall
        table.add_row(
            *(name, f"{here.wall:.2f} s", f"{there.wall:.2f} s", f"{ratio:.2f}", "reached" if ratio <= GOAL else "missed"),
            *(f"{here.cpu:.2f} s", f"{there.cpu:.2f} s", f"{here.cpu / there.cpu:.2f}"),
        )
    Console().print(table, f"medians of {rounds} rounds; CPU of the client; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[None]:
    """Start an S3 server that the environment then names."""
    folder.mkdir()
    port = ports.choose("MLOPS_BENCH_PORT", 0, s3.ports)
    key, secret = "bench", "bench-secret"
    with (folder.parent / "s3.log").open("wb") as log:
        server = subprocess.Popen(s3.command(port, folder), env=os.environ | s3.environment(key, secret), stdout=log, stderr=log)
    try:
        while not s3.ready(port, key, secret):
            if server.poll() is not None:
                raise SystemExit(f"the S3 server ended: {(folder.parent / 's3.log').read_text()[-2000:]}")
            time.sleep(0.1)
        os.environ |= {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        yield
    finally:
        server.terminate()
        server.wait()


def _files(folder: Path, objects: int) -> Path:
    folder.mkdir()
    for number in range(objects):
        (folder / f"{number:06}").write_bytes(os.urandom(SIZE))
    return folder


def _works(files: Path) -> dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]]:
    """Return what is measured: here, and by obstore."""
    store = S3Store(
        BUCKET,
        endpoint=os.environ["AWS_ENDPOINT_URL_S3"],
        access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=os.environ["AWS_SECRET_ACCESS_KEY"],
        region="us-east-1",
        client_options={"allow_http": True},
    )
    return {
        "up": (lambda _: storage.upload(files, f"s3://{BUCKET}/here"), lambda _: _up(store, files)),
        "down": (_down_here, lambda folder: _down(store, folder)),
    }


def _down_here(folder: Path) -> None:
    get(BUCKET, {folder / Path(item.key).name: item for item in listed(f"s3://{BUCKET}/here/", BUCKET, "here/")})


def _up(store: S3Store, files: Path) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda file: store.put(f"there/{file.name}", file), sorted(files.iterdir())))


def _down(store: S3Store, folder: Path) -> None:
    keys = [item["path"] for page in store.list("there") for item in page]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda key: (folder / Path(key).name).write_bytes(store.get(key).bytes()), keys))


def _compared(scratch: Path, number: int, here: Callable[[Path], None], there: Callable[[Path], None]) -> tuple[Cost, Cost]:
    """Measure both in turn, after a round that does not count."""
    rounds = [(_timed(scratch, here), _timed(scratch, there)) for _ in range(number + 1)][1:]
    costs = [Cost(statistics.median(each.wall for each in side), statistics.median(each.cpu for each in side)) for side in zip(*rounds, strict=True)]
    return costs[0], costs[1]


def _timed(scratch: Path, work: Callable[[Path], None]) -> Cost:
    folder = scratch / "down"
    folder.mkdir()
    wall, cpu = time.perf_counter(), time.process_time()
    work(folder)
    cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)
    shutil.rmtree(folder)
    return cost


if __name__ == "__main__":
    main()
