"""What an expression of `features()` asks of an engine: the same table each time, and the same from DuckDB and from Spark.

What differs between the two was found by running a zoo of expressions on both; the tests run it again.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ibis.expr.operations as ops
from ibis import Table

VOLATILE = (ops.RandomScalar, ops.RandomUUID, ops.TimestampNow, ops.DateNow)
FLOATING = (ops.Sum, ops.Mean, ops.Variance, ops.StandardDev, ops.Covariance, ops.Correlation)
ORDERED = (ops.First, ops.Last, ops.Arbitrary, ops.ArgMin, ops.ArgMax, ops.Mode, ops.GroupConcat, ops.ArrayCollect, ops.Analytic, ops.Limit)
WHOLE = (ops.Round, ops.Floor, ops.Ceil)


class Difference(NamedTuple):
    """An operation that is another one to Spark than to DuckDB."""

    kinds: tuple[type[ops.Node], ...]
    what: str
    instead: str
    applies: Callable[[Any], bool] = lambda _: True


def _is_floating(node: Any) -> bool:
    return any(argument.dtype.is_floating() for argument in node.args if isinstance(argument, ops.Value))


DIFFERENCES = (
    Difference((ops.Sum, ops.Mean, ops.Variance, ops.StandardDev), "a sum, mean or variance of floats", "cast to decimal first", _is_floating),
    Difference((ops.Correlation,), "a correlation", "leave it to the model"),
    Difference((ops.Quantile, ops.MultiQuantile), "quantile()", "median(), or a rank and a filter"),
    Difference((ops.Mode,), "mode()", "a count, a rank and a filter"),
    Difference((ops.First, ops.Last, ops.Arbitrary), "first() or last()", "min() or max() of what orders them, and a join"),
    Difference((ops.ArrayCollect,), "collect() in an order", "counts or sums", lambda node: bool(node.order_by)),
    Difference((ops.CountStar,), "count(where=...)", "the sum of ifelse(condition, 1, 0)", lambda node: node.where is not None),
    Difference(
        (ops.JoinLink,), "asof_join()", "max() of the times over a range window, and a join, as usecases/flights", lambda node: node.how == "asof"
    ),
    Difference((ops.IsNull, ops.NotNull), "isnull() or notnull() of a float", "identical_to(None)", _is_floating),
    Difference((ops.IsNan,), "isnan() of a float that may be null", "fill_null(0) before it", lambda node: not isinstance(node.arg, ops.Coalesce)),
    Difference((ops.IsInf,), "isinf()", "abs() and a comparison"),
    Difference(
        (ops.Cast,),
        "cast of a float or decimal to a whole number",
        "round(), floor() or ceil() before it",
        lambda node: node.to.is_integer() and (node.arg.dtype.is_floating() or node.arg.dtype.is_decimal()) and not isinstance(node.arg, WHOLE),
    ),
    Difference(
        (ops.Cast,),
        "cast of a float or timestamp to text",
        "a whole number, or strftime()",
        lambda node: node.to.is_string() and (node.arg.dtype.is_floating() or node.arg.dtype.is_timestamp()),
    ),
    Difference((ops.Divide,), "division of decimals", "cast to float64 first", lambda node: any(side.dtype.is_decimal() for side in node.args)),
    Difference((ops.Ln, ops.Log2, ops.Log10, ops.Exp), "a logarithm or exp()", "steps of whole numbers, or leave it to the model"),
    Difference((ops.ExtractIsoYear,), "iso_year()", "year()"),
    Difference(
        (ops.ExtractEpochSeconds,),
        "epoch_seconds() of a time with fractions",
        'truncate("s") before it',
        lambda node: not isinstance(node.arg, ops.TimestampTruncate),
    ),
    Difference((ops.Uppercase, ops.Lowercase, ops.Capitalize), "a change of case, of letters such as ß", "re_replace(), or cases() of the values"),
    Difference((ops.LStrip, ops.RStrip), "lstrip() or rstrip()", "strip()"),
    Difference((ops.Reverse,), "reverse()", "substr()"),
    Difference((ops.Hash,), "hash()", 'hexdigest("md5")'),
)


def volatile(expression: Table) -> list[str]:
    """Return the operations that give something else in each run."""
    found = {type(node).__name__ for node in expression.op().find(VOLATILE)}
    return sorted(found | {"Sample" for node in expression.op().find(ops.Sample) if node.seed is None})


def depends_on_order(expression: Table) -> bool:
    """Tell whether the table depends on the order in which the rows come, as a sum of floating point numbers does."""
    return any(map(_is_floating, expression.op().find(FLOATING))) or bool(expression.op().find(ORDERED))


def unportable(expression: Table) -> Iterator[str]:
    """Yield each operation that Spark would understand otherwise than DuckDB, or not at all, and what to use instead."""
    if expression.op().find(ops.InMemoryTable):
        yield "memtable() does not reach Spark: make its rows a source, such as a CSV file beside the config"
    for difference in DIFFERENCES:
        if any(map(difference.applies, expression.op().find(difference.kinds))):
            yield f"{difference.what} differs between Spark and DuckDB: use {difference.instead}"
