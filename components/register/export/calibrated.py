"""CalibratedClassifierCV: what classifiers claim, corrected by a curve each; the mean of several."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from components.register.export.columns import Column, Numbers
from components.register.export.composed import Written
from components.register.export.ensembles import Answers
from components.register.export.errors import NotExportable
from components.register.export.forest import attributes_of
from components.register.export.graph import TREES, Graph
from components.register.export.linear import shared
from components.register.export.trees import Tree


def calibrated(written: Written, graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """Write it."""
    if any(
        part.method not in ("sigmoid", "isotonic") or len(part.estimator.classes_) != len(model.classes_) for part in model.calibrated_classifiers_
    ):
        raise NotExportable(f"calibration by {model.method} has no exact ONNX form here")
    parts = [
        _probabilities(graph, part, _claims(graph, written(graph, part.estimator, columns), part), len(model.classes_))
        for part in model.calibrated_classifiers_
    ]
    mean = graph.add("Div", graph.add("Sum", *parts), graph.constant(float(len(parts)))) if len(parts) > 1 else parts[0]
    return {"predict": graph.add("ArgMax", mean, axis=1, keepdims=0), "predict_proba": mean}


def _claims(graph: Graph, answers: Answers, part: Any) -> list[str]:
    """Return the scores that are corrected, one column each: of two classes that of the second."""
    if hasattr(part.estimator, "decision_function") and "decision" not in answers:
        raise NotExportable(f"the scores of {type(part.estimator).__name__} have no exact ONNX form here")
    scores, count = answers.get("decision", answers.get("predict_proba", "")), len(part.estimator.classes_)
    return [graph.add("Gather", scores, graph.constant([place], np.int64), axis=1) for place in (range(count) if count > 2 else [1])]


def _probabilities(graph: Graph, part: Any, claims: Sequence[str], classes: int) -> str:
    curves: dict[str, Callable[[Graph, Any, str], str]] = {"sigmoid": _sigmoid, "isotonic": _isotonic}
    corrected = [curves[part.method](graph, curve, claim) for curve, claim in zip(part.calibrators, claims, strict=True)]
    if classes > 2:
        return shared(graph, graph.add("Concat", *corrected, axis=1), classes)
    return graph.add("Concat", graph.add("Sub", graph.constant(1.0), corrected[0]), corrected[0], axis=1)


def _sigmoid(graph: Graph, curve: Any, claim: str) -> str:
    line = graph.add("Add", graph.add("Mul", claim, graph.constant(float(curve.a_))), graph.constant(float(curve.b_)))
    return graph.add("Sigmoid", graph.add("Neg", line))


def _isotonic(graph: Graph, curve: Any, claim: str) -> str:
    """Find the claim between two points of the curve, with a tree that splits at them, and interpolate as NumPy does."""
    points, heights = curve.X_thresholds_, curve.y_thresholds_
    if len(points) == 1:
        return graph.add("Add", graph.add("Mul", claim, graph.constant(0.0)), graph.constant(float(heights[0])))
    if curve.out_of_bounds != "clip":
        raise NotExportable("an isotonic curve without an answer beyond its ends has no exact ONNX form here")
    inside = graph.add("Min", graph.add("Max", claim, graph.constant(float(curve.X_min_))), graph.constant(float(curve.X_max_)))
    slopes = np.diff(heights) / np.diff(points)
    tree = [_search(points[1:-1], values, target) for target, values in enumerate((slopes, points[:-1], heights[:-1]))]
    found = graph.add("TreeEnsemble", inside, domain=TREES, n_targets=3, aggregate_function=1, post_transform=0, **attributes_of(tree))
    slope, start, height = (graph.add("Gather", found, graph.constant([place], np.int64), axis=1) for place in range(3))
    return graph.add("Add", graph.add("Mul", slope, graph.add("Sub", inside, start)), height)


def _search(points: Numbers, values: Numbers, target: int) -> Tree:
    """Make the tree that finds the value of the interval that a number lies in: before the first point, up to behind the last."""
    left, right, threshold, value = list[int](), list[int](), list[float](), list[float]()

    def grow(first: int, last: int) -> int:
        node, middle = len(left), (first + last) // 2
        is_leaf = first == last
        left.append(-1)
        right.append(-1)
        value.append(float(values[first]))
        threshold.append(0.0 if is_leaf else float(np.nextafter(points[middle], -np.inf)))
        if not is_leaf:
            left[node], right[node] = grow(first, middle), grow(middle + 1, last)
        return node

    grow(0, len(values) - 1)
    nothing = np.zeros(len(left), dtype=np.int64)
    return Tree(np.array(left), np.array(right), nothing, np.array(threshold), nothing.astype(bool), np.array(value), {}, target)
