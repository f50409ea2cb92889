"""Single calls for bulk transfers, by obstore, and its errors as those of minio-py.

A call of minio-py costs a millisecond of one core; one of obstore a quarter of that, on all cores.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import urllib3
from minio.datatypes import Object
from minio.error import MinioException, S3Error
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from core import s3_connection
from core.certificates import proxies
from core.storage import client

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, S3Config

CHUNK = 2**18  # bytes
SILENCE = timedelta(seconds=30)  # of a server, in the middle of an answer
PLAIN = re.compile(r"[^/\x00-\x1f\x7f]+(/[^/\x00-\x1f\x7f]+)*")  # the keys that obstore can name
BUSY = ("429", "500", "502", "503", "504")


@dataclass(frozen=True)
class Pinned:
    """An object as it was when it was listed."""

    key: str
    size: int
    etag: str
    modified: datetime
    version: str | None = None  # if the bucket keeps versions


def pinned(item: Object) -> Pinned:
    """Return an object as a listing gives it."""
    assert item.object_name and item.last_modified  # noqa: S101
    return Pinned(item.object_name, item.size or 0, (item.etag or "").strip('"'), item.last_modified, item.version_id)


class Interrupted(MinioException):
    """The server gave no answer, half of one, or says that it cannot just now: the call may be made again."""


class Calls:
    """The calls to one bucket, which threads share."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._store = S3Store(
            bucket,
            config=_config(),
            client_options=_client_options(),
            retry_config={"max_retries": 0},  # the caller retries
            credential_provider=s3_connection.current,
        )

    def write(self, key: str, path: Path) -> None:
        """Put a file in one call: the object is there whole or not at all.

        Raises:
            Interrupted: It may be made again.
            S3Error: The server refuses.
        """
        if not PLAIN.fullmatch(key):
            client().fput_object(self._bucket, key, str(path))
            return
        with self._told(key):
            self._store.put(key, path, use_multipart=False)

    def read(self, item: Pinned, start: int, end: int) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end` of the object as it was when it was listed.

        Raises:
            Interrupted: It ended early: what is missing may be asked for again.
            S3Error: The server refuses; PreconditionFailed if there is another version now.
        """
        if not PLAIN.fullmatch(item.key):
            yield from self._read_by_minio(item, start, end)
            return
        options: GetOptions = {"version": item.version} if item.version else {"if_match": f'"{item.etag}"'}
        if end - start < item.size:
            options["range"] = (start, end)
        with self._told(item.key):
            found = self._store.get(item.key, options=options)
            meta = found.meta
            if (str(meta["e_tag"]).strip('"'), meta["size"]) != (item.etag, item.size):
                raise self._error("PreconditionFailed", "", item.key)  # of a server that heeds no If-Match
            yield from found.stream(CHUNK) if end - start > CHUNK else [bytes(found.bytes())]

    def _read_by_minio(self, item: Pinned, start: int, end: int) -> Iterator[bytes]:
        headers: dict[str, str | list[str] | tuple[str]] = {} if item.version else {"If-Match": f'"{item.etag}"'}
        try:
            with client().get_object(self._bucket, item.key, start, end - start, request_headers=headers, version_id=item.version) as answer:
                yield from answer.stream(CHUNK)
        except S3Error as error:
            raise self._error(error.code or "", error.message or "", item.key) from error
        except urllib3.exceptions.HTTPError as error:
            raise Interrupted from error

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        """Say in minio-py's words what the server said, which obstore quotes."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            status, code, message = (
                _part(error, pattern) for pattern in (r"status code: (\d+)", r"<Code>([^<]*)</Code>", r"<Message>([^<]*)</Message>")
            )
            if isinstance(error, FileNotFoundError) and not status:
                raise  # a file of this machine
            if "redirect without LOCATION" in str(error):  # what obstore makes of S3's word that the bucket is elsewhere
                status, code = "301", "PermanentRedirect"
            if isinstance(error, PreconditionError):
                code = "PreconditionFailed"
            refusal = self._error(code or f"HTTP {status}", message, key, str(error))
            if status and status not in BUSY:
                raise refusal from error
            raise Interrupted from (refusal if status else error)

    def _error(self, code: str, message: str, key: str, answer: str = "") -> S3Error:
        return S3Error(urllib3.HTTPResponse(answer.encode()), code, message, None, None, None, self._bucket, key)


def _config() -> S3Config:
    return {"endpoint": s3_connection.endpoint().geturl(), "region": s3_connection.region()}


def _client_options() -> ClientConfig:
    server = s3_connection.endpoint()
    options: ClientConfig = {
        "allow_http": server.scheme == "http",
        "connect_timeout": timedelta(seconds=s3_connection.CONNECT_SECONDS),
        "read_timeout": SILENCE,
        "timeout": timedelta(hours=1),
    }
    if proxy := proxies(server.geturl()).get(server.scheme):
        options["proxy_url"] = proxy
    if bundle := s3_connection.certificates():
        options["root_certificate"] = Path(bundle).read_bytes()
    return options


def _part(error: Exception, pattern: str) -> str:
    found = re.search(pattern, str(error))
    return found[1] if found else ""
