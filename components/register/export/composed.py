"""Models made of other models, whose answers they average."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.register.export.columns import Column, Numbers
from components.register.export.ensembles import Answers
from components.register.export.errors import NotExportable
from components.register.export.graph import Graph

Written = Callable[[Graph, Any, Sequence[Column]], Answers]


def bagging(written: Written, graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """Bagging: each member has columns of its own, all count the same."""
    parts = [
        (member, [columns[place] for place in places.tolist()]) for member, places in zip(model.estimators_, model.estimators_features_, strict=True)
    ]
    return _mean(written, graph, model, parts, np.ones(len(parts)))


def voting(written: Written, graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """Voting, of classifiers by their probabilities."""
    if getattr(model, "voting", "soft") != "soft":
        raise NotExportable("voting by labels has no probabilities and no exact ONNX form here")
    weights = model._weights_not_none
    return _mean(
        written,
        graph,
        model,
        [(member, columns) for member in model.estimators_],
        np.ones(len(model.estimators_)) if weights is None else np.array(weights, dtype=np.float64),
    )


def _mean(written: Written, graph: Graph, model: Any, parts: Sequence[tuple[Any, Sequence[Column]]], weights: Numbers) -> Answers:
    is_classifier = hasattr(model, "classes_")
    if is_classifier and any(not hasattr(member, "predict_proba") or len(member.classes_) != len(model.classes_) for member, _ in parts):
        raise NotExportable(f"a member of {type(model).__name__} gives no probability of each class")
    asked = "predict_proba" if is_classifier else "predict"
    found = [written(graph, member, columns)[asked] for member, columns in parts]
    if (weights != 1).any():
        found = [graph.add("Mul", one, graph.constant(weight)) for one, weight in zip(found, weights, strict=True)]
    mean = graph.add("Div", graph.add("Sum", *found), graph.constant(weights.sum()))
    return {"predict": graph.add("ArgMax", mean, axis=1, keepdims=0), "predict_proba": mean} if is_classifier else {"predict": mean}
