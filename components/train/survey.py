"""What there is to learn from, before a row of it is held: counts by DuckDB, within its memory limit."""

from dataclasses import dataclass
from typing import Any

from core.config import UseCase
from core.errors import UserError
from core.examples import require
from core.tables import columns, connect, identifier, inputs, path_literal

TEXT = 160  # bytes of a Python string beside its letters, and of its place in a dictionary


@dataclass(frozen=True)
class Survey:
    """The table in numbers.

    Attributes:
        rows: Of each split.
        classes: Of each split, in order; empty for a regression.
        distinct: How many texts each categorical column has, about.
        texts: Bytes of all of these texts, about.
    """

    rows: dict[str, int]
    classes: dict[str, list[Any]]
    distinct: dict[str, int]
    texts: int


def survey(table: str, usecase: UseCase) -> Survey:
    """Count.

    Args:
        table: The table that transform made.
        usecase: The use case.

    Raises:
        UserError: A column is missing, or there are no rows to learn from or to choose by.
    """
    source, target = f"read_parquet({path_literal(table)})", identifier(usecase.target)
    with connect(usecase.limits.memory) as connection:
        require(columns(connection, table), inputs(usecase))
        rows = dict(connection.execute(f"SELECT split, count(*) FROM {source} GROUP BY split").fetchall())  # noqa: S608
        for split in ("train", "validation"):
            if not rows.get(split):
                raise UserError(f"there are no {split} rows: deliver more data or change the shares under split")
        classes: dict[str, list[Any]] = {split: [] for split in rows}
        if usecase.task != "regression":
            for split, value in connection.execute(f"SELECT DISTINCT split, {target} FROM {source} ORDER BY ALL").fetchall():  # noqa: S608
                classes[split].append(value)
        distinct, length = {}, 0
        for name in usecase.features.categorical:
            counted = f"SELECT approx_count_distinct({identifier(name)}), coalesce(avg(length({identifier(name)}::VARCHAR)), 0) FROM {source}"  # noqa: S608
            distinct[name], letters = connection.execute(counted).fetchall()[0]
            length += int(distinct[name] * (TEXT + letters))
    return Survey(rows, classes, distinct, length)
