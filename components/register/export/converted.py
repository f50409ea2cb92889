"""All other models: skl2onnx's graph of the estimator, behind ours of the transformers."""

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from components.register.export.columns import Column
from components.register.export.ensembles import Answers, flat
from components.register.export.errors import NotExportable
from components.register.export.graph import OPSET, TREES, Graph
from components.register.export.matrix import matrix

ML_OPSET = 3  # skl2onnx writes no newer operators of ai.onnx.ml


def converted(graph: Graph, model: Any, columns: Sequence[Column]) -> Answers:
    """Let skl2onnx write the estimator, on a matrix of doubles."""
    found = _written(model, len(columns))
    names = graph.merge(found.graph, matrix(graph, columns))
    outputs = [names[output.name] for output in found.graph.output]
    if not hasattr(model, "classes_"):
        return {"predict": flat(graph, outputs[0])}
    if not hasattr(model, "predict_proba"):
        return {"predict": flat(graph, outputs[0])}
    return {"predict": graph.add("ArgMax", outputs[1], axis=1, keepdims=0), "predict_proba": outputs[1]}


def _written(model: Any, width: int) -> onnx.ModelProto:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType

    if not type(model).__module__.startswith("sklearn."):
        raise NotExportable(f"{type(model).__name__} is none of scikit-learn's own estimators")
    numbered, options = copy.deepcopy(model), {}
    if hasattr(model, "classes_"):
        numbered.classes_, options = np.arange(len(model.classes_)), {id(numbered): {"zipmap": False}}
    if _has_trees(model):
        raise NotExportable(f"{type(model).__name__} holds trees, which skl2onnx computes in float32")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = convert_sklearn(
                numbered, initial_types=[("X", DoubleTensorType([None, width]))], options=options, target_opset={"": OPSET, TREES: ML_OPSET}
            )
    except Exception as error:  # skl2onnx raises what it likes
        raise NotExportable(f"skl2onnx does not write {type(model).__name__} ({type(error).__name__})") from error
    return found  # type: ignore[no-any-return]


def _has_trees(model: Any) -> bool:
    """Look for trees in a model and in what it is made of."""
    if hasattr(model, "tree_") or hasattr(model, "_predictors"):
        return True
    parts = [part for value in vars(model).values() for part in (value if isinstance(value, list | tuple) else [value])]
    return any(_has_trees(part) for part in parts if hasattr(part, "get_params") and not isinstance(part, type))
