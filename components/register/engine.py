"""Which engine serves a model: ONNX Runtime if it is proven to answer as scikit-learn does, else scikit-learn."""

from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from components.register.export import NotExportable, export
from components.register.proof import prove
from core.bundle import Bundle
from core.engines import OnnxEngine

if TYPE_CHECKING:
    import pandas as pd


class Choice(NamedTuple):
    """What was decided.

    Attributes:
        bundle: The served form, for the engine that was chosen.
        sentence: Which engine, and why, for the model card.
        error: How far ONNX Runtime's numbers are from scikit-learn's at most; None if scikit-learn serves.
    """

    bundle: Bundle
    sentence: str
    error: float | None


def choose(bundle: Bundle, pipeline: Any, holdout: "pd.DataFrame") -> Choice:
    """Export the pipeline, prove the graph, and take it if the proof holds.

    Args:
        bundle: The served form for scikit-learn.
        pipeline: The fitted pipeline.
        holdout: The test rows' inputs.
    """
    versions = bundle.manifest.versions | {"onnxruntime": version("onnxruntime")}
    try:
        found = export(pipeline, bundle.manifest.inputs)
        exported = replace(bundle, manifest=replace(bundle.manifest, engine=OnnxEngine.name, versions=versions), **found._asdict())
        proof = prove(exported, pipeline, holdout)
    except NotExportable as reason:
        return Choice(bundle, f"scikit-learn: {reason}", None)
    if not proof.holds:
        return Choice(bundle, f"scikit-learn: {proof}", None)
    return Choice(exported, f"ONNX Runtime, float64; {proof}", proof.error)
