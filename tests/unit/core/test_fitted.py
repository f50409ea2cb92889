"""The set of the rows that a model was fitted on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.config import UseCase
from core.errors import NotComparable
from core.fitted import units_of, unseen, write_fitted
from core.keys import VERSION
from tests.unit import small

ROWS = 6000
DAYS = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=row) for row in range(ROWS)]
BY: dict[str, dict[str, Any]] = {
    "key": {"key": ["id", "kind"], "split": {"by": "random"}},
    "group": {"key": None, "split": {"by": "group", "column": "customer"}},
    "time": {"key": None, "split": {"by": "time", "column": "day"}},
}


def table(path: Path, shift: int = 0, **changes: Any) -> str:
    """Rows of which the first half is fitted on; with a shift, so many of the test rows of the second table are among these."""
    rows = np.arange(ROWS) + shift
    data = {
        "id": rows,
        "kind": [None if row % 7 == 0 else f"k{row % 5}" for row in rows],
        "customer": [f"c{row // 4}" for row in rows],
        "day": [DAYS[0] + timedelta(hours=int(row)) for row in rows],
        "split": np.where(np.arange(ROWS) < ROWS // 2, np.resize(["train", "validation"], ROWS), "test"),
    }
    return small.written(path, data | changes)


def fitted(usecase: UseCase, folder: Path, **changes: Any) -> Path:
    write_fitted(usecase, table(folder / "table.parquet", **changes), "train+validation", folder / "fitted.parquet")
    return folder / "fitted.parquet"


@pytest.mark.parametrize("by", BY)
def test_the_rows_that_a_model_was_fitted_on_are_told_exactly(tmp_path: Path, by: str) -> None:
    usecase = small.usecase(**BY[by])
    path = fitted(usecase, tmp_path)

    same = unseen(usecase, table(tmp_path / "same.parquet"), path)
    other = unseen(usecase, table(tmp_path / "other.parquet", shift=-ROWS // 4), path)

    assert same.tolist() == [True] * (ROWS // 2)
    assert other.tolist() == [False] * (ROWS // 4) + [True] * (ROWS // 4)


def test_a_key_takes_about_three_bytes(tmp_path: Path) -> None:
    path = fitted(small.usecase(**BY["key"]), tmp_path)

    assert path.stat().st_size / (ROWS // 2) < 4


def test_another_split_than_the_models_changes_nothing(tmp_path: Path) -> None:
    path = fitted(small.usecase(**BY["key"]), tmp_path)

    other = unseen(small.usecase(**BY["time"]), table(tmp_path / "other.parquet", shift=-ROWS // 4), path)

    assert other.sum() == ROWS // 4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"id": [str(row) for row in range(ROWS)]}, "the column id of features() is a VARCHAR, which was a BIGINT", id="another type"),
        pytest.param({"id": None}, "the column id of features() is not there any more", id="no column"),
    ],
)
def test_a_key_that_the_table_has_no_longer_is_named(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    usecase = small.usecase(**BY["key"])
    path = fitted(usecase, tmp_path)
    other = table(tmp_path / "other.parquet", **{name: values for name, values in changes.items() if values})
    pq.write_table(pq.read_table(other).drop_columns([name for name, values in changes.items() if not values]), other)

    with pytest.raises(NotComparable) as refused:
        unseen(usecase, other, path)

    assert sentence in str(refused.value)


def test_hashes_of_another_version_are_not_compared(tmp_path: Path) -> None:
    usecase = small.usecase(**BY["key"])
    path = fitted(usecase, tmp_path)
    keys = pq.read_table(path)
    about = json.loads(keys.schema.metadata[b"fitted"])
    pq.write_table(keys.replace_schema_metadata({"fitted": json.dumps(about | {"hash": VERSION + 1})}), path)

    with pytest.raises(NotComparable, match="hashed by an older version of this template"):
        unseen(usecase, table(tmp_path / "same.parquet"), path)


def test_with_the_whole_row_as_key_a_changed_column_is_noticed(tmp_path: Path) -> None:
    usecase = small.usecase(key="all", split={"by": "random"})
    path = fitted(usecase, tmp_path)

    with pytest.raises(NotComparable, match=r"all rows are new or a column's values have changed\. Name a key"):
        unseen(usecase, table(tmp_path / "other.parquet", day=DAYS[::-1]), path)


def test_groups_that_are_all_new_are_unseen_whatever_the_key(tmp_path: Path) -> None:
    usecase = small.usecase(**BY["group"] | {"key": "all"})
    path = fitted(usecase, tmp_path)

    assert unseen(usecase, table(tmp_path / "other.parquet", shift=ROWS), path).all()


@pytest.mark.parametrize(("by", "units"), [("key", None), ("group", ROWS // 8), ("time", None)])
def test_rows_that_stay_together_have_the_same_number(tmp_path: Path, by: str, units: int | None) -> None:
    found = units_of(small.usecase(**BY[by]), table(tmp_path / "table.parquet"))

    assert (None if found is None else len(np.unique(found))) == units
    assert found is None or found.reshape(-1, 4).std(axis=1).max() == 0
