"""What the configuration says of the use case's code, its files and scikit-learn, held against them."""

import hashlib
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config import Candidate, UseCase
from core.configcheck import Problem
from core.errors import UserError, first_line
from core.sources import FileSource, KafkaSource
from core.targets import KafkaTarget

FOLDER = Path(__file__).resolve().parent.parent / "usecases"
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
        if not list((FOLDER / folder).glob(path)):
            yield Problem(place, f"there is no file {path} beside the config: add it or correct the path")
    yield from _features_problems(usecase, folder)
    for name, candidate in usecase.train.candidates.items():
        yield from (Problem(("train", "candidates", name, *path), message) for path, message in _estimator_problems(usecase, candidate))


def features(name: str) -> Any:
    """Import a use case's `features` function.

    Raises:
        UserError: There is none, or its file does not import.
    """
    file = f"usecases/{name}/features.py"
    try:
        found = getattr(importlib.import_module(f"usecases.{name}.features"), "features", None)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("usecases"):
            raise UserError(f"{file} is missing: write the function features() there") from error
        raise UserError(f"{file} imports {error.name}, which is not installed: add it to pyproject.toml") from error
    except SyntaxError as error:
        raise UserError(f"{file} line {error.lineno}: {error.msg}: correct it") from error
    except Exception as error:  # the user's code raises what it likes
        raise UserError(f"{file} fails: {type(error).__name__}: {error}: correct it") from error
    if not callable(found):
        raise UserError(f"{file} has no function features(): add it")
    return found


def code_digest(name: str) -> str:
    """Return the SHA-256 of a use case's Python files, names included: the same wherever its code is the same."""
    found = hashlib.sha256()
    for path in sorted((FOLDER / name).glob("**/*.py")):
        found.update(f"{path.relative_to(FOLDER)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()


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
    """Run `features()` over tables of the contract's columns and no rows."""
    import ibis

    from core.portable import unportable, volatile

    try:
        function = features(folder)
    except UserError as error:
        yield Problem(("sources",), str(error))
        return
    wanted = inspect.signature(function).parameters.keys()
    if wanted != usecase.contract.keys():
        yield Problem(("sources",), f"features() takes {', '.join(wanted)}, the config names {', '.join(usecase.sources)}: make them the same")
        return
    tables = {
        name: ibis.table({key: IBIS_TYPES[column.type] for key, column in contract.columns.items()}, name)
        for name, contract in usecase.contract.items()
    }
    try:
        expression = function(**tables)
        made = set(expression.columns)
    except Exception as error:  # the user's code raises what it likes
        yield Problem(
            ("contract",), f"features() fails on the columns that the contract names: {first_line(error)}: name them, or correct features.py"
        )
        return
    for path, column in _columns_wanted(usecase):
        if column not in made:
            yield Problem(path, f"features() makes no column {column}: make it there or correct the name")
    for name in volatile(expression):
        yield Problem(("contract",), f"features() uses {name}, which changes from run to run: take it from the data")
    if usecase.spark:
        yield from (Problem(("spark",), text) for text in unportable(expression))


def _columns_wanted(usecase: UseCase) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield ("target",), usecase.target
    for kind in ("numeric", "categorical"):
        yield from ((("features", kind, index), name) for index, name in enumerate(getattr(usecase.features, kind)))
    if isinstance(usecase.key, tuple):
        yield from ((("key", index), name) for index, name in enumerate(usecase.key))
    if usecase.split.column:
        yield ("split", "column"), usecase.split.column


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
