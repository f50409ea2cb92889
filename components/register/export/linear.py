"""Models that are a sum of weighted columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from components.register.export.columns import Column, Numbers
from components.register.export.ensembles import Answers, flat
from components.register.export.errors import NotExportable
from components.register.export.graph import Graph
from components.register.export.matrix import PADDING, gathered, numeric, padded

LINEAR = (
    *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LarsCV", "LassoLars", "LassoLarsCV"),
    *("OrthogonalMatchingPursuit", "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "SGDRegressor", "QuantileRegressor"),
    *("LinearSVR", "PoissonRegressor", "GammaRegressor", "TweedieRegressor", "PassiveAggressiveRegressor"),
    *("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis", "SGDClassifier", "LinearSVC"),
    *("RidgeClassifier", "RidgeClassifierCV", "Perceptron", "PassiveAggressiveClassifier"),
)
BY_SOFTMAX = ("LogisticRegression", "LogisticRegressionCV", "LinearDiscriminantAnalysis")


def linear(graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """Linear regressions and classifiers."""
    weights, start = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if not hasattr(model, "classes_"):
        if len(weights) > 1:
            raise NotExportable("the model answers several targets at once")
        return {"predict": _linked(graph, flat(graph, weighted(graph, columns, weights, start)), model)}
    if len(model.classes_) == 2:  # the other class has the score 0
        weights, start = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, *np.broadcast_to(start, 1)])
    scores = weighted(graph, columns, weights, np.broadcast_to(start, len(weights)))
    answers = {"predict": graph.add("ArgMax", scores, axis=1, keepdims=0), "decision": scores}
    return answers | ({"predict_proba": _probabilities(graph, model, scores)} if hasattr(model, "predict_proba") else {})


def weighted(graph: Graph, columns: Sequence[Column], weights: Numbers, start: Numbers) -> str:
    """Compute the scores, [rows, scores]: of numbers a product of matrices, of text a sum of what is written down for each value."""
    numbers, order = padded(graph, columns)
    by_source: dict[int, Numbers] = {}
    for place, column in enumerate(columns):
        if column.table is not None:
            by_source[column.source] = by_source.get(column.source, 0.0) + np.outer(column.table, weights[:, place])
    if numbers:
        name, places = numeric(graph, numbers) or ("", [])
        factors = np.stack([weights[:, order[place]] if order[place] != PADDING else np.zeros(len(weights)) for place in places])
        product = graph.add("Gemm", name, graph.constant(factors), graph.constant(start))
    elif by_source:
        by_source[min(by_source)] = by_source[min(by_source)] + start
    else:
        raise NotExportable("the model reads no column")
    if not by_source:
        return product
    terms = graph.add("ReduceSum", gathered(graph, sorted(by_source.items(), key=lambda item: item[0])), graph.constant([1], np.int64), keepdims=0)
    return graph.add("Add", product, terms) if numbers else terms


def _probabilities(graph: Graph, model: Any, scores: str) -> str:
    """Turn scores into probabilities; of several classes that were each learnt against all others, by sharing out what each claims."""
    kind = type(model).__name__
    if kind not in BY_SOFTMAX and not (kind == "SGDClassifier" and model.loss == "log_loss"):
        raise NotExportable(f"the probabilities of {kind} have no exact ONNX form here")
    if len(model.classes_) == 2 or kind in BY_SOFTMAX:
        return graph.add("Softmax", scores, axis=1)
    claims = graph.add("Sigmoid", scores)
    return shared(graph, claims, len(model.classes_))


def shared(graph: Graph, claims: str, classes: int) -> str:
    """Divide each row by its sum; a row of zeros is shared out evenly."""
    total = graph.add("ReduceSum", claims, graph.constant([1], np.int64), keepdims=1)
    even = graph.constant(np.full(classes, 1 / classes))
    return graph.add("Where", graph.add("Equal", total, graph.constant(0.0)), even, graph.add("Div", claims, total))


def _linked(graph: Graph, score: str, model: Any) -> str:
    if type(model).__name__ not in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor"):
        return score
    link = type(model._base_loss.link).__name__
    return graph.add("Exp", score) if link == "LogLink" else score
