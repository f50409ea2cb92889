"""The pages as a reader takes them: links, commands and what they print, files and what is in them."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README, WALK, RUN, TROUBLES = ROOT / "README.md", DOCS / "your-own-use-case.md", DOCS / "how-a-run-works.md", DOCS / "troubleshooting.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What differs from run to run and from machine to machine: addresses of files, ids, numbers and the space before them.
IDS = r"\b\d{8}-\d{6}-[0-9a-f]{4}\b|\b[0-9a-f]{32}\b|\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
CHANGING = [(r"\S*/runs/", "RUNS/"), (IDS, "ID"), (r"[+-]?\d[\d,]*(\.\d+)?|\bnull\b", "#"), (r" +", " ")]


class Block(NamedTuple):
    """A fenced block: its language, the word after it, its text."""

    language: str
    word: str
    text: str


class Command(NamedTuple):
    """A line after `$`, and the lines that it prints."""

    line: str
    printed: list[str]


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall(page.read_text())]


def commands(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, *printed = part.rstrip("\n").split("\n")
        yield Command(line, printed)


def shape(text: str) -> str:
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    return text.strip()


def same(shown: list[str], printed: list[str]) -> bool:
    """Whether the lines are those that a page shows; `...` stands for any number of them."""
    pattern = "".join(r"(.*\n)*" if line == "..." else rf"{re.escape(shape(line))}\n" for line in shown)
    return re.fullmatch(pattern, "".join(f"{shape(line)}\n" for line in printed)) is not None


def checkout(folder: Path) -> Path:
    """Copy what git has or would take."""
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def equipped(folder: Path) -> Path:
    """Give a checkout the environment of this one."""
    (folder / ".venv").mkdir()
    for entry in ("bin", "lib", "pyvenv.cfg"):
        (folder / ".venv" / entry).symlink_to(ROOT / ".venv" / entry)
    (folder / ".venv" / ".synced").touch()
    return folder


def follow(page: Path, folder: Path) -> Iterator[tuple[Command, list[str]]]:
    """Do in a checkout what a page says, block by block; give each command and what it really printed."""
    for block in blocks(page):
        if block.word:
            (folder / block.word).write_text(block.text)
        elif block.language == "console":
            yield from _run(list(commands(block)), folder)


def _run(together: list[Command], folder: Path) -> Iterator[tuple[Command, list[str]]]:
    """Run the commands of a block in one shell, as they may set variables for each other."""
    mark = "--- end of a command"
    script = "\n".join(f"{command.line}\necho '{mark}'" for command in together)
    # with a proxy, the printed curl line has one option more
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and not name.lower().endswith("_proxy")}
    settings = inherited | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(["bash", "-c", script], cwd=folder, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    yield from zip(together, [part.strip("\n").split("\n") if part.strip() else [] for part in ended.stdout.split(f"{mark}\n")], strict=False)
