"""The access log: a line of JSON a request, off unless somebody asks for it; it holds no value of any row."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from serving.query import Headers


class AccessLog:
    """Writes to the standard output.

    Args:
        on: Whether it writes at all.
    """

    def __init__(self, on: bool) -> None:
        self.on = on

    def write(self, scope: Mapping[str, Any], headers: Headers, status: int, seconds: float | None = None, **more: Any) -> None:
        """Write down one request."""
        client = scope.get("client")
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": f"{client[0]}:{client[1]}" if client else "",
            "method": scope.get("method", ""),
            "path": scope.get("path", ""),
            "status": status,
            **({} if seconds is None else {"ms": round(seconds * 1000, 3)}),
            "request_id": headers.get(b"x-request-id", b"").decode("latin-1"),
            "traceparent": headers.get(b"traceparent", b"").decode("latin-1"),
            **more,
        }
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
