"""The classes of a target, by the names that a config has for them."""

import json
from collections.abc import Sequence
from typing import Any

from core.bundle import Label
from core.config import UseCase
from core.errors import UserError


def matching(name: Any, classes: Sequence[Label]) -> Label | None:
    """Find the class that a config means: the same value, or the only one that is written like it.

    YAML has 1, 1.0, true and "1" for what may be a whole number, a float, a boolean or a text in the data.
    """
    for label in classes:
        if type(label) is type(name) and label == name:
            return label
    alike = [label for label in classes if not isinstance(label, str) or not isinstance(name, str)]
    alike = [label for label in alike if _number(label) == _number(name)]
    return alike[0] if len(alike) == 1 else None


def positive(usecase: UseCase, classes: Sequence[Label]) -> Label:
    """Return the class whose probability, F1 and average precision are meant.

    Args:
        usecase: A binary use case.
        classes: Its target's values.

    Raises:
        UserError: The config names none where it has to, or one that is not there.
    """
    if usecase.positive is None:
        if set(classes) != {0, 1}:
            raise UserError(unnamed(usecase, classes))
        return next(label for label in classes if label == 1)
    label = matching(usecase.positive, classes)
    if label is None:
        raise UserError(f"positive: {usecase.positive!r} is no value of {usecase.target}: name one of {listed(classes)}")
    return label


def order(usecase: UseCase, classes: Sequence[Label]) -> list[int]:
    """Return the order in which metrics see a model's classes: that of scikit-learn, but of two the positive one comes last."""
    places = list(range(len(classes)))
    if usecase.task != "binary":
        return places
    last = list(classes).index(positive(usecase, classes))
    return [*(place for place in places if place != last), last]


def note(usecase: UseCase, classes: Sequence[Label]) -> dict[str, str]:
    """Return how a run, a version or a page names the positive class: of a binary use case."""
    return {"positive_class": written(positive(usecase, classes))} if usecase.task == "binary" else {}


def unnamed(usecase: UseCase, classes: Sequence[Label]) -> str:
    """Say that the config has to name the positive class."""
    known = f" has the classes {listed(classes)}" if classes else " is text"
    example = f", such as positive: {_quoted(classes[0])}" if classes else ""
    return f"{usecase.target}{known}: name the class whose probability and metrics are meant as positive{example}"


def listed(classes: Sequence[Label]) -> str:
    """List classes as a config may name them: a text that would be read as something else stands in quotes."""
    return ", ".join(map(_quoted, classes))


def written(label: Label) -> str:
    """Write a class as YAML does."""
    if isinstance(label, bool):
        return str(label).lower()
    return str(int(label)) if isinstance(label, float) and label.is_integer() else str(label)


def _quoted(label: Label) -> str:
    """Write a class as it may stand in a config: in quotes if YAML would drop its blanks or read something else."""
    is_plain = not isinstance(label, str) or (label == label.strip() != "" and _number(label) == label and label not in ("null", "~"))
    return written(label) if is_plain else json.dumps(label, ensure_ascii=False)


def _number(label: Any) -> Any:
    """Return what a label is as a number, else itself."""
    if isinstance(label, str):
        label = {"true": True, "false": False}.get(label.lower(), label)
    try:
        return float(label)
    except (TypeError, ValueError):
        return label
