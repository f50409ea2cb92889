"""One row a flight that arrived, with what was known of it when the hour began in which it was to leave."""

import ibis
from ibis import Table, _

HURRICANE = 200  # mph; the stations' data hold a reading above it, which is an error
STALE = 3  # hours, after which an observation no longer tells of the weather
TARMAC = 6 * 60  # minutes: a flight stands on the ground three hours at most at either end, so it has arrived that long after its time in the air
OBSERVED = ["temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib"]


def features(flights: Table, weather: Table, planes: Table) -> Table:
    """Join each flight with the weather, with its plane, and with how other flights fared, all as known when its hour began.

    Args:
        flights: One row a scheduled departure.
        weather: One row an airport and hour, observed as the hour begins.
        planes: One row a plane.

    Returns:
        The features, the target `late`, and `scheduled`, the hour of departure.
    """
    known = flights.mutate(
        at=_hour(_.time_hour),
        hour=_.sched_dep_time // 100,
        minute=_.sched_dep_time % 100,
        weekday=_.time_hour.day_of_week.index(),
        duration=_minutes(_.sched_arr_time) - _minutes(_.sched_dep_time),  # in local times: the destination's zone is part of it
        departures=_.count().over(ibis.window(group_by=["origin", "time_hour"])),  # the schedule is known in advance
        late=(_.arr_delay > 15).cast("int64"),
    )
    left = known.at * 60 + known.minute + known.dep_delay
    leaving = _before(known, ["origin"], left, known.dep_delay, hours=3).rename(recent_delay="mean")
    arriving = _before(known, ["carrier"], left + known.air_time + TARMAC, known.late, hours=3 * 24).rename(carrier_late="mean")
    joined = (
        known.left_join(_last_observed(known, weather), ["origin", "at"])
        .left_join(leaving, ["origin", "at"], rname="{name}_leaving")
        .left_join(arriving, ["carrier", "at"], rname="{name}_arriving")
        .left_join(planes.rename(built="year"), "tailnum", rname="{name}_plane")
    )
    return joined.filter(_.arr_delay.notnull()).select(
        "hour", "minute", "weekday", "distance", "departures", "carrier", "origin", "dest", "seats", "manufacturer",
        *OBSERVED, "recent_delay", "carrier_late", "late",
        duration=(_.duration + 1440) % 1440,
        plane_age=_.time_hour.year() - _.built,
        scheduled=_.time_hour,
    )  # fmt: skip


def _before(flights: Table, by: list[str], minute: ibis.Value, value: ibis.Value, hours: int) -> Table:
    """Return, for each hour in which flights are to leave, the mean of what became known in the hours before it.

    Args:
        flights: With `at`, the hour.
        by: Of what the mean is taken.
        minute: When a flight's value became known; the hour in which it did ends before the one for which it counts.
        value: A whole number.
        hours: How far the mean looks back.
    """
    values = flights.filter(minute.notnull() & value.notnull()).select(*by, at=minute // 60, value=value)
    known = values.group_by([*by, "at"]).agg(count=_.count(), total=_.value.sum())
    asked = flights.select(*by, "at").distinct().mutate(count=ibis.literal(0, "int64"), total=ibis.literal(0, "int64"))
    each = known.union(asked).group_by([*by, "at"]).agg(count=_["count"].sum(), total=_.total.sum())
    earlier = ibis.range_window(group_by=by, order_by="at", preceding=(hours, 1))
    return each.select(*by, "at", mean=_.total.sum().over(earlier) / _["count"].sum().over(earlier).nullif(0))


def _last_observed(flights: Table, weather: Table) -> Table:
    """Return, for each airport and hour in which flights are to leave, the last observation, unless it is stale: an as-of join, on any engine."""
    observed = weather.mutate(seen=_hour(_.time_hour), wind_speed=_believable(_.wind_speed), wind_gust=_believable(_.wind_gust))
    asked = flights.select("origin", "at").mutate(seen=ibis.null("int64"))
    each = asked.union(observed.select("origin", at=_.seen, seen=_.seen)).group_by(["origin", "at"]).agg(seen=_.seen.max())
    until = ibis.range_window(group_by="origin", order_by="at", preceding=STALE, following=0)
    newest = each.mutate(seen=_.seen.max().over(until))
    return newest.left_join(observed, ["origin", "seen"]).select("origin", "at", *OBSERVED)


def _hour(time: ibis.Value) -> ibis.Value:
    """Hours since 1970."""
    return time.truncate("h").epoch_seconds() // 3600


def _believable(speed: ibis.Value) -> ibis.Value:
    return (speed < HURRICANE).ifelse(speed, ibis.null())


def _minutes(clock: ibis.Value) -> ibis.Value:
    """Minutes since midnight of a time written as 1345."""
    return clock // 100 * 60 + clock % 100
