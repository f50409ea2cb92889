"""Validate: a contract proposed from data is kept by them, and reads well."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.validate.proposal import propose
from core.configcheck import check_draft
from core.tracking import Run
from tests.unit import small
from tests.unit.contracts import checked

NAN = float("nan")


def proposed(folder: Path, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The text of a proposal for a table `wine`, and what it says of it."""
    usecase, problems = check_draft({"name": "wine", "sources": {"wine": "wine.csv"}})
    assert usecase is not None, problems
    small.written(folder / "wine.parquet", data)
    text = propose(usecase, str(folder))
    return text, yaml.safe_load(text)["contract"]["wine"]


@pytest.mark.parametrize(
    ("values", "promise"),
    [
        pytest.param([17, 872, 4983], {"type": "integer", "min": 0, "max": 5000}, id="rounded outward"),
        pytest.param([-86, 5, 1272], {"type": "integer", "min": -500, "max": 1500}, id="below zero"),
        pytest.param([1, 5, 12], {"type": "integer", "min": 1, "max": 12}, id="a few whole numbers"),
        pytest.param([2013] * 3, {"type": "integer"}, id="always the same"),
        pytest.param([0.0, 0.3, 1.21], {"type": "number", "min": 0, "max": 1.5}, id="numbers"),
        pytest.param([0.0011, 0.0042, NAN], {"type": "number", "nulls": 0.35, "min": 0.001, "max": 0.0045}, id="small numbers and a null"),
        pytest.param([True, False, None], {"type": "boolean", "nulls": 0.35}, id="booleans"),
        pytest.param([date(2013, 1, 5), date(2014, 1, 5)], {"type": "date", "min": "2013-01-05"}, id="dates"),
        pytest.param([datetime(2013, 1, 5, 7, tzinfo=UTC)] * 2, {"type": "timestamp", "min": "2013-01-05"}, id="times"),
        pytest.param(["b", "a, x", "no"] * 10, {"type": "string", "values": ["a, x", "b", "no"]}, id="few texts"),
        pytest.param([f"id-{index}" for index in range(30)], {"type": "string"}, id="many texts"),
        pytest.param([None] * 99 + [1], {"type": "integer", "nulls": 1}, id="nearly only nulls"),
        pytest.param([None] * 1 + [1] * 40, {"type": "integer", "nulls": 0.03}, id="few nulls"),
        pytest.param([None] * 424 + [1] * 576, {"type": "integer", "nulls": 0.45}, id="nearly half nulls"),
        pytest.param([None] * 95 + [1] * 5, {"type": "integer", "nulls": 0.96}, id="mostly nulls"),
        pytest.param([1.0, 2.0, float("inf")], {"type": "number", "min": 1, "max": 2}, id="infinite number"),
    ],
)
def test_a_column_is_promised_as_it_is_and_a_little_wider(tmp_path: Path, values: Any, promise: dict[str, Any]) -> None:
    _, found = proposed(tmp_path, {"x": values, "y": list(range(len(values)))})

    assert found["columns"]["x"] == promise


@pytest.mark.parametrize(
    ("texts", "type_"),
    [
        pytest.param(["1", "-2", None], "integer", id="integers"),
        pytest.param(["1", "2.5", "1e3"], "number", id="numbers"),
        pytest.param(["1", "nan"], "number", id="NaN"),
        pytest.param(["01", "12"], "string", id="codes with zeros in front"),
        pytest.param(["0", "0.5"], "number", id="a zero is no code"),
        pytest.param(["true", "False"], "boolean", id="booleans"),
        pytest.param(["2013-01-01", "2013-12-31"], "date", id="dates"),
        pytest.param(["2013-01-01", "2013-02-30"], "string", id="no such day"),
        pytest.param(["2013-01-01 10:00", "2013-01-01T10:00:30.5"], "timestamp", id="times"),
        pytest.param(["2013-01-01T10:00Z", "2013-01-01 10:00+02:00"], "timestamp", id="times with zones"),
        pytest.param(["1_000", "2"], "string", id="no number"),
        pytest.param(["1"] * 300_000 + ["x"], "string", id="the last row decides"),
        pytest.param([None, None], "string", id="nothing is there"),
    ],
)
def test_the_types_of_a_table_of_text_are_told_by_all_rows(tmp_path: Path, texts: list[str | None], type_: str) -> None:
    _, found = proposed(tmp_path, {"x": pa.array(texts, pa.string())})

    assert found["columns"]["x"]["type"] == type_


def test_text_beside_other_types_stays_text(tmp_path: Path) -> None:
    _, found = proposed(tmp_path, {"x": ["1", "2"], "y": [1, 2]})

    assert found["columns"]["x"]["type"] == "string"


@pytest.mark.parametrize(
    ("data", "unique"),
    [
        pytest.param({"id": list(range(40)), "x": [1] * 40}, [["id"]], id="one column"),
        pytest.param({"day": [day for day in range(20) for _ in "ab"], "kind": ["a", "b"] * 20}, [["day", "kind"]], id="two columns"),
        pytest.param({"id": [*range(39), 0]}, None, id="one row repeats"),
        pytest.param({"id": [*range(39), None]}, None, id="a null is no key"),
        pytest.param({"x": [index / 7 for index in range(40)]}, None, id="measures are no keys"),
        pytest.param({"id": list(range(10))}, None, id="too few rows to tell"),
    ],
)
def test_keys_are_found(tmp_path: Path, data: dict[str, Any], unique: Any) -> None:
    _, found = proposed(tmp_path, data)

    assert found.get("unique") == unique


