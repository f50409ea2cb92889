"""A dataset on S3: Parquet files under the run's id, then the one put of the manifest that makes them the dataset; and pages."""

import contextlib
import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from components.load import manifest
from components.load.manifest import File, Manifest
from components.load.request import Request
from core import storage
from core.errors import UserError
from core.tables import connect, identifier, literal, path_literal
from core.targets import S3Target

FILES = "data/"
MOST_PARTITIONS = 10_000


def send(target: S3Target, request: Request) -> bool:
    """Write the files beside those that are read, then switch."""
    present = manifest.read(target.uri)
    if present.knows(request.run):
        return False
    columns = {field.name: str(field.type) for field in pq.read_schema(request.rows)}
    _check(target, request, columns)
    with contextlib.suppress(UserError):  # no right to delete must not stand in the way of writing
        _clean(target.uri, present)
    with tempfile.TemporaryDirectory() as folder:
        files = _split(target, request, Path(folder))
        storage.upload(Path(folder), f"{target.uri}{FILES}{request.run}")

    def change(now: Manifest) -> Manifest | None:
        if now.knows(request.run):
            return None
        if target.mode == "append" and now.columns not in ({}, columns):
            raise UserError(f"{target.uri} has other columns ({_difference(now.columns, columns)}): load to another prefix, or replace")
        return now.after(files, columns, request.usecase, request.run, is_replaced=target.mode == "replace")

    return manifest.switch(target.uri, change)


def put_pages(uri: str, run: str, pages: dict[str, str]) -> None:
    """Write HTML pages under the run's id; a repetition writes the same ones."""
    for name, path in pages.items():
        storage.write(f"{uri}{run}/{name}.html", Path(path).read_bytes(), "text/html; charset=utf-8")


def _check(target: S3Target, request: Request, columns: dict[str, str]) -> None:
    missing = [name for name in target.partition_by if name not in columns]
    if missing:
        raise UserError(f"{target.uri}: there is no column {', '.join(missing)} to partition by: let features() make it or correct partition_by")
    if target.partition_by:
        names = ", ".join(map(identifier, target.partition_by))
        query = f"SELECT count(*) FROM (SELECT DISTINCT {names} FROM read_parquet({path_literal(request.rows)}))"  # noqa: S608
        with connect(request.memory) as connection:
            found = connection.execute(query).fetchall()[0][0]
        if found > MOST_PARTITIONS:
            raise UserError(
                f"{target.uri}: partition_by has {found:,} values, which would be as many files: choose columns of at most {MOST_PARTITIONS:,}"
            )


def _difference(one: dict[str, str], other: dict[str, str]) -> str:
    return ", ".join(
        f"{name} {one.get(name, 'missing')} there, {other.get(name, 'missing')} here" for name in sorted(dict(one.items() ^ other.items()))
    )


def _clean(uri: str, present: Manifest) -> None:
    """Remove what runs left that were killed, and what was replaced more than a day ago."""
    bucket, prefix = storage.split(uri)
    connection, now = storage.client(), datetime.now(UTC)
    with storage.errors(uri):
        for item in connection.list_objects(bucket, prefix + FILES, recursive=True):
            is_old = item.last_modified is not None and now - item.last_modified > manifest.KEPT
            if is_old and item.object_name and not present.needs(item.object_name.removeprefix(prefix), now):
                connection.remove_object(bucket, item.object_name)


def _split(target: S3Target, request: Request, folder: Path) -> list[File]:
    """Write one file, or one a partition, named by its content: whoever overwrites it on the server writes the same.

    The columns of a partition stay in its file, too: a folder's name does not tell a text from a number.
    """
    if target.partition_by:
        _partition(target, request, folder)
    else:
        Path(folder, "rows.parquet").symlink_to(request.rows.resolve())
    return [_named(number, path, folder, request.run) for number, path in enumerate(sorted(folder.rglob("*.parquet")))]


def _partition(target: S3Target, request: Request, folder: Path) -> None:
    names = ", ".join(map(identifier, target.partition_by))
    options = f"FORMAT parquet, COMPRESSION zstd, PARTITION_BY ({names}), WRITE_PARTITION_COLUMNS true, OVERWRITE_OR_IGNORE true"
    with connect(request.memory) as connection:
        connection.execute("SET threads = 1")  # the same rows give the same bytes
        try:
            connection.execute(f"COPY (FROM read_parquet({path_literal(request.rows)})) TO {literal(folder)} ({options})")
        except (duckdb.BinderException, duckdb.NotImplementedException) as error:
            raise UserError(f"{target.uri}: cannot be partitioned by {names}: choose columns of text, whole numbers or dates") from error


def _named(number: int, path: Path, folder: Path, run: str) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    path = path.rename(path.with_name(f"{number:05}-{digest[:16]}.parquet"))
    key = f"{FILES}{run}/{path.relative_to(folder).as_posix()}"
    return File(key, pq.read_metadata(path).num_rows, path.stat().st_size, digest, run)
