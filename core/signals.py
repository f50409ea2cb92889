"""SIGTERM, by which a cluster ends a pod, goes the way of Ctrl-C: what has begun is taken back."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn


def heed_sigterm() -> Any:
    """Let SIGTERM raise KeyboardInterrupt from now on, also in a pod's first process; return what handled it before."""
    return signal.signal(signal.SIGTERM, _interrupt)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt inside the block."""
    before = heed_sigterm()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
