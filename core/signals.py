"""When to end early: SIGTERM, by which a cluster ends a pod, goes the way of Ctrl-C, and so does the end of who started us."""

import os
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

PATIENCE = 10  # seconds to take back what has begun


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


@contextmanager
def no_orphan(alone: threading.Event) -> Iterator[None]:
    """End the block by SIGTERM when the command is gone that has given this process, or the shell around it, a session and a pipe of its own.

    A command that is killed can end nothing any more: its step would go on, and write results of a run that nobody waits for.

    Args:
        alone: Is set when the command is gone, be it since before the block.
    """
    ended = threading.Event()
    if os.getsid(0) in (os.getpid(), os.getppid()) and stat.S_ISFIFO(os.fstat(0).st_mode):  # a pod's input is no pipe
        threading.Thread(target=_watch, args=(ended, alone), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _watch(ended: threading.Event, alone: threading.Event) -> None:
    os.read(0, 1)  # nobody writes: it returns when the last holder of the other end is gone, or was before we began
    if not ended.is_set():
        alone.set()
        os.kill(os.getpid(), signal.SIGTERM)
        if not ended.wait(PATIENCE):
            os.kill(os.getpid(), signal.SIGKILL)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
