"""When to end early: SIGTERM, by which a cluster ends a pod, goes the way of Ctrl-C, and so does the end of who started us."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import psutil

PULSE = 0.5  # seconds between two looks
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
def no_orphan() -> Iterator[threading.Event]:
    """End the block by SIGTERM when the command is gone that has given this process, or the shell around it, a session of its own.

    A command that is killed can end nothing any more: its step would go on, and write results of a run that nobody waits for.

    Yields:
        What is set when the command is gone.
    """
    leader, ended, alone = os.getsid(0), threading.Event(), threading.Event()
    if leader in (os.getpid(), os.getppid()) and leader > 1:  # not in a pod, whose processes all end with its first
        threading.Thread(target=_watch, args=(psutil.Process(leader), ended, alone), daemon=True).start()
    try:
        yield alone
    finally:
        ended.set()


def _watch(leader: psutil.Process, ended: threading.Event, alone: threading.Event) -> None:
    command = leader.ppid()
    while not ended.wait(PULSE):
        if _parent(leader) != command:
            alone.set()
            os.kill(os.getpid(), signal.SIGTERM)
            if not ended.wait(PATIENCE):
                os.kill(os.getpid(), signal.SIGKILL)


def _parent(process: psutil.Process) -> int | None:
    with suppress(psutil.Error):
        return process.ppid()
    return None


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
