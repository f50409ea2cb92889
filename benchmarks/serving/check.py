"""The same work or none: each server's answers beside scikit-learn's, one request at a time and many at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.contenders import Contender
from benchmarks.serving.model import Model
from benchmarks.serving.protocols import Protocol
from benchmarks.serving.servers import Response, ask
from core.errors import UserError

# Rows a request, and how many requests of them are compared.
SAMPLES = {1: 200, 100: 10, 1000: 10}
AT_ONCE = 16
GREETING = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def check(contender: Contender, protocol: Protocol, port: int, model: Model) -> float:
    """Compare a server's answers with scikit-learn's.

    Returns:
        The greatest difference; of labels there is none.

    Raises:
        UserError: They are further apart than the contender's tolerance, or it does not answer.
    """
    parts = [(start, start + size) for size, number in SAMPLES.items() for start in range(0, size * number, size)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        greatest = max(pool.map(lambda part: difference(protocol, port, model, *part), parts))
    if greatest > (0 if protocol.answers == "labels" else contender.tolerance):
        raise UserError(f"its answers are up to {greatest:.2g} from scikit-learn's")
    return greatest


def difference(protocol: Protocol, port: int, model: Model, start: int, stop: int) -> float:
    """Ask for some rows and return how far the answers are from scikit-learn's."""
    response = ask(port, protocol.request(model.rows.part(start, stop)))
    if response is None or response.status != 200:
        raise UserError(f"it answers {stop - start} rows with {_shown(response)}")
    expected = model.labels if protocol.answers == "labels" else model.probabilities
    try:
        return _apart(expected[start:stop], protocol.read(response.headers, response.body))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"its answer is not as the protocol says ({type(error).__name__}: {error}): {_shown(response)}") from error


def problem(contender: Contender, port: int, model: Model) -> str:
    """Ask a server for its first answer; return what is wrong with it, empty when it is right."""
    if not contender.protocols:
        return "" if (response := ask(port, GREETING)) and response.body == b"hello world" else _shown(response)
    try:
        apart = difference(contender.protocols[0], port, model, 0, 1)
    except UserError as error:
        return str(error)
    return "" if apart <= contender.tolerance else f"its answer is {apart:.2g} from scikit-learn's"


def _apart(expected: NDArray[Any], found: NDArray[Any]) -> float:
    return float(np.max(np.abs(found - expected))) if expected.shape == found.shape else np.inf


def _shown(response: Response | None) -> str:
    return "nothing" if response is None else f"{response.status}: {response.body[:200].decode(errors='replace')}"
