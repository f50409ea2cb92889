"""Write the tables of docs/protocols.md from the points that the tests ask a server: `.venv/bin/python -m docs.protocols`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docs.marks import filled
from tests.unit.serving.specification import FIRST, OTHERS, PROTOCOLS, ROW, TENSORS, TWO, Point

PAGE = Path(__file__).parent / "protocols.md"
SHORT = {str(TENSORS): "TENSORS", str(TWO): "TWO ROWS", str(ROW): "ROW", str(list(ROW.values())): "VALUES"}
TYPES = {str: "text", float: "number", int: "number"}


def main() -> None:
    """Put the tables between the marks of the page."""
    PAGE.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """Return the page with fresh tables."""
    return filled(text, "docs.protocols", tables())


def tables() -> str:
    """Return a table a protocol."""
    return "\n".join(f"## {name}\n\n{_table(points)}" for name, points in PROTOCOLS.items())


def _table(points: list[Point]) -> str:
    lines = [f"| {point.says} | {_request(point)} | {_answer(point)} |" for point in points]
    return "\n".join(["| point | request | answer |", "|---|---|---|", *lines]) + "\n"


def _request(point: Point) -> str:
    where = f"`{point.method} {point.path}`"
    if point.sends is None:
        return where
    body = point.sends.decode().replace("\n", "⏎") if isinstance(point.sends, bytes) else _shown(point.sends)
    behind = f" and {len(point.behind)} bytes" if point.behind is not None else ""
    return f"{where} `{body}`{behind}"


def _answer(point: Point) -> str:
    return f"{point.status}" if point.gives in (..., {}) else f"{point.status} `{_shown(point.gives)}`"


def _shown(value: Any) -> str:
    """Write a value as short as a table allows."""
    if value is ...:
        return "…"
    if isinstance(value, type):
        return TYPES[value]
    if str(value) in SHORT:
        return SHORT[str(value)]
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {_shown(item)}' for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(_items(value))}]"
    return json.dumps(value, ensure_ascii=False)


def _items(values: list[Any]) -> list[str]:
    """Write a list's items; the tensors that a point does not change are left out."""
    known = [*TENSORS, *TWO, FIRST, *OTHERS]
    shown = [_shown(value) for value in values if value not in known]
    return [*shown, "…"] if len(shown) < len(values) else shown


if __name__ == "__main__":
    main()
