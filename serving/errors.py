"""What a client did wrong, or has to wait for."""

from collections.abc import Mapping


class RequestError(Exception):
    """A request that gets no prediction: the status, and one sentence that its sender can act on."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def bad(message: str) -> RequestError:
    """Return the error of a malformed request (400)."""
    return RequestError(400, message)
