"""The split: of each row, whether it is for training, for validation or for the test, decided the same way each time."""

from collections.abc import Iterable

import duckdb

from core.config import UseCase
from core.errors import UserError
from core.keys import key_hash, unit_columns
from core.tables import SPLITS, identifier, view_columns

CURES = {
    "time": "{column} has {places:,} instants, and rows of one instant go together; use a finer one, deliver more or change the shares under split",
    "group": "{column} has {places:,} values, and rows of one value go together; deliver more or change the shares under split",
    "random": "there are {places:,} keys, and rows of one key go together; deliver more or change the shares under split",
}


def place(usecase: UseCase, columns: Iterable[str]) -> str:
    """Return the SQL of a row's place, by which the table is ordered and cut: a time, or a hash of group or key with `split.seed`.

    Args:
        usecase: The use case.
        columns: All columns of the view `made`.
    """
    if usecase.split.by == "time":
        return identifier(str(usecase.split.column))
    return f"({key_hash(unit_columns(usecase, columns), usecase.split.seed)}::DOUBLE / {2**64})"


def splitting(usecase: UseCase, connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """Find the cuts in the view `outline`.

    Returns:
        The SQL of a row's split, and what it needs to be joined with.
    """
    split, where = usecase.split, place(usecase, view_columns(connection, "made"))
    first, second = split.train, round(split.train + split.validation, 9)
    if split.by != "time" and not split.stratify:
        return f"CASE WHEN {where} < {first} THEN 'train' WHEN {where} < {second} THEN 'validation' ELSE 'test' END", ""
    stratum = identifier(usecase.target) if split.stratify else "0"
    connection.execute(f"CREATE TEMP TABLE cuts AS {_cuts(where, stratum, first, second)}")
    said = "CASE WHEN {0} <= first_cut THEN 'train' WHEN {0} <= second_cut THEN 'validation' ELSE 'test' END"
    return said.format(where), f"JOIN cuts ON stratum = {stratum}"


def refuse_empty(usecase: UseCase, connection: duckdb.DuckDBPyConnection, counts: dict[str, int]) -> None:
    """Refuse a split into which no row of the view `made` fell.

    Raises:
        UserError: A split has no rows.
    """
    empty = [split for split in SPLITS if not counts.get(split)]
    if empty:
        where = place(usecase, view_columns(connection, "made"))
        places = connection.execute(f"SELECT count(DISTINCT {where}) FROM outline").fetchall()[0][0]  # noqa: S608
        cure = CURES[usecase.split.by].format(column=usecase.split.column, places=places)
        raise UserError(f"the split by {usecase.split.by} leaves no {' and no '.join(empty)} rows of {sum(counts.values()):,}: {cure}")


def _cuts(where: str, stratum: str, first: float, second: float) -> str:
    """Find the places up to which the shares reach, in each stratum: counted a place, which spills, as a quantile does not."""
    counted = f"SELECT {stratum} AS stratum, {where} AS place, count(*) AS rows FROM outline GROUP BY ALL"  # noqa: S608
    summed = f"SELECT stratum, place, sum(rows) OVER (PARTITION BY stratum ORDER BY place) AS upto, sum(rows) OVER (PARTITION BY stratum) AS total FROM ({counted})"  # noqa: S608, E501
    reached = ", ".join(f"min(place) FILTER (upto >= {share} * total) AS {name}" for share, name in ((first, "first_cut"), (second, "second_cut")))
    return f"SELECT stratum, {reached} FROM ({summed}) GROUP BY stratum"  # noqa: S608
