"""One file a kind of target.

To add a kind: a model in `core.targets` and a module here with `send(target, request)`.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from components.load.request import Request
from core.targets import Kind


def send(target: Kind, request: Request) -> bool:
    """Write rows to a target, all of them or none.

    Returns:
        Whether it took them now; not if it had taken this run's before.

    Raises:
        UserError: It does not take them. It is as it was before.
    """
    module = import_module(f"components.load.targets.{target.kind}")  # each by itself: a broker's client costs a database nothing
    found: Callable[[Any, Request], bool] = module.send
    return found(target, request)
