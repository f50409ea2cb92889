"""Write the figures of docs/serving.md from what the benchmark recorded: `.venv/bin/python -m docs.figures`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.serving import hostile
from benchmarks.serving.results import RECORD, load, load_profile
from benchmarks.serving.tables import lines, markdown
from docs.marks import filled

PAGE = Path(__file__).parent / "serving.md"


def main() -> None:
    """Put the tables between the marks of the page."""
    PAGE.write_text(page(PAGE.read_text()))


def page(text: str) -> str:
    """Return the page with the recorded figures."""
    header, *layers = load_profile()
    text = filled(text, "docs.figures", f"{markdown(load(RECORD))}\n{lines(header, layers)}\n")
    return filled(text, "docs.figures, attacks", f"{lines(hostile.HEADER, hostile.recorded())}\n")


if __name__ == "__main__":
    main()
