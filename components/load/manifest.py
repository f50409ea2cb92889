"""The manifest of a dataset on S3: which files it is, and which runs they came from; one object, changed by one put or not at all.

A file that the manifest no longer lists is kept for a day, for those who read by the manifest before.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from minio.error import S3Error

from core import s3_connection, storage
from core.errors import UserError, first_line

NAME = "manifest.json"
KEPT = timedelta(days=1)
HISTORY = 1000  # of the last runs a repetition is known
TRIES = 20  # each is lost to another run that did switch
CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")
UNCONDITIONAL = ("NotImplemented",)  # says a server without conditional writes


@dataclass(frozen=True)
class File:
    """One file of a dataset; its key is relative to the dataset's address."""

    key: str
    rows: int
    bytes: int
    sha256: str
    run: str


@dataclass(frozen=True)
class Manifest:
    """What a dataset is."""

    files: list[File] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)  # of every file, and Arrow's type of each
    runs: list[dict[str, Any]] = field(default_factory=list)  # the newest last: run, usecase, rows, loaded_at
    replaced: dict[str, str] = field(default_factory=dict)  # keys that were listed before, and since when they are not

    def knows(self, run: str) -> bool:
        """Whether a run has been loaded."""
        return any(known["run"] == run for known in self.runs)

    def needs(self, key: str, now: datetime) -> bool:
        """Whether an object is of the dataset, or was until less than a day ago."""
        left = self.replaced.get(key)
        return key in {file.key for file in self.files} or (left is not None and now - datetime.fromisoformat(left) < KEPT)

    def after(self, files: list[File], columns: dict[str, str], usecase: str, run: str, *, is_replaced: bool) -> "Manifest":
        """Return the manifest after a run."""
        now = datetime.now(UTC)
        since = now.isoformat(timespec="seconds")
        left = {key: time for key, time in self.replaced.items() if self.needs(key, now)}
        left |= {file.key: since for file in self.files} if is_replaced else {}
        note = {"run": run, "usecase": usecase, "rows": sum(file.rows for file in files), "loaded_at": since}
        return Manifest(files if is_replaced else [*self.files, *files], columns, [*self.runs, note][-HISTORY:], left)


def read(uri: str) -> Manifest:
    """Read a dataset's manifest; of one that is not there yet, an empty one."""
    return _read(uri)[0]


def switch(uri: str, change: Callable[[Manifest], Manifest | None]) -> bool:
    """Put a changed manifest in the place of the one that it was made from; if another run was faster, change that run's.

    Args:
        uri: The dataset's address.
        change: Makes the new manifest of the present one; None if there is nothing to change.

    Returns:
        Whether there was something to change.

    Raises:
        UserError: The server cannot be reached or refuses, or other runs were always faster.
    """
    for _ in range(TRIES):
        present, tag = _read(uri)
        new = change(present)
        if new is None:
            return False
        if _put(uri, new, tag):
            return True
    raise UserError(f"{uri}: {TRIES} other runs were faster to change its {NAME}: run again when there are fewer at once")


def _read(uri: str) -> tuple[Manifest, str]:
    """Return the manifest and the ETag of its object, empty if there is none."""
    bucket, key = storage.split(uri + NAME)
    with storage.errors(uri + NAME):
        try:
            found = storage.client().get_object(bucket, key)
        except S3Error as error:
            if error.code == "NoSuchKey":
                return Manifest(), ""
            raise
        with found:
            return _parsed(uri, found.data), found.headers["ETag"]


def _parsed(uri: str, data: bytes) -> Manifest:
    try:
        found = json.loads(data)
        return Manifest(**found | {"files": [File(**file) for file in found["files"]]})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{uri}{NAME} is of another program: load to a prefix of its own") from error


def _put(uri: str, manifest: Manifest, tag: str) -> bool:
    """Put the manifest unless there is another one by now; a server that knows no conditions takes it in any case.

    minio-py has no conditional put.
    """
    bucket, key = storage.split(uri + NAME)
    put = partial(_client().put_object, Bucket=bucket, Key=key, Body=json.dumps(asdict(manifest), indent=1).encode(), ContentType="application/json")
    try:
        try:
            put(**({"IfMatch": tag} if tag else {"IfNoneMatch": "*"}))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in CHANGED:
                return False
            if code not in UNCONDITIONAL:
                raise
            put()
    except (BotoCoreError, ClientError) as error:
        raise UserError(f"{uri}{NAME} could not be written, so the dataset is as it was: {first_line(error)}: run again") from error
    return True


def _client() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=s3_connection.endpoint().geturl(),
        region_name=s3_connection.region(),
        verify=s3_connection.certificates(),
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, read_timeout=60),
    )
