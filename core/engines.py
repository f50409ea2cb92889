"""What turns rows into answers: ONNX Runtime or scikit-learn, one interface. Training proves an engine with the code that serves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from core.bundle import Bundle, frame, load_model
from core.errors import UserError
from core.forest import TABLES, Forest

Column = Sequence[Any] | NDArray[Any]
Columns = Sequence[Column]  # one an input, in the order of training; None is missing
Answers = dict[str, NDArray[Any]]
MANY = 64  # rows from which on bit vectors are faster than ONNX Runtime's trees
QUICK_ROWS, QUICK_FOREST_ROWS = 256, 1024
CHUNK = 64  # rows that ONNX Runtime gets at once: what a row becomes on the way stays in the processor's cache
PART = 8192  # rows that scikit-learn gets at once: a pipeline makes several matrices of them on the way
LARGEST = float(np.finfo(np.float32).max)  # many of scikit-learn's estimators refuse more than that


class Engine(Protocol):
    """A loaded model, safe to call from several threads."""

    name: str
    quick_rows: int  # up to here it needs less than a change of threads takes from others

    def table(self, columns: Columns) -> Any:
        """Put the checked rows of one request into the form that this engine reads."""
        ...

    def answer(self, tables: Sequence[Any], outputs: Collection[str]) -> Answers:
        """Compute the named outputs of all tables, one row after the other.

        Args:
            tables: What `table` returned.
            outputs: `predict`, `predict_proba` or both; there may be more in the answer.

        Raises:
            ValueError: The model refuses a row of them.
        """
        ...


class OnnxEngine:
    """The pipeline as an ONNX graph in float64, run by ONNX Runtime on the calling thread.

    The graph reads one matrix [rows, inputs]. A text column travels in it as the place of the value in the column's vocabulary,
    which the graph's metadata hold: the first number after the vocabulary is a value that training never saw, the second a missing one.
    They also name the numeric columns without which scikit-learn gives no answer.

    Args:
        bundle: The served form.
        many: Rows from which on a forest of small trees is asked by its bit vectors.
    """

    name = "onnx"

    def __init__(self, bundle: Bundle, many: int = MANY) -> None:
        run, metadata = _session(bundle.onnx)
        vocabularies, self._required = metadata["vocabularies"], metadata["required"]
        self._codes = [_Codes(vocabularies[item.name]) if item.datatype == "BYTES" else None for item in bundle.manifest.inputs]
        self._outputs = [item.name for item in bundle.manifest.outputs]
        self._classes: NDArray[Any] | None = None if bundle.manifest.classes is None else np.array(bundle.manifest.classes, dtype=_dtype(bundle))
        self._run, self._many = run, many
        self._forest: Forest | None = None
        self.quick_rows = QUICK_ROWS
        if bundle.forest:
            self._after, metadata = _session(bundle.forest)
            tables = dict(zip(TABLES, self._after(TABLES, {"scores": np.zeros((1, len(metadata["trees"])))}), strict=True))
            self._forest = Forest(metadata["columns"], metadata["trees"], tables)
            self.quick_rows = QUICK_FOREST_ROWS

    def table(self, columns: Columns) -> NDArray[np.float64]:
        """See `Engine.table`."""
        if len(columns[0]) == 1:
            row = [column[0] if codes is None else codes[column[0]] for codes, column in zip(self._codes, columns, strict=True)]
            return np.array([row], dtype=np.float64)
        matrix = np.empty((len(columns), len(columns[0])))
        for numbers, codes, column in zip(matrix, self._codes, columns, strict=True):
            if codes is None and isinstance(column, np.ndarray):
                numbers[:] = column
            else:
                numbers[:] = np.fromiter(column if codes is None else map(codes.__getitem__, column), np.float64, len(column))
        return matrix.T

    def answer(self, tables: Sequence[NDArray[np.float64]], outputs: Collection[str]) -> Answers:  # noqa: ARG002
        """See `Engine.answer`; all outputs are computed, as they cost nothing more."""
        rows = np.concatenate(tables) if len(tables) > 1 else tables[0]
        if np.fmax.reduce(np.abs(rows), axis=None) > LARGEST:
            raise ValueError(f"a number is beyond {LARGEST:.2g}")
        if self._required and np.isnan(rows[:, self._required]).any():
            raise ValueError("a number is missing that the model cannot do without")
        if self._forest and len(rows) >= self._many:
            parts = [self._after(self._outputs, {"scores": self._forest.scores(rows)})]
        else:
            parts = [self._run(self._outputs, {"rows": rows[start : start + CHUNK]}) for start in range(0, len(rows), CHUNK)]
        answers = dict(zip(self._outputs, parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True)), strict=True))
        if self._classes is not None:
            answers["predict"] = self._classes[answers["predict"]]
        return answers


class ScikitLearnEngine:
    """The fitted pipeline itself, run by scikit-learn."""

    name = "scikit-learn"
    quick_rows = 0

    def __init__(self, bundle: Bundle) -> None:
        self._inputs = bundle.manifest.inputs
        self._transform, self._model = _parts(load_model(bundle.model))

    def table(self, columns: Columns) -> Columns:
        """See `Engine.table`."""
        return columns

    def answer(self, tables: Sequence[Columns], outputs: Collection[str]) -> Answers:
        """See `Engine.answer`."""
        columns = {item.name: list(chain.from_iterable(table[place] for table in tables)) for place, item in enumerate(self._inputs)}
        rows = len(columns[self._inputs[0].name])
        parts = [self._part(columns, slice(start, start + PART), outputs) for start in range(0, rows, PART)]
        return parts[0] if len(parts) == 1 else {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}

    def _part(self, columns: Mapping[str, list[Any]], rows: slice, outputs: Collection[str]) -> Answers:
        prepared = self._transform(frame({name: values[rows] for name, values in columns.items()}, self._inputs))
        return {output: np.asarray(getattr(self._model, output)(prepared)) for output in outputs}


def load_engine(bundle: Bundle) -> Engine:
    """Return the engine that the bundle was registered for.

    Raises:
        UserError: This server does not have it, or it cannot read the model.
    """
    engines: dict[str, Callable[[Bundle], Engine]] = {OnnxEngine.name: OnnxEngine, ScikitLearnEngine.name: ScikitLearnEngine}
    if bundle.manifest.engine not in engines:
        raise UserError(
            f"the model needs the engine {bundle.manifest.engine}, this server has {', '.join(engines)}: use the image it was registered with"
        )
    return engines[bundle.manifest.engine](bundle)


class _Codes(dict[str | None, int]):
    """The number of each value of a vocabulary, of a missing one, and of one that training never saw."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        super().__init__({value: place for place, value in enumerate(vocabulary)} | {None: len(vocabulary) + 1})

    def __missing__(self, _: Any) -> int:
        return len(self) - 1


def _session(graph: bytes) -> tuple[Callable[[Sequence[str], Mapping[str, NDArray[Any]]], list[NDArray[Any]]], dict[str, Any]]:
    """Load a graph; return what runs it and its metadata."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it would write an id of this machine, and events, into the home folder
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would keep what the largest batch needed
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return session.run, {name: json.loads(value) for name, value in session.get_modelmeta().custom_metadata_map.items()}


def _dtype(bundle: Bundle) -> type:
    return object if isinstance((bundle.manifest.classes or (0,))[0], str) else type((bundle.manifest.classes or (0,))[0])


def _parts(pipeline: Any) -> tuple[Callable[[Any], Any], Any]:
    """Split off the last step, so that both outputs share one pass through the preprocessing, which is most of the time."""
    from sklearn.pipeline import Pipeline

    if isinstance(pipeline, Pipeline) and len(pipeline) > 1:
        return pipeline[:-1].transform, pipeline[-1]
    return lambda table: table, pipeline
