"""Validate: what the profile says of columns, held against NumPy and the plain counts."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.validate import bins
from components.validate import profile as profiles
from components.validate.profile import Profile, Sight, chosen, profile
from core.tables import columns, connect
from tests.unit import small
from tests.unit.contracts import checked, run_of


def seen(folder: Path, data: dict[str, Any], before: dict[str, Profile] | None = None) -> dict[str, Sight]:
    path = Path(small.written(folder / "t.parquet", data))
    with connect("512MB") as connection:
        return profile(connection, path, columns(connection, path), len(next(iter(data.values()))), before or {})


def of(folder: Path, values: Any) -> Profile:
    return seen(folder, {"x": values})["x"].now


def test_numbers_are_counted_in_bins_between_their_quantiles(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=5000)

    found = of(tmp_path, values)

    edges = [-np.inf, *found.edges, np.inf]
    assert found.kind == "number"
    assert found.counts == [int(((values > low) & (values <= high)).sum()) for low, high in itertools.pairwise(edges)]
    assert found.quantiles == pytest.approx(np.quantile(values, [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1], method="inverted_cdf"))
    assert set(found.bars) <= set(found.edges)
    assert len(found.bars) == profiles.BARS + 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1.0, None, float("nan"), 3.0], {"nulls": 2, "kind": "number"}, id="NaN is a null"),
        pytest.param([float("inf"), 1.0, 2.0], {"nulls": 0, "quantiles": [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0]}, id="infinity is in no bin"),
        pytest.param([7, 7, 7], {"bars": [6.5, 7.5], "quantiles": [7.0] * 7}, id="one whole number"),
        pytest.param([1, 2, 3, 12], {"bars": [0.5 + step for step in range(13)]}, id="bars of whole numbers stand around them"),
        pytest.param(
            ["a", "b", "a", None], {"kind": "text", "values": {"a": 2, "b": 1}, "nulls": 1, "distinct": 2}, id="texts, the most frequent first"
        ),
        pytest.param([True, False, True], {"kind": "text", "values": {"true": 2, "false": 1}}, id="booleans"),
        pytest.param([date(1970, 1, 2)], {"kind": "time", "quantiles": [86400.0] * 7}, id="days"),
        pytest.param([datetime(1970, 1, 1, 1, tzinfo=UTC)], {"kind": "time", "quantiles": [3600.0] * 7}, id="times"),
        pytest.param([[1, 2], [3]], {"kind": "other", "counts": [], "values": {}}, id="lists"),
        pytest.param(pa.array([None, None], pa.float64()), {"nulls": 2, "quantiles": [], "counts": []}, id="only nulls"),
        pytest.param(pa.array([None, None], pa.string()), {"nulls": 2, "values": {}}, id="no text"),
        pytest.param(pa.array([], pa.int64()), {"rows": 0, "counts": []}, id="no rows"),
    ],
)
def test_what_a_column_holds_is_said(tmp_path: Path, values: Any, expected: dict[str, Any]) -> None:
    found = of(tmp_path, values)

    assert {key: getattr(found, key) for key in expected} == expected


def test_of_many_texts_the_most_frequent_are_kept_and_those_of_the_last_run_counted(tmp_path: Path) -> None:
    texts = [f"v{index:03}" for index in range(80) for _ in range(100 - index)]
    before = of(tmp_path, ["v079", "gone"])

    found = seen(tmp_path, {"x": texts}, {"x": before})["x"]

    assert list(found.now.values.items())[:2] == [("v000", 100), ("v001", 99)]
    assert (len(found.now.values), found.now.distinct) == (profiles.VALUES, 80)
    assert found.values == {"v079": 21, "gone": 0}


def test_ids_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profiles, "DISTINCT", 100)

    found = of(tmp_path, [f"id-{index}" for index in range(1000)])

    assert found.values == {}
    assert 900 < found.distinct < 1100


def test_quantiles_of_many_rows_come_from_the_same_rows_in_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bins, "SAMPLE", 2000)
    values = np.random.default_rng(0).normal(size=50_000)

    first, again = of(tmp_path, values), of(tmp_path, values)

    assert first == again
    assert sum(first.counts) == 50_000
    assert first.quantiles[3] == pytest.approx(0, abs=0.1)
    assert (first.quantiles[0], first.quantiles[-1]) == (values.min(), values.max())


@given(
    st.lists(st.one_of(st.none(), st.floats(width=32), st.just(0.0)), max_size=40),
    st.lists(st.one_of(st.none(), st.floats(width=32), st.just(0.0)), max_size=40),
)
@settings(max_examples=25, deadline=None)
def test_every_finite_value_is_in_one_bin_of_its_own_and_of_the_last_run(tmp_path_factory: pytest.TempPathFactory, one: Any, other: Any) -> None:
    folder = tmp_path_factory.mktemp("bins")
    before = of(folder, pa.array(one, pa.float64()))

    found = seen(folder, {"x": pa.array(other, pa.float64())}, {"x": before})["x"]

    finite = sum(value is not None and bool(np.isfinite(value)) for value in other)
    assert sum(found.now.counts) == finite
    assert sum(found.counts) == (finite if before.edges else 0)


@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=40))
@settings(max_examples=25, deadline=None)
def test_large_tables_are_counted_as_small_ones_are(tmp_path_factory: pytest.TempPathFactory, values: list[float | None]) -> None:
    folder, column = tmp_path_factory.mktemp("counts"), pa.array(values, pa.float64())
    before = of(folder, [-1.0, 0.0, 0.5, 1e300])

    small_table = seen(folder, {"x": column}, {"x": before})["x"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bins, "SAMPLE", 0)
        large_table = seen(folder, {"x": column}, {"x": before})["x"]

    assert (large_table.now.nulls, large_table.counts) == (small_table.now.nulls, small_table.counts)
    assert large_table.now.quantiles[:1] + large_table.now.quantiles[-1:] == small_table.now.quantiles[:1] + small_table.now.quantiles[-1:]


def test_columns_that_the_contract_names_are_looked_at_before_others() -> None:
    found = dict.fromkeys([f"x{index}" for index in range(profiles.MOST)] + ["a", "b"], "BIGINT")

    looked_at = chosen(found, {"a", "b"})

    assert len(looked_at) == profiles.MOST
    assert {"a", "b"} <= looked_at.keys()
    assert next(iter(looked_at)) == "x0"


def test_the_profile_is_an_artifact_of_the_run(tmp_path: Path) -> None:
    run = run_of(hue={"type": "number"})

    checked(run, {"hue": [1.0, 2.0], "ash": ["a", "b"]}, tmp_path)

    kept = json.loads(run.artifacts["profile.json"])
    assert kept["tables"]["wine"]["rows"] == 2
    assert [Profile(**column).kind for column in kept["tables"]["wine"]["columns"].values()] == ["number", "text"]


def test_a_wide_table_is_looked_at_a_hundred_columns_at_a_time(tmp_path: Path) -> None:
    found = seen(tmp_path, {f"x{index}": [index, index + 1] for index in range(250)})

    assert [sight.now.quantiles[0] for sight in found.values()] == list(range(250))
