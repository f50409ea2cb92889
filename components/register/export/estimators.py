"""Which estimator is written by what."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from components.register.export import composed, ensembles
from components.register.export.calibrated import calibrated
from components.register.export.columns import Column
from components.register.export.converted import converted
from components.register.export.graph import Graph
from components.register.export.linear import LINEAR, linear
from components.register.export.svm import machine

Writer = Callable[[Graph, Any, Sequence[Column]], dict[str, str]]


def written(graph: Graph, model: Any, columns: Sequence[Column]) -> dict[str, str]:
    """Write a fitted estimator into the graph.

    Args:
        graph: Where it is written.
        model: The estimator.
        columns: What it reads.

    Returns:
        The values that are its answers: `predict`, the class's place of a classifier; `predict_proba`; and `decision`, a score a class,
        where scikit-learn has scores.

    Raises:
        NotExportable: There is no way to write it exactly.
    """
    return WRITERS.get(type(model).__name__, converted)(graph, model, columns)


KINDS = ("Classifier", "Regressor")
WRITERS: dict[str, Writer] = {
    **{f"HistGradientBoosting{kind}": ensembles.histogram for kind in KINDS},
    **{f"GradientBoosting{kind}": ensembles.gradient for kind in KINDS},
    **{f"{name}{kind}": ensembles.forest for name in ("RandomForest", "ExtraTrees", "DecisionTree", "ExtraTree") for kind in KINDS},
    **{f"Bagging{kind}": partial(composed.bagging, written) for kind in KINDS},
    **{f"Voting{kind}": partial(composed.voting, written) for kind in KINDS},
    **dict.fromkeys(LINEAR, linear),
    **dict.fromkeys(("SVC", "SVR", "NuSVC", "NuSVR"), machine),
    "CalibratedClassifierCV": partial(calibrated, written),
}
