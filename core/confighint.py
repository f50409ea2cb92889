"""The key that was meant by one that does not exist."""

import difflib
from collections.abc import Iterator
from typing import Any

from core.config import UseCase
from core.configcheck import Problem


def hint(problem: Problem) -> str:
    """Suggest the key that was meant, if one is similar."""
    if not problem.message.startswith("unknown key"):
        return problem.message
    close = difflib.get_close_matches(str(problem.path[-1]), sorted(_keys(problem.path[:-1])), n=1)
    return f"{problem.message} (did you mean {close[0]}?)" if close else problem.message


def _keys(path: tuple[str | int, ...]) -> set[str]:
    """Return the keys that are allowed at a place of the document."""
    schema = UseCase.model_json_schema()
    nodes = list(_resolved(schema, schema))
    for part in path:
        below = [
            child
            for node in nodes
            for child in (
                *(node.get("items"), node.get("additionalProperties"), node.get("properties", {}).get(part)),
                *node.get("patternProperties", {}).values(),
            )
            if isinstance(child, dict)
        ]
        nodes = [each for child in below for each in _resolved(child, schema)]
    return {name for node in nodes for name in node.get("properties", {})}


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Follow a reference of a JSON schema, and yield each of the alternatives."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    yield node
    for option in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _resolved(option, schema)
