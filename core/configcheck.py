"""From a document to a use case: its shape and what its parts must agree on, each problem with its place and the cure."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from core.config import MONOTONIC, Candidate, Limits, Serving, UseCase, UsecaseName
from core.contract import Contract
from core.contractcheck import contract_problems
from core.csvoptions import contradictions
from core.errors import shown
from core.frozen import WORDS, Identifier
from core.metrics import METRICS
from core.sources import Files, Source

LONGEST = 32  # characters of a value that a message repeats


class Problem(NamedTuple):
    """One thing wrong with a document."""

    path: tuple[str | int, ...]
    message: str


def check(document: dict[str, Any]) -> tuple[UseCase | None, list[Problem]]:
    """Parse a document; with problems, there is no use case."""
    try:
        usecase = UseCase.model_validate(document)
    except ValidationError as error:
        return None, _problems(document, error)
    found = list(_contradictions(usecase))
    return (None if found else usecase), found


class Draft(BaseModel):
    """What a use case has before there is a contract; the rest may be missing, or not yet right."""

    name: UsecaseName
    sources: dict[Identifier, Source] = Field(min_length=1)
    limits: Limits = Limits()


def check_draft(document: dict[str, Any]) -> tuple[UseCase | None, list[Problem]]:
    """Parse what there must be before there is a contract: each source then promises nothing."""
    try:
        draft = Draft.model_validate(document)
    except ValidationError as error:
        return None, _problems(document, error)
    nothing = Contract.model_construct(columns={})
    return UseCase.model_construct(**dict(draft), contract=dict.fromkeys(draft.sources, nothing)), []


def check_serving(document: dict[str, Any]) -> tuple[Serving | None, list[Problem]]:
    """Parse what a model server may use; the rest may be missing, or not yet right."""
    try:
        return Serving.model_validate(document.get("serving", {})), []
    except ValidationError as error:
        return None, [Problem(("serving", *item["loc"]), _sentence(item)) for item in error.errors()]


def _problems(document: dict[str, Any], error: ValidationError) -> list[Problem]:
    """Return one problem for each place.

    Of a value that may have several types, pydantic reports each; of an address also the key that it is short for; of a list
    with wrong items also that it is too short.
    """
    found: list[tuple[tuple[str | int, ...], ErrorDetails]] = []
    for item in error.errors():
        path = _place(item)
        if item["type"] == "too_short" and len(item["input"]) > item["ctx"]["actual_length"]:
            continue
        above = _at(document, path[:-1])
        is_type = len(path) > 1 and item["type"] != "missing" and (above is item["input"] or isinstance(above, str))
        if is_type and found and found[-1][0] == path[:-1]:
            found[-1][1]["msg"] += f" or {item['msg'].removeprefix('Input should be ')}"
        else:
            found.append((path[:-1] if is_type else path, item))
    return [Problem(path, _sentence(item)) for path, item in found]


def _at(document: Any, path: tuple[str | int, ...]) -> Any:
    """Return a part of the document, Ellipsis if there is none."""
    for part in path:
        try:
            document = document[part]
        except (LookupError, TypeError):
            return ...
    return document


def _place(item: ErrorDetails) -> tuple[str | int, ...]:
    """Leave out what pydantic adds to a place in the document: that a key is meant, and the kind of a source or target."""
    location, key = item["loc"], item["input"]
    if location[-1] == "[key]" and not isinstance(key, str):
        location = (*location[:-2], json.dumps(key, default=str))  # as it is written, not as Python writes it
    added = {"sources": 2, "load": 3}.get(str(location[0]))
    return tuple(part for index, part in enumerate(location) if part != "[key]" and index != added)


def _sentence(item: ErrorDetails) -> str:
    match item["type"]:
        case "address":
            return item["msg"]
        case "union_tag_invalid" | "union_tag_not_found" | "model_attributes_type":
            if item["loc"][0] == "load":
                return "no known kind of target: write an address, or a mapping with kind: s3, postgresql or kafka"
            return "no known kind of source: write an address, a path, or a mapping with kind: file, https, s3, postgresql or kafka"
        case "extra_forbidden":
            return "unknown key: remove it or correct its spelling"
        case "missing":
            return "missing: add it"
        case "tuple_type":
            return f"it is a list: write [{item['input']}]"
        case "string_pattern_mismatch" if str(item["input"]).startswith("s3://") and item["loc"][0] == "load":
            return f"a target on S3 is a prefix, which ends with a slash: write {str(item['input']).rstrip('/')}/"
        case "string_type" if isinstance(item["input"], int | float) or (item["input"] is None and item["loc"][-1] == "[key]"):
            return f'{item["msg"]}: write it in quotes: "{json.dumps(item["input"])}"'
        case "value_error" if isinstance(item["input"], dict):
            return item["msg"].removeprefix("Value error, ")
        case _:
            message = WORDS.get(item.get("ctx", {}).get("pattern", ""), item["msg"].removeprefix("Value error, "))
            return f"{message} (found {_short(item['input'])})"


def _short(value: Any) -> str:
    """Write a value, cut if it is long: after its passwords are masked."""
    text = shown(repr(value))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _contradictions(usecase: UseCase) -> Iterator[Problem]:
    """Yield what is named in one place and missing in another, and what cannot be meant."""
    for name in usecase.sources:
        if same := [other for other in usecase.sources if other < name and other.lower() == name.lower()]:
            yield Problem(("sources", name), f"{name} and {same[0]} differ only in case, which DuckDB ignores: rename one")
    csv = {name: source.csv for name, source in usecase.sources.items() if isinstance(source, Files)}
    yield from (Problem(path, message) for path, message in contradictions(csv))
    yield from (Problem(path, message) for path, message in contract_problems(usecase))
    yield from _feature_problems(usecase)
    yield from _key_problems(usecase)
    yield from _baseline_problems(usecase)
    yield from _split_problems(usecase)
    yield from _search_problems(usecase)
    if usecase.positive is not None and usecase.task != "binary":
        yield Problem(("positive",), f"a {usecase.task} task has no positive class: remove it")
    if usecase.task not in METRICS[usecase.metric].tasks:
        fitting = [name for name, metric in METRICS.items() if usecase.task in metric.tasks]
        yield Problem(("metric",), f"{usecase.metric} does not measure a {usecase.task} model: choose one of {', '.join(fitting)}")


def _feature_problems(usecase: UseCase) -> Iterator[Problem]:
    names = usecase.features.names
    if not names:
        yield Problem(("features",), "no feature: name at least one numeric or categorical column")
    for column in sorted(name for name, times in Counter(names).items() if times > 1):
        yield Problem(("features",), f"{column} is named twice: remove one")
    if usecase.target in names:
        yield Problem(("target",), f"{usecase.target} is also a feature, so the model would see the answer: remove it from features")
    for index, column in enumerate(usecase.evaluate.slices):
        if column not in names:
            yield Problem(("evaluate", "slices", index), f"{column} is not a feature: name one of {', '.join(names)}")


def _baseline_problems(usecase: UseCase) -> Iterator[Problem]:
    if usecase.evaluate.baseline == usecase.target:
        yield Problem(("evaluate", "baseline"), f"{usecase.target} is the target, which nobody knows beforehand: name another column")


def _split_problems(usecase: UseCase) -> Iterator[Problem]:
    if usecase.split.train + usecase.split.validation >= 1:
        yield Problem(("split",), "train and validation leave no test rows: make their sum less than 1")
    if usecase.split.by == "random" and usecase.key is None:
        cure = "write key: [id] with the columns that identify a row, or key: all if no two rows are equal; `mlops contract` proposes one"
        yield Problem(("split", "by"), f"a split at random needs a key: {cure}")
    if usecase.split.by == "random" and usecase.split.column is not None:
        yield Problem(("split", "column"), f"a split at random uses the key: write key: [{usecase.split.column}] instead")
    if usecase.split.by != "random" and usecase.split.column is None:
        yield Problem(("split",), f"a split by {usecase.split.by} needs a column: name it as split.column")
    if usecase.split.column == usecase.target:
        yield Problem(("split", "column"), f"{usecase.target} is the target, by which rows cannot be split: name another column")
    if usecase.split.stratify and usecase.split.by != "random":
        yield Problem(("split", "stratify"), f"a split by {usecase.split.by} cannot keep the shares of the classes: remove it, or split at random")
    if usecase.split.stratify and usecase.task == "regression":
        yield Problem(("split", "stratify"), "a regression has no classes to keep the shares of: remove it")


def _key_problems(usecase: UseCase) -> Iterator[Problem]:
    named = usecase.key if isinstance(usecase.key, tuple) else ()
    for index, column in enumerate(named):
        if column == usecase.target:
            yield Problem(("key", index), f"{column} is the target, which does not identify a row: name other columns")
        elif column in named[:index]:
            yield Problem(("key", index), f"{column} is named twice: remove one")


def _search_problems(usecase: UseCase) -> Iterator[Problem]:
    for name, candidate in usecase.train.candidates.items():
        for parameter in sorted(candidate.parameters.keys() & candidate.search.keys()):
            yield Problem(("train", "candidates", name, "search", parameter), "it is fixed under parameters too: remove one")
        yield from (Problem(("train", "candidates", name, *path), message) for path, message in _monotonic_problems(usecase, candidate))
    if usecase.train.max_trials < len(usecase.train.candidates):
        yield Problem(("train", "max_trials"), f"every candidate needs a trial: write at least {len(usecase.train.candidates)}")


def _monotonic_problems(usecase: UseCase, candidate: Candidate) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with constraints by column name: the estimator sees the numeric columns first, then those of the categories."""
    found: list[tuple[tuple[str | int, ...], Any]] = []
    for name in MONOTONIC:
        space = candidate.search.get(name)
        found.append((("parameters", name), candidate.parameters.get(name)))
        found += [(("search", name, "choice", index), value) for index, value in enumerate((space.choice or ()) if space else ())]
    for path, signs in found:
        if not isinstance(signs, dict):
            continue
        if usecase.features.categorical and candidate.preprocessing.categorical == "onehot":
            yield path, "constraints by column need preprocessing: {categorical: ordinal}: one-hot columns have no names to write here"
        for column, sign in signs.items():
            if column not in usecase.features.numeric:
                yield path, f"{column} is no numeric feature: name one of {', '.join(usecase.features.numeric)}"
            elif sign not in (-1, 0, 1):
                yield path, f"{column} has {sign}: write 1 for rising, -1 for falling, 0 for no constraint"
