"""Validate: every rule of the contract, broken once, and the page that is written in any case."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.validate.contract import validate
from core.configfile import load
from core.featurecode import FOLDER
from core.tracking import Run
from tests.unit import small
from tests.unit.contracts import CONTRACT, checked, refused, run_of

NAN, EVIL = float("nan"), "<script>alert(1)</script>"
GOOD = {"hue": [0.5, 1.5, 2.5], "cultivar": ["barolo", "barbera", "barolo"]}


def test_data_that_keep_the_contract_pass(tmp_path: Path) -> None:
    run = run_of(
        promises={"unique": [["hue"]]},
        hue={"type": "number", "min": 0.5, "max": 2.5},
        cultivar={"type": "string", "values": ["barolo", "barbera"], "pattern": "bar.*"},
    )
    small.written(tmp_path / "wine.parquet", GOOD)

    validate(run, str(tmp_path), str(tmp_path / "page.html"))

    assert run.summary == "2 columns of 1 table keep the contract"
    assert run.metrics == {"violations": 0.0}
    assert "Every table keeps its contract." in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("column", "values", "sentence"),
    [
        pytest.param({"type": "number"}, ["a", "b", "c"], ".hue: its type is VARCHAR, the contract says number", id="text for a number"),
        pytest.param({"type": "integer"}, [1.0, 2.0, 3.0], ".hue: its type is DOUBLE, the contract says integer", id="number for an integer"),
        pytest.param({"type": "string"}, [1, 2, 3], ".hue: its type is BIGINT, the contract says string", id="integer for text"),
        pytest.param({"type": "timestamp"}, ["2013-01-01"] * 3, ".hue: its type is VARCHAR, the contract says timestamp", id="text for a time"),
        pytest.param({"type": "number"}, [None, 1.0, None], ".hue: 2 of 3 rows are null, the contract allows 0", id="nulls"),
        pytest.param({"type": "number"}, [NAN, 1.0, None], ".hue: 2 of 3 rows are null, the contract allows 0", id="NaN is a null"),
        pytest.param({"type": "number", "nulls": 0.34}, [None, None, 1.0], ".hue: 2 of 3 rows are null, the contract allows 1", id="too many nulls"),
        pytest.param({"type": "number", "min": 1}, [0.5, 1.0, 0.25], ".hue: 2 of 3 rows are below 1, the contract's min (such as 0.25)", id="min"),
        pytest.param({"type": "number", "max": 2}, [2.5, 2.0, 1], ".hue: 1 of 3 rows are above 2, the contract's max (such as 2.5)", id="max"),
        pytest.param({"type": "number", "max": 2}, [float("inf"), 1, 1], ".hue: 1 of 3 rows are above 2, the contract's max (such as inf)", id="inf"),
        pytest.param({"type": "number", "min": 0}, [float("inf"), 1, 1], ".hue: 1 of 3 rows are infinite, the contract allows 0", id="inf above min"),
        pytest.param({"type": "number"}, [float("-inf"), 1, 2], ".hue: 1 of 3 rows are infinite, the contract allows 0", id="inf without bounds"),
        pytest.param({"type": "integer", "min": 5}, [4, 5, 6], ".hue: 1 of 3 rows are below 5, the contract's min (such as 4)", id="integer's min"),
        pytest.param(
            {"type": "date", "min": "2013-01-01"},
            [date(2012, 12, 31), date(2013, 1, 1), date(2014, 1, 1)],
            ".hue: 1 of 3 rows are below 2013-01-01, the contract's min (such as 2012-12-31)",
            id="date",
        ),
        pytest.param(
            {"type": "timestamp", "max": "2013-01-01 12:00"},
            [datetime(2013, 1, 1, hour, tzinfo=UTC) for hour in (11, 12, 13)],
            ".hue: 1 of 3 rows are above 2013-01-01 12:00, the contract's max (such as 2013-01-01 13:00:00+00)",
            id="time with zone",
        ),
        pytest.param({"type": "string", "min": "b"}, ["a", "b", "c"], ".hue: 1 of 3 rows are below b, the contract's min (such as a)", id="text"),
        pytest.param(
            {"type": "string", "values": ["a", "it's"]},
            ["a", "it's", "c"],
            ".hue: 1 of 3 rows are none of a, it's, the contract's values (such as c)",
            id="values",
        ),
        pytest.param(
            {"type": "integer", "values": [1, 2]},
            [1, 2, 3],
            ".hue: 1 of 3 rows are none of 1, 2, the contract's values (such as 3)",
            id="values of numbers",
        ),
        pytest.param(
            {"type": "string", "values": [str(number) for number in range(12)]},
            ["0", "1", "x"],
            ".hue: 1 of 3 rows are none of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more, the contract's values (such as x)",
            id="many values",
        ),
        pytest.param(
            {"type": "string", "pattern": "N[0-9]+"},
            ["N1", "xN1", "N1\nN"],
            ".hue: 2 of 3 rows are not of the form N[0-9]+, the contract's pattern (such as xN1)",
            id="pattern",
        ),
        pytest.param(
            {"type": "string", "values": ["a"]},
            ["a", "b\nad data", "a"],
            ".hue: 1 of 3 rows are none of a, the contract's values (such as b ad data)",
            id="a value of two lines is shown on one",
        ),
        pytest.param(
            {"type": "number", "min": 1, "outside": 0.4},
            [0.5, 0.1, 1.0],
            ".hue: 2 of 3 rows are below 1, the contract's min, which allows 1 (such as 0.1)",
            id="more outside than tolerated",
        ),
    ],
)
def test_a_broken_rule_is_one_sentence_with_its_place(tmp_path: Path, column: dict[str, Any], values: list[Any], sentence: str) -> None:
    found = refused(run_of(hue=column), {"hue": values}, tmp_path)

    assert found == [f"bad data: wine{sentence} {CONTRACT}"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        pytest.param({"type": "number"}, [1, 2, 3], id="integers are numbers"),
        pytest.param({"type": "number"}, pa.array([1, 2, 3], pa.float32()), id="short floats"),
        pytest.param({"type": "number", "min": 1}, [Decimal("1.5"), Decimal(2), Decimal(3)], id="decimals"),
        pytest.param({"type": "integer"}, pa.array([1, 2, 3], pa.uint8()), id="short integers"),
        pytest.param({"type": "string"}, pa.array(["a", "b", "c"]).dictionary_encode(), id="enumeration"),
        pytest.param({"type": "boolean"}, [True, False, True], id="booleans"),
        pytest.param({"type": "timestamp"}, [datetime(2013, 1, 1)] * 3, id="time without zone"),
        pytest.param({"type": "number", "nulls": 0.34, "min": 1, "max": 2}, [None, 1.0, 2.0], id="bounds included, null apart"),
        pytest.param({"type": "number", "nulls": 1, "min": 1, "max": 2}, [NAN, NAN, NAN], id="NaN is in no bounds"),
        pytest.param({"type": "string", "nulls": 1, "values": ["a"]}, [None, "a", None], id="null is no value"),
        pytest.param({"type": "string", "nulls": 1, "pattern": "a"}, [None, "a", None], id="null has no form"),
        pytest.param({"type": "integer", "values": [1, 2, 3]}, [1, 2, 3], id="numbers listed"),
        pytest.param({"type": "number", "nulls": 1, "values": [1.5]}, [1.5, NAN, None], id="NaN is no value"),
        pytest.param({"type": "number", "min": 1, "max": 1, "outside": 0.34}, [0.5, 1.0, 2.0], id="as many outside of each as tolerated"),
        pytest.param({"type": "timestamp", "min": "2013-01-01 12:00+02:00"}, [datetime(2013, 1, 1, 10)] * 3, id="a bound with another zone"),
    ],
)
def test_what_the_contract_allows_passes(tmp_path: Path, column: dict[str, Any], values: Any) -> None:
    run = run_of(hue=column)
    small.written(tmp_path / "wine.parquet", {"hue": values})

    validate(run, str(tmp_path), str(tmp_path / "page.html"))

    assert run.metrics["violations"] == 0


def test_a_missing_column_is_named_on_its_line(tmp_path: Path) -> None:
    config = (FOLDER / "wine" / "config.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(config, 1) if text.strip().startswith("hue:"))

    run = run_of(hue={"type": "number"})
    run.usecase = load("wine")

    found = refused(run, {"cultivar": ["a"]}, tmp_path)

    assert f"bad data: wine.hue: the column is missing (usecases/wine/config.yaml line {line})" in found


@pytest.mark.parametrize(("name", "cure"), [(" hue", "csv: {strip: true}"), ("Hue", "name it so")])
def test_a_missing_column_that_is_there_in_another_spelling_is_named(tmp_path: Path, name: str, cure: str) -> None:
    (found,) = checked(run_of(hue={"type": "number"}), {name: [1.0]}, tmp_path)

    assert f"(there is {name!r}: " in found
    assert cure in found


def test_a_column_that_the_contract_does_not_name_may_be_there(tmp_path: Path) -> None:
    run = run_of(cultivar={"type": "string"})
    small.written(tmp_path / "wine.parquet", GOOD)

    validate(run, str(tmp_path), str(tmp_path / "page.html"))

    assert "hue" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        pytest.param({"min": 4}, "3 rows, the contract wants at least 4", id="too few"),
        pytest.param({"min": 1, "max": 2}, "3 rows, the contract wants at least 1 and at most 2", id="too many"),
    ],
)
def test_the_count_of_rows_is_checked(tmp_path: Path, rows: dict[str, int], sentence: str) -> None:
    found = refused(run_of(rows=rows, hue={"type": "number"}), GOOD, tmp_path)

    assert found == [f"bad data: wine: {sentence} {CONTRACT}"]


def test_an_empty_table_is_refused_and_has_a_page(tmp_path: Path) -> None:
    run = run_of(hue={"type": "number", "min": 1}, cultivar={"type": "string", "values": ["a"]}, promises={"unique": [["hue", "cultivar"]]})

    found = refused(run, {"hue": pa.array([], pa.float64()), "cultivar": pa.array([], pa.string())}, tmp_path)

    assert found == [
        f"bad data: wine: 0 rows, the contract wants at least 1 {CONTRACT}",
    ]
    assert "0 rows" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("unique", "data", "repeated"),
    [
        pytest.param(["hue"], {"hue": [1.0, 1.0, 1.0, 2.0]}, 2, id="one column"),
        pytest.param(["hue", "cultivar"], {"hue": [1.0, 1.0, 1.0], "cultivar": ["a", "a", "b"]}, 1, id="two columns"),
        pytest.param(["hue"], {"hue": [1.0, None, None]}, 1, id="null key twice"),
        pytest.param(["hue"], {"hue": [1.0, None, 2.0]}, 0, id="null key once"),
        pytest.param(["hue", "cultivar"], {"hue": [1.0, 1.0, None], "cultivar": [None, None, "a"]}, 1, id="half a null key twice"),
        pytest.param(["hue", "cultivar"], {"hue": [1.0, None, 1.0], "cultivar": [None, "a", "b"]}, 0, id="half a null key once"),
    ],
)
def test_a_key_that_is_there_twice_is_counted(tmp_path: Path, unique: list[str], data: dict[str, Any], repeated: int) -> None:
    columns = {"hue": {"type": "number", "nulls": 1}, "cultivar": {"type": "string", "nulls": 1}}
    run = run_of(promises={"unique": [unique]}, **{name: columns[name] for name in data})

    said = "".join(checked(run, data, tmp_path))

    key = f"repeat a key of {', '.join(unique)}, which must be unique"
    assert said.startswith(f"bad data: wine: {repeated} of {len(data['hue'])} rows {key}" if repeated else "")
    assert bool(said) == bool(repeated)


def test_every_violation_is_listed_and_stands_on_the_page(tmp_path: Path) -> None:
    run = run_of(rows={"min": 9}, hue={"type": "number", "min": 1, "max": 2}, cultivar={"type": "string", "values": ["x"]}, ash={"type": "number"})

    found = refused(run, GOOD, tmp_path)

    page = (tmp_path / "page.html").read_text()
    assert len(found) == 5
    assert page.count('<div class="violation">') == 5
    assert "5 violations of the contract" in page
    assert len(json.loads(run.artifacts["violations.json"])) == 5
    assert run.metrics["violations"] == 5
    assert run.artifacts["data.html"].decode() == page


def test_what_the_data_hold_cannot_change_the_page(tmp_path: Path) -> None:
    run = run_of(hue={"type": "string", "values": ["a"]})

    refused(run, {"hue": [EVIL], EVIL: [EVIL]}, tmp_path)

    page = (tmp_path / "page.html").read_text()
    assert page.count("<script") == 1  # the one of the page itself
    assert "&lt;script&gt;" in page


def test_a_name_with_quotes_is_only_a_name(tmp_path: Path) -> None:
    name = 'hue"; DROP TABLE x; --'

    found = refused(run_of(**{name: {"type": "number", "min": 1}}), {name: [0.5]}, tmp_path)

    assert found[0].startswith(f"bad data: wine.{name}: 1 of 1 rows are below 1")


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_the_real_data_keep_their_contract(tmp_path: Path, name: str) -> None:
    from components.extract.extract import extract

    run = Run("validate", small.variant(name))
    extract(run, str(tmp_path))

    validate(run, str(tmp_path), str(tmp_path / "page.html"))

    assert run.metrics["violations"] == 0


def test_rows_that_break_a_rule_are_kept_with_their_key_the_worst_first(tmp_path: Path) -> None:
    run = run_of(promises={"unique": [["id"]]}, id={"type": "integer"}, hue={"type": "number", "max": 1})

    refused(run, {"id": list(range(9)), "hue": [0.0, 2, 9, 3, 4, 5, 6, 7, 1], "ash": [1] * 9}, tmp_path)

    (violation,) = json.loads(run.artifacts["violations.json"])
    assert {key: violation[key] for key in ("source", "column", "rule", "count", "rows")} == {
        "source": "wine",
        "column": "hue",
        "rule": "columns.hue.max",
        "count": 7,
        "rows": 9,
    }
    assert violation["share"] == pytest.approx(7 / 9)
    assert violation["examples"] == [{"hue": f"{value}.0", "id": str(row)} for value, row in ((9, 2), (7, 7), (6, 6), (5, 5), (4, 4))]
    assert '<td class="mark">9.0</td><td>2</td>' in (tmp_path / "page.html").read_text()


def test_a_repeated_key_is_shown_with_how_often_it_is_there(tmp_path: Path) -> None:
    run = run_of(promises={"unique": [["hue"]]}, hue={"type": "integer"})

    found = refused(run, {"hue": [1, 2, 2, 3, 3, 3]}, tmp_path)

    (violation,) = json.loads(run.artifacts["violations.json"])
    assert found[0].startswith("bad data: wine: 3 of 6 rows repeat a key of hue, which must be unique (such as 3) (")
    assert violation["examples"] == [{"hue": "3", "times": "3"}, {"hue": "2", "times": "2"}]


def test_of_very_many_violations_the_terminal_shows_the_first_and_the_artifact_has_all(tmp_path: Path) -> None:
    names = [f"x{index}" for index in range(120)]
    run = run_of(**{name: {"type": "number", "min": 1} for name in names})

    found = refused(run, {name: [0.5] for name in names}, tmp_path)

    assert len(found) == 101
    assert found[-1] == "bad data: 20 more violations are on the page of validate: correct these first"
    assert len(json.loads(run.artifacts["violations.json"])) == 120
