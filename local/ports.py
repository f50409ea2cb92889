"""Ports of the servers: fixed by the user, remembered, or whatever is free."""

import os
from collections.abc import Callable, Collection

from core import processes
from core.errors import UserError

HIGHEST = 55_000  # of the ports that the user may fix: SeaweedFS adds 10,000 to it


def fixed(variable: str) -> int | None:
    """Return the port that the user fixed by an environment variable."""
    text = os.environ.get(variable)
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= HIGHEST:
        raise UserError(f"{variable}={text} is not a port: set a number up to {HIGHEST}, or unset it and a free port is chosen")
    return int(text)


def choose(variable: str, remembered: int, needed: Callable[[int], list[int]], reserved: Collection[int] = ()) -> int:
    """Choose a server's port.

    Args:
        variable: Environment variable by which the user fixes it.
        remembered: The port of the last start, 0 for none.
        needed: All ports that the server takes when it gets a certain one.
        reserved: Ports of a server that may not listen yet.

    Raises:
        UserError: The user fixed a port and something else has it.
    """
    port = fixed(variable) or remembered or _another(needed)
    while taken := [each for each in needed(port) if each in reserved or not processes.is_free(each)]:
        if fixed(variable):
            raise UserError(
                f"port {taken[0]} is taken by another program: end that, or set {variable} to another port or to nothing (a free one is chosen)"
            )
        port = _another(needed)
    return port


def _another(needed: Callable[[int], list[int]]) -> int:
    while max(needed(port := processes.free_port())) >= processes.HIGHEST_PORT:
        pass
    return port
