"""The house: imports go downward only, and each face of a step knows what it may know."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BELOW = {
    "core": set[str](),
    "components": {"core"},
    "serving": {"core"},
    "pipelines": {"core", "components", "serving"},
    "local": {"core", "components", "serving", "pipelines"},
    "cli": {"core", "components", "serving", "pipelines", "local"},
}
STEPS = sorted(path.parent.name for path in ROOT.glob("components/*/component.py"))


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Every module that the nodes import, by its whole name."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def everywhere(path: Path) -> set[str]:
    return imported(ast.walk(ast.parse(path.read_text())))


def at_top(path: Path) -> set[str]:
    return imported(iter(ast.parse(path.read_text()).body))


@pytest.mark.parametrize("room", BELOW)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    above = BELOW.keys() - BELOW[room] - {room}

    wrong = {f"{path.relative_to(ROOT)} imports {name}" for path in files(room) for name in everywhere(path) if name.split(".")[0] in above}

    assert not wrong


@pytest.mark.parametrize("step", STEPS)
def test_a_step_imports_no_other_step(step: str) -> None:
    others = tuple(f"components.{other}" for other in STEPS if other != step)

    wrong = {
        f"{path.relative_to(ROOT)} imports {name}" for path in files(f"components/{step}") for name in everywhere(path) if name.startswith(others)
    }

    assert not wrong


@pytest.mark.parametrize("step", STEPS)
def test_the_top_of_a_component_imports_the_standard_library_kfp_and_the_decorator(step: str) -> None:
    top = at_top(ROOT / "components" / step / "component.py")

    assert {name for name in top if name.split(".")[0] not in {*sys.stdlib_module_names, "kfp"}} == {"components.step"}


@pytest.mark.parametrize("step", STEPS)
def test_the_plain_python_of_a_step_never_imports_kfp(step: str) -> None:
    plain = [path for path in files(f"components/{step}") if path.name != "component.py"]

    assert plain
    assert not {path.name for path in plain if any(name.split(".")[0] == "kfp" for name in everywhere(path))}
