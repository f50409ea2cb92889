"""Examples: the rows of a split, at once or in batches, all of them or a sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bundle import Input, frame
from core.examples import batches, examples, target
from core.sampling import BLOCK, draw, lacking
from core.tables import inputs
from tests.unit import small


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """600 rows in row groups of 70, the splits mixed in each."""
    pq.write_table(pa.table(small.columns()), tmp_path / "table.parquet", row_group_size=70)
    return tmp_path / "table.parquet"


def joined(parts: Any) -> tuple[pd.DataFrame, Any]:
    tables, targets = zip(*parts, strict=True)
    return pd.concat(tables, ignore_index=True), np.concatenate(targets)


def test_training_reads_what_serving_makes_of_the_same_values(table: Path) -> None:
    data, usecase = small.columns(), small.usecase()
    kept = data["split"] == "train"
    columns = {name: [value for value, keep in zip(data[name], kept, strict=True) if keep] for name in usecase.features.names}

    rows, _ = examples(table, usecase, "train")

    pd.testing.assert_frame_equal(rows, frame(columns, inputs(usecase)))


@pytest.mark.parametrize("most", [None, 50, 359, 360, 5000])
def test_batches_are_the_same_rows_in_the_same_order(table: Path, most: int | None) -> None:
    rows, truth = examples(table, small.usecase(), "train", most=most)

    parts, targets = joined(batches(table, small.usecase(), "train", most=most))

    assert len(truth) == min(most or 360, 360)
    pd.testing.assert_frame_equal(parts, rows)
    assert np.array_equal(targets, truth)


def test_a_seed_mixes_the_row_groups_and_loses_none(table: Path) -> None:
    rows, _ = examples(table, small.usecase(), "train", most=200)

    one, other, again = (joined(batches(table, small.usecase(), "train", most=200, seed=seed))[0] for seed in (1, 2, 1))

    assert one.equals(again) and not one.equals(other)
    assert sorted(one["y"]) == sorted(other["y"]) == sorted(rows["y"])


def test_a_sample_is_decided_by_the_seed_and_spread_over_the_table(table: Path) -> None:
    everything = examples(table, small.usecase(), "train")[0]["y"].tolist()

    one, again, other = (examples(table, small.usecase(train__seed=seed), "train", most=60)[0]["y"].tolist() for seed in (1, 1, 2))

    assert one == again != other
    assert len(set(one)) == 60
    places = [everything.index(value) for value in one]
    assert places == sorted(places) and min(places) < 60 and max(places) > 300


def test_a_sample_has_a_row_of_every_class(tmp_path: Path) -> None:
    answer = np.where(np.arange(600) % 100 < 4, "rare", np.where(small.columns()["answer"] == 1, "yes", "no"))
    path = small.written(tmp_path / "table.parquet", small.columns() | {"answer": answer})

    _, truth = examples(path, small.usecase("multiclass"), "train", most=2)

    assert set(truth) == {"rare", "yes", "no"}
    assert len(truth) in (3, 4)


def test_equal_texts_are_one_object(tmp_path: Path) -> None:
    path = small.written(tmp_path / "table.parquet", small.columns() | {"kind": [f"a long text {row % 3}" for row in range(600)]})
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=70)

    rows, _ = examples(path, small.usecase(), "train")

    assert len({id(value) for value in rows["kind"]}) == 3


def test_another_models_inputs_are_read_in_its_order(table: Path) -> None:
    rows, _ = examples(table, small.usecase(), "test", (Input("kind", "BYTES"), Input("x", "FP64")))

    assert rows.dtypes.astype(str).to_dict() == {"kind": "object", "x": "float64"}
    assert list(rows) == ["kind", "x"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_target_can_be_read_alone(tmp_path: Path, task: str) -> None:
    path, usecase = small.written(tmp_path / "table.parquet", small.columns(task)), small.usecase(task)

    found = target(path, usecase, "train")

    assert np.array_equal(found, examples(path, usecase, "train")[1])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3 * BLOCK), st.integers(1, 500), st.integers(0, 5))
def test_a_draw_has_so_many_different_rows_in_order(rows: int, most: int, seed: int) -> None:
    most = min(most, rows)

    found = draw(rows, most, seed)

    assert len(found) == most
    assert (np.diff(found) > 0).all()
    assert found[0] >= 0 and found[-1] < rows
    assert np.array_equal(found, draw(rows, most, seed))


def test_every_part_of_a_large_table_is_drawn_from_alike() -> None:
    found = draw(3 * BLOCK + BLOCK // 2, 70_000, 1)

    share = np.bincount(found // BLOCK) / 70_000
    assert share == pytest.approx([2 / 7, 2 / 7, 2 / 7, 1 / 7], abs=0.01)


@pytest.mark.parametrize(("drawn", "added"), [([], [0, 1, 4, 6]), ([2], [1, 4, 6]), ([0, 1, 4, 6], []), ([3, 6], [0, 4])])
def test_the_first_row_of_each_value_that_was_not_drawn_is_found(drawn: list[int], added: list[int]) -> None:
    pieces = [pa.array(["a", "b", "a"]), pa.array(["b", "c"]), pa.array(["a", "d"])]

    found = lacking(pieces, np.array(drawn, dtype=np.int64))

    assert found.tolist() == added
