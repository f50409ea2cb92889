"""What there is to learn from, before a row of it is held: counts by DuckDB, within its memory limit."""

from dataclasses import dataclass, field
from typing import Any

from core.config import UseCase
from core.errors import UserError
from core.examples import require
from core.tables import columns, connect, identifier, inputs, path_literal, splits

TEXT = 160  # bytes of a Python string beside its letters, and of its place in a dictionary


@dataclass(frozen=True)
class Survey:
    """The table in numbers.

    Attributes:
        rows: Of each split.
        classes: Of each split, in order; empty for a regression.
        distinct: How many texts each categorical column has, about.
        texts: Bytes of all of these texts, about.
        members: How many training rows each class has.
        spans: The first and the last instant of each split, as text, if the split is by time.
    """

    rows: dict[str, int]
    classes: dict[str, list[Any]]
    distinct: dict[str, int]
    texts: int
    spans: dict[str, tuple[str, str]] = field(default_factory=dict)
    members: dict[Any, int] = field(default_factory=dict)

    def count(self, split: str) -> int:
        """How many rows there are of a split, or of several, such as train+validation."""
        return sum(self.rows[name] for name in splits(split))

    def span(self, split: str) -> tuple[str, str] | None:
        """From when to when the rows of a split, or of several, reach; None if the split is not by time."""
        spans = [self.spans[name] for name in splits(split) if name in self.spans]
        return (spans[0][0], spans[-1][1]) if spans else None


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
        time = identifier(str(usecase.split.column)) if usecase.split.by == "time" else "NULL"
        counted = f"SELECT split, count(*), min({time})::VARCHAR, max({time})::VARCHAR FROM {source} GROUP BY split"  # noqa: S608
        known = {split: (count, (first, last)) for split, count, first, last in connection.execute(counted).fetchall()}
        rows = {split: count for split, (count, _) in known.items()}
        for split in ("train", "validation"):
            if not rows.get(split):
                raise UserError(f"there are no {split} rows: deliver more data or change the shares under split")
        classes: dict[str, list[Any]] = {split: [] for split in rows}
        members: dict[Any, int] = {}
        if usecase.task != "regression":
            counted = f"SELECT split, {target}, count(*) FROM {source} GROUP BY ALL ORDER BY ALL"  # noqa: S608
            for split, value, number in connection.execute(counted).fetchall():
                classes[split].append(value)
                members |= {value: number} if split == "train" else {}
        distinct, length = {}, 0
        for name in usecase.features.categorical:
            counted = f"SELECT approx_count_distinct({identifier(name)}), coalesce(avg(length({identifier(name)}::VARCHAR)), 0) FROM {source}"  # noqa: S608
            distinct[name], letters = connection.execute(counted).fetchall()[0]
            length += int(distinct[name] * (TEXT + letters))
    spans = {split: span for split, (_, span) in known.items()} if usecase.split.by == "time" else {}
    return Survey(rows, classes, distinct, length, spans, members)
