"""The proof that the served form answers as scikit-learn does: asked for the same rows, by the code that serves."""

import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from components.register.adversarial import adversarial
from components.register.export import NotExportable
from core.bundle import Bundle, plain
from core.engines import OnnxEngine
from core.errors import first_line

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9
CHUNK = 4096  # rows that are asked for at once
Answers = dict[str, NDArray[Any]]
Ask = Callable[["pd.DataFrame"], list[Answers]]  # in each way that there is


@dataclass
class Proof:
    """What the comparison found.

    Attributes:
        is_classifier: Whether the answers are labels.
        rows: Test rows that were compared.
        adversarial: Rows besides, made to differ.
        error: The largest distance of two numbers, relative where they are above 1.
        labels: How many labels differ, in each way of asking.
        refused: How many rows one engine answers and the other refuses.
        first: The first row that differs, as text.
    """

    is_classifier: bool

    rows: int = 0
    adversarial: int = 0
    error: float = 0.0
    labels: int = 0
    refused: int = 0
    first: str = ""

    @property
    def holds(self) -> bool:
        """Whether the served form may serve."""
        return self.error <= TOLERANCE and not self.labels and not self.refused

    def __str__(self) -> str:
        rows = f"{self.rows:,} test rows and {self.adversarial:,} adversarial ones"
        if self.holds:
            distance = f"at most {self.error:.0e} from scikit-learn" if self.error else "equal to scikit-learn"
            return f"{distance} on {rows}" + (", no label different" if self.is_classifier else "")
        found = {
            "numbers differ by up to {:.0e}": self.error if self.error > TOLERANCE else 0,
            "{:,} labels differ": self.labels,
            "{:,} rows are refused by one of both": self.refused,
        }
        told = ", ".join(text.format(value) for text, value in found.items() if value)
        return f"ONNX Runtime answers otherwise on {rows}: {told}; the first: {self.first}"


def prove(bundle: Bundle, pipeline: Any, holdout: "pd.DataFrame") -> Proof:
    """Compare ONNX Runtime's answers with scikit-learn's on the whole holdout and on adversarial rows made from it.

    Args:
        bundle: The served form, with its graph.
        pipeline: The fitted pipeline.
        holdout: The test rows' inputs.
    """
    proof, engines = Proof(bundle.manifest.classes is not None), _loaded(bundle)
    asked = [item.name for item in bundle.manifest.outputs]

    def served(rows: "pd.DataFrame") -> list[Answers]:
        table = engines[0].table(columns(rows))
        return [engine.answer([table], asked) for engine in engines]

    def trained(rows: "pd.DataFrame") -> list[Answers]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [{output: np.asarray(getattr(pipeline, output)(rows)) for output in asked}]

    with threadpool_limits(1):  # threads that wait for each other at every tree are slower than one, where others compute, too
        for table in _chunks(holdout):
            proof.rows += _compare(proof, table, served, trained)
        for table in chain.from_iterable(map(_chunks, adversarial(bundle, holdout))):
            proof.adversarial += _compare(proof, table, served, trained)
    return proof


def _chunks(table: "pd.DataFrame") -> Iterator["pd.DataFrame"]:
    return (table.iloc[start : start + CHUNK] for start in range(0, len(table), CHUNK))


def _loaded(bundle: Bundle) -> list[OnnxEngine]:
    """Return an engine for each way in which rows are answered: by the graph and, if there is one, by the forest."""
    try:
        return [OnnxEngine(bundle, many) for many in ([sys.maxsize, 0] if bundle.forest else [sys.maxsize])]
    except Exception as error:  # ONNX Runtime raises what it likes
        raise NotExportable(f"ONNX Runtime does not read the graph ({first_line(error)})") from error


def columns(rows: "pd.DataFrame") -> list[Any]:
    """Return a table's columns as a request has them: None is a missing text."""
    return [rows[name].to_numpy() if rows[name].dtype != object else [None if value != value else value for value in rows[name]] for name in rows]


def _compare(proof: Proof, rows: "pd.DataFrame", served: Ask, trained: Ask) -> int:
    """Compare both engines' answers; return how many rows both answered. Where one refuses, each half is tried."""
    one, other = _tried(served, rows), _tried(trained, rows)
    if one is not None and other is not None:
        for answers in one:
            _note(proof, rows, answers, *other)
        return len(rows)
    if len(rows) > 1:
        return sum(_compare(proof, half, served, trained) for half in (rows[: len(rows) // 2], rows[len(rows) // 2 :]))
    if (one is None) != (other is None):
        proof.refused += 1
        proof.first = proof.first or f"{_described(rows)}, which {'ONNX Runtime' if one is None else 'scikit-learn'} refuses"
    return 0


def _tried(ask: Ask, rows: "pd.DataFrame") -> list[Answers] | None:
    try:
        return ask(rows)
    except ValueError:
        return None
    except Exception as error:  # ONNX Runtime raises what it likes
        raise NotExportable(f"ONNX Runtime does not compute the graph ({first_line(error)})") from error


def _note(proof: Proof, rows: "pd.DataFrame", served: Answers, trained: Answers) -> None:
    """Add what differs."""
    differs = np.zeros(len(rows), dtype=bool)
    for output, expected in trained.items():
        if output == "predict" and proof.is_classifier:
            unlike = served[output] != expected
            proof.labels += int(unlike.sum())
        else:
            distance = _distance(served[output], expected)
            unlike = (distance > TOLERANCE) if distance.ndim == 1 else (distance > TOLERANCE).any(axis=1)
            proof.error = max(proof.error, float(distance.max(initial=0)))
        differs |= unlike
    if differs.any() and not proof.first:
        proof.first = _described(rows.iloc[[int(differs.argmax())]])


def _distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far numbers are apart; NaN is as far from a number as can be."""
    with np.errstate(all="ignore"):
        distance = np.abs(one - other) / np.maximum(1, np.maximum(np.abs(one), np.abs(other)))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0, np.where(np.isnan(distance), np.inf, distance))


def _described(row: "pd.DataFrame") -> str:
    return ", ".join(f"{name} {plain(value)!r}" for name, value in row.iloc[0].items())
