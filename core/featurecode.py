"""The code in a use case's folder: its `features()`, imported and called. A mistake there is a sentence with its file and line."""

import hashlib
import importlib
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import UserError, first_line

if TYPE_CHECKING:
    from ibis import Table

FOLDER = Path(__file__).resolve().parent.parent / "usecases"
INTO_MEMORY = "contains unbound tables"  # ibis, when an expression is executed that has no data yet


def features(name: str) -> Callable[..., Any]:
    """Import a use case's `features` function.

    Raises:
        UserError: There is none, or its file does not import.
    """
    file = f"usecases/{name}/features.py"
    try:
        function: Any = getattr(importlib.import_module(f"usecases.{name}.features"), "features", None)
    except ModuleNotFoundError as error:
        if error.name in ("usecases", f"usecases.{name}", f"usecases.{name}.features"):
            raise UserError(f"{file} is missing: write the function features() there") from error
        missing = f"{_where(error, name)} imports {error.name}"
        if error.name and error.name.startswith("usecases."):
            raise UserError(f"{missing}, but there is no {error.name.replace('.', '/')}.py: add it or correct the import") from error
        raise UserError(f"{missing}, which is not installed: `make add PACKAGE={error.name}` adds it") from error
    except SyntaxError as error:
        raise UserError(f"{_relative(error.filename, name) or file} line {error.lineno}: {error.msg}: correct it") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's code raises what it likes, and may call sys.exit()
        raise UserError(f"{_where(error, name)}: {_described(error)}: correct it") from error
    if not inspect.isfunction(function):
        raise UserError(f"{file} has no function features(): add it")
    return function


def table(name: str, tables: "Mapping[str, Table]") -> "Table":
    """Call a use case's `features()`.

    Args:
        name: The use case.
        tables: The table of each source, of the columns that its contract names.

    Returns:
        Its expression.

    Raises:
        UserError: It fails, or returns something else than an ibis table.
    """
    import ibis

    function = features(name)
    try:
        expression = function(**tables)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UserError(f"{_where(error, name)}: features() fails: {_advice(error)}") from error
    if not isinstance(expression, ibis.Table):
        raise UserError(f"usecases/{name}/features.py: features() returns {type(expression).__name__}: return an ibis table")
    return expression


def code_digest(name: str) -> str:
    """Return the SHA-256 of a use case's Python files, names included: the same wherever its code is the same."""
    digest = hashlib.sha256()
    for path in sorted((FOLDER / name).glob("**/*.py")):
        digest.update(f"{path.relative_to(FOLDER)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def _where(error: BaseException, name: str) -> str:
    """Return the file and line of the user's code that an error was raised in or below."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if file := _relative(frame.filename, name):
            return f"{file} line {frame.lineno}"
    return f"usecases/{name}/features.py"


def _relative(filename: str | None, name: str) -> str | None:
    """Return the path of a file in the use case's folder, None for any other file."""
    path = Path(filename or "").resolve()
    return str(path.relative_to(FOLDER.parent)) if path.is_relative_to(FOLDER / name) else None


def _advice(error: BaseException) -> str:
    """Say what went wrong and what to do, for the mistakes that people make most."""
    text = first_line(error)
    if INTO_MEMORY in text:
        return "it asks for the data (to_pandas(), execute()), but there are none before the run: write ibis, not pandas, and return the expression"
    if (isinstance(error, AttributeError) and "'Table' object" in text) or "is not found in table" in text:
        return f"{text}: features() sees the columns that the contract names: add the column there, or correct the name"
    if isinstance(error, AttributeError) and type(error.obj).__module__.startswith("ibis."):
        return f"{text}: this is an ibis expression, so write ibis, not pandas"
    return f"{_described(error)}: correct it"


def _described(error: BaseException) -> str:
    text = first_line(error).rstrip(". ")
    return text if text == type(error).__name__ else f"{type(error).__name__}: {text}"