@pytest.mark.parametrize(
    ("data", "key"),
    [
        pytest.param({"x": [index / 7 for index in range(40)], "id": list(range(40))}, ["id"], id="an id before a measure"),
        pytest.param({"day": [day for day in range(20) for _ in "ab"], "kind": ["a", "b"] * 20}, ["day", "kind"], id="two columns"),
        pytest.param(
            {"a": [row // 16 for row in range(64)], "b": [row // 4 % 4 for row in range(64)], "c": [row % 4 for row in range(64)]},
            ["a", "b", "c"],
            id="three columns",
        ),
        pytest.param({"x": [row // 2 / 7 for row in range(40)], "y": [row % 2 / 3 for row in range(40)]}, ["x", "y"], id="two measures"),
        pytest.param({"id": [*range(39), None], "x": [1.0] * 40}, ["id"], id="one null"),
        pytest.param({f"c{bit}": [row >> bit & 1 for row in range(64)] for bit in range(6)}, "all", id="the whole row"),
        pytest.param({"x": [1.0, 2.0] * 20}, None, id="rows that repeat"),
        pytest.param({"id": list(range(10))}, None, id="too few rows to tell"),
    ],
)
def test_the_fewest_columns_that_identify_a_row_are_proposed(tmp_path: Path, data: dict[str, Any], key: Any) -> None:
    text, _ = proposed(tmp_path, data)

    assert yaml.safe_load(text).get("key") == key


def test_features_to_choose_from_can_be_pasted(tmp_path: Path) -> None:
    data = {
        "id": list(range(600)),
        "age": [1.5] * 600,
        "no": [True, False] * 300,
        "town, or": ["a", "b"] * 300,
        "name": [f"name {row // 2}" for row in range(600)],
        "born": [date(2013, 1, 5)] * 600,
        "blob": [b"x"] * 600,
        "gone": pa.nulls(600, pa.int64()),
    }

    text, _ = proposed(tmp_path, data)

    assert yaml.safe_load(text)["features"] == {"numeric": ["age", "no"], "categorical": ["town, or"]}
    (comment,) = [line for line in text.splitlines() if "left out" in line]
    assert [
        fragment for fragment in ("id (a key)", "name (300 different texts)", "born (a time", "gone (only nulls)") if fragment not in comment
    ] == []


def test_each_line_says_what_was_seen(tmp_path: Path) -> None:
    data = {
        "x": [1.0, 5.0, None, 9.0],
        "a\nb": [b"x"] * 4,
        "code": ["01", "01", "02", "03"],
        "evil\n# name": ["a\nb: c", "d", "e", "f"],
        "blob": [b"x"] * 4,
        "always": [7] * 4,
    }

    text, found = proposed(tmp_path, data)

    assert "rows: {min: 2}  # there are 4\n" in text
    assert "x: {type: number, nulls: 0.3, min: 1, max: 9}  # 25 % null, 1 to 9, median 5\n" in text
    assert "4 different, such as a b: c\n" in text
    assert "# blob: blob is of no type that a contract knows\n" in text
    assert "# always 7\n" in text
    assert "3 different, such as 01\n" in text
    assert "# left out: a b (of no type" in text
    assert list(found["columns"]) == ["x", "code", "evil\n# name", "always"]


COLUMNS = st.sampled_from(
    [
        st.integers(-(2**53), 2**53),
        st.floats(allow_infinity=False),
        st.sampled_from(["a", "no", "1", "x: y", "  ", "{", "'"]),
        st.booleans(),
        st.dates(),
        st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    ]
)


@given(COLUMNS.flatmap(lambda kind: st.lists(st.one_of(kind, st.none()), min_size=1, max_size=50)))
@settings(max_examples=40, deadline=None)
def test_the_data_keep_the_contract_that_was_made_from_them(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("kept")
    data = {"x": values if any(value is not None for value in values) else pa.nulls(len(values), pa.int64()), "number": list(range(len(values)))}

    _, found = proposed(folder, data)

    run = Run("validate", small.variant("wine", contract__wine=found))
    assert checked(run, data, folder) == []


def test_a_proposal_for_no_rows_is_a_contract(tmp_path: Path) -> None:
    _, found = proposed(tmp_path, {"x": pa.array([], pa.int64()), "y": pa.array([], pa.string())})

    assert found == {"rows": {"min": 1}, "columns": {"x": {"type": "integer"}, "y": {"type": "string"}}}


def test_a_wide_range_has_readable_bounds(tmp_path: Path) -> None:
    values = np.random.default_rng(0).lognormal(10, 5, 500)

    _, found = proposed(tmp_path, {"x": values})

    assert (found["columns"]["x"]["min"], found["columns"]["x"]["max"] >= values.max()) == (0, True)
    assert len(str(found["columns"]["x"]["max"]).rstrip("0")) < 4


@pytest.mark.parametrize(
    ("document", "place"),
    [
        pytest.param({"name": "wine"}, "sources", id="no sources"),
        pytest.param({"name": "wine", "sources": {}}, "sources", id="an empty mapping"),
        pytest.param({"name": "wine", "sources": {"wine": "ftp://x/y"}}, "sources.wine", id="a source of no kind"),
        pytest.param({"sources": {"wine": "wine.csv"}}, "name", id="no name"),
    ],
)
def test_what_a_draft_needs_is_told(document: dict[str, Any], place: str) -> None:
    usecase, problems = check_draft(document)

    assert usecase is None
    assert [".".join(map(str, problem.path)) for problem in problems] == [place]
