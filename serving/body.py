"""The body of a request: bounded, JSON, or a sentence why not."""

from typing import Any

import orjson
from starlette.requests import Request

from serving.errors import RequestError, bad

BODY_LIMIT = 16 * 1024 * 1024


async def read_json(request: Request) -> Any:
    """Read and parse the body.

    Raises:
        RequestError: It is too large (413), not JSON by its headers (415) or not JSON by its bytes (400).
    """
    _check_headers(request)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_LIMIT:
            raise _too_large()
    if not body.strip():
        raise bad("the body is empty: send JSON")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad(f"the body is not JSON: {error} (a missing value is null; NaN and Infinity are not JSON)") from error


def _check_headers(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "application/json").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(' "') or "utf-8"
    if kind.strip() != "application/json" or charset not in ("utf-8", "utf8"):
        raise RequestError(415, "the body has to be JSON in UTF-8: send Content-Type: application/json")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "compressed bodies are not supported: send it without Content-Encoding")
    if int(request.headers.get("content-length", 0)) > BODY_LIMIT:
        raise _too_large()


def _too_large() -> RequestError:
    # The rest of the body is not read: the connection cannot be used again.
    return RequestError(413, f"the body is larger than {BODY_LIMIT // 1024**2} MB: send fewer rows a request", {"connection": "close"})
