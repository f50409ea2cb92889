"""What turns columns into answers. The only seam of the server: another engine is another class here."""

from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np

from core.bundle import Bundle, frame, load_model
from core.errors import UserError
from serving.columns import Columns

Answers = dict[str, "np.ndarray[Any, np.dtype[Any]]"]


class Engine(Protocol):
    """A loaded model, safe to call from several threads."""

    name: str

    def answer(self, columns: Columns, outputs: Collection[str]) -> Answers:
        """Compute the named outputs, one row an input row.

        Args:
            columns: Checked values in the order of training; None is missing.
            outputs: `predict`, `predict_proba` or both.
        """
        ...


class ScikitLearnEngine:
    """The fitted pipeline itself, run by scikit-learn."""

    name = "scikit-learn"

    def __init__(self, bundle: Bundle) -> None:
        self._inputs = bundle.manifest.inputs
        self._transform, self._model = _parts(load_model(bundle.model))

    def answer(self, columns: Columns, outputs: Collection[str]) -> Answers:
        """See `Engine.answer`."""
        table = self._transform(frame(columns, self._inputs))
        return {output: np.asarray(getattr(self._model, output)(table)) for output in outputs}


def load_engine(bundle: Bundle) -> Engine:
    """Return the engine that the bundle was registered for.

    Raises:
        UserError: This server does not have it, or it cannot read the model.
    """
    engines: dict[str, type[ScikitLearnEngine]] = {ScikitLearnEngine.name: ScikitLearnEngine}
    if bundle.manifest.engine not in engines:
        raise UserError(
            f"the model needs the engine {bundle.manifest.engine}, this server has {', '.join(engines)}: use the image it was registered with"
        )
    return engines[bundle.manifest.engine](bundle)


def _parts(pipeline: Any) -> tuple[Callable[[Any], Any], Any]:
    """Split off the last step, so that both outputs share one pass through the preprocessing, which is most of the time."""
    from sklearn.pipeline import Pipeline

    if isinstance(pipeline, Pipeline) and len(pipeline) > 1:
        return pipeline[:-1].transform, pipeline[-1]
    return lambda table: table, pipeline
