"""The features of flights know nothing of what came later."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from components.transform.engines import duckdb as engine
from core.tables import connect
from tests.unit.components import raw_flights
from usecases.flights.features import STALE, TARMAC, features

ROWS = 700
TABLES = raw_flights.tables(ROWS)
HOURS = (TABLES["flights"]["time_hour"][-1] - raw_flights.START) // timedelta(hours=1)
Tables = dict[str, dict[str, list[Any]]]


def made(folder: Path, tables: Tables) -> list[dict[str, Any]]:
    """The rows of `features()`, in the order of the flights."""
    files = {name: folder / f"{name}.parquet" for name in tables}
    for name, path in files.items():
        pq.write_table(pa.table(tables[name], pa.table(TABLES[name]).schema), path)
    known = {name: ibis.table(ibis.Schema.from_pyarrow(pq.read_schema(path)), name) for name, path in files.items()}
    with connect("256MB") as connection:
        engine.run(features(**known), files, folder / "made.parquet", connection)
    rows = pq.read_table(folder / "made.parquet").to_pylist()
    return sorted(rows, key=repr)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return made(tmp_path_factory.mktemp("whole"), TABLES)


def until(rows: list[dict[str, Any]], now: datetime) -> list[str]:
    """What the model sees of the rows up to a time, and so not how they ended."""
    return sorted(repr({name: value for name, value in row.items() if name != "late"}) for row in rows if row["scheduled"] <= now)


def kept(table: dict[str, list[Any]], now: datetime) -> dict[str, list[Any]]:
    """The rows of a table up to a time."""
    stays = [time <= now for time in table["time_hour"]]
    return {name: [value for value, stay in zip(values, stays, strict=True) if stay] for name, values in table.items()}


def altered(flights: dict[str, list[Any]], now: datetime) -> dict[str, list[Any]]:
    """Other ends of all flights that had not ended at a time; the cancelled stay so, for they make no row."""
    made = copy.deepcopy(flights)
    for row, time in enumerate(made["time_hour"]):
        delay, air = made["dep_delay"][row], made["air_time"][row]
        if delay is None or air is None:
            continue
        left = time + timedelta(minutes=made["sched_dep_time"][row] % 100 + delay)
        if left >= now:
            made["dep_delay"][row] = delay + 500
        if left + timedelta(minutes=air + TARMAC) >= now:
            made["arr_delay"][row] = 1400 if made["arr_delay"][row] <= 15 else -60
            made["air_time"][row] = air + 300
    return made


@settings(max_examples=5, deadline=None, phases=(Phase.generate,), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(hour=st.integers(3, HOURS - 1))
def test_rows_up_to_a_time_do_not_change_when_later_ones_are_removed_or_altered(whole: list[dict[str, Any]], tmp_path: Path, hour: int) -> None:
    now = raw_flights.START + timedelta(hours=hour)

    removed = made(tmp_path, {"flights": kept(TABLES["flights"], now), "weather": kept(TABLES["weather"], now), "planes": TABLES["planes"]})
    other = made(tmp_path, TABLES | {"flights": altered(TABLES["flights"], now)})

    assert until(removed, now) == until(whole, now) == until(other, now)
    assert len(until(whole, now)) > 20


def test_the_history_is_that_of_the_hours_before(whole: list[dict[str, Any]]) -> None:
    flights = TABLES["flights"]
    left = [
        (origin, time + timedelta(minutes=clock % 100 + delay), delay)
        for origin, time, clock, delay in zip(*(flights[name] for name in ("origin", "time_hour", "sched_dep_time", "dep_delay")), strict=True)
        if delay is not None
    ]

    for row in whole[::20]:
        delays = [
            delay for origin, time, delay in left if origin == row["origin"] and row["scheduled"] - timedelta(hours=3) <= time < row["scheduled"]
        ]
        assert row["recent_delay"] == (sum(delays) / len(delays) if delays else None)


def test_the_weather_is_the_last_observation_that_is_not_stale(whole: list[dict[str, Any]]) -> None:
    weather = TABLES["weather"]
    observed = list(zip(weather["origin"], weather["time_hour"], weather["temp"], strict=True))

    for row in whole[::20]:
        times = {time: temp for origin, time, temp in observed if origin == row["origin"] and time <= row["scheduled"]}
        last = max(times, default=None)
        fresh = last is not None and row["scheduled"] - last <= timedelta(hours=STALE)
        assert row["temp"] == (times[last] if last is not None and fresh else None)


def test_a_flight_makes_one_row(whole: list[dict[str, Any]]) -> None:
    arrived = [delay for delay in TABLES["flights"]["arr_delay"] if delay is not None]

    assert len(whole) == len(arrived)
