"""Raw tables of flights, made up but of the real ones' shape: hours without weather, planes that nobody knows, cancelled and diverted flights."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2013, 3, 8, tzinfo=UTC)  # the clocks change two days later
ORIGINS, CARRIERS = ["EWR", "JFK", "LGA"], ["UA", "B6", "AA"]


def written(folder: Path, rows: int, seed: int = 0) -> Path:
    """Write the three tables and return their folder."""
    folder.mkdir(exist_ok=True)
    for name, data in tables(rows, seed).items():
        pq.write_table(pa.table(data), folder / f"{name}.parquet")
    return folder


def tables(rows: int, seed: int = 0) -> dict[str, dict[str, list[Any]]]:
    """The columns of each table; flights in the order of their schedule."""
    random = np.random.default_rng(seed)
    hours = np.sort(random.integers(0, max(rows // 30, 24), rows))
    fate = random.random(rows)
    late = np.round(random.exponential(30, rows) - 15).astype(int)
    minutes = random.integers(0, 60, rows)
    flights = {
        "time_hour": [START + timedelta(hours=int(hour)) for hour in hours],
        "sched_dep_time": [int(hour % 24 * 100 + minute) for hour, minute in zip(hours, minutes, strict=True)],
        "sched_arr_time": [int((hour + 3) % 24 * 100 + minute) for hour, minute in zip(hours, minutes, strict=True)],
        "dep_delay": [None if share < 0.03 else int(value) for share, value in zip(fate, late, strict=True)],
        "arr_delay": [None if share < 0.05 else int(value) + 2 for share, value in zip(fate, late, strict=True)],
        "air_time": [None if share < 0.05 else int(value) for share, value in zip(fate, random.integers(30, 400, rows), strict=True)],
        "carrier": random.choice(CARRIERS, rows).tolist(),
        "flight": list(range(1, rows + 1)),
        "tailnum": [None if share > 0.98 else f"N{number}" for share, number in zip(fate, random.integers(0, 40, rows), strict=True)],
        "origin": random.choice(ORIGINS, rows).tolist(),
        "dest": random.choice(["LAX", "MIA", "ORD"], rows).tolist(),
        "distance": random.integers(100, 3000, rows).tolist(),
    }
    observed = [(origin, hour) for origin in ORIGINS for hour in range(max(rows // 30, 24)) if random.random() < 0.8]
    weather: dict[str, list[Any]] = {"origin": [item[0] for item in observed], "time_hour": [START + timedelta(hours=item[1]) for item in observed]}
    for name in ("temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"):
        weather[name] = [None if random.random() < 0.1 else round(float(value), 1) for value in random.uniform(0, 250, len(observed))]
    planes = {
        "tailnum": [f"N{number}" for number in range(0, 40, 2)],
        "year": [None if number % 5 == 0 else 1990 + number for number in range(20)],
        "seats": [100 + number for number in range(20)],
        "manufacturer": [f"maker {number % 3}" for number in range(20)],
    }
    return {"flights": flights, "weather": weather, "planes": planes}
