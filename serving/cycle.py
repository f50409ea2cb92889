"""One request and its response on a connection: uvicorn's, whose look at each header costs more than all that we count and check."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

CLOSE = (b"connection", b"close")


class Cycle(RequestResponseCycle):
    """Writes the head of a response in one go: every response has a length, and names in lower case."""

    async def send(self, message: Any) -> None:
        """Take a message of the application."""
        if message["type"] == "http.response.start" and not (self.response_started or self.disconnected or self.flow.write_paused):
            self._start(message["status"], message["headers"])
        else:
            await super().send(message)

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        sent = [*self.default_headers, *headers]
        if CLOSE in headers:
            self.keep_alive = False
        elif not self.keep_alive:
            sent.append(CLOSE)
        head = b"".join([STATUS_LINE[status], *[b"%b: %b\r\n" % pair for pair in sent], b"\r\n"])
        if head.count(b"\n") != len(sent) + 2 or head.count(b"\r") != len(sent) + 2:
            raise RuntimeError("a header holds a line break")
        self.response_started, self.waiting_for_100_continue = True, False
        self.chunked_encoding, self.expected_content_length = False, int(dict(headers)[b"content-length"])
        self.transport.write(head)
