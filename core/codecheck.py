"""What the configuration says of the use case's code, its files and scikit-learn, held against them."""

import importlib.util
import inspect
from collections.abc import Iterator
from typing import Any

from core.classcheck import class_problems
from core.config import Candidate, UseCase
from core.configcheck import Problem
from core.errors import UserError, first_line
from core.featurecheck import table_problems
from core.featurecode import FOLDER, features, table
from core.sources import FileSource, KafkaSource, matching
from core.targets import KafkaTarget

IBIS_TYPES = {"integer": "int64", "number": "float64", "string": "string", "boolean": "boolean", "timestamp": "timestamp('UTC')", "date": "date"}
EXTRAS = ("lightgbm",)  # of pyproject.toml, whose estimators a config may name
NESTED = ("base_estimator", "estimator", "estimators", "final_estimator", "regressor", "steps", "transformer")  # parameters that are estimators
NO_NESTED = "{kind} takes another estimator as {key}, which a config cannot write yet: choose an estimator that needs none"
VALUE = 300  # letters of what scikit-learn says of a value
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
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module raises what it likes, and may call sys.exit()
        if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
            raise UserError(
                f"{path} needs the extra {error.name}, which is not installed: run `make add EXTRAS={error.name}`, "
                f"and build the image with EXTRAS={error.name}"
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
    yield from class_problems(usecase, expression)


def _estimator_problems(usecase: UseCase, candidate: Candidate) -> Iterator[Problem]:
    """Yield what is wrong with an estimator and its parameters, as far as it can be known without data."""
    try:
        _require_loadable(candidate.estimator, usecase.task)
        kind = estimator(candidate.estimator)
    except UserError as error:
        yield Problem(("estimator",), str(error))
        return
    problems = list(_parameter_problems(kind, candidate))
    yield from problems
    if problems:
        return
    try:
        fits = _fits_task(kind(**candidate.parameters), usecase.task)
    except Exception as error:  # an estimator raises what it likes
        if nested := [key for key in NESTED if key in inspect.signature(kind).parameters]:
            yield Problem(("estimator",), NO_NESTED.format(kind=kind.__name__, key=nested[0]))
            return
        yield Problem(("parameters",), f"{kind.__name__} cannot be made ({first_line(error)}): correct them, or choose another estimator")
        return
    if not fits:
        yield Problem(("estimator",), f"{candidate.estimator} does not fit a {usecase.task} task: choose {TASK_ESTIMATOR[usecase.task]}")


def _require_loadable(path: str, task: str) -> None:
    """Refuse an estimator of another package before it is imported: the server would not load its model (`core.trusted_types`)."""
    package, dot, _ = path.partition(".")
    if not dot or package in ("", "sklearn", *EXTRAS):
        return
    missing = "" if importlib.util.find_spec(package) else f"{package} is not installed, and "
    example = f"sklearn.ensemble.HistGradientBoosting{'Regressor' if task == 'regression' else 'Classifier'}"
    raise UserError(f"{path}: {missing}models only of scikit-learn and LightGBM can be loaded safely: choose one of theirs, such as {example}")


def _parameter_problems(kind: Any, candidate: Candidate) -> Iterator[Problem]:
    """Yield parameters that the estimator does not have, that are estimators, or whose values scikit-learn refuses."""
    known = inspect.signature(kind).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    required = [key for key, parameter in known.items() if key in NESTED and parameter.default is parameter.empty]
    for key in required:
        yield Problem(("estimator",), NO_NESTED.format(kind=kind.__name__, key=key))
    for section, key, values in _values(candidate):
        if key not in known and not takes_any:
            yield Problem((section, key), f"{kind.__name__} has no such parameter: choose one of {', '.join(known)}")
        elif key in NESTED and key not in required and any(value is not None for value in values):
            yield Problem((section, key), NO_NESTED.format(kind=kind.__name__, key=key))
        elif key not in NESTED:
            yield from (Problem((section, key), message) for message in _refused_values(kind, key, values))


def _values(candidate: Candidate) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Yield each parameter with the values that it may get: all of a choice, the bounds of a range."""
    yield from (("parameters", key, (value,)) for key, value in candidate.parameters.items())
    yield from (("search", key, space.choice or space.int or space.float or ()) for key, space in candidate.search.items())


def _refused_values(kind: Any, key: str, values: tuple[Any, ...]) -> Iterator[str]:
    from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

    for value in values:
        try:
            validate_parameter_constraints(getattr(kind, "_parameter_constraints", {}), {key: value}, kind.__name__)
        except InvalidParameterError as error:
            yield f"{first_line(error)[:VALUE]}: correct it"


def _fits_task(instance: Any, task: str) -> bool:
    from sklearn.base import is_classifier, is_regressor

    return bool(is_regressor(instance)) if task == "regression" else is_classifier(instance) and hasattr(instance, "predict_proba")
