"""What a client did wrong, or has to wait for."""

import logging
import traceback
from collections.abc import Mapping

from core.errors import escaped

MESSAGE_LIMIT = 1000  # characters

logger = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that gets no prediction: the status, and one sentence that its sender can act on."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        message = escaped(message[:MESSAGE_LIMIT]) + ("..." if len(message) > MESSAGE_LIMIT else "")  # it may quote what was sent
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def bad(message: str) -> RequestError:
    """Return the error of a malformed request (400)."""
    return RequestError(400, message)


def busy(message: str) -> RequestError:
    """Return the error of a request that may be sent again in a second (503)."""
    return RequestError(503, message, {"retry-after": "1"})


def defect(error: Exception) -> RequestError:
    """Return the error of a request that the server failed at (500), and log where: the place, as the message may hold feature values."""
    logger.error("%s while answering, at\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    return RequestError(500, "the model failed: the server's log says where")
