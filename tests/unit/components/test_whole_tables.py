"""Validate: what the contract says of a table as a whole, and of one table towards another."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.validate.contract import validate
from core.errors import UserError
from core.tracking import Run, end, parent
from tests.unit import small
from tests.unit.contracts import CONTRACT, checked, refused, run_of

NUMBER, TEXT = {"type": "integer", "nulls": 1}, {"type": "string", "nulls": 1}


def two(folder: Path, data: dict[str, Any], others: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    """Validate trips that refer to cars."""
    usecase = small.usecase(
        sources={"trips": "trips.csv", "cars": "cars.csv"},
        contract={
            "trips": {"columns": dict.fromkeys(data, NUMBER), "references": [reference]},
            "cars": {"columns": dict.fromkeys(others, NUMBER)},
        },
    )
    small.written(folder / "trips.parquet", data)
    small.written(folder / "cars.parquet", others)
    run = Run("validate", usecase.model_copy(update={"name": "wine"}))
    try:
        validate(run, str(folder), str(folder / "page.html"))
    except UserError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(
    ("data", "others", "reference", "said"),
    [
        pytest.param({"car": [1, 2, 1]}, {"car": [1, 2, 3]}, {"columns": ["car"], "source": "cars"}, "", id="all are there"),
        pytest.param(
            {"car": [1, 4, 4]}, {"car": [1]}, {"columns": ["car"], "source": "cars"}, "2 of 3 rows refer by car to no row of cars", id="lost"
        ),
        pytest.param({"car": [1, None, None]}, {"car": [1]}, {"columns": ["car"], "source": "cars"}, "", id="a null refers to nothing"),
        pytest.param({"car": [1, 4]}, {"car": [1, None]}, {"columns": ["car"], "source": "cars"}, "1 of 2 rows", id="a null is referred to by none"),
        pytest.param({"car": [1, 4, 1]}, {"id": [1]}, {"columns": ["car"], "source": "cars", "to": ["id"]}, "1 of 3 rows", id="another name"),
        pytest.param({"car": [1, 4, 1]}, {"car": [1]}, {"columns": ["car"], "source": "cars", "missing": 0.34}, "", id="tolerated"),
        pytest.param(
            {"car": [1, 1], "year": [1, 2]},
            {"car": [1, 2], "year": [1, 2]},
            {"columns": ["car", "year"], "source": "cars"},
            "1 of 2 rows",
            id="pairs",
        ),
    ],
)
def test_rows_that_refer_to_no_row_are_counted(tmp_path: Path, data: Any, others: Any, reference: Any, said: str) -> None:
    found = two(tmp_path, data, others, reference)

    assert len(found) == bool(said)
    assert all(line.startswith(f"bad data: trips: {said}") for line in found)


def test_a_lost_reference_is_said_with_an_example_and_what_is_allowed(tmp_path: Path) -> None:
    found = two(tmp_path, {"car": [1, 7, 1, 1]}, {"car": [1]}, {"columns": ["car"], "source": "cars", "missing": 0.1})

    assert found[0].startswith("bad data: trips: 1 of 4 rows refer by car to no row of cars, the contract allows 0 (such as 7) (usecases/small-")


@pytest.mark.parametrize(
    ("age", "said"),
    [
        pytest.param(timedelta(hours=1), "", id="fresh"),
        pytest.param(timedelta(hours=3), "3.0 hours before the run began, the contract allows 2", id="old"),
        pytest.param(timedelta(hours=-3), "", id="of the future"),
    ],
)
@pytest.mark.parametrize("zone", [pytest.param(UTC, id="zone"), pytest.param(None, id="no zone is UTC")])
def test_the_newest_row_must_be_fresh(tmp_path: Path, age: timedelta, said: str, zone: Any) -> None:
    run = run_of(promises={"freshness": {"column": "at", "hours": 2}}, at={"type": "timestamp", "nulls": 1})
    newest = (datetime.now(UTC) - age).replace(tzinfo=zone)

    found = checked(run, {"at": [newest - timedelta(days=9), newest, None]}, tmp_path)

    assert len(found) == bool(said)
    assert all(line.startswith("bad data: wine.at: the newest is ") and f"{said} {CONTRACT}" in line for line in found)


def test_a_table_without_a_time_is_not_fresh(tmp_path: Path) -> None:
    run = run_of(promises={"freshness": {"column": "at", "hours": 2}}, at={"type": "timestamp", "nulls": 1})

    found = refused(run, {"at": pa.array([None], pa.timestamp("us"))}, tmp_path)

    assert found == [f"bad data: wine.at: there is no time, so its freshness is not known {CONTRACT}"]


def test_freshness_is_measured_when_the_pipeline_run_began_however_late_the_step_is_tried(tmp_path: Path, platform: Any, run_id: str) -> None:
    contract = {"columns": {"at": {"type": "timestamp"}}, "freshness": {"column": "at", "hours": 0.3 / 3600}}
    usecase = small.usecase(contract={"rows": contract})
    small.written(tmp_path / "rows.parquet", {"at": [datetime.now(UTC)]})
    above = parent(usecase)
    time.sleep(0.6)

    run = Run("validate", usecase, live=True)
    validate(run, str(tmp_path), str(tmp_path / "page.html"))

    assert run.metrics["violations"] == 0
    end(above, "FINISHED")


@pytest.mark.parametrize(
    ("share", "noted", "said"),
    [
        pytest.param(0, None, "2 of 10 records could not be read, the contract allows 0", id="none allowed"),
        pytest.param(0.2, None, "", id="as many as allowed"),
        pytest.param(0.2, 92, "92 of 100 records could not be read, the contract allows 20", id="more than are kept as examples"),
    ],
)
def test_records_that_could_not_be_read_are_counted(tmp_path: Path, share: float, noted: int | None, said: str) -> None:
    run = run_of(promises={"bad": share}, hue={"type": "integer"})
    bad = pa.table({"place": ["t/0/1", "t/0/7"], "reason": ["no JSON"] * 2, "record": ["{", "<b>"]})
    pq.write_table(bad.replace_schema_metadata({"count": str(noted)}) if noted else bad, tmp_path / "wine.bad.parquet")

    found = checked(run, {"hue": list(range(8))}, tmp_path)

    assert found == ([f"bad data: wine: {said} (such as t/0/1, no JSON) {CONTRACT}"] if said else [])
    assert not said or json.loads(run.artifacts["violations.json"])[0]["examples"][1]["record"] == "<b>"
    assert "<td><b>" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        pytest.param(5, "5 rows after 10 in the last run that succeeded, -50%, the contract allows 40%", id="fewer"),
        pytest.param(20, "20 rows after 10 in the last run that succeeded, +100%, the contract allows 40%", id="more"),
        pytest.param(14, "", id="as allowed"),
    ],
)
def test_a_jump_of_the_count_of_rows_is_told(tmp_path: Path, rows: int, said: str) -> None:
    before = run_of(hue={"type": "integer"})
    checked(before, {"hue": list(range(10))}, tmp_path)
    run = run_of(rows={"change": 0.4}, after=before, hue={"type": "integer"})

    found = checked(run, {"hue": list(range(rows))}, tmp_path)

    assert [line.partition(": ")[2].partition(" (")[0] for line in found] == ([f"wine: {said}"] if said else [])


def test_the_first_run_has_nothing_to_jump_from(tmp_path: Path) -> None:
    found = checked(run_of(rows={"change": 0.01}, hue={"type": "integer"}), {"hue": [1]}, tmp_path)

    assert found == []
