"""Retries: a server may be away for a moment, such as while its pod is replaced.

Kubeflow itself does not retry a step that fails, so every call to the outside world does it by these rules.
"""

import logging
import os
from collections.abc import Iterator
from typing import Any

import urllib3

LONGEST = 10.0  # seconds between two attempts
FIRST = 0.5
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # Retry says it in our words


def seconds() -> float:
    """Return how long a server may be away: a minute in a cluster, a few seconds on a laptop, where nobody restarts it."""
    return 60.0 if "KUBERNETES_SERVICE_HOST" in os.environ else 3.0


def pauses() -> Iterator[float]:
    """Yield the seconds before each further attempt: exponential, up to `LONGEST`, `seconds()` in all."""
    pause, total = FIRST, 0.0
    while total + pause <= seconds():
        yield pause
        total, pause = total + pause, min(2 * pause, LONGEST)


class Retry(urllib3.Retry):
    """urllib3's retries by the same rules; each further attempt is a line of the log."""

    @classmethod
    def of(cls, server: str) -> "Retry":
        """Return the retries of a client.

        Args:
            server: What the log calls the server.
        """
        retry = cls(
            total=len(list(pauses())),
            backoff_factor=FIRST,
            backoff_max=LONGEST,
            status_forcelist=(500, 502, 503, 504),
            raise_on_status=False,
        )
        retry.server = server
        return retry

    server = "the server"

    def new(self, **changes: Any) -> "Retry":
        """Keep the name through urllib3's copies."""
        retry = super().new(**changes)
        retry.server = self.server
        return retry

    def increment(self, *arguments: Any, **options: Any) -> "Retry":
        """Count an attempt and say so."""
        retry = super().increment(*arguments, **options)
        print(f"{self.server} does not answer, trying again ({retry.total} more attempts)", flush=True)
        return retry
