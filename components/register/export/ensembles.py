"""Models that are sums of trees."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from components.register.export.columns import Column, Numbers, Step
from components.register.export.errors import NotExportable
from components.register.export.forest import ensemble
from components.register.export.graph import Graph
from components.register.export.trees import Tree, constant, of_histogram, of_tree

Answers = dict[str, str]
SINGLE = Step("single")  # scikit-learn's other trees read float32


def histogram(graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """HistGradientBoosting."""
    return _boosted(graph, model, list(of_histogram(model)), _categorical(model, columns), model._loss)


def gradient(graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """GradientBoosting."""
    if model.init_ != "zero" and type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NotExportable("GradientBoosting begins with another model (init)")
    begin = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32)).ravel()
    factor = 2.0 if type(model._loss).__name__ == "ExponentialLoss" else 1.0  # its probability is that of twice the score
    stages = [
        of_tree(one.tree_, factor * (model.learning_rate * one.tree_.value[:, 0, 0]), target)
        for stage in model.estimators_
        for target, one in enumerate(stage)
    ]
    single = [column.then(SINGLE) for column in columns]
    return _boosted(graph, model, [*constant(factor * begin), *stages], single, model._loss, is_half_positive=True)


def forest(graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """RandomForest, ExtraTrees and a single tree: the mean of the trees' answers."""
    members = getattr(model, "estimators_", [model])
    classes = len(model.classes_) if hasattr(model, "classes_") else 1
    if model.n_outputs_ != 1:
        raise NotExportable("the model answers several targets at once")
    trees = [of_tree(one.tree_, one.tree_.value[:, 0, target], target) for target in range(classes) for one in members]
    single = [column.then(SINGLE) for column in columns]
    mean = _mean(graph, trees, single, classes, len(members))
    if not hasattr(model, "classes_"):
        return {"predict": flat(graph, mean)}
    return {"predict": graph.add("ArgMax", mean, axis=1, keepdims=0), "predict_proba": mean}


def flat(graph: Graph, column: str) -> str:
    """Make a list of a matrix of one column."""
    return graph.add("Reshape", column, graph.constant([-1], np.int64))


def _mean(graph: Graph, trees: Sequence[Tree], columns: Sequence[Column], scores: int, count: int) -> str:
    return graph.add("Div", ensemble(graph, trees, columns, scores), graph.constant(float(count)))


def _boosted(graph: Graph, model: Any, trees: list[Tree], columns: Sequence[Column], loss: Any, *, is_half_positive: bool = False) -> Answers:
    """Turn the sum of the trees into the answers that the loss says."""
    if not hasattr(model, "classes_"):
        return {"predict": _linked(graph, flat(graph, ensemble(graph, trees, columns, 1)), loss)}
    if len(model.classes_) < 2:
        raise NotExportable("the model knows one class only")
    if len(model.classes_) == 2:  # the other class has the score 0; a node of one sum is faster than one of two
        scores = graph.add("Mul", ensemble(graph, trees, columns, 1), graph.constant([0.0, 1.0]))
    else:
        scores = ensemble(graph, trees, columns, len(model.classes_))
    last = int(is_half_positive and len(model.classes_) == 2)
    return {
        "predict": graph.add("ArgMax", scores, axis=1, keepdims=0, select_last_index=last),
        "predict_proba": graph.add("Softmax", scores, axis=1),
        "decision": scores,
    }


def _linked(graph: Graph, score: str, loss: Any) -> str:
    link = type(loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise NotExportable(f"the loss {type(loss).__name__} has no exact ONNX form here")
    return graph.add("Exp", score) if link == "LogLink" else score


def _categorical(model: Any, columns: Sequence[Column]) -> list[Column]:
    """Put the columns that HistGradientBoosting splits by category first and number their categories, as it does itself."""
    if model._preprocessor is None:
        return list(columns)
    categories = model._preprocessor.named_transformers_["encoder"].categories_
    first = [columns[place] for place in np.flatnonzero(model.is_categorical_).tolist()]
    numbered = [
        column if column.table is None else replace(column, table=_numbered(column.table, known))
        for column, known in zip(first, categories, strict=True)
    ]
    return [*numbered, *(columns[place] for place in np.flatnonzero(~model.is_categorical_).tolist())]


def _numbered(values: Numbers, categories: Numbers) -> Numbers:
    """Return the place of each value among the categories, NaN if it is none."""
    known = categories[~np.isnan(categories)]
    places = np.searchsorted(known, values)
    return np.where(np.isin(values, known), places, np.nan)
