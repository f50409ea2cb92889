"""The files of the use cases: found, read, checked before anything starts."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from core.config import Serving, UseCase
from core.configcheck import Problem, check, check_draft, check_serving
from core.configtext import parameter, read, refusal, terminated
from core.errors import UserError, one_line
from core.featurecode import FOLDER

Part = TypeVar("Part")


def names() -> list[str]:
    """Name every use case: each folder of usecases/ that has a config.yaml."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.yaml"))


def load(name: str, overrides: Iterable[str] = ()) -> UseCase:
    """Read a use case and prove that it can start.

    Args:
        name: The folder's name under usecases/.
        overrides: `train.max_trials=3` and so on, for this run alone.

    Returns:
        The use case. Its `text` is what the pipeline's parameter carries.

    Raises:
        UserError: One line for each problem: file, line, what is wrong, what to do.
    """
    from core.codecheck import code_problems  # with ibis and scikit-learn, which `load_serving` does not need

    written, overrides = _written(name), list(overrides)
    text = read(written, _relative(_path(name)))
    text.override(overrides)
    usecase, problems = check(text.document)
    if usecase:
        problems = list(code_problems(usecase, name))
    if problems or usecase is None:
        raise refusal(text, problems)
    return usecase.with_text(parameter(name, written, overrides))


def load_draft(name: str) -> UseCase:
    """Read of a use case what there must be before it has a contract: its name, its sources and their limits.

    Raises:
        UserError: As of `load`.
    """
    return _part(name, check_draft)


def load_serving(name: str) -> Serving:
    """Read what a use case's server may use. The rest of the config may be unfinished: a rollback must not wait for it.

    Raises:
        UserError: As of `load`.
    """
    return _part(name, check_serving)


def unfinished(name: str) -> str:
    """Say in one line why a use case cannot start yet; empty if it can."""
    try:
        load(name)
    except UserError as error:
        return f"unfinished: {one_line(error)}"
    return ""


def schema() -> str:
    """Return the JSON schema of the configuration, for editors."""
    return json.dumps(UseCase.model_json_schema(), indent=2) + "\n"


def _part(name: str, check: Callable[[dict[str, Any]], tuple[Part | None, list[Problem]]]) -> Part:
    """Read what one check finds in a config that may be unfinished elsewhere."""
    text = read(_written(name), _relative(_path(name)))
    part, problems = check(text.document)
    if part is None:
        raise refusal(text, problems)
    return part


def _written(name: str) -> str:
    path = _path(name)
    try:
        return terminated(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{_relative(path)} line 1: not UTF-8 text, or with control characters: save it as UTF-8 without them") from error
    except OSError as error:
        raise UserError(f"{_relative(path)} cannot be read: {error.strerror}: look at its permissions") from error


def _path(name: str) -> Path:
    path = FOLDER / name / "config.yaml"
    if not path.is_file():
        raise UserError(f"there is no use case {name}: choose one of {', '.join(names())}, or add usecases/{name}/config.yaml")
    return path


def _relative(path: Path) -> str:
    return str(path.relative_to(FOLDER.parent)) if path.is_relative_to(FOLDER.parent) else str(path)
