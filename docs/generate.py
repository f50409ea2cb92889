"""Write the tables of docs/configuration.md from the code: `.venv/bin/python -m docs.generate`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from core.config import UseCase
from core.metrics import METRICS
from docs.marks import filled

PAGE = Path(__file__).parent / "configuration.md"
ENTRIES = {"contract": "source", "columns": "column", "candidates": "candidate", "search": "parameter", "steps": "step"}  # of a mapping's own keys


class Key(NamedTuple):
    """A line of the table."""

    path: str
    value: str
    default: str
    meaning: str


def main() -> None:
    """Put the tables between the marks of the page."""
    PAGE.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """Return the page with fresh tables."""
    return filled(text, "docs.generate", tables())


def tables() -> str:
    """Return a table of every key, by section, and one of the metrics."""
    schema = UseCase.model_json_schema()
    found = list(_keys(schema, schema, ""))
    top = [key for key in found if "." not in key.path]
    sections = [
        f"## {key.path}\n\n{_table(inner)}"
        for key in top
        if (inner := [one for one in found if one.path.startswith((f"{key.path}.", f"{key.path}[]."))])
    ]
    kinds = ["\n".join([f"## Kinds of {what}\n", *_kinds(schema, what)]) for what in ("source", "target")]
    return "\n".join(["## Top level\n", _table(top), *sections, *kinds, "## Metrics\n", _metrics()])


def _kinds(schema: dict[str, Any], what: str) -> Iterator[str]:
    """Yield a table of each kind of source, or of target."""
    for name, model in schema["$defs"].items():
        kind = model["properties"].get("kind", {}).get("const")
        if kind and name.lower().endswith(what):
            yield f"### kind: {kind}\n\n{model['description']}\n\n{_table([key for key in _keys(model, schema, '') if key.path != 'kind'])}"


def _keys(model: dict[str, Any], schema: dict[str, Any], prefix: str) -> Iterator[Key]:
    for name, field in model["properties"].items():
        kind, path = _resolved(field, schema), f"{prefix}{name}"
        meaning = field.get("description") or kind.get("description", "").split("\n\n")[0]
        yield Key(path, _value(field, schema), _default(name, field, model), meaning)
        entry = _entry(kind, schema)
        if "properties" in kind:
            yield from _keys(kind, schema, f"{path}.")
        elif "properties" in entry:
            yield from _keys(entry, schema, f"{path}[]." if "items" in kind else f"{path}.<{ENTRIES.get(name, 'name')}>.")


def _entry(kind: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the kind of a mapping's or list's values, if they are mappings themselves."""
    found = next(iter(kind.get("patternProperties", {}).values()), kind.get("additionalProperties") or kind.get("items"))
    return _resolved(found, schema) if isinstance(found, dict) else {}


def _resolved(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the model that a field refers to, also where it may be left out; of any other field, itself."""
    some = [one for one in field.get("anyOf", []) if one.get("type") != "null"]
    reference = some[0].get("$ref") if len(some) == 1 else field.get("$ref")
    found: dict[str, Any] = schema["$defs"][reference.rpartition("/")[2]] if reference else field
    return found


def _value(field: dict[str, Any], schema: dict[str, Any]) -> str:
    """Say what may stand behind a key."""
    kind = _resolved(field, schema)
    if "anyOf" in kind:
        return " or ".join(_value(one, schema) for one in kind["anyOf"] if one.get("type") != "null")
    if "enum" in kind:
        return ", ".join(f"`{value}`" for value in kind["enum"])
    if "prefixItems" in kind:
        return f"[{', '.join(_value(one, schema) for one in kind['prefixItems'])}]"
    names = {"string": "text", "boolean": "`true` or `false`", "array": "list", "object": "mapping"}
    pattern = f" matching `{kind['pattern']}`".replace("|", r"\|") if "pattern" in kind else ""
    return f"{names.get(kind.get('type', ''), kind.get('type', 'any'))}{pattern}{_bounds(kind)}"


def _bounds(kind: dict[str, Any]) -> str:
    signs = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found = [f"{sign} {kind[key]:,}" for key, sign in signs.items() if key in kind]
    return f", {' and '.join(found)}" if found else ""


def _default(name: str, field: dict[str, Any], model: dict[str, Any]) -> str:
    if name in model.get("required", []):
        return "**required**"
    default = field.get("default")
    return "" if default is None or isinstance(default, dict | list) else f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _metrics() -> str:
    lines = [
        f"| `{name}` | {metric.title} | {'greater' if metric.greater_is_better else 'less'} | {', '.join(metric.tasks)} |"
        for name, metric in METRICS.items()
    ]
    return "\n".join(["| `metric` | name | better is | for |", "|---|---|---|---|", *lines]) + "\n"


def _table(keys: list[Key]) -> str:
    lines = [f"| `{key.path}` | {key.value} | {key.default} | {key.meaning} |" for key in keys]
    return "\n".join(["| key | value | default | meaning |", "|---|---|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    main()
