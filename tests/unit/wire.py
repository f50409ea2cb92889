"""A stretch of network before a real server, on which connections break and things happen in between."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def wire(port: int, seen: Callable[[bytes], bytes] = lambda sent: sent, budget: Callable[[int], int | None] = lambda number: None) -> Iterator[str]:
    """Forward to a port of this machine.

    Args:
        port: The real server's.
        seen: Told what a client sends, before the server gets what it returns.
        budget: The bytes that connection number 0, 1, ... brings from the server before it breaks.
    """
    numbers = itertools.count()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    near, _ = listener.accept()
                    threading.Thread(target=_forward, args=(near, port, seen, budget(next(numbers))), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _forward(near: socket.socket, port: int, seen: Callable[[bytes], bytes], left: int | None) -> None:
    with suppress(OSError), near, socket.create_connection(("127.0.0.1", port)) as far:
        threading.Thread(target=_send, args=(near, far, seen), daemon=True).start()
        while left != 0 and (data := far.recv(65536 if left is None else min(left, 65536))):
            near.sendall(data)
            left = None if left is None else left - len(data)
        near.shutdown(socket.SHUT_RDWR)


def _send(near: socket.socket, far: socket.socket, seen: Callable[[bytes], bytes]) -> None:
    with suppress(OSError):
        while data := near.recv(65536):
            far.sendall(seen(data))
        far.shutdown(socket.SHUT_WR)
