"""The contenders of the transform benchmark: the table of the flights use case, each in its own words."""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OBSERVED = ["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
SHARES = [0.6, 0.8]
SQL = """
WITH known AS (
    SELECT *, epoch(date_trunc('hour', time_hour))::BIGINT // 3600 AS instant, count(*) OVER (PARTITION BY origin, time_hour) AS departures,
           (arr_delay > 15)::BIGINT AS late
    FROM read_parquet('{raw}/flights.parquet')),
ends AS (SELECT *, instant * 60 + sched_dep_time % 100 + dep_delay AS went FROM known),
leaving AS (
    SELECT origin, instant, sum(sum(total)) OVER w / nullif(sum(sum(n)) OVER w, 0) AS recent_delay FROM (
        SELECT origin, went // 60 AS instant, count(*) AS n, sum(dep_delay) AS total FROM ends WHERE went IS NOT NULL GROUP BY ALL
        UNION ALL SELECT DISTINCT origin, instant, 0, 0 FROM known)
    GROUP BY origin, instant WINDOW w AS (PARTITION BY origin ORDER BY instant RANGE BETWEEN 3 PRECEDING AND 1 PRECEDING)),
arriving AS (
    SELECT carrier, instant, sum(sum(total)) OVER w / nullif(sum(sum(n)) OVER w, 0) AS carrier_late FROM (
        SELECT carrier, (went + air_time + 360) // 60 AS instant, count(*) AS n, sum(late) AS total FROM ends
        WHERE went + air_time IS NOT NULL AND late IS NOT NULL GROUP BY ALL
        UNION ALL SELECT DISTINCT carrier, instant, 0, 0 FROM known)
    GROUP BY carrier, instant WINDOW w AS (PARTITION BY carrier ORDER BY instant RANGE BETWEEN 72 PRECEDING AND 1 PRECEDING)),
observed AS (
    SELECT * REPLACE (CASE WHEN wind_speed < 200 THEN wind_speed END AS wind_speed, CASE WHEN wind_gust < 200 THEN wind_gust END AS wind_gust),
           epoch(time_hour)::BIGINT // 3600 AS seen
    FROM read_parquet('{raw}/weather.parquet')),
newest AS (
    SELECT a.origin, a.instant, CASE WHEN a.instant - o.seen <= 3 THEN o.seen END AS seen
    FROM (SELECT DISTINCT origin, instant FROM known) a ASOF LEFT JOIN observed o ON a.origin = o.origin AND a.instant >= o.seen)
SELECT f.sched_dep_time // 100 AS hour, f.sched_dep_time % 100 AS minute, isodow(f.time_hour) - 1 AS weekday, distance, departures, f.carrier,
       f.origin, dest, seats, manufacturer, temp, humid, wind_speed, wind_gust, precip, pressure, visib, recent_delay, carrier_late, late,
       (sched_arr_time // 100 * 60 + sched_arr_time % 100 - f.sched_dep_time // 100 * 60 - f.sched_dep_time % 100 + 1440) % 1440 AS duration,
       year(f.time_hour) - p.year AS plane_age, f.time_hour AS scheduled
FROM known f LEFT JOIN newest n ON f.origin = n.origin AND f.instant = n.instant LEFT JOIN observed o ON n.origin = o.origin AND n.seen = o.seen
LEFT JOIN leaving l ON f.origin = l.origin AND f.instant = l.instant LEFT JOIN arriving a ON f.carrier = a.carrier AND f.instant = a.instant
LEFT JOIN read_parquet('{raw}/planes.parquet') p USING (tailnum) WHERE arr_delay IS NOT NULL
"""


def ours(raw: Path, target: Path, memory: str, **changes: Any) -> None:
    """The transform step."""
    from components.transform.table import transform
    from core.configtext import parse
    from core.tracking import Run

    document = yaml.safe_load((ROOT / "usecases" / "flights" / "config.yaml").read_text())
    transform(Run("transform", parse(yaml.safe_dump(document | {"limits": {"memory": memory}} | changes))), str(raw), str(target))


def spark(raw: Path, target: Path, memory: str) -> None:
    """The same step on Spark."""
    ours(raw, target, memory, spark={"master": "local[2]", "memory": "2GB"})


def sql(raw: Path, target: Path, memory: str) -> None:
    """What one would write for DuckDB by hand, with the same order and split."""
    from core.tables import connect

    with connect(memory) as connection:
        connection.execute(f"CREATE TEMP TABLE made AS {SQL.format(raw=raw)}")
        cuts = connection.execute("SELECT quantile_disc(scheduled, [0.6, 0.8])::VARCHAR[] FROM made").fetchall()[0][0]
        names = ", ".join(row[0] for row in connection.execute("DESCRIBE made").fetchall())
        cases = " ".join(f"WHEN scheduled <= '{cut}'::TIMESTAMPTZ THEN '{split}'" for cut, split in zip(cuts, ("train", "validation"), strict=True))
        query = f"SELECT *, CASE {cases} ELSE 'test' END AS split FROM made ORDER BY scheduled, {names}"  # noqa: S608
        connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def pandas(raw: Path, target: Path, _: str) -> None:
    """The same in pandas, sorted by time alone."""
    import numpy as np
    import pandas as pd

    wanted = [
        "time_hour",
        "sched_dep_time",
        "sched_arr_time",
        "dep_delay",
        "arr_delay",
        "air_time",
        "carrier",
        "tailnum",
        "origin",
        "dest",
        "distance",
    ]
    flights = pd.read_parquet(raw / "flights.parquet", columns=wanted)
    flights["at"] = flights["time_hour"].astype("datetime64[s, UTC]").astype("int64") // 3600
    flights["departures"] = flights.groupby(["origin", "time_hour"])["distance"].transform("size")
    flights["late"] = (flights["arr_delay"] > 15).astype("int64")
    went = flights["at"] * 60 + flights["sched_dep_time"] % 100 + flights["dep_delay"]

    def before(by: str, minute: Any, value: str, hours: int, name: str) -> Any:
        events = pd.DataFrame({by: flights[by], "at": minute // 60, "value": flights[value]}).dropna()
        sums = events.groupby([by, "at"])["value"].agg(["sum", "count"])
        grids = []
        for key, group in sums.groupby(level=0):
            grid = group.droplevel(0)
            grid.index = grid.index.astype("int64")
            grid = grid.reindex(range(flights["at"].min(), flights["at"].max() + 1), fill_value=0)
            rolled = grid.rolling(hours, min_periods=1).sum().shift(1)
            grids.append(pd.DataFrame({by: key, "at": rolled.index, name: (rolled["sum"] / rolled["count"].where(rolled["count"] > 0)).to_numpy()}))
        return pd.concat(grids)

    leaving = before("origin", went, "dep_delay", 3, "recent_delay")
    arriving = before("carrier", (went + flights["air_time"] + 360).where(flights["arr_delay"].notna()), "late", 72, "carrier_late")
    weather = pd.read_parquet(raw / "weather.parquet", columns=["origin", "time_hour", *OBSERVED])
    weather["seen"] = weather.pop("time_hour").astype("datetime64[s, UTC]").astype("int64") // 3600
    for name in ("wind_speed", "wind_gust"):
        weather[name] = weather[name].where(weather[name] < 200)
    asked = flights[["origin", "at"]].drop_duplicates().sort_values("at")
    newest = pd.merge_asof(asked, weather.sort_values("seen"), left_on="at", right_on="seen", by="origin", tolerance=3)
    planes = pd.read_parquet(raw / "planes.parquet", columns=["tailnum", "year", "seats", "manufacturer"])
    table = flights[flights["arr_delay"].notna()].merge(newest.drop(columns="seen"), "left", ["origin", "at"])
    table = table.merge(leaving, "left", ["origin", "at"]).merge(arriving, "left", ["carrier", "at"]).merge(planes, "left", "tailnum")
    table["hour"], table["minute"] = table["sched_dep_time"] // 100, table["sched_dep_time"] % 100
    table["weekday"], table["plane_age"] = table["time_hour"].dt.day_of_week, table["time_hour"].dt.year - table["year"]
    arrival = table["sched_arr_time"] // 100 * 60 + table["sched_arr_time"] % 100
    table["duration"] = (arrival - table["hour"] * 60 - table["minute"] + 1440) % 1440
    table = table.rename(columns={"time_hour": "scheduled"}).drop(
        columns=["sched_dep_time", "sched_arr_time", "dep_delay", "arr_delay", "air_time", "tailnum", "at", "year"]
    )
    table = table.sort_values("scheduled", ignore_index=True)
    first, second = table["scheduled"].iloc[[int(share * (len(table) - 1)) for share in SHARES]]
    table["split"] = np.where(table["scheduled"] <= first, "train", np.where(table["scheduled"] <= second, "validation", "test"))
    table.to_parquet(target, compression="zstd", index=False)


def polars(raw: Path, target: Path, _: str) -> None:
    """The same in Polars' streaming engine, sorted by time alone."""
    import polars as pl

    flights = pl.scan_parquet(raw / "flights.parquet").with_columns(
        at=pl.col("time_hour").dt.epoch("s") // 3600,
        departures=pl.len().over("origin", "time_hour"),
        late=(pl.col("arr_delay") > 15).cast(pl.Int64),
    )
    went = pl.col("at") * 60 + pl.col("sched_dep_time") % 100 + pl.col("dep_delay")

    def before(by: str, minute: Any, value: str, hours: int, name: str) -> Any:
        events = flights.select(by, at=minute // 60, value=pl.col(value).cast(pl.Int64)).drop_nulls()
        sums = events.group_by(by, "at").agg(total=pl.col("value").sum(), count=pl.len().cast(pl.Int64))
        asked = flights.select(by, "at").unique().with_columns(total=pl.lit(0, pl.Int64), count=pl.lit(0, pl.Int64))
        each = pl.concat([sums, asked]).group_by(by, "at").agg(pl.col("total", "count").sum()).collect().sort(by, "at")
        rolled = each.rolling("at", period=f"{hours}i", offset=f"-{hours + 1}i", closed="right", group_by=by).agg(pl.col("total", "count").sum())
        counted = pl.when(pl.col("count") > 0).then(pl.col("count"))
        return rolled.select(by, "at", (pl.col("total") / counted).alias(name)).lazy()

    leaving = before("origin", went, "dep_delay", 3, "recent_delay")
    arriving = before("carrier", went + pl.col("air_time") + 360, "late", 72, "carrier_late")
    believable = [pl.when(pl.col(name) < 200).then(pl.col(name)).alias(name) for name in ("wind_speed", "wind_gust")]
    weather = pl.scan_parquet(raw / "weather.parquet").with_columns(*believable, seen=pl.col("time_hour").dt.epoch("s") // 3600)
    weather = weather.select("origin", "seen", *OBSERVED).sort("seen")
    asked = flights.select("origin", "at").unique().sort("at")
    newest = asked.join_asof(weather, left_on="at", right_on="seen", by="origin", tolerance=3, check_sortedness=False).select(
        "origin", "at", *OBSERVED
    )
    planes = pl.scan_parquet(raw / "planes.parquet").select("tailnum", "seats", "manufacturer", built="year")
    table = flights.filter(pl.col("arr_delay").is_not_null()).join(newest, ["origin", "at"], "left").join(leaving, ["origin", "at"], "left")
    table = table.join(arriving, ["carrier", "at"], "left").join(planes, "tailnum", "left")
    arrival = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    hour, minute = pl.col("sched_dep_time") // 100, pl.col("sched_dep_time") % 100
    table = table.select(
        "distance", "departures", "carrier", "origin", "dest", "seats", "manufacturer", *OBSERVED, "recent_delay", "carrier_late", "late",
        hour=hour, minute=minute, weekday=pl.col("time_hour").dt.weekday() - 1, duration=(arrival - hour * 60 - minute + 1440) % 1440,
        plane_age=pl.col("time_hour").dt.year() - pl.col("built"), scheduled="time_hour",
    )  # fmt: skip
    first, second = (table.select(pl.col("scheduled").quantile(share, "lower")).collect().item() for share in SHARES)
    split = pl.when(pl.col("scheduled") <= first).then(pl.lit("train")).when(pl.col("scheduled") <= second).then(pl.lit("validation"))
    table.with_columns(split=split.otherwise(pl.lit("test"))).sort("scheduled").sink_parquet(target, compression="zstd")


if __name__ == "__main__":
    contender, raw, target, memory = sys.argv[1:]
    {"ours": ours, "sql": sql, "pandas": pandas, "polars": polars, "spark": spark}[contender](Path(raw), Path(target), memory)
