"""What the configuration says of the use case's code, its files and scikit-learn, held against them."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from core.config import Candidate, UseCase
from core.configcheck import Problem
from core.errors import UserError, first_line
from core.featurecheck import table_problems
from core.featurecode import FOLDER, features, table
from core.sources import FileSource, KafkaSource, matching
from core.targets import KafkaTarget

IBIS_TYPES = {"integer": "int64", "number": "float64", "string": "string", "boolean": "boolean", "timestamp": "timestamp('UTC')", "date": "date"}
EXTRAS = ("lightgbm",)  # of pyproject.toml, whose estimators a config may name
TASK_ESTIMATOR = {"regression": "a regressor", "binary": "a classifier with predict_proba()", "multiclass": "a classifier with predict_proba()"}


def code_problems(usecase: UseCase, folder: str) -> Iterator[Problem]:
    """Yield what the configuration says of code and files that are not as it says.

    Args:
        usecase: The use case.
        folder: Its folder's name.
    """
    if usecase.name != folder:
        yield Problem(("name",), f"the folder is called {folder}: write name: {folder} or rename the folder")
    for place, path in _files(usecase):
        if not matching(FOLDER / folder, path):
            yield Problem(place, f"there is no file {path} beside the config: add it or correct the path")
    yield from _features_problems(usecase, folder)
    for name, candidate in usecase.train.candidates.items():
        yield from (Problem(("train", "candidates", name, *path), message) for path, message in _estimator_problems(usecase, candidate))


def estimator(path: str) -> Any:
    """Import an estimator's class by its path.

    Raises:
        UserError: There is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, TypeError, ValueError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            raise UserError(
                f"{path} needs the extra {error.name}, which is not installed: run `uv sync --extra {error.name}`, "
                f"and build the image with EXTRAS='--extra {error.name}'"
            ) from error
        found = None
    if not (inspect.isclass(found) and hasattr(found, "fit") and hasattr(found, "get_params")):
        raise UserError(f"there is no estimator {path}: write the import path of a class with fit(), such as sklearn.linear_model.LogisticRegression")
    return found


def _files(usecase: UseCase) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield every file or glob beside the config that it names, and where."""
    for name, source in usecase.sources.items():
        if isinstance(source, FileSource):
            yield ("sources", name), source.path
        elif isinstance(source, KafkaSource) and source.definition:
            yield ("sources", name, "definition"), source.definition
    for index, load in enumerate(usecase.load):
        if isinstance(load.to, KafkaTarget) and load.to.definition:
            yield ("load", index, "to", "definition"), load.to.definition


def _features_problems(usecase: UseCase, folder: str) -> Iterator[Problem]:
    """Call `features()` with tables of the contract's columns and no rows."""
    import ibis

    try:
        wanted = inspect.signature(features(folder)).parameters.keys()
        if wanted != usecase.contract.keys():
            yield Problem(("sources",), f"features() takes {', '.join(wanted)}, the config names {', '.join(usecase.sources)}: make them the same")
            return
        schemas = {name: {key: IBIS_TYPES[column.type] for key, column in contract.columns.items()} for name, contract in usecase.contract.items()}
        expression = table(folder, {name: ibis.table(schema, name) for name, schema in schemas.items()})
    except UserError as error:
        yield Problem((), str(error))
        return
    yield from table_problems(usecase, expression)


def _estimator_problems(usecase: UseCase, candidate: Candidate) -> Iterator[Problem]:
    try:
        found = estimator(candidate.estimator)
    except UserError as error:
        yield Problem(("estimator",), str(error))
        return
    known = inspect.signature(found).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    unknown = [(section, key) for section in ("parameters", "search") for key in getattr(candidate, section) if key not in known and not takes_any]
    yield from (Problem(path, f"{found.__name__} has no such parameter: choose one of {', '.join(known)}") for path in unknown)
    if unknown:
        return
    try:
        instance = found(**candidate.parameters)
    except TypeError as error:
        yield Problem(("parameters",), f"{found.__name__} cannot be made ({first_line(error)}): add them here, or choose another estimator")
        return
    if not _fits_task(instance, usecase.task):
        yield Problem(("estimator",), f"{candidate.estimator} does not fit a {usecase.task} task: choose {TASK_ESTIMATOR[usecase.task]}")


def _fits_task(instance: Any, task: str) -> bool:
    from sklearn.base import is_regressor

    return bool(is_regressor(instance)) if task == "regression" else not is_regressor(instance) and hasattr(instance, "predict_proba")
