"""README, docs and CONTRIBUTING: what they show, name and promise is so."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs import generate
from local.platform import Platform
from tests.contract.documents import PAGES, README, ROOT, TROUBLES, WALK, blocks, checkout, follow, same

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
NAMES = [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES]
LITERAL = 20  # characters that a sentence shares at least with the code that prints it


def test_the_readme_is_at_most_200_lines_long() -> None:
    assert len(README.read_text().splitlines()) <= 200


@pytest.mark.parametrize("page", NAMES)
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    lost = [link for link in LINK.findall(prose(page)) if "://" not in link and not leads(page, link)]

    assert lost == []


@pytest.mark.parametrize("page", NAMES)
def test_every_make_target_and_command_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"(?:`|^|\$ |= )make ([a-z]+)", text, re.MULTILINE)) <= targets
    assert set(re.findall(r"mlops (?:platform )?([a-z]+)\b(?=[ `)\n\"])", code(text))) <= mlops_commands() | {"platform"}


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
    rows = [line.split(" | ") for line in generate.tables().splitlines() if line.startswith("| `") and line.count(" | ") == 3]

    assert [row[0] for row in rows if row[0] != "| `metric`" and len(row[3].strip(" |")) < 10 and "for" not in row[3]] == []


SENTENCES = [line for block in blocks(TROUBLES) if block.language == "text" for line in block.text.splitlines()]


@pytest.mark.parametrize("sentence", [pytest.param(text, id=text[:50]) for text in SENTENCES])
def test_the_sentences_of_troubleshooting_are_those_that_the_code_prints(sentence: str) -> None:
    assert any(re.search(template, sentence) for template in templates())


@pytest.mark.xdist_group("walk")
def test_the_walk_to_ones_own_use_case_prints_what_the_page_shows(platform: Platform, tmp_path: Path) -> None:
    done = list(follow(WALK, checkout(tmp_path / "checkout")))

    assert len(done) > 10
    for command, printed in done:
        assert same(command.printed, printed), "\n".join([f"$ {command.line}", *printed])


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def code(text: str) -> str:
    """Return what is set as code."""
    fenced = re.findall(r"^```.*?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))]) + "\n"


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
    found = (ROOT / "cli" / "main.py").read_text()
    return set(re.findall(r"^@\w+\.command\(\)\ndef (\w+)", found, re.MULTILINE))


@cache
def templates() -> list[re.Pattern[str]]:
    """Return every longer text that the code may print, with its holes open."""
    rooms = ("cli", "components", "core", "local", "pipelines", "serving")
    trees = [ast.parse(path.read_text()) for room in rooms for path in (ROOT / room).rglob("*.py")]
    parts = [part for tree in trees for node in ast.walk(tree) for part in [list(pieces(node))] if part]
    shell = [
        [re.sub(r"\$\([^)]*\)|\$\{[^}]*\}|\$\w+", "\0", text)] for text in re.findall(r"fail [\"'](.*?)[\"']", (ROOT / ".ci/environment").read_text())
    ]
    joined = [re.sub("\0+", "\0", "".join(part)) for part in [*parts, *shell]]
    return [re.compile(re.escape(text).replace("\0", ".*")) for text in joined if len(text.replace("\0", "")) >= LITERAL]


def pieces(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.JoinedStr):
        for value in node.values:
            yield str(value.value) if isinstance(value, ast.Constant) else "\0"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
