"""The access log: a line of JSON a request, off unless somebody asks for it; it holds no value of any row."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.types import Scope

from serving.query import Headers


class AccessLog:
    """Writes to the standard output.

    Args:
        on: Whether it writes at all.
    """

    def __init__(self, on: bool) -> None:
        self.on = on

    def write(self, scope: Scope, headers: Headers, status: int, seconds: float, **more: Any) -> None:
        """Write down one request."""
        client = scope.get("client")
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": f"{client[0]}:{client[1]}" if client else "",
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(seconds * 1000, 3),
            "request_id": headers.get(b"x-request-id", b"").decode("latin-1"),
            "traceparent": headers.get(b"traceparent", b"").decode("latin-1"),
            **more,
        }
        sys.stdout.buffer.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
