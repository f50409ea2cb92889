"""Tables: DuckDB within its limit, and the rows that a model reads."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.bundle import Input
from core.errors import UserError
from core.examples import examples
from core.featurecode import FOLDER
from core.tables import columns, connect, finite_columns, identifier, inputs, literal, path_literal, write_parquet
from tests.unit import small

NASTY = ["plain", 'with "quotes"', "it's", "semi; DROP TABLE t --", "übergröße", "a\\b", "select"]


@pytest.mark.parametrize("name", NASTY)
def test_any_name_and_any_text_can_be_quoted(name: str) -> None:
    with connect("64MB") as connection:
        connection.execute(f"CREATE TABLE {identifier(name)} AS SELECT {literal(name)} AS {identifier(name)}")
        found = connection.execute(f"SELECT {identifier(name)} FROM {identifier(name)}").fetchall()

    assert found == [(name,)]


ODD = ["part1", "part[1]", "part[[]1]", "[!a]", "b", "a*", "q?", "**", "{1,2}", "[", "a]", "it's", "10:00"]


def test_a_path_means_one_file_whatever_signs_it_has(tmp_path: Path) -> None:
    for folder in (tmp_path / "p[1]", tmp_path / "p1"):
        folder.mkdir()
        for name in ODD:
            (folder / f"{name}.csv").write_text(f'name\n"{folder.name}/{name}"\n')

    with connect("64MB") as connection:
        for path in (f"{folder}/{name}" for folder in ("p[1]", "p1") for name in ODD):
            target = tmp_path / f"{path}.parquet"
            query = f"FROM read_csv({path_literal(tmp_path / f'{path}.csv')}, header = true)"
            connection.execute(f"COPY ({query}) TO {literal(target)} (FORMAT parquet)")

            assert connection.execute(f"FROM read_parquet({path_literal(target)})").fetchall() == [(path,)]
            assert columns(connection, target) == {"name": "VARCHAR"}


@pytest.mark.parametrize("name", ["a\\[1]", "a\\b*", "a?\\"])
def test_a_backslash_beside_a_pattern_sign_is_refused(name: str) -> None:
    with pytest.raises(UserError) as refused:
        path_literal(f"{name}.csv")

    assert str(refused.value) == f"DuckDB cannot read {name}.csv, whose name has a backslash beside *, ? or [: rename it"


def test_no_reader_takes_a_path_for_a_pattern() -> None:
    rooms = ("core", "components", "local", "serving", "pipelines", "cli")
    sources = [path for room in rooms for path in (FOLDER.parent / room).rglob("*.py")]

    assert [path.name for path in sources if re.search(r"(read_\w+|parquet_\w+)\(\[?['{]+(literal\()", path.read_text())] == []


@pytest.mark.parametrize("memory", ["0MB", "1MB", "40MB"])
def test_a_table_beyond_the_memory_limit_is_a_sentence(memory: str) -> None:
    query = "SELECT length(list(md5(range::VARCHAR))) FROM range(3000000)"

    with pytest.raises(UserError) as refused, connect(memory) as connection:
        connection.execute(query)

    assert str(refused.value) == f"the tables do not fit into limits.memory {memory}: set a greater one"


def test_what_exceeds_the_memory_goes_to_the_disk_and_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    with connect("64MB") as connection:
        connection.execute("CREATE TEMP TABLE t AS SELECT md5(range::VARCHAR) m FROM range(1500000) ORDER BY m")
        spilled = [path.name for path in tmp_path.rglob("duckdb_temp*")]

    assert spilled
    assert list(tmp_path.iterdir()) == []


def test_times_are_utc_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")

    with connect("64MB") as connection:
        found = connection.execute("SELECT TIMESTAMPTZ '2013-07-01 12:00:00+00'::VARCHAR").fetchall()

    assert found == [("2013-07-01 12:00:00+00",)]


def test_the_columns_of_a_file_are_told_with_their_types(tmp_path: Path) -> None:
    path = small.written(tmp_path / "it's.parquet", {"a": [1.5], "b": ["x"], "c d": [1]})

    with connect("64MB") as connection:
        found = columns(connection, path)

    assert found == {"a": "DOUBLE", "b": "VARCHAR", "c d": "BIGINT"}


def test_a_model_reads_first_the_numbers_then_the_texts() -> None:
    found = inputs(small.usecase(features={"numeric": ["y", "x"], "categorical": ["kind"]}))

    assert found == (Input("y", "FP64"), Input("x", "FP64"), Input("kind", "BYTES"))


@pytest.mark.parametrize(("split", "rows"), [("train", 360), ("validation", 120), ("test", 120)])
def test_the_rows_of_one_split_are_read_in_their_order(tmp_path: Path, split: str, rows: int) -> None:
    data = small.columns()
    path = small.written(tmp_path / "table.parquet", data)

    table, target = examples(path, small.usecase(), split)

    kept = data["split"] == split
    assert list(table.columns) == ["x", "y", "kind"]
    assert len(table) == len(target) == rows
    assert np.array_equal(table["x"], data["x"][kept], equal_nan=True)
    assert np.array_equal(target, data["answer"][kept])


def test_missing_values_are_nan_in_numbers_and_in_texts(tmp_path: Path) -> None:
    data = small.columns() | {"y": [None, 2, *range(598)]}
    path = small.written(tmp_path / "table.parquet", data)

    table, _ = examples(path, small.usecase(), "train")

    assert table.dtypes.astype(str).to_dict() == {"x": "float64", "y": "float64", "kind": "object"}
    assert np.isnan(table["y"].iloc[0])
    assert all(isinstance(value, str) or value != value for value in table["kind"])
    assert table["kind"].isna().any()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param([True, False], "b", id="boolean"),
        pytest.param([0, 1], "i", id="integer"),
        pytest.param(["no", "yes"], "U", id="text"),
        pytest.param(pa.array(["no", "yes"]).dictionary_encode(), "U", id="enumeration"),
    ],
)
def test_labels_of_any_kind_can_be_learnt(tmp_path: Path, values: Any, kind: str) -> None:
    path = small.written(tmp_path / "table.parquet", {"x": [1.0, 2.0], "y": [1, 2], "kind": ["a", "b"], "answer": values, "split": ["train"] * 2})

    _, target = examples(path, small.usecase(), "train")

    assert target.dtype.kind == kind
    assert [str(value) for value in target] == [str(value) for value in (values if isinstance(values, list) else values.to_pylist())]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({"split": ["test"] * 600}, "there are no train rows: deliver more data or change the shares under split", id="no rows"),
        pytest.param({"y": None}, "the table has no column y: let features() make it", id="no column"),
        pytest.param({"y": ["a"] * 600}, "a numeric feature holds no numbers", id="text for a number"),
        pytest.param({"kind": [3] * 600}, "column kind holds 3: a text column takes strings; convert it in features()", id="number for a text"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_in_a_sentence(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    data = {name: values for name, values in (small.columns() | change).items() if values is not None}
    path = small.written(tmp_path / "table.parquet", data)

    with pytest.raises(UserError) as refused:
        examples(path, small.usecase(), "train")

    assert str(refused.value).startswith(sentence)


def test_finite_columns_are_told_by_the_statistics_of_duckdb_alone(tmp_path: Path) -> None:
    values = {
        "full": [1.0, 2.0],
        "holed": [None, 2.0],
        "nan": [math.nan, 2.0],
        "infinite": [-math.inf, 2.0],
        "empty": [None, None],
        "text": ["a", "b"],
    }
    foreign, own = Path(small.written(tmp_path / "foreign.parquet", values)), tmp_path / "own.parquet"

    with connect("64MB") as connection:
        write_parquet(connection, f"SELECT * FROM read_parquet({path_literal(foreign)}, can_have_nan = true)", own, 6)
        found, of_foreign = finite_columns(connection, [own]), finite_columns(connection, [foreign])

    assert found == {"full": 0, "holed": 1, "text": 0}
    assert of_foreign == {}
