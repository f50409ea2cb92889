"""Checked columns: what was seen once is trusted by its types, never by its values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.bundle import Input
from serving.columns import Schema
from serving.errors import RequestError

INPUTS = (Input("hour", "FP64"), Input("carrier", "BYTES"))
FIT: dict[str, Any] = {"hour": [5], "carrier": ["UA"]}


@pytest.mark.parametrize(
    ("hour", "sentence"),
    [
        pytest.param(np.array([np.inf]), "row 0, column hour: expected a finite number, got infinity", id="infinity"),
        pytest.param([2**53 + 1], "row 0, column hour: 9007199254740993 has no exact 64-bit float", id="too large for a float"),
        pytest.param(["5"], "row 0, column hour: expected a number or null, got a string", id="text"),
    ],
)
def test_a_row_is_looked_at_though_rows_of_its_kind_were_seen(hour: Any, sentence: str) -> None:
    schema = Schema(INPUTS)
    for seen in (np.array([5.0]), [5], [5.0]):
        schema.from_columns({**FIT, "hour": seen})

    with pytest.raises(RequestError, match=sentence):
        schema.from_columns({**FIT, "hour": hour})


def test_rows_and_columns_give_the_same() -> None:
    schema = Schema(INPUTS)

    columns = [
        [np.asarray(numbers).tolist(), list(texts)]
        for numbers, texts in (
            schema.from_records([{"carrier": "UA", "hour": 5}, {"carrier": None, "hour": None}]),
            schema.from_rows([["UA", 5], [None, None]], ["carrier", "hour"]),
            schema.from_columns({"carrier": ["UA", None], "hour": [5, None]}),
        )
    ]

    assert repr(columns) == repr([[[5.0, float("nan")], ["UA", None]]] * 3)


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        ([5, 2**53 + 1], "row 1, column hour: 9007199254740993 has no exact 64-bit float"),
        ([5, -(2**53) - 1], "row 1, column hour: -9007199254740993 has no exact 64-bit float"),
        ([None, 2**53 + 1], "row 1, column hour: 9007199254740993 has no exact 64-bit float"),
        ([5, "5"], "row 1, column hour: expected a number or null, got a string"),
        ([None, None, "nan"], "row 2, column hour: expected a number or null, got a string"),
        ([5, [5]], "row 1, column hour: expected a number or null, got a list"),
        ([{}, 5], "row 0, column hour: expected a number or null, got an object"),
    ],
)
def test_a_value_of_several_that_does_not_fit_is_named(hours: list[Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Schema(INPUTS).from_columns({"hour": hours, "carrier": ["UA"] * len(hours)})


def test_numbers_of_several_rows_are_those_that_were_sent() -> None:
    hours = [5, -0.0, True, None, 2**53, -(2**60), 1e308, 5e-324]

    (found, _) = Schema(INPUTS).from_columns({"hour": hours, "carrier": ["UA"] * len(hours)})

    assert repr([*found]) == repr([*np.array(hours, dtype=np.float64)])
