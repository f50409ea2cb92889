"""One row a flight that arrived, with what was known of it before it left."""

import ibis
from ibis import Table, _

HURRICANE = 200  # mph; the stations' data hold a reading above it, which is an error


def features(flights: Table, weather: Table, planes: Table) -> Table:
    """Join each flight with the weather of its scheduled hour and with its plane.

    Args:
        flights: One row a scheduled departure.
        weather: One row an airport and hour, observed as the hour begins.
        planes: One row a plane.

    Returns:
        The features, the target `late`, and `scheduled`, the hour of departure.
    """
    known = flights.mutate(
        hour=_.sched_dep_time // 100,
        minute=_.sched_dep_time % 100,
        weekday=_.time_hour.day_of_week.index(),
        duration=_minutes(_.sched_arr_time) - _minutes(_.sched_dep_time),  # in local times: the destination's zone is part of it
        departures=_.count().over(ibis.window(group_by=["origin", "time_hour"])),  # the schedule is known in advance
    )
    observed = weather.mutate(wind_speed=_believable(_.wind_speed), wind_gust=_believable(_.wind_gust))
    joined = known.left_join(observed, ["origin", "time_hour"]).left_join(planes.rename(built="year"), "tailnum")
    return joined.filter(_.arr_delay.notnull()).select(
        "hour", "minute", "weekday", "distance", "departures", "carrier", "origin", "dest", "seats", "manufacturer",
        "temp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib",
        duration=(_.duration + 1440) % 1440,
        plane_age=_.time_hour.year() - _.built,
        late=(_.arr_delay > 15).cast("int64"),
        scheduled=_.time_hour,
    )  # fmt: skip


def _believable(speed: ibis.Value) -> ibis.Value:
    return (speed < HURRICANE).ifelse(speed, ibis.null())


def _minutes(clock: ibis.Value) -> ibis.Value:
    """Minutes since midnight of a time written as 1345."""
    return clock // 100 * 60 + clock % 100
