"""The YAML of a config: scalars by the rules of YAML 1.2, and the line of each value."""

import json
import re
from typing import Any, ClassVar

import yaml

# The core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema). PyYAML follows 1.1, where `no` is false,
# 1e-4 is text, 010 is 8 and 1:30 is 90.
SCALARS = {
    "null": (re.compile(r"^(?:null|Null|NULL|~|)$"), ["n", "N", "~", ""]),
    "bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    "float": (
        re.compile(r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"),
        list("-+.0123456789"),
    ),
    "merge": (re.compile(r"^(?:<<)$"), ["<"]),
}

MERGE = "tag:yaml.org,2002:merge"


class Loader(yaml.CSafeLoader):
    """Constructs null, booleans, numbers, text, lists and mappings. Refuses a key that is written twice."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (PyYAML declares it for instances)
    yaml_constructors: ClassVar[dict[str | None, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping whose keys are all different, as Python compares them: 1, 1.0 and true are one key."""
        self._refuse_repeated(node)
        return super().construct_mapping(node, deep)

    def _refuse_repeated(self, node: yaml.MappingNode) -> None:
        seen = set()
        for key, _ in node.value:
            if key.tag == MERGE or not isinstance(key, yaml.ScalarNode):
                continue
            name = self.construct_object(key)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value} is written twice", key.start_mark)
            seen.add(name)


def _int(loader: Loader, node: yaml.ScalarNode) -> int:
    text = str(loader.construct_scalar(node))
    try:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, f"{text} is not a whole number", node.start_mark) from error


def _float(loader: Loader, node: yaml.ScalarNode) -> float:
    text = str(loader.construct_scalar(node))
    try:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, f"{text} is not a number", node.start_mark) from error


def _bool(loader: Loader, node: yaml.ScalarNode) -> bool:
    return str(loader.construct_scalar(node)).lower() == "true"


for _tag, (_pattern, _first) in SCALARS.items():
    for _character in _first:
        Loader.yaml_implicit_resolvers.setdefault(_character, []).append((f"tag:yaml.org,2002:{_tag}", _pattern))
for _tag, _constructor in {
    "null": Loader.construct_yaml_null,
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": Loader.construct_yaml_str,
    "seq": Loader.construct_yaml_seq,
    "map": Loader.construct_yaml_map,
}.items():
    Loader.yaml_constructors[f"tag:yaml.org,2002:{_tag}"] = _constructor
Loader.yaml_constructors[None] = Loader.construct_undefined  # any other tag is refused


def compose(text: str) -> list[tuple[yaml.Node, Any]]:
    """Read every document of a text.

    Returns:
        The tree of each document, which knows the lines, and its value. No two parts of a value are one object,
        so that a change of one does not change another that an alias made of it.

    Raises:
        yaml.YAMLError: It is not YAML, or has a tag beyond those of YAML's core schema.
    """
    loader = Loader(text)
    try:
        documents = []
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # noqa: S101
            documents.append((node, _separate(loader.construct_document(node))))
        return documents
    except RecursionError as error:
        raise yaml.composer.ComposerError(
            None, None, "it is nested too deeply, or an alias refers to itself", yaml.Mark("", 0, 0, 0, "", 0)
        ) from error
    finally:
        loader.dispose()


def _separate(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _separate(item) for key, item in value.items()}
    return [_separate(item) for item in value] if isinstance(value, list) else value


def value(text: str) -> Any:
    """Read one value, such as that of an override; nothing is null.

    Raises:
        yaml.YAMLError: As of `compose`.
    """
    documents = compose(text)
    if len(documents) > 1:
        raise yaml.composer.ComposerError(None, None, "expected one value, found several documents", documents[1][0].start_mark)
    return documents[0][1] if documents else None


def quoted(text: str) -> str:
    """Write a text as a scalar of one line."""
    return yaml.safe_dump(text, default_style='"', width=float("inf"), allow_unicode=True).rstrip("\n")


def _spelt(key: yaml.Node) -> str | None:
    """Return a key that is no text as JSON writes it: null for ~, true for True."""
    if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:str" or key.tag == MERGE:
        return None
    return json.dumps(Loader("").construct_object(key))


def line(node: yaml.Node, path: tuple[str | int, ...]) -> int:
    """Return the line of the deepest part of a path that is there, counted from 1."""
    number = node.start_mark.line
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part) or _spelt(pair[0]) == str(part)), None)
            if pair is None:
                break
            number, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            number = node.start_mark.line
        else:
            break
    return number + 1
