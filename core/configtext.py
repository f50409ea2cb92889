"""A config as text: the file as it is written, and after it, as a second document, the overrides of one run.

This text is the pipeline's only parameter, so that every step reads what the file says, type by type and line by line.
A text that is too long for a parameter travels with the code instead: the parameter then names the file and its digest.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml

from core import configyaml
from core.config import UseCase
from core.configcheck import LONGEST, Problem, check
from core.confighint import hint
from core.errors import UserError
from core.featurecode import FOLDER

LIMIT = 65_536  # bytes in JSON: a parameter is part of a command's argument, and Linux allows 131,072 for one
LONG = "# too long for a parameter"
# What kfp, its local runner and Argo Workflows replace or refuse wherever it is in a parameter, comments included.
PLACEHOLDER = re.compile(r"\{\{\s*(?:\$|=|(?:workflow|inputs|outputs|tasks|steps|pod|node|item|retries)\b)|/kfp-workspace")
REPLACED = "{} is a placeholder of Kubeflow Pipelines, which would replace it: write it in another way"
USECASE = "USECASE"  # the variable that names the use case where the parameter is empty
OVERRIDES = "--- # overrides of this run (--set)\n"


class Text(NamedTuple):
    """What a text says.

    Attributes:
        file: Where it was written, relative to the checkout.
        root: The tree of the file's document, which knows the lines.
        document: The file's document with the overrides applied.
        overrides: Those that are applied, by the place that each changes.
    """

    file: str
    root: yaml.MappingNode
    document: dict[str, Any]
    overrides: dict[tuple[str, ...], str]

    def where(self, path: tuple[str | int, ...]) -> str:
        """Return the last override of what is below a part of the document, or of what it is in, or else its file and line."""
        below = [override for changed, override in self.overrides.items() if changed[: len(path)] == path]
        above = [override for changed, override in self.overrides.items() if path[: len(changed)] == changed]
        changes = below or above
        return _set(changes[-1]) if changes else f"{self.file} line {configyaml.line(self.root, path)}"

    def override(self, overrides: Iterable[str]) -> None:
        """Change the document for one run.

        Raises:
            UserError: An override has no place in it, or is not YAML.
        """
        for override in overrides:
            self.overrides[_apply(self.document, override)] = override


def parse(config: str) -> UseCase:
    """Return the use case of a pipeline's parameter.

    Args:
        config: The parameter, as `parameter` makes it. An empty one means the file of the image.

    Raises:
        UserError: One line for each problem: file, line, what is wrong, what to do.
    """
    config = config if config.strip() else _of_image()
    text = _whole(config)
    usecase, problems = check(text.document)
    if usecase is None:
        raise refusal(text, problems)
    return usecase.with_text(config)


def _of_image() -> str:
    """Return the config that travels with the code."""
    name = os.environ.get(USECASE, "")
    path = FOLDER / name / "config.yaml"
    if not name or not path.is_file():
        raise UserError(f"the parameter config is empty, and the image has no usecases/{name or USECASE}/config.yaml: submit the run again")
    return parameter(name, terminated(path.read_text(encoding="utf-8")))


def is_of_image(usecase: UseCase) -> bool:
    """Tell whether a run's config, its overrides aside, is the one that travels with the code: a recurring run keeps the config it was made with."""
    path = FOLDER / usecase.name / "config.yaml"
    return path.is_file() and resolve(usecase.text) == terminated(path.read_text(encoding="utf-8"))


def parameter(name: str, text: str, overrides: Iterable[str] = ()) -> str:
    """Return what the pipeline gets as its parameter `config`.

    Args:
        name: The use case.
        text: Its config.yaml.
        overrides: `train.max_trials=3` and so on.

    Raises:
        UserError: The overrides are too long.
    """
    lines = [f"- {configyaml.quoted(override)}\n" for override in overrides]
    appended = "".join([OVERRIDES, *lines]) if lines else ""
    if _size(text + appended) <= LIMIT:
        return text + appended
    if _size(appended) > LIMIT // 2:
        raise UserError(f"the overrides are longer than {LIMIT // 2:,} bytes: write them into usecases/{name}/config.yaml")
    named = {"file": f"{name}/config.yaml", "sha256": _digest(text)}
    return f"{LONG} ({_size(text):,} bytes): read from usecases/ in the image\n{json.dumps(named)}\n" + appended


