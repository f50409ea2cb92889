"""The split: its shares, what stays together, what keeps its place, and what would leak."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.transform.table import transform
from core.errors import UserError
from core.keys import key_hash
from core.tables import SPLITS
from core.tracking import Run
from tests.unit import small

TYPES = {"x": "number", "y": "number", "kind": "string", "customer": "string", "day": "integer", "answer": "string", "row": "integer"}
GROUP, TIME = {"by": "group", "column": "customer"}, {"by": "time", "column": "day"}
RANDOM = {"by": "random"}
STRATA = RANDOM | {"stratify": True}


def run_of(split: dict[str, Any], **changes: Any) -> Run:
    """Wine, whose features() takes the table as it is."""
    contract = {"columns": {name: {"type": kind} for name, kind in TYPES.items()}}
    given = {"key": ["row"], "contract__wine": contract, "target": "answer", "split": split}
    given["features"] = {"numeric": ["x", "y"], "categorical": ["kind"]}
    return Run("transform", small.variant("wine", **(given | changes)))


def columns(rows: int, seed: int = 0, **changes: Any) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    data = {
        "x": random.normal(size=rows),
        "y": random.normal(size=rows),
        "kind": random.choice(["a", "b"], rows),
        "customer": [f"c{number}" for number in random.integers(0, max(rows // 8, 4), rows)],
        "day": np.arange(rows) // 5,
        "answer": random.choice(["no", "yes", "rare"], rows, p=[0.7, 0.28, 0.02]),
        "row": np.arange(rows),
    }
    return data | changes


def made(folder: Path, run: Run, data: dict[str, Any]) -> pa.Table:
    folder.mkdir(exist_ok=True)
    small.written(folder / "wine.parquet", data)
    transform(run, str(folder), str(folder / "table.parquet"))
    return pq.read_table(folder / "table.parquet")


def places(table: pa.Table, *keys: str) -> dict[Any, str]:
    return dict(zip(zip(*(table[key].to_pylist() for key in keys), strict=True), table["split"].to_pylist(), strict=True))


@pytest.mark.parametrize("split", [GROUP, RANDOM, STRATA], ids=["group", "key", "strata"])
def test_the_shares_are_those_of_the_config(tmp_path: Path, split: dict[str, Any]) -> None:
    table = made(tmp_path, run_of(split | {"train": 0.5, "validation": 0.3}), columns(4000))

    shares = [table["split"].to_pylist().count(name) / 4000 for name in SPLITS]
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.05)


@settings(max_examples=5, deadline=None, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), rows=st.integers(600, 1200))
def test_all_rows_of_a_group_are_in_one_split(tmp_path: Path, seed: int, rows: int) -> None:
    found = made(tmp_path, run_of(GROUP), columns(rows, seed))

    splits = duckdb.execute("SELECT count(DISTINCT split) FROM found GROUP BY customer").fetchall()
    assert {count for (count,) in splits} == {1}
    assert found.num_rows == rows


@pytest.mark.parametrize(("split", "key"), [(GROUP, "customer"), (RANDOM, "row")], ids=["group", "key"])
def test_a_row_keeps_its_split_when_rows_features_and_seeds_change(tmp_path: Path, split: dict[str, Any], key: str) -> None:
    first, second = columns(800), columns(1600)
    second["row"][:800], second["customer"][:800] = first["row"], first["customer"]

    before = places(made(tmp_path / "before", run_of(split), first), key)
    after = places(made(tmp_path / "after", run_of(split, features={"numeric": ["x"], "categorical": []}, train__seed=99), second), key)
    moved = places(made(tmp_path / "moved", run_of(split | {"seed": 1}), first), key)

    assert before.items() <= after.items()
    assert not before.items() <= moved.items()


def test_a_composite_key_is_hashed_without_ambiguity() -> None:
    rows = pa.table(
        {"a": ["ab", "a", "abc", "", "abc", None, "null", None, "1:a", "1"], "b": ["c", "bc", "", "abc", None, "abc", "", None, "", ":a"]}
    )

    hashes = duckdb.from_arrow(rows).aggregate(f"count(DISTINCT {key_hash(('a', 'b'))})").fetchall()

    assert hashes == [(rows.num_rows,)]


@pytest.mark.parametrize(
    ("key", "changes", "sentence"),
    [
        pytest.param("all", {}, None, id="all, no row twice"),
        pytest.param("all", {name: [1] * 500 for name in ("x", "y", "day")} | {"row": [0, 0, *range(498)]}, None, id="all, told apart by one column"),
        pytest.param(
            "all",
            {name: [1] * 500 for name in ("x", "y", "day")}
            | {name: ["a"] * 500 for name in ("kind", "customer", "answer")}
            | {"row": [7, 7, 7, *range(10, 507)]},
            "2 of 500 rows repeat another one (such as a, a, 1, a, ...), so key: all does not identify a row: name the columns that do",
            id="all, rows twice",
        ),
        pytest.param(["kind", "row"], {"row": [None, None, *range(498)]}, None, id="a null in one column"),
        pytest.param(["row"], {"row": [None, None, *range(498)]}, "2 of 500 rows have no key, row is null: filter them out", id="a null key"),
        pytest.param(
            ["x", "y"],
            {"x": [np.nan] * 2 + [1.0] * 498, "y": [np.nan, None, *range(498)]},
            "2 of 500 rows have no key, x and y are null: filter them out",
            id="a key that is not a number",
        ),
    ],
)
def test_a_key_that_does_not_identify_a_row_is_refused(tmp_path: Path, key: Any, changes: dict[str, Any], sentence: str | None) -> None:
    run = run_of(RANDOM, key=key)

    try:
        made(tmp_path, run, columns(500, **changes))
    except UserError as error:
        assert sentence and sentence in str(error)
    else:
        assert sentence is None


def test_in_strata_the_shares_hold_within_each_class(tmp_path: Path) -> None:
    table = made(tmp_path, run_of(STRATA | {"train": 0.5, "validation": 0.25}), columns(2000))

    for answer in ("no", "yes", "rare"):
        splits = [split for split, value in zip(table["split"].to_pylist(), table["answer"].to_pylist(), strict=True) if value == answer]
        exact = np.array([0.5, 0.25, 0.25]) * len(splits)
        assert np.abs(np.array([splits.count(name) for name in SPLITS]) - exact).max() <= 1, answer


def test_in_strata_only_rows_next_to_a_cut_move_when_others_come(tmp_path: Path) -> None:
    first, second = columns(2000), columns(2000, seed=1, row=np.arange(2000, 4000))
    both = {name: np.concatenate([np.asarray(first[name]), np.asarray(second[name])]) for name in first}

    before = places(made(tmp_path / "before", run_of(STRATA), first), "row")
    after = places(made(tmp_path / "after", run_of(STRATA), both), "row")

    assert sum(after[key] != split for key, split in before.items()) < 0.05 * len(before)


def test_a_key_of_several_classes_in_strata_is_refused_with_count_and_example(tmp_path: Path) -> None:
    rows = 1200
    data = columns(rows, customer=[f"c{row // 4}" for row in range(rows)])

    with pytest.raises(UserError) as refused:
        made(tmp_path, run_of(STRATA, key=["customer"]), data)

    assert "values of customer are in two splits, with" in str(refused.value)
    assert "(such as c" in str(refused.value)
    assert str(refused.value).endswith("their rows have several values of answer, so remove split.stratify")
    assert not (tmp_path / "table.parquet").exists()


@pytest.mark.parametrize(
    ("split", "changes", "sentence"),
    [
        pytest.param(TIME, {"day": [1] * 500}, "the split by time leaves no validation and no test rows of 500: day has 1 instants", id="time"),
        pytest.param(GROUP, {"customer": ["a"] * 500}, "rows of 500: customer has 1 values, and rows of one value go together", id="group"),
        pytest.param(TIME, {"day": [1] * 350 + [2] * 150}, "leaves no test rows of 500: day has 2 instants", id="two instants"),
    ],
)
def test_an_empty_split_is_refused_with_what_to_change(tmp_path: Path, split: dict[str, Any], changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        made(tmp_path, run_of(split), columns(500, **changes))

    assert sentence in str(refused.value)
    assert str(refused.value).endswith("change the shares under split")
    assert not list(tmp_path.glob("table*"))


def test_a_row_without_a_group_is_refused(tmp_path: Path) -> None:
    customers = [None, *columns(500)["customer"][1:]]

    with pytest.raises(UserError) as refused:
        made(tmp_path, run_of(GROUP), columns(500, customer=customers))

    assert str(refused.value) == "features() of wine makes 1 of 500 rows without customer: filter them out there"


@pytest.mark.parametrize(
    ("changes", "feature", "how"),
    [
        pytest.param({"kind": lambda data: data["answer"]}, "kind", "is equal to the target answer in every row", id="equal"),
        pytest.param(
            {"kind": lambda data: [value[::-1] + str(row % 3) for row, value in enumerate(data["answer"])]},
            "kind",
            "has 9 values in 2,000 rows, and each of them comes with one value of answer",
            id="determines",
        ),
        pytest.param(
            {"y": lambda data: [{"no": 0, "yes": 5, "rare": 9}[value] + row / 2000 for row, value in enumerate(data["answer"])]},
            "y",
            "tells the values of answer apart by a threshold in every row",
            id="threshold",
        ),
    ],
)
def test_a_feature_that_is_the_answer_is_named(tmp_path: Path, changes: dict[str, Any], feature: str, how: str) -> None:
    data = columns(2000)
    data |= {name: make(data) for name, make in changes.items()}

    with pytest.raises(UserError) as refused:
        made(tmp_path, run_of(RANDOM), data)

    assert str(refused.value) == f"feature {feature} {how}: the model would see the answer: remove it from features"
    assert not list(tmp_path.glob("table*"))


@pytest.mark.parametrize(
    ("make", "refuses"),
    [
        pytest.param(lambda x: x, True, id="equal"),
        pytest.param(lambda x: 32 + 1.8 * x, True, id="another scale"),
        pytest.param(lambda x: x + np.random.default_rng(1).normal(size=len(x)) * 0.01, False, id="close"),
        pytest.param(lambda x: np.where(np.arange(len(x)) % 2, np.nan, np.random.default_rng(1).normal(size=len(x))), False, id="no number"),
        pytest.param(lambda x: np.where(np.arange(len(x)) % 2, np.nan, x), True, id="the answer or no number"),
    ],
)
def test_of_a_regression_a_feature_on_the_scale_of_the_answer_is_refused(tmp_path: Path, make: Any, refuses: bool) -> None:
    data = columns(1000)
    run = run_of(RANDOM, task="regression", metric="mae", target="x", features={"numeric": ["y"], "categorical": ["kind"]})

    try:
        made(tmp_path, run, data | {"y": make(data["x"])})
    except UserError as error:
        assert refuses and str(error).startswith("feature y is ")
    else:
        assert not refuses


def test_one_exception_clears_a_feature(tmp_path: Path) -> None:
    data = columns(30_000)
    kinds = list(data["answer"])
    kinds[-1] = "another"  # beyond the sample
    kinds[-2], data["answer"][-2], data["answer"][-3] = "yes", "no", "yes"

    table = made(tmp_path, run_of(TIME), data | {"kind": kinds})

    assert table.num_rows == 30_000


def test_an_identifier_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    data = columns(2000)

    table = made(tmp_path, run_of(RANDOM), data | {"kind": [f"id{row}" for row in range(2000)]})

    assert table.num_rows == 2000


def test_equal_feature_rows_in_training_and_test_are_told(tmp_path: Path) -> None:
    run = run_of(TIME)
    data = columns(1000, x=[1.0, 2.0] * 500, y=[0.0] * 1000, kind=["a"] * 1000)

    made(tmp_path, run, data)

    assert run.metrics["test_rows_in_train"] == 1.0
    assert run.summary.endswith("; 100% of the test rows equal a training row")
