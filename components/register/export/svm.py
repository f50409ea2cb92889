"""Support vector machines: how like the row is to each support vector, weighted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.register.export.columns import Column
from components.register.export.ensembles import Answers, flat
from components.register.export.errors import NotExportable
from components.register.export.graph import Graph
from components.register.export.matrix import matrix


def machine(graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """SVR and SVC, also with nu; of two classes, and without probabilities, which libsvm finds by iteration."""
    if hasattr(model, "classes_") and (len(model.classes_) > 2 or hasattr(model, "predict_proba")):
        what = "probabilities" if hasattr(model, "predict_proba") else "votes of several classes"
        raise NotExportable(f"the {what} of {type(model).__name__} have no exact ONNX form here")
    likeness, weights = _likeness(graph, model, matrix(graph, columns)), np.asarray(model.dual_coef_)
    if not hasattr(model, "classes_"):
        return {"predict": flat(graph, graph.add("Gemm", likeness, graph.constant(weights.T), graph.constant(model.intercept_)))}
    both = np.vstack([np.zeros_like(weights), weights])  # the first class has the score 0
    scores = graph.add("Gemm", likeness, graph.constant(both.T), graph.constant([0.0, float(model.intercept_[0])]))
    return {"predict": graph.add("ArgMax", scores, axis=1, keepdims=0, select_last_index=1), "decision": scores}


def _likeness(graph: Graph, model: Any, rows: str) -> str:
    """Compute the kernel of each row and each support vector."""
    vectors = np.asarray(model.support_vectors_)
    if model.kernel == "rbf":
        return graph.add("Exp", graph.add("Mul", _distance(graph, rows, vectors), graph.constant(-float(model._gamma))))
    product = graph.add("MatMul", rows, graph.constant(vectors.T))
    if model.kernel == "linear":
        return product
    if model.kernel not in ("poly", "sigmoid"):
        raise NotExportable(f"{type(model).__name__} with a kernel of its own has no exact ONNX form here")
    line = graph.add("Add", graph.add("Mul", product, graph.constant(float(model._gamma))), graph.constant(float(model.coef0)))
    return graph.add("Tanh", line) if model.kernel == "sigmoid" else graph.add("Pow", line, graph.constant(float(model.degree)))


def _distance(graph: Graph, rows: str, vectors: np.ndarray[Any, Any]) -> str:
    """Compute the squared distances."""
    squares = graph.add("ReduceSum", graph.add("Mul", rows, rows), graph.constant([1], np.int64), keepdims=1)
    products = graph.add("Gemm", rows, graph.constant(-2 * vectors.T), graph.constant((vectors**2).sum(axis=1)))
    return graph.add("Max", graph.add("Add", squares, products), graph.constant(0.0))
