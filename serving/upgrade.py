"""A request that offers another protocol (`Connection: Upgrade`), as Java's HTTP client and `curl --http2` do: it is read as it stands.

The parser of HTTP takes the offer as accepted and ends behind the head. Another one goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from serving.connection import Connection

FRAMING = (b"content-length", b"transfer-encoding")


def parser_behind(connection: Connection) -> Any:
    """Return a parser that stands behind the head which the connection has just read."""
    parser = httptools.HttpRequestParser(_Remainder(connection))
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    connection.parser = parser
    framing = [b"%s: %s\r\n" % (name, value) for name, value in connection.headers if name in FRAMING]
    parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))
    return parser


class _Remainder:
    """Hands a connection what is parsed, except for a head that it knows already."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_behind = False
        self.on_body = connection.on_body

    def on_message_begin(self) -> None:
        if self._is_behind:
            self._connection.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind:
            self._connection.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind:
            self._connection.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind:
            self._connection.on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_behind = True
        self._connection.on_message_complete()
