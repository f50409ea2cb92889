"""From a document to a use case: its shape and what its parts must agree on, each problem with its place and the cure."""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core.config import UseCase
from core.contract import Column
from core.errors import UserError
from core.metrics import METRICS


class Problem(NamedTuple):
    """One thing wrong with a document."""

    path: tuple[str | int, ...]
    message: str


def parse(document: dict[str, Any]) -> UseCase:
    """Make the use case of a document as a pipeline parameter carries it.

    Raises:
        UserError: The document is wrong; one line for each problem.
    """
    usecase, found = check(document)
    if usecase is None:
        raise UserError("\n".join(f"{'.'.join(map(str, problem.path))}: {problem.message}" for problem in found))
    return usecase


def check(document: dict[str, Any]) -> tuple[UseCase | None, list[Problem]]:
    """Parse a document; with problems, there is no use case."""
    try:
        usecase = UseCase.model_validate(restored(document))
    except ValidationError as error:
        return None, [Problem(_place(item["loc"]), _sentence(item)) for item in error.errors()]
    found = list(_contradictions(usecase))
    return (None if found else usecase), found


def restored(value: Any) -> Any:
    """Undo what a STRUCT parameter does: 1 travels as 1.0, and keys lose their order, so they are sorted everywhere."""
    if isinstance(value, dict):
        return {key: restored(item) for key, item in sorted(value.items(), key=lambda pair: str(pair[0]))}
    if isinstance(value, list):
        return [restored(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _place(location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Leave out what pydantic adds to a place in the document: that a key is meant, and the kind of a source."""
    return tuple(part for index, part in enumerate(location) if part != "[key]" and not (location[0] == "sources" and index == 2))


def _sentence(item: ErrorDetails) -> str:
    match item["type"]:
        case "address":
            return item["msg"]
        case "union_tag_invalid" | "union_tag_not_found" | "model_attributes_type":
            return "no known kind of source: write an address, a path, or a mapping with kind: file, https, s3, postgresql or kafka"
        case "extra_forbidden":
            return "unknown key: remove it or correct its spelling"
        case "missing":
            return "missing: add it"
        case _:
            found = re.sub("//[^/@]*@", "//...@", repr(item["input"]))  # a password in an address is not repeated
            return f"{item['msg'].removeprefix('Value error, ')} (found {found})"


def _contradictions(usecase: UseCase) -> Iterator[Problem]:
    """Yield what is named in one place and missing in another, and what cannot be meant."""
    yield from _source_problems(usecase)
    yield from _feature_problems(usecase)
    yield from _split_problems(usecase)
    yield from _search_problems(usecase)
    if usecase.task not in METRICS[usecase.metric].tasks:
        fitting = [name for name, metric in METRICS.items() if usecase.task in metric.tasks]
        yield Problem(("metric",), f"{usecase.metric} does not measure a {usecase.task} model: choose one of {', '.join(fitting)}")


def _source_problems(usecase: UseCase) -> Iterator[Problem]:
    for name in usecase.sources:
        if name not in usecase.contract:
            yield Problem(("sources", name), f"there is no contract for it: add contract.{name}")
    for name, contract in usecase.contract.items():
        if name not in usecase.sources:
            yield Problem(("contract", name), f"there is no such source: name one of {', '.join(usecase.sources)}")
        for column, promise in contract.columns.items():
            yield from (Problem(("contract", name, "columns", column, *path), message) for path, message in _bound_problems(promise))
        for index, columns in enumerate(contract.unique):
            for column in sorted(set(columns) - contract.columns.keys()):
                yield Problem(
                    ("contract", name, "unique", index), f"{column} is not among the columns of contract.{name}: add it there or remove it here"
                )


def _bound_problems(column: Column) -> Iterator[Problem]:
    """Yield the bounds that are no values of the column's type: a date is text, since a pipeline parameter knows no dates."""
    kinds: dict[str, Callable[[Any], Any]] = {"integer": float, "number": float, "timestamp": datetime.fromisoformat, "date": date.fromisoformat}
    read = kinds.get(column.type, str)
    for key in ("min", "max"):
        bound = getattr(column, key)
        try:
            if bound is not None:
                read(bound)
        except (TypeError, ValueError):
            yield Problem((key,), f"{bound!r} is no {column.type}: correct it")


def _feature_problems(usecase: UseCase) -> Iterator[Problem]:
    names = usecase.features.names
    if not names:
        yield Problem(("features",), "no feature: name at least one numeric or categorical column")
    for column in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(("features",), f"{column} is named twice: remove one")
    if usecase.target in names:
        yield Problem(("target",), f"{usecase.target} is also a feature, so the model would see the answer: remove it from features")
    for index, column in enumerate(usecase.evaluate.slices):
        if column not in names:
            yield Problem(("evaluate", "slices", index), f"{column} is not a feature: name one of {', '.join(names)}")


def _split_problems(usecase: UseCase) -> Iterator[Problem]:
    if usecase.split.train + usecase.split.validation >= 1:
        yield Problem(("split",), "train and validation leave no test rows: make their sum less than 1")
    if (usecase.split.by == "time") != (usecase.split.column is not None):
        yield Problem(("split",), "a split by time needs a column, a random one has none")


def _search_problems(usecase: UseCase) -> Iterator[Problem]:
    for name, candidate in usecase.train.candidates.items():
        for parameter in sorted(candidate.parameters.keys() & candidate.search.keys()):
            yield Problem(("train", "candidates", name, "search", parameter), "it is fixed under parameters too: remove one")
    if usecase.train.max_trials < len(usecase.train.candidates):
        yield Problem(("train", "max_trials"), f"every candidate needs a trial: write at least {len(usecase.train.candidates)}")
