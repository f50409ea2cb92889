"""Transform: the use case's expression and the split, the same each time."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.transform.engines import Wrong
from components.transform.engines import duckdb as engine
from components.transform.table import transform
from core import tables
from core.errors import UserError
from core.tables import SPLITS
from core.tracking import Run
from tests.unit import small

NUMBERS = ("alcohol", "malic_acid", "ash", "hue")


def run_of(**changes: Any) -> Run:
    """Wine, whose features() takes the table as it is: the raw table decides what is made."""
    columns = {name: {"type": "number"} for name in NUMBERS} | {"cultivar": {"type": "string"}, "day": {"type": "timestamp"}}
    given = {"key": ["alcohol", "day"], "contract__wine__columns": columns, "features__numeric": list(NUMBERS), "limits__memory": "128MB"}
    return Run("transform", small.variant("wine", **(given | changes)))


BY_TIME = {"split": {"by": "time", "column": "day", "train": 0.6, "validation": 0.2}}


def raw(folder: Path, rows: int = 400, **changes: Any) -> str:
    random = np.random.default_rng(0)
    data: dict[str, Any] = {name: random.normal(size=rows) for name in NUMBERS}
    data |= {"cultivar": random.choice(["barolo", "barbera"], rows), "day": [datetime(2013, 1, 1) + timedelta(hours=n // 7) for n in range(rows)]}
    small.written(folder / "wine.parquet", {name: values for name, values in (data | changes).items() if values is not None})
    return str(folder)


def splits(path: Path) -> list[tuple[Any, ...]]:
    table = pq.read_table(path)
    return list(zip(table["alcohol"].to_pylist(), table["day"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_the_table_has_every_column_and_the_split(tmp_path: Path) -> None:
    run = run_of()

    found = transform(run, raw(tmp_path), str(tmp_path / "table.parquet"))

    assert sorted(pq.read_schema(tmp_path / "table.parquet").names) == ["alcohol", "ash", "cultivar", "day", "hue", "malic_acid", "split"]
    assert found == {"rows": 400, "columns": 7}
    assert run.summary.startswith("400 rows, 7 columns -> ")
    assert sum(run.metrics[f"rows.{split}"] for split in SPLITS) == 400
    assert [item["dataset"]["name"] for item in run.datasets] == ["table"]


@pytest.mark.parametrize("change", [{}, BY_TIME], ids=["random", "time"])
def test_the_shares_are_those_of_the_config(tmp_path: Path, change: dict[str, Any]) -> None:
    run = run_of(**({"split__train": 0.6} | change))

    transform(run, raw(tmp_path, 5000), str(tmp_path / "table.parquet"))

    shares = [run.metrics[f"rows.{split}"] / 5000 for split in SPLITS]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.02)


def test_by_time_no_instant_is_in_two_splits_and_the_newest_are_tested(tmp_path: Path) -> None:
    transform(run_of(**BY_TIME), raw(tmp_path), str(tmp_path / "table.parquet"))

    days = {split: {row[1] for row in splits(tmp_path / "table.parquet") if row[2] == split} for split in SPLITS}
    assert max(days["train"]) < min(days["validation"]) <= max(days["validation"]) < min(days["test"])
    assert sum(map(len, days.values())) == len(set.union(*days.values()))


def test_by_time_a_row_without_a_time_is_refused(tmp_path: Path) -> None:
    days = [None, *(datetime(2013, 1, 1) + timedelta(hours=n) for n in range(399))]

    with pytest.raises(UserError) as refused:
        transform(run_of(**BY_TIME), raw(tmp_path, day=days), str(tmp_path / "table.parquet"))

    assert str(refused.value) == "features() of wine makes 1 of 400 rows without day: filter them out there"


def test_the_same_rows_twice_go_the_same_way(tmp_path: Path) -> None:
    twice = {name: [row // 2 / 7 for row in range(300)] for name in NUMBERS} | {
        "cultivar": ["a", "a", "b", "b"] * 75,
        "day": [datetime(2013, 1, 1)] * 300,
    }

    transform(run_of(), raw(tmp_path, 300, **twice), str(tmp_path / "table.parquet"))

    assert len(set(splits(tmp_path / "table.parquet"))) == 150


@pytest.mark.parametrize("change", [{}, BY_TIME], ids=["random", "time"])
def test_the_same_rows_in_another_order_give_the_same_bytes(tmp_path: Path, change: dict[str, Any]) -> None:
    rows = 130_000  # more than one row group
    (tmp_path / "other").mkdir()
    raw(tmp_path, rows)
    duckdb.sql(f"COPY (FROM '{tmp_path}/wine.parquet' ORDER BY hash(alcohol)) TO '{tmp_path}/other/wine.parquet'")

    for folder in (tmp_path, tmp_path / "other"):
        transform(run_of(**change), str(folder), str(folder / "table.parquet"))

    assert (tmp_path / "table.parquet").read_bytes() == (tmp_path / "other" / "table.parquet").read_bytes()


def test_the_number_of_threads_changes_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 130_000
    odd = np.resize([0.0, -0.0, np.nan, -np.nan, 1.5], rows)
    hues = [None if row % 5 == 0 else row % 3 for row in range(rows)]
    raw(tmp_path, rows, ash=odd, hue=hues)

    for threads in (1, 2, 4):
        monkeypatch.setattr(tables, "THREADS", threads)
        monkeypatch.setattr(engine, "THREADS", threads)
        transform(run_of(**BY_TIME), str(tmp_path), str(tmp_path / f"{threads}.parquet"))

    assert len({(tmp_path / f"{threads}.parquet").read_bytes() for threads in (1, 2, 4)}) == 1
    assert not np.signbit(pq.read_table(tmp_path / "1.parquet")["ash"].to_numpy()).any()


def test_a_column_without_nulls_has_the_type_of_one_with_nulls(tmp_path: Path) -> None:
    for name, first in (("none", 1.0), ("one", None)):
        (tmp_path / name).mkdir()
        raw(tmp_path / name, hue=[first, *[1.0] * 399])
        transform(run_of(), str(tmp_path / name), str(tmp_path / f"{name}.parquet"))

    assert pq.read_schema(tmp_path / "none.parquet").equals(pq.read_schema(tmp_path / "one.parquet"))


@pytest.mark.parametrize(
    ("changes", "table", "sentence"),
    [
        pytest.param(
            {"features__numeric": [*NUMBERS, "sugar"], "target": "grape"},
            {},
            '--set target="grape": target: features() makes no column grape',
            id="missing columns",
        ),
        pytest.param(
            {}, {"cultivar": [None] * 3 + ["a"] * 397}, "features() of wine makes 3 of 400 rows without cultivar: filter them out", id="null"
        ),
        pytest.param(
            {"target": "ash", "features__numeric": ["hue"], "task": "regression", "metric": "mae"},
            {"ash": [float("nan")] * 2 + [1.0] * 398},
            "features() of wine makes 2 of 400 rows without ash: filter them out",
            id="target that is not a number",
        ),
        pytest.param(
            {"task": "binary", "metric": "f1", "positive": "merlot"},
            {},
            "positive: 'merlot' is no value of cultivar: name one of barbera, barolo",
            id="positive class that is none",
        ),
        pytest.param({}, {"split": ["train"] * 400}, "usecases/wine/features.py: features() makes a column split", id="column called split"),
    ],
)
def test_a_table_that_is_not_as_the_config_says_is_refused(tmp_path: Path, changes: dict[str, Any], table: dict[str, Any], sentence: str) -> None:
    contract = run_of().usecase.model_dump()["contract"]["wine"]["columns"] | {name: {"type": "string"} for name in table if name == "split"}
    run = run_of(**({"contract__wine__columns": contract} | changes))

    with pytest.raises(UserError) as refused:
        transform(run, raw(tmp_path, **table), str(tmp_path / "table.parquet"))

    assert str(refused.value).startswith(sentence)
    assert not (tmp_path / "table.parquet").exists()


@pytest.mark.parametrize(
    ("values", "changes", "fragments"),
    [
        pytest.param(
            {"hue": [math.inf] * 2 + [1.0] * 398, "ash": [-math.inf] + [1.0, 2.0, 3.0] * 133},
            {},
            ["2 of 400 rows in hue", "1 of 400 rows in ash", "such as in the row with alcohol"],
            id="features",
        ),
        pytest.param(
            {"hue": np.array([math.inf] + [1.0] * 399, np.float32)},
            {"key": ["day"]},
            ["1 of 400 rows in hue", "day 2013-01-01 00:00:00"],
            id="key",
        ),
        pytest.param(
            {"ash": [math.inf] + [1.0] * 399},
            {"target": "ash", "features__numeric": ["hue"], "task": "regression", "metric": "mae"},
            ["1 of 400 rows in ash", ".nullif(0)"],
            id="target",
        ),
        pytest.param(
            {"hue": [math.inf] * 2 + [*range(398)], "ash": [-math.inf, *range(399)], "alcohol": [math.inf] * 3 + [1.0] * 397},
            {
                "key": ["alcohol", "day"],
                "split": {"by": "time", "column": "ash", "train": 0.6, "validation": 0.2},
                "target": "malic_acid",
                "task": "regression",
                "metric": "mae",
                "evaluate__baseline": "hue",
                "features": {"categorical": ["cultivar"], "numeric": []},
            },
            ["3 of 400 rows in alcohol", "1 of 400 rows in ash", "2 of 400 rows in hue"],
            id="key, split column and baseline",
        ),
        pytest.param({"hue": [math.nan] * 400}, {}, ["hue is missing in all training rows: remove it from features"], id="NaN"),
        pytest.param({"hue": [None] * 399 + [1.0]}, BY_TIME, ["hue is missing in all training rows"], id="known later alone"),
        pytest.param({"hue": pa.nulls(400, pa.int64())}, {}, ["hue is missing in all training rows"], id="null"),
    ],
)
def test_what_no_model_can_learn_from_is_named(tmp_path: Path, values: dict[str, Any], changes: dict[str, Any], fragments: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        transform(run_of(**changes), raw(tmp_path, **values), str(tmp_path / "table.parquet"))

    assert [fragment for fragment in fragments if fragment not in str(refused.value)] == []
    assert not (tmp_path / "table.parquet").exists()


def test_a_lookup_of_rows_in_memory_is_joined(tmp_path: Path) -> None:
    import ibis

    small.written(tmp_path / "made.parquet", {"code": ["a", "b", "c"]})
    raw = ibis.table({"code": "string"}, "made")  # a source may have the name of a view of transform
    lookup = ibis.memtable({"code": ["a", "b"], "length": [1, 2]})

    with tables.connect("128MB") as connection:
        engine.run(raw.left_join(lookup, "code").select("code", "length"), {"made": tmp_path / "made.parquet"}, tmp_path / "out", connection)
        views = connection.execute("SELECT count(*) FROM duckdb_views() WHERE NOT internal").fetchall()

    assert sorted(pq.read_table(tmp_path / "out").to_pylist(), key=str) == [
        {"code": code, "length": length} for code, length in (("a", 1), ("b", 2), ("c", None))
    ]
    assert views == [(0,)]


@pytest.mark.parametrize(
    "divide",
    [
        pytest.param(lambda t: t.n // t.n, id="whole, zero by zero"),
        pytest.param(lambda t: (t.n + 1) // t.n, id="whole"),
        pytest.param(lambda t: t.n % t.n, id="remainder"),
        pytest.param(lambda t: (-1 / t.n).cast("int64"), id="cast"),
    ],
)
def test_an_integer_division_by_zero_names_its_cure(tmp_path: Path, divide: Callable[[Any], Any]) -> None:
    import ibis

    small.written(tmp_path / "made.parquet", {"n": [2, 0]})
    raw = ibis.table({"n": "int64"}, "made")

    with tables.connect("128MB") as connection, pytest.raises(Wrong, match=r"^it divides by zero.*: write \.nullif\(0\) on the divisor"):
        engine.run(raw.select(v=divide(raw)), {"made": tmp_path / "made.parquet"}, tmp_path / "out", connection)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    raw(tmp_path)
    duckdb.sql(f"COPY (FROM '{tmp_path}/wine.parquet' LIMIT 0) TO '{tmp_path}/none.parquet'")
    (tmp_path / "none.parquet").replace(tmp_path / "wine.parquet")

    with pytest.raises(UserError) as refused:
        transform(run_of(), str(tmp_path), str(tmp_path / "table.parquet"))

    assert str(refused.value) == "features() of wine makes no rows: look at its filters and joins"


@pytest.mark.parametrize("memory", ["1MB", "20MB"])
def test_a_memory_limit_that_is_too_small_is_a_sentence(tmp_path: Path, memory: str) -> None:
    raw(tmp_path, 300_000)

    with pytest.raises(UserError) as refused:
        transform(run_of(limits__memory=memory), str(tmp_path), str(tmp_path / "table.parquet"))

    assert str(refused.value) == f"the tables do not fit into limits.memory {memory}: set a greater one"


def test_a_value_that_cannot_be_computed_is_a_sentence(tmp_path: Path) -> None:
    columns = {name: {"type": "number"} for name in ("age", "sex", "bmi", "bp", "tc", "ldl", "hdl", "tch", "ltg", "glu", "progression")}
    run = Run("transform", small.variant("diabetes", contract__patients__columns=columns))
    small.written(tmp_path / "patients.parquet", {name: ["a"] for name in columns})

    with pytest.raises(UserError) as refused:
        transform(run, str(tmp_path), str(tmp_path / "table.parquet"))

    assert str(refused.value).startswith("usecases/diabetes/features.py line 8: features() fails: ")
