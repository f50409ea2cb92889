"""The fitted pipeline as an ONNX graph in float64 that answers as scikit-learn does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from components.register.export.columns import inputs_as_columns
from components.register.export.errors import NotExportable
from components.register.export.estimators import written
from components.register.export.graph import Graph
from components.register.export.refusals import required
from components.register.export.text import Vocabularies
from components.register.export.transformers import transformed
from core.bundle import Input

__all__ = ["NotExportable", "export"]

OUTPUTS = ("predict", "predict_proba")


class Exported(NamedTuple):
    """A pipeline in float64.

    Attributes:
        onnx: The whole of it.
        forest: For many rows at once: the tables of its trees and what becomes of their scores; empty where it is not of that kind.
    """

    onnx: bytes
    forest: bytes


def export(pipeline: Any, inputs: Sequence[Input]) -> Exported:
    """Write a fitted pipeline as ONNX models, as `core.engines.OnnxEngine` reads it.

    Args:
        pipeline: The pipeline, or an estimator alone.
        inputs: The columns that it was trained on, in their order.

    Raises:
        NotExportable: It has no such form; the reason in one sentence.
    """
    steps = [step for _, step in pipeline.steps] if type(pipeline).__name__ == "Pipeline" else [pipeline]
    graph, vocabularies = Graph(len(inputs)), Vocabularies(pipeline, inputs)
    columns = inputs_as_columns([item.datatype for item in inputs])
    for step in steps[:-1]:
        columns = transformed(step, columns, vocabularies)
    if any(column.is_text and column.table is None for column in columns):
        raise NotExportable("the model reads text as it is")
    found = written(graph, steps[-1], columns)
    answers = {name: found[name] for name in OUTPUTS if name in found}
    classes = len(steps[-1].classes_) if hasattr(steps[-1], "classes_") else None
    metadata = {"vocabularies": vocabularies.values, "required": required(pipeline, inputs, vocabularies.values)}
    return Exported(graph.finish(answers, classes, metadata), graph.finish_forest(answers, classes))