def resolve(config: str) -> str:
    """Return the file's text of a parameter, without the overrides. The parameter may name a file that travels with the code.

    Raises:
        UserError: That file is missing or is another one.
    """
    text = config.partition(OVERRIDES)[0]
    if not text.startswith(LONG):
        return text
    named = configyaml.value(text)
    path = FOLDER / str(named["file"])
    text = terminated(path.read_text(encoding="utf-8")) if path.is_file() else ""
    if _digest(text) != named["sha256"]:
        raise UserError(
            f"usecases/{named['file']} is not the file that the run was started with: use an image of that commit, or start the run again"
        )
    return text


def read(text: str, file: str = "") -> Text:
    """Read the text of a file.

    Args:
        text: A config without overrides.
        file: How messages name its file, if it is known; the text of a parameter has only the use case's name.

    Raises:
        UserError: It is not one YAML document, not a mapping, or would not reach the steps unchanged.
    """
    if placeholder := PLACEHOLDER.search(text):
        line = text.count("\n", 0, placeholder.start()) + 1
        raise UserError(f"{file or 'config.yaml'} line {line}: {REPLACED.format(placeholder[0])}")
    try:
        documents = configyaml.compose(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{file or 'config.yaml'} line {line}: not valid YAML: {error.problem}: correct it") from error
    except (yaml.reader.ReaderError, UnicodeError) as error:
        raise UserError(f"{file or 'config.yaml'} line 1: not UTF-8 text, or with control characters: save it as UTF-8 without them") from error
    root, document = documents[0] if documents else (None, None)
    if not isinstance(root, yaml.MappingNode) or not isinstance(document, dict):
        raise UserError(f"{file or 'config.yaml'} line 1: it must be a mapping of keys to values: start with `name: `")
    file = file or f"usecases/{document.get('name', '')}/config.yaml"
    if len(documents) > 1:
        raise UserError(f"{file} line {documents[1][0].start_mark.line + 1}: a second document: a config is one, remove the line `---`")
    return Text(file, root, document, {})


def where(usecase: UseCase, path: tuple[str | int, ...]) -> str:
    """Return the override, or the file and line, where a use case says something."""
    return _whole(usecase.text).where(path) if usecase.text else f"usecases/{usecase.name}/config.yaml"


def refusal(text: Text, problems: list[Problem]) -> UserError:
    """Return the error that lists what is wrong, one line for each problem. A problem without a path names a file of its own."""
    lines = []
    for problem in problems:
        part = [] if problem.path in text.overrides else [".".join(map(str, problem.path))]
        lines.append(": ".join([text.where(problem.path), *part, hint(problem)]) if problem.path else problem.message)
    return UserError("\n".join(lines))


def terminated(text: str) -> str:
    """Return a text that ends with a newline, so that another document can follow."""
    return text if text.endswith("\n") else text + "\n"


def _whole(config: str) -> Text:
    """Read a parameter: its file and its overrides."""
    return _overridden(resolve(config), config.partition(OVERRIDES)[2])


@functools.lru_cache(maxsize=1)
def _overridden(written: str, overrides: str) -> Text:
    """Read a file's text with overrides: once, however many violations ask for their lines."""
    text = read(written)
    text.override(configyaml.value(overrides) or ())
    return text


def _set(override: str) -> str:
    """Write an override as on the command line, without a value that is long."""
    key, _, value = override.partition("=")
    return f"--set {key}={value if len(value) <= LONGEST else '...'}"


def _apply(document: dict[str, Any], override: str) -> tuple[str, ...]:
    """Change a document, and return the place of the change."""
    if placeholder := PLACEHOLDER.search(override):
        raise UserError(f"{_set(override)}: {REPLACED.format(placeholder[0])}")
    path, equals, text = override.partition("=")
    *parents, last = path.split(".")
    if not equals or not last:
        raise UserError(f"--set {override}: write it as --set train.max_trials=3")
    parent = document
    for key in parents:
        parent = parent.setdefault(key, {})
        if not isinstance(parent, dict):
            raise UserError(f"--set {override}: {key} is a single value, nothing lies below it")
    try:
        parent[last] = configyaml.value(text)
    except (yaml.YAMLError, UnicodeError) as error:
        raise UserError(f"--set {override}: not valid YAML: {getattr(error, 'problem', None) or 'a control character'}") from error
    return (*parents, last)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _size(text: str) -> int:
    """Return the bytes that a text takes inside an argument, where it is a JSON string."""
    return len(json.dumps(text))
