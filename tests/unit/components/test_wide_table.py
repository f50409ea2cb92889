"""Transform: a table of thousands of columns is ordered in slices, and is the table that one query would have made."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.transform import table as narrow
from components.transform import wide
from components.transform.table import transform
from core.errors import UserError
from core.tracking import Run
from tests.unit import small

FLOATS = tuple(f"x{index}" for index in range(6))
BY_TIME = {"split": {"by": "time", "column": "day", "train": 0.6, "validation": 0.2}}
STRATIFIED = {"split": {"by": "random", "stratify": True}}


def run_of(**changes: Any) -> Run:
    columns = {name: {"type": "number"} for name in FLOATS}
    columns |= {"cultivar": {"type": "string"}, "day": {"type": "timestamp"}, "id": {"type": "integer"}}
    given = {"key": ["id"], "contract__wine__columns": columns, "features__numeric": list(FLOATS), "limits__memory": "256MB"}
    return Run("transform", small.variant("wine", **(given | changes)))


def data(rows: int = 5000) -> dict[str, Any]:
    random = np.random.default_rng(0)
    values: dict[str, Any] = {name: random.normal(size=rows).round(1) for name in FLOATS}
    values["x1"] = pa.array([(None, math.nan, -0.0, 0.0, 1.5)[row % 5] for row in range(rows)], pa.float64())
    values |= {"cultivar": random.choice(["barolo", "barbera"], rows), "day": [datetime(2013, 1, 1) + timedelta(hours=n // 7) for n in range(rows)]}
    return values | {"id": np.arange(rows)}


def made(folder: Path, values: dict[str, Any], **changes: Any) -> pa.Table:
    folder.mkdir()
    small.written(folder / "wine.parquet", values)
    transform(run_of(**changes), str(folder), str(folder / "table.parquet"))
    return pq.read_table(folder / "table.parquet")


def make_wide(monkeypatch: pytest.MonkeyPatch, ordered: int = 100) -> None:
    monkeypatch.setattr(narrow, "WIDE", 3)
    monkeypatch.setattr(narrow, "ORDERED", ordered)
    monkeypatch.setattr(wide, "SLICE", 2)


@pytest.mark.parametrize("change", [{}, BY_TIME, STRATIFIED], ids=["random", "time", "stratified"])
def test_a_wide_table_is_the_table_of_one_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
    expected = made(tmp_path / "narrow", data(), **change)
    make_wide(monkeypatch)

    found = made(tmp_path / "wide", data(), **change)

    assert repr(found.to_pylist()) == repr(expected.to_pylist())  # NaN is not equal to itself, and two zeros are
    assert (found.schema.names, found.schema.types) == (expected.schema.names, expected.schema.types)


def test_rows_that_differ_in_the_last_column_alone_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_wide(monkeypatch, ordered=1)
    values = data(300) | {name: np.zeros(300) for name in FLOATS} | {"id": np.zeros(300, np.int64), "day": [datetime(2013, 1, 1)] * 300}
    values |= {"cultivar": ["barolo", "barbera"] * 150, "id": np.arange(300) // 10, "last": np.arange(300)}
    shuffled = np.random.default_rng(1).permutation(300)

    one = made(tmp_path / "one", values)
    other = made(tmp_path / "other", {name: np.asarray(column)[shuffled] for name, column in values.items()})

    assert one.equals(other)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        pytest.param([math.inf] + [1.0] * 299, "infinite numbers: 1 of 300 rows in x0", id="infinite"),
        pytest.param([math.nan] * 300, "x0 is missing in all training rows", id="missing"),
    ],
)
def test_a_wide_table_that_no_model_can_learn_from_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: list[float], message: str
) -> None:
    make_wide(monkeypatch)

    with pytest.raises(UserError, match=message):
        made(tmp_path / "wide", data(300) | {"x0": column})
