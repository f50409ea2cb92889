"""Leakage: what would let the model see an answer that it will not have."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from components.transform.suspects import MANY, suspects
from core.config import UseCase
from core.errors import UserError
from core.keys import unit_columns
from core.tables import identifier, path_literal

PER_VALUE = 10  # rows a value, on average, from which on a feature that never errs is no accident
DRAWN = 200_000  # rows among which equal ones are looked for
EXACT = 1 - 1e-12  # of a correlation


def refuse_leakage(usecase: UseCase, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Refuse a split that shares what it must not share, and a feature that is the answer; read from the table as it was written.

    Raises:
        UserError: One of both.
    """
    connection.execute(f"CREATE OR REPLACE TEMP VIEW split_table AS FROM read_parquet({path_literal(path)})")
    for sentence in [*_shared(usecase, connection), *_answers(usecase, connection, path)]:
        raise UserError(sentence)


def repeated(usecase: UseCase, connection: duckdb.DuckDBPyConnection, rows: int) -> float:
    """Return the share of test rows whose features are those of a training row.

    Equal rows may be honest, where there are few features, so this is told and not refused. Of a great table a part is looked at,
    drawn by a hash of the features, which leaves equal rows together.
    """
    features = f"hash({', '.join(map(identifier, usecase.features.names))})"
    counts = "count(*) FILTER (split = 'test') AS tested, count(*) FILTER (split = 'train') AS trained"
    drawn = f"SELECT {features} AS features, {counts} FROM split_table WHERE features % {max(1, rows // DRAWN)} = 0 GROUP BY 1"  # noqa: S608
    return float(_ask(connection, f"SELECT coalesce(sum(tested) FILTER (trained > 0) / sum(tested), 0) FROM ({drawn})")[0])  # noqa: S608


def _shared(usecase: UseCase, connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Yield what is in two splits."""
    if usecase.split.by == "time":
        column = identifier(str(usecase.split.column))
        span = f"SELECT min({column}) AS first, max({column}) AS last FROM split_table WHERE split = '{{}}'"  # noqa: S608
        for earlier, later in (("train", "validation"), ("validation", "test")):
            both = f"SELECT a.last >= b.first, a.last::VARCHAR FROM ({span.format(earlier)}) a, ({span.format(later)}) b"  # noqa: S608
            overlaps, last = _ask(connection, both)
            if overlaps:
                yield f"the {earlier} rows go up to {usecase.split.column} {last}, where {later} rows have begun: look how the values are ordered"
        return
    if usecase.key == "all":  # no two rows are equal
        return
    named = unit_columns(usecase, ())
    listed, shown = ", ".join(map(identifier, named)), ", ".join(f"{identifier(name)}::VARCHAR" for name in named)
    keys = f"SELECT concat_ws(', ', {shown}) AS key, count(*) AS rows FROM split_table GROUP BY {listed} HAVING min(split) <> max(split)"  # noqa: S608
    count, rows, example = _ask(connection, f"SELECT count(*), sum(rows), min(key) FROM ({keys})")  # noqa: S608
    if count:
        yield (
            f"{count:,} values of {', '.join(named)} are in two splits, with {rows:,} rows (such as {example}): "
            f"their rows have several values of {usecase.target}, so remove split.stratify"
        )


def _answers(usecase: UseCase, connection: duckdb.DuckDBPyConnection, path: Path) -> Iterator[str]:
    """Yield each feature from which alone the target follows."""
    for name in suspects(usecase, path):
        for how in _ways(usecase, connection, name):
            yield f"feature {name} {how}: the model would see the answer: remove it from features"
            break


def _ways(usecase: UseCase, connection: duckdb.DuckDBPyConnection, name: str) -> Iterator[str]:
    """Yield how a feature gives the answer in every row, if it does."""
    feature, target, numeric = identifier(name), identifier(usecase.target), name in usecase.features.numeric
    if _ask(connection, f"SELECT bool_and({feature}::VARCHAR IS NOT DISTINCT FROM {target}::VARCHAR) FROM split_table")[0]:  # noqa: S608
        yield f"is equal to the target {usecase.target} in every row"
    if usecase.task == "regression":
        correlation = f"corr(nullif({feature}::DOUBLE, 'nan'), {target}::DOUBLE)"
        if numeric and _ask(connection, f"SELECT coalesce(abs({correlation}), 0) FROM split_table")[0] > EXACT:  # noqa: S608
            yield f"is the target {usecase.target} on another scale in every row"
    elif numeric and _separates(connection, feature, target):
        yield f"tells the values of {usecase.target} apart by a threshold in every row"
    each = f"SELECT count(*) AS rows, min({target}) = max({target}) AS pure FROM split_table GROUP BY {feature}"  # noqa: S608
    values, rows, pure = _ask(connection, f"SELECT count(*), sum(rows), bool_and(pure) FROM ({each})")  # noqa: S608
    if pure and PER_VALUE * values <= rows:
        yield f"has {values:,} values in {rows:,} rows, and each of them comes with one value of {usecase.target}"


def _separates(connection: duckdb.DuckDBPyConnection, feature: str, target: str) -> bool:
    """Tell whether the classes lie beside each other on the feature's scale, without one exception."""
    known = f"{feature} IS NOT NULL AND NOT isnan({feature}::DOUBLE)"
    spans = f"SELECT min({feature}) AS first, max({feature}) AS last, count(*) AS rows FROM split_table WHERE {known} GROUP BY {target}"  # noqa: S608
    apart = f"SELECT *, first > lag(last) OVER (ORDER BY first, last) AS apart FROM ({spans})"  # noqa: S608
    rows, classes, all_apart = _ask(connection, f"SELECT sum(rows), count(*), bool_and(apart) FROM ({apart})")  # noqa: S608
    return bool(all_apart) and classes > 1 and rows >= MANY


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    found: tuple[Any, ...] = connection.execute(query).fetchall()[0]
    return found
