"""A candidate's parameters as its estimator takes them: classes and columns that the config names become the estimator's own."""

from collections.abc import Sequence
from typing import Any

from core.bundle import Label
from core.classes import listed, matching, order, positive
from core.config import MONOTONIC, UseCase
from core.errors import UserError


def adapted(usecase: UseCase, name: str, chosen: dict[str, Any], classes: Sequence[Label]) -> dict[str, Any]:
    """Return all parameters of a candidate.

    Args:
        usecase: The use case.
        name: The candidate's.
        chosen: What the search chose.
        classes: Of the training rows, sorted; empty for a regression.

    Raises:
        UserError: A parameter weighs what is no class, or not the positive one.
    """
    given = usecase.train.candidates[name].parameters | chosen
    if isinstance(given.get("class_weight"), dict):
        given["class_weight"] = {_class(usecase, name, key, classes): weight for key, weight in given["class_weight"].items()}
    is_turned = usecase.task == "binary" and order(usecase, classes) == [1, 0]
    for parameter in MONOTONIC:
        signs = given.get(parameter)
        if isinstance(signs, dict):
            given[parameter] = signs = [signs.get(column, 0) for column in usecase.features.names]
        if is_turned and signs is not None:
            given[parameter] = _turned(parameter, name, signs)
    if is_turned and "scale_pos_weight" in given:
        wanted = positive(usecase, classes)
        raise UserError(f"scale_pos_weight of {name} weighs {listed(classes[1:])}, not {wanted}: write class_weight: {{{wanted}: ...}} instead")
    return given


def _turned(parameter: str, name: str, signs: Any) -> list[int]:
    """Return constraints of the positive class as those of the class that sorts last, which estimators mean."""
    if not isinstance(signs, list | tuple) or not all(sign in (-1, 0, 1) for sign in signs):
        raise UserError(f"{parameter} of {name} is {signs!r}: write a list of 1, -1 and 0, or these by column")
    return [-sign for sign in signs]


def _class(usecase: UseCase, name: str, key: Any, classes: Sequence[Label]) -> Label:
    label = matching(key, classes)
    if label is None:
        raise UserError(f"class_weight of {name} has the key {key!r}, which is no class of {usecase.target}: name {listed(classes)}")
    return label
