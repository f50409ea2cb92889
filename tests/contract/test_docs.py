"""README, docs and CONTRIBUTING: what they show, name and promise is so."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from benchmarks.serving.goals import goals
from benchmarks.serving.results import RECORD, load
from cli.main import app
from docs import figures, generate
from serving import batching, body, columns, connection
from serving.drain import Drain
from serving.exposition import exposition
from serving.model import Version
from serving.service import Service
from serving.settings import Settings
from tests.contract.documents import PAGES, README, ROOT, TROUBLES, blocks, commands

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
NAMES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]
SERVING = ROOT / "docs" / "serving.md"
HOLE = "\0"
LITERAL = 5  # characters of a fixed piece of a sentence
LIBRARIES = ("No matching distribution found for", "No magic bytes found at end of file")  # who say it, not we
WORDS = 4  # side by side that no piece of the code explains: nobody prints them


def test_the_readme_is_at_most_200_lines_long() -> None:
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("page", NAMES)
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    lost = [link for link in LINK.findall(prose(page)) if "://" not in link and not leads(page, link)]

    assert lost == []


@pytest.mark.parametrize("page", NAMES)
def test_every_make_target_and_command_that_is_named_exists(page: Path) -> None:
    text = code(page)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"\bmake ([a-z]+)", text)) <= targets
    assert set(re.findall(r"(?<![\w/-])(?<!-n )(?:\.venv/bin/)?mlops (?:platform )?([a-z]+)\b", text)) <= mlops_commands()


@pytest.mark.parametrize("page", NAMES)
def test_every_file_that_is_named_exists(page: Path) -> None:
    rooms = "|".join(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    named = set(re.findall(rf"`((?:{rooms})/[\w./-]+)`", page.read_text()))

    assert [name for name in sorted(named) if "mine" not in name and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", NAMES)
def test_no_page_names_a_path_of_a_machine(page: Path) -> None:
    assert re.findall(r"/(?:root|work|tmp|home/(?!me/))\w*[^\s`]*", page.read_text()) == []


def test_the_map_of_the_repository_has_every_room() -> None:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    rooms = {name.partition("/")[0] + "/" for name in listed if "/" in name and not name.startswith(".")}
    shown = next(block.text for block in blocks(README) if "usecases/" in block.text and block.language == "text")

    assert set(re.findall(r"^([\w.]+/) ", shown, re.MULTILINE)) == rooms
    assert [name for name in re.findall(r"^([\w.]+(?:/[\w.]+)*)/? ", shown, re.MULTILINE) if not (ROOT / name).exists()] == []


def test_every_decision_is_listed_and_short() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = {path.name for path in folder.glob("*.md")} - {"README.md"}

    assert set(LINK.findall((folder / "README.md").read_text())) == pages
    assert [name for name in pages if len((folder / name).read_text().splitlines()) > 15] == []


def test_the_tables_of_the_configuration_are_those_of_the_code() -> None:
    written = generate.PAGE.read_text()

    assert generate.page(written) == written, "run: .venv/bin/python -m docs.generate"
    assert "| `train.candidates.<candidate>.search.<parameter>.log` |" in written


def test_every_key_of_the_configuration_says_what_it_means() -> None:
    rows = re.findall(r"^\| (`.*`) \| .* \| .* \| (.*) \|$", generate.tables().partition("## Metrics")[0], re.MULTILINE)

    assert len(rows) > 40
    assert [key for key, meaning in rows if len(meaning) < 10] == []


LIMITS = [
    ("bytes of a body", body.BODY_LIMIT // 1024**2, " MB"),
    ("rows of a request", columns.ROWS_LIMIT, ""),
    ("bytes of all bodies at once", body.BODIES_LIMIT // 1024**2, " MB"),
    ("rows that wait", batching.QUEUE_ROWS, ""),
    ("requests that wait", batching.QUEUE_REQUESTS, ""),
    ("seconds that a request waits", int(batching.PATIENCE), ""),
    ("seconds from a request's first byte to its last", int(connection.REQUEST_SECONDS), ""),
    ("seconds that a response stays unread", int(connection.READ_SECONDS), ""),
    ("bytes of a request's head", connection.HEAD_LIMIT // 1024, " kB"),
    ("headers of a request", connection.FIELDS_LIMIT, ""),
    ("connections", connection.MOST, ""),
    ("seconds that a connection stays idle", Settings().keep_alive, " (`serving.keep_alive`)"),
]


@pytest.mark.parametrize(("what", "limit", "unit"), LIMITS, ids=[what for what, _, _ in LIMITS])
def test_the_limits_of_the_server_are_those_of_the_code(what: str, limit: int, unit: str) -> None:
    assert f"| {what} | {limit:,}{unit} |" in SERVING.read_text()


def test_the_figures_of_the_server_are_those_that_were_recorded() -> None:
    assert figures.page(SERVING.read_text()) == SERVING.read_text(), "run: .venv/bin/python -m docs.figures"


def test_the_recorded_figures_reach_every_goal() -> None:
    assert [goal for goal in goals(load(RECORD)) if not goal.reached] == []


def test_every_metric_of_the_server_is_described() -> None:
    service = Service(Version("flights", "1", "", ""), Settings(), Drain(0))
    service.log = cast(Any, SimpleNamespace(logged_rows=0, dropped_rows=0, buffered_rows=0, failed_uploads=0))
    there = set(re.findall(r"^# TYPE (model\w*) ", exposition(service).decode(), re.MULTILINE))

    assert [name for name in there if not name.endswith("_created") and f"`{name}" not in SERVING.read_text()] == []


SENTENCES = [line for block in blocks(TROUBLES) if block.language == "text" for line in block.text.splitlines()]


@pytest.mark.parametrize("sentence", [pytest.param(text, id=text[:50]) for text in SENTENCES])
def test_the_sentences_of_troubleshooting_are_those_that_the_code_prints(sentence: str) -> None:
    rest = sentence
    for fragment in fragments():
        rest = rest.replace(fragment, HOLE)
    rest = re.sub("|".join((r"\([^()]*\)", *LIBRARIES)), HOLE, rest)

    assert re.findall(rf"\b[a-z]+(?:[,;:.]? [a-z]+){{{WORDS - 1},}}", rest) == []


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def code(page: Path) -> str:
    """Return what a reader may type: commands, shell scripts, and what is set as code in a sentence."""
    typed = [block.text for block in blocks(page) if block.language == "sh"]
    typed += [command.line for block in blocks(page) if block.language == "console" for command in commands(block)]
    return "\n".join([*typed, *re.findall(r"`([^`\n]+)`", prose(page))])


def leads(page: Path, link: str) -> bool:
    name, _, heading = link.partition("#")
    target = page.parent / name if name else page
    return target.exists() and (not heading or heading in anchors(target))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def mlops_commands() -> set[str]:
    return set(every(typer.main.get_command(app)))


def every(command: Any) -> Iterator[str]:
    for name, one in getattr(command, "commands", {}).items():
        yield name
        yield from every(one)


@cache
def fragments() -> list[str]:
    """Return every fixed piece of a text that the code may print, the longest first."""
    rooms = ("cli", "components", "core", "local", "pipelines", "serving")
    texts = [text for room in rooms for path in (ROOT / room).rglob("*.py") for text in strings(ast.parse(path.read_text()))]
    shell = re.findall(r"fail ([\"'])(.*)\1", (ROOT / ".ci" / "environment").read_text())
    texts += [re.sub(r"\$\([^)]*\)|\$\{[^}]*\}|\$\w+", HOLE, text) for _, text in shell]
    pieces = {
        piece for text in texts for piece in re.split(rf"{HOLE}|\{{[a-z_:,]*\}}", text) if len(piece.strip()) >= LITERAL and " " in piece.strip()
    }
    return sorted(pieces, key=len, reverse=True)


def strings(node: ast.AST) -> Iterator[str]:
    """Yield the texts of a syntax tree; what an f-string puts in is a hole, and is looked into by itself."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
        children: list[ast.AST] = [part for part in node.values if not isinstance(part, ast.Constant)]
    else:
        children = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in children:
        yield from strings(child)
