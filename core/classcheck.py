"""What the config says of the target's classes, held against what the contract and `features()` say of them."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.classes import listed, matching, unnamed
from core.config import Candidate, UseCase
from core.configcheck import Problem

if TYPE_CHECKING:
    from ibis import Table

BINARY = 2  # classes


def class_problems(usecase: UseCase, table: "Table") -> Iterator[Problem]:
    """Yield classes that the config should name and does not, or names and are none.

    Args:
        usecase: The use case.
        table: What `features()` makes of the contract's columns.
    """
    if usecase.task == "regression" or usecase.target not in table.columns:
        return
    kind, classes = table.schema()[usecase.target], _classes(usecase, table)
    for name, candidate in usecase.train.candidates.items():
        for path, weights in _weights(candidate):
            yield from (Problem(("train", "candidates", name, *path), message) for message in _wrong_weights(usecase, weights, classes))
    if usecase.task == "binary" and usecase.positive is None and (kind.is_string() or (classes and set(classes) != {0, 1})):
        yield Problem(("target",), unnamed(usecase, classes))
    if not classes:
        return
    if usecase.task == "binary" and len(classes) != BINARY and _keeps_rows(table):
        cure = "write task: multiclass" if len(classes) > BINARY else "correct them"
        yield Problem(("target",), f"{usecase.target} has the classes {listed(classes)}, a binary task has two: {cure}, or make two in features()")
    if usecase.positive is not None and matching(usecase.positive, classes) is None:
        yield Problem(("positive",), f"{usecase.positive!r} is no value of {usecase.target}: name one of {listed(classes)}")


def _wrong_weights(usecase: UseCase, weights: dict[Any, Any], classes: tuple[Any, ...]) -> Iterator[str]:
    for key, weight in weights.items():
        if classes and matching(key, classes) is None:
            yield f"{key!r} is no class of {usecase.target}: name {listed(classes)}"
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight < math.inf:
            yield f"the weight of {key!r} is {weight!r}: write a number, 0 or more"


def _weights(candidate: Candidate) -> Iterator[tuple[tuple[str | int, ...], dict[Any, Any]]]:
    """Yield each mapping of weights by class, and where it is."""
    fixed, space = candidate.parameters.get("class_weight"), candidate.search.get("class_weight")
    if isinstance(fixed, dict):
        yield ("parameters", "class_weight"), fixed
    for index, choice in enumerate((space.choice or ()) if space else ()):
        if isinstance(choice, dict):
            yield ("search", "class_weight", "choice", index), choice


def _keeps_rows(table: "Table") -> bool:
    """Whether `features()` takes every row of one source, and so every class: a filter or a join may leave one out."""
    import ibis.expr.operations as ops

    node = table.op()
    while isinstance(node, ops.Project | ops.DropColumns | ops.Sort | ops.Reference):
        node = node.parent
    return isinstance(node, ops.UnboundTable)


def _classes(usecase: UseCase, table: "Table") -> tuple[Any, ...]:
    """Return the values that the target may have, as far as the contract names them: of a column that `features()` takes as it is."""
    import ibis.expr.operations as ops

    if table.schema()[usecase.target].is_boolean():
        return (False, True)
    node, column = table.op(), usecase.target
    while not isinstance(node, ops.UnboundTable):
        if isinstance(node, ops.Reference):
            node = node.parent
            continue
        value = node.values.get(column)
        if not isinstance(value, ops.Field):
            return ()
        node, column = value.rel, value.name
    source = usecase.contract.get(node.name)
    return (source.columns[column].values or ()) if source and column in source.columns else ()
