"""The body of a request: bounded, and bounded together with all others, or a sentence why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Receive

from serving.errors import RequestError, bad, busy

BODY_LIMIT = 16 * 1024 * 1024
BODIES_LIMIT = 4 * BODY_LIMIT  # of all requests at once
SMALL = 16 * 1024  # is taken all the same: the number of connections bounds these
JSON, CSV, BINARY = "application/json", "text/csv", "application/octet-stream"
TEXT_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|NaN', re.DOTALL)


class Disconnected(Exception):
    """The client has gone."""


class Bodies:
    """Reads bodies and knows how many bytes of them are in memory."""

    def __init__(self) -> None:
        self.bytes = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Read a body; whoever has it gives it back by `release`.

        Raises:
            RequestError: It is too large (413), or all bodies together are (503).
            Disconnected: Its sender has gone.
        """
        _check_length(headers)
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):  # nearly always: it came in one piece
            body: bytes = message["body"]
            self._take(len(body), len(body))
            return body
        return await self._join(message, receive)

    def release(self, body: bytes) -> None:
        """Forget a body."""
        self.bytes -= len(body)

    async def _join(self, message: Any, receive: Receive) -> bytes:
        body, kept = bytearray(), False
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise Disconnected
                self._take(len(message["body"]), len(body) + len(message["body"]))
                body += message["body"]
                if not message.get("more_body"):
                    kept = True
                    return bytes(body)
                message = await receive()
        finally:
            if not kept:
                self.bytes -= len(body)

    def _take(self, more: int, whole: int) -> None:
        if whole > BODY_LIMIT:
            raise _too_large()
        if self.bytes + more > BODIES_LIMIT and whole > SMALL:
            raise busy("too much is being sent at once: try again in a second")
        self.bytes += more


def content_type(headers: Mapping[bytes, bytes], *allowed: str) -> str:
    """Return what kind of body this is; without a header it is JSON.

    Raises:
        RequestError: It is none of the allowed ones (415).
    """
    given = headers.get(b"content-type", b"application/json")
    if given == b"application/json" and b"content-encoding" not in headers:
        return JSON
    kind, _, parameters = given.decode("latin-1").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "') or "utf-8"
    if kind.strip() not in allowed or charset not in ("utf-8", "utf8"):
        raise RequestError(415, f"the body has to be {' or '.join(allowed)}, in UTF-8: send Content-Type: {allowed[0]}")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise RequestError(415, "compressed bodies are not supported: send it without Content-Encoding")
    return kind.strip()


def parse_json(body: bytes) -> Any:
    """Parse a body. NaN is null: MLflow's client and Triton's write a missing number like that, though it is not JSON.

    Raises:
        RequestError: It is not JSON by its bytes (400).
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _parse_without_nan(body, error)


def _parse_without_nan(body: bytes, error: orjson.JSONDecodeError) -> Any:
    without = TEXT_OR_NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body) if b"NaN" in body else body
    try:
        if without != body:
            return orjson.loads(without)
    except orjson.JSONDecodeError as another:
        error = another
    if not body.strip():
        raise bad("the body is empty: send JSON") from error
    raise bad(f"the body is not JSON: {error} (a missing value is null or NaN; Infinity is not JSON)") from error


def _check_length(headers: Mapping[bytes, bytes]) -> None:
    length = headers.get(b"content-length")
    if length is not None and len(length) > 7 and int(length) > BODY_LIMIT:
        raise _too_large()


def _too_large() -> RequestError:
    # The rest of the body is not read: the connection cannot be used again.
    return RequestError(413, f"the body is larger than {BODY_LIMIT // 1024**2} MB: send fewer rows a request", {"connection": "close"})
