"""The configuration's file: found, read with its line numbers, overridden for one run, checked before anything starts."""

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from core.codecheck import code_problems
from core.config import UseCase
from core.configcheck import Problem, check, check_draft
from core.errors import UserError
from core.featurecode import FOLDER

Document = dict[str, Any]


def names() -> list[str]:
    """Name every use case: each folder of usecases/ that has a config.yaml."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.yaml"))


def load(name: str, overrides: Iterable[str] = ()) -> tuple[UseCase, Document]:
    """Read a use case and prove that it can start.

    Args:
        name: The folder's name under usecases/.
        overrides: `train.max_trials=3` and the like, for this run alone.

    Returns:
        The use case, and its document as the pipeline's parameter carries it.

    Raises:
        UserError: One line a problem: file, line, what is wrong, the cure.
    """
    path = _path(name)
    root = _compose(path)
    document = _override(_Loader("").construct_document(root), overrides)
    usecase, problems = check(document)
    if usecase:
        problems = list(code_problems(usecase, name))
    if problems or usecase is None:
        raise _refusal(path, root, problems)
    return usecase, document


def load_draft(name: str) -> UseCase:
    """Read of a use case what there must be before it has a contract: its name, its sources and their limits.

    Raises:
        UserError: As of `load`.
    """
    path = _path(name)
    root = _compose(path)
    usecase, problems = check_draft(_Loader("").construct_document(root))
    if usecase is None:
        raise _refusal(path, root, problems)
    return usecase


def where(name: str, path: tuple[str | int, ...]) -> str:
    """Say on which line of its config file a use case says something."""
    file = FOLDER / name / "config.yaml"
    return f"{_relative(file)} line {_line(_compose(file), path)}"


def schema() -> str:
    """Print-ready JSON schema of the configuration, for editors."""
    return json.dumps(UseCase.model_json_schema(), indent=2) + "\n"


class _Loader(yaml.SafeLoader):
    """Leaves dates as text: a pipeline parameter is JSON, and JSON knows no dates. Refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key} is written twice", node.value[index][0].start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _compose(path: Path) -> yaml.Node:
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise UserError(f"{_relative(path)} line 1: it must be a mapping of keys to values: start with `name: {path.parent.name}`")
        loader.construct_document(root)
        return root
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{_relative(path)} line {line}: not valid YAML: {error.problem}: correct it") from error
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        raise UserError(f"{_relative(path)} line 1: not UTF-8 text, or with control characters: save it as UTF-8 without them") from error


def _path(name: str) -> Path:
    path = FOLDER / name / "config.yaml"
    if not path.is_file():
        raise UserError(f"there is no use case {name}: choose one of {', '.join(names())}, or add usecases/{name}/config.yaml")
    return path


def _refusal(path: Path, root: yaml.Node, problems: list[Problem]) -> UserError:
    """Say each problem with its line; one without a path names another file."""
    lines = [f"{_relative(path)} line {_line(root, p.path)}: {'.'.join(map(str, p.path))}: {_hint(p)}" if p.path else p.message for p in problems]
    return UserError("\n".join(lines))


def _override(document: Document, overrides: Iterable[str]) -> Document:
    for override in overrides:
        path, equals, text = override.partition("=")
        *parents, last = path.split(".")
        if not equals or not last:
            raise UserError(f"--set {override}: write it as --set train.max_trials=3")
        place = document
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UserError(f"--set {override}: {key} is a single value, nothing lies below it")
        try:
            place[last] = yaml.load(text, _Loader)  # noqa: S506  (_Loader is a SafeLoader)
        except yaml.YAMLError as error:
            raise UserError(f"--set {override}: not valid YAML: {getattr(error, 'problem', 'a control character')}") from error
    return document


def _line(node: yaml.Node, path: tuple[str | int, ...]) -> int:
    """Line of the deepest part of the path that is there."""
    line = node.start_mark.line
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pairs = [(key, value) for key, value in node.value if key.value == str(part)]
            if not pairs:
                break
            line, node = pairs[0][0].start_mark.line, pairs[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return line + 1


def _hint(problem: Problem) -> str:
    """Name the key that was meant, if one is close."""
    if not problem.message.startswith("unknown key"):
        return problem.message
    known = {name for model in UseCase.model_json_schema()["$defs"].values() for name in model.get("properties", {})} | set(UseCase.model_fields)
    close = difflib.get_close_matches(str(problem.path[-1]), sorted(known), n=1)
    return f"{problem.message} (did you mean {close[0]}?)" if close else problem.message


def _relative(path: Path) -> str:
    return str(path.relative_to(FOLDER.parent)) if path.is_relative_to(FOLDER.parent) else str(path)
