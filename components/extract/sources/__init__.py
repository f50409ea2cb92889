"""One file a kind of source.

To add a kind: a model in `core.sources`, a module here with `fetch(source, request)`, and a line in KINDS.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from components.extract.delivery import Delivery, Request
from core.sources import Kind

KINDS = ("file", "https", "kafka", "postgresql", "s3")


def fetch(source: Kind, request: Request) -> Delivery:
    """Bring a source's data onto this machine, complete.

    Raises:
        UserError: It cannot be read, or only a part of it.
    """
    module = import_module(f"components.extract.sources.{source.kind}")  # each by itself: a database's client costs a file nothing
    found: Callable[[Any, Request], Delivery] = module.fetch
    return found(source, request)
