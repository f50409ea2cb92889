"""Pages: self-contained, and whatever comes from data is text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from core.reports import render, short


def test_what_comes_from_data_is_escaped() -> None:
    evil = "<script>alert('1')</script> & \"more\""

    page = render(evil, '<p title="{{ text }}">{{ text }}</p>', text=evil)

    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &#34;more&#34;") == 4  # title, heading, attribute, paragraph


def test_a_template_in_the_data_is_not_run() -> None:
    page = render("{{ 7919 * 7919 }}", "<p>{{ text }}</p>", text="{{ 7919 * 7919 }}{% for x in y %}")

    assert "62710561" not in page
    assert page.count("{{ 7919 * 7919 }}") == 3


def test_markup_of_our_own_stays() -> None:
    page = render("plots", "{{ plot }}", plot=Markup("<svg></svg>"))

    assert "<svg></svg>" in page


def test_a_page_fetches_nothing() -> None:
    page = render("a page", "<p>text</p>")

    assert re.findall(r"(?:src|href)=|url\(|@import|https?:", page) == []


def test_a_value_that_is_missing_in_the_code_is_an_error_not_a_gap() -> None:
    with pytest.raises(UndefinedError):
        render("a page", "{{ forgotten }}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, "-", id="nothing"),
        pytest.param("", "-", id="empty text"),
        pytest.param(float("nan"), "-", id="not a number"),
        pytest.param(0, "0", id="zero"),
        pytest.param(336776, "336,776", id="count"),
        pytest.param(336776.0, "336,776", id="whole float"),
        pytest.param(1234.56, "1,234.6", id="thousands"),
        pytest.param(0.123456, "0.1235", id="four digits"),
        pytest.param(1.5e-7, "1.5e-07", id="tiny"),
        pytest.param(-0.5, "-0.5", id="negative"),
        pytest.param("12.50", "12.5", id="number as text"),
        pytest.param("barolo", "barolo", id="text"),
        pytest.param("x" * 50, "x" * 40, id="long text"),
        pytest.param(float("inf"), "inf", id="infinity"),
    ],
)
def test_numbers_are_written_with_sensible_digits(value: Any, text: str) -> None:
    assert short(value) == text
