"""The body of a request: bounded, and bounded together with all others, or a sentence why not."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Mapping
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import Any

import numpy as np
import orjson
from starlette.types import Receive

from core.fields import UTF_8
from serving.errors import RequestError, bad, busy

Body = bytes | bytearray

BODY_LIMIT = 16 * 1024 * 1024
BODIES_LIMIT = 4 * BODY_LIMIT  # of all requests at once
SMALL = 16 * 1024  # is taken all the same: the number of connections bounds these
JSON, CSV, BINARY = "application/json", "text/csv", "application/octet-stream"
KINDS = {kind.encode(): kind for kind in (JSON, CSV, BINARY)}
CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")  # ASCII is UTF-8, too
CODECS = frozenset((*aliases, *aliases.values()))
SHOWN = 40  # characters of a name in a message
GZIP = ("gzip", "x-gzip")
GZIP_FORMAT = 31  # zlib's number for gzip and nothing else
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
NAN = b"NaN"
MARK = b"\x00\x01\x02"  # as long as NaN, and in no JSON
SLICE = 2**18  # bytes that are searched for NaN at once


class Disconnected(Exception):
    """The client has gone."""


class Bodies:
    """Reads bodies and knows how many bytes of them are in memory."""

    def __init__(self) -> None:
        self.bytes = 0

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> Body:
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

    def replace(self, body: Body, other: Body) -> None:
        """Have another body in the place of one.

        Raises:
            RequestError: All bodies together are too large (503).
        """
        self._take(len(other) - len(body), len(other))

    def release(self, body: Body) -> None:
        """Forget a body."""
        self.bytes -= len(body)

    def is_full(self, more: int) -> bool:
        """Whether there is no room for so many bytes more; a few are always taken."""
        return self.bytes + more > BODIES_LIMIT and more > SMALL

    async def _join(self, message: Any, receive: Receive) -> bytearray:
        body, kept = bytearray(), False
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise Disconnected
                self._take(len(message["body"]), len(body) + len(message["body"]))
                body += message["body"]
                if not message.get("more_body"):
                    kept = True
                    return body
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
    """Return what kind of body this is; without a header it is JSON. `charset` looks at the encoding of CSV.

    Raises:
        RequestError: It is none of the allowed ones (415).
    """
    given = headers.get(b"content-type", b"application/json")
    known = KINDS.get(given)
    if known in allowed:
        return known
    kind, *charsets = _parts(given)
    if kind not in allowed or (kind != CSV and not set(charsets) <= set(CHARSETS)):
        raise RequestError(415, f"the body has to be {' or '.join(allowed)}, in UTF-8: send Content-Type: {allowed[0]}")
    return kind


def charset(headers: Mapping[bytes, bytes], encoding: str) -> str:
    """Return the encoding that the header names: UTF-8, or the one of the model's source. Empty if it names none.

    Raises:
        RequestError: It is another one (415).
    """
    content_type = headers.get(b"content-type", b"")
    charsets = _parts(content_type)[1:] if b";" in content_type else []
    for name in charsets:
        if name not in CHARSETS and not _is_same(name, encoding):
            own = "" if _is_same(encoding, UTF_8) else f" or {encoding}"
            raise RequestError(415, f"the body has to be in UTF-8{own}, not {name[:SHOWN]}: send Content-Type: {CSV}; charset=utf-8")
    return "" if not charsets else UTF_8 if charsets[0] in CHARSETS else encoding


def _parts(content_type: bytes) -> list[str]:
    """Return the kind of a Content-Type, and the charsets that it names."""
    kind, *parameters = content_type.decode("latin-1").lower().split(";")
    pairs = [(name.strip(), value.strip(' \t"')) for name, _, value in (parameter.partition("=") for parameter in parameters)]
    return [kind.strip(), *(value for name, value in pairs if name == "charset")]


def _is_same(name: str, encoding: str) -> bool:
    known = normalize_encoding(name)  # of a name that it does not know, Python remembers that: a leak, if a client may send any
    return known in CODECS and codecs.lookup(known).name == codecs.lookup(encoding).name


def decompressed(body: Body, headers: Mapping[bytes, bytes], most: int) -> Body | None:
    """Return the body without its Content-Encoding, None if it is larger than `most`.

    Raises:
        RequestError: It is encoded otherwise (415), or not gzip (400).
    """
    encoding = headers.get(b"content-encoding", b"identity").decode("latin-1").lower().strip()
    if encoding in ("identity", ""):
        return body
    if encoding not in GZIP:
        raise RequestError(415, "the Content-Encoding has to be gzip, or none", {"accept-encoding": "gzip"})
    stream = zlib.decompressobj(GZIP_FORMAT)
    try:
        whole = stream.decompress(body, most + 1)
    except zlib.error as error:
        raise bad("the body is not gzip, though its Content-Encoding says so") from error
    if len(whole) > most:
        return None
    if not stream.eof or stream.unused_data:
        raise bad("the body is not one stream of gzip: its end is missing, or something is behind it")
    return whole


def decompressed_whole(body: Body, headers: Mapping[bytes, bytes]) -> Body:
    """Return the body without its Content-Encoding.

    Raises:
        RequestError: It is too large (413), or as above.
    """
    whole = decompressed(body, headers, BODY_LIMIT)
    if whole is None:
        raise _too_large()
    return whole


def parse_json(body: Body) -> Any:
    """Parse a body. NaN is null: MLflow's client and Triton's write a missing number like that, though it is not JSON.

    Raises:
        RequestError: It is not JSON by its bytes (400).
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return _parse_leniently(body, error)


def _parse_leniently(body: Body, error: orjson.JSONDecodeError) -> Any:
    lenient = body.removeprefix(BYTE_ORDER_MARK)
    if NAN in lenient:
        lenient = without_nan(bytes(lenient))
    try:
        if lenient != body:
            return orjson.loads(lenient)
    except orjson.JSONDecodeError as another:
        error = another
    if not lenient.strip():
        raise bad("the body is empty: send JSON") from error
    raise bad(f"the body is not JSON: {error} (a missing value is null or NaN; Infinity is not JSON)") from error


def without_nan(body: bytes) -> Body:
    """Write null for each NaN outside of texts. It goes in slices: all at once would take many times the body's memory."""
    if MARK in body:
        return body
    plain = body.replace(rb"\\", b"__").replace(rb"\"", b"__") if b"\\" in body else body
    letters, marked = np.frombuffer(plain, np.uint8), bytearray(body)
    written, is_text = np.frombuffer(marked, np.uint8), False
    for start in range(0, len(body), SLICE):
        part = letters[start : start + SLICE + len(NAN) - 1]  # a NaN may reach into the next slice
        inside = np.logical_xor.accumulate(part == ord('"')) ^ is_text
        is_text = bool(inside[:SLICE][-1])
        is_nan = (part[:-2] == NAN[0]) & (part[1:-1] == NAN[1]) & (part[2:] == NAN[2]) & ~inside[:-2]
        places = np.nonzero(is_nan)[0] + start
        for offset, letter in enumerate(MARK):
            written[places + offset] = letter
    return marked.replace(MARK, b"null")


def _check_length(headers: Mapping[bytes, bytes]) -> None:
    length = headers.get(b"content-length")
    if length is not None and len(length) > 7 and int(length) > BODY_LIMIT:
        raise _too_large()


def _too_large() -> RequestError:
    # The rest of the body is not read: the connection cannot be used again.
    return RequestError(413, f"the body is larger than {BODY_LIMIT // 1024**2} MB: send fewer rows a request", {"connection": "close"})
