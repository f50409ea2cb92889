"""A zoo of ibis expressions over one table of odd values: what each gives on DuckDB is held against what it gives on Spark."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis import Table, Value

NAN, INF = float("nan"), float("inf")
SCHEMA = pa.schema(
    {
        "key": pa.int64(),
        "g": pa.string(),
        "i": pa.int64(),
        "j": pa.int64(),
        "x": pa.float64(),
        "y": pa.float64(),
        "s": pa.string(),
        "n": pa.string(),
        "d": pa.date32(),
        "t": pa.timestamp("us", "UTC"),
        "c": pa.decimal128(10, 2),
        "b": pa.bool_(),
    }
)


def written(path: Path) -> Path:
    """Twelve rows: a Sunday, month ends, changes of the clock, nulls, NaN, both zeros, infinities, ß, emoji, blanks."""
    at = [
        datetime(2013, 3, 10, 6, 59, 59, 999999, UTC), datetime(2013, 3, 10, 7, tzinfo=UTC), datetime(2013, 11, 3, 5, 30, tzinfo=UTC),
        datetime(2013, 11, 3, 6, 30, tzinfo=UTC), datetime(2012, 2, 29, 12, tzinfo=UTC), datetime(2013, 12, 31, 23, 59, 59, tzinfo=UTC), None,
        datetime(2016, 1, 3, tzinfo=UTC), datetime(1969, 12, 31, 23, 59, 59, 500000, UTC), datetime(2015, 1, 31, 8, tzinfo=UTC),
        datetime(2020, 12, 28, tzinfo=UTC), datetime(2021, 1, 3, 23, tzinfo=UTC),
    ]  # fmt: skip
    data = {
        "key": list(range(12)),
        "g": ["a", "a", "a", "b", "b", None, None, "c", "c", "c", "d", "d"],
        "i": [7, -7, 0, 5, None, 3, -1, 7, 7, None, None, None],
        "j": [2, 2, -2, -2, 3, 3, -3, 1, 10, 4, 5, 7],
        "x": [1.5, NAN, -0.0, 0.0, None, -INF, INF, 2.5, -2.5, 0.5, None, None],
        "y": [0.1, 0.2, 0.3, 1e16, 1.0, -1e16, 0.7, 0.1, 0.2, 0.3, 3.5, -1.25],
        "s": ["straße", "ÅB c", "😀x", "  pad ", "", None, "a1b22", "\tTab\t", "İi", "ﬁn", "e\u0301", "Zz"],
        "n": ["12", "-3", "0", "007", "5", None, "42", "1", "2", "3", "4", "99"],
        "d": [value.date() if value else None for value in at[:11]] + [date(2000, 2, 29)],
        "t": at,
        "c": [Decimal("1.25"), Decimal("-1.25"), Decimal("0.05"), Decimal("2.35"), None, Decimal("9999.99"), *map(Decimal, "123456")],
        "b": [True, False, None, True, True, None, False, False, True, None, True, False],
    }
    pq.write_table(pa.table(data, SCHEMA), path)
    return path


def ranked(function: Callable[[], Value]) -> Callable[[Table], Table]:
    """A rank in the order of i, which has ties and nulls, then of the key."""
    return lambda t: t.select("key", value=function().over(ibis.window(group_by=t.g, order_by=[t.i, t.key])))


RANGE = {"preceding": 2, "following": 0}
EACH: dict[str, Callable[[Table], Value]] = {  # one value a row
    "day of week": lambda t: t.d.day_of_week.index(),
    "day of week of an instant": lambda t: t.t.day_of_week.index(),
    "name of the day": lambda t: t.d.day_of_week.full_name(),
    "ISO week": lambda t: t.d.week_of_year(),
    "ISO year": lambda t: t.d.iso_year(),
    "day of year": lambda t: t.d.day_of_year(),
    "year, month, day, quarter": lambda t: t.t.year() * 1000000 + t.t.month() * 10000 + t.t.day() * 100 + t.t.quarter(),
    "hour, minute": lambda t: t.t.hour() * 100 + t.t.minute(),
    "second": lambda t: t.t.second(),
    "millisecond": lambda t: t.t.millisecond(),
    "whole seconds since 1970": lambda t: t.t.truncate("s").epoch_seconds(),
    "seconds since 1970": lambda t: t.t.epoch_seconds(),
    "date of an instant": lambda t: t.t.date(),
    "truncate to hours": lambda t: t.t.truncate("h"),
    "truncate to weeks": lambda t: t.t.truncate("W"),
    "truncate to months": lambda t: t.d.truncate("M"),
    "plus a month at its end": lambda t: t.d + ibis.interval(months=1),
    "plus days": lambda t: t.t + ibis.interval(days=1),
    "plus hours": lambda t: t.t - ibis.interval(hours=25),
    "days between": lambda t: t.d.delta(ibis.date("2013-01-01"), unit="day"),
    "format of a time": lambda t: t.t.strftime("%Y-%m-%d %H:%M"),
    "compare with null": lambda t: t.i > t.j,
    "equal or both null": lambda t: t.i.identical_to(t.j),
    "is in a list": lambda t: t.i.isin([7, 3]),
    "is not in a list": lambda t: t.i.notin([7, 3]),
    "and of nulls": lambda t: t.b & (t.i > 0),
    "or of nulls": lambda t: t.b | (t.i > 0),
    "coalesce": lambda t: ibis.coalesce(t.i, t.j),
    "null if": lambda t: t.i.nullif(7),
    "is null of a whole number": lambda t: t.i.isnull(),
    "is null of NaN": lambda t: t.x.isnull(),
    "is not null of NaN": lambda t: t.x.notnull(),
    "fill null": lambda t: t.i.fill_null(0),
    "is null of NaN, otherwise": lambda t: t.x.identical_to(None),
    "is NaN unless null": lambda t: t.x.fill_null(0).isnan(),
    "is infinite unless null": lambda t: t.x.fill_null(0).isinf(),
    "is NaN": lambda t: t.x.isnan(),
    "is infinite": lambda t: t.x.isinf(),
    "NaN above all": lambda t: t.x > 1e300,
    "NaN equal to itself": lambda t: t.x == t.x,
    "zero equal to negative zero": lambda t: t.x == 0.0,
    "greatest": lambda t: ibis.greatest(t.i, t.j),
    "least": lambda t: ibis.least(t.x, t.y),
    "floor division": lambda t: t.i // t.j,
    "modulo": lambda t: t.i % t.j,
    "division": lambda t: t.i / t.j,
    "division of decimals": lambda t: t.c / 3,
    "product of decimals": lambda t: t.c * 2,
    "round": lambda t: t.y.clip(-10, 10).round(),
    "round to digits": lambda t: t.y.round(1),
    "round of a decimal": lambda t: t.c.round(1),
    "floor": lambda t: t.y.clip(-10, 10).floor(),
    "ceil": lambda t: t.y.clip(-10, 10).ceil(),
    "absolute value": lambda t: t.i.abs(),
    "square root": lambda t: t.j.abs().sqrt(),
    "logarithm": lambda t: t.j.abs().ln(),
    "logarithm to ten": lambda t: t.j.abs().log10(),
    "logarithm to two": lambda t: t.j.abs().log2(),
    "sine": lambda t: t.j.sin(),
    "arc tangent": lambda t: t.j.atan(),
    "cast of a rounded float": lambda t: t.y.clip(-10, 10).round(0).cast("int64"),
    "division of decimals as floats": lambda t: t.c.cast("float64") / 3,
    "exponential": lambda t: t.j.exp(),
    "power": lambda t: t.j**2,
    "clip": lambda t: t.i.clip(-1, 5),
    "sign": lambda t: t.i.sign(),
    "cast to a whole number": lambda t: t.y.clip(-10, 10).cast("int64"),
    "cast of a decimal": lambda t: t.c.cast("int64"),
    "cast to a decimal": lambda t: t.y.clip(-10, 10).cast("decimal(10, 1)"),
    "cast of text to a number": lambda t: t.n.cast("int64"),
    "try to cast odd text": lambda t: t.s.try_cast("float64"),
    "cast of a whole number to text": lambda t: t.i.cast("string"),
    "cast of a float to text": lambda t: t.y.cast("string"),
    "cast of a boolean to text": lambda t: t.b.cast("string"),
    "cast of a boolean": lambda t: t.b.cast("int64"),
    "cast of a date to text": lambda t: t.d.cast("string"),
    "cast of an instant to text": lambda t: t.t.cast("string"),
    "upper": lambda t: t.s.upper(),
    "lower": lambda t: t.s.lower(),
    "length": lambda t: t.s.length(),
    "strip": lambda t: t.s.strip(),
    "left strip": lambda t: t.s.lstrip(),
    "right strip": lambda t: t.s.rstrip(),
    "reverse": lambda t: t.s.reverse(),
    "capitalize": lambda t: t.s.capitalize(),
    "substring": lambda t: t.s.substr(1, 2),
    "left": lambda t: t.s.left(2),
    "right": lambda t: t.s.right(2),
    "contains": lambda t: t.s.contains("a"),
    "starts with": lambda t: t.s.startswith("a"),
    "ends with": lambda t: t.s.endswith("e"),
    "find": lambda t: t.s.find("a"),
    "replace": lambda t: t.s.replace("a", "oo"),
    "concatenate": lambda t: t.s + t.n,
    "like": lambda t: t.s.like("%a_"),
    "pad on the left": lambda t: t.n.lpad(5, "0"),
    "repeat": lambda t: t.n.repeat(2),
    "split": lambda t: t.s.split("a").length(),
    "search by regex": lambda t: t.s.re_search(r"[a-z]\d+"),
    "extract by regex": lambda t: t.s.re_extract(r"([a-z])(\d+)", 2),
    "replace by regex": lambda t: t.s.re_replace(r"\d+", "#"),
    "if else": lambda t: (t.i > 0).ifelse("up", "down"),
    "cases": lambda t: ibis.cases((t.i > 5, 1), (t.i > 0, 2), else_=3),
    "hash": lambda t: t.s.hash(),
    "MD5": lambda t: t.n.hexdigest("md5"),
}
GROUPED: dict[str, Callable[[Table], Value]] = {  # one value a group
    "covariance": lambda t: t.j.cov(t.key, how="pop"),
    "standard deviation of floats": lambda t: t.y.std(),
    "count of values where": lambda t: t.i.count(where=t.i > 5),
    "count where, otherwise": lambda t: (t.i > 5).ifelse(1, 0).sum(),
    "count": lambda t: t.count(),
    "count of values": lambda t: t.i.count(),
    "count distinct": lambda t: t.i.nunique(),
    "count distinct of floats": lambda t: t.x.nunique(),
    "count where": lambda t: t.count(where=t.i > 5),
    "sum": lambda t: t.i.sum(),
    "sum of nothing": lambda t: t.i.sum(where=t.i > 100),
    "sum where": lambda t: t.i.sum(where=t.b),
    "sum of decimals": lambda t: t.c.sum(),
    "mean of whole numbers": lambda t: t.i.mean(),
    "mean of decimals": lambda t: t.c.mean(),
    "least of a group": lambda t: t.x.min(),
    "greatest of a group": lambda t: t.x.max(),
    "greatest text": lambda t: t.s.max(),
    "any": lambda t: t.b.any(),
    "all": lambda t: t.b.all(),
    "median": lambda t: t.j.median(),
    "quantile": lambda t: t.j.quantile(0.3),
    "variance of whole numbers": lambda t: t.j.var(),
    "standard deviation of a population": lambda t: t.j.std(how="pop"),
    "correlation": lambda t: t.j.corr(t.key, how="pop"),
    "value at the greatest": lambda t: t.s.argmax(t.key),
    "value at the least": lambda t: t.s.argmin(t.key),
    "first in an order": lambda t: t.i.first(order_by=t.key),
    "last in an order": lambda t: t.i.last(order_by=t.key),
    "texts of a group": lambda t: t.n.group_concat(","),
    "most frequent": lambda t: t.i.mode(),
    "values of a group in an order": lambda t: t.n.collect(order_by=t.key).length(),
    "values of a group": lambda t: t.n.collect().length(),
}
TABLES: dict[str, Callable[[Table], Table]] = {  # a table each
    "row number": ranked(ibis.row_number),
    "rank": lambda t: t.select("key", value=ibis.rank().over(ibis.window(group_by=t.g, order_by=t.i))),
    "dense rank": lambda t: t.select("key", value=ibis.dense_rank().over(ibis.window(group_by=t.g, order_by=t.i))),
    "percent rank": ranked(ibis.percent_rank),
    "cumulative distribution": ranked(ibis.cume_dist),
    "tiles": ranked(lambda: ibis.ntile(2)),
    "order of NaN": lambda t: t.select("key", value=ibis.row_number().over(ibis.window(order_by=[t.x, t.key]))),
    "descending order of nulls": lambda t: t.select("key", value=ibis.row_number().over(ibis.window(order_by=[t.x.desc(), t.key]))),
    "order of texts": lambda t: t.select("key", value=ibis.row_number().over(ibis.window(order_by=[t.s, t.key]))),
    "value before": lambda t: t.select("key", value=t.i.lag().over(ibis.window(group_by=t.g, order_by=t.key))),
    "value after": lambda t: t.select("key", value=t.i.lead(2).over(ibis.window(group_by=t.g, order_by=t.key))),
    "first of a window": lambda t: t.select("key", value=t.i.first().over(ibis.window(group_by=t.g, order_by=t.key.desc(), **RANGE))),
    "last of a window": lambda t: t.select("key", value=t.i.last().over(ibis.window(group_by=t.g, order_by=t.key, **RANGE))),
    "sum over rows": lambda t: t.select("key", value=t.i.sum().over(ibis.window(group_by=t.g, order_by=t.key, **RANGE))),
    "sum over a range": lambda t: t.select("key", value=t.i.sum().over(ibis.range_window(group_by=t.g, order_by=t.key, preceding=(3, 1)))),
    "cumulative sum with ties": lambda t: t.select("key", value=t.j.sum().over(ibis.cumulative_window(group_by=t.g, order_by=t.key))),
    "mean over rows": lambda t: t.select("key", value=t.i.mean().over(ibis.window(group_by=t.g, order_by=t.key, **RANGE))),
    "inner join over nulls": lambda t: t.join(t.view().select(other="key", i="i"), "i").group_by("key").agg(value=ibis._.count()),
    "left join over nulls": lambda t: t.left_join(t.view().select(other="key", g="g"), "g").group_by("key").agg(value=ibis._.other.count()),
    "join over NaN": lambda t: t.join(t.view().select(other="key", x="x"), "x").group_by("key").agg(value=ibis._.count()),
    "semi join": lambda t: t.semi_join(t.filter(t.j > 2).select("g"), "g").select("key", value="i"),
    "anti join over nulls": lambda t: t.anti_join(t.filter(t.j > 2).select("g"), "g").select("key", value="i"),
    "as-of join": lambda t: t.select("key", "j").asof_join(t.view().select(key="j", value="i"), on="key").select("key", "value"),
    "group by NaN and zeros": lambda t: t.group_by("x").agg(key=t.key.min(), value=t.count()).drop("x"),
    "distinct rows": lambda t: t.select(key="i", value="b").distinct(),
    "union": lambda t: t.select("key", value="i").union(t.select("key", value="j")),
    "difference": lambda t: t.select(key="i", value="b").difference(t.filter(t.j > 2).select(key="i", value="b"), distinct=True),
    "limit of an order": lambda t: t.order_by(t.i.desc(), t.key).limit(3).select("key", value="i"),
    "limit with an offset": lambda t: t.order_by(t.key).limit(3, offset=2).select("key", value="i"),
    "filter by null": lambda t: t.filter(t.b).select("key", value="i"),
    "sum of floats": lambda t: _many(t).group_by(key=ibis._.g).agg(value=ibis._.z.sum()),
    "mean of floats": lambda t: _many(t).group_by(key=ibis._.g).agg(value=ibis._.z.mean()),
    "variance of floats": lambda t: _many(t).group_by(key=ibis._.g).agg(value=ibis._.z.var()),
    "sum of floats as decimals": lambda t: _many(t).group_by(key=ibis._.g).agg(value=ibis._.z.cast("decimal(28, 6)").sum()),
}


def expressions(t: Table) -> dict[str, Table]:
    """Each of the zoo by itself."""
    rows = {name: t.select("key", value=function(t)) for name, function in EACH.items()}
    groups = {name: t.group_by(key=t.g).agg(value=function(t)) for name, function in GROUPED.items()}
    return rows | groups | {name: function(t) for name, function in TABLES.items()}


def together(t: Table, names: set[str]) -> dict[str, Table]:
    """Several of the zoo in as few tables as there can be: each costs Spark half a second."""
    rows = t.select("key", **{name: function(t) for name, function in EACH.items() if name in names})
    groups = t.group_by(key=t.g).agg(**{name: function(t) for name, function in GROUPED.items() if name in names})
    return {"rows": rows, "groups": groups} | {name: function(t) for name, function in TABLES.items() if name in names}


def _many(t: Table) -> Table:
    """Enough rows for their sum to depend on its order."""
    crossed = t
    for step in range(3):
        crossed = crossed.cross_join(t.view().select(**{f"k{step}": "key"}))
    return crossed.mutate(z=(crossed.key * 1728 + crossed.k0 * 144 + crossed.k1 * 12 + crossed.k2 + 1).sqrt() * 0.1)
