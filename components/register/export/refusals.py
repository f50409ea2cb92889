"""What scikit-learn refuses to answer: a graph cannot raise an error, so the engine has to know."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from components.register.export.errors import NotExportable
from components.register.export.text import UNKNOWN
from core.bundle import Input, frame


def required(pipeline: Any, inputs: Sequence[Input], vocabularies: Mapping[str, Sequence[str]]) -> list[int]:
    """Return the places of the numeric inputs that may not be missing.

    Raises:
        NotExportable: The pipeline refuses a text that training never saw, or a missing one.
    """
    usual = {item.name: 0.0 if item.datatype != "BYTES" else next(iter(vocabularies[item.name]), UNKNOWN) for item in inputs}
    if not _is_answered(pipeline, inputs, usual):
        return []  # what is asked is odd, not what is missing
    for item in inputs:
        if item.datatype == "BYTES" and not all(_is_answered(pipeline, inputs, usual | {item.name: value}) for value in (UNKNOWN, None)):
            raise NotExportable(f"{type(pipeline).__name__} refuses an unknown or a missing value of {item.name}, which a graph cannot")
    numeric = [place for place, item in enumerate(inputs) if item.datatype != "BYTES"]
    return [place for place in numeric if not _is_answered(pipeline, inputs, usual | {inputs[place].name: None})]


def _is_answered(pipeline: Any, inputs: Sequence[Input], row: Mapping[str, Any]) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline.predict(frame({name: [value] for name, value in row.items()}, inputs))
    except ValueError:
        return False
    return True
