"""Which web pages may ask: their browser names the page in the header `Origin`, with every POST and with what crosses sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.errors import RequestError

ANY = "*"
PREFLIGHT_SECONDS = "600"  # that a browser may remember what it was allowed

Pair = tuple[bytes, bytes]


class Origins:
    """Lets pages of this server's own address ask, and those that the operator names.

    Args:
        allowed: Origins such as `https://app.example.com`, or `*` for all.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed = {origin.encode() for origin in allowed}
        self._is_open = ANY in allowed

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse a page that may not ask; what is no browser sends no `Origin`.

        Raises:
            RequestError: It may not (403).
        """
        origin = headers[b"origin"]
        if not self._is_allowed(origin) and origin.partition(b"://")[2] != headers.get(b"host"):
            name = origin.decode("latin-1")[:200]
            raise RequestError(403, f"pages of {name} may not ask this server: add it to `serving: {{cors: [...]}}` of the use case")

    def headers(self, origin: bytes) -> list[Pair]:
        """Return the headers that let a browser show an answer to its page."""
        if not self._is_allowed(origin):
            return []
        shown = b"x-model-version, x-model-engine, traceparent, x-request-id, retry-after, inference-header-content-length"
        return [(b"access-control-allow-origin", origin), (b"vary", b"origin"), (b"access-control-expose-headers", shown)]

    def preflight(self, headers: Mapping[bytes, bytes]) -> dict[str, str] | None:
        """Return what a browser is told that asks before it sends a request, None if it did not ask or may not."""
        origin = headers.get(b"origin", b"")
        if b"access-control-request-method" not in headers or not self._is_allowed(origin):
            return None
        wanted = headers.get(b"access-control-request-headers", b"content-type").decode("latin-1")
        return {
            "access-control-allow-methods": "GET, POST",
            "access-control-allow-headers": wanted,
            "access-control-max-age": PREFLIGHT_SECONDS,
        }

    def _is_allowed(self, origin: bytes) -> bool:
        return bool(origin) and (self._is_open or origin in self._allowed)
