"""What the expression of `features()` tells before it runs: its columns, their types, and whether DuckDB can compute it."""

import difflib
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.config import UseCase
from core.configcheck import Problem
from core.portable import unportable, volatile

if TYPE_CHECKING:
    from ibis import DataType, Table

Place = tuple[str | int, ...]
MOST_HASHED = 1_000  # columns of a key: the text of 10,000 takes minutes


def table_problems(usecase: UseCase, expression: "Table") -> Iterator[Problem]:
    """Yield what is wrong with the table that `features()` returns.

    Args:
        usecase: The use case.
        expression: Of tables of the contract's columns, or of the real ones.
    """
    file = f"usecases/{usecase.name}/features.py"
    schema = expression.schema()
    for place, column in _columns_used(usecase):
        if column not in schema:
            close = difflib.get_close_matches(column, [*schema], n=1, cutoff=0.8) or [name for name in schema if name.lower() == column.lower()]
            hint = f" (did you mean {close[0]}?)" if close else ""
            yield Problem(place, f"features() makes no column {column}: make it there or correct the name{hint}")
        elif message := _type_problem(usecase, place, column, schema[column]):
            yield Problem(place, message)
    if same := _same_but_case(expression):
        shown = " and ".join(same)
        yield Problem((), f"{file}: columns {shown} differ only in case, which DuckDB ignores: keep one of them, such as by rename() or drop()")
    if reserved := [name for name in schema if name.lower() == "split"]:
        yield Problem((), f"{file}: features() makes a column {reserved[0]}, but transform adds its own column split: rename it")
    if usecase.key == "all" and len(schema) > MOST_HASHED:
        message = f"all is for at most {MOST_HASHED:,} columns, features() makes {len(schema):,}: name the columns that identify a row"
        yield Problem(("key",), message)
    for name in volatile(expression):
        yield Problem((), f"{file}: features() uses {name}, whose result changes from run to run: take it from the data")
    if usecase.spark:
        yield from (Problem(("spark",), text) for text in unportable(expression))


def _columns_used(usecase: UseCase) -> Iterator[tuple[Place, str]]:
    yield ("target",), usecase.target
    for kind in ("numeric", "categorical"):
        yield from ((("features", kind, index), name) for index, name in enumerate(getattr(usecase.features, kind)))
    if isinstance(usecase.key, tuple):
        yield from ((("key", index), name) for index, name in enumerate(usecase.key))
    if usecase.split.column:
        yield ("split", "column"), usecase.split.column
    if usecase.evaluate.baseline:
        yield ("evaluate", "baseline"), usecase.evaluate.baseline


def _type_problem(usecase: UseCase, place: Place, column: str, kind: "DataType") -> str | None:
    """Say what a column's type does not allow, and the cure."""
    access, shown = (f"_.{column}" if column.isidentifier() else f'_["{column}"]'), _described(kind)
    is_number = kind.is_numeric() or kind.is_boolean()
    is_class = kind.is_string() or kind.is_boolean() or kind.is_integer() or kind.is_floating()
    has_order = kind.is_numeric() or kind.is_date() or kind.is_timestamp()
    match place:
        case ("features", "numeric", _) if not is_number:
            return f"{column} is {shown}: {_as_number(access, kind, 'name it under features.categorical')}"
        case ("features", "categorical", _) if not kind.is_string():
            otherwise = "name it under features.numeric" if is_number else "make a number of it, such as its month"
            return f'{column} is {shown}, not text: write {access}.cast("string") in features(), or {otherwise}'
        case ("target",) if usecase.task == "regression" and not is_number:
            return f"{column} is {shown}, but a regression predicts a number: {_as_number(access, kind, 'choose another task')}"
        case ("target",) if usecase.task != "regression" and not is_class:
            return f'{column} is {shown}, which has no classes: write {access}.cast("string") in features(), or choose another target'
        case ("evaluate", "baseline") if usecase.task == "regression" and not is_number:
            return f"{column} is {shown}, but a regression's baseline is a number: {_as_number(access, kind, 'name another column')}"
        case ("evaluate", "baseline") if usecase.task != "regression" and not is_class:
            return f"{column} is {shown}, but a baseline holds classes or probabilities: convert it in features(), or name another column"
        case ("split", "column") if usecase.split.by == "time" and not has_order:
            return f'{column} is {shown}, which has no order in time: convert it in features(), such as {access}.to_timestamp("%d.%m.%Y")'
    return None


def _as_number(access: str, kind: "DataType", otherwise: str) -> str:
    if kind.is_string():
        return f'convert it in features(), such as {access}.cast("float64"), or {otherwise}'
    if kind.is_timestamp():
        return f"make a number of it in features(), such as {access}.hour() or {access}.epoch_seconds()"
    if kind.is_date():
        return f"make a number of it in features(), such as {access}.month() or {access}.epoch_days()"
    return "make a number of it in features()"


def _described(kind: "DataType") -> str:
    if kind.is_string():
        return "text"
    if kind.is_integer():
        return "an integer"
    return f"a {'float' if kind.is_floating() else type(kind).__name__.lower()}"


def _same_but_case(expression: "Table") -> list[str]:
    """Return columns of one table, at any place of the expression, whose names differ only in case."""
    import ibis.expr.operations as ops

    for relation in expression.op().find(ops.Relation):
        spellings = defaultdict(list)
        for name in relation.schema:
            spellings[name.lower()].append(name)
        for names in spellings.values():
            if len(names) > 1:
                return sorted(names)
    return []
