"""Validate: the data report."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from components.validate import cards
from components.validate.contract import validate
from components.validate.words import share, value
from tests.unit import small
from tests.unit.components.test_profile import of
from tests.unit.contracts import checked, run_of

EVIL = "<script>alert('1')</script>"
NUMBER, TEXT = {"type": "number", "nulls": 1}, {"type": "string", "nulls": 1}


def page(folder: Path, data: dict[str, Any], before: dict[str, Any] | None = None, **columns: Any) -> str:
    first = run_of(**columns) if before else None
    if first and before:
        checked(first, before, folder)
    checked(run_of(after=first, **columns), data, folder)
    return (folder / "page.html").read_text()


def test_a_first_run_compares_with_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, {"hue": [1.0, 2.0, None], "kind": ["a", "b", "a"]}, hue=NUMBER)

    assert "Every table keeps its contract." in text
    assert text.count('<svg class="histogram"') == 1
    assert "33.3 %" in text  # null, and the texts
    assert "the last run that succeeded" not in text
    assert 'class="before"' not in text


def test_what_has_changed_is_drawn_and_marked_by_its_size(tmp_path: Path) -> None:
    before = {"hue": [1.0, 2.0] * 50, "kind": ["a", "b"] * 50, "same": ["x"] * 100}
    now = {"hue": [8.0, 9.0] * 50, "kind": ["a", "c"] * 50, "same": ["x"] * 100}

    text = page(tmp_path, now, before, hue=NUMBER, kind=TEXT, same=TEXT)

    severities = dict(re.findall(r'<section class="column (\w+)" id="[\w-]+">\s*<div><h3>(\w+)</h3>', text))
    assert severities == {"large": "kind", "none": "same"}
    assert [name for name in ("hue", "kind") if f'">{name}</a>' in text] == ["hue", "kind"]  # moved
    assert 'class="before"' in text
    assert "new: c; gone: b" in text
    assert "greatest was 2" in text


def test_everything_that_comes_from_data_is_escaped(tmp_path: Path) -> None:
    first = {"hue": [EVIL, "x", "x"] * 9, EVIL: [EVIL] * 27}
    now = {"hue": [EVIL + "2", "x", EVIL + "2"] * 9, EVIL: [EVIL + "2"] * 27}

    text = page(tmp_path, now, first, hue={"type": "string", "pattern": "x"})

    assert text.count("<script") == 1  # the page's own
    assert text.count("&lt;script&gt;") > 5


def test_the_page_has_one_script_for_its_own_links_and_fetches_nothing(tmp_path: Path) -> None:
    text = page(tmp_path, {"hue": [1.0]}, hue=NUMBER)

    assert re.findall(r"<script|\son\w+=|(?:src|href)=\"[^#]|url\(|@import|https?:", text) in ([], ["<script"])
    assert "prefers-color-scheme: dark" in text


def test_of_thousands_of_columns_those_with_news_are_shown(tmp_path: Path) -> None:
    data = {f"x{index}": [index, index] for index in range(2000)}

    text = page(tmp_path, data | {"last": [1, 1]}, x5=NUMBER, last={"type": "integer", "min": 2})

    assert text.count('<section class="column') == cards.MOST
    assert "<h3>last</h3>" in text
    assert f"{2001 - cards.MOST:,} more columns are not shown." in text
    assert len(text) < 1_000_000


def test_a_violation_leads_to_its_column(tmp_path: Path) -> None:
    text = page(tmp_path, {"hue": [1.0]}, hue={"type": "number", "min": 2})

    anchor = re.findall(r'<a href="#([\w-]+)">wine</a>\.hue: 1 of 1 rows', text)
    assert f'<section class="column broken" id="{anchor[0]}">' in text


def test_it_says_where_the_data_came_from(tmp_path: Path) -> None:
    run = run_of(hue=NUMBER)
    small.written(tmp_path / "wine.parquet", {"hue": [1.0]})

    validate(run, str(tmp_path), str(tmp_path / "page.html"), {"tables": {"wine": {"sha256": "ab" * 32, "origin": {"files": 3, "pins": {}}}}})

    assert "1 columns, 1 of them in the contract · from wine.csv · files 3 · sha256 abababababababab" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("part", "text"),
    [
        pytest.param(0, "0 %", id="nothing"),
        pytest.param(1e-7, "&lt; 0.01 %".replace("&lt;", "<"), id="not nothing"),
        pytest.param(0.00123, "0.12 %", id="little"),
        pytest.param(0.1, "10 %", id="tenth"),
        pytest.param(0.12345, "12.3 %", id="share"),
        pytest.param(0.99999, "99.99 %", id="not all"),
        pytest.param(1, "100 %", id="all"),
        pytest.param(2, "200 %", id="double"),
    ],
)
def test_shares_are_written_with_digits_that_count(part: float, text: str) -> None:
    assert share(part) == text


def test_times_are_written_with_their_hours_where_they_tell(tmp_path: Path) -> None:
    from datetime import datetime

    short, long = (of(tmp_path, [datetime(2013, 1, 1, 5), datetime(2013, month, 2)]) for month in (1, 6))

    assert value(short.quantiles[0], short) == "2013-01-01 05:00"
    assert value(long.quantiles[0], long) == "2013-01-01"
