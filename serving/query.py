"""What the protocols have in common: a request's rows, what it asks for, and how its answer is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from numpy.typing import NDArray

from core.engines import Answers, Columns
from serving.body import Body
from serving.model import Model

Headers = Mapping[bytes, bytes]  # names in lower case


class Reply(NamedTuple):
    """The body of a response."""

    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Query:
    """One request, understood.

    Attributes:
        columns: Its rows, checked.
        outputs: What it asks for.
        respond: Writes the response.
        identity: What the client calls it, if it does.
    """

    columns: Columns
    outputs: tuple[str, ...]
    respond: Callable[[Answers], Reply]
    identity: str = ""


Parse = Callable[[Model, Body, Headers], Query]
Weigh = Callable[[Model, Body, Headers], int]


def json_reply(document: Any) -> Reply:
    """Write a document as JSON; NaN becomes null."""
    return Reply(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))


def plain(values: NDArray[Any]) -> Any:
    """Give values as what orjson writes fastest: an array of numbers by itself, a small or a text one as a list."""
    return values if values.size > 64 and values.dtype.kind in "fiub" and values.flags.c_contiguous else values.tolist()
